"""The style of every figure: one template, a palette safe for colour-blind readers, the badge `surrogate`.

The palette is Okabe and Ito's (2008), without its yellow, which vanishes on white.
"""

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK = PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#333333",
)
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
GRID = "#e6e8ec"
AXIS = {
    "gridcolor": GRID,
    "zerolinecolor": GRID,
    "linecolor": "#8a909c",
    "showline": True,
    "ticks": "outside",
    "tickcolor": "#8a909c",
    "automargin": True,
    "title": {"standoff": 10},
}
TEMPLATE = go.layout.Template(
    layout={
        "colorway": PALETTE,
        "font": {"family": SANS, "size": 13, "color": "#23272f"},
        "title": {"font": {"size": 16}, "x": 0.0, "xref": "paper", "xanchor": "left"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": AXIS,
        "yaxis": AXIS,
        "colorscale": {"sequential": "Cividis", "sequentialminus": "Cividis", "diverging": "RdBu"},
        "hoverlabel": {"font": {"family": SANS}},
        "legend": {"bgcolor": "rgba(255,255,255,0.8)"},
        "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
    }
)


def style(figure, title=None, surrogate=True):
    """Apply the template to a figure, with a visible badge where it shows surrogate data; returns the figure."""
    figure.update_layout(template=TEMPLATE)
    if title is not None:
        figure.update_layout(title_text=title)
    if surrogate and "surrogate" not in [note.name for note in figure.layout.annotations]:
        figure.add_annotation(
            name="surrogate",
            text="surrogate",
            xref="paper",
            yref="paper",
            x=1,
            y=1,
            xanchor="right",
            yanchor="bottom",
            yshift=8,
            showarrow=False,
            borderpad=3,
            bgcolor="#fff3d6",
            bordercolor=ORANGE,
            font={"size": 11, "color": "#7a5200"},
        )
    return figure


def faded(colour, alpha=0.2):
    """A palette colour made transparent: for bands around a line of that colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
