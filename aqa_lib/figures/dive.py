"""One assessed action: what the features show, what happened in each segment, what the judges gave."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.figures.style import BLUE, ORANGE, RED, style


def dive(features, execution, awards, title="", surrogate=True):
    """features [T,D], execution [T] (negative = error), awards [J] of which the middle three count."""
    T = len(features)
    figure = make_subplots(
        rows=1,
        cols=3,
        column_widths=[0.42, 0.32, 0.26],
        horizontal_spacing=0.09,
        subplot_titles=["segment features (what a method sees)", "execution (planted)", "judges"],
    )
    order = np.argsort(features.mean(0))[::-1]  # the busiest features first
    segments = np.arange(1, T + 1)
    heat = go.Heatmap(z=features[:, order].T, x=segments, colorscale="Cividis", showscale=False)
    figure.add_trace(heat, row=1, col=1)
    colours = [BLUE if e >= 0 else RED for e in execution]
    figure.add_bar(x=segments, y=execution, marker_color=colours, showlegend=False, row=1, col=2)
    awards = np.sort(awards)
    counted = np.zeros(len(awards), bool)
    counted[2:-2] = True
    colours = [ORANGE if c else "#c9cdd6" for c in counted]
    seats = np.arange(1, len(awards) + 1)
    figure.add_bar(x=seats, y=awards, marker_color=colours, showlegend=False, row=1, col=3)
    figure.update_xaxes(title="segment", dtick=1, col=1)
    figure.update_xaxes(title="segment", dtick=1, col=2)
    figure.update_xaxes(title="sorted awards (orange count)", dtick=1, col=3)
    figure.update_yaxes(title="feature, busiest first", col=1, autorange="reversed")
    figure.update_yaxes(title="standard deviations", col=2)
    figure.update_yaxes(range=[0, 10], col=3)
    figure.update_layout(height=400, margin={"t": 95})
    return style(figure, title, surrogate)
