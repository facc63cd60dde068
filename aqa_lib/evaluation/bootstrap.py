"""Two-level bootstrap: the interval of a measure that varies with the label draw and with the test items.

A result has two sources of chance: which videos carried labels (and which seed trained), and which videos happened to
be tested. The test items are the same for all draws, so the two are crossed: a replicate takes D draws with
replacement, takes the items with replacement within each group (competition, surgeon), measures every draw taken on
the items taken, and averages over draws. For a mean this is slightly conservative, since its variance is that of
draws plus items plus three times, not once, that of their interaction (Owen, "The pigeonhole bootstrap", 2007). As in
any bootstrap the variance of few comes out small, by (D - 1)/D for D draws: take ten of them or more.

* percentile: quantiles of the replicates.
* BCa (Efron, 1987): quantiles shifted for the median's bias z0 and for the acceleration a, the latter from a jackknife
  that leaves out one draw or one item at a time (for several samples as in Efron and Tibshirani, 1993, 14.3 and
  22.5): a = 1/6 sum_l sum_i U_li^3 / n_l^3 / (sum_l sum_i U_li^2 / n_l^2)^1.5, U_li = (n_l - 1)(mean_l - theta_li).
  The samples l are the draws and the items of each group, since that is what is resampled.
"""

import warnings

import numpy as np
from scipy import stats

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation.metrics import spearman_rows
from aqa_lib.evaluation.statistics import Interval, defined_replicates
from aqa_lib.kinds import number, numbers, optional, takes, whole


@takes(predicted=numbers, true=numbers, minus=optional(numbers), level=number, resamples=whole, seed=whole)
def two_level_bootstrap(
    predicted,
    true,
    *,
    minus=None,
    groups=None,
    statistic=spearman_rows,
    method="bca",
    level=0.95,
    resamples=2000,
    seed=0,
):
    """Mean over draws of statistic(predicted [D, N], true [N]) -> [D], with its two-level bootstrap interval.

    `minus` [D, N]: predictions of another method on the same draws and items; then the difference of the two, both
    measured on the same replicates. `groups` [N]: items are resampled within them, so that each keeps its size; a
    group of one item cannot vary, which a warning says.
    With one draw only the items vary. A replicate that is undefined (a constant column) is left out and counted
    in a warning; a statistic that is undefined to begin with has no interval (NaN).
    """
    choose("method of the bootstrap", method, ("bca", "percentile"))
    predicted, true, groups = _checked(predicted, true, minus, groups, level)
    D, N = predicted.shape[1:]  # predicted [1 or 2, D, N]

    def cells(items):  # [D] the measure of each draw, or the difference of two methods
        values = np.stack([statistic(p[:, items], true[items]) for p in predicted])
        return values[0] - values[1] if len(values) == 2 else values[0]

    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    observed = cells(np.arange(N))
    estimate = float(observed.mean())
    if np.isnan(estimate):
        return Interval(estimate, float("nan"), float("nan"))
    replicates = np.empty(resamples)
    for r in range(resamples):
        items = np.concatenate([rng.choice(m, len(m)) for m in members])
        replicates[r] = cells(items)[rng.integers(D, size=D)].mean()
    defined = defined_replicates(replicates)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if not len(defined) or N == 1:
        return Interval(estimate, float("nan"), float("nan"))
    if method == "bca":
        left_out = np.array([cells(np.delete(np.arange(N), i)).mean() for i in range(N)])
        without = [left_out[m] for m in members]
        without += [(observed.sum() - observed) / (D - 1)] if D > 1 else []
        tails = _bca(tails, estimate, defined, without)
    low, high = np.quantile(defined, tails)
    return Interval(estimate, float(low), float(high))


def _bca(tails, estimate, replicates, without):
    """Which quantiles of the replicates to take instead of `tails`."""
    below = (np.mean(replicates < estimate) + np.mean(replicates <= estimate)) / 2
    if below in (0, 1):
        return tails  # every replicate on one side: there is no bias to speak of in z
    z0 = stats.norm.ppf(below)
    U = [(len(t) - 1) * (t.mean() - t) for t in without if not np.isnan(t).any()]
    cubes, squares = (sum((u**k).sum() / len(u) ** k for u in U) for k in (3, 2))
    a = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    z = z0 + stats.norm.ppf(tails)
    return stats.norm.cdf(z0 + z / (1 - a * z))


def _checked(predicted, true, minus, groups, level):
    predicted, true = np.atleast_2d(np.asarray(predicted, float)), np.asarray(true, float)
    both = [predicted] if minus is None else [predicted, np.atleast_2d(np.asarray(minus, float))]
    if true.ndim != 1 or not len(true) or predicted.ndim != 2 or any(p.shape[1] != len(true) for p in both):
        shapes = " and ".join(str(p.shape) for p in both)
        raise UserError(f"predictions {shapes} must be [D, N] for true scores [N], but those have shape {true.shape}")
    if both[0].shape != both[-1].shape:
        raise UserError(
            f"a paired bootstrap needs the same draws of both methods, not {len(both[0])} and {len(both[1])}"
        )
    groups = np.zeros(len(true), int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if groups.shape != true.shape:
        raise UserError(f"groups need one entry an item, {len(true)} of them, but have shape {groups.shape}")
    alone = int((np.bincount(groups) == 1).sum())
    if alone == len(true) > 1:
        raise UserError("every group holds one item, so that nothing could vary within them: leave the groups away")
    if alone and len(true) > 1:
        text = f"{alone} of {len(true)} items are alone in their group and never vary: the interval is too narrow"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    if not 0 < level < 1:
        raise UserError(f"the level of an interval lies between 0 and 1, but is {level!r}")
    return np.stack(both), true, groups
