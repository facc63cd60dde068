"""The one way to declare a named, bounded, documented value: of a method, of a data set, of a notebook.

    SETTINGS = {"lr": Setting(5e-4, "learning rate", low=0), "task": Setting("all", "a task", choices=("all", "A"))}
    resolve("method x", SETTINGS, {"lr": 1})     # {"lr": 1.0, "task": "all"}
    resolve("method x", SETTINGS, {"lr": -1})    # UserError: method x: lr = -1.0 is below 0, its least value (...)
    resolve("method x", SETTINGS, {"lrr": 1})    # UserError: method x: unknown setting 'lrr': did you mean 'lr'? ...

A value from the command line is a `Word`; one from a YAML file (`read_yaml`) goes through `from_yaml` first.
"""

import math
import os
import re
from dataclasses import dataclass

from aqa_lib.errors import UserError, nearest, shown
from aqa_lib.plain_yaml import read_yaml

NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)?(\.\d*)?(e[-+]?\d+)?", re.IGNORECASE)  # of a word; 007 is a name


@dataclass(frozen=True)
class Setting:
    """A default, what it means, and which values may stand in its place."""

    default: object
    help: str
    low: float | None = None  # both ends are included
    high: float | None = None
    choices: tuple = ()
    per_run: bool = False  # whether runs that differ in it may train as one stack
    kind: type | None = None  # by default that of the default
    optional: bool = False  # whether None may be given, as it may where it is the default
    above: float | None = None  # like low and high, but this end is not included
    below: float | None = None
    filled: bool = False  # whether a list, a mapping or a text may not be empty
    length: int | None = None  # of a list

    def __post_init__(self):
        if self.default is None and self.kind is None:
            raise TypeError(f"a setting whose default is None ({self.help}) must say its kind")
        object.__setattr__(self, "kind", self.kind or type(self.default))
        object.__setattr__(self, "optional", self.optional or self.default is None)

    @property
    def item(self):
        """The Setting of each item of a list whose default has items of one kind; None where any may stand."""
        items = self.default or () if self.kind in (list, tuple) else ()
        alike = len({type(v) for v in items}) == 1 and items[0] is not None
        bounds = dict(low=self.low, high=self.high, above=self.above, below=self.below)
        return Setting(items[0], self.help, **bounds) if alike else None

    def check(self, where, name, value):
        """`value` in the setting's kind, or a UserError; `where` names its owner in the message."""
        if isinstance(value, Word):
            value = value.read(f"{where}: {name}", self)
        if value is None and self.optional:
            return None
        found = self._typed(value)
        if found is None:
            items = f" of {self.item.kind.__name__}" if self.item else ""
            wanted = self.kind.__name__ + items + (" or null" if self.optional else "")
            got = f"{type(value).__name__} {shown(value)}"
            about = f" ({self.help})" if self.help else ""
            raise UserError(f"{where}: {name} takes {wanted} (default {self.default!r}), but got {got}{about}")
        if self.filled and not found and self.kind in (list, tuple, dict, str):
            raise UserError(f"{where}: {name} is empty, {shown(found)}: give at least one ({self.help})")
        if self.length is not None and len(found) != self.length:
            raise UserError(f"{where}: {name} takes {self.length} items, but got {shown(found)} ({self.help})")
        if self.choices and found not in self.choices:
            raise UserError(f"{where}: unknown {name} {shown(found)}{nearest(found, self.choices)}")
        if self.kind in (list, tuple) and self.item:
            for item in found:
                self.item._within(where, name, item)
        elif self.kind in (int, float):
            self._within(where, name, found)
        return found

    def _within(self, where, name, found):
        """A UserError where a number is out of bounds."""
        if self.low is not None and found < self.low:
            raise UserError(f"{where}: {name} = {shown(found)} is below {self.low}, its least value ({self.help})")
        if self.high is not None and found > self.high:
            raise UserError(f"{where}: {name} = {shown(found)} is above {self.high}, its greatest value ({self.help})")
        if self.above is not None and not found > self.above:
            raise UserError(f"{where}: {name} = {shown(found)}, but it must be above {self.above} ({self.help})")
        if self.below is not None and not found < self.below:
            raise UserError(f"{where}: {name} = {shown(found)}, but it must be below {self.below} ({self.help})")

    def _typed(self, value):
        """`value` as the kind, or None where it is of another: a truth value is no number, a path is a word."""
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()  # a numpy number is a number
        whole = isinstance(value, int) and not isinstance(value, bool)
        if self.kind is int:
            return value if whole else None
        if self.kind is float:
            value = float(value) if whole and abs(value) < 1e300 else value
            return value if isinstance(value, float) and not math.isnan(value) else None
        if self.kind is str and not self.choices:  # a file's or a fold's name: 1 is "1"
            return str(value) if whole or isinstance(value, (str, os.PathLike)) else None
        if isinstance(value, (list, tuple)) and self.kind in (list, tuple):
            items = [self.item._typed(v) if self.item else v for v in value]
            return None if self.item and any(v is None for v in items) else self.kind(items)
        return value if isinstance(value, self.kind) else None

    def range(self):
        """The values that may stand, in words: "0 .. 1", "at least 0", "a, b", or the kind."""
        words = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        given = {word: f"{bound:.10g}" for word, bound in words.items() if bound is not None}
        bounds = ", ".join(f"{word} {bound}" for word, bound in given.items())
        if list(given) == ["at least", "at most"]:
            bounds = f"{given['at least']} .. {given['at most']}"
        text = ", ".join(map(str, self.choices)) or bounds or self.kind.__name__
        return text + (", or None" if self.optional else "")


