"""Settings: types, bounds, choices, None, words of YAML and of the command line; one sentence for what is refused."""

from pathlib import Path

import numpy as np
import pytest

from aqa_lib import data, methods
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, Word, from_yaml, resolve, settings_table

RATE = Setting(0.5, "learning rate", low=0, high=1)
STEPS = Setting(10, "optimiser steps", low=1)
TASK = Setting("all", "which task", choices=("all", "Suturing", "Knot_Tying"))
FOLD = Setting(None, "which fold; None: all of them", kind=str)
SIZES = Setting([1, 2], "sizes")


@pytest.mark.parametrize(
    ("setting", "given", "wanted"),
    [
        (RATE, 1, 1.0),
        (RATE, 0, 0.0),
        (RATE, np.float32(0.25), 0.25),
        (RATE, np.int64(1), 1.0),
        (RATE, np.array(0.25), 0.25),
        (Setting(1.0, "x"), float("inf"), float("inf")),
        (STEPS, np.int32(7), 7),
        (STEPS, 10**30, 10**30),
        (TASK, "Suturing", "Suturing"),
        (TASK, np.str_("all"), "all"),
        (FOLD, None, None),
        (FOLD, 1, "1"),
        (FOLD, Path("a/b.json"), "a/b.json"),
        (Setting(True, "x"), np.bool_(False), False),
        (Setting(1.0, "x", optional=True), None, None),
        (Setting(None, "x", 1, 9, kind=int), 9, 9),
        (SIZES, (3, np.int64(4)), [3, 4]),
        (SIZES, [], []),
        (Setting((0.5,), "x"), [1], (1.0,)),
        (Setting([], "x"), ["a", 1, None], ["a", 1, None]),
        (Setting([1, "a"], "x"), [None, 2.5], [None, 2.5]),
        (Setting({}, "x"), {"a": 1}, {"a": 1}),
    ],
)
def test_values_arrive_in_the_settings_kind(setting, given, wanted):
    found = setting.check("here", "x", given)
    assert found == wanted and type(found) is type(wanted)
    if isinstance(wanted, list):
        assert [type(v) for v in found] == [type(v) for v in wanted]


@pytest.mark.parametrize(
    ("setting", "given", "sentence"),
    [
        (RATE, -1, "m: x = -1.0 is below 0, its least value (learning rate)"),
        (RATE, 1.5, "m: x = 1.5 is above 1, its greatest value (learning rate)"),
        (RATE, True, "m: x takes float (default 0.5), but got bool True (learning rate)"),
        (RATE, np.bool_(True), "m: x takes float (default 0.5), but got "),
        (RATE, float("nan"), "m: x takes float (default 0.5), but got float nan (learning rate)"),
        (RATE, np.float32("nan"), "takes float"),
        (RATE, 10**400, "takes float"),
        (RATE, "0.5", "m: x takes float (default 0.5), but got str '0.5' (learning rate)"),
        (RATE, None, "m: x takes float (default 0.5), but got NoneType None (learning rate)"),
        (RATE, np.array([0.5]), "takes float"),
        (STEPS, 2.0, "m: x takes int (default 10), but got float 2.0 (optimiser steps)"),
        (STEPS, True, "but got bool True"),
        (STEPS, 0, "m: x = 0 is below 1, its least value (optimiser steps)"),
        (Setting(True, "x"), 1, "takes bool"),
        (TASK, "Sutring", "m: unknown x 'Sutring': did you mean 'Suturing'? (choices: all, Suturing, Knot_Tying)"),
        (TASK, 3, "m: x takes str (default 'all'), but got int 3 (which task)"),
        (TASK, None, "but got NoneType"),
        (FOLD, 1.5, "m: x takes str or null (default None), but got float 1.5 (which fold; None: all of them)"),
        (FOLD, True, "but got bool"),
        (FOLD, ["a"], "but got list ['a']"),
        (Setting(None, "x", 1, 9, kind=int), 10, "x = 10 is above 9"),
        (SIZES, 3, "m: x takes list of int (default [1, 2]), but got int 3 (sizes)"),
        (SIZES, [1, 2.5], "m: x takes list of int (default [1, 2]), but got list [1, 2.5] (sizes)"),
        (SIZES, [True], "takes list of int"),
        (SIZES, "12", "takes list of int"),
        (Setting({}, ""), [1], "m: x takes dict (default {}), but got list [1]"),
        (Setting(3, "which", choices=(1, 3)), 2, "m: unknown x 2 (choices: 1, 3)"),
    ],
)
def test_a_wrong_value_is_refused_with_one_sentence(setting, given, sentence):
    with pytest.raises(UserError) as error:
        setting.check("m", "x", given)
    assert sentence in str(error.value) and "\n" not in str(error.value)


RATES = Setting([0.1], "rates", above=0, below=1, filled=True)


