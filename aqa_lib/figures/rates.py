"""A figure of errors over learning rates, a line a method."""

import plotly.graph_objects as go

from aqa_lib.figures.style import PALETTE, style


def rates(result, title="Error on held-out labelled videos over the learning rate", surrogate=True):
    """`result` has a row a method and a column "<factor> x" an error; each line is divided by its own least error."""
    columns = [c for c in result.columns if c.endswith(" x")]
    factors = [float(c[:-2]) for c in columns]
    figure = go.Figure()
    for i, (name, row) in enumerate(result[columns].iterrows()):
        line = {"color": PALETTE[i % len(PALETTE)], "dash": ["solid", "dot", "dash"][i // len(PALETTE) % 3]}
        figure.add_scatter(x=factors, y=row / row.min(), name=name, mode="lines+markers", line=line)
    figure.update_xaxes(title="learning rate, in multiples of the least tried", type="log", tickvals=factors)
    figure.update_yaxes(title="error / the method's least")
    figure.update_layout(height=480)
    return style(figure, title, surrogate)
