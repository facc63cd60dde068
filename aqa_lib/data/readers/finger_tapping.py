"""Finger tapping: 489 clips, 53 clip-level features, ratings 0-4 by several raters and their consensus.

Islam et al., Using AI to measure Parkinson's disease severity at home (npj Digital Medicine 6:156, 2023): raters 1, 3
and 4 are experts, 2 and 5 are not. `finger_tapping.csv` in `root` has the columns of four, `Rating1` .. `Rating4`, or
with `Rating5` of all five; what a rater left open is NaN. They are the judges, the score is the consensus `Rating` (0
normal .. 4 severe, so lower is better), and the group names the clips of one recording.

Features are in units of their own (degrees, seconds, counts), so they are standardised by the training clips. Folds:
whole recordings in five parts (fold:five/1 .. 5), by lot.
"""

import numpy as np
import pandas as pd

from aqa_lib import chance
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.folder import content, csv_rows, folder, need, number, once
from aqa_lib.data.files.shipped import shipped, zipped
from aqa_lib.errors import UserError

__all__ = ["OPTIONS", "SHIPPED", "checks", "fingerprint", "load", "ship"]

OPTIONS = {}
HOLDS = "finger_tapping.csv"
SHIPPED = "finger_tapping.csv.gz"
WORDS = ("group", "hand", "clip", "Rating")
RATERS = [f"Rating{k}" for k in range(1, 6)]
PUBLISHED = 4  # of them in the file that is handed out
WORST = 4
FOLDS = 5


def load(root=None, **options):
    """The clips as an AssessmentSet with one segment (T = 1) each, of `root` or of the file that ships."""
    path = _file(root)
    (_, names), *rows = csv_rows(path) or [(1, [])]
    for word in WORDS:
        if word not in names:
            raise UserError(f"{path} has no column {word}: it should have {', '.join(WORDS)} and the features")
    if not rows:
        raise UserError(f"{path} has a header only: fetch it anew")
    once(names, f"the header of {path}")
    raters = [n for n in RATERS if n in names]
    if len(raters) < 2:
        raise UserError(f"{path} has {len(raters)} columns of raters; it should have {', '.join(RATERS[:PUBLISHED])}")
    measured = [n for n in names if n not in WORDS and n not in raters]
    for i, row in rows:
        if len(row) != len(names):
            raise UserError(f"{path}, line {i}: {len(row)} fields, not {len(names)}; is the file cut off?")
    text = pd.DataFrame([row for _, row in rows], columns=names)

    def numbers(columns, rating=False):
        """[N, C] of columns; a rating may be missing, and is one of 0..4."""
        values = np.full((len(rows), len(columns)), np.nan)
        for (i, _), row, cells in zip(rows, values, text[columns].to_numpy(), strict=True):
            for c, cell in enumerate(cells):
                if not (rating and cell == ""):
                    row[c] = number(cell, f"{path}, line {i}, {columns[c]}")
                if rating and not (np.isnan(row[c]) or 0 <= row[c] <= WORST):
                    raise UserError(f"{path}, line {i}, {columns[c]}: {cell} lies outside 0..{WORST}; fetch it anew")
        return values

    table = pd.DataFrame({"id": once(list(text["clip"]), str(path)), "hand": text["hand"], "group": text["group"]})
    table["task"] = "finger tapping"  # one level, so that features are standardised over all
    table["fold_five"] = folds(table["group"])
    scores = numbers(["Rating"], rating=True)[:, 0]
    return AssessmentSet(
        name="finger_tapping",
        features=numbers(measured)[:, None, :],
        scores=scores,
        ids=table["id"],
        table=table.assign(score=scores),
        judges=numbers(raters, rating=True),
        groups=table["group"],
        within="task",
        meta={
            "surrogate": False,
            "source": "ROC-HCI/finger-tapping-severity",
            "features": measured,
            "raters": raters,
            "judging": "mean",
            "awards": [0, WORST, 1],
        },
    )


def folds(groups):
    """[N] str, "1" .. "5": each group as a whole to the fold that has fewest clips, in the order of a hash of names."""
    filled, fold = [0] * FOLDS, {}
    counts = groups.value_counts()
    for group in sorted(counts.index, key=lambda g: chance.key("finger_tapping", "five", g)):
        k = int(np.argmin(filled))
        fold[group], filled[k] = str(k + 1), filled[k] + counts[group]
    return groups.map(fold)


def ship(root, path):
    """Write the file of the folder `root` as the one that comes with the project."""
    load(root)
    return zipped(path, _file(root).read_bytes())


def fingerprint(root=None):
    path = _file(root)
    return content(path.parent, [path])


def _file(root):
    return shipped("finger_tapping", SHIPPED) if root is None else need(folder("finger_tapping", root, HOLDS) / HOLDS)


def checks(root=None, **options):
    data = load(root)
    raters = data.judges.shape[1]
    return [
        ("clips", len(data), 489),
        ("features of a clip", data.features.shape[2], 53),
        ("raters beside the consensus", raters, max(raters, PUBLISHED)),
        ("range of the consensus", [float(np.nanmin(data.scores)), float(np.nanmax(data.scores))], [0.0, 4.0]),
        ("groups", len(set(data.groups)), None),
    ]
