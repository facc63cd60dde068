"""Features of the body: the skeleton is what the data say it is, and the numbers are those of the formula."""

import numpy as np
import pytest

from aqa_lib import data
from aqa_lib.data import body
from aqa_lib.data.files.shipped import FOLDER, unpacked
from aqa_lib.errors import UserError

IDS, RECORDINGS = unpacked(FOLDER / "ui_prmd.npz")
NUMBER = {name: j for j, (name, *_) in enumerate(body.JOINTS)}


def test_offsets_lie_on_the_axes_that_are_stated():
    """The other coordinates are zero throughout; those on an axis are not."""
    most = np.max([np.abs(x).max(axis=0) for x in RECORDINGS], axis=0)
    zero = most <= 0.01
    assert np.flatnonzero(~zero).tolist() == body.CHANNELS and len(body.CHANNELS) == 32
    assert most[body.CHANNELS].min() > 0.9


def test_the_order_of_the_joints_is_that_of_a_body():
    """What only the true order gives: bones of nearly constant length, arms and legs of a pair alike, up is up."""
    rows = np.concatenate([x.reshape(-1, 22, 3) for x in RECORDINGS])
    length = np.linalg.norm(rows[:, 1:], axis=2)  # [F, 21]
    torsos = [np.linalg.norm(x.reshape(-1, 22, 3)[:, [1, 2, 3]], axis=2).sum(1) for x in RECORDINGS]
    assert np.median([t.std() / t.mean() for t in torsos]) < 0.03  # by this all is divided
    mean = dict(zip(list(NUMBER)[1:], length.mean(axis=0), strict=True))
    for part in ("collar", "upper arm", "forearm", "hand", "upper leg", "lower leg", "foot", "toes"):
        assert 0.85 < mean[f"left {part}"] / mean[f"right {part}"] < 1.17, part
    for part in ("upper arm", "forearm", "hand", "collar", "upper leg"):  # to the sides
        assert rows[:, NUMBER[f"left {part}"], 0].mean() > 1 and rows[:, NUMBER[f"right {part}"], 0].mean() < -1
    for name in ("spine", "chest", "neck", "head", "head tip"):
        assert (rows[:, NUMBER[name], 1] > 0).all()
    for name in ("lower leg", "foot"):
        assert (rows[:, NUMBER[f"left {name}"], 1] < 0).all() and (rows[:, NUMBER[f"right {name}"], 1] < 0).all()
    # standing, the waist is above the floor by about the legs; a leg is longer than an arm, and toes point ahead
    assert mean["left lower leg"] + mean["left foot"] > mean["left forearm"] + mean["left hand"] > mean["left toes"]
    assert (rows[:, NUMBER["left toes"], 2] > 0).all()
    waist = np.concatenate([x[:, :3] for x in RECORDINGS])
    assert 60 < np.median(waist[:, 1]) < 110 and -300 < waist[:, 2].min() and waist[:, 2].max() < -200  # before Kinect
    squat = [x for name, x in zip(IDS, RECORDINGS, strict=True) if name.startswith("m01") and not name.endswith("inc")]
    assert np.median([np.ptp(x[:, 1]) for x in squat]) > 10  # a deep squat lowers the waist


def test_the_tree_leads_every_joint_to_the_waist():
    for j, (_, parent, axes) in enumerate(body.JOINTS):
        assert (parent is None) == (j == 0) and (parent or 0) <= j and set(axes) <= set("xyz")


def test_features_are_those_of_the_formula():
    s, x = data.load("ui_prmd", movement="m05", segments=4), RECORDINGS[IDS.index("m05_s02_e03")]
    found = s.features[list(s.ids).index("m05_s02_e03")]
    assert s.features.shape == (200, 4, 97)
    k, T = max(1, len(x) // 20), 4
    length = np.median(x[:, 4] + x[:, 7] + x[:, 10])
    for i in range(T):
        part = slice(i * len(x) // T, (i + 1) * len(x) // T)
        for c, column in enumerate(body.CHANNELS):
            u = (x[:, column] - x[:k, column].mean()) / length
            expected = u[part].mean(), u[part].std(), u.max() - u.min()
            np.testing.assert_allclose(found[i, [c, 32 + c, 64 + c]], expected, atol=1e-5)
        np.testing.assert_allclose(found[i, 96], np.log(len(x)), rtol=1e-6)


def test_features_do_not_hang_on_where_and_how_large_somebody_is():
    x = RECORDINGS[7]
    moved = 1.3 * x
    moved[:, :3] += [30, -8, 2]
    np.testing.assert_allclose(body.posture(moved), body.posture(x), atol=1e-9)
    assert body.torso(moved) == pytest.approx(1.3 * body.torso(x))


def test_all_movements_say_which_they_are():
    s = data.load("ui_prmd", segments=2)
    assert s.features.shape == (2000, 2, 107)
    which = s.features[:, :, 97:]
    assert (which.sum(2) == 1).all() and (which[:, 0] == which[:, 1]).all()
    assert [f"m{i + 1:02d}" for i in which[:, 0].argmax(1)] == s.table["movement"].tolist()
    assert len(s.pairs) == 10 * 10 * 10 * 10 and data.load("ui_prmd", kind="dct").features.shape == (2000, 10, 264)


def test_a_body_without_a_torso_is_refused():
    with pytest.raises(UserError, match="r1: the torso has no length"):
        body.segment_features(np.zeros((20, 66)), where="r1")
    with pytest.raises(UserError, match="r1 has 3 frames, fewer than the 10 segments"):
        body.segment_features(np.ones((3, 66)), where="r1")
