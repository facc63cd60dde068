"""Figures of encoded videos: t-SNE in three dimensions, to be rotated, and the measures of neighbours beside it."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aqa_lib.figures.style import BLACK, BLUE, GREEN, ORANGE, PALETTE, faded, style


def spaces(pictures, scores, names=None, title="", surrogate=True):
    """Points {what: [N, 3]} side by side, each to be rotated, coloured by the videos' scores [N].

    t-SNE makes outliers now and then: the view is that of the middle 98 %, and the title counts the points outside.
    """
    ranges = {what: [middle(axis, 1, 0.15) for axis in np.asarray(drawn).T] for what, drawn in pictures.items()}
    titles = []
    for what, drawn in pictures.items():
        low, high = np.array(ranges[what]).T
        lost = int(((drawn < low) | (drawn > high)).any(1).sum())
        titles.append(f"{what} ({lost} out of view)" if lost else what)
    figure = make_subplots(
        cols=len(pictures),
        specs=[[{"type": "scene"}] * len(pictures)],
        subplot_titles=titles,
        horizontal_spacing=0.01,
    )
    for column, (what, drawn) in enumerate(pictures.items(), 1):
        figure.add_scatter3d(
            **dict(zip("xyz", np.asarray(drawn).T, strict=True)),
            mode="markers",
            marker={"color": scores, "coloraxis": "coloraxis", "size": 3.5, "opacity": 0.9},
            text=names,
            customdata=scores,
            hovertemplate="%{text}<br>score %{customdata:.1f}<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
        view = {f"{axis}axis_range": span for axis, span in zip("xyz", ranges[what], strict=True)}
        figure.update_scenes(view, row=1, col=column)
    figure.update_annotations(yshift=-16)  # the panels' titles, below the badge
    # t-SNE's axes mean nothing: no numbers on them
    bare = {"showticklabels": False, "title": "", "backgroundcolor": "#f6f7f9", "gridcolor": "#dfe2e7"}
    figure.update_scenes(
        xaxis=bare, yaxis=bare, zaxis=bare, aspectmode="cube", camera_eye={"x": 1.5, "y": 1.5, "z": 1.1}
    )
    bar = {"title": {"text": "score of<br>the judges"}, "len": 0.8}
    low, high = middle(scores, 2)
    figure.update_layout(coloraxis={"colorscale": "Cividis", "colorbar": bar, "cmin": low, "cmax": high})
    figure.update_layout(height=430, margin={"l": 5, "r": 5, "t": 95, "b": 10})
    return style(figure, title, surrogate)


def middle(values, tail, margin=0.0):
    """[low, high]: the percentiles `tail` and 100 - tail, widened by a margin in shares of that span."""
    low, high = np.percentile(values, [tail, 100 - tail])
    return [low - margin * (high - low), high + margin * (high - low)]


def neighbourhoods(values, intervals, chance, title="", surrogate=True):
    """Neighbourhood rank correlation: every draw, and the mean with its interval.

    values: a table with a row a draw and a column a representation; intervals: {representation: (mean, low, high)};
    chance: the correlation of randomly permuted scores.
    """
    figure = go.Figure()
    names = list(values.columns)[::-1]
    for name in names:
        figure.add_scatter(
            x=values[name],
            y=[name] * len(values),
            mode="markers",
            marker={"color": faded(BLUE, 0.35), "size": 8},
            name="a label draw",
            legendgroup="draw",
            showlegend=name == names[0],
        )
    mean, low, high = np.array([intervals[name] for name in names]).T
    figure.add_scatter(
        x=mean,
        y=names,
        mode="markers",
        name="mean, 95 % interval",
        marker={"color": ORANGE, "size": 11, "symbol": "diamond"},
        error_x={"type": "data", "symmetric": False, "array": high - mean, "arrayminus": mean - low, "thickness": 2},
    )
    line = {"color": BLACK, "dash": "dot"}
    figure.add_scatter(x=[chance] * 2, y=[names[0], names[-1]], mode="lines", line=line, name="scores shuffled")
    ends = np.array([values.to_numpy().min(), values.to_numpy().max(), chance, *low, *high])
    span = [ends.min() - 0.03, ends.max() + 0.03]
    figure.update_xaxes(title="rank correlation of a video's score with its neighbours' mean", range=span)
    height = 150 + 46 * len(names)
    legend = {"orientation": "h", "y": -62 / (height - 150), "yanchor": "top"}
    figure.update_layout(height=height + 40, legend=legend, margin={"b": 100})
    return style(figure, title, surrogate)


def redrawn(table, title="", surrogate=True):
    """t-SNE run again on the same points: a marker a run, a colour a perplexity, a column a measure.

    table: a row a run, with columns seed, perplexity and one for every measure.
    """
    measures = [c for c in table if c not in ("seed", "perplexity")]
    figure = go.Figure()
    for colour, (perplexity, rows) in zip((BLUE, ORANGE, GREEN, *PALETTE), table.groupby("perplexity"), strict=False):
        figure.add_scatter(
            x=np.tile(measures, len(rows)),
            y=rows[measures].to_numpy().ravel(),
            customdata=np.repeat(rows["seed"].to_numpy(), len(measures)),
            mode="markers",
            marker={"color": colour, "size": 11, "opacity": 0.75},
            name=f"perplexity {perplexity:g}",
            hovertemplate="seed %{customdata}: %{y:.3f}<extra></extra>",
        )
    figure.update_yaxes(range=[min(0, table[measures].to_numpy().min()) - 0.05, 1.05])
    figure.update_layout(height=380, scattermode="group")
    return style(figure, title, surrogate)
