"""Faults of single values: what may stand where a valid value is expected, as YAML text and as Python objects.

texts("0.4")          # [(kind of fault, name, YAML text, whether it can never be valid), ...]
objects([0.1, 0.4])   # [(kind of fault, name, object), ...]
places({"a": [1]})    # [("a",), ("a", 0)]: where in nested mappings and lists values stand
"""

import numpy as np
import pandas as pd

DEEP, DEEPER = 40, 3000  # levels of brackets

TEXTS = [  # kind of fault, YAML text; the third says that no value of a config is like this
    ("missing", "null", False),
    ("empty", '""', False),
    ("empty", "[]", False),
    ("empty", "{}", False),
    ("zero", "0", False),
    ("negative", "-1", False),
    ("negative", "[-1]", False),
    ("huge", "1.0e+300", False),
    ("huge", "9" * 20, False),
    ("huge", "9" * 5000, False),
    ("NaN", ".nan", True),
    ("NaN", "[.nan]", True),
    ("NaN", "-.inf", True),
    ("wrong type", "{zzz: [1]}", True),
    ("wrong type", "[{zzz: 1}]", True),
    ("wrong type", "[[a], 3]", True),
    ("wrong type", "zzz", False),
    ("wrong type", "3", False),
    ("wrong type", "true", False),
    ("nested", "[" * DEEP + "]" * DEEP, True),
    ("nested", "{a: " * DEEPER + "1" + "}" * DEEPER, True),
    ("cyclic", "&zzz [*zzz]", True),
    ("cyclic", "&zzz {a: *zzz}", True),
    ("doubled", "{zzz: 1, zzz: 2}", True),
    ("damaged", '"cut', True),
    ("damaged", '"\\ud800"', False),
    ("damaged", '"a\\0b"', False),
]


def brief(value):
    """A name for a value, short and the same each time."""
    text = type(value).__name__ if " at 0x" in repr_of(value) else repr_of(value)
    return text if len(text) < 40 else f"{text[:30]}... of {len(text)}"


def repr_of(value):
    """repr, or the kind where even that fails."""
    try:
        return " ".join(repr(value).split())
    except (RecursionError, ValueError):
        return type(value).__name__


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def cyclic():
    ring, loop = [], {}
    ring.append(ring)
    loop["name"] = loop
    return ring, loop


def objects(value, depth=2):
    """(kind of fault, name, object) to stand in the place of a valid `value`: any kinds, then faults of its own."""
    ring, loop = cyclic()
    found = [("missing", None), ("empty", ""), ("empty", []), ("empty", {}), ("empty", np.empty(0)), ("zero", 0)]
    found += [("negative", -1), ("negative", -0.5), ("huge", 1e300), ("huge", 10**30), ("huge", 10**5000)]
    found += [("huge", "x" * 10**6), ("NaN", float("nan")), ("NaN", float("inf")), ("NaN", [float("nan")] * 3)]
    found += [("wrong type", v) for v in ("zzz", 3, 2.5, True, object(), {"zzz": 1}, [{"zzz": 1}], b"zzz", {1, 2}, 1j)]
    found += [("wrong type", v) for v in (int, np.array(["a", "b"]), np.zeros((2, 2, 2)), pd.DataFrame({"zzz": [1]}))]
    found += [("nested", nested(DEEP)), ("nested", nested(DEEPER)), ("cyclic", ring), ("cyclic", loop)]
    found += [("doubled", [value, value]), ("damaged", "\ud800"), ("damaged", "a\0b")]
    named = [(kind, brief(v), v) for kind, v in found]
    if isinstance(value, np.ndarray):
        named += of_array(value)
    elif isinstance(value, pd.DataFrame):
        named += of_table(value)
    elif isinstance(value, (dict, list, tuple)) and depth:
        named += of_container(value, depth)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        named += [("wrong type", f"text {value}", str(value)), ("damaged", "an array of it", np.array([value]))]
    elif isinstance(value, str):
        named += [("wrong type", "bytes", value.encode()), ("damaged", "cut", value[:-1]), ("doubled", "", value * 2)]
    return named


def of_array(x):
    """Faults of an array of numbers or words."""
    found = [("damaged", "an item less", x[:-1]), ("doubled", "joined to itself", np.concatenate([x, x]))]
    found += [("wrong type", "words", x.astype(str)), ("wrong type", "objects", x.astype(object))]
    found += [("damaged", "an axis more", x[None]), ("damaged", "equal items", np.repeat(x[:1], len(x), 0))]
    found += [("empty", "no item", x[:0]), ("damaged", "the first item alone", x[:1])]
    if x.dtype.kind in "if":
        for kind, bad in (("NaN", np.nan), ("NaN", np.inf), ("huge", 1e300), ("negative", -1.0), ("zero", 0.0)):
            one = x.astype(float)
            one.flat[0] = bad
            found += [(kind, f"one of {bad}", one), (kind, f"all of {bad}", np.full(x.shape, bad))]
        found += [("wrong type", "complex numbers", x.astype(complex))]
    return found


def of_table(table):
    """Faults of a table: of each column, and of its rows."""
    found = [("empty", "no row", table[:0]), ("doubled", "all rows twice", pd.concat([table, table]))]
    found += [("doubled", "all columns twice", pd.concat([table, table], axis=1)), ("damaged", "a row", table[:1])]
    for name in table.columns:
        found += [("missing", f"no {name}", table.drop(columns=name))]
        for kind, bad in (("NaN", np.nan), ("missing", None), ("wrong type", "zzz"), ("negative", -1), ("huge", 1e300)):
            found += [(kind, f"{name} of {bad}", table.assign(**{str(name): bad}))]
        found += [("nested", f"{name} of lists", table.assign(**{str(name): [[1]] * len(table)}))]
    return found


def of_container(value, depth):
    """Faults of the items of a mapping or a list, one at a time."""
    found, keys = [], list(value) if isinstance(value, dict) else range(min(len(value), 2))
    for key in keys:
        less = {k: v for k, v in value.items() if k != key} if isinstance(value, dict) else [*value[:-1]]
        found += [("missing", f"no {key}", less)]
        found += [(kind, f"{key}: {name}", replaced(value, (key,), bad)) for kind, name, bad in
                  objects(value[key], depth - 1)]  # fmt: skip
    return found


def places(value, path=()):
    """The path of every value inside nested mappings, and of the first item of each kind of a list."""
    found, seen = [], set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(value, list) and type(item) in seen:
            continue
        seen.add(type(item))
        found += [(*path, key), *places(item, (*path, key))]
    return found


def at(value, path):
    """What stands there."""
    for key in path:
        value = value[key]
    return value


def replaced(value, path, new):
    """The nested mappings and lists, with another value in one place."""
    if not path:
        return new
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], rest, new)
    return tuple(copy) if isinstance(value, tuple) else copy


def without(value, path):
    """The nested mappings and lists, with one place left out."""
    *above, key = path
    copy = at(value, above)
    copy = dict(copy) if isinstance(copy, dict) else list(copy)
    del copy[key]
    return replaced(value, above, copy)
