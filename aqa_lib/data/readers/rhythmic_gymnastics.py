"""Rhythmic Gymnastics: 1,000 videos of four routines, each with difficulty, execution, penalty and total score.

Zeng et al., Hybrid Dynamic-static Context-aware Attention Network (ACTION-NET, ACM MM 2020). `root` holds the lists
train.txt and test.txt. Results are reported per routine and averaged through Fisher's z, so a routine is a group:

    load("rhythmic_gymnastics", root, routine="ball", features="vst.features")
    evaluation.spearman_by_group(predicted, data.scores[test], data.groups[test])     # of all routines
"""

import numpy as np
import pandas as pd

from aqa_lib.data.files.folder import content, folder, need, number, once, text_of
from aqa_lib.data.files.listed import STORE, chosen, listed
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve

ROUTINES = ("ball", "clubs", "hoop", "ribbon")
SCORES = ("total", "difficulty", "execution")
OPTIONS = {
    "routine": Setting("all", "which of the four routines", choices=("all", *ROUTINES)),
    "score": Setting("total", "what is to be predicted", choices=SCORES),
    **STORE,
}
COLUMNS = ("difficulty", "execution", "total", "penalty", "duration")  # after the name, in the order of the lists
FILES = {"train": "train.txt", "test": "test.txt"}
NEAR = 0.011  # hundredths, rounded


def load(root, **options):
    """The set; official split, routine as group, features None where no store is given."""
    o = resolve("rhythmic_gymnastics", OPTIONS, options, "option")
    root = located(root)
    rows = [row for side, file in FILES.items() for row in _rows(need(root / file), side)]
    once([row["id"] for row in rows], f"{root}, train.txt and test.txt together")
    table = chosen(pd.DataFrame(rows), "routine", o["routine"], root)
    table["score"] = table[o["score"]]
    fields = dict(difficulty=table["difficulty"], groups=table["routine"])
    return listed("rhythmic_gymnastics", root, o, table, "Rhythmic Gymnastics, Zeng et al. 2020", **fields)


def checks(root, **options):
    """What there is beside what was published: (what, found, expected)."""
    data = load(root, **options)
    table = data.table
    lines = []
    routines = [r for r in ROUTINES if options.get("routine", "all") in ("all", r)]
    for routine in routines:
        for side, expected in (("train", 200), ("test", 50)):
            here = (table["routine"] == routine) & (table["split"] == side)
            lines.append((f"{routine}, {side}", int(here.sum()), expected))
    summed = table["difficulty"] + table["execution"] - table["penalty"]
    close = int((np.abs(summed - table["total"]) <= NEAR).sum())
    return [*lines, ("videos whose parts give the total", close, 250 * len(routines))]


def fingerprint(root):
    root = located(root)
    return content(root, [need(root / file) for file in FILES.values()])


def located(root):
    return folder("rhythmic_gymnastics", root, "the lists train.txt and test.txt")


def _rows(path, side):
    """The rows of one list: a name such as Ball_001 and five numbers, after a line of titles."""
    for i, line in enumerate(text_of(path).splitlines(), 1):
        fields, where = line.split(), f"{path}, line {i}"
        if not fields or i == 1 and fields[0] == "Video_Name":
            continue
        if len(fields) != 1 + len(COLUMNS):
            raise UserError(f"{where}: {len(fields)} fields, not {1 + len(COLUMNS)}; is the file cut off?")
        routine = fields[0].split("_")[0].lower()
        if routine not in ROUTINES:
            raise UserError(f"{where}: {fields[0]!r} begins with none of the routines {', '.join(ROUTINES)}")
        values = {c: number(f, f"{where}, {c}") for c, f in zip(COLUMNS, fields[1:], strict=True)}
        yield {"id": fields[0], "split": side, "routine": routine, **values}
