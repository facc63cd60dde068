"""UI-PRMD: rehabilitation movements, joint positions by Kinect, each done correctly and incorrectly.

    root/correct/m01_s01_e01_positions.txt[.gz]          movement, subject, repetition (episode)
    root/incorrect/m01_s01_e01_positions_inc.txt[.gz]

A row a frame, 22 joints x (x, y, z) = 66 numbers with commas; without a root all of it is read from a file that comes
with the project. The score is 1 (correct) or 0 (incorrect), the group is the subject, and each pair (better, worse) is
a correct and an incorrect repetition of a movement by one subject: every one with every other, or with
pairing="repetition" the two of the same number. Folds: a subject each (fold:subject/s01), or two (fold:two/1 .. 5).

Features of a segment: aqa_lib/data/body.py, with all movements together also which of them it is (a 1 and nine 0); or,
with another kind, those of all 66 coordinates in aqa_lib/data/kinematics.py.
"""

import re

import numpy as np
import pandas as pd

from aqa_lib.data import body, kinematics
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.folder import content, folder, matrix
from aqa_lib.data.files.shipped import packed, shipped, unpacked
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve

__all__ = ["OPTIONS", "SHIPPED", "checks", "fingerprint", "load", "recordings", "ship"]

MOVEMENTS = tuple(f"m{i:02d}" for i in range(1, 11))
OPTIONS = {
    "movement": Setting("all", "which movement", choices=("all", *MOVEMENTS)),
    "kind": Setting(
        "body", "segment features: of the body, or of every coordinate", choices=("body", *kinematics.KINDS)
    ),
    "segments": Setting(10, "segments of a recording", low=1),
    "coefficients": Setting(4, "of each coordinate in a segment, where kind is dct", low=1),
    "pairing": Setting(
        "subject", "which correct and incorrect ones of a subject are pairs", choices=("subject", "repetition")
    ),
}
HOLDS = "the folders correct and incorrect"
SHIPPED = "ui_prmd.npz"
JOINTS = 22
NAME = re.compile(r"(m\d\d)_(s\d\d)_(e\d\d)(_inc)?")
FILE = re.compile(r"(m\d\d)_(s\d\d)_(e\d\d)_positions(_inc)?\.txt(\.gz)?")


def load(root=None, **options):
    """Segment features of every repetition, of the folder `root` or of the file that comes with the project."""
    o = resolve("ui_prmd", OPTIONS, options, "option")
    rows, features = [], []
    for row, x, where in recordings(root, o["movement"]):
        features.append(_features(x, row["movement"], o, where))
        rows.append(row | {"frames": len(x)})
    if not rows:
        raise UserError(f"{root} holds no recording of movement {o['movement']}: take another, or fetch it")
    table = pd.DataFrame(rows)
    table["fold_subject"] = table["subject"]
    table["fold_two"] = [str((int(subject[1:]) + 1) // 2) for subject in table["subject"]]  # s01 and s02 are 1
    return AssessmentSet(
        name="ui_prmd" if o["movement"] == "all" else f"ui_prmd {o['movement']}",
        features=np.stack(features),
        scores=table["score"],
        ids=table["id"],
        table=table,
        groups=table["subject"],
        pairs=_pairs(table, o["pairing"]),
        measure="pairwise_accuracy",
        within="movement" if o["movement"] == "all" else None,
        meta={"options": o, "surrogate": False, "source": "UI-PRMD"},
    )


def recordings(root=None, movement="all"):
    """(row of the table, positions [F, 66], where they come from) of every repetition of a movement."""
    if root is None:
        for name, x in zip(*unpacked(path := shipped("ui_prmd", SHIPPED)), strict=True):
            row = _row(*NAME.fullmatch(name).groups())
            if movement in ("all", row["movement"]):
                yield row, x, f"{path}, recording {name}"
    else:
        for path, row in _files(root):
            if movement in ("all", row["movement"]):
                yield row, matrix(path, columns=3 * JOINTS, delimiter=","), str(path)


def ship(root, path):
    """Write every recording of the folder `root` into the file that comes with the project."""
    rows, x, _ = zip(*recordings(root), strict=True)
    return packed(path, [row["id"] for row in rows], x)


def fingerprint(root=None):
    if root is None:
        return content((path := shipped("ui_prmd", SHIPPED)).parent, [path])
    return content(folder("ui_prmd", root, HOLDS), [path for path, _ in _files(root)])


def checks(root=None, **options):
    data = load(root, **options)
    table, found = data.table, []
    for movement, part in table.groupby("movement"):
        absent = ", ".join(i for i in _expected(movement) if i not in set(part["id"]))
        found.append((f"{movement}: recordings that are missing", absent[:200] or "none", "none"))
        found.append((f"{movement}: subjects", part["subject"].nunique(), 10))
        found.append((f"{movement}: correct", int((part["score"] == 1).sum()), 100))
        found.append((f"{movement}: incorrect", int((part["score"] == 0).sum()), 100))
    found.append(("frames, fewest and most", [int(table["frames"].min()), int(table["frames"].max())], None))
    return [*found, ("pairs (correct, incorrect)", len(data.pairs), None)]


def _features(x, movement, options, where):
    """[T, D] of a recording."""
    if options["kind"] != "body":
        return kinematics.segment_features(x, options["kind"], options["segments"], options["coefficients"], where)
    features = body.segment_features(x, options["segments"], where)
    if options["movement"] != "all":
        return features
    which = np.array([name == movement for name in MOVEMENTS], dtype=features.dtype)
    return np.concatenate([features, np.broadcast_to(which, (len(features), len(which)))], axis=1)


def _expected(movement):
    """Ids of a movement's recordings, ten subjects of ten repetitions each, correct and incorrect."""
    every = [f"{movement}_s{s:02d}_e{e:02d}" for s in range(1, 11) for e in range(1, 11)]
    return every + [f"{i}_inc" for i in every]


def _files(root):
    """(path, row of the table) of every recording, in order of their names."""
    root, found = folder("ui_prmd", root, HOLDS), {}
    for part in ("correct", "incorrect"):
        if not (root / part).is_dir():
            raise UserError(f"there is no folder {root / part}: root is to hold {HOLDS}")
        for path in sorted((root / part).glob("*.txt*")):
            match = FILE.fullmatch(path.name)
            if not match or bool(match[4]) != (part == "incorrect"):
                raise UserError(f"{path} is not named as recordings in {part} are: see data/README.md")
            row = _row(*match.groups()[:4])
            if row["id"] in found:
                raise UserError(f"{path} is there twice, packed and unpacked: take one away")
            found[row["id"]] = path, row
    return list(found.values())


def _row(movement, subject, episode, inc):
    """What the name of a recording says."""
    name = f"{movement}_{subject}_{episode}{inc or ''}"
    return {"id": name, "movement": movement, "subject": subject, "episode": episode, "score": 0.0 if inc else 1.0}


def _pairs(table, pairing):
    """[P, 2] rows (correct, incorrect) of one movement and subject."""
    on = ["movement", "subject"] + (["episode"] if pairing == "repetition" else [])
    rows = table[[*on, "score"]].assign(row=np.arange(len(table)))
    both = rows[rows["score"] == 1].merge(rows[rows["score"] == 0], on=on, suffixes=("_better", "_worse"))
    return both[["row_better", "row_worse"]].to_numpy(dtype="int64").reshape(-1, 2)
