"""Whether predictions that state their uncertainty are right about it.

Gaussian predictions: mean m [N] and variance v [N] of each item, true values y [N], z = (y - m) / sqrt(v).

* coverage at level p: share of |z| <= Phi^-1((1 + p) / 2); calibrated where it is p.
* expected calibration error: mean over levels of |coverage - p| (as Kuleshov et al., ICML 2018, with the absolute
  value in place of the square).
* negative log-likelihood 1/2 (log 2 pi v + z^2), and CRPS = sqrt(v) [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)], the
  continuous ranked probability score (Gneiting and Raftery, JASA 2007). Both are proper: on average the true
  distribution has the least. CRPS is in units of the score, and |y - m| where v = 0.

Quantile predictions q [N, Q] at levels p [Q]: pinball loss, the share of true values at or below each quantile, and
their expected calibration error, mean over levels of |share - p|. CRPS = 2 integral over p of the pinball loss, which
is 0 at p = 0 and 1; the trapezoidal rule over few levels is approximate (at LEVELS, of true Gaussians, .4 % too small,
where twice the mean of the 19 losses would be 5 % too large and compare unfairly with a closed form). Discrete
predictions (samples, a distribution over bins): CRPS = E|X - y| - E|X - X'| / 2.

Intervals [low, high]: sharpness is the mean width; the interval score adds 2 / a times how far the true value lies
outside, a = 1 - level (Winkler, JASA 1972), and is least on average for the true quantiles at a / 2 and 1 - a / 2.

`measures` gives the row of a method in tables. A NaN among the predictions or the true values makes a measure NaN.
"""

import numpy as np
from scipy.special import ndtr, ndtri

from aqa_lib.errors import UserError
from aqa_lib.evaluation.metrics import spearman_rows
from aqa_lib.kinds import number, numbers, optional, takes

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))  # 0.05 .. 0.95

COLLAPSED = 0.05  # a mean variance below this share of the mean squared error


@takes(mean=numbers, variance=numbers, true=numbers, quantiles=optional(numbers))
def measures(mean, variance, true, quantiles=None):
    """{name: value} of one method: of `quantiles` [N, 19] at LEVELS, where they are given, else of Gaussians."""
    gaussian = {} if quantiles is not None else {"nll": gaussian_nll(mean, variance, true)}
    if quantiles is None:
        quantiles, crps = gaussian_quantiles(mean, variance), gaussian_crps(mean, variance, true)
    else:
        crps = quantile_crps(quantiles, true)
    low, high = central(quantiles, 0.9)
    return {
        **gaussian,
        "crps": crps,
        "coverage_90": interval_coverage(low, high, true),
        "ece": quantile_calibration_error(quantiles, true),
        "sharpness_90": sharpness(low, high),
        "interval_90": interval_score(low, high, true, 0.9),
        "variance_ratio": variance_ratio(mean, variance, true),
        "variance_error": variance_error(mean, variance, true),
    }


# ---- Gaussians


@takes(mean=numbers, variance=numbers, true=numbers, levels=numbers)
def coverage(mean, variance, true, levels=LEVELS):
    """Share of true values inside the central interval of each level: [L]."""
    error, sd = _gaussian(mean, variance, true)
    inside = np.abs(error) <= ndtri((1 + _levels(levels)[:, None]) / 2) * sd  # [L, N]
    return np.where(np.isnan(error + sd).any(), np.nan, inside.mean(axis=1))


@takes(mean=numbers, variance=numbers, true=numbers, levels=numbers)
def calibration_error(mean, variance, true, levels=LEVELS):
    """Expected calibration error: mean over levels of |coverage - level|; 0 where every coverage is as stated."""
    return float(np.abs(coverage(mean, variance, true, levels) - _levels(levels)).mean())


@takes(mean=numbers, variance=numbers, true=numbers)
def gaussian_nll(mean, variance, true):
    """Mean negative log-likelihood, in nats; infinite where a prediction without variance is wrong."""
    error, sd = _gaussian(mean, variance, true)
    with np.errstate(divide="ignore", invalid="ignore"):
        nll = 0.5 * np.log(2 * np.pi) + np.log(sd) + 0.5 * (error / sd) ** 2
    return float(np.where((sd == 0) & (error != 0), np.inf, np.where(sd == 0, -np.inf, nll)).mean())


