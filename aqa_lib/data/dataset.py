"""The data set object: features, scores and one table row an item, in numpy, in one file (files/set_file.py)."""

import dataclasses

import numpy as np
import pandas as pd

from aqa_lib.data.actions import checked
from aqa_lib.data.files import limits, set_file
from aqa_lib.data.ragged import Ragged, fitted
from aqa_lib.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class AssessmentSet:
    """N videos, each T segments of features, with what is known of them: a score, a rank in pairs, actions.

    `features` is None where only the annotations are at hand: enough for splits, draws and whatever sees no video.
    Videos of unequal length are a Ragged; padded features with `lengths` become one, and so do views and seconds.
    """

    name: str
    features: np.ndarray | Ragged | None = None  # [N, T, *shape] float32, shape has one axis or more
    scores: np.ndarray | None = None  # [N] float64, NaN = unlabelled; None = all unlabelled
    ids: np.ndarray | None = None  # [N] str, each once, never None
    table: pd.DataFrame | None = None  # a row an item; column "split": train, test, "" for neither; None: ids alone
    judges: np.ndarray | None = None  # [N, J] awards; meta["judging"] says how they make the score
    difficulty: np.ndarray | None = None  # [N]
    groups: np.ndarray | None = None  # [N] str: competition, surgeon, ... whose items resemble each other
    lengths: np.ndarray | None = None  # [N] int: segments of each video; None where all have the same number
    pairs: np.ndarray | None = None  # [P, 2] int: items (better, worse), where skill is ranked in pairs
    actions: pd.DataFrame | None = None  # video (id), label, start, end in seconds, a row an action
    seconds: np.ndarray | Ragged | None = None  # [N, T, 2] float64: start and end of each segment
    measure: str | None = None  # what tables of this set compare; None: the measure of the task
    within: str | None = None  # column of the table: only items of one level of it are comparable (standardise.py)
    views: dict = dataclasses.field(default_factory=dict)  # flow, still ...: [N, T, *shape'], or a function
    truth: dict = dataclasses.field(default_factory=dict)  # planted truth, surrogate only
    meta: dict = dataclasses.field(default_factory=dict)  # options, source, "surrogate": bool

    def __post_init__(self):
        def put(field, dtype):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, self._numbers(f"field {field}", value, dtype))

        for field, dtype in (("features", "float32"), ("seconds", "float64")):
            put(field, dtype)
        for field in ("scores", "judges", "difficulty"):
            put(field, "float64")
        for field in ("ids", "groups"):
            put(field, "str")
        for field in ("lengths", "pairs"):
            put(field, "int64")
        if self.ids is None:
            self._refuse("ids", "is missing; every item needs an id of its own")
        if self.scores is None:
            object.__setattr__(self, "scores", np.full(self.ids.size, np.nan))
        for field in ("table", "actions"):
            if not isinstance(getattr(self, field), pd.DataFrame | None):
                self._refuse(field, f"must be a DataFrame, but is a {type(getattr(self, field)).__name__}")
        if not isinstance(self.within, str | None):
            self._refuse("within", f"must be the name of a column, but is a {type(self.within).__name__}")
        table = pd.DataFrame({"id": self.ids}) if self.table is None else self.table.reset_index(drop=True)
        object.__setattr__(self, "table", table)
        self._check()
        if self.actions is not None:
            actions = checked(self.actions, self.ids, lambda why: self._refuse("actions", why))
            object.__setattr__(self, "actions", actions)
        self._align()

    def _numbers(self, what, value, dtype):
        """`value`, an array or a Ragged, as `dtype`."""
        if isinstance(value, Ragged):
            return value.astype(dtype)
        try:
            if dtype == "str":
                limits.check_words(value, f"data set {self.name!r}: {what}")
            return np.ascontiguousarray(value, dtype=dtype)
        except UserError:
            raise
        except (TypeError, ValueError):
            raise UserError(f"data set {self.name!r}: {what} does not convert to {dtype}") from None

    def _refuse(self, field, why):
        raise UserError(f"data set {self.name!r}: field {field} {why}")

    def _check(self):
        """Refuse fields that do not fit the items."""
        x, n, refuse = self.features, self.scores.size, self._refuse
        if x is not None:
            if x.ndim < 3 or 0 in x.shape:
                refuse("features", f"must be [N, T, D] or [N, T, ...] with no empty axis, but has shape {x.shape}")
            n = len(x)
        elif n == 0:
            refuse("scores", "is empty; a data set has at least one item")
        for field in ("scores", "ids", "difficulty", "groups", "lengths"):
            value = getattr(self, field)
            if value is not None and value.shape != (n,):
                of = "features" if x is not None else "scores"
                refuse(field, f"must have shape ({n},) like the {n} items of {of}, but has {value.shape}")
        if self.judges is not None and (self.judges.ndim != 2 or len(self.judges) != n):
            refuse("judges", f"must have shape ({n}, J), but has {self.judges.shape}")
        if len(self.table) != n:
            refuse("table", f"must have {n} rows, one an item, but has {len(self.table)}")
        if np.isinf(self.scores).any():
            refuse("scores", "holds infinity; a score is a number, or NaN where it is unknown")
        if len(np.unique(self.ids)) != n:
            names, counts = np.unique(self.ids, return_counts=True)
            refuse("ids", f"holds {str(names[counts.argmax()])!r} twice; every item needs an id of its own")
        if self.lengths is not None:
            most = x.shape[1] if x is not None else self.lengths.max()
            if not ((self.lengths >= 1) & (self.lengths <= most)).all():
                refuse("lengths", f"must lie in 1..{most}, the number of segments")
            if isinstance(x, Ragged) and not np.array_equal(self.lengths, x.length):
                refuse("lengths", "differs from the lengths of the ragged features; leave it out")
        if self.pairs is not None:
            if self.pairs.ndim != 2 or self.pairs.shape[1] != 2:
                refuse("pairs", f"must have shape (P, 2), items (better, worse), but has {self.pairs.shape}")
            if not ((self.pairs >= 0) & (self.pairs < n)).all():
                refuse("pairs", f"must hold numbers of items, 0..{n - 1}")
            if (self.pairs[:, 0] == self.pairs[:, 1]).any():
                refuse("pairs", "holds an item that is ranked against itself")
        if "split" in self.table and not self.table["split"].isin(["train", "test", ""]).all():
            refuse("table", "has a column split with values other than 'train' and 'test' ('' for neither)")
        if self.measure is not None and not (isinstance(self.measure, str) and self.measure):
            refuse("measure", f"must be the name of a measure, such as spearman, but is {self.measure!r}")
        if self.within is not None:
            self._check_within()

    def _check_within(self):
        """Refuse `within` that is no column, leaves a cell empty, or parts the items of a ranked pair."""
        columns = list(map(str, self.table.columns))
        if self.within not in columns:
            self._refuse("within", f"must be a column of the table ({', '.join(columns)}), but is {self.within!r}")
        if (empty := self.table[self.within].isna() | (self.table[self.within] == "")).any():
            self._refuse("within", f"names column {self.within}, which is empty for {str(self.ids[empty.argmax()])!r}")
        if self.pairs is not None:
            levels = self.levels()
            apart = levels[self.pairs[:, 0]] != levels[self.pairs[:, 1]]
            if apart.any():
                a, b = self.ids[self.pairs[apart.argmax()]]
                self._refuse(
                    "pairs", f"ranks {str(a)!r} against {str(b)!r}, which differ in {self.within}, its `within`"
                )

    def _align(self):
        """Bring features, views and seconds into the same rows, an array where all videos have the same length."""
        x, refuse = self.features, self._refuse
        if x is None:
            if self.seconds is not None:
                refuse("seconds", "holds the times of segments, but there are no features; leave it out")
            return
        (N, T), length = x.shape[:2], x.length if isinstance(x, Ragged) else self.lengths
        if length is not None and (length == T).all():
            length = None
        x = fitted(x, N, T, length)
        if not np.isfinite(_rows(x)).all():
            refuse("features", "holds NaN or infinity; drop or repair those items first")
        object.__setattr__(self, "features", x)
        if (s := self.seconds) is not None:
            s = fitted(s, N, T, length)
            if s is None or s.shape[2:] != (2,):
                was = self.seconds.shape
                refuse("seconds", f"must be [N, T, 2], start and end of each segment of the features, but has {was}")
            start, end = _rows(s)[..., 0], _rows(s)[..., 1]
            if not np.isfinite(_rows(s)).all() or (start > end).any():
                refuse("seconds", "must hold finite times, start <= end")
            object.__setattr__(self, "seconds", s)
        if length is not None:
            views = {k: v if callable(v) else self._fit(k, v, N, T, length) for k, v in self.views.items()}
            object.__setattr__(self, "views", views)
        object.__setattr__(self, "lengths", x.length if isinstance(x, Ragged) else None)

    def _fit(self, name, x, N, T, length):
        """View `name` in the rows of the features."""
        x = self._numbers(f"its {name} features", x, "float32")
        fit = fitted(x, N, T, length)
        if fit is not None and np.isfinite(_rows(fit)).all():
            return fit
        same = "" if length is None else " and the lengths of the features"
        want = f"finite and [N, T, D] with N, T = {(N, T)}{same}"
        raise UserError(f"data set {self.name!r}: its {name} features must be {want}, but have shape {x.shape}")

    def __len__(self):
        return len(self.scores)

    def need_features(self):
        """The features [N, T, *shape]; a UserError where the set is annotations alone."""
        if self.features is None:
            raise UserError(
                f"data set {self.name!r} has no features, only annotations: give a feature store "
                "(option features, the path of its file), or a set that comes with features"
            )
        return self.features

    def view(self, name):
        """Features [N, T, *shape'] of another kind: "rgb" are the set's own, others are made when asked for."""
        if name == "rgb":
            return self.need_features()
        if name not in self.views:
            raise UserError(
                f"data set {self.name!r} has no {name} features, only {', '.join(['rgb', *self.views])}: put them into "
                "its feature store as a modality of that name, or choose a method that does without"
            )
        x = self.views[name]
        x = self._fit(name, x() if callable(x) else x, *self.need_features().shape[:2], self.lengths)
        self.views[name] = x
        return x

    def levels(self):
        """[N] str: which items are comparable, those of one level of `within`; all of them where it is None."""
        if self.within is None:
            return np.full(len(self), "")
        return self.table[self.within].to_numpy().astype(str)

    @property
    def ragged(self):
        """True where the videos differ in length: features are a Ragged, and `lengths` says how many segments."""
        return isinstance(self.features, Ragged)

    @property
    def surrogate(self):
        """True where the set is generated; whatever is made from it must say so."""
        return bool(self.meta.get("surrogate", False))

    def save(self, path):
        """Write the set as one safetensors file; the file appears whole or not at all."""
        return set_file.save(self, path)

    @classmethod
    def read(cls, path):
        """The set that `save` wrote."""
        return set_file.read(cls, path)


def _rows(x):
    """The numbers of an array or a Ragged."""
    return x.rows if isinstance(x, Ragged) else x
