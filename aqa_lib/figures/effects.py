"""Figures of effects (study/effects.py): gain, mechanism and second task side by side; the recovery of one video.

`table` has columns block, fraction, variant, effect, n, difference, difference low, difference high and mechanism.
"""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.evaluation import name_of
from aqa_lib.figures.style import BLUE, GREEN, ORANGE, PINK, style

COLOURS, SYMBOLS = (BLUE, GREEN, PINK), ("circle", "diamond", "square")
OPEN = {"circle": "circle-open", "diamond": "diamond-open", "square": "square-open"}
ROW, GAP = 54, 70  # pixels of a variant, and between the panels of two blocks


def three_effects(table, title="", measure="spearman", baseline="AA", surrogate=True):
    """The three effects of each variant with 95 % intervals: a panel a share of labels, a row of panels a block.

    Open marks: a mechanism was off, or off in some of the runs. Nothing is drawn where no variant has a control.
    """
    if table.empty:
        return style(go.Figure(), title, surrogate)
    fractions, blocks = list(dict.fromkeys(table["fraction"])), list(dict.fromkeys(table["block"]))
    variants, kinds = list(dict.fromkeys(table["variant"])), list(dict.fromkeys(table["effect"]))
    panel, where = ROW * len(variants) + 20, ", {}" if len(blocks) > 1 else ""
    height = 190 + len(blocks) * panel + (len(blocks) - 1) * GAP
    figure = make_subplots(
        rows=len(blocks),
        cols=len(fractions),
        shared_xaxes="all",
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=GAP / (height - 190) if len(blocks) > 1 else 0,
        subplot_titles=[f"{share:.0%} of the labels{where.format(block)}" for block in blocks for share in fractions],
    )
    for row, block in enumerate(blocks, 1):
        for column, share in enumerate(fractions, 1):
            for i, kind in enumerate(kinds):
                rows = table[(table["block"] == block) & (table["fraction"] == share) & (table["effect"] == kind)]
                shapes = [OPEN[SYMBOLS[i]] if off else SYMBOLS[i] for off in rows["mechanism"].str.contains("OFF")]
                figure.add_scatter(
                    x=rows["difference"],
                    y=[0.22 * (1 - i) - variants.index(v) for v in rows["variant"]],
                    mode="markers",
                    name=kind,
                    legendgroup=kind,
                    showlegend=False,
                    marker={
                        "color": COLOURS[i],
                        "size": 9,
                        "symbol": shapes,
                    },
                    error_x=bars(rows, COLOURS[i]),
                    customdata=rows[["variant", "n", "mechanism"]],
                    hovertemplate=f"%{{customdata[0]}}, {kind}: %{{x:.3f}}, n = %{{customdata[1]}}; %{{customdata[2]}}"
                    f"<extra>{block}</extra>",
                    row=row,
                    col=column,
                )
    for kind, colour, symbol in zip(kinds, COLOURS, SYMBOLS, strict=False):  # the legend's marks are never open
        mark = {"color": colour, "symbol": symbol, "size": 9}
        name = meaning(kind, baseline)
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, legendgroup=kind, marker=mark)
    ticks = {"tickvals": [-i for i in range(len(variants))], "ticktext": variants, "range": [0.6 - len(variants), 0.6]}
    figure.update_yaxes(zeroline=False, **ticks)
    figure.add_vline(x=0, line={"color": "#8a909c", "width": 1.5})
    figure.update_xaxes(title=f"difference in {name_of(measure)}", row=len(blocks))
    legend = {"orientation": "h", "x": 0, "xref": "paper", "y": -75 / (height - 190), "yanchor": "top"}
    figure.update_layout(height=height, legend=legend, margin={"t": 90, "b": 100})
    return style(figure, title, surrogate)


def meaning(kind, baseline):
    """An effect's name with the difference that it is."""
    of = {"gain": f"less {baseline}", "mechanism": "less its control", "second task": f"the control less {baseline}"}
    return f"{kind} ({of[kind]})" if kind in of else kind


def bars(rows, colour):
    """The 95 % interval of a difference as error bars; none where there is one value alone."""
    above, below = rows["difference high"] - rows["difference"], rows["difference"] - rows["difference low"]
    sides = {"type": "data", "symmetric": False, "array": above.fillna(0), "arrayminus": below.fillna(0)}
    return sides | {"color": colour, "thickness": 2, "width": 3}


def recovered(own, other, title="", surrogate=True):
    """Of one video, the error of what is recovered of each segment, hidden alone, against its own and another's.

    own, other [T]: mean absolute errors; NaN beyond the video's end.
    """
    own, other = np.asarray(own), np.asarray(other)
    figure = go.Figure()
    segments = np.arange(1, len(own) + 1)
    for values, name, colour in ((own, "against the hidden segment", BLUE), (other, "against those of others", ORANGE)):
        figure.add_bar(x=segments, y=values, name=name, marker_color=colour)
    figure.update_xaxes(title="hidden segment", dtick=1)
    figure.update_yaxes(title="mean absolute error")
    figure.update_layout(height=340, barmode="group", legend={"orientation": "h", "y": -0.3, "yanchor": "top"})
    return style(figure, title, surrogate)
