"""Figures of the surrogate world: the chain of errors, the judges, the features, and who can read what."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.figures.style import BLACK, BLUE, GREEN, ORANGE, PALETTE, PINK, SKY, faded, style

KINDS = {"knows the truth": GREEN, "sees the features": BLUE, "sees no video": ORANGE}


def stage_correlations(execution):
    """Mean correlation of stages s and s + lag, lag = 0 .. S-1, from execution [N, S]."""
    matrix = np.corrcoef(np.asarray(execution).T)
    return np.array([np.diagonal(matrix, lag).mean() for lag in range(len(matrix))])


def chain(executions, skill):
    """Correlation of two stages against their distance, measured and in theory, one line a rho.

    executions: {rho: [N, S]}, all of the same `skill`, the share of the athlete's skill.
    """
    figure = go.Figure()
    for colour, (rho, execution) in zip(PALETTE, executions.items(), strict=False):
        measured = stage_correlations(execution)
        lag = np.arange(len(measured))
        theory = skill + (1 - skill) * np.where(lag == 0, 1.0, float(rho) ** lag)
        group = {"legendgroup": str(rho), "x": lag}
        figure.add_scatter(y=theory, mode="lines", line_color=colour, name=f"rho = {rho:g}, theory", **group)
        figure.add_scatter(
            y=measured,
            mode="markers",
            marker={"color": colour, "size": 8},
            name=f"rho = {rho:g}, generated",
            **group,
        )
    figure.update_xaxes(title="stages apart")
    figure.update_yaxes(title="correlation of execution", range=[-0.12, 1.05])
    return style(figure, "How an early mistake lives on")


def judges(awards, level, sd):
    """Spread of the seven awards against their level: every dive, its bin's root mean square, and the planted value.

    awards [N, 7]; level [N] planted mean award; sd [N] planted standard deviation of a judge.
    """
    awards, level, sd = np.asarray(awards), np.asarray(level), np.asarray(sd)
    spread, order = awards.std(axis=1, ddof=1), np.argsort(level)
    bins = 12
    edges = np.linspace(level.min(), level.max(), bins + 1)
    bin_of = np.digitize(level, edges[1:-1])
    filled = [b for b in range(bins) if (bin_of == b).sum() >= 5]
    figure = go.Figure()
    figure.add_scatter(
        x=level,
        y=spread,
        mode="markers",
        name="a dive's seven awards",
        marker={"color": faded(BLUE, 0.35), "size": 5},
    )
    figure.add_scatter(
        x=[level[bin_of == b].mean() for b in filled],
        y=[np.sqrt((spread[bin_of == b] ** 2).mean()) for b in filled],
        mode="markers",
        name="root mean square of a bin",
        marker={"color": BLACK, "size": 10, "symbol": "diamond"},
    )
    figure.add_scatter(x=level[order], y=sd[order], mode="lines", name="planted", line={"color": ORANGE, "width": 3})
    figure.update_xaxes(title="level of the awards (0-10)")
    figure.update_yaxes(title="standard deviation of a judge (points)", rangemode="tozero")
    return style(figure, "How much judges disagree")


def features(x):
    """What a network gets to see: the first video [T, D] as a map, and the histogram of all features [N, T, D]."""
    x = np.asarray(x)
    busiest = np.argsort(-x.mean(axis=(0, 1)), kind="stable")[:64]
    counts, edges = np.histogram(x[x > 0], bins=60, range=(0, float(np.quantile(x, 0.9995))))
    figure = make_subplots(cols=2, horizontal_spacing=0.17)
    figure.add_heatmap(z=x[0][:, busiest], colorscale="Cividis", showscale=False, row=1, col=1)
    middle, share, width = (edges[1:] + edges[:-1]) / 2, counts / x.size, edges[1]
    figure.add_bar(x=middle, y=share, width=width, marker_color=BLUE, name="above zero", row=1, col=2)
    zero = {"x": [-width], "y": [(x == 0).mean()], "width": width}
    figure.add_bar(**zero, marker_color=PINK, name="exactly zero", row=1, col=2)
    figure.update_xaxes(title="feature, busiest first (one video)", row=1, col=1)
    figure.update_yaxes(title="segment", autorange="reversed", row=1, col=1)
    figure.update_xaxes(title=f"value (all videos, {(x == 0).mean():.0%} exactly zero)", row=1, col=2)
    figure.update_yaxes(title="share", type="log", dtick=1, exponentformat="power", row=1, col=2)
    figure.update_layout(legend={"x": 0.98, "y": 0.95, "xanchor": "right"}, barmode="overlay")
    return style(figure, "Features as a pooled, rectified network would give them")


def readers(table):
    """Rank correlation of every reader with its interval, best on top.

    table: columns reader, kind (one of KINDS), spearman, low, high.
    """
    table = table.sort_values("spearman")
    figure = go.Figure()
    for kind, colour in KINDS.items():
        part = table[table["kind"] == kind]
        error = {"array": part["high"] - part["spearman"], "arrayminus": part["spearman"] - part["low"]}
        figure.add_scatter(
            x=part["spearman"],
            y=part["reader"],
            error_x=error | {"type": "data", "thickness": 2},
            mode="markers",
            marker={"color": colour, "size": 11},
            name=kind,
        )
    figure.update_xaxes(title="rank correlation with the score, 95 % interval")
    figure.update_yaxes(categoryorder="array", categoryarray=list(table["reader"]))
    figure.update_layout(legend={"orientation": "h", "y": -0.22})
    return style(figure, "A perfect reader, and simple ones")


def in_sight(correlations):
    """How well each planted quantity is read off the features: {name: rank correlation} as bars."""
    names = sorted(correlations, key=correlations.get)
    figure = go.Figure(go.Bar(x=[correlations[n] for n in names], y=names, orientation="h", marker_color=SKY))
    figure.update_xaxes(title="rank correlation of the reading with the truth", range=[0, 1])
    return style(figure, "What of the planted truth is in sight")
