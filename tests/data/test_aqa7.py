"""AQA-7: the published lists where they are at hand, and small ones, whole and broken."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from aqa_lib import data
from aqa_lib.data import splits
from aqa_lib.data.files.store import Store
from aqa_lib.data.readers import aqa7
from aqa_lib.errors import UserError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "aqa7"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the lists of AQA-7 are not at {REAL}")
TRAIN = [[1, 54, 8415], [1, 341, 7425], [5, 2, 4620], [6, 9, 10488]]
TEST = [[1, 21, 8640], [5, 7, 5000]]


def put(root, side, rows, key=None):
    savemat(root / f"consolidated_{side}_list.mat", {key or f"consolidated_{side}_list": np.array(rows)})


@pytest.fixture
def lists(tmp_path):
    put(tmp_path, "train", np.array(TRAIN, float))
    put(tmp_path, "test", np.array(TEST, float))
    return tmp_path


def test_the_lists_are_read(lists):
    s = data.load("aqa7", lists)
    assert s.ids.tolist()[:2] == ["diving_054", "diving_341"]
    assert s.ids.tolist()[2:4] == ["sync_diving_3m_002", "sync_diving_10m_009"]
    assert s.scores.tolist() == [84.15, 74.25, 46.2, 104.88, 86.4, 50.0]
    assert s.groups.tolist() == ["diving"] * 2 + ["sync_diving_3m", "sync_diving_10m", "diving", "sync_diving_3m"]
    assert s.table["split"].tolist() == ["train"] * 4 + ["test"] * 2 and s.features is None
    diving = data.load("aqa7", lists, action="diving")
    assert diving.ids.tolist() == ["diving_054", "diving_341", "diving_021"]
    assert splits.official(diving).test.tolist() == [2]
    with pytest.raises(UserError, match="nothing of the action 'gym_vault'"):
        data.load("aqa7", lists, action="gym_vault")
    with pytest.raises(UserError, match="did you mean 'diving'"):
        data.load("aqa7", lists, action="divng")


def test_features_are_joined(lists):
    x = {v: np.full((3, 2), i) for i, v in enumerate(["diving_021", "diving_341", "diving_054"])}
    Store.write(lists / "i3d.features", {"rgb": x})
    s = data.load("aqa7", lists, action="diving", features="i3d.features")
    assert s.features[:, 0, 0].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ([[1, 54, np.nan]], r"train_list.mat, row 1: \[1.0, 54.0, nan\] is not an action"),
        ([*TRAIN, [7, 1, 5.0]], r"row 5: \[7.0, 1.0, 5.0\]"),
        ([*TRAIN, [0, 1, 5.0]], r"row 5"),
        ([*TRAIN, [1.5, 1, 5.0]], r"row 5"),
        ([*TRAIN, [1, 0, 5.0]], r"row 5"),
        ([*TRAIN, [1, 54, 5.0]], r"'diving_054' stands there twice"),
        ([*TRAIN, [1, 21, 5.0]], r"'diving_021' stands there twice"),
        ([[1, 2]], r"must be numbers \[N, 3\]"),
        ([["a", "b", "c"]], r"must be numbers \[N, 3\]"),
    ],
)
def test_what_is_broken_is_named(lists, rows, sentence):
    put(lists, "train", rows)
    with pytest.raises(UserError, match=sentence) as error:
        data.load("aqa7", lists)
    assert "\n" not in str(error.value)


def test_missing_foreign_and_truncated_files(lists):
    path = lists / "consolidated_train_list.mat"
    before = data.fingerprint("aqa7", lists)
    whole = path.read_bytes()
    for length in (0, 60, 130, len(whole) - 8):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="train_list.mat cannot be read as a MATLAB file") as error:
            data.load("aqa7", lists)
        assert "\n" not in str(error.value)
    assert data.fingerprint("aqa7", lists) != before
    put(lists, "train", TRAIN, key="other")
    with pytest.raises(UserError, match="unknown array in .*train_list.mat .consolidated_train_list"):
        data.load("aqa7", lists)
    path.unlink()
    with pytest.raises(UserError, match="there is no file .*consolidated_train_list.mat"):
        data.load("aqa7", lists)


@real
def test_the_published_counts():
    lines = aqa7.checks(REAL)
    assert len(lines) == 12 and all(found == expected for _, found, expected in lines)
    s = data.load("aqa7", REAL)
    assert len(s) == 1106 and len(splits.official(s).test) == 303
    sizes = dict(zip(*np.unique(s.groups, return_counts=True), strict=True))
    assert sizes == dict(
        diving=370, gym_vault=176, ski_big_air=175, snowboard_big_air=206, sync_diving_3m=88, sync_diving_10m=91
    )
    # the samples of an action are numbered without a gap
    for _, rows in s.table.groupby("action"):
        assert sorted(rows["sample"]) == list(range(1, len(rows) + 1))
