"""Finger tapping: 489 clips, 53 clip-level features, ratings 0-4 by several raters and their consensus.

`finger_tapping.csv` in `root`. The score is the consensus `Rating` (0 normal .. 4 severe, so lower is better), the
judges are the raters' columns `Rating1`, `Rating2`, ..., and the group names the clips of one recording.
"""

import numpy as np
import pandas as pd

from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.folder import content, csv_rows, folder, need, number, once
from aqa_lib.errors import UserError

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

OPTIONS = {}
HOLDS = "finger_tapping.csv"
WORDS = ("group", "hand", "clip", "Rating")


def load(root, **options):
    """The clips as an AssessmentSet with one segment (T = 1) each."""
    path = need(folder("finger_tapping", root, HOLDS) / HOLDS)
    (_, names), *rows = csv_rows(path) or [(1, [])]
    for word in WORDS:
        if word not in names:
            raise UserError(f"{path} has no column {word}: it should have {', '.join(WORDS)} and the features")
    if not rows:
        raise UserError(f"{path} has a header only: fetch it anew")
    raters = [n for n in names if n.startswith("Rating") and n != "Rating"]
    measured = [n for n in names if n not in WORDS and n not in raters]
    for i, row in rows:
        if len(row) != len(names):
            raise UserError(f"{path}, line {i}: {len(row)} fields, not {len(names)}; is the file cut off?")
    text = pd.DataFrame([row for _, row in rows], columns=names)
    lines = [i for i, _ in rows]

    def numbers(columns, low=None, high=None):
        cells = zip(lines, text[columns].to_numpy(), strict=True)
        x = np.array([[number(v, f"{path}, line {i}") for v in row] for i, row in cells])
        if low is not None and not ((x >= low) & (x <= high)).all():
            raise UserError(f"{path}: a rating lies outside {low}..{high}; fetch it anew")
        return x

    table = pd.DataFrame({"id": once(list(text["clip"]), str(path)), "hand": text["hand"], "group": text["group"]})
    judges = numbers(raters, 0, 4)
    scores = numbers(["Rating"], 0, 4)[:, 0]
    return AssessmentSet(
        name="finger_tapping",
        features=numbers(measured)[:, None, :],
        scores=scores,
        ids=table["id"],
        table=table.assign(score=scores),
        judges=judges,
        groups=table["group"],
        meta={"surrogate": False, "source": "ROC-HCI/finger-tapping-severity", "features": measured, "raters": raters},
    )


def fingerprint(root):
    root = folder("finger_tapping", root, HOLDS)
    return content(root, [need(root / HOLDS)])


def checks(root, **options):
    data = load(root)
    return [
        ("clips", len(data), 489),
        ("features of a clip", data.features.shape[2], 53),
        ("columns of ratings, raters and consensus", data.judges.shape[1] + 1, 5),
        ("range of the consensus", [float(data.scores.min()), float(data.scores.max())], [0.0, 4.0]),
        ("groups", len(set(data.groups)), None),
    ]