@takes(mean=numbers, variance=numbers, true=numbers)
def gaussian_crps(mean, variance, true):
    """Mean continuous ranked probability score, in units of the score; the less the better."""
    error, sd = _gaussian(mean, variance, true)
    z = error / np.where(sd == 0, 1, sd)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    crps = sd * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return float(np.where(sd == 0, np.abs(error), crps).mean())


@takes(mean=numbers, variance=numbers, levels=numbers)
def gaussian_quantiles(mean, variance, levels=LEVELS):
    """Their quantiles [N, Q]."""
    mean, sd = np.asarray(mean, float), _gaussian(mean, variance, mean)[1]
    return mean[:, None] + sd[:, None] * ndtri(_levels(levels))


# ---- the variance alone


@takes(mean=numbers, variance=numbers, true=numbers)
def variance_ratio(mean, variance, true):
    """Mean variance / mean squared error: 1 where the variance is right on average, near 0 where it has collapsed."""
    error, sd = _gaussian(mean, variance, true)
    square = np.mean(error**2)
    return float(np.mean(sd**2) / square) if square > 0 else float("nan")


@takes(mean=numbers, variance=numbers, true=numbers)
def variance_error(mean, variance, true):
    """Spearman's correlation of the variance with the squared error; NaN where either is constant."""
    error, sd = _gaussian(mean, variance, true)
    return float(spearman_rows(sd[None], error**2)[0])


@takes(variance=numbers, spread=numbers)
def variance_spread(variance, spread):
    """Spearman's correlation of the variance with a known spread (of judges), over the items that have one.

    NaN where either is constant, or fewer than three items have a spread.
    """
    variance, spread = _vectors(variance, spread)
    known = ~np.isnan(spread)
    return float(spearman_rows(variance[None, known], spread[known])[0]) if known.sum() > 2 else float("nan")


# ---- intervals


@takes(low=numbers, high=numbers, true=numbers)
def interval_coverage(low, high, true):
    """Share of true values y [N] with low <= y <= high, such as conformal intervals."""
    low, high, true = _vectors(low, high, true)
    undefined = np.isnan(low) | np.isnan(high) | np.isnan(true)
    return float("nan") if undefined.any() else float(np.mean((low <= true) & (true <= high)))


@takes(low=numbers, high=numbers)
def sharpness(low, high):
    """Mean width of intervals."""
    low, high = _interval(low, high)
    return float(np.mean(high - low))


@takes(low=numbers, high=numbers, true=numbers, level=number)
def interval_score(low, high, true, level):
    """Mean of (high - low) + 2 / (1 - level) (how far y lies outside), in units of the score; the less the better."""
    low, high, true = _interval(low, high, true)
    (level,) = _levels(level)
    outside = np.maximum(low - true, 0) + np.maximum(true - high, 0)
    return float(np.mean(high - low + 2 / (1 - level) * outside))


@takes(quantiles=numbers, level=number, levels=numbers)
def central(quantiles, level, levels=LEVELS):
    """(low, high) [N] of the central interval of a level: the quantiles at (1 - level) / 2 and (1 + level) / 2."""
    quantiles, levels = np.asarray(quantiles, float), _levels(levels)
    places = [np.flatnonzero(np.isclose(levels, (1 + sign * level) / 2)) for sign in (-1, 1)]
    if quantiles.ndim != 2 or quantiles.shape[1] != len(levels) or not all(map(len, places)):
        raise UserError(f"quantiles {quantiles.shape} at {levels.tolist()} have no central interval of level {level}")
    return tuple(quantiles[:, place[0]] for place in places)


# ---- quantiles and discrete distributions


@takes(quantiles=numbers, true=numbers, levels=numbers)
def pinball_loss(quantiles, true, levels):
    """Mean over items of max(p (y - q), (p - 1) (y - q)) at each level p: [Q]. The p-quantile has the least."""
    quantiles, true = _quantiles(quantiles, true)
    levels = _levels(levels)
    if len(levels) != quantiles.shape[1]:
        raise UserError(f"quantiles [N, Q] need a level each, but {quantiles.shape[1]} have {len(levels)} levels")
    above = true[:, None] - quantiles  # [N, Q]
    return np.maximum(levels * above, (levels - 1) * above).mean(axis=0)


