"""Figures of the open questions: differences or areas by world."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.figures.style import BLACK, PALETTE, style

BEATS, WORSE, NONE = "beats", "is worse than", "cannot be compared with"  # as study/words.py has them


def dots(table, reference, axis, title="", surrogate=True):
    """Means with intervals, a line a row, around a reference; columns row, kind (a colour each), mean, low, high."""
    rows, kinds = list(dict.fromkeys(table["row"]))[::-1], list(dict.fromkeys(table["kind"]))
    figure = go.Figure()
    for i, kind in enumerate(kinds):
        part = table[table["kind"] == kind]
        shift = 0.16 * ((len(kinds) - 1) / 2 - i)  # the first kind on top
        figure.add_scatter(
            x=part["mean"],
            y=[rows.index(r) + shift for r in part["row"]],
            mode="markers",
            name=kind,
            marker={"color": PALETTE[i], "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": part["high"] - part["mean"],
                "arrayminus": part["mean"] - part["low"],
                "thickness": 2,
            },
            text=part["row"],
            hovertemplate="%{text}: %{x:.3f}<extra></extra>",
        )
    figure.add_vline(x=reference, line={"color": BLACK, "dash": "dot"})
    figure.update_yaxes(tickvals=np.arange(len(rows)), ticktext=rows, range=[-0.6, len(rows) - 0.4])
    ends = [reference, *table["low"].dropna(), *table["high"].dropna(), *table["mean"].dropna()]
    margin = 0.05 * (max(ends) - min(ends))
    figure.update_xaxes(title=axis, range=[min(ends) - margin, max(ends) + margin])
    height = 190 + 46 * len(rows)
    legend = {"orientation": "h", "y": -75 / (46 * len(rows)), "yanchor": "top"}
    figure.update_layout(height=height, legend=legend, margin={"b": 105})
    return style(figure, title, surrogate)


def phases(table, x, y, panel, title="", surrogate=True):
    """A heat map for each value of `panel`: mean differences over two axes; coloured where the verdict is one.

    Columns x, y, panel, difference, difference low, difference high, verdict.
    """
    values, columns, rows = (list(dict.fromkeys(table[name])) for name in (panel, x, y))
    figure = make_subplots(cols=len(values), subplot_titles=[str(v) for v in values], shared_yaxes=True)
    most = table["difference"].abs().max()
    for i, value in enumerate(values):
        part = table[table[panel] == value].set_index([y, x]).reindex([(r, c) for r in rows for c in columns])
        told = part["verdict"].isin([BEATS, WORSE])
        numbers = part.apply(cell, axis=1)
        shape = len(rows), len(columns)
        figure.add_heatmap(
            z=part["difference"].where(told, 0.0).to_numpy().reshape(shape),
            x=[f"{c:.1%}" for c in columns],
            y=rows,
            text=numbers.to_numpy().reshape(shape),
            texttemplate="%{text}",
            hoverinfo="skip",
            zmin=-most,
            zmax=most,
            colorscale=[[0, "#d55e00"], [0.5, "#e8e9ec"], [1, "#0072b2"]],
            colorbar={"title": "difference"},
            showscale=i == 0,
            row=1,
            col=i + 1,
        )
    figure.update_xaxes(title=x, type="category")
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=200 + 75 * len(rows), margin={"t": 95})
    return style(figure, title, surrogate)


def cell(row):
    """What stands in a cell of a diagram: the difference with its interval, or that the mechanism was off."""
    if row["verdict"] == NONE:
        return "off"
    return f"{row['difference']:+.3f}<br>[{row['difference low']:+.3f}, {row['difference high']:+.3f}]"
