"""Seven faults in every data set that can have them: `aqa data check` names each in one sentence, with exit code 2.

Sets that are at hand are linked into a folder of their own and one file is spoiled; JIGSAWS and `own` are made up.
"""

import gzip
import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from jigsaws_release import release
from scipy.io import loadmat, savemat

from aqa_lib import commands, data
from aqa_lib.data.files.store import Store

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
READERS = [name for name in data.names() if hasattr(data.reader(name), "checks")]
FAULTS = ("wrong root", "missing file", "truncated", "twice", "no number", "unknown split", "feature length")
ONLY = {"ui_prmd": "m05_s01*", "epic_skills": "*ough_*", "best": "[Bt]*"}  # enough of the large ones
OPTIONS = {"ui_prmd": ["movement=m05"], "epic_skills": ["task=Dough_Rolling"], "jigsaws": ["task=Suturing"]}
BALL, REST = "Ball_001\t10.50", "\t8.30\t18.80\t0.00\t92"


def build(name, root):
    """The set in `root`, whose files can be replaced."""
    if name == "jigsaws":
        release(root)
    elif name == "own":
        (root / "items.csv").write_text("id,score,group,split\na,1,x,train\nb,2,x,train\nc,,y,test\n")
        for video in "abc":
            np.save(root / f"{video}.npy", np.ones((3, 4)))
    elif not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not at {SHARED / name}")
    else:
        for path in (SHARED / name).rglob("*"):
            if path.is_file() and path.match(ONLY.get(name, "*")):
                link = root / path.relative_to(SHARED / name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
    return root


def edit(file, change):
    """Replace the bytes of a file by what `change` makes of them; None takes the file away."""

    def spoil(root):
        path = root / file
        content = change(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return spoil


def text(file, old, new):
    """Replace a text, which must be there, in a file."""

    def change(content):
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return edit(file, change)


def gone(file):
    return edit(file, lambda content: None)


def cut(file):
    return edit(file, lambda content: content[: len(content) // 2])


def pickled(file, change):
    return edit(file, lambda content: pickle.dumps(change(pickle.loads(content))))


def matrix(side, change):
    key = f"consolidated_{side}_list"

    def spoil(root):
        rows = loadmat(root / f"{key}.mat")[key].astype(float)
        (root / f"{key}.mat").unlink()
        savemat(root / f"{key}.mat", {key: change(rows)})

    return spoil


def flow_longer(root):
    """A store whose flow has a segment more than its RGB, for every video that a list of the set names."""
    ids = data.load(root.name, root, **dict(o.split("=") for o in OPTIONS.get(root.name, []))).ids
    rgb, flow = ({v: np.ones((t, 2)) for v in ids} for t in (3, 4))
    Store.write(root / "s.features", {"rgb": rgb, "flow": flow})


LONGER = (
    flow_longer,
    r"has 4 flow segments in .*s\.features, but 3 of rgb",
    "features=s.features",
    "modality=rgb+flow",
)
MTL = "final_annotations_dict_with_dive_number.pkl"
BEST, DOUGH = "splits/tie_tie", "Dough_Rolling/splits/dough_rolling"
NET = "activity_net.v1-2.min-missing-removed.json"
M05 = "correct/m05_s01_e01_positions.txt.gz"
TRIAL, META = "Suturing/kinematics/AllGestures/Suturing_C002.txt", "Suturing/meta_file_Suturing.txt"


def entry(**changes):
    """Change the first video of an ActivityNet file that has actions."""

    def change(content):
        whole = json.loads(content)
        first = next(v for v in whole["database"].values() if v["annotations"])
        for key, value in changes.items():
            (first["annotations"][0] if key == "segment" else first)[key] = value
        return json.dumps(whole).encode()

    return change


def doubled(content):
    whole = content.replace(b'"database": {', b'"database": {"v": {}, "v": {}, ', 1)
    assert whole != content
    return whole


def repacked(change):
    return edit(M05, lambda content: gzip.compress(change(gzip.decompress(content).decode()).encode()))


def changed(known, **fields):
    key = next(iter(known))
    return known | {key: known[key] | fields}


NONE = "there is no such thing: "
CASES = {  # data set -> fault -> (how the folder is spoiled, what is said, options), or why it cannot have the fault
    "mtl_aqa": {
        "missing file": (gone("test_split_0.pkl"), "there is no .*test_split_0.pkl"),
        "truncated": (cut(MTL), f"{MTL} is cut short"),
        "twice": (pickled("train_split_0.pkl", lambda k: [*k, k[0]]), r"train_split_0.pkl: \(.*\) stands there twice"),
        "no number": (pickled(MTL, lambda d: changed(d, final_score="x")), r"dive \d+_\d+, final_score: 'x' is not"),
        "unknown split": (lambda root: None, "unknown split: there is no .*train_split_7.pkl", "fold=7"),
        "feature length": LONGER,
    },
    "rhythmic_gymnastics": {
        "missing file": (gone("train.txt"), "there is no file .*train.txt"),
        "truncated": (text("test.txt", REST[-4:], ""), r"test.txt, line \d+: 5 fields, not 6; is the file cut off"),
        "twice": (text("train.txt", "Ball_002", "Ball_001"), "'Ball_001' stands there twice"),
        "no number": (text("train.txt", BALL, "Ball_001\tx"), "train.txt, line 2, difficulty: 'x' is not a number"),
        "unknown split": NONE + "a file is a side of the split",
        "feature length": LONGER,
    },
    "aqa7": {
        "missing file": (gone("consolidated_test_list.mat"), "there is no file .*consolidated_test_list.mat"),
        "truncated": (cut("consolidated_train_list.mat"), "consolidated_train_list.mat cannot be read"),
        "twice": (matrix("train", lambda x: np.vstack([x, x[:1]])), r"'\w+_\d+' stands there twice"),
        "no number": (matrix("test", lambda x: x + [0, 0, np.nan]), r"test_list.mat, row 1: \[.*nan\] is not"),
        "unknown split": NONE + "a file is a side of the split",
        "feature length": LONGER,
    },
    "jigsaws": {
        "missing file": (gone(META), "there is no file .*meta_file_Suturing.txt"),
        "missing trial": (gone(TRIAL), "trials left out is .*Suturing_C002: its kinematics are missing"),
        "truncated": (edit(TRIAL, lambda c: c[:-200]), r"C002.txt, line \d+: \d+ numbers, not 76; is the file cut off"),
        "twice": (text(META, "Suturing_B002", "Suturing_B001"), "txt, line 2: 'Suturing_B001' stands there twice"),
        "no number": (text(META, "\t16\t", "\tx\t"), "meta_file_Suturing.txt, line 1: 'x' is not a number"),
        "unknown split": NONE + "folds are splits by name, which tests/data/test_splits.py asks wrongly",
        "feature length": (edit(TRIAL, lambda c: c[15:]), "C002.txt, line 1: 75 numbers, not 76"),
    },
    "ui_prmd": {
        "missing file": (gone(M05), "recordings that are missing is m05_s01_e01,"),
        "truncated": (cut(M05), f"{Path(M05).name} cannot be read"),
        "twice": (lambda root: shutil.copy(root / M05, root / M05[:-3]), "is there twice, packed and unpacked"),
        "no number": (repacked(lambda t: "x," + t.split(",", 1)[1]), "txt.gz, line 1: 'x' is not a number"),
        "unknown split": (
            lambda root: (root / M05).rename(root / M05.replace("_positions", "_positions_inc")),
            "is not named as recordings in correct are",
        ),
        "feature length": (repacked(lambda t: t.split(",", 1)[1]), "txt.gz, line 1: 65 numbers, not 66"),
    },
    "finger_tapping": {
        "missing file": (gone("finger_tapping.csv"), "there is no file .*finger_tapping.csv"),
        "truncated": (cut("finger_tapping.csv"), r"line \d+: \d+ fields, not 61; is the file cut off"),
        "twice": (text("finger_tapping.csv", "clip_001", "clip_000"), "'clip_000' stands there twice"),
        "no number": (text("finger_tapping.csv", "clip_001,2", "clip_001,x"), "line 3, Rating1: 'x' is not a number"),
        "unknown split": NONE + "there is no official split",
        "feature length": (text("finger_tapping.csv", "\n1,", "\n"), "line 3: 60 fields, not 61"),
    },
    "epic_skills": {
        "missing file": (gone(f"{DOUGH}_val_2.csv"), "there is no file .*dough_rolling_val_2.csv"),
        "truncated": (cut(f"{DOUGH}_train_3.csv"), "ing_train_3.csv: the list is not what"),
        "twice": (edit(f"{DOUGH}_val_1.csv", lambda c: c + c.splitlines(True)[1]), "val_1.csv: the list is not what"),
        "no number": NONE + "nothing is scored",
        "unknown split": NONE + "a file is a side of a division",
        "feature length": LONGER,
    },
    "best": {
        "missing file": (gone(f"{BEST}/train.txt"), "there is no file .*tie_tie/train.txt"),
        "truncated": (edit(f"{BEST}/test.txt", lambda c: c[:-15]), r"test.txt, line 233: .* is not two of the 100"),
        "twice": (edit(f"{BEST}/test.txt", lambda c: c + c.splitlines()[0]), "test.txt, line 234: .* there twice"),
        "no number": (edit("BEST.csv", lambda c: re.sub(rb",[\d.]+\s*\n", b",x\n", c, count=1)), "line 2: 'x' is not"),
        "unknown split": (
            edit(f"{BEST}/test_vid_list.txt", lambda c: c[c.index(b"\n") + 1 :]),
            r"test.txt, line \d+: .* is not two of the 99 listed videos",
        ),
        "feature length": LONGER,
    },
    "thumos14": {
        "missing file": (gone("split_test.txt"), "there is no file .*split_test.txt"),
        "truncated": (cut("gt.json"), "gt.json is not a json with a database .* is it cut off"),
        "twice": (edit("split_test.txt", lambda c: c + c.split()[0]), "split_test.txt: '.*' stands there twice"),
        "no number": (edit("gt.json", entry(segment=["x", "2"])), "an action of video '.*': 'x' is not a number"),
        "unknown split": (edit("split_test.txt", lambda c: c + b"v_9\n"), "lacks 1 videos of the lists .*'v_9'"),
        "in neither list": (edit("split_test.txt", lambda c: c[c.index(b"\n") + 1 :]), "in neither list is video"),
        "feature length": NONE + "there are no features",
    },
    "activitynet12": {
        "missing file": (gone(NET), f"there is no file .*{NET}"),
        "truncated": (cut(NET), f"{NET} is not a json with a database .* is it cut off"),
        "twice": (edit(NET, doubled), "'v' stands there twice"),
        "no number": (edit(NET, entry(segment=[1, "x"])), "an action of video '.*': 'x' is not a number"),
        "duration": (edit(NET, entry(duration="long")), "the duration of video '.*': 'long' is not a number"),
        "unknown split": (edit(NET, entry(subset="trainng")), "split of video .* 'trainng': did you mean 'training'"),
        "feature length": NONE + "there are no features",
    },
    "own": {
        "missing file": (gone("b.npy"), "lacks features of 1 of the 3 items, the first being 'b'"),
        "truncated": (cut("b.npy"), "b.npy cannot be read as features"),
        "twice": (text("items.csv", "\nb,", "\na,"), "items.csv: 'a' stands there twice"),
        "no number": (text("items.csv", "a,1", "a,x"), "items.csv, line 2: score of 'a': 'x' is not a number"),
        "unknown split": (text("items.csv", "y,test", "y,tset"), "line 4: unknown split 'tset': did you mean 'test'"),
        "feature length": (lambda root: np.save(root / "b.npy", np.ones((3, 5))), "b.npy has 5 features a segment"),
    },
}  # fmt: skip


def check(capsys, name, root, *options):
    options = [part for o in (*OPTIONS.get(name, []), *options) for part in ("--set", o)]
    code = commands.main(["data", "check", name, str(root), *options])
    said = capsys.readouterr().err
    assert code == 2 and said.startswith("aqa: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("name, fault", [(n, f) for n, c in CASES.items() for f in c if not isinstance(c[f], str)])
def test_a_fault_is_named_in_one_sentence(capsys, tmp_path, name, fault):
    spoil, sentence, *options = CASES[name][fault]
    (tmp_path / name).mkdir()
    root = build(name, tmp_path / name)
    spoil(root)
    said = check(capsys, name, root, *options)
    assert re.search(sentence, said), said


@pytest.mark.parametrize("name", READERS)
def test_a_wrong_root_is_named(capsys, tmp_path, name):
    assert f"{tmp_path / 'nowhere'} does not exist" in check(capsys, name, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'} is a file" in check(capsys, name, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in check(capsys, name, tmp_path / "empty")


def test_every_reader_and_fault_is_decided_upon():
    assert set(CASES) == set(READERS)
    for name, cases in CASES.items():
        assert set(FAULTS[1:]) <= set(cases), name
        assert all(not isinstance(c, str) or c.startswith(NONE) for c in cases.values())
