"""What a method gains, beside its control: the mechanism apart from what any second task does.

    method less baseline  =  (method less control)  +  (control less baseline)
    the gain                 the mechanism             a second task by itself

The control of a variant learns as much from another video's target (methods' setting `exchange`), so there is nothing
to learn in it of the video at hand; what it gains, a regulariser gains.

    variants |= controls(variants)                     # "AA+MSFR, control" beside "AA+MSFR"
    effects(averaged(compare_variants(...)), "AA")     # three rows a variant, with intervals and verdicts
"""

import numpy as np
import pandas as pd

from aqa_lib import methods
from aqa_lib.evaluation import detectable_difference, holm
from aqa_lib.study.tables import compare
from aqa_lib.study.variants import resolved
from aqa_lib.study.words import LEVEL, judged, shown

ENDING = ", control"
GAIN, MECHANISM, TASK = "gain", "mechanism", "second task"
MEANING = {GAIN: "less {baseline}", MECHANISM: "less its control", TASK: "its control less {baseline}"}


def controls(variants, of=None):
    """{title + ", control": variant} of those variants that learn from unlabelled videos; `of`: of these titles."""
    found = {}
    for title, (name, settings) in variants.items():
        method = methods.get(name)
        if method.control and method.mechanisms(resolved(name, settings)) and (of is None or title in of):
            found[f"{title}{ENDING}"] = name, {**settings, **method.control}
    return found


def effects(found, baseline):
    """A row a (block, fraction, variant with a control, effect): difference with its interval, Holm's p, and verdict.

    found: what comparison.averaged gives. p is corrected over all rows of an effect. Of a variant whose mechanism was
    off no verdict is given on it.
    """
    rows = []
    for (block, fraction), part in found.groupby(["block", "fraction"], sort=False):
        titles = [t for t in part["variant"].unique() if f"{t}{ENDING}" in set(part["variant"])]
        rows += [{"block": block, "fraction": fraction, **_row(part, title, effect, baseline)}
                 for title in titles for effect in MEANING]  # fmt: skip
    for effect in MEANING:
        table = [row for row in rows if row["effect"] == effect]
        for row, p in zip(table, holm([row["p"] for row in table]), strict=True):
            row["p (Holm)"] = p
            if row["sd"] > 0:
                row["detectable"] = detectable_difference(row["sd"], int(row["n"]), alpha=LEVEL / len(table))
            row["verdict"], row["why"] = judged(row)
    columns = ["block", "fraction", "variant", "effect", "n", "difference", "difference low", "difference high",
               "p (Holm)", "half 1", "half 2", "detectable", "mechanism", "verdict", "why"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _row(part, title, effect, baseline):
    """One paired difference as `compare` makes it, its p before Holm's correction."""
    one, other = {GAIN: (title, baseline), MECHANISM: (title, f"{title}{ENDING}"),
                  TASK: (f"{title}{ENDING}", baseline)}[effect]  # fmt: skip
    pair = part[part["variant"].isin([one, other])]
    row = compare(pair, "variant", other, "value").loc[one]
    values = pair.pivot(index=["draw", "seed"], columns="variant", values="value").dropna()
    spread = (values[one] - values[other]).std(ddof=1) if len(values) > 1 else np.nan
    found = {"variant": title, "effect": effect, "n": len(values), "sd": spread, "p": row["p (Holm)"]}
    found["mechanism"] = shown(part[part["variant"] == title])
    return found | {c: row[c] for c in ("difference", "difference low", "difference high", "half 1", "half 2")}


def said(table, title, where=None):
    """{effect: verdict} of one variant; where: {"block": ..., "fraction": ...}, needed where there are several."""
    rows = table[table["variant"] == title]
    for column, value in (where or {}).items():
        rows = rows[rows[column] == value]
    return dict(zip(rows["effect"], rows["verdict"], strict=True))
