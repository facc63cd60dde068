"""Arguments of another kind are one sentence, on one line, of every public function of a room."""

import inspect

import numpy as np
import pandas as pd
import pytest

from aqa_lib import evaluation, kinds, training
from aqa_lib.data import AssessmentSet, splits
from aqa_lib.errors import UserError
from aqa_lib.study import choice, effects, parts, summary, tables, variants

ODD = ["high", [["a"]], {"a": 3}, {}, object(), pd.DataFrame({"a": ["x"]}), np.array(["a"])]
GATED = [*vars(splits).values(), training.train, tables.compare, tables.shows, tables.label_runs, effects.effects]
GATED += [effects.controls, summary.summary, parts.crossed, variants.by_name, variants.reference, choice.best]
GATED += [getattr(evaluation, name) for name in evaluation.__all__]
GATED = [f for f in dict.fromkeys(f for f in GATED if inspect.isfunction(f)) if hasattr(f, "__wrapped__")]


@pytest.mark.parametrize("function", GATED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("odd", ODD, ids=lambda o: type(o).__name__)
def test_odd_arguments_are_one_sentence(function, odd):
    needed = [
        p for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind < p.VAR_POSITIONAL
    ]
    try:
        function(*[odd] * len(needed))
    except UserError as error:
        assert str(error) and "\n" not in str(error)


def test_every_public_function_of_evaluation_and_splits_is_gated():
    for room, named in ((evaluation, evaluation.__all__), (splits, ["official", "leak_free", "pairs", "label_draw"])):
        functions = [getattr(room, name) for name in named if inspect.isfunction(getattr(room, name))]
        assert [f.__name__ for f in functions if not hasattr(f, "__wrapped__")] == []


def test_the_sentence_names_function_argument_and_what_is_wanted():
    for call, sentence in [
        (lambda: evaluation.mae("high", [1.0]), "mae: predicted takes numbers, but got 'high'"),
        (lambda: evaluation.holm({"p": 1}), "holm: ps takes numbers, but got {'p': 1}"),
        (lambda: tables.compare(3, "a", "b"), "compare: table takes a table, a DataFrame, but got 3"),
        (lambda: tables.shows(pd.DataFrame({"detect": []})), "did you mean 'detect'?"),
        (lambda: splits.official("mtl_aqa"), "official: data takes a data set, an AssessmentSet, but got 'mtl_aqa'"),
        (lambda: variants.reference({}, "s4aqa"), "at least one of variants, {title: (method, settings)}, but got {}"),
    ]:
        with pytest.raises(UserError) as error:
            call()
        assert sentence in str(error.value)


def test_a_kind_lets_through_what_it_is_of():
    kinds.numbers("x", [1, np.float32(2), None])
    kinds.samples("x", ([1.0], [2.0]))
    kinds.number("x", np.int64(3))
    kinds.whole("x", np.int64(3))
    kinds.variants("x", {"A": ("a", {})})
    kinds.optional(kinds.word)("x", None)
    kinds.or_word(kinds.SPLIT)("x", "official")
    kinds.table("a")("x", pd.DataFrame({"a": [1]}))


@pytest.mark.parametrize("odd", [3, "x", [], {"a": 3}, np.zeros((2, 2))], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("field", ["features", "scores", "table", "actions", "within", "pairs", "groups", "judges"])
def test_a_field_of_another_kind_is_one_sentence(field, odd):
    x, ids = np.ones((4, 2, 3)), list("abcd")
    try:
        AssessmentSet(**{"name": "x", "features": x, "scores": np.arange(4.0), "ids": ids, "table": None, field: odd})
    except UserError as error:
        assert "data set 'x'" in str(error) and "\n" not in str(error)


def test_what_a_sentence_quotes_stays_on_its_line():
    assert str(UserError(f"x is {np.zeros((2, 2))}")) == "x is [[0. 0.] [0. 0.]]"
