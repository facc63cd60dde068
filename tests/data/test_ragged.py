"""Videos of unequal length: against padded arrays, and in a data set and its file."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from aqa_lib import commands
from aqa_lib.data import AssessmentSet
from aqa_lib.data.actions import actions_of, layout
from aqa_lib.data.ragged import Ragged, means
from aqa_lib.errors import UserError


def videos(lengths, shape=(2,), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, *shape)).astype("f4") for n in lengths]


def zeros_behind(xs):
    """[N, T, *shape], a plain walk over the videos."""
    out = np.zeros((len(xs), max(map(len, xs)), *xs[0].shape[1:]), xs[0].dtype)
    for i, x in enumerate(xs):
        for t, row in enumerate(x):
            out[i, t] = row
    return out


lengths = st.lists(st.integers(1, 6), min_size=1, max_size=8)


@given(lengths, st.sampled_from([(), (1,), (3,), (2, 2, 3)]), st.data())
@settings(max_examples=60, deadline=None)
def test_is_the_padded_array_without_its_padding(n, shape, data):
    xs = videos(n, shape)
    r, padded = Ragged.of(xs), zeros_behind(xs)
    assert r.shape == padded.shape and r.ndim == padded.ndim and len(r) == len(xs) and r.dtype == np.float32
    assert r.nbytes == sum(x.nbytes for x in xs)
    np.testing.assert_array_equal(r.padded(), padded)
    for i, (x, start) in enumerate(zip(xs, r.start, strict=True)):
        for t in range(len(x)):
            np.testing.assert_array_equal(r.rows[start + t], padded[i, t])
    items = data.draw(st.lists(st.integers(-len(n), len(n) - 1), max_size=10))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(n), max_size=len(n))))
    cut = slice(data.draw(st.integers(0, 3)), None, data.draw(st.sampled_from([1, 2, -1])))
    for ask in (np.array(items, dtype=int), items, mask, cut):
        wanted = [xs[i] for i in np.arange(len(n))[ask]]
        assert len(r[ask]) == len(wanted)
        for got, x in zip(r[ask], wanted, strict=True):
            np.testing.assert_array_equal(got, x)
    np.testing.assert_allclose(means(r), [x.astype("f8").mean(0) for x in xs], rtol=1e-12, atol=1e-15)
    assert means(r).dtype == np.float64 and means(r).shape == (len(n), *shape)


def test_one_video_is_a_view():
    r = Ragged.of(videos([2, 3]))
    assert np.shares_memory(r[1], r.rows) and r[-1].shape == (3, 2)
    assert not np.shares_memory(r[[1]].rows, r.rows)
    with pytest.raises(IndexError):
        r[2]


def test_means_of_an_array_keep_their_bits():
    x = np.stack(videos([7] * 5, (16,)))
    np.testing.assert_array_equal(means(x), x.mean(1, dtype=np.float64))
    np.testing.assert_array_equal(means(Ragged.of(list(x))), means(x))


def test_the_mean_over_segments_is_that_of_an_array():
    x = np.random.default_rng(0).normal(size=(5, 7, 3)).astype("f4")
    mean = Ragged.of(list(x)).mean(1)
    assert mean.dtype == np.float32 and np.array_equal(mean, x.mean(1))
    assert np.allclose(Ragged.of([x[0, :2], x[1]]).mean(1), [x[0, :2].mean(0), x[1].mean(0)])
    with pytest.raises(UserError, match="take mean"):
        Ragged.of(list(x)).mean(0)


def test_rows_keep_a_floating_type_and_are_never_an_array_by_accident():
    for given_, kept in (("f8", "f8"), ("f2", "f2"), ("i8", "f4"), ("?", "f4")):
        assert Ragged(np.ones((3, 1), given_), [1, 2]).dtype == kept
    r = Ragged(np.ones((3, 1), "f8"), [1, 2])
    assert r.astype("float64") is r and r.astype("float32").dtype == np.float32
    assert r.equals(Ragged(np.ones((3, 1)), [1, 2])) and not r.equals(Ragged(np.ones((3, 1)), [2, 1]))
    with pytest.raises(UserError, match="no array"):
        np.asarray(r)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Ragged(np.ones((3, 2)), [1, 1]), "lengths sum to 2, but there are 3 rows"),
        (lambda: Ragged(np.ones((3, 2)), [3, 0]), "1 or more each"),
        (lambda: Ragged(np.ones((3, 2)), [1.5, 1.5]), "whole numbers"),
        (lambda: Ragged(np.ones((3, 2)), [[3]]), r"whole numbers \[N\]"),
        (lambda: Ragged(np.array(["a"]), [1]), "must be numbers"),
        (lambda: Ragged.of([]), "at least one video"),
        (lambda: Ragged.of([np.ones((2, 3)), np.ones((2, 4))]), r"video 1 has shape \(2, 4\)"),
    ],
)
def test_what_is_no_ragged_is_said(make, said):
    with pytest.raises(UserError, match=said) as error:
        make()
    assert "\n" not in str(error.value)


# ---- in a data set


LENGTHS = [3, 1, 2]
IDS = ["a", "b", "c"]


def actions(**changes):
    fields = {"video": ["a", "a", "c"], "label": ["jump", "run", "jump"], "start": [0, 1.5, 2], "end": [1, 1.5, 3]}
    return pd.DataFrame(fields | changes)


def full(shape=(2,), **changes):
    """Three videos of 3, 1 and 2 segments, padded to 3, every field that goes with segments filled."""
    x, flow = zeros_behind(videos(LENGTHS, shape)), zeros_behind(videos(LENGTHS, (4,), 1))
    start = np.arange(3)[None, :, None] / 3 + np.zeros((3, 1, 1))
    fields = dict(
        name="full", features=x, ids=IDS, lengths=LENGTHS, actions=actions(), measure="average_mAP",
        seconds=np.concatenate([start, start + 1 / 3], 2), views={"flow": flow, "still": lambda: x},
        table=pd.DataFrame({"split": ["train", "", "test"]}),
    )  # fmt: skip
    return AssessmentSet(**(fields | changes))


@pytest.mark.parametrize("shape", [(2,), (3, 2, 2)])
def test_padded_features_with_lengths_become_ragged(shape):
    s, xs = full(shape), videos(LENGTHS, shape)
    assert s.ragged and s.lengths.tolist() == LENGTHS and s.features.shape == (3, 3, *shape)
    assert s.features.equals(Ragged.of(xs)) and s.view("rgb") is s.features and s.need_features() is s.features
    assert s.views["flow"].equals(Ragged.of(videos(LENGTHS, (4,), 1)))  # the padding is gone at once
    assert s.view("flow").shape == (3, 3, 4) and s.view("still").equals(s.features)
    assert s.seconds.shape == (3, 3, 2) and s.seconds.dtype == np.float64 and len(s.seconds.rows) == 6
    assert np.isnan(s.scores).all() and len(s) == 3
    again = dataclasses.replace(s, scores=[1, 2, 3])
    assert again.features is s.features and again.lengths.tolist() == LENGTHS


def test_given_as_ragged_it_is_the_same_set():
    other = full(
        features=Ragged.of(videos(LENGTHS)),
        lengths=None,
        views={},
        seconds=Ragged.of([np.zeros((n, 2)) for n in LENGTHS]),
    )
    assert other.features.equals(full().features) and other.lengths.tolist() == LENGTHS


def test_equal_lengths_stay_the_array_that_they_are():
    x = np.stack(videos([3] * 3))
    plain = full(features=x, lengths=None, views={})
    assert plain.features is x and not plain.ragged and plain.lengths is None  # not even copied
    kept = full(features=x, lengths=[3, 3, 3], views={"flow": x[..., :1]})
    assert kept.features is x and kept.lengths is None and kept.view("flow").shape == (3, 3, 1)
    joined = full(features=Ragged.of(list(x)), lengths=None, views={"flow": Ragged.of(list(x))})
    assert isinstance(joined.features, np.ndarray) and isinstance(joined.view("flow"), np.ndarray)
    np.testing.assert_array_equal(joined.features, x)
    cut = full(features=x, lengths=[2, 2, 2], views={"flow": x}, seconds=None)
    np.testing.assert_array_equal(cut.features, x[:, :2])
    assert cut.lengths is None and cut.view("flow").shape == (3, 2, 2)


def same(a, b):
    return a.equals(b) if isinstance(a, Ragged) else type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("even", [False, True])
def test_all_fields_survive_the_file(tmp_path, even):
    s = full((2, 2), lengths=None if even else LENGTHS, scores=[1, np.nan, 2], pairs=[[0, 1]], judges=np.ones((3, 2)))
    back = AssessmentSet.read(s.save(tmp_path / "s"))
    assert back.ragged is not even and same(s.features, back.features) and same(s.seconds, back.seconds)
    assert all(same(s.view(v), back.view(v)) for v in ("flow", "still")) and back.measure == "average_mAP"
    assert (back.lengths is None) is even and back.pairs.tolist() == [[0, 1]] and back.judges.shape == (3, 2)
    pd.testing.assert_frame_equal(back.actions, s.actions)
    pd.testing.assert_frame_equal(back.table, s.table)
    assert s.save(tmp_path / "again").read_bytes() == (tmp_path / "s").read_bytes()


def test_actions_alone_survive_the_file(tmp_path):
    s = AssessmentSet("bare", ids=IDS, actions=actions().iloc[:0])
    back = AssessmentSet.read(s.save(tmp_path / "s"))
    assert back.features is None and len(back.actions) == 0 and list(back.actions) == list(actions())
    assert np.isnan(back.scores).all() and back.table["id"].tolist() == IDS and back.measure is None
    pd.testing.assert_frame_equal(back.actions, s.actions)


def test_a_file_of_format_1_is_read(tmp_path):
    """As the version before wrote it: features padded, lengths beside them."""
    x = zeros_behind(videos(LENGTHS))
    arrays = {
        "features": x,
        "scores": np.arange(3.0),
        "lengths": np.array(LENGTHS),
        "views/flow": x,
        "table/n": np.ones(3),
    }
    text = {"version": 1, "name": "old", "meta": {}, "strings": {"ids": IDS}, "columns": ["n"]}
    save_file(arrays, tmp_path / "s", metadata={"aqa": json.dumps(text)})
    s = AssessmentSet.read(tmp_path / "s")
    assert s.features.equals(Ragged.of(videos(LENGTHS))) and s.view("flow").equals(s.features)
    assert s.actions is s.seconds is s.measure is None
    save_file(arrays, tmp_path / "s", metadata={"aqa": json.dumps(text | {"version": 3})})
    with pytest.raises(UserError, match="has format 3, but 2 and older are read"):
        AssessmentSet.read(tmp_path / "s")


@pytest.mark.parametrize(
    "changes, said",
    [
        (dict(ids=None), "field ids is missing"),
        (dict(lengths=[3, 1]), r"field lengths must have shape \(3,\)"),
        (dict(lengths=[3, 1, 4]), r"field lengths must lie in 1\.\.3"),
        (dict(features=Ragged.of(videos([3, 2, 1]))), "field lengths differs from the lengths of the ragged features"),
        (dict(features=Ragged(np.full((6, 2), np.nan), LENGTHS)), "field features holds NaN"),
        (dict(features=Ragged(np.ones(6), LENGTHS)), r"field features must be \[N, T, D\]"),
        (dict(features=Ragged(np.ones((6, 0)), LENGTHS)), "no empty axis"),
        (dict(views={"flow": np.ones((3, 4, 2))}), r"flow features must be .*N, T = \(3, 3\) and the lengths"),
        (dict(views={"flow": Ragged.of(videos([3, 2, 1]))}), "flow features must be .*the lengths of the features"),
        (dict(views={"flow": np.full((3, 3, 2), np.inf)}), "flow features must be finite"),
        (dict(seconds=np.ones((3, 3))), r"field seconds must be \[N, T, 2\]"),
        (dict(seconds=np.ones((3, 3, 3))), r"field seconds must be \[N, T, 2\]"),
        (dict(seconds=np.ones((3, 2, 2))), r"field seconds must be \[N, T, 2\]"),
        (dict(seconds=np.tile([2.0, 1.0], (3, 3, 1))), "field seconds must hold finite times, start <= end"),
        (dict(seconds=np.full((3, 3, 2), np.nan)), "field seconds must hold finite times"),
        (dict(features=None, scores=[1, 2, 3]), "field seconds holds the times of segments, but there are no features"),
        (dict(measure=3), "field measure must be the name of a measure"),
        (dict(actions=actions(video=["a", "a", "d"])), "field actions names the video 'd', which is not among the ids"),
        (dict(actions=actions(start=[0, 1.6, 2])), "field actions has an action of video 'a' from 1.6 to 1.5 seconds"),
        (dict(actions=actions(start=[-1, 1, 2])), "video 'a' from -1.0 to 1.0 seconds"),
        (dict(actions=actions(end=[1, np.inf, 3])), "from 1.5 to inf seconds"),
        (dict(actions=actions(end=[1, np.nan, 3])), "from 1.5 to nan seconds"),
        (dict(actions=actions(end=["1", "x", "3"])), "field actions has a start or an end that is not a number"),
        (dict(actions=actions().drop(columns="label")), "field actions has no column label"),
    ],
)
def test_wrong_fields_are_named(changes, said):
    with pytest.raises(UserError, match="'full'.*" + said) as error:
        full(**changes)
    assert "\n" not in str(error.value)


def test_a_view_that_is_made_is_checked_when_asked_for():
    s = full(views={"flow": lambda: np.ones((3, 2, 2)), "still": lambda: Ragged.of(videos([1, 2, 3]))})
    for name in ("flow", "still"):
        with pytest.raises(UserError, match=f"its {name} features must be"):
            s.view(name)


def test_actions_of_a_subset():
    s = full()
    assert actions_of(s, "train")["label"].tolist() == ["jump", "run"] and len(actions_of(s)) == 3
    assert layout(s, "test") == {
        "database": {"c": {"subset": "test", "annotations": [{"label": "jump", "segment": [2, 3]}]}}
    }
    assert layout(s)["database"]["b"] == {"subset": "", "annotations": []}
    words = full(table=pd.DataFrame({"split": ["train", "", "test"], "subset": ["training", "extra", "validation"]}))
    assert actions_of(words, "validation")["video"].tolist() == ["c"]
    for ask, said in [
        (lambda: actions_of(words, "validaton"), "did you mean 'validation'"),
        (lambda: actions_of(full(actions=None), "test"), "has no actions"),
        (lambda: actions_of(full(table=pd.DataFrame({"n": [1, 2, 3]})), "test"), "has no subsets"),
    ]:
        with pytest.raises(UserError, match=said):
            ask()


def test_a_ragged_set_is_described(capsys, tmp_path):
    path = full((5, 4), scores=[1, 2, 3]).save(tmp_path / "s")
    assert commands.main(["data", "check", "file", str(path)]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    lines = {what: value.strip() for what, value in lines.items()}
    assert lines["segments, fewest, mean and most"] == "[1, 2.0, 3]" and lines["actions"] == "3"
    assert lines["features, D1"] == "5" and lines["features, D2"] == "4" and lines["labels of actions"] == "2"
