"""Closed-form methods over many label draws, without the ledger: hundreds of fits that take a millisecond each.

guesses = without_video(data)                                       # {"no video: group mean": "guess_group_mean", ...}
rows = over_draws("guess_group_mean", data, official(data), fraction=0.1, draws=range(200))      # [200, test items]
spearman_rows(rows, data.scores[official(data).test])
"""

import numpy as np

from aqa_lib import methods, tasks
from aqa_lib.errors import UserError
from aqa_lib.kinds import DATA, SPLIT, takes


def without_video(data):
    """{title: name} of the compared methods that watch no video and find in the data set what they need."""
    found = {}
    for method in map(methods.get, methods.guesses()):
        if method.compared:
            try:
                method.fits(method.resolve({}), data)
                found[method.title] = method.name
            except UserError:
                continue
    return found


@takes(data=DATA, split=SPLIT)
def over_draws(method, data, split, fraction, draws, how="random", **settings):
    """Predictions [draws, test items], one row a label draw, of a closed-form method of scores."""
    method = methods.get(method)
    if method.gradient or method.task != "scores":
        raise UserError(f"method {method.name} learns step by step or from no scores: train it with Study.train")
    task, rows = tasks.get(method.task), []
    for draw in draws:
        run = method.resolve({"fraction": fraction, "draw": draw, "how": how, **settings})
        method.fits(run, data)
        scores = task.labels(data, split, run).scores
        arrays = method.fit(data, split.train, scores[split.train], run)
        rows.append(method.apply(arrays, data, split.test, run))
    return np.stack(rows)
