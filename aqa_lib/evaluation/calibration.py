"""Whether predictions that state their uncertainty are right about it.

Gaussian predictions: mean m [N] and variance v [N] of each item, true values y [N], z = (y - m) / sqrt(v).

* coverage at level p: share of |z| <= Phi^-1((1 + p) / 2); calibrated where it is p.
* expected calibration error: mean over levels of |coverage - p| (as Kuleshov et al., ICML 2018, with the absolute
  value in place of the square).
* negative log-likelihood 1/2 (log 2 pi v + z^2), and CRPS = sqrt(v) [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)], the
  continuous ranked probability score (Gneiting and Raftery, JASA 2007). Both are proper: on average the true
  distribution has the least. CRPS is in units of the score, and |y - m| where v = 0.

Quantile predictions [N, Q] at levels [Q]: pinball loss, and the share of true values at or below each quantile.
A NaN among the predictions or the true values makes a measure NaN.
"""

import numpy as np
from scipy.special import ndtr, ndtri

from aqa_lib.errors import UserError
from aqa_lib.kinds import numbers, takes

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))  # 0.05 .. 0.95


@takes(mean=numbers, variance=numbers, true=numbers)
def coverage(mean, variance, true, levels=LEVELS):
    """Share of true values inside the central interval of each level: [L]."""
    error, sd = _gaussian(mean, variance, true)
    inside = np.abs(error) <= ndtri((1 + _levels(levels)[:, None]) / 2) * sd  # [L, N]
    return np.where(np.isnan(error + sd).any(), np.nan, inside.mean(axis=1))


@takes(mean=numbers, variance=numbers, true=numbers)
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


@takes(low=numbers, high=numbers, true=numbers)
def interval_coverage(low, high, true):
    """Share of true values y [N] with low <= y <= high, such as conformal intervals."""
    low, high, true = _vectors(low, high, true)
    undefined = np.isnan(low) | np.isnan(high) | np.isnan(true)
    return float("nan") if undefined.any() else float(np.mean((low <= true) & (true <= high)))


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
