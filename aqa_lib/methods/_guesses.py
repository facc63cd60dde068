"""What the guesses without video share: a straight line in a number, ridge regression on named values.

A guess predicts from what is known of an item before anybody presses play. In MTL-AQA a group is an event: a dive's
competition alone says more of its score than some published networks do. In JIGSAWS it is a surgeon: where a surgeon
has trials in both parts, as in its four folds, the surgeon's mean says much of a trial.
"""

import numpy as np
from sklearn.linear_model import Ridge

from aqa_lib.errors import UserError
from aqa_lib.methods.base import Method

ATTRIBUTES = ("position", "armstand", "rotation", "somersaults", "twists")  # columns of the table, where it has them


class Guess(Method):
    """A closed-form method that watches no video; it defines fit, and guess(arrays, data, items) -> scores [n].

    Scores are rounded to single precision, as predictions are kept: many items have equal guesses, and which of two
    equal sums rounds up in double precision would rank them.
    """

    gradient = False
    video = False

    def apply(self, arrays, data, items, settings):
        self.check(settings, data)
        return self.guess(arrays, data, np.asarray(items)).astype(np.float32)


def labelled(items, scores):
    """(items whose score is known, their scores y)."""
    known = np.isfinite(scores)
    if not known.any():
        raise UserError("a guess without video needs one item with a score at least: use a larger fraction of labels")
    return items[known], scores[known]


# ---- a straight line


def numbers(data, name, x, items):
    """x [n] of items, each a number; `name` is what x is called."""
    x = np.asarray(x, dtype=float)
    if len(bad := items[~np.isfinite(x[items])]):
        where = str(data.ids[bad[0]])
        raise UserError(f"data set {data.name!r}: {name} of item {where!r} is no number; fill it in or leave it out")
    return x[items]


def line(x, y):
    """Least squares y = mean(y) + slope (x - mean(x)) over x, y [n]; the mean where all x are one."""
    spread = x - x.mean()
    norm = spread @ spread
    slope = spread @ y / norm if norm > 0 else 0.0
    return {"slope": np.array([slope]), "x": np.array([x.mean()]), "y": np.array([y.mean()])}


def on_line(arrays, x):
    return arrays["y"] + arrays["slope"] * (x - arrays["x"])


# ---- ridge regression on named values


def attributes(data):
    """{attribute: its value [N] of every item, as text} of those that the set's table has."""
    found = {name: data.table[name].to_numpy().astype(str) for name in ATTRIBUTES if name in data.table}
    if not found:
        raise UserError(f"data set {data.name!r} has no attributes: its table has none of {', '.join(ATTRIBUTES)}")
    return found


def regress(columns, items, y, alpha):
    """Ridge regression of y on {name: values [N]}, with one column for each value that one of the items has."""
    pairs = [(name, value) for name, column in columns.items() for value in np.unique(column[items])]
    name, value = (np.array(part, dtype=str) for part in zip(*pairs, strict=True))  # [P] each
    model = Ridge(alpha=alpha).fit(indicators(columns, items, name, value), y)
    return {"name": name, "value": value, "w": model.coef_, "b": np.array([model.intercept_])}


def regressed(arrays, columns, items, data):
    """Its prediction for items; a value that no labelled item had has no column and adds nothing."""
    if lacking := [str(name) for name in arrays["name"] if name not in columns]:
        raise UserError(
            f"data set {data.name!r} has no {lacking[0]!r}, from which this guess was learnt: add it to its table"
        )
    return indicators(columns, items, arrays["name"], arrays["value"]) @ arrays["w"] + arrays["b"]


def indicators(columns, items, name, value):
    """x [n,P]: 1 where an item's value of name[p] is value[p]."""
    return np.stack([columns[k][items] == v for k, v in zip(name, value, strict=True)], axis=1).astype(float)
