"""Folds and tasks in one stack: processor time of one call for all, against a call a fold and a call a run.

The shapes are those of JIGSAWS' four folds: three tasks of 39, 28 and 36 scored trials, ten segments; the numbers are
noise, for speed only. Where products fill a core by themselves, as with 380 features, a stack has less to save.
"""

import statistics
import time

import numpy as np
import pandas as pd

TASKS = {"Suturing": (39, 4), "Needle_Passing": (28, 4), "Knot_Tying": (36, 4)}
T, DRAWS, STEPS = 10, 3, 40
SIZES = (64, 380)  # features of a segment: small ones, and five statistics of 76 channels


def table(args):
    """Rows of `aqa bench folds`: one a method, medians over rounds that take turns."""
    from aqa_lib import methods

    names = args.methods or ["s4aqa", "pseudo_labels", "usdl"]
    return [row(methods.get(name), D, args) for D in SIZES for name in names]


def row(method, D, args):
    from aqa_lib.training import train

    data, split, run = parts(D)
    seconds = {"one call": [], "a call a fold": [], "a call a run": []}
    for turn in range(args.rounds + 1):
        for name, groups in {
            "one call": [range(len(run))],
            "a call a fold": [range(i, i + DRAWS) for i in range(0, len(run), DRAWS)],
            "a call a run": [[i] for i in range(len(run))],
        }.items():
            start = time.process_time()
            for group in groups:
                picked = ([part[i] for i in group] for part in (data, split, run))
                train(method, *picked, device=args.device)
            if turn:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    times = {
        n: statistics.median(s / o for s, o in zip(v, seconds["one call"], strict=True)) for n, v in seconds.items()
    }
    return {
        "method": method.title,
        "features": D,
        "runs": len(run),
        "seconds, one call": round(statistics.median(seconds["one call"]), 2),
        "times, a call a fold": round(times["a call a fold"], 2),
        "times, a call a run": round(times["a call a run"], 2),
    }


def parts(D):
    """(data set, split, settings) of every run: tasks x folds x draws."""
    from aqa_lib.data import AssessmentSet, splits

    rng, found = np.random.default_rng(0), []
    for task, (n, folds) in TASKS.items():
        frame = pd.DataFrame({"fold_four": [str(i % folds + 1) for i in range(n)]})
        x = rng.normal(size=(n, T, D)).astype("f4")
        data = AssessmentSet(
            name=f"noise {task}",
            features=x,
            scores=rng.uniform(6, 30, n),
            ids=[f"{task}{i}" for i in range(n)],
            table=frame,
        )
        for name in splits.every(data, "fold:four"):
            part = splits.get(name)(data)
            base = {"fraction": 0.5, "steps": STEPS, "batch": 16}
            found += [(data, part, {**base, "seed": k, "draw": k}) for k in range(DRAWS)]
    return [list(column) for column in zip(*found, strict=True)]
