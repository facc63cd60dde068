"""Figures of recorded movements: one coordinate of several recordings over time."""

import plotly.graph_objects as go

from aqa_lib.figures.style import BLUE, RED, style


def over_time(curves, axis, title="", surrogate=False):
    """Curves {name: values [F]}, frame by frame; the first is the better one."""
    figure = go.Figure()
    for (name, values), colour in zip(curves.items(), (BLUE, RED), strict=False):
        figure.add_scatter(y=values, mode="lines", name=name, line={"color": colour, "width": 2})
    figure.update_xaxes(title="frame")
    figure.update_yaxes(title=axis)
    figure.update_layout(height=380)
    return style(figure, title, surrogate)
