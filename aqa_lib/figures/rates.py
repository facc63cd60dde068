"""A figure of held-out errors against steps: a panel a method and share of labels, a line a candidate."""

import numpy as np
from plotly.subplots import make_subplots

from aqa_lib.figures.style import PALETTE, style

COLUMNS = 4


def steps(pooled, chosen, title="Root of the pooled held-out error, by share of labels", surrogate=True):
    """`pooled`: fraction, variant, step, error. `chosen`: fraction, method, variant, candidate, step, error, choice.

    A candidate's values stand at the end of its line; what does not live is dotted, what is off dashed. A ring is the
    least error of the candidate that is chosen.
    """
    panels = list(chosen.groupby(["method", "fraction"], sort=False))
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    titles = [f"{method}, {fraction:.0%}" for (method, fraction), _ in panels]
    figure = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=0.5 / (rows + 1))
    for place, ((_, fraction), candidates) in enumerate(panels):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        for i, row in enumerate(candidates.itertuples()):
            line = pooled[(pooled["variant"] == row.variant) & (pooled["fraction"] == fraction)]
            errors = line["error"].where(np.isfinite(line["error"]))
            look = {"color": PALETTE[i % len(PALETTE)]}
            look["dash"] = {"off": "dash", "does not live": "dot"}.get(row.choice, "solid")
            values = ", ".join(part.rpartition(" ")[2] for part in row.candidate.split(", "))
            words = [""] * (len(line) - 1) + [values]
            words = {"text": words, "textposition": "top left", "textfont": {"color": look["color"], "size": 10}}
            kind = {"mode": "lines+text", "line": look, "name": row.candidate}
            figure.add_scatter(x=line["step"], y=errors, **kind, **words, **at)
            if row.choice.startswith("chosen"):
                ring = {"symbol": "circle-open", "size": 11, "color": look["color"], "line": {"width": 2}}
                figure.add_scatter(x=[row.step], y=[row.error], mode="markers", marker=ring, name="chosen", **at)
    figure.update_xaxes(title="steps", title_font_size=11, tickfont_size=10, row=rows)
    figure.update_annotations(font_size=12)
    figure.update_layout(height=120 + 260 * rows, showlegend=False)
    return style(figure, title, surrogate)
