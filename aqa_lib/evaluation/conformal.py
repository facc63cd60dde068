"""Conformal intervals: from how wrong a model was on n items that it did not learn from, how wrong it may be on others.

A model says of an item an interval [low, high]; a score is by how many scales s the true value lies outside of it,

    R_i = max(low_i - y_i, y_i - high_i) / s_i       (below 0 inside)       `scores`

and the interval of a test item is [low - s q, high + s q], q a quantile of the R_i. What a model may say:

    plain      low = high = m, the predicted score, s = 1: R = |y - m|
    scaled     low = high = m, s = the predicted standard deviation: R = |y - m| / s
    quantiles  two predicted quantiles, s = 1: conformalised quantile regression (Romano et al., NeurIPS 2019)

* `split`: q is the ceil((n + 1) level)-th smallest of the n scores of one model. Where these and the test items are
  exchangeable, coverage is ceil((n + 1) level) / (n + 1) on average (where no two scores are equal).
* `cv_plus`: K models, each of which says how wrong it is on the fold that it did not learn from (CV+), or n models
  that leave out one item each (`jackknife_plus`). Item i gives the two ends by the model that did not learn from it;
  low and high are the quantiles of these ends (Barber et al., Annals of Statistics 2021). Coverage is at least
  1 - 2 (1 - level) (of CV+ less a term of order sqrt(1 / n)), and about the level where models are stable.

Where items come in groups (people, competitions) and test items from other ones, items are not exchangeable, groups
are: folds must be whole groups (data/splits.folds). `groups` also lets every group count alike, with the share
1 / (G + 1) left for the new one (Lee, Barber and Willett 2023); then nothing less than 1 / (1 - level) - 1 groups
gives a finite interval. `within` gives each level of a column (movement) its own quantile.

An interval is infinite, -inf to inf, where ceil((n + 1) level) > n: fewer than nine scores at level .9.
"""

import numpy as np

from aqa_lib.errors import UserError

DIGITS = 9  # of sums of weights that are compared with a level: (n + 1) level is a whole number where it should be


def scores(low, high, true, scale=1.0):
    """By how many scales true values [n] lie outside of [low, high]; below 0 inside."""
    low, high, true, scale = np.broadcast_arrays(*(np.asarray(v, float) for v in (low, high, true, scale)))
    if not (scale > 0).all():
        raise UserError("a scale of conformal scores must be above 0: give predicted deviations a floor, or take plain")
    return np.maximum(low - true, true - high) / scale


def quantile(values, level, groups=None):
    """Of values [..., n] the ceil((n + 1) level)-th smallest; infinite where n is too small for that.

    groups [n]: each of G groups has the weight 1 / (G + 1) in equal shares of its items, instead of 1 / (n + 1) each.
    """
    values = np.asarray(values, float)
    n = values.shape[-1]
    if not n or not 0 < level < 1:
        raise UserError(f"a conformal quantile needs scores and a level between 0 and 1, but got {n} and {level!r}")
    _, group, sizes = np.unique(np.arange(n) if groups is None else groups, return_inverse=True, return_counts=True)
    if group.shape != (n,):
        raise UserError(f"groups {np.shape(groups)} must name the group of each of the {n} scores")
    weight = 1 / ((len(sizes) + 1) * sizes[group])
    order = np.argsort(values, axis=-1)
    below = np.cumsum(weight[order], axis=-1)  # [..., n]
    enough = np.round(below - level, DIGITS) >= 0
    place = np.minimum((~enough).sum(-1, keepdims=True), n - 1)
    found = np.take_along_axis(np.take_along_axis(values, order, -1), place, -1)[..., 0]
    found = np.where(enough.any(-1), found, np.inf)
    return np.where(np.isnan(values).any(-1), np.nan, found)


def split(low, high, held, level=0.9, scale=1.0, groups=None):
    """(low, high) [N] around what one model says of N test items; held [n]: its scores of items it has not seen."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    far = np.asarray(scale, float) * quantile(held, level, groups)
    return low - far, high + far


def cv_plus(low, high, held, fold, level=0.9, scale=1.0, groups=None):
    """(low, high) [N] around what K models say of N test items, [K, N] each (scale too, where it is no number).

    held [n]: the score of each item by the one model that has not learnt from it, fold [n]: which one that is.
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    scale = np.broadcast_to(np.asarray(scale, float), low.shape)
    held, fold = np.asarray(held, float), np.asarray(fold)
    if low.ndim != 2 or high.shape != low.shape or held.shape != fold.shape or held.ndim != 1:
        raise UserError(f"low {low.shape}, high {high.shape}, scores {held.shape} and folds {fold.shape} must be "
                        "[K, N], [K, N], [n] and [n]")  # fmt: skip
    if fold.dtype.kind not in "iu" or not np.isin(fold, np.arange(len(low))).all():
        raise UserError(f"folds must be whole numbers 0..{len(low) - 1}, those of the {len(low)} models")
    far = held[:, None] * scale[fold]  # [n, N]
    ends = (low[fold] - far).T, (high[fold] + far).T
    return -quantile(-ends[0], level, groups), quantile(ends[1], level, groups)


def jackknife_plus(low, high, held, level=0.9, scale=1.0, groups=None):
    """(low, high) [N]: CV+ of n models [n, N], each of which leaves one item out."""
    return cv_plus(low, high, held, np.arange(len(held)), level, scale, groups)


def within(low, high, held, test_levels, held_levels, level=0.9, scale=1.0):
    """(low, high) [N]: `split` in each level of a column by itself; infinite in one without scores."""
    low, high = np.array(low, float), np.array(high, float)
    held, scale = np.asarray(held, float), np.broadcast_to(np.asarray(scale, float), low.shape)
    for name in np.unique(test_levels):
        here, own = np.asarray(test_levels) == name, held[np.asarray(held_levels) == name]
        far = scale[here] * (quantile(own, level) if len(own) else np.inf)
        low[here], high[here] = low[here] - far, high[here] + far
    return low, high


def needed(level):
    """The fewest scores (or groups) that give a finite interval: ceil((n + 1) level) <= n."""
    if not 0 < level < 1:
        raise UserError(f"a level lies between 0 and 1, but is {level!r}")
    return int(np.ceil(np.round(level / (1 - level), DIGITS)))
