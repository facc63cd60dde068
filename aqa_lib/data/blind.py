"""Baselines that watch no video: what is known of an item before anybody presses play.

    rows = over_draws("group mean", data, official(data), fraction=0.1, draws=range(200))   # [200, test items]
    spearman_rows(rows, data.scores[official(data).test])

Each takes the labelled items (indices whose scores may be used) and predicts others. In MTL-AQA a group is an event:
a dive's competition alone says more of its score than some published networks do. In JIGSAWS it is a surgeon: where a
surgeon has trials in both parts, as in its four folds, the surgeon's mean says much of a trial.
"""

from itertools import combinations

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder

from aqa_lib.data.splits import label_draw
from aqa_lib.errors import UserError, choose

ATTRIBUTES = ("position", "armstand", "rotation", "somersaults", "twists")  # columns of the table, where it has them
DURATIONS = ("duration", "seconds", "frames")  # the same; the first of them counts


def training_mean(data, labelled, items):
    """The mean of the labelled scores for every item: what is known where nothing is."""
    return np.full(len(items), data.scores[labelled].mean())


def group_mean(data, labelled, items, shrink=2.0):
    """Mean of the group (event, surgeon), drawn to the mean m of all: (sum + shrink m) / (n + shrink)."""
    if data.groups is None:
        raise UserError(f"data set {data.name!r} has no groups, so there is no group mean: fill in its field groups")
    names, group = np.unique(data.groups, return_inverse=True)
    scores, of = data.scores[labelled], group[labelled]
    sums, count = (np.bincount(of, weights=w, minlength=len(names)) for w in (scores, np.ones(len(of))))
    return ((sums + shrink * scores.mean()) / (count + shrink))[group[items]]


def difficulty(data, labelled, items):
    """A straight line in the difficulty."""
    if data.difficulty is None:
        raise UserError(f"data set {data.name!r} has no difficulty: fill in its field difficulty")
    return line("difficulty", data.difficulty, data, labelled, items)


def duration(data, labelled, items):
    """A straight line in the duration of the clip or trial."""
    there = [c for c in DURATIONS if c in data.table]
    if not there:
        raise UserError(f"data set {data.name!r} has no duration: its table has none of {', '.join(DURATIONS)}")
    return line(there[0], data.table[there[0]].to_numpy(dtype=float), data, labelled, items)


def attributes(data, labelled, items, groups=False, alpha=1.0):
    """Ridge regression on the attributes, one column for each value that a labelled item has."""
    there = [data.table[c].to_numpy() for c in ATTRIBUTES if c in data.table]
    if not there:
        raise UserError(f"data set {data.name!r} has no attributes: its table has none of {', '.join(ATTRIBUTES)}")
    if groups and data.groups is None:
        raise UserError(f"data set {data.name!r} has no groups to set beside the attributes")
    values = np.stack([v.astype(str) for v in ([data.groups] if groups else []) + there], axis=1)  # [N, A]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(values[labelled])
    model = Ridge(alpha=alpha).fit(encoder.transform(values[labelled]), data.scores[labelled])
    return model.predict(encoder.transform(values[items]))


def group_and_attributes(data, labelled, items, alpha=1.0):
    """The same with the group as one more attribute."""
    return attributes(data, labelled, items, groups=True, alpha=alpha)


BASELINES = {
    "training mean": training_mean,
    "group mean": group_mean,
    "difficulty": difficulty,
    "duration": duration,
    "attributes": attributes,
    "group and attributes": group_and_attributes,
}


def applicable(data):
    """The names of the baselines that this data set has what they need for."""
    has = {"training mean": True, "group mean": data.groups is not None, "difficulty": data.difficulty is not None}
    has["duration"] = any(c in data.table for c in DURATIONS)
    has["attributes"] = any(c in data.table for c in ATTRIBUTES)
    has["group and attributes"] = has["attributes"] and has["group mean"]
    return [name for name in BASELINES if has[name]]


def predict(name, data, labelled, items, **knobs):
    """Predictions [len(items)] of the baseline `name` from the scores of the labelled items alone."""
    baseline = BASELINES[choose("baseline", name, BASELINES)]
    if len(labelled) == 0 or np.isnan(data.scores[labelled]).any():
        raise UserError(f"baseline {name!r}: labelled items need a score each, and there must be one at least")
    return baseline(data, np.asarray(labelled), np.asarray(items), **knobs)


def over_draws(name, data, split, fraction, draws, how="random", **knobs):
    """Predictions [draws, test items], one row a label draw."""
    labelled = (label_draw(data, fraction, draw, how, split) for draw in draws)
    return np.stack([predict(name, data, some, split.test, **knobs) for some in labelled])


def panels(judges, size=3):
    """Sums of the awards [N, J] by every two disjoint panels of `size` judges: two arrays [pairs, N].

    Their rank correlation is how well judges agree with judges, a ceiling for whoever is to agree with them. Of seven
    judges, two panels of three are taken in 70 ways.
    """
    seats = range(judges.shape[1])
    pairs = [(a, b) for a in combinations(seats, size) for b in combinations(set(seats) - set(a), size) if a < b]
    if not pairs:
        raise UserError(f"two disjoint panels of {size} need {2 * size} judges, but there are {len(seats)}")
    return tuple(np.stack([judges[:, list(pair[k])].sum(axis=1) for pair in pairs]) for k in (0, 1))


def line(name, x, data, labelled, items):
    """Least squares y = a x + b on the labelled items; the mean where all x are one. `name` is what x is called."""
    y = data.scores
    bad = np.flatnonzero(~np.isfinite(x[np.concatenate([labelled, items])]))
    if len(bad):
        where = str(data.ids[np.concatenate([labelled, items])[bad[0]]])
        raise UserError(f"data set {data.name!r}: {name} of item {where!r} is no number; fill it in or leave it out")
    spread = x[labelled] - x[labelled].mean()
    norm = spread @ spread
    slope = spread @ y[labelled] / norm if norm > 0 else 0.0
    return y[labelled].mean() + slope * (x[items] - x[labelled].mean())
