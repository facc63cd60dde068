"""The feature store, against arrays as they were."""

import json
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqa_lib.data import AssessmentSet, load
from aqa_lib.data.files.store import Store, joined
from aqa_lib.errors import UserError

RNG = np.random.default_rng(0)
ABOUT = {"fps": 25.0, "stride": 16, "window": 16, "backbone": "i3d", "weights": "ab" * 32}


def features():
    """Three videos of different length; flow of two of them; rotations with an axis more."""
    rgb = {"v1": RNG.random((3, 4)), "run/v2": RNG.random((5, 4)), "v3": RNG.random((1, 4))}
    flow = {"v1": RNG.random((3, 2)), "run/v2": RNG.random((4, 2))}
    rotations = {"v3": RNG.random((2, 4, 6)).astype(np.float16)}
    return {"rgb": rgb, "flow": flow, "rotations": rotations}


@pytest.fixture()
def store(tmp_path):
    written = features()
    path = Store.write(tmp_path / "deep" / "s.features", written, {"rgb": ABOUT, "flow": {"fps": 25}})
    return Store.read(path), written


def test_what_was_written_is_read(store):
    store, written = store
    assert list(store.ids) == ["v1", "run/v2", "v3"] and len(store) == 3 and "v3" in store and "v4" not in store
    assert store.modalities == ["rgb", "flow", "rotations"]
    for modality, videos in written.items():
        for video, x in videos.items():
            got = store.get(video, modality)
            wanted = x if x.dtype == np.float16 else x.astype(np.float32)
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
    assert list(store.lengths("rgb")) == [3, 5, 1] and list(store.lengths("flow")) == [3, 4, 0]
    assert store.about["rgb"] == ABOUT
    assert store.about["flow"] == {"fps": 25, "stride": None, "window": None, "backbone": None, "weights": None}


names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 3), st.randoms())
def test_any_names_and_lengths_come_back(tmp_path_factory, lengths, width, random):
    x = {v: np.full((n, width), random.random(), np.float32) for v, n in lengths.items()}
    store = Store.read(Store.write(tmp_path_factory.mktemp("any") / "s", {"rgb": x}))
    order = random.sample(list(x), len(x))
    stacked, found = store.stack(order)
    assert list(found) == [lengths[v] for v in order] and list(store.lengths("rgb")) == list(lengths.values())
    for row, video in zip(stacked, order, strict=True):
        np.testing.assert_array_equal(row[: lengths[video]], x[video])
        np.testing.assert_array_equal(store.get(video), x[video])


def test_seconds_by_hand(store):
    np.testing.assert_allclose(store[0].seconds("v1", "rgb"), [[0, 0.64], [0.64, 1.28], [1.28, 1.92]])
    with pytest.raises(UserError, match="does not say the stride of flow"):
        store[0].seconds("v1", "flow")


def test_stack_follows_the_order_asked_for_and_pads_with_zeros(store):
    store, written = store
    x, lengths = store.stack(["v3", "v1", "run/v2"], "rgb")
    assert x.shape == (3, 5, 4) and list(lengths) == [1, 3, 5]
    np.testing.assert_array_equal(x[1, :3], written["rgb"]["v1"].astype(np.float32))
    assert not x[0, 1:].any() and not x[1, 3:].any() and x[2].all()
    both, _ = store.stack(["v1"], "rgb+flow")
    np.testing.assert_array_equal(both[0, :, 4:], written["flow"]["v1"].astype(np.float32))
    assert store.stack(["v1", "v1"], "rgb", segments=3)[0].shape == (2, 3, 4)


def test_a_set_from_a_store_is_ragged_only_where_lengths_differ(store):
    store, written = store
    assert joined(None, ["v1"]) == {}
    ids = ["v1", "v3"]
    for asked, ragged in ((ids[:1], False), (ids, True)):
        s = AssessmentSet("s", ids=asked, **joined(store.path, asked, "rgb"))
        assert s.ragged == ragged and (s.lengths.tolist() == [3, 1] if ragged else s.lengths is None)
        for video, x, seconds in zip(asked, s.features, s.seconds, strict=True):
            np.testing.assert_array_equal(x, written["rgb"][video].astype(np.float32))
            np.testing.assert_array_equal(seconds, store.seconds(video, "rgb"))
    assert "seconds" not in joined(store.path, ["v1"], "flow")  # its stride is not known


def test_a_view_of_other_lengths_is_refused(tmp_path):
    rgb, flow = ({v: np.ones((n, 2)) for v, n in zip("ab", lengths, strict=True)} for lengths in ((2, 3), (3, 3)))
    Store.write(tmp_path / "s", {"rgb": rgb, "flow": flow})
    s = AssessmentSet("s", ids=list("ab"), **joined(tmp_path / "s", list("ab"), "rgb"))
    with pytest.raises(UserError, match="its flow features must be .*the lengths of the features"):
        s.view("flow")


