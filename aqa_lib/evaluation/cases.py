"""Single videos on which one method is better than another: whether other runs say the same of them.

Predictions are [D,N], a row a label draw and a column a test video. A video's gain is how much smaller the second
method's absolute error is. What is asked of several worlds, each with videos of its own, has Student's interval over
them; of one world alone a bootstrap over its videos, or over draws and videos.
"""

import numpy as np

from aqa_lib.evaluation.bootstrap import two_level_bootstrap
from aqa_lib.evaluation.items import taken
from aqa_lib.evaluation.metrics import bounds, spearman, spearman_rows
from aqa_lib.evaluation.statistics import bootstrap_interval, mean_interval


def errors_again(predicted, true):
    """[minus the mean absolute error on resamples of the videos [B]] of each draw of {name: [[D,N]]}, one by one."""
    counts = taken(np.zeros(len(true)))
    errors = np.concatenate([np.abs(of[0] - true) for of in predicted.values()])
    return list(-errors @ counts.T / counts.sum(1))


def levelled(predicted, true):
    """Predictions [D,N] without the mean error of each run: a shift of all scores makes no gain."""
    return predicted - (predicted - true).mean(1, keepdims=True)


def gains(base, full, true):
    """[D,N] how much smaller the absolute error of `full` is, draw by draw."""
    return np.abs(base - true) - np.abs(full - true)


def halves(base, full, true):
    """Two vectors [N]: the gain by the mean prediction of every other draw, and by that of the rest."""
    return [gains(base[h::2].mean(0, keepdims=True), full[h::2].mean(0, keepdims=True), true)[0] for h in (0, 1)]


def kept(base, full, true):
    """Of the videos most helped and most hurt in one half of the draws: {what: (gain there, gain in the other)}."""
    first, second = halves(base, full, true)
    cases = {"helped most": int(first.argmax()), "hurt most": int(first.argmin())}
    return {what: (float(first[i]), float(second[i])) for what, i in cases.items()}


def agreement(worlds):
    """Rank correlation of the gains in two halves of the draws, with its interval; worlds: [(base, full, true)]."""
    pairs = [halves(*world) for world in worlds]
    if len(pairs) == 1:
        return bootstrap_interval(tuple(pairs[0]), statistic=spearman)
    return mean_interval([spearman(*pair) for pair in pairs], limits=bounds("spearman"))


def follows(worlds, measures, groups=None):
    """Rank correlation of gains with a measure of the videos, mean over draws, with its interval.

    worlds: [gains [D,N]]; measures: [[N]]; groups: [[N] or None], within which videos are drawn again, of one world.
    """
    if len(worlds) == 1:
        return two_level_bootstrap(worlds[0], measures[0], groups=None if groups is None else groups[0],
                                   method="percentile", resamples=500)  # fmt: skip
    rhos = [spearman_rows(g, m).mean() for g, m in zip(worlds, measures, strict=True)]
    return mean_interval(rhos, limits=bounds("spearman"))
