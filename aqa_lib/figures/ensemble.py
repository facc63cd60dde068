"""Figures of what several runs say of the same videos."""

import numpy as np
import plotly.graph_objects as go

from aqa_lib.figures.style import BLUE, style


def ranked(score, spread, names, title="", surrogate=True):
    """Mean scores [n] of videos, the best first, with the runs' standard deviation (NaN: one run) as a bar."""
    score, spread, names = np.asarray(score), np.asarray(spread), np.asarray(names)
    order = np.argsort(-score, kind="stable")
    bars = {"type": "data", "array": np.nan_to_num(spread[order]), "color": BLUE, "thickness": 1, "width": 0}
    figure = go.Figure()
    figure.add_scatter(
        x=np.arange(1, len(order) + 1),
        y=score[order],
        mode="markers",
        marker={"color": BLUE, "size": 6},
        error_y=bars,
        text=names[order],
        customdata=spread[order],
        hovertemplate="%{text}: %{y:.1f} ± %{customdata:.1f}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="rank among the unscored videos")
    figure.update_yaxes(title="predicted score, ± 1 standard deviation of the runs")
    return style(figure, title, surrogate)
