"""The data set object, its file, and the registry of readers."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data
from aqa_lib.data import AssessmentSet
from aqa_lib.errors import UserError


def small(**changes):
    """Five items, three segments, two features, every optional field filled."""
    rng = np.random.default_rng(0)
    columns = {"split": ["train"] * 3 + ["test"] * 2, "event": list("aabbc"), "n": [1, 2, 3, 4, 5]}
    table = pd.DataFrame(columns | {"armstand": [True, False, True, False, True]})
    fields = dict(
        name="small",
        features=rng.standard_normal((5, 3, 2)),
        scores=[1.5, 2.0, float("nan"), 0.1, 7.0],
        ids=["v1", "v2", "v3", "v4", "v5"],
        table=table,
        judges=rng.random((5, 7)),
        difficulty=[1.0, 2.0, 3.0, 1.6, 1.7],
        groups=list("aabbc"),
        lengths=[3, 3, 2, 1, 3],
        truth={"skill": rng.random(5), "class": np.arange(5)},
        meta={"surrogate": False, "options": {"rho": 0.1, "word": "x"}},
    )
    return AssessmentSet(**(fields | changes))


def test_fields_are_converted():
    s = small()
    assert s.features.dtype == np.float32 and s.scores.dtype == np.float64 and s.lengths.dtype == np.int64
    assert s.ids.dtype.kind == s.groups.dtype.kind == "U"
    assert len(s) == 5 and s.surrogate is False


def test_round_trip_through_one_file(tmp_path):
    s = small()
    path = s.save(tmp_path / "deep" / "set.safetensors")
    back = AssessmentSet.read(path)
    for field in ("features", "scores", "ids", "judges", "difficulty", "groups", "lengths"):
        old, new = getattr(s, field), getattr(back, field)
        assert old.dtype == new.dtype
        old, new = (x.rows if field == "features" else x for x in (old, new))
        np.testing.assert_array_equal(old, new)
    pd.testing.assert_frame_equal(back.table, s.table)
    assert back.name == s.name and back.meta == s.meta and set(back.truth) == set(s.truth)
    np.testing.assert_array_equal(back.truth["skill"], s.truth["skill"])
    assert os.listdir(path.parent) == ["set.safetensors"]  # nothing half-written stays behind


def test_optional_fields_stay_absent(tmp_path):
    absent = dict(judges=None, difficulty=None, groups=None, lengths=None, truth={}, meta={})
    back = AssessmentSet.read(small(**absent).save(tmp_path / "s"))
    assert back.judges is back.difficulty is back.groups is back.lengths is None
    assert back.truth == {} and back.surrogate is False


def test_saving_the_same_set_gives_the_same_bytes(tmp_path):
    one, two = small().save(tmp_path / "1"), small().save(tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = small().save(tmp_path / "s")
    before = path.read_bytes()

    def full(arrays, file, metadata):
        with open(file, "wb") as f:
            f.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aqa_lib.data.files.set_file.save_file", full)
    with pytest.raises(UserError, match="No space left"):
        small(name="other").save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("features", np.zeros((5, 3))),
        ("features", np.full((5, 3, 2), np.nan)),
        ("features", np.zeros((0, 3, 2))),
        ("scores", [1.0, 2.0]),
        ("scores", [1, 2, 3, 4, np.inf]),
        ("scores", ["a"] * 5),
        ("ids", ["v1", "v1", "v3", "v4", "v5"]),
        ("judges", np.zeros(5)),
        ("difficulty", [1.0]),
        ("groups", ["a"]),
        ("lengths", [0, 1, 1, 1, 1]),
        ("lengths", [4, 1, 1, 1, 1]),
        ("table", pd.DataFrame({"split": ["train"]})),
        ("table", pd.DataFrame({"split": ["train"] * 4 + ["validation"]})),
    ],
)
def test_a_wrong_field_is_named_in_one_sentence(field, value):
    with pytest.raises(UserError, match=f"'small': (field )?.*{field}") as error:
        small(**{field: value})
    assert "\n" not in str(error.value)


def test_reading_what_is_not_a_data_set(tmp_path):
    with pytest.raises(UserError, match="no data set at"):
        AssessmentSet.read(tmp_path / "nothing")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="not a data set"):
        AssessmentSet.read(foreign)
    with pytest.raises(UserError, match="not a data set"):
        AssessmentSet.read(tmp_path)
    cut = tmp_path / "cut"
    cut.write_bytes(small().save(tmp_path / "s").read_bytes()[:-8])
    with pytest.raises(UserError, match="not a data set"):
        AssessmentSet.read(cut)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UserError, match="did you mean 'surrogate'"):
        data.load("surogate")
    with pytest.raises(UserError, match="did you mean 'seed'"):
        data.load("surrogate", sed=1)
    with pytest.raises(UserError, match="seed takes int"):
        data.load("surrogate", seed="1")


@pytest.mark.parametrize("name", data.names())
def test_every_reader_resolves_to_json(name):
    full = data.resolve(name)
    assert set(full) == set(data.reader(name).OPTIONS)
    assert json.loads(json.dumps(full)) == full
    assert data.resolve(name, full) == full  # resolving twice changes nothing
    assert all(s.help and "\n" not in s.help for s in data.reader(name).OPTIONS.values())


def test_paths_and_folds_of_options_are_words():
    found = data.resolve("jigsaws", {"folds": Path("a.json"), "segments": np.int64(4)})
    assert (found["folds"], found["segments"]) == ("a.json", 4)
    assert data.resolve("aqa7", {"features": Path("i3d.features")})["features"] == "i3d.features"
    with pytest.raises(UserError, match="features takes str or null .default None., but got list"):
        data.resolve("aqa7", {"features": ["a", "b"]})


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("jigsaws", {"segments": 0}, "data set 'jigsaws': segments = 0 is below 1, its least value"),
        (
            "jigsaws",
            {"nodes": "patent"},
            "unknown nodes 'patent': did you mean 'patient'? (choices: all, mast",
        ),
        ("epic_skills", {"task": "Surgry"}, "did you mean 'Surgery'?"),
        ("own", {"layout": "TX"}, "(choices: TD, DT, CTD, TCD)"),
        ("thumos14", {"size": 1}, "data set 'thumos14': unknown option 'size': it takes no options"),
    ],
)
def test_a_wrong_option_is_answered_with_its_choices(name, options, sentence):
    with pytest.raises(UserError) as error:
        data.resolve(name, options)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_reader_registers_by_being_a_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from aqa_lib.settings import Setting\n"
        "OPTIONS = {'view': Setting('left', 'which camera'), 'n': Setting(3, 'how many')}\n"
        "def load(root, **options): return root, options\n"
    )
    (tmp_path / "_helper.py").write_text("x = 1\n")
    monkeypatch.setattr(data.readers, "__path__", [*data.readers.__path__, str(tmp_path)])
    assert "mine" in data.names() and "_helper" not in data.names()
    assert data.load("mine", "folder", n=4) == ("folder", {"view": "left", "n": 4})
