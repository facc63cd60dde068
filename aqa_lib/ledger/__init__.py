"""One folder a run: its name, its lock, its files, its record."""
