"""Features standardised within the levels of a column (`AssessmentSet.within`): what is usual for one movement is no
news, and only how an item differs from others of its level counts.

    z = (x - m_l) / s_l,    m_l, s_l: mean and standard deviation of a feature over the training items of level l,

scored and unscored alike, at each segment where all videos have equally many, else over all segments. Items that are
tested on never enter. A feature that does not vary in level l stays as it is there (m = 0, s = 1): it says which level
it is. `standardised(data, split)` gives the set that a run on that split sees, made once a set and split.
"""

import dataclasses

import numpy as np

from aqa_lib.data.ragged import Ragged
from aqa_lib.errors import UserError

PREFIX = "within"  # of the names of its arrays in a weights file


@dataclasses.dataclass(eq=False)
class Standard:
    """Mean and deviation of features in each level; view "rgb" are the features themselves."""

    column: str
    levels: np.ndarray  # [L] str, sorted
    moments: dict = dataclasses.field(default_factory=dict)  # view -> (mean, deviation) [L, T, *shape] or [L, *shape]

    def numbers(self, data, items):
        """[N] the level of every item, -1 where it is not among the levels, which those of `items` must be."""
        if self.column not in data.table:
            raise UserError(
                f"data set {data.name!r} has no column {self.column}: features were standardised within its levels "
                "in training, so add it to the table"
            )
        names = data.table[self.column].to_numpy().astype(str)
        place = np.searchsorted(self.levels, names).clip(max=len(self.levels) - 1)
        found = np.where(self.levels[place] == names, place, -1)
        if (found[items] < 0).any():
            item = items[np.argmax(found[items] < 0)]
            raise UserError(
                f"data set {data.name!r}: {self.column} {str(names[item])!r} of {str(data.ids[item])!r} was not among "
                f"the training items, whose mean and deviation it needs: take one of {', '.join(self.levels)}"
            )
        return found

    def fit(self, view, x, numbers, items):
        """Take the moments of a view from x [N, T, *shape], or Ragged, of `items` alone."""
        x, numbers = x[items], numbers[items]
        rows, level = _rows(x, numbers)
        parts = [rows[level == k] for k in range(len(self.levels))]
        mean = np.stack([part.mean(0, dtype=np.float64) for part in parts])
        deviation = np.stack([part.std(0, dtype=np.float64) for part in parts])
        still = np.stack([part.min(0) == part.max(0) for part in parts])
        mean, deviation = np.where(still, 0, mean), np.where(still, 1, deviation)
        self.moments[view] = mean.astype(np.float32), deviation.astype(np.float32)

    def apply(self, view, x, numbers):
        """z of x; items of no known level stay as they are."""
        mean, deviation = self.moments[view]
        rows, level = _rows(x, numbers)
        if not isinstance(x, Ragged) and mean.ndim == x.ndim and mean.shape[1] != x.shape[1]:
            raise UserError(f"features have {x.shape[1]} segments, but were standardised with {mean.shape[1]} each")
        out = rows.copy()
        for k in range(len(self.levels)):
            out[level == k] = (rows[level == k] - mean[k]) / deviation[k]
        return Ragged(out, x.length) if isinstance(x, Ragged) else out

    def transformed(self, data, items, train=None):
        """The same set with z for its features and views; `train`: the items that give moments not yet known."""
        numbers = self.numbers(data, items)

        def make(view):
            x = data.view(view)
            if view not in self.moments:
                self.fit(view, x, numbers, train)
            return self.apply(view, x, numbers)

        views = {
            view: (lambda view=view: make(view)) for view in data.views if train is not None or view in self.moments
        }
        return dataclasses.replace(data, features=make("rgb"), views=views)

    # ---- in a weights file

    def beside(self, weights, about, views):
        """Weights and their description with the moments of the features and these views."""
        arrays = {}
        for view in ("rgb", *views):
            for name, value in zip(("mean", "deviation"), self.moments[view], strict=True):
                arrays[f"{PREFIX}.{view}.{name}"] = value
        return weights | arrays, about | {PREFIX: {"column": self.column, "levels": self.levels.tolist()}}


def parted(weights, about):
    """(the method's own weights, the Standard beside them or None)."""
    if PREFIX not in about:
        return weights, None
    moments = {}
    for name in weights:
        if name.startswith(f"{PREFIX}.") and name.endswith(".mean"):
            stem = name.removesuffix(".mean")
            moments[stem.removeprefix(f"{PREFIX}.")] = weights[name], weights[f"{stem}.deviation"]
    own = {name: value for name, value in weights.items() if not name.startswith(f"{PREFIX}.")}
    return own, Standard(about[PREFIX]["column"], np.array(about[PREFIX]["levels"], dtype=str), moments)


def standardised(data, split):
    """(the set that runs on this split see, its Standard); the set itself and None without `within` or features."""
    if data.within is None or data.features is None:
        return data, None
    made = data.__dict__.setdefault("_standardised", {})  # lives as long as the set; runs on one split share one copy
    key = split.train.tobytes(), split.test.tobytes()
    if key not in made:
        standard = Standard(data.within, np.unique(data.levels()[split.train]))
        items = np.concatenate([split.train, split.test])
        made[key] = standard.transformed(data, items, split.train), standard
    return made[key]


def _rows(x, numbers):
    """(rows of x, the level of each): a row is an item, or in a Ragged a segment."""
    return (x.rows, np.repeat(numbers, x.length)) if isinstance(x, Ragged) else (x, numbers)
