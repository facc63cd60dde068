"""Figures from plain arrays and tables: functions that return a plotly figure, in one style."""

from aqa_lib.figures.static import save_figure, save_figures
from aqa_lib.figures.style import PALETTE, faded, style

__all__ = ["PALETTE", "faded", "save_figure", "save_figures", "style"]
