"""Figures of runs: curves, predictions, means with intervals, a grid of two settings."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.figures.style import BLUE, ORANGE, PALETTE, faded, style


def curves(curve, title="", surrogate=True):
    """A run's losses (left) and test rank correlation (right) over its steps; `curve` has a row an evaluation."""
    figure = make_subplots(cols=2, subplot_titles=["losses since the last evaluation", "on the test videos"])
    losses = [c for c in ("regression", "recovery", "alignment", "loss") if c in curve]
    for name, colour in zip(losses, PALETTE, strict=False):
        line = {"color": colour, "dash": "dot" if name == "loss" else "solid"}
        figure.add_scatter(x=curve["step"], y=curve[name], name=name, line=line, mode="lines+markers", row=1, col=1)
    figure.add_scatter(
        x=curve["step"],
        y=curve["spearman"],
        name="rank correlation",
        mode="lines+markers",
        row=1,
        col=2,
        line={"color": BLUE},
        showlegend=False,
    )
    figure.update_xaxes(title="step")
    figure.update_yaxes(type="log", dtick="D2", row=1, col=1)
    figure.update_yaxes(title="rank correlation", row=1, col=2)
    figure.update_layout(margin={"t": 95})
    return style(figure, title, surrogate)


def scatter(true, predicted, title="", marked=None, names=None, surrogate=True):
    """Predicted against true scores; the item of index `marked` is highlighted."""
    true, predicted = np.asarray(true), np.asarray(predicted)
    span = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    figure = go.Figure()
    figure.add_scatter(x=span, y=span, mode="lines", line={"color": "#8a909c", "dash": "dot"}, name="exact")
    figure.add_scatter(
        x=true,
        y=predicted,
        mode="markers",
        marker={"color": faded(BLUE, 0.55), "size": 7},
        name="test videos",
        text=names,
    )
    if marked is not None:
        figure.add_scatter(
            x=true[[marked]],
            y=predicted[[marked]],
            mode="markers",
            name="the dive above",
            marker={"color": ORANGE, "size": 15, "symbol": "star"},
        )
    figure.update_xaxes(title="score of the judges")
    figure.update_yaxes(title="predicted score")
    return style(figure, title, surrogate)


def intervals(table, title="", metric="rank correlation", surrogate=True):
    """Mean and 95 % interval of each row of `compare`, and the runs' spread as a fainter line."""
    figure = go.Figure()
    names = [str(name) for name in table.index][::-1]
    rows = table.iloc[::-1]
    figure.add_scatter(
        x=rows["mean"],
        y=names,
        mode="markers",
        marker={"color": faded(BLUE, 0), "size": 1},
        showlegend=True,
        name="± 1 standard deviation of runs",
        hoverinfo="skip",
        error_x={"type": "data", "array": rows["sd"], "color": faded(BLUE, 0.3), "thickness": 8, "width": 0},
    )
    figure.add_scatter(
        x=rows["mean"],
        y=names,
        mode="markers",
        marker={"color": BLUE, "size": 10},
        name="mean, 95 % interval",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["mean"],
            "arrayminus": rows["mean"] - rows["low"],
            "color": BLUE,
            "thickness": 2,
        },
        customdata=rows["n"],
        hovertemplate="%{y}: %{x:.3f}, n = %{customdata}<extra></extra>",
    )
    figure.update_xaxes(title=f"{metric} on the test videos")
    figure.update_layout(
        height=140 + 46 * len(names), legend={"orientation": "h", "y": -90 / (46 * len(names)), "yanchor": "top"}
    )
    return style(figure, title, surrogate)


def heat(table, x, y, value="spearman", title="", surrogate=True, marks=None, scale=None):
    """Mean over runs of a metric for every pair of two settings; hover for the spread over seeds and draws.

    marks: {(x, y): words that stand below the number}. scale: what the colours are called, by default the metric.
    """
    mean = table.pivot_table(index=y, columns=x, values=value, aggfunc="mean")
    sd = table.pivot_table(index=y, columns=x, values=value, aggfunc="std").reindex_like(mean)
    below = [[(marks or {}).get((across, down), "") for across in mean.columns] for down in mean.index]
    figure = go.Figure(
        go.Heatmap(
            z=mean.to_numpy(),
            x=[f"{v:g}" for v in mean.columns],
            y=[f"{v:g}" for v in mean.index],
            customdata=sd.to_numpy(),
            text=below,
            texttemplate="%{z:.3f}<br>%{text}" if marks else "%{z:.3f}",
            colorscale="Cividis",
            colorbar={"title": scale or value},
            hovertemplate=f"{x} %{{x}}, {y} %{{y}}: mean %{{z:.3f}}, sd %{{customdata:.3f}} %{{text}}<extra></extra>",
        )
    )
    figure.update_xaxes(title=x, type="category")
    figure.update_yaxes(title=y, type="category")
    return style(figure, title, surrogate)
