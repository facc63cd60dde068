"""Readers of finger tapping, UI-PRMD, EPIC-Skills, BEST, THUMOS14 and ActivityNet: real files and spoiled ones."""

import csv
import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aqa_lib import data
from aqa_lib.data import splits
from aqa_lib.data.actions import actions_of, layout
from aqa_lib.data.files.store import Store
from aqa_lib.data.standardise import standardised
from aqa_lib.errors import UserError
from aqa_lib.tasks import SCORES

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SETTINGS = {"fraction": 0.1, "draw": 0, "how": "stratified"}
NAMES = ("finger_tapping", "ui_prmd", "epic_skills", "best", "thumos14", "activitynet12")


def place(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    return SHARED / name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_counts_are_the_published_ones(name):
    found = data.reader(name).checks(place(name))
    assert found and any(expected is not None for *_, expected in found)
    assert [(what, value) for what, value, expected in found if expected not in (None, value)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_root_is_named(name, tmp_path):
    if not data.ships(name):
        with pytest.raises(UserError, match=f"'{name}' needs root"):
            data.load(name)
    with pytest.raises(UserError, match="nowhere does not exist; give the folder that holds"):
        data.load(name, tmp_path / "nowhere")
    with pytest.raises(UserError, match="there is no (file|folder) "):
        data.load(name, tmp_path)
    with pytest.raises(UserError, match="there is no (file|folder) |is to hold"):
        data.reader(name).checks(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_fingerprint_follows_the_content(name, tmp_path):
    root = tmp_path / name
    shutil.copytree(place(name), root, copy_function=shutil.copyfile)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert data.fingerprint(name, root) == data.fingerprint(name, SHARED / name)
    for path in sorted(root.rglob("*")):
        if path.name in (
            "finger_tapping.csv",
            "m01_s01_e01_positions.txt.gz",
            "BEST.csv",
            "suturing_gt.csv",
            "gt.json",
        ):
            path.write_bytes(path.read_bytes() + b"\n")
        elif path.suffix == ".json":
            path.write_bytes(path.read_bytes() + b"\n")
    assert data.fingerprint(name, root) != data.fingerprint(name, SHARED / name)


# finger tapping


def test_finger_tapping_scores_and_judges():
    s = data.load("finger_tapping", place("finger_tapping"))
    with open(SHARED / "finger_tapping" / "finger_tapping.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert s.features.shape == (489, 1, 53) and s.judges.shape == (489, 4)
    assert (s.meta["judging"], s.meta["awards"]) == ("mean", [0, 4, 1]) and set(np.unique(s.judges)) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(s.scores, [float(r["Rating"]) for r in rows])
    np.testing.assert_array_equal(s.judges[:, 1], [float(r["Rating2"]) for r in rows])
    column = s.meta["features"].index("speed_max_denoised")
    np.testing.assert_allclose(s.features[:, 0, column], [float(r["speed_max_denoised"]) for r in rows], rtol=1e-6)
    # the consensus is what two of raters 1, 3 and 4 agree on, wherever two of them do
    for a, b in ((0, 2), (0, 3), (2, 3)):
        agree = s.judges[:, a] == s.judges[:, b]
        assert agree.sum() > 200 and (s.scores[agree] == s.judges[agree, a]).all()
    part = splits.leak_free(s)
    assert not set(s.groups[part.train]) & set(s.groups[part.test]) and len(part.test) > 100


def test_folds_of_finger_tapping_keep_recordings_whole():
    s = data.load("finger_tapping")
    names = splits.every(s, "fold:five")
    parts = [splits.get(name)(s) for name in names]
    assert sorted(np.concatenate([part.test for part in parts])) == list(range(489))
    assert all(95 <= len(part.test) <= 101 for part in parts)
    assert not any(set(s.groups[part.train]) & set(s.groups[part.test]) for part in parts)
    seen, _ = standardised(s, parts[0])
    np.testing.assert_allclose(seen.features[parts[0].train].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(seen.features[parts[0].train].std(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.replace(",Right,clip_001,2,", ",Right,clip_001,x,"), "line 3, Rating1: 'x' is not a number"),
        (lambda t: t.replace(",Right,clip_001,2,", ",Right,clip_001,7,"), "line 3, Rating1: 7 lies outside 0..4"),
        (lambda t: t.replace("clip_001", "clip_000"), "'clip_000' stands there twice"),
        (lambda t: t.replace(",Right,clip_001,2,", ",Right,clip_001,2_0,"), "line 3, Rating1: '2_0' is not a number"),
        (lambda t: t.replace("hand,clip", "hand,clap"), "has no column clip"),
        (lambda t: t.replace("Rating2", "Rating1"), "the header of .*: 'Rating1' stands there twice"),
        (lambda t: t.replace("Rating1,Rating2,Rating3", "a,b,c"), "has 1 columns of raters"),
        (lambda t: t[:9000], r"line \d+: \d+ fields, not 61; is the file cut off"),
        (lambda t: t[: t.index("\n")], "has a header only"),
    ],
)
def test_spoiled_finger_tapping(tmp_path, change, said):
    text = (place("finger_tapping") / "finger_tapping.csv").read_text()
    (tmp_path / "finger_tapping.csv").write_text(change(text))
    with pytest.raises(UserError, match=said):
        data.load("finger_tapping", tmp_path)


def test_five_raters_who_may_leave_a_clip_open(tmp_path):
    """The file of all raters: a fifth column after the fourth, some of its cells empty."""
    lines = (place("finger_tapping") / "finger_tapping.csv").read_text().splitlines()
    rows = [line.rsplit(",", 1) for line in lines]
    fifth = ["Rating5", *([str(i % 5) if i % 7 else "" for i in range(489)])]
    text = "\n".join(f"{row},{five},{consensus}" for (row, consensus), five in zip(rows, fifth, strict=True))
    (tmp_path / "finger_tapping.csv").write_text(text)
    s, four = data.load("finger_tapping", tmp_path), data.load("finger_tapping", SHARED / "finger_tapping")
    assert s.meta["raters"] == [f"Rating{k}" for k in (1, 2, 3, 4, 5)] and s.judges.shape == (489, 5)
    np.testing.assert_array_equal(s.judges[:, :4], four.judges)
    np.testing.assert_array_equal(s.judges[:8, 4], [np.nan, 1, 2, 3, 4, 0, 1, np.nan])
    np.testing.assert_array_equal(s.scores, four.scores)
    np.testing.assert_array_equal(s.features, four.features)  # a rating is no feature
    assert ("raters beside the consensus", 5, 5) in data.reader("finger_tapping").checks(tmp_path)
    assert ("raters beside the consensus", 4, 4) in data.reader("finger_tapping").checks(SHARED / "finger_tapping")


# UI-PRMD


def test_ui_prmd_pairs_and_subjects():
    options = {"kind": "dct", "coefficients": 2, "pairing": "repetition"}
    s = data.load("ui_prmd", place("ui_prmd"), movement="m05", **options)
    assert s.features.shape == (200, 10, 66 * 2) and s.scores.sum() == 100 and len(s.pairs) == 100
    for better, worse in s.pairs:
        assert s.ids[worse] == f"{s.ids[better]}_inc" and s.groups[better] == s.groups[worse]
    assert (s.scores[s.pairs] == [1, 0]).all()
    every = data.load("ui_prmd", SHARED / "ui_prmd", movement="m05", kind="statistics")
    assert len(every.pairs) == 10 * 10 * 10 and every.features.shape[2] == 66 * 5
    part = splits.leak_free(s)
    assert not set(s.groups[part.train]) & set(s.groups[part.test])
    assert len(splits.every(s, "fold:subject")) == 10
    twos = [splits.get(name)(s) for name in splits.every(s, "fold:two")]
    assert [part.name for part in twos] == [f"fold:two/{k}" for k in range(1, 6)]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.test for part in twos])), np.arange(200))
    for k, part in enumerate(twos):
        held = {f"s{2 * k + 1:02d}", f"s{2 * k + 2:02d}"}
        assert set(s.groups[part.test]) == held and len(part.test) == 40
        labels = SCORES.labels(s, part, SETTINGS)
        assert len(labels.train) == 16 and len(labels.unlabelled) == 144
        assert not set(s.groups[np.concatenate([labels.train, labels.unlabelled])]) & held
        assert np.isnan(labels.scores[part.test]).all()
    # column 2 c of a segment is the mean of coordinate c in it
    with gzip.open(SHARED / "ui_prmd" / "correct" / "m05_s02_e03_positions.txt.gz", "rt") as file:
        x = np.loadtxt(file, delimiter=",")
    row = s.features[list(s.ids).index("m05_s02_e03"), 9]
    np.testing.assert_allclose(row[::2], x[9 * len(x) // 10 :].mean(axis=0), rtol=1e-4, atol=1e-4)


def movements(root, **files):
    """A root with the given files; every one that is not given is ten good frames."""
    names = {"correct": "m01_s01_e01_positions.txt", "incorrect": "m01_s01_e01_positions_inc.txt"}
    good = "\n".join(",".join(f"{i + j}.5" for j in range(66)) for i in range(10))
    for part, name in names.items():
        (root / part).mkdir()
        (root / part / name).write_text(files.get(part, good))
    return root


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "e01_positions.txt has 0 frames, fewer than the 10 segments"),
        (",".join(["1"] * 66) + "\n" + ",".join(["1"] * 40), "line 2: 40 numbers, not 66; is the file cut off"),
        (",".join(["1"] * 65 + ["a"]), "line 1: 'a' is not a number"),
        (",".join(["1"] * 65 + ["1_0"]), "line 1: '1_0' is not a number"),
    ],
)
def test_spoiled_movements(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        data.load("ui_prmd", movements(tmp_path, correct=text))


def test_misplaced_movements(tmp_path):
    movements(tmp_path)
    assert len(data.load("ui_prmd", tmp_path).pairs) == 1
    with pytest.raises(UserError, match="no recording of movement m03"):
        data.load("ui_prmd", tmp_path, movement="m03")
    path = tmp_path / "correct" / "m01_s01_e01_positions.txt"
    with gzip.open(f"{path}.gz", "wt") as file:
        file.write(path.read_text())
    with pytest.raises(UserError, match="is there twice, packed and unpacked"):
        data.load("ui_prmd", tmp_path)
    path.unlink()
    assert len(data.load("ui_prmd", tmp_path)) == 2
    Path(f"{path}.gz").write_bytes(Path(f"{path}.gz").read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        data.load("ui_prmd", tmp_path)
    (tmp_path / "correct" / "m01_s01_e02_positions_inc.txt").write_text("1")
    with pytest.raises(UserError, match="is not named as recordings in correct are"):
        data.load("ui_prmd", tmp_path)


# EPIC-Skills and BEST


def test_epic_skills_gives_the_published_lists():
    """Division by division the pairs are those of the files; test pairs reach into the training videos."""
    s = data.load("epic_skills", place("epic_skills"), task="Dough_Rolling")
    assert s.features is None and np.isnan(s.scores).all() and len(s.pairs) == 181
    video = s.table["video"].to_numpy()
    for k in (1, 2, 3, 4):
        for part, ours in zip(("train", "val"), splits.pairs(s, f"division:{k}"), strict=True):
            path = SHARED / "epic_skills" / "Dough_Rolling" / "splits" / f"dough_rolling_{part}_{k}.csv"
            lines = path.read_text().split()[1:]
            assert Counter((video[a], video[b]) for a, b in ours) == Counter(tuple(x.split(",")[:2]) for x in lines)
        train, test = splits.pairs(s, f"division:{k}")
        trained = set(train.ravel())
        assert all(not set(pair) <= trained for pair in test) and any(set(pair) & trained for pair in test)


def test_epic_skills_pools_tasks_without_mixing_them():
    s = data.load("epic_skills", place("epic_skills"), task="Surgery")
    task = s.table["task"].to_numpy()
    assert len(s) == 103 and len(s.pairs) == 1659 and (task[s.pairs[:, 0]] == task[s.pairs[:, 1]]).all()


def test_features_of_ranked_videos_come_from_a_store(tmp_path):
    plain = data.load("best", place("best"), task="origami")
    x = {i: np.full((2 + n % 2, 3), n) for n, i in enumerate(plain.ids)}
    Store.write(tmp_path / "s", {"rgb": x})
    s = data.load("best", SHARED / "best", task="origami", features=str(tmp_path / "s"))
    assert s.ragged and s.features.shape == (100, 3, 3) and list(s.lengths[:3]) == [2, 3, 2]
    assert s.features[5][0, 0] == 5
    del x[plain.ids[7]]
    Store.write(tmp_path / "s", {"rgb": x})
    with pytest.raises(UserError, match=f"lacks 1 of 100 videos, the first being '{plain.ids[7]}'"):
        data.load("best", SHARED / "best", task="origami", features=str(tmp_path / "s"))


@pytest.mark.parametrize("name, task", [("best", "tie_tie"), ("epic_skills", "Drawing")])
def test_the_check_of_ranked_videos_reads_the_store_that_is_given(tmp_path, name, task):
    ids = data.load(name, place(name), task=task).ids
    checks = data.reader(name).checks
    Store.write(tmp_path / "s", {"rgb": {i: np.ones((2, 3)) for i in ids}})
    assert len(checks(SHARED / name, task=task, features=tmp_path / "s")) > 2
    Store.write(tmp_path / "s", {"rgb": {i: np.ones((2, 3)) for i in ids[1:]}})
    with pytest.raises(UserError, match=f"lacks 1 of {len(ids) if name == 'best' else 20} videos, the first being"):
        checks(SHARED / name, task=task, features=tmp_path / "s")


def test_best_divides_videos():
    s = data.load("best", place("best"), task="tie_tie")
    train, test = splits.pairs(s, "division:1")
    held = (s.table["split_1"] == "test").to_numpy()
    assert held.sum() == 25 and held[test].all() and not held[train].any()
    with pytest.raises(UserError, match="unknown split .*'division:2': did you mean 'division:1'"):
        splits.pairs(s, "division:2")
    with pytest.raises(UserError, match="no ranked pairs"):
        splits.pairs(data.load("finger_tapping", place("finger_tapping")), "division:1")


def spoiled(name, part, root, path, change):
    shutil.copytree(place(name) / part, root / part, copy_function=shutil.copyfile)
    for each in [root / part, *(root / part).rglob("*")]:
        each.chmod(0o755 if each.is_dir() else 0o644)
    (root / path).write_text(change((root / path).read_text()))
    return root


@pytest.mark.parametrize(
    "path, change, said",
    [
        ("sonic_drawing_gt.csv", lambda t: t.replace("C4,C1,C4", "C4,C1,C9", 1), "line 2: the better one must be one"),
        ("sonic_drawing_gt.csv", lambda t: t.replace("C4,C1,C4", "C4,C1,C1", 1), "fetch it anew"),
        ("sonic_drawing_gt.csv", lambda t: t.replace("Vid1,", "Video,", 1), "Vid1,Vid2 is expected"),
        ("splits/sonic_drawing_val_2.csv", lambda t: t[: t.rindex(",C")], "list|one video, not two"),
        ("splits/sonic_drawing_train_3.csv", lambda t: "", "is empty: its first line should hold Better,Worse"),
    ],
)
def test_spoiled_epic_skills(tmp_path, path, change, said):
    root = spoiled("epic_skills", "Sonic_Drawing", tmp_path, f"Sonic_Drawing/{path}", change)
    with pytest.raises(UserError, match=said):
        data.load("epic_skills", root, task="Sonic_Drawing")


@pytest.mark.parametrize(
    "path, change, said",
    [
        ("test.txt", lambda t: t + " ".join(t.split()[1::-1]), "line 213: the pair .* stands there twice"),
        ("test.txt", lambda t: t + "x y\n", "line 213: 'x y' is not two of the 100 listed videos"),
        ("test_vid_list.txt", lambda t: t + t.split()[0], "stands there twice"),
        ("train_vid_list.txt", lambda t: t + "nobody", "'nobody' is not among those of origami in BEST.csv"),
    ],
)
def test_spoiled_best(tmp_path, path, change, said):
    shutil.copyfile(place("best") / "BEST.csv", tmp_path / "BEST.csv")
    root = spoiled("best", "splits/origami", tmp_path, f"splits/origami/{path}", change)
    with pytest.raises(UserError, match=said):
        data.load("best", root, task="origami")


# actions in untrimmed videos


def test_thumos14_in_seconds():
    s = data.load("thumos14", place("thumos14"))
    raw = json.loads((SHARED / "thumos14" / "gt.json").read_text())["database"]
    test = actions_of(s, "test")
    assert (s.table["subset"] == "test").sum() == 210 and len(test) == 3311 and np.isnan(s.scores).all()
    assert s.actions["label"].nunique() == 20 and set(test["label"]) == set(s.actions["label"])
    assert len(splits.official(s).test) == 210 and len(splits.official(s).train) == 200
    found = layout(s, "test")["database"]
    video = "video_test_0000896"
    wanted = [[float(t) for t in a["segment"]] for a in raw[video]["annotations"]]
    assert [a["segment"] for a in found[video]["annotations"]] == wanted and found[video]["subset"] == "test"
    assert len(found) == 210 and found.items() <= layout(s)["database"].items()
    with pytest.raises(UserError, match="did you mean 'test'"):
        actions_of(s, "tset")


def test_activitynet_keeps_what_has_no_extent():
    s = data.load("activitynet12", place("activitynet12"))
    assert len(s) == 8907 and len(s.meta["empty"]) == 9
    val = actions_of(s, "validation")
    lengths = val["end"] - val["start"]
    here = s.table["subset"] == "validation"
    assert round(len(val) / here.sum(), 1) == 1.5 and (lengths == 0).sum() == 3
    assert s.table["duration"][here].notna().all()
    split = splits.official(s)  # the testing videos have no labels and are in neither part
    assert len(split.train) == 4441 and len(split.test) == 2198
    assert set(s.table["subset"][split.test]) == {"validation"}


def ground_truth(**entry):
    entry = {"subset": "training", "annotations": [{"label": "a", "segment": [0, 1]}]} | entry
    return json.dumps({"database": {"v1": entry}})


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "is it cut off"),
        ("[]", "no|not a json with a database"),
        (ground_truth(annotations=[{"label": "a", "segment": ["1", "x"]}]), "video 'v1': 'x' is not a number"),
        (ground_truth(annotations=[{"label": "a", "segment": [2, 1]}]), "lasts from 2.0 to 1.0 seconds"),
        (ground_truth(annotations=[{"label": "a", "segment": [2]}]), "has 1 times; a segment is"),
        (ground_truth(annotations=[{"segment": [2, 3]}]), "video 'v1' lacks 'label'"),
        (ground_truth(annotations=[{"label": "a", "segment": [True, 3]}]), "True is not a number"),
        (ground_truth(annotations=[{"label": "a", "segment": [0, 10**400]}]), "0 is not a number"),
        (ground_truth(duration="1:30"), "the duration of video 'v1': '1:30' is not a number"),
        (ground_truth(subset="valdation"), "unknown split of video 'v1' .*'valdation': did you mean 'validation'"),
        ('{"database": ' + "[" * 200_000, "not a json with a database"),
        ('{"database": {"v1": {}, "v1": {}}}', "'v1' stands there twice"),
    ],
)
def test_spoiled_ground_truth(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        data.load("activitynet12", tmp_path)
    assert "a.json" in str(error.value) and "\n" not in str(error.value)


def test_videos_in_no_list_are_named(tmp_path):
    for name in ("gt.json", "split_train.txt", "split_test.txt"):
        shutil.copyfile(place("thumos14") / name, tmp_path / name)
    videos = (tmp_path / "split_test.txt").read_text().split()
    (tmp_path / "split_test.txt").write_text("\n".join(videos[:-2]))
    s = data.load("thumos14", tmp_path)
    assert len(s) == 408 and sorted(s.meta["unlisted"]) == sorted(videos[-2:])
    assert not set(videos[-2:]) & set(s.actions["video"])


def test_spoiled_thumos_lists(tmp_path):
    root = place("thumos14")
    for name in ("gt.json", "split_train.txt", "split_test.txt"):
        shutil.copyfile(root / name, tmp_path / name)
    lists = tmp_path / "split_test.txt"
    text = lists.read_text()
    for change, said in [
        (text + "video_test_9", "lacks 1 videos of the lists beside it, the first being 'video_test_9'"),
        (text + text.split()[0], "stands there twice"),
    ]:
        lists.write_text(change)
        with pytest.raises(UserError, match=said):
            data.load("thumos14", tmp_path)
