"""UI-PRMD: rehabilitation movements, joint positions by Kinect, each done correctly and incorrectly.

    root/correct/m01_s01_e01_positions.txt[.gz]          movement, subject, repetition (episode)
    root/incorrect/m01_s01_e01_positions_inc.txt[.gz]

A row a frame, 22 joints x (x, y, z) = 66 numbers with commas. The score is 1 (correct) or 0 (incorrect), the group is
the subject, and each pair (better, worse) is a correct and an incorrect repetition of a movement by one subject: the
two of the same number, or with pairing="subject" every one with every other. Features: aqa_lib/data/kinematics.py.
"""

import re

import numpy as np
import pandas as pd

from aqa_lib.data import kinematics
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.folder import content, folder, matrix
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

OPTIONS = {
    "movement": Setting("all", "which movement", choices=("all", *(f"m{i:02d}" for i in range(1, 11)))),
    "kind": Setting("dct", "segment features: cosine coefficients or statistics", choices=kinematics.KINDS),
    "segments": Setting(10, "segments of a recording", low=1),
    "coefficients": Setting(4, "of each coordinate in a segment, where kind is dct", low=1),
    "pairing": Setting(
        "repetition", "which correct and incorrect ones of a subject are pairs", choices=("repetition", "subject")
    ),
}
HOLDS = "the folders correct and incorrect"
JOINTS = 22
NAME = re.compile(r"(m\d\d)_(s\d\d)_(e\d\d)_positions(_inc)?\.txt(\.gz)?")


def load(root, **options):
    """Segment features of every repetition."""
    o = resolve("ui_prmd", OPTIONS, options, "option")
    rows, features = [], []
    for path, row in _files(root):
        if o["movement"] not in ("all", row["movement"]):
            continue
        x = matrix(path, columns=3 * JOINTS, delimiter=",")
        features.append(kinematics.segment_features(x, o["kind"], o["segments"], o["coefficients"], str(path)))
        rows.append(row | {"frames": len(x)})
    if not rows:
        raise UserError(f"{root} holds no recording of movement {o['movement']}: take another, or fetch it")
    table = pd.DataFrame(rows)
    table["fold_subject"] = table["subject"]
    return AssessmentSet(
        name="ui_prmd" if o["movement"] == "all" else f"ui_prmd {o['movement']}",
        features=np.stack(features),
        scores=table["score"],
        ids=table["id"],
        table=table,
        groups=table["subject"],
        pairs=_pairs(table, o["pairing"]),
        meta={"options": o, "surrogate": False, "source": "UI-PRMD"},
    )


def fingerprint(root):
    return content(folder("ui_prmd", root, HOLDS), [path for path, _ in _files(root)])


def checks(root, **options):
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


def _expected(movement):
    """Ids of a movement's recordings, ten subjects of ten repetitions each, correct and incorrect."""
    every = [f"{movement}_s{s:02d}_e{e:02d}" for s in range(1, 11) for e in range(1, 11)]
    return every + [f"{i}_inc" for i in every]


def _files(root):
    """(path, row of the table) of every recording, in order of their names."""
    root, found = folder("ui_prmd", root, HOLDS), {}
    for part, score in (("correct", 1.0), ("incorrect", 0.0)):
        if not (root / part).is_dir():
            raise UserError(f"there is no folder {root / part}: root is to hold {HOLDS}")
        for path in sorted((root / part).glob("*.txt*")):
            match = NAME.fullmatch(path.name)
            if not match or bool(match[4]) != (part == "incorrect"):
                raise UserError(f"{path} is not named as recordings in {part} are: see data/README.md")
            movement, subject, episode, inc = match.groups()[:4]
            row = {"id": f"{movement}_{subject}_{episode}{inc or ''}", "movement": movement, "subject": subject}
            if row["id"] in found:
                raise UserError(f"{path} is there twice, packed and unpacked: take one away")
            found[row["id"]] = path, row | {"episode": episode, "score": score}
    return list(found.values())


def _pairs(table, pairing):
    """[P, 2] rows (correct, incorrect) of one movement and subject."""
    on = ["movement", "subject"] + (["episode"] if pairing == "repetition" else [])
    rows = table[[*on, "score"]].assign(row=np.arange(len(table)))
    both = rows[rows["score"] == 1].merge(rows[rows["score"] == 0], on=on, suffixes=("_better", "_worse"))
    return both[["row_better", "row_worse"]].to_numpy(dtype="int64").reshape(-1, 2)
