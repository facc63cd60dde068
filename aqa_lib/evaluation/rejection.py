"""Whether the most uncertain predictions are the wrong ones: what is left when they are left out.

    kept, errors = rejection_curve(np.abs(true - mean), variance)   # mean error of the k least uncertain, k = 1 .. N
    rejection_index(np.abs(true - mean), variance)                  # 1: as good as the errors themselves; 0: as chance

Items of equal uncertainty stay in no order: a curve is its mean over all orders of them, so that a constant variance
has a flat one. The area under a curve is its mean over k. The index is (random - area) / (random - oracle), the area of
leaving out at random less this one's, in units of what leaving out by the errors themselves would save (the
prediction-rejection ratio of Malinin et al., ICLR 2020, on errors). It is below 0 where the uncertain are the better.
A NaN makes everything NaN.
"""

import numpy as np

from aqa_lib.errors import UserError
from aqa_lib.evaluation.metrics import spearman_rows
from aqa_lib.kinds import numbers, takes

SHARES = tuple(round(0.05 * k, 2) for k in range(4, 21))  # .2 .. 1 of the items


@takes(error=numbers, uncertainty=numbers)
def rejection_curve(error, uncertainty):
    """(kept share k / N [N], mean error of the k least uncertain items [N]), k = 1 .. N."""
    error, uncertainty = _vectors(error, uncertainty)
    k = np.arange(1, len(error) + 1)
    if np.isnan(error).any() or np.isnan(uncertainty).any():
        return k / len(k), np.full(len(k), np.nan)
    _, level = np.unique(uncertainty, return_inverse=True)  # rising
    tied = np.bincount(level, weights=error) / np.bincount(level)  # the mean error of each level
    return k / len(k), np.cumsum(tied[np.sort(level)]) / k


@takes(error=numbers, uncertainty=numbers)
def rejection_area(error, uncertainty):
    """The area under the rejection curve, in units of the error; the less the better."""
    return float(rejection_curve(error, uncertainty)[1].mean())


@takes(error=numbers, uncertainty=numbers)
def rejection_index(error, uncertainty):
    """(random - area) / (random - oracle): 1 by the errors themselves, 0 at random; NaN where all errors are equal."""
    error, uncertainty = _vectors(error, uncertainty)
    area, oracle, random = rejection_area(error, uncertainty), rejection_area(error, error), error.mean()
    return float((random - area) / (random - oracle)) if random > oracle else float("nan")


@takes(predicted=numbers, true=numbers, uncertainty=numbers, shares=numbers)
def rejection_correlation(predicted, true, uncertainty, shares=SHARES):
    """(kept share [S], rank correlation of the kept [S]): kept are the given shares of the least uncertain.

    With an item all of equal uncertainty are kept, so the shares that come back may be larger than those given. NaN
    where fewer than three are kept.
    """
    predicted, true = _vectors(predicted, true)
    true, uncertainty = _vectors(true, uncertainty)
    shares = np.atleast_1d(np.asarray(shares, float))
    if not ((shares > 0) & (shares <= 1)).all():
        raise UserError(f"shares that are kept lie above 0 and at most at 1, but are {shares.tolist()!r}")
    if np.isnan(uncertainty).any():
        return shares, np.full(len(shares), np.nan)
    n = len(true)
    counts = np.maximum(np.ceil(np.round(shares * n, 9)).astype(int), 1)
    kept = uncertainty <= np.sort(uncertainty)[counts - 1][:, None]  # [S, N]
    rhos = [spearman_rows(predicted[None, k], true[k])[0] if k.sum() > 2 else np.nan for k in kept]
    return kept.mean(axis=1), np.array(rhos)


def _vectors(one, other):
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise UserError(f"errors {one.shape} and uncertainties {other.shape} must be vectors of one length")
    return one, other