@takes(quantiles=numbers, true=numbers)
def quantile_coverage(quantiles, true):
    """Share of true values at or below each quantile: [Q]; calibrated where it is the level of the quantile."""
    quantiles, true = _quantiles(quantiles, true)
    undefined = np.isnan(quantiles).any(axis=0) | np.isnan(true).any()
    return np.where(undefined, np.nan, (true[:, None] <= quantiles).mean(axis=0))


@takes(quantiles=numbers, true=numbers, levels=numbers)
def quantile_calibration_error(quantiles, true, levels=LEVELS):
    """Mean over levels of |share at or below the quantile - level|: also a shift of the mean shows."""
    return float(np.abs(quantile_coverage(quantiles, true) - _levels(levels)).mean())


@takes(quantiles=numbers, true=numbers, levels=numbers)
def quantile_crps(quantiles, true, levels=LEVELS):
    """CRPS by the trapezoidal rule over rising levels, in units of the score: approximate, see above."""
    loss = pinball_loss(quantiles, true, levels)
    return float(2 * np.trapezoid([0, *loss, 0], [0, *_levels(levels), 1]))


@takes(values=numbers, true=numbers, probabilities=optional(numbers))
def discrete_crps(values, true, probabilities=None):
    """Mean CRPS of samples `values` [N, S], or of values [S] or [N, S] that have probabilities [N, S]."""
    values, true = np.asarray(values, float), np.asarray(true, float)
    weights = np.full(values.shape, 1 / values.shape[-1]) if probabilities is None else np.asarray(probabilities, float)
    if weights.ndim != 2 or true.shape != weights.shape[:1] or values.shape not in (weights.shape, weights.shape[1:]):
        raise UserError(f"values {values.shape}, probabilities {weights.shape} and true values {true.shape} must be "
                        "[N, S] or [S], [N, S] and [N]")  # fmt: skip
    if (weights < 0).any() or (np.abs(weights.sum(1) - 1) > 1e-4).any():
        raise UserError("probabilities are at least 0 and sum to 1: divide those of each item by their sum")
    order = np.argsort(values, axis=-1)
    values = np.take_along_axis(values, order, -1)
    weights = np.take_along_axis(weights, np.broadcast_to(order, weights.shape), -1)
    values = np.broadcast_to(values, weights.shape)
    below = np.cumsum(weights, axis=1)[:, :-1]  # F between one value and the next
    half_gap = (below * (1 - below) * np.diff(values, axis=1)).sum(1)  # E|X - X'| / 2
    return float(((weights * np.abs(values - true[:, None])).sum(1) - half_gap).mean())


def _interval(low, high, *more):
    low, high, *more = _vectors(low, high, *more)
    if (low > high).any():
        raise UserError("an interval's low end is at most its high one: sort the quantiles of each item")
    return low, high, *more


def _gaussian(mean, variance, true):
    """y - m [N] and the standard deviation [N]."""
    mean, variance, true = _vectors(mean, variance, true)
    if (variance < 0).any():
        raise UserError(f"a variance is at least 0, but one of the predictions has {np.nanmin(variance):g}")
    return true - mean, np.sqrt(variance)


def _vectors(*values):
    values = [np.asarray(v, float) for v in values]
    if values[0].ndim != 1 or not len(values[0]) or len({v.shape for v in values}) > 1:
        shapes = ", ".join(str(v.shape) for v in values)
        raise UserError(f"predictions and true values must be vectors of one length, not of the shapes {shapes}")
    return values


def _quantiles(quantiles, true):
    quantiles, true = np.asarray(quantiles, float), np.asarray(true, float)
    if quantiles.ndim != 2 or true.shape != quantiles.shape[:1] or not quantiles.size:
        raise UserError(f"quantiles {quantiles.shape} and true values {true.shape} must be [N, Q] and [N]")
    return quantiles, true


def _levels(levels):
    levels = np.atleast_1d(np.asarray(levels, float))
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
        raise UserError(f"levels lie between 0 and 1, but are {levels.tolist()!r}")
    return levels
