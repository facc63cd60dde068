"""Significance of differences: intervals of means, paired tests, Holm's correction, analysis of variance."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

from aqa_lib.errors import UserError
from aqa_lib.evaluation.metrics import ANY
from aqa_lib.kinds import function, number, numbers, pair, samples, takes, whole


class Interval(NamedTuple):
    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    mean: float  # of a - b
    low: float
    high: float
    p: float  # Wilcoxon's signed-rank test, two-sided
    p_t: float  # paired t test, two-sided


@takes(values=numbers, level=number, limits=pair)
def mean_interval(values, level=0.95, limits=ANY):
    """Mean with Student's t interval; a NaN among the values makes all NaN.

    One value alone has none (NaN), nor have equal values: their spread is not known, and it is not 0. limits: between
    which the values lie (metrics.bounds); what the interval has beyond them is cut off (items.py says why).
    """
    values = checked(values, level, limits)
    n, mean = len(values), float(np.mean(values))
    if n == 1 or equal(values):
        return Interval(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean, *(float(end) for end in np.clip([mean - half, mean + half], *limits)))


def equal(values):
    """Whether values differ by no more than rounding."""
    return float(np.ptp(values)) <= 16 * np.finfo(float).eps * float(np.abs(values).max())


@takes(a=numbers, b=numbers, level=number, limits=pair)
def paired_interval(a, b, level=0.95, limits=ANY):
    """Mean of a - b over paired runs (same draw, same seed), its t interval and two p values.

    Differences that are all equal have no interval and no p of the t test, but that of differences that are all 0 (1).
    """
    a, b = vector(a), vector(b)
    if a.shape != b.shape:
        raise UserError(f"a paired comparison needs equally many values a side, not {a.shape} and {b.shape}")
    d = checked(a - b, level)
    interval = mean_interval(d, level, limits)
    if len(d) < 2 or np.isnan(d).any():
        return Paired(*interval, float("nan"), float("nan"))
    if not d.any():
        return Paired(*interval, 1.0, 1.0)
    p_t = float("nan")
    if not equal(d):
        t = np.mean(d) / (np.std(d, ddof=1) / np.sqrt(len(d)))
        p_t = 2 * stats.t.sf(abs(t), len(d) - 1)  # scipy's ttest_rel is slower
    return Paired(*interval, float(stats.wilcoxon(d).pvalue), float(p_t))


@takes(values=samples, level=number, seed=whole, statistic=function, resamples=whole)
def bootstrap_interval(values, level=0.95, seed=0, statistic=np.mean, resamples=2000):
    """A statistic of values [n], or of a tuple of paired vectors, with its percentile bootstrap interval.

    A statistic that is undefined, of one value alone, or the same in all replicates has no interval (NaN); replicates
    that are undefined are left out and counted in a warning.
    """
    data = tuple(checked(v, level) for v in (values if isinstance(values, tuple) else (values,)))
    if len({len(v) for v in data}) > 1:
        raise UserError(f"a paired bootstrap needs vectors of one length, but got {[len(v) for v in data]}")
    estimate = float(statistic(*data))
    if len(data[0]) == 1 or np.isnan(estimate):
        return Interval(estimate, float("nan"), float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a statistic may warn of each undefined replicate
        result = stats.bootstrap(
            data,
            statistic,
            n_resamples=resamples,
            confidence_level=level,
            method="percentile",
            paired=True,
            vectorized=False,
            rng=np.random.default_rng(seed),
        )
    low, high = result.confidence_interval
    if np.isnan(low):
        low, high = np.quantile(defined_replicates(result.bootstrap_distribution), [(1 - level) / 2, (1 + level) / 2])
    if low == high:
        return Interval(estimate, float("nan"), float("nan"))
    return Interval(estimate, float(low), float(high))


def defined_replicates(replicates):
    """The replicates of a bootstrap that are defined, and a warning that counts the others."""
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < len(replicates):
        lost = f"{len(replicates) - len(defined)} of {len(replicates)} bootstrap replicates are undefined and left out"
        warnings.warn(lost, RuntimeWarning, stacklevel=3)
    return defined


@takes(ps=numbers)
def holm(ps):
    """Holm's step-down adjustment of p values for as many comparisons as there are.

    An undefined p value (NaN) is of a comparison that was not made: it stays NaN and is not counted.
    """
    ps = np.asarray(ps, float)
    if ps.ndim != 1 or (ps < 0).any() or (ps > 1).any():
        raise UserError(f"p values are a vector of numbers from 0 to 1, but are {ps.tolist()!r}")
    made = np.argsort(ps)[: np.sum(~np.isnan(ps))]  # NaN comes last
    adjusted = np.full(len(ps), np.nan)
    adjusted[made] = np.minimum(1, np.maximum.accumulate(ps[made] * np.arange(len(made), 0, -1)))
    return adjusted


def checked(values, level, limits=ANY):
    """Values as a vector of floats; a UserError where there can be no interval of them."""
    values = vector(values)
    if values.ndim != 1 or len(values) == 0:
        raise UserError(f"an interval needs a vector of at least one value, but got shape {values.shape}")
    if not isinstance(level, (int, float)) or not 0 < level < 1:
        raise UserError(f"the level of an interval lies between 0 and 1, but is {level!r}")
    if np.shape(limits) != (2,) or not np.less_equal(*vector(limits)):
        raise UserError(f"the limits of an interval are two numbers, the least first, but are {limits!r}")
    return values


def vector(values):
    """Values as floats; a UserError where they are no numbers."""
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        raise UserError(f"these are no numbers that a mean could be of: {values!r}") from None


@takes(values=numbers)
def rows_differ(values):
    """p of the F test that all rows of values [rows, blocks] have one mean, blocks (draws) taken out.

    Two-way analysis of variance without replication: F = MS_rows / MS_residual. NaN where there are fewer than two
    rows or blocks to compare.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or min(values.shape) < 2:
        return float("nan")
    a, b = values.shape
    rows, blocks, all_mean = values.mean(1), values.mean(0), values.mean()
    residual = values - rows[:, None] - blocks[None] + all_mean
    between = b * ((rows - all_mean) ** 2).sum() / (a - 1)
    within = (residual**2).sum() / ((a - 1) * (b - 1))
    rounding = values.size * (16 * np.finfo(float).eps * np.abs(values).max()) ** 2  # what equal numbers leave
    if within <= rounding:
        return 1.0 if between <= rounding else 0.0
    return float(stats.f.sf(between / within, a - 1, (a - 1) * (b - 1)))