@pytest.mark.parametrize(
    ("setting", "given", "sentence"),
    [
        (RATES, [], "m: x is empty, []: give at least one (rates)"),
        (RATES, [0.5, 0], "m: x = 0.0, but it must be above 0 (rates)"),
        (RATES, [1.0], "m: x = 1.0, but it must be below 1 (rates)"),
        (Setting([1, 2], "sizes", low=2), [1], "m: x = 1 is below 2, its least value (sizes)"),
        (Setting([1, 2], "a pair", length=2), [1], "m: x takes 2 items, but got [1] (a pair)"),
        (Setting("a", "a word", filled=True), "", "m: x is empty, ''"),
        (Setting({}, "values", filled=True), {}, "m: x is empty, {}"),
    ],
)
def test_items_and_emptiness_are_bounded(setting, given, sentence):
    with pytest.raises(UserError) as error:
        setting.check("m", "x", given)
    assert str(error.value).startswith(sentence)
    assert RATES.check("m", "x", [0.5]) == [0.5]


def test_none_says_no_kind():
    with pytest.raises(TypeError, match="must say its kind"):
        Setting(None, "what is it?")


def test_resolve_fills_in_and_names_the_nearest():
    known = {"rate": RATE, "steps": STEPS, "fold": FOLD}
    assert resolve("m", known, {}) == {"rate": 0.5, "steps": 10, "fold": None}
    assert list(resolve("m", known, {"fold": 2, "rate": 1}).items()) == [("rate", 1.0), ("steps", 10), ("fold", "2")]
    with pytest.raises(UserError) as error:
        resolve("m", known, {"stesp": 1})
    assert str(error.value) == "m: unknown setting 'stesp': did you mean 'steps'? (choices: rate, steps, fold)"
    with pytest.raises(UserError) as error:
        resolve("m", {}, {"x": 1}, "option")
    assert str(error.value) == "m: unknown option 'x': it takes no options"
    with pytest.raises(UserError, match="m: steps = 0 is below 1"):
        resolve("m", known, {"steps": 0})


@pytest.mark.parametrize(
    ("setting", "given", "wanted"),
    [
        (RATE, "1e-3", 0.001),  # which YAML reads as a word
        (RATE, Word("1e-3"), 0.001),
        (STEPS, Word("4"), 4),
        (Setting(True, "x"), Word("false"), False),
        (FOLD, Word("07"), "07"),
        (FOLD, Word("null"), None),
        (FOLD, Word("[1"), "[1"),
        (SIZES, Word("[5]"), [5]),
        (Setting([0.5], "x"), ["1e-3", 1], [0.001, 1.0]),
        (Setting(["a"], "x"), ["1e3"], ["1e3"]),
        (Setting([[0.5]], "x"), [["1e-3"]], [[0.001]]),
        (Setting({}, "x"), {"a": {"b": ["1e-3", "c"]}, "d": True}, {"a": {"b": [0.001, "c"]}, "d": True}),
        (Setting({}, "x"), Word("{a: 1e-3}"), {"a": 0.001}),
        (STEPS, "3", 3),  # in a YAML file, "3" in quotes is a number, too
        (STEPS, "1e3", 1000),
        (STEPS, Word("1e3"), 1000),
        (Setting([1], "x"), ["2", 3], [2, 3]),
        (
            Setting({}, "x"),
            {"a": ["10", "-2.5", "007", "e", "nan", "1_0"]},
            {"a": [10, -2.5, "007", "e", "nan", "1_0"]},
        ),
    ],
)
def test_words_of_yaml_and_of_the_command_line(setting, given, wanted):
    found = setting.check("m", "x", from_yaml(setting, given))
    assert found == wanted and type(found) is type(wanted)


def test_a_word_that_is_none_of_yaml_is_refused():
    for setting, word, sentence in [
        (STEPS, "[1", "m: x: '[1' is not a number, a word or a [list]"),
        (STEPS, "2.5", "m: x takes int (default 10), but got float 2.5"),
        (STEPS, "null", "but got NoneType"),
        (TASK, "3", "m: unknown x '3' (choices: all, Suturing, Knot_Tying)"),
    ]:
        with pytest.raises(UserError) as error:
            setting.check("m", "x", Word(word))
        assert sentence in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="takes int .default 10., but got str '3'"):
        STEPS.check("m", "x", "3")  # from a program a word is a word


def test_the_table_says_what_may_stand():
    seed = Setting(0, "seed", low=0)
    cap = Setting(None, "most", high=2.5, kind=float)
    table = settings_table({"rate": RATE, "task": TASK, "fold": FOLD, "seed": seed, "cap": cap})
    assert table.to_dict("list") == {
        "default": ["0.5", "all", "None", "0", "None"],
        "range": ["0 .. 1", "all, Suturing, Knot_Tying", "str, or None", "at least 0", "at most 2.5, or None"],
        "what it does": ["learning rate", "which task", "which fold; None: all of them", "seed", "most"],
    }
    assert list(table.index) == ["rate", "task", "fold", "seed", "cap"]
    assert list(settings_table({}).columns) == ["default", "range", "what it does"]


def declared():
    for name in methods.names():
        yield name, methods.get(name).settings()
    for name in data.names():
        yield name, data.reader(name).OPTIONS


@pytest.mark.parametrize(("owner", "settings"), [pytest.param(*d, id=d[0]) for d in declared()])
def test_every_declared_default_is_one_that_may_be_given(owner, settings):
    for name, setting in settings.items():
        assert isinstance(setting, Setting) and setting.help and "\n" not in setting.help
        found = setting.check(owner, name, setting.default)
        assert found == setting.default and type(found) is type(setting.default), (owner, name)
