"""AQA-7: 1,106 short actions of six sports (the trampoline of the seventh is left out, as published).

Parmar and Morris, Action Quality Assessment across Multiple Actions (WACV 2019). `root` holds the lists
consolidated_train_list.mat and consolidated_test_list.mat, rows of action, sample and 100 x score. Results are
reported per action and averaged through Fisher's z, so an action is a group:

    load("aqa7", root, action="diving", features="i3d.features")
    evaluation.spearman_by_group(predicted, data.scores[test], data.groups[test])     # of all actions
"""

import math

import numpy as np
import pandas as pd

from aqa_lib.data.files import limits
from aqa_lib.data.files.folder import content, folder, need, once
from aqa_lib.data.files.listed import STORE, chosen, listed
from aqa_lib.data.files.matlab import mat
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve

ACTIONS = ("diving", "gym_vault", "ski_big_air", "snowboard_big_air", "sync_diving_3m", "sync_diving_10m")  # 1..6
OPTIONS = {
    "action": Setting("all", "which of the six actions", choices=("all", *ACTIONS)),
    **STORE,
}
COUNTS = {  # action -> training and test samples
    "diving": (300, 70),
    "gym_vault": (120, 56),
    "ski_big_air": (120, 55),
    "snowboard_big_air": (140, 66),
    "sync_diving_3m": (60, 28),
    "sync_diving_10m": (63, 28),
}
SIDES = ("train", "test")


def load(root, **options):
    """The set; official split, action as group, features None where no store is given."""
    o = resolve("aqa7", OPTIONS, options, "option")
    root = located(root)
    table = pd.concat([_list(root, side) for side in SIDES], ignore_index=True)
    once(table["id"].tolist(), f"{root}, training and test list together")
    table = chosen(table, "action", o["action"], root)
    return listed("aqa7", root, o, table, "AQA-7, Parmar and Morris 2019", groups=table["action"])


def checks(root, **options):
    """What there is beside what was published: (what, found, expected)."""
    data = load(root, **options)
    there = [a for a in ACTIONS if options.get("action", "all") in ("all", a)]
    of = {side: data.groups[data.table["split"] == side] for side in SIDES}
    return [
        (f"{action}, {side}", int((of[side] == action).sum()), COUNTS[action][place])
        for action in there
        for place, side in enumerate(SIDES)
    ]


def fingerprint(root):
    root = located(root)
    return content(root, [need(root / f"consolidated_{side}_list.mat") for side in SIDES])


def located(root):
    return folder("aqa7", root, "the lists consolidated_train_list.mat and consolidated_test_list.mat")


def _list(root, side):
    """One list as a table."""
    path = need(root / f"consolidated_{side}_list.mat")
    key = f"consolidated_{side}_list"
    try:
        with mat(path, key) as found:
            limits.check_fit(path, math.prod(found.shape) * found.dtype.itemsize)
            rows = np.empty(()) if found.dtype.hasobject else np.asarray(found.read())
    except UserError:
        raise
    except Exception as error:  # of many kinds, in a damaged file
        why = limits.reason(error)
        raise UserError(f"{path} cannot be read as a MATLAB file ({why}): fetch it again") from error
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "fiu" or len(rows) == 0:
        raise UserError(f"{path}: {key} must be numbers [N, 3] (action, sample, 100 x score), not {rows.shape}")
    for i, row in enumerate(rows.astype(float), 1):
        whole = np.isfinite(row).all() and row[0] in range(1, len(ACTIONS) + 1) and row[1] > 0 and row[1] % 1 == 0
        if not whole:
            raise UserError(f"{path}, row {i}: {row.tolist()} is not an action of 1..6, a sample and a score")
    action = [ACTIONS[int(a) - 1] for a in rows[:, 0]]
    columns = {"id": [f"{a}_{int(n):03d}" for a, n in zip(action, rows[:, 1], strict=True)], "split": side}
    return pd.DataFrame(columns | {"action": action, "sample": rows[:, 1].astype(int), "score": rows[:, 2] / 100})
