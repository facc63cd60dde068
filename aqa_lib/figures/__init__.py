"""Figures from plain arrays and tables: functions that return a plotly figure, in one style."""

from aqa_lib.figures.style import PALETTE, faded, style

__all__ = ["PALETTE", "faded", "style"]
