"""Formats on disk: folders and their checks, feature stores, importers, restricted unpickling."""
