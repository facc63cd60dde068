"""What a run leaves: its tables as text that reads back to the same bits, and its row in the table."""

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from aqa_lib.data.files import limits
from aqa_lib.errors import UserError
from aqa_lib.ledger.checksums import intact
from aqa_lib.ledger.files import parsed
from aqa_lib.plain_json import from_json

WEIGHTS = "weights.safetensors"
COLUMNS = [
    "id",
    "state",
    "method",
    "data",
    "split",
    "code",
    "reason",
]  # in every table, and names of nothing else


def to_json(value):
    """JSON of metrics and records: numpy numbers as numbers, what is not finite as null."""

    def plain(v):
        if isinstance(v, np.generic | np.ndarray):
            v = v.tolist()
        if isinstance(v, dict):
            return {str(k): plain(item) for k, item in v.items()}
        if isinstance(v, list | tuple):
            return [plain(item) for item in v]
        return None if isinstance(v, float) and not math.isfinite(v) else v

    return json.dumps(plain(value), indent=1, allow_nan=False)


def to_csv(table):
    """A table as CSV: nine digits give a float32 back exactly, the shortest form a float64. No index."""
    table = table.copy()
    for name in table.columns[table.dtypes == np.float32]:
        table[name] = [f"{v:.9g}" if v == v else "" for v in table[name]]
    return table.to_csv(index=False, lineterminator="\n")


def types(table):
    """The type of each column, kept in run.json so that ids like 007 stay text and float32 stays float32."""
    return {str(name): "str" if kind == "object" else str(kind) for name, kind in table.dtypes.items()}


def from_csv(file, types):
    """A table written by `to_csv`; its floats by way of text, as pandas before 3.1 reads them inexactly."""
    real = {name: kind for name, kind in types.items() if kind.startswith("float")}
    table = pd.read_csv(file, dtype=types | dict.fromkeys(real, "str"), keep_default_na=False, na_values=[""])
    return table.astype(dict.fromkeys(real, object)).astype(real)


@dataclass(frozen=True)
class Record:
    """A complete run as read back: what it was, what it measured, its curve and its test predictions."""

    id: str
    spec: dict
    metrics: dict
    curve: pd.DataFrame
    predictions: pd.DataFrame
    run: dict  # all of run.json
    folder: Path
    held: pd.DataFrame | None = None  # predictions of the labelled items of the fold that was held out
    files: dict | None = field(default=None, repr=False)  # {name: checksum}, None of a run from before there were any

    @classmethod
    def of(cls, folder, found):
        """The run in `folder`, whose metrics.json holds `found`."""
        sums = found.get("files")

        def read(name):
            return intact(folder / name, (sums or {}).get(name))

        try:
            run = parsed(read("run.json"))
            tables = {t: from_csv(io.BytesIO(read(f"{t}.csv")), types) for t, types in run["types"].items()}
            curve, predictions = tables["curve"], tables["predictions"]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise damaged(folder, error) from error
        about = folder.name, found["spec"], found["metrics"]
        return cls(*about, curve, predictions, run, folder, tables.get("held"), sums)

    def weights(self):
        """The trained weights as arrays; a UserError where the run was not asked to keep them."""
        return self._kept()[0]

    def about(self):
        """What else is needed to use the weights."""
        return self._kept()[1]

    def _kept(self):
        path = self.folder / WEIGHTS
        if not (path.exists() if self.files is None else WEIGHTS in self.files):
            raise UserError(
                f"run {self.id} kept no weights: ask for it again with Study.train(..., weights=True), which trains it "
                "once more and keeps them"
            )
        try:
            intact(path, (self.files or {}).get(WEIGHTS))
        except ValueError as error:
            raise damaged(self.folder, error) from error
        return unpacked(path)


def damaged(folder, why):
    """The UserError of a run that is not what was written."""
    return UserError(
        f"run {folder.name} in {folder.parent} was damaged after it was written ({why}): "
        f"`aqa runs repair --study {folder.parent.name}` trains it again"
    )


def packed(arrays, about=None):
    """A weights file: numbers as safetensors, words and what else is needed to use them as JSON in its metadata."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    words = {name: a.tolist() for name, a in arrays.items() if a.dtype.kind == "U"}
    numbers = {name: a for name, a in arrays.items() if name not in words}
    return save(numbers, metadata={"aqa": json.dumps({"about": about, "words": words})})


def unpacked(path):
    """(arrays, what else is needed to use them) of a weights file."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = limits.tensors(path, file)
            text = from_json((file.metadata() or {})["aqa"])
        for name, words in text["words"].items():
            arrays[name] = np.array(limits.check_words(words, name), dtype=str)
        return arrays, text["about"]
    except Exception as error:  # of many kinds, in a file that something else wrote
        why = limits.reason(error)
        raise UserError(f"{path} is no weights file of this study ({why}): train its run again") from error


def flat(values, prefix=""):
    """Nested settings on one level, a.b for b in a; a list as its JSON, None as nothing known."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = json.dumps(value) if isinstance(value, list) else value
    return found


def row(id, state, found, taken):
    """One row of the table; `taken` are the names that metrics must not use."""
    spec = found.get("spec") or {}
    data = dict(spec.get("data") or {})
    line = {"id": id, "state": state, "method": spec.get("method"), "data": data.pop("name", None)}
    line |= flat(data, "data.") | {"split": spec.get("split")}
    for name, value in flat(spec.get("settings") or {}).items():
        line[f"settings.{name}" if name in COLUMNS else name] = value
    for name, value in flat(found.get("metrics") or {}).items():
        line[f"metrics.{name}" if name in taken else name] = math.nan if value is None else value
    return line | {"code": found.get("code"), "reason": found.get("reason")}
