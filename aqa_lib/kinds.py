"""Of what kind the arguments of a public function are: one sentence instead of a traceback where one is of another.

    @takes(predicted=numbers, true=numbers)
    def mae(predicted, true): ...

    mae("high", [1.0])      # UserError: mae: predicted takes numbers, but got 'high'

The function itself says what it needs beyond that, such as a shape. Bounds of single values are Settings (settings.py).
"""

import functools
import inspect
from collections.abc import Iterable, Mapping

import numpy as np

from aqa_lib.errors import UserError, choose, shown


def takes(**kinds):
    """A decorator: each named argument that is given is put to its kind(where, value) before the function runs."""

    def wrap(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args, **named):
            given = signature.bind(*args, **named).arguments
            for name, kind in kinds.items():
                if name in given:
                    kind(f"{function.__name__}: {name}", given[name])
            return function(*args, **named)

        return checked

    return wrap


def refuse(where, wanted, value):
    text = shown(value)
    raise UserError(f"{where} takes {wanted}, but got {text if len(text) < 60 else type(value).__name__}")


def numbers(where, value):
    """An array of numbers, or what numpy makes one of."""
    try:
        np.asarray(value, float)
    except (TypeError, ValueError, OverflowError, RecursionError):
        refuse(where, "numbers", value)


def samples(where, value):
    """Numbers, or a tuple of paired vectors of them."""
    for part in value if isinstance(value, tuple) else (value,):
        numbers(where, part)


def number(where, value):
    """One number."""
    numbers(where, value)
    if np.ndim(value) != 0 or value is None:
        refuse(where, "a number", value)


def whole(where, value):
    """One whole number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        refuse(where, "a whole number", value)


def pair(where, value):
    """Two numbers, the least and the most."""
    numbers(where, value)
    if np.shape(value) != (2,):
        refuse(where, "two numbers, the least and the most", value)


def function(where, value):
    if not callable(value):
        refuse(where, "a function", value)


def places(where, value):
    """A vector of whole numbers, none below 0: of items, in an array."""
    numbers(where, value)
    found = np.asarray(value)
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found < 0).any():
        refuse(where, "the numbers of items, each at least 0", value)


def word(where, value):
    if not isinstance(value, str):
        refuse(where, "a word", value)


def words(where, value):
    """A list of words."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        refuse(where, "a list of words", value)
    for one in value:
        word(f"{where}, an item of it,", one)


def mapping(where, value):
    if not isinstance(value, Mapping):
        refuse(where, "a mapping", value)


def variants(where, value):
    """{title: (name of a method, its settings)}."""
    mapping(where, value)
    for one in value.values():
        if not (isinstance(one, (tuple, list)) and len(one) == 2 and isinstance(one[1], Mapping)):
            refuse(where, "variants, {title: (method, settings)}", value)


def table(*columns):
    """The kind of a DataFrame that has these columns."""

    def kind(where, value):
        if not hasattr(value, "itertuples"):
            refuse(where, "a table, a DataFrame", value)
        for column in columns:
            choose(f"{where} has no column", column, list(value.columns))

    return kind


def having(wanted, *names):
    """The kind of an object that has these attributes; `wanted` says in words what that is."""

    def kind(where, value):
        if isinstance(value, type) or not all(hasattr(value, name) for name in names):
            refuse(where, wanted, value)

    return kind


def tables(where, value):
    """A list of at least one DataFrame."""
    if not isinstance(value, (list, tuple)) or not len(value):
        refuse(where, "a list of at least one table", value)
    for one in value:
        TABLE(f"{where}, an item of it,", one)


def some(kind, wanted):
    """At least one of them; `wanted` says in words what."""

    def filled(where, value):
        kind(where, value)
        if not len(value):
            refuse(where, f"at least one of {wanted}", value)

    return filled


def by_name(kind):
    """A mapping from names to things of one kind."""

    def named(where, value):
        mapping(where, value)
        for name, one in value.items():
            kind(f"{where}[{name!r}]", one)

    return named


def or_word(kind):
    """A word, or what `kind` is of."""
    return lambda where, value: None if isinstance(value, str) else kind(where, value)


def several(kind):
    """One, or a list of them."""

    def each(where, value):
        for one in value if isinstance(value, list) else [value]:
            kind(where, one)

    return each


def optional(kind):
    """None, or what `kind` is of."""
    return lambda where, value: None if value is None else kind(where, value)


DATA = having("a data set, an AssessmentSet", "scores", "ids", "table", "need_features")
SPLIT = having("a split", "name", "train", "test")
METHOD = having("a method or its name", "resolve", "fits", "task")
TABLE = table()
SELECTED = having("what a rule of selection has selected", "value", "steps")
VARIANTS = some(variants, "variants, {title: (method, settings)}")