def resolve(where, settings, given, what="setting"):
    """{name: value} of all settings, those that are given checked; an unknown name is answered with the nearest."""
    if not isinstance(given, dict):
        raise UserError(f"{where} takes a mapping of its {what}s, but got {shown(given)}")
    for name in given:
        if name not in settings:
            known = nearest(name, settings) if settings else f": it takes no {what}s"
            raise UserError(f"{where}: unknown {what} {shown(name)}{known}")
    return {name: s.check(where, name, given.get(name, s.default)) for name, s in settings.items()}


def settings_table(settings):
    """A DataFrame of every setting: its default, its range, what it does."""
    import pandas as pd  # here: a study's plan is read without it

    rows = {n: {"default": str(s.default), "range": s.range(), "what it does": s.help} for n, s in settings.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["default", "range", "what it does"])


class Word(str):
    """A value from the command line: a setting of kind `str` takes it as it is, others as YAML reads it."""

    def read(self, where, setting):
        if setting.kind is str and self != "null":
            return str(self)
        try:
            return from_yaml(setting, read_yaml(self, where))
        except UserError:
            raise UserError(f"{where}: {str(self)!r} is not a number, a word or a [list]") from None


def from_yaml(setting, value):
    """What a value in a YAML file means to a setting that holds numbers: YAML reads 1e-3 as a word, and so is "3"."""
    if isinstance(value, (list, tuple)) and setting.item:
        return [from_yaml(setting.item, v) for v in value]
    if isinstance(value, Word) or setting.kind not in (int, float, list, tuple, dict):
        return value
    found = _numbers(value)
    if setting.kind is int and isinstance(value, str) and isinstance(found, float) and found.is_integer():
        return int(found)  # 1e3
    return found


def _numbers(value):
    """`value` with numbers for words like 1e-3, however deep in mappings and lists."""
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(item) for item in value]
    if not isinstance(value, str) or len(value) > 40 or not NUMBER.fullmatch(value):
        return value
    try:
        return int(value) if value.lstrip("+-").isdecimal() else float(value)
    except ValueError:  # a lone sign, point or exponent
        return value
