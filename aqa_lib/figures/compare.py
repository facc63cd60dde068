"""Figures of comparisons over blocks (study/comparison.py): intervals by method, and the measure against labels.

`table` is a summary: columns block, fraction, variant, n, mean, low, high, sd and, where there are such, published.
`measure` is what its numbers are, as the column of the comparison names it.
"""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.evaluation import name_of
from aqa_lib.figures.style import BLACK, BLUE, ORANGE, PALETTE, faded, style

COLOURS = (BLUE, ORANGE, *PALETTE[2:])
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
ROW = 34  # pixels of a variant


def panels(table, title="", measure="spearman", surrogate=True):
    """Mean and 95 % interval of each variant, a panel a label fraction, a colour a block; published values as marks."""
    fractions, names = list(dict.fromkeys(table["fraction"])), list(dict.fromkeys(table["block"]))
    variants = list(dict.fromkeys(table["variant"]))
    position = {variant: -i for i, variant in enumerate(variants)}  # in the order of the table, from the top
    figure = make_subplots(
        cols=len(fractions),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[f"{fraction:.0%} of the labels" for fraction in fractions],
    )
    for column, fraction in enumerate(fractions, 1):
        for i, name in enumerate(names):
            rows = table[(table["block"] == name) & (table["fraction"] == fraction)]
            height = np.array([position[v] for v in rows["variant"]]) + 0.28 * ((len(names) - 1) / 2 - i)
            figure.add_scatter(
                x=rows["mean"],
                y=height,
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                marker={"color": COLOURS[i], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
                error_x=around(rows, COLOURS[i]),
                customdata=rows[["variant", "n"]],
                hovertemplate="%{customdata[0]}: %{x:.3f}, n = %{customdata[1]}<extra>" + str(name) + "</extra>",
                row=1,
                col=column,
            )
        if "published" in table:
            rows = table[(table["fraction"] == fraction) & table["published"].notna()]
            mark = {"color": BLACK, "symbol": "x-thin", "size": 10, "line": {"width": 2, "color": BLACK}}
            group = {"name": "published", "legendgroup": "published", "showlegend": column == 1}
            height = [position[v] for v in rows["variant"]]
            figure.add_scatter(x=rows["published"], y=height, mode="markers", marker=mark, row=1, col=column, **group)
    ticks = {"tickvals": list(position.values()), "ticktext": variants, "range": [0.7 - len(variants), 0.7]}
    figure.update_yaxes(zeroline=False, **ticks)
    figure.update_xaxes(title=name_of(measure), matches="x")
    height = 190 + ROW * len(variants)
    legend = {"orientation": "h", "x": 0, "xref": "paper", "y": -75 / (height - 190), "yanchor": "top"}
    figure.update_layout(height=height, legend=legend, margin={"t": 90, "b": 100})
    return style(figure, title, surrogate)


def around(rows, colour):
    """The 95 % interval of a mean as error bars; none where there is one value alone."""
    above, below = rows["high"] - rows["mean"], rows["mean"] - rows["low"]
    bars = {"type": "data", "symmetric": False, "array": above.fillna(0), "arrayminus": below.fillna(0)}
    return bars | {"color": colour, "thickness": 2, "width": 3}


def label_fractions(table, read_off=None, title="", measure="spearman", surrogate=True):
    """The measure against the share of labels, a line with intervals a variant; values read off a plot dotted.

    table: the summary of one block. read_off: {variant: {fraction: value}} or None.
    """
    figure, variants = go.Figure(), list(dict.fromkeys(table["variant"]))
    for i, (variant, colour) in enumerate(zip(variants, PALETTE * 3, strict=False)):
        rows = table[table["variant"] == variant].sort_values("fraction")
        aside = 0.5 * (i - (len(variants) - 1) / 2)  # percent: intervals side by side can be told apart
        line = {
            "x": 100 * rows["fraction"] + aside,
            "y": rows["mean"],
            "line": {"color": colour, "dash": ("solid", "dash", "longdashdot")[i // len(PALETTE)]},
            "marker": {"size": 8},
        }
        group = {"legendgroup": str(variant)}
        text = "%{customdata[0]:.0%} of the labels: %{y:.3f}, n = %{customdata[1]}"
        said = {"customdata": rows[["fraction", "n"]], "hovertemplate": text}
        bars = around(rows, faded(colour, 0.6))
        figure.add_scatter(**line, **group, **said, mode="lines+markers", name=variant, error_y=bars)
        theirs = sorted((read_off or {}).get(variant, {}).items())
        if theirs:
            x, y = zip(*theirs, strict=True)
            name, dotted = f"{variant}, published (read off a plot)", {"color": colour, "dash": "dot"}
            mark = {"symbol": "x", "size": 8}
            x = [100 * share for share in x]
            figure.add_scatter(x=x, y=y, **group, mode="lines+markers", name=name, line=dotted, marker=mark)
    figure.update_xaxes(
        title="labelled share of the training videos (%)", tickvals=sorted(set(100 * table["fraction"]))
    )
    figure.update_yaxes(title=f"{name_of(measure)}, 95 % interval")
    return style(figure, title, surrogate)
