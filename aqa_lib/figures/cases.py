"""Figures of single videos: on which one model is better than another, and what happened in the two extreme cases."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.figures.style import BLUE, GREEN, RED, faded, style


def errors(base, full, cases, names=None, labels=("AA", "full S4AQA"), title="", surrogate=True):
    """|error| of the full model against that of the base model, a marker a video; `cases`: {what: index of a video}."""
    base, full = np.asarray(base), np.asarray(full)
    top = 1.05 * max(base.max(), full.max())
    figure = go.Figure()
    figure.add_scatter(
        x=[0, top], y=[0, top], mode="lines", line={"color": "#8a909c", "dash": "dot"}, name="equally wrong"
    )
    figure.add_scatter(
        x=base,
        y=full,
        mode="markers",
        marker={"color": faded(BLUE, 0.5), "size": 7},
        name="test videos",
        text=names,
        hovertemplate="%{text}: %{x:.1f} and %{y:.1f}<extra></extra>",
    )
    for colour, (what, index) in zip((GREEN, RED), cases.items(), strict=False):
        marker = {"color": colour, "size": 15, "symbol": "star"}
        figure.add_scatter(x=base[[index]], y=full[[index]], mode="markers", marker=marker, name=what)
    figure.update_xaxes(title=f"|error| of {labels[0]}", range=[0, top])
    figure.update_yaxes(title=f"|error| of {labels[1]}", range=[0, top])
    figure.update_layout(height=480)
    return style(figure, title, surrogate)


def strips(execution, cases, notes, title="", surrogate=True):
    """What happened in the segments of single videos: planted execution, a row a case, negative = error.

    execution [N, T]; cases: {what: index of a video}; notes: {what: words on the right}.
    """
    execution = np.asarray(execution)
    figure = make_subplots(
        rows=len(cases),
        shared_xaxes=True,
        vertical_spacing=0.22,
        subplot_titles=[f"{what}: {notes[what]}" for what in cases],
    )
    top = 1.1 * max(np.abs(execution[index]).max() for index in cases.values())
    segments = np.arange(1, execution.shape[1] + 1)
    for row, index in enumerate(cases.values(), 1):
        colours = [BLUE if e >= 0 else RED for e in execution[index]]
        figure.add_bar(x=segments, y=execution[index], marker_color=colours, showlegend=False, row=row, col=1)
        figure.add_hline(y=-1.5, line={"color": "#8a909c", "dash": "dash", "width": 1}, row=row, col=1)
    figure.update_yaxes(range=[-top, top], title="execution")
    figure.update_xaxes(dtick=1)
    figure.update_xaxes(title="segment", row=len(cases), col=1)
    figure.update_annotations(font_size=13)
    figure.update_layout(height=120 + 190 * len(cases), margin={"t": 95})
    return style(figure, title, surrogate)


def trend(measure, gain, axis, title="", surrogate=True):
    """How much better the full model is, against a measure of the videos: every video, and means of six equal bins."""
    measure, gain = np.asarray(measure), np.asarray(gain)
    figure = go.Figure()
    figure.add_hline(y=0, line={"color": "#8a909c", "dash": "dot"})
    figure.add_scatter(
        x=measure, y=gain, mode="markers", marker={"color": faded(BLUE, 0.4), "size": 7}, name="test videos"
    )
    parts = np.array_split(np.argsort(measure, kind="stable"), min(6, len(measure)))
    error = [2 * gain[p].std(ddof=1) / len(p) ** 0.5 if len(p) > 1 else np.nan for p in parts]
    figure.add_scatter(
        x=[measure[p].mean() for p in parts],
        y=[gain[p].mean() for p in parts],
        mode="lines+markers",
        error_y={"type": "data", "array": error},
        line={"color": GREEN},
        name="mean of a bin, ± 2 standard errors",
    )
    figure.update_xaxes(title=axis)
    figure.update_yaxes(title="|error| of AA less that of the full model")
    figure.update_layout(height=420, legend={"orientation": "h", "y": -0.22, "yanchor": "top"})
    return style(figure, title, surrogate)
