"""Conformal intervals of a method's predictions, from K runs of a label draw, each of which holds out one fold of it.

    runs = study.train("ridge", {"name": "surrogate"}, "official", fold_runs({"fraction": 0.4}, 5))
    found = intervals([study.read(id) for id in runs["id"]])    # a row a test item and way of making its interval
    covered(found)                                              # coverage, width and interval score of each way

    table = conformalised(study, {"name": "surrogate"}, variants, blocks, [0.4], draws=10)     # of several variants

Ways are `how` x `kind` (evaluation/conformal.py): CV+ of the K runs, or split conformal of each run by itself, whose
coverage and width are means over the K; `plain`, `scaled` where runs predict a variance, `quantiles` where they predict
those. Every run counts at its last evaluation. Where the split tests on people of whom it trains on none, folds are of
whole people; with `whole_groups` False they are not, which shows what that is good for.
"""

import numpy as np
import pandas as pd

from aqa_lib import methods
from aqa_lib.data.splits import tests_new_groups
from aqa_lib.errors import UserError
from aqa_lib.evaluation import conformal
from aqa_lib.evaluation.calibration import interval_coverage, interval_score, sharpness
from aqa_lib.study.comparison import run_of
from aqa_lib.study.parts import parts_of

FLOOR = 1e-6  # of the largest predicted deviation: a variance that has collapsed to 0 is no scale
WAY = ["how", "kind"]
CELL = ["block", "part", "split", "variant", "fraction", "draw"]


def fold_runs(run, folds, whole_groups=True):
    """The K runs of one label draw, the settings of each."""
    held = {"label_folds": folds, "whole_groups": whole_groups}
    return [{**run, **held, "label_fold": k} for k in range(folds)]


def intervals(records, level=0.9, groups=None):
    """A row a way, fold (of split conformal; -1 of CV+) and test item: how, kind, fold, id, score, low, high.

    groups: {id of a video: its group}; then also CV+ in which all groups of labels count alike ("CV+, groups alike").
    """
    for record in records:
        if record.held is None:
            raise UserError(f"run {record.id} held out no labels: train it with the settings of fold_runs")
    tests, held = [record.predictions for record in records], [record.held for record in records]
    if any(list(table["id"]) != list(tests[0]["id"]) for table in tests):
        raise UserError("these runs were tested on different items: give those of one data set, split and label draw")
    ids = pd.concat(held)["id"]
    if ids.duplicated().any():
        raise UserError(f"two of these runs held out {ids[ids.duplicated()].iloc[0]!r}: give one run a fold")
    fold = np.repeat(np.arange(len(held)), list(map(len, held)))
    own = None if groups is None else np.array([groups[id] for id in ids])
    rows = []

    def add(how, kind, k, ends):
        low, high = ends
        of = {"id": tests[0]["id"], "score": tests[0]["score"].to_numpy(float), "low": low, "high": high}
        rows.append(pd.DataFrame({"how": how, "kind": kind, "fold": k, **of}))

    for kind in kinds(tests[0]):
        said = [stated(table, kind) for table in tests]
        low, high, scale = (np.stack(values) for values in zip(*said, strict=True))  # [K, N]
        scores = [
            conformal.scores(*ends, table["score"].to_numpy(float), s)
            for table in held
            for *ends, s in [stated(table, kind)]
        ]
        pooled = np.concatenate(scores)
        add("CV+", kind, -1, conformal.cv_plus(low, high, pooled, fold, level, scale))
        if own is not None:
            ends = conformal.cv_plus(low, high, pooled, fold, level, scale, own)
            add("CV+, groups alike", kind, -1, ends)
        for k, mine in enumerate(scores):
            add("split", kind, k, conformal.split(low[k], high[k], mine, level, scale[k]))
    return pd.concat(rows, ignore_index=True)


def kinds(table):
    """What a table of predictions allows: plain, scaled, quantiles."""
    has = {"plain": True, "scaled": "variance" in table, "quantiles": "quantile_0" in table}
    return [kind for kind, there in has.items() if there]


def stated(table, kind):
    """(low, high, scale) [N] of a table of predictions, at its last evaluation."""
    if kind == "quantiles":  # the outermost: what is added to them makes up for their level
        q = table[[c for c in table if c.startswith("quantile_")]].to_numpy(float)
        return q[:, 0], q[:, -1], np.ones(len(q))
    m = table[[c for c in table if c.startswith("step_")][-1]].to_numpy(float)
    if kind == "plain":
        return m, m, np.ones(len(m))
    sd = np.sqrt(table["variance"].to_numpy(float))
    return m, m, np.maximum(sd, FLOOR * sd.max() or 1.0)


def covered(found, level=0.9):
    """A row a way: coverage, mean width and interval score (means over folds), and the share of finite intervals.

    Where n + 1 held-out labels are too few for the level, intervals are infinite, and so is their mean width.
    """
    rows = []
    for way, part in found.groupby([*WAY, "fold"], sort=False):
        ends = part["low"].to_numpy(), part["high"].to_numpy()
        measured = {
            "coverage": interval_coverage(*ends, part["score"]),
            "width": sharpness(*ends),
            "interval score": interval_score(*ends, part["score"], level),
            "finite": float(np.mean(np.isfinite(ends[1] - ends[0]))),
        }
        rows.append({**dict(zip(WAY, way, strict=False)), **measured})
    return pd.DataFrame(rows).groupby(WAY, sort=False).mean().reset_index()


def conformalised(study, data, variants, blocks, fractions, draws, folds=5, level=0.9, *, whole_groups=True, root=None,
                  **train):  # fmt: skip
    """A row a (block, part, split, variant, fraction, draw) and way, with what `covered` says of it.

    All runs of a method train together. NaN where one of the K runs of a draw has failed. Where whole groups are held
    out of one data set, also the way in which groups count alike.
    """
    parts = parts_of(data, blocks, root)
    cells = [
        (part, title, fraction, draw)
        for title in variants
        for part in parts
        for fraction in part.fractions or fractions
        for draw in range(draws)
    ]
    rows = []
    for name in dict.fromkeys(name for name, _ in variants.values()):
        mine = [cell for cell in cells if variants[cell[1]][0] == name]
        runs, worlds, splits = [], [], []
        for part, title, fraction, draw in mine:
            run = run_of(methods.get(name), variants[title][1], fraction, (draw, draw), part)
            runs += fold_runs(run, folds, whole_groups)
            worlds += [part.replicate(draw)] * folds
            splits += [part.split] * folds
        table = study.train(name, worlds, splits, runs, root=root, **train)
        for i, (part, title, fraction, draw) in enumerate(mine):
            asked = table.iloc[i * folds : (i + 1) * folds]
            of = dict(zip(CELL, (part.block, part.name, part.split, title, fraction, draw), strict=True))
            if (asked["state"] == "complete").all():
                alike = whole_groups and not part.worlds and tests_new_groups(part.data, part.items)
                groups = dict(zip(part.data.ids, part.data.groups, strict=True)) if alike else None
                found = covered(intervals([study.read(id) for id in asked["id"]], level, groups), level)
            else:
                found = pd.DataFrame([{"how": "CV+", "kind": "plain", "coverage": np.nan, "width": np.nan}])
            rows.append(found.assign(**of))
    table = pd.concat(rows, ignore_index=True)
    return table[[*CELL, *table.columns.drop(CELL)]]
