"""The data set object: features, scores and one table row an item, in numpy, in one file.

File format: safetensors (arrays as they are, strings and the rest as JSON in its metadata, no pickle).
"""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors
from safetensors.numpy import save_file

from aqa_lib.errors import UserError

VERSION = 1
FIELDS = ("features", "scores", "ids", "judges", "difficulty", "groups", "lengths", "pairs")


@dataclasses.dataclass(frozen=True, eq=False)
class AssessmentSet:
    """N assessed actions, each T segment features of D numbers, with a score where one is known.

    `features` is None where only the annotations are at hand: enough for splits, draws and whatever sees no video.
    """

    name: str
    features: np.ndarray | None  # [N, T, D] float32
    scores: np.ndarray  # [N] float64, NaN = unlabelled
    ids: np.ndarray  # [N] str, each once
    table: pd.DataFrame  # one row an item; column "split" (train/test) where there is an official split
    judges: np.ndarray | None = None  # [N, J] awards
    difficulty: np.ndarray | None = None  # [N]
    groups: np.ndarray | None = None  # [N] str: competition, surgeon, ... whose items resemble each other
    lengths: np.ndarray | None = None  # [N] int: valid segments where videos differ in length
    pairs: np.ndarray | None = None  # [P, 2] int: items (better, worse), where skill is ranked in pairs
    views: dict = dataclasses.field(default_factory=dict)  # flow, still ...: [N, T, D'] or a function that makes it
    truth: dict = dataclasses.field(default_factory=dict)  # planted truth, surrogate only
    meta: dict = dataclasses.field(default_factory=dict)  # options, source, "surrogate": bool

    def __post_init__(self):
        def put(field, dtype):
            value = getattr(self, field)
            if value is not None:
                try:
                    value = np.ascontiguousarray(value, dtype=dtype)
                except (TypeError, ValueError):
                    why = f"field {field} does not convert to {dtype}"
                    raise UserError(f"data set {self.name!r}: {why}") from None
                object.__setattr__(self, field, value)

        put("features", "float32")
        for field in ("scores", "judges", "difficulty"):
            put(field, "float64")
        for field in ("ids", "groups"):
            put(field, "str")
        for field in ("lengths", "pairs"):
            put(field, "int64")
        object.__setattr__(self, "table", self.table.reset_index(drop=True))
        self._check()

    def _check(self):
        def refuse(field, why):
            raise UserError(f"data set {self.name!r}: field {field} {why}")

        x, n = self.features, self.scores.size
        if x is not None:
            if x.ndim != 3 or 0 in x.shape:
                refuse("features", f"must be [N, T, D] with no empty axis, but has shape {x.shape}")
            if not np.isfinite(x).all():
                refuse("features", "holds NaN or infinity; drop or repair those items first")
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
        if self.pairs is not None:
            if self.pairs.ndim != 2 or self.pairs.shape[1] != 2:
                refuse("pairs", f"must have shape (P, 2), items (better, worse), but has {self.pairs.shape}")
            if not ((self.pairs >= 0) & (self.pairs < n)).all():
                refuse("pairs", f"must hold numbers of items, 0..{n - 1}")
            if (self.pairs[:, 0] == self.pairs[:, 1]).any():
                refuse("pairs", "holds an item that is ranked against itself")
        if "split" in self.table and not self.table["split"].isin(["train", "test"]).all():
            refuse("table", "has a column split with values other than 'train' and 'test'")

    def __len__(self):
        return len(self.scores)

    def need_features(self):
        """The features [N, T, D]; a UserError where the set is annotations alone."""
        if self.features is None:
            raise UserError(
                f"data set {self.name!r} has no features, only annotations: give a feature store "
                "(option features, the path of its file), or a set that comes with features"
            )
        return self.features

    def view(self, name):
        """Features [N, T, D'] of another kind: "rgb" are the set's own, others are made when asked for."""
        if name == "rgb":
            return self.need_features()
        if name not in self.views:
            raise UserError(
                f"data set {self.name!r} has no {name} features, only {', '.join(['rgb', *self.views])}: put them into "
                "its feature store as a modality of that name, or choose a method that does without"
            )
        x = self.views[name]
        x = np.ascontiguousarray(x() if callable(x) else x, dtype="float32")
        if x.ndim != 3 or x.shape[:2] != self.need_features().shape[:2] or not np.isfinite(x).all():
            want = f"finite and [N, T, D] with N, T = {self.features.shape[:2]}"
            raise UserError(f"data set {self.name!r}: its {name} features must be {want}, but have shape {x.shape}")
        self.views[name] = x
        return x

    @property
    def surrogate(self):
        """True where the set is generated; whatever is made from it must say so."""
        return bool(self.meta.get("surrogate", False))

    def save(self, path):
        """Write the set as one safetensors file; the file appears whole or not at all."""
        path = Path(path)
        arrays, strings = {}, {}
        for field in FIELDS:
            _store(field, getattr(self, field), arrays, strings)
        for column in self.table.columns:
            _store(f"table/{column}", self.table[column].to_numpy(), arrays, strings)
        for key in self.views:
            _store(f"views/{key}", self.view(key), arrays, strings)
        for key, value in self.truth.items():
            _store(f"truth/{key}", value, arrays, strings)
        text = {"version": VERSION, "name": self.name, "meta": self.meta, "strings": strings,
                "columns": [str(c) for c in self.table.columns]}  # fmt: skip
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(arrays, part, metadata={"aqa": json.dumps(text)})
            os.replace(part, path)
        except OSError as error:
            raise UserError(f"cannot write the data set to {path}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
        return path

    @classmethod
    def read(cls, path):
        """The set that `save` wrote."""
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                text = json.loads(file.metadata()["aqa"])
                stored = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
            if text["version"] == VERSION:
                stored |= text["strings"]
                fields = {"features": None} | {k: stored[k] for k in FIELDS if k in stored}
                fields["table"] = pd.DataFrame({c: stored[f"table/{c}"] for c in text["columns"]})
                fields["truth"] = {k.split("/", 1)[1]: v for k, v in stored.items() if k.startswith("truth/")}
                fields["views"] = {k.split("/", 1)[1]: v for k, v in stored.items() if k.startswith("views/")}
                fields |= {"name": text["name"], "meta": text["meta"]}
        except FileNotFoundError:
            raise UserError(f"no data set at {path}: write one there with AssessmentSet.save") from None
        except Exception as error:  # of many kinds, in a file that something else wrote
            raise UserError(f"{path} is not a data set written by AssessmentSet.save ({error})") from error
        if text["version"] != VERSION:
            raise UserError(f"{path} has format {text['version']}, but {VERSION} is read: save it anew")
        return cls(**fields)


def _store(name, value, arrays, strings):
    """Numbers and booleans among the arrays, anything else as a list of strings."""
    if value is None:
        return
    value = np.asarray(value)
    if value.dtype.kind in "fiub":
        arrays[name] = np.ascontiguousarray(value)
    else:
        strings[name] = [None if v is None or v is pd.NA or v != v else str(v) for v in value]