@pytest.mark.parametrize(
    "ask, said",
    [
        (lambda s: s.get("v9", "rgb"), "unknown video in .*'v9': did you mean"),
        (lambda s: s.get("v1", "rgp"), "did you mean 'rgb'"),
        (lambda s: s.get("v1"), "holds several modalities"),
        (lambda s: s.get("v3", "flow"), "'v3' has no flow features"),
        (lambda s: s.stack(["v1", "w", "u"], "rgb"), "lacks 2 of 3 videos, the first being 'w'"),
        (lambda s: s.stack(["v1", "v3"], "rgb", segments=3), "'v3' has 1 rgb segments in .* 3 are asked for"),
        (lambda s: s.stack(["run/v2"], "rgb+flow"), "'run/v2' has 4 flow segments in .* but 5 of rgb"),
        (lambda s: s.lengths("depth"), "unknown modality"),
    ],
)
def test_what_is_not_there_is_named(store, ask, said):
    with pytest.raises(UserError, match=said) as error:
        ask(store[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "features, about, said",
    [
        ({}, {}, "no features to write"),
        ({"rgb": {}}, {}, "no features to write"),
        ({"rgb": {"a": np.ones((2, 3))}, "flow": {}}, {}, "'flow' has no videos"),
        ({"a+b": {"a": np.ones((2, 3))}}, {}, "cannot be named 'a\\+b'"),
        ({"rgb": {"a": np.ones(3)}}, {}, "'a' must be numbers \\[T, D\\]"),
        ({"rgb": {"a": np.ones((0, 3))}}, {}, "no empty axis"),
        ({"rgb": {"a": np.array([["x"]])}}, {}, "must be numbers"),
        ({"rgb": {"a": np.full((1, 2), np.nan)}}, {}, "'a' hold NaN"),
        ({"rgb": {"a": np.ones((2, 3)), "b": np.ones((2, 4))}}, {}, "'b' have shape \\(2, 4\\)"),
        ({"rgb": {1: np.ones((2, 3)), "1": np.ones((2, 3))}}, {}, "'1' stands there twice"),
        ({"rgb": {"a": np.ones((2, 3))}}, {"flow": {}}, "unknown modality"),
        ({"rgb": {"a": np.ones((2, 3))}}, {"rgb": {"fsp": 25}}, "did you mean 'fps'"),
        ({"rgb": {"a": np.ones((2, 3))}}, {"rgb": {"fps": 0}}, "fps of modality 'rgb' must be a number above 0"),
        ({"rgb": {"a": np.ones((2, 3))}}, {"rgb": {"weights": 3}}, "weights of modality 'rgb' must be a word"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, features, about, said):
    with pytest.raises(UserError, match=said):
        Store.write(tmp_path / "s", features, about)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_store(tmp_path, monkeypatch):
    path = Store.write(tmp_path / "s", {"rgb": {"a": np.ones((2, 3))}})
    before = path.read_bytes()

    def full(arrays, file, metadata):
        with open(file, "wb") as f:
            f.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aqa_lib.data.files.store.save_file", full)
    with pytest.raises(UserError, match="No space left"):
        Store.write(path, {"rgb": {"b": np.ones((2, 3))}})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["s"]


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no feature store at"):
        Store.read(tmp_path / "nothing")
    whole = Store.write(tmp_path / "s", features()).read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + size])
    header["__metadata__"]["aqa_store"] = header["__metadata__"]["aqa_store"].replace('"version": 1', '"version": 2')
    newer = json.dumps(header).encode()
    twice = dict(header, __metadata__=dict(header["__metadata__"]))
    twice["__metadata__"]["aqa_store"] = (
        twice["__metadata__"]["aqa_store"].replace("run/v2", "v1").replace('"version": 2', '"version": 1')
    )
    twice = json.dumps(twice).encode()
    cases = {
        "twice": struct.pack("<Q", len(twice)) + twice + whole[8 + size :],
        "cut": whole[:-3],
        "pickle": pickle.dumps({"a": 1}),
        "none": b"",
        "head": whole[: size // 2],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="is not a feature store"):
            Store.read(tmp_path / name)
    (tmp_path / "newer").write_bytes(struct.pack("<Q", len(newer)) + newer + whole[8 + size :])
    with pytest.raises(UserError, match="has format 2, but 1 is read"):
        Store.read(tmp_path / "newer")


def test_reading_one_video_does_not_read_the_others(tmp_path):
    """The file is mapped: a store of 61 MB opens and gives one video without taking that much memory."""
    path = Store.write(tmp_path / "s", {"rgb": {f"v{i}": np.ones((50, 1024), np.float32) for i in range(300)}})
    assert path.stat().st_size > 60e6

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    assert Store.read(path).get("v150").sum() == 50 * 1024
    assert resident() - before < 15e6


def test_other_modalities_of_a_store_are_views_of_the_set(tmp_path):
    """Flow as it is, rotations one quarter turn each; a method asks for them by name."""
    rng = np.random.default_rng(0)
    rgb, flow = ({v: rng.random((3, 4), dtype="f4") for v in "ab"} for _ in range(2))
    turned = {v: rng.random((3, 4, 5), dtype="f4") for v in "ab"}
    Store.write(tmp_path / "f.store", {"rgb": rgb, "flow": flow, "rotations": turned})
    (tmp_path / "items.csv").write_text("id,score,split\nb,1,train\na,2,test\n")
    data = load("own", tmp_path, features="f.store", modality="rgb")
    assert np.array_equal(data.view("rgb"), np.stack([rgb["b"], rgb["a"]]))
    assert np.array_equal(data.view("flow"), np.stack([flow["b"], flow["a"]]))
    assert np.array_equal(data.view("rot180"), np.stack([turned["b"][:, 2], turned["a"][:, 2]]))
    with pytest.raises(UserError, match="no still features, only rgb, flow, rot90"):
        data.view("still")
    saved = AssessmentSet.read(data.save(tmp_path / "s.safetensors"))
    assert np.array_equal(saved.view("rot90"), data.view("rot90"))
