"""What runs would have measured on other test items of the same kind: the bootstrap over items, for many runs at once.

    counts = taken(levels, resamples=1000)                  # [B, N] how often each item is taken
    values = resampled_spearman(predicted, true, counts)    # [K, B] of K runs, all on the same resamples
    crossed(rhos, values, N, limits=bounds("spearman"))     # their mean, with its interval over draws and items

All draws of a comparison are measured on one set of test items, so a mean over D draws has two sources of chance, which
are crossed (bootstrap.py). For a table of a hundred runs that bootstrap, which ranks the items anew for every replicate
and interval, takes minutes. Here only items are resampled, once for all runs, as counts, with which ranks are sums; the
draws enter by their variance, as in Student's t. With v_D the variance over draws by D and v_N that of the mean over
resamples,

    variance = v_D + v_N,    degrees of freedom = variance^2 / (v_D^2 / (D - 1) + v_N^2 / (N - 1))     (Satterthwaite)

The part that draws and items have together is in both terms: the interval errs on the wide side, by that part alone.

The mean of a measure cannot leave the measure's bounds, so what a t interval has beyond them is cut off: the true mean
is never there, and the interval covers it as often as before. Through Fisher's z the interval would be one of another
number than the mean that tables show, and there is no z of a difference, nor of an accuracy.
"""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy import stats

from aqa_lib.errors import UserError
from aqa_lib.evaluation.metrics import ANY, LESS, bounds, spearman_rows
from aqa_lib.evaluation.statistics import checked, equal, vector
from aqa_lib.kinds import number, numbers, optional, pair, takes, whole

RESAMPLES = 1000


class Crossed(NamedTuple):
    mean: float
    low: float
    high: float
    p: float  # that the mean is 0, two-sided t
    error: float  # standard error
    freedom: float  # degrees of freedom
    over: tuple  # what the interval covers: of "draws", "items"; () where there is none


NONE = Crossed(*[float("nan")] * 6, ())


def taken(levels, resamples=RESAMPLES, seed=0):
    """How often each of N items is taken in each resample [B, N]: of n items of a level n - 1, with replacement.

    With n - 1 the variance of a mean over resamples is s^2 / n, without bias (Rao and Wu, JASA 1988). levels [N]: what
    a measure is a mean over, and so keeps its size; an item alone in its level is always taken.
    """
    rng, levels = np.random.default_rng(seed), np.asarray(levels)
    counts = np.zeros((resamples, len(levels)))
    for level in np.unique(levels):
        members = np.flatnonzero(levels == level)
        n = len(members)
        counts[:, members] = rng.multinomial(max(n - 1, 1), np.full(n, 1 / n), size=resamples)
    return counts


def resampled_spearman(predicted, true, counts):
    """Spearman of each row of predicted [K, N] with true [N] on the items taken: [K, B]; NaN where undefined."""
    counts = np.ascontiguousarray(counts.T)  # [N, B]: whole rows are gathered
    b, values = mid_ranks(true, counts), np.full((len(predicted), counts.shape[1]), np.nan)
    weighted = counts * b
    spread = np.einsum("nb,nb->b", weighted, b)
    for k, row in enumerate(predicted):
        if np.isfinite(row).all():
            a = mid_ranks(row, counts)
            product = np.einsum("nb,nb->b", weighted, a)
            norm = np.sqrt(np.einsum("nb,nb,nb->b", counts, a, a) * spread)
            np.divide(product, norm, out=values[k], where=norm > 0)
    return np.clip(values, -1, 1)


