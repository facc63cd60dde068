"""One's own videos: a folder of features, or of videos, and one CSV."""

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data
from aqa_lib.data import splits
from aqa_lib.data.files.store import Store
from aqa_lib.data.readers import own
from aqa_lib.errors import UserError

CSV = "id,score,group,split,place\na,1.5,x,train,Rome\nb,,x,train,Bonn\nc,3,,test,Rome\nd,2,y,test,Oslo\n"
LENGTH = {"a": 3, "b": 5, "c": 4, "d": 5}


@pytest.fixture()
def root(tmp_path):
    (tmp_path / "items.csv").write_text(CSV)
    for i, (name, length) in enumerate(LENGTH.items()):
        np.save(tmp_path / f"{name}.npy", np.full((length, 2), i + 1.0))
    return tmp_path


def test_a_folder_of_features(root):
    s = data.load("own", root)
    assert list(s.ids) == list("abcd") and s.features.shape == (4, 5, 2) and list(s.lengths) == [3, 5, 4, 5]
    np.testing.assert_array_equal(s.scores, [1.5, np.nan, 3, 2])
    assert list(s.groups) == ["x", "x", "c", "y"]  # an empty group is one by itself
    assert s.ragged and s.features[0].shape == (3, 2) and (s.features[0] == 1).all()
    assert list(s.table["place"]) == ["Rome", "Bonn", "Rome", "Oslo"]
    assert list(splits.official(s).test) == [2, 3] and list(splits.official(s).train) == [0, 1]
    found = own.checks(root)
    assert ("items with a score", 3, None) in found and ("training and test items", [2, 2], None) in found


def test_only_an_id_is_needed(root):
    (root / "items.csv").write_text("id\nd\nb\n")
    s = data.load("own", root)
    assert list(s.ids) == ["d", "b"] and np.isnan(s.scores).all() and s.groups is s.lengths is None
    assert "split" not in s.table and (s.features[0] == 4).all()
    with pytest.raises(UserError, match="no official split"):
        splits.official(s)


def test_an_excel_csv_with_spaces_and_capitals(root):
    (root / "items.csv").write_bytes("\ufeffID, Score ,Split\r\n a , 2 ,\r\nb,NaN,\r\n\r\n".encode())
    s = data.load("own", root)
    assert list(s.ids) == ["a", "b"] and s.scores[0] == 2 and np.isnan(s.scores[1]) and "split" not in s.table


def test_features_may_lie_in_a_folder_and_in_any_format(root):
    (root / "features" / "day 1").mkdir(parents=True)
    pd.DataFrame(np.ones((2, 2))).to_csv(root / "features" / "day 1" / "e.csv", index=False)
    np.savez(root / "features" / "f.npz", x=np.ones((3, 2)))
    (root / "mine.csv").write_text("id,score\nday 1/e,1\nf,2\na,3\n")
    s = data.load("own", root, table="mine.csv")
    assert list(s.ids) == ["day 1/e", "f", "a"] and list(s.lengths) == [2, 3, 3]


def test_features_from_a_store(root):
    (root / "items.csv").write_text("id,score\na,1\nb,\n")
    Store.write(root / "s.features", {"rgb": {"a": np.ones((4, 3)), "b": np.zeros((4, 3))}})
    s = data.load("own", root, features="s.features")  # a path from the root
    assert s.features.shape == (2, 4, 3) and s.lengths is None
    with pytest.raises(UserError, match="unknown modality"):
        data.load("own", root, features="s.features", modality="flow")


def test_videos_without_features_are_annotations_alone(tmp_path):
    (tmp_path / "labels.csv").write_text("id,score\nclip 1,1\nclip 2,\n")  # the only CSV
    for name in ("clip 1.mp4", "clip 2.MOV"):
        (tmp_path / name).write_bytes(b"")
    s = data.load("own", tmp_path)
    assert s.features is None and len(s) == 2 and s.scores[0] == 1
    (tmp_path / "clip 2.MOV").unlink()
    with pytest.raises(UserError, match="lacks features or videos of 1 of the 2 items, the first being 'clip 2'"):
        data.load("own", tmp_path)


@pytest.mark.parametrize(
    "change, said",
    [
        (("1.5", "good"), "items.csv, line 2: score of 'a': 'good' is not a number"),
        (("1.5", "inf"), "line 2: score of 'a': 'inf' is not a finite number"),
        (("\nb,", "\na,"), "items.csv: 'a' stands there twice"),
        (("y,test", "y,tset"), "line 5: unknown split 'tset': did you mean 'test'"),
        (("y,test", "y,"), "line 5: unknown split ''"),
        ((",Oslo", ""), "line 5: 4 fields, not the 5 of the header"),
        (("\nd,", "\n,"), "line 5: no id"),
        (("id,", "name,"), "has no column id"),
        (("group", "score"), "the header of .*: 'score' stands there twice"),
        (("\nd,", "\ne,"), "lacks features of 1 of the 4 items, the first being 'e'"),
        ((CSV[CSV.index("\n") :], "\n"), "lists no items"),
        ((CSV, ""), "has no column id"),
        (("id,score,group,split", "id;score;group;split"), "begins with 'id;score;group;split,place', but id,score"),
        (("Rome", "\xe9"), "cannot be read .*: save it as plain UTF-8"),
    ],
)
def test_a_spoiled_table_is_named(root, change, said):
    (root / "items.csv").write_text(CSV.replace(*change), encoding="latin1")
    with pytest.raises(UserError, match=said) as error:
        data.load("own", root)
    assert "\n" not in str(error.value)


def test_features_that_do_not_fit(root):
    np.save(root / "c.npy", np.ones((4, 3)))
    with pytest.raises(UserError, match="c.npy has 3 features a segment, but .*a.npy has 2"):
        data.load("own", root)
    np.savez(root / "c.npz", np.ones((4, 2)))
    with pytest.raises(UserError, match="are both features of 'c'"):
        data.load("own", root)
    (root / "c.npz").unlink()
    (root / "c.npy").write_bytes((root / "d.npy").read_bytes()[:-1])
    with pytest.raises(UserError, match="c.npy cannot be read as features"):
        data.load("own", root)


def test_a_wrong_root_is_named(root):
    with pytest.raises(UserError, match="'own' needs root"):
        data.load("own")
    with pytest.raises(UserError, match="is a file; give the folder"):
        data.load("own", root / "a.npy")
    (root / "items.csv").rename(root / "item.csv")
    assert len(data.load("own", root)) == 4  # the only CSV
    (root / "other.csv").write_text("id\n")
    with pytest.raises(UserError, match="no file .*items.csv: .*did you mean item.csv|did you mean 'item.csv'"):
        data.load("own", root)


def test_other_content_is_another_fingerprint(root):
    before = data.fingerprint("own", root)
    (root / "items.csv").write_text(CSV.replace("1.5", "1.6"))
    between = data.fingerprint("own", root)
    np.save(root / "a.npy", np.zeros((3, 2)))
    assert len({before, between, data.fingerprint("own", root)}) == 3
