"""Figures of recorded movements: one coordinate over time, and how right a variant is of each person."""

import plotly.graph_objects as go

from aqa_lib.figures.style import BLUE, PALETTE, RED, style


def over_time(curves, axis, title="", surrogate=False):
    """Curves {name: values [F]}, frame by frame; the first is the better one."""
    figure = go.Figure()
    for (name, values), colour in zip(curves.items(), (BLUE, RED), strict=False):
        figure.add_scatter(y=values, mode="lines", name=name, line={"color": colour, "width": 2})
    figure.update_xaxes(title="frame")
    figure.update_yaxes(title=axis)
    figure.update_layout(height=380)
    return style(figure, title, surrogate)


def people(each, variants, measure="pairwise accuracy", title="", surrogate=False):
    """The accuracy of each group (subject), a colour a variant: means over draws of a table group, variant, value."""
    figure = go.Figure()
    for variant, colour in zip(variants, PALETTE, strict=False):
        values = each[each["variant"] == variant].groupby("group")["value"].mean()
        figure.add_scatter(
            x=list(values.index),
            y=values,
            mode="markers",
            name=variant,
            marker={"color": colour, "size": 10},
            hovertemplate="%{x}: %{y:.3f}<extra>" + variant + "</extra>",
        )
    figure.add_hline(y=0.5, line={"color": "#8a909c", "dash": "dot", "width": 1})
    figure.update_yaxes(title=measure)
    figure.update_layout(height=380)
    return style(figure, title, surrogate)