def mid_ranks(values, counts):
    """Mid-ranks of values [N] among the items taken, less their mean: [N, B]; counts [N, B]."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    ties = counts[order] if len(starts) == len(order) else np.add.reduceat(counts[order], starts, axis=0)
    ranks = np.cumsum(ties, axis=0)
    ranks -= ties / 2
    ranks -= counts.sum(0) / 2
    return ranks[place]


def resampled_pairwise(scores, pairs, levels, counts):
    """Pairwise accuracy of each row of scores [K, N] on pairs [P, 2] of items, the mean over `levels` [P]: [K, B].

    A pair counts as often as both of its items are taken.
    """
    means = []
    for level in np.unique(levels):
        a, b = pairs[levels == level].T
        weights = counts[:, a] * counts[:, b]  # [B, P]
        right = (scores[:, a] > scores[:, b]) + 0.5 * (scores[:, a] == scores[:, b])  # [K, P]
        right[np.isnan(scores[:, a] + scores[:, b])] = np.nan
        total = weights.sum(1)
        means.append(np.where(total > 0, right @ weights.T / np.maximum(total, 1), np.nan))
    return np.mean(means, axis=0)


def resampled_l2(predicted, true, counts):
    """Relative L2 distance (metrics.py) of each row of predicted [K, N] on the items taken: [K, B]."""
    there = np.where(counts > 0, true, np.nan)
    span = np.nanmax(there, axis=1) - np.nanmin(there, axis=1)
    squares = (predicted - true) ** 2 @ counts.T / counts.sum(1)
    return np.where(span > 0, 100 * squares / np.where(span > 0, span, 1) ** 2, np.nan)


@takes(values=numbers, resampled=optional(numbers), items=whole, level=number, limits=pair)
def crossed(values, resampled=None, items=0, level=0.95, limits=ANY):
    """Crossed: the mean of values [D], an interval over draws and, where given, over test items, cut to the limits.

    values: a measure, or a difference of two, a draw each. resampled [D, B]: the same on resamples of the `items` test
    items that all draws share; None where each has its own. One draw, or draws that do not differ, have no spread over
    draws: then there is an interval over items alone, or none (NaN), and no p but that of differences that are all 0.
    """
    values = checked(values, level, limits)
    if resampled is not None:
        resampled = vector(resampled)
        if resampled.ndim != 2 or len(resampled) != len(values):
            raise UserError(f"resampled values {resampled.shape} must be [D, B] for values [D], D = {len(values)}")
    n, mean = len(values), float(np.mean(values))
    parts = {}  # what is covered: (variance of the mean, degrees of freedom)
    if n > 1 and not equal(values):
        parts["draws"] = np.var(values, ddof=1) / n, n - 1
    if resampled is not None and items > 1:
        replicates = np.mean(resampled, axis=0)
        replicates = replicates[~np.isnan(replicates)]
        if len(replicates) > 1 and not equal(replicates):
            parts["items"] = np.var(replicates, ddof=1), items - 1
    if not parts or np.isnan(mean):
        return NONE._replace(mean=mean, p=1.0 if n > 1 and not values.any() else float("nan"))
    variance = sum(v for v, _ in parts.values())
    freedom = variance**2 / sum(v**2 / f for v, f in parts.values())
    error = np.sqrt(variance)
    half = stats.t.ppf((1 + level) / 2, freedom) * error
    low, high = np.clip([mean - half, mean + half], *limits)
    p = 2 * stats.t.sf(abs(mean) / error, freedom)
    return Crossed(mean, float(low), float(high), float(p), float(error), float(freedom), tuple(parts))


@takes(predicted=numbers, true=numbers, minus=optional(numbers), level=number, resamples=whole)
def rank_interval(predicted, true, minus=None, level=0.95, resamples=RESAMPLES):
    """Crossed: rank correlation of predicted [N], or mean over draws of [D, N], with the scores [N]; NaN: not scored.

    minus: predictions of another method on the same draws; then the difference of the two.
    """
    true = vector(true)
    if isinstance(resamples, bool) or not isinstance(resamples, Integral) or resamples < 2:
        raise UserError(f"resamples takes a whole number from 2 on, but got {resamples!r}")
    sides = [np.atleast_2d(vector(side)) for side in (predicted, minus) if side is not None]
    if true.ndim != 1 or any(side.ndim != 2 or side.shape[1] != len(true) or not len(side) for side in sides):
        shapes = " and ".join(str(side.shape) for side in sides)
        raise UserError(f"predictions {shapes} must be [D, N] for true scores [N], but those have shape {true.shape}")
    if len({len(side) for side in sides}) > 1:
        raise UserError("a difference of two methods needs the same draws of both, but there are not equally many")
    known = np.isfinite(true)
    if not known.any():
        raise UserError("no test item has a score, so there is no rank correlation: take a set with scored test items")
    counts, rho, again = taken(np.zeros(known.sum()), resamples), [], []
    for each in (side[:, known] for side in sides):
        rho.append(spearman_rows(each, true[known]))
        again.append(resampled_spearman(each, true[known], counts))
    if minus is not None:
        limits = bounds(f"{LESS}spearman")
        return crossed(rho[0] - rho[1], again[0] - again[1], int(known.sum()), level, limits)
    return crossed(rho[0], again[0], int(known.sum()), level, bounds("spearman"))
