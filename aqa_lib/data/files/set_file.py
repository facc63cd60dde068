"""A data set as one file: safetensors, arrays as they are, texts and the rest as JSON in its metadata, no pickle.

The metadata `aqa` holds version, name, meta, measure, within; `strings`, the columns of text; `columns`, those of the
table in their order, and of the actions; `ragged`, which arrays are the rows of videos of unequal length.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors
from safetensors.numpy import save_file

from aqa_lib.data.files import limits
from aqa_lib.data.ragged import Ragged
from aqa_lib.errors import UserError
from aqa_lib.plain_json import from_json

VERSION = 2
READ = (1, 2)  # in format 1 features of unequal length are padded
FIELDS = ("features", "scores", "ids", "judges", "difficulty", "groups", "lengths", "pairs", "seconds")


def save(data, path):
    """Write an AssessmentSet; the file appears whole or not at all."""
    path = Path(path)
    arrays, strings, ragged = {}, {}, []
    fields = {field: getattr(data, field) for field in FIELDS}
    fields |= {f"table/{c}": data.table[c].to_numpy() for c in data.table.columns}
    if data.actions is not None:
        fields |= {f"actions/{c}": data.actions[c].to_numpy() for c in data.actions.columns}
    fields |= {f"views/{key}": data.view(key) for key in data.views}
    fields |= {f"truth/{key}": value for key, value in data.truth.items()}
    for name, value in fields.items():
        if isinstance(value, Ragged):
            ragged.append(name)
        _store(name, getattr(value, "rows", value), arrays, strings)
    text = {"version": VERSION, "name": data.name, "meta": data.meta, "measure": data.measure,
            "within": data.within, "strings": strings, "columns": [str(c) for c in data.table.columns],
            "ragged": ragged,
            "actions": None if data.actions is None else [str(c) for c in data.actions.columns]}  # fmt: skip
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


def read(make, path):
    """The set that `save` wrote, which `make` makes of its fields."""
    try:
        limits.held(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            text = from_json(file.metadata()["aqa"])
            if text["version"] in READ:
                return make(**_fields(text, limits.tensors(path, file)))
    except FileNotFoundError:
        raise UserError(f"no data set at {path}: write one there with AssessmentSet.save") from None
    except Exception as error:  # of many kinds, in a file that something else wrote; or what it says does not agree
        why = limits.reason(error)
        raise UserError(f"{path} is not a data set written by AssessmentSet.save ({why}): save it anew") from error
    raise UserError(f"{path} has format {text['version']!r}, but {VERSION} and older are read: save it anew")


def _fields(text, stored):
    """Field -> value, from the texts and the arrays of a file."""
    stored = stored | text["strings"]
    stored |= {k: Ragged(stored[k], stored["lengths"]) for k in text.get("ragged", ())}
    fields = {k: stored[k] for k in FIELDS if k in stored}
    fields["table"] = pd.DataFrame({c: stored[f"table/{c}"] for c in text["columns"]})
    if text.get("actions") is not None:
        fields["actions"] = pd.DataFrame({c: stored[f"actions/{c}"] for c in text["actions"]})
    fields["truth"] = {k.split("/", 1)[1]: v for k, v in stored.items() if k.startswith("truth/")}
    fields["views"] = {k.split("/", 1)[1]: v for k, v in stored.items() if k.startswith("views/")}
    if not isinstance(text["name"], str) or not isinstance(text["meta"], dict):
        raise ValueError("its name is no text, or its meta no object")
    fields |= {"name": text["name"], "meta": text["meta"]}
    return fields | {k: text.get(k) for k in ("measure", "within")}


def _store(name, value, arrays, strings):
    """Numbers and booleans among the arrays, anything else as a list of strings."""
    if value is None:
        return
    value = np.asarray(value)
    if value.dtype.kind in "fiub":
        arrays[name] = np.ascontiguousarray(value)
    else:
        strings[name] = [None if v is None or v is pd.NA or v != v else str(v) for v in value]
