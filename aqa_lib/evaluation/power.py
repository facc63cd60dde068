"""What a test set, or a number of draws, can show: standard errors, Steiger's z, power, detectable differences.

Correlations are compared through Fisher's z = artanh rho, whose standard error is taken as
* "fisher": 1/sqrt(n - 3), exact enough for Pearson's; what published comparisons mostly use;
* "bonett-wright": sqrt((1 + rho^2/2)/(n - 3)), for Spearman's (Bonett and Wright, 2000); on normal scores it errs on
  the wide side, Fisher's on the narrow one. The default.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation.statistics import Interval

SE = ("bonett-wright", "fisher")


class Comparison(NamedTuple):
    z: float
    p: float  # two-sided


def z_error(rho, n, se="bonett-wright"):
    """Standard error of artanh of a correlation over n items."""
    choose("standard error", se, SE)
    if not (n > 3 and -1 < rho < 1):
        raise UserError(f"a correlation's standard error needs n > 3 and |rho| < 1, but got n = {n}, rho = {rho}")
    return float(np.sqrt((1 + (rho**2 / 2 if se == "bonett-wright" else 0)) / (n - 3)))


def correlation_interval(rho, n, level=0.95, se="bonett-wright"):
    """A correlation over n items with its interval through Fisher's z."""
    if not 0 < level < 1:
        raise UserError(f"the level of an interval lies between 0 and 1, but is {level!r}")
    half = stats.norm.ppf((1 + level) / 2) * z_error(rho, n, se)
    z = np.arctanh(rho)
    return Interval(float(rho), float(np.tanh(z - half)), float(np.tanh(z + half)))


def steiger(rho_a, rho_b, between, n, se="bonett-wright"):
    """Whether two correlations with one common variable differ: methods a and b, both with the true scores.

    `between`: the correlation of a's with b's predictions on the same n items. Steiger (1980), with the mean r of the
    two correlations in the covariance s = [h(1 - 2 r^2) - r^2/2 (1 - 2 r^2 - h^2)] / (1 - r^2)^2, h = between:
    z = (artanh rho_a - artanh rho_b) / (SE sqrt(2 - 2 s)). Made for Pearson's; bonett-wright widens
    each SE for Spearman's.
    """
    error = _difference_error(rho_a, rho_b, between, n, se)
    gap = np.arctanh(rho_a) - np.arctanh(rho_b)
    z = float(gap / error) if error > 0 else float(np.sign(gap) * np.inf if gap else 0)
    return Comparison(z, float(2 * stats.norm.sf(abs(z))))


def correlation_power(rho_a, rho_b, n, between=None, alpha=0.05, se="bonett-wright"):
    """Chance that a two-sided test at `alpha` tells the correlations rho_a and rho_b apart over n items.

    `between` as for `steiger` where both methods are tested on the same items; None for two test sets of n each.
    """
    edge = stats.norm.isf(_level(alpha) / 2)
    error = _difference_error(rho_a, rho_b, between, n, se)
    gap = abs(np.arctanh(rho_a) - np.arctanh(rho_b))
    if error == 0:
        return 1.0 if gap else alpha
    return float(stats.norm.sf(edge - gap / error) + stats.norm.cdf(-edge - gap / error))


def detectable_correlation(rho, n, between=None, power=0.8, alpha=0.05, se="bonett-wright"):
    """The smallest improvement on a correlation `rho` that is found with chance `power`; NaN where none would be.

    With `between`, the search ends where no three variables could correlate like that.
    """
    if _level(power, "power") <= _level(alpha):
        return 0.0
    top = 1 - 1e-9
    if between is not None:  # the largest rho_b for which the three make a correlation matrix
        top = min(top, rho * between + np.sqrt((1 - rho**2) * (1 - between**2)) - 1e-12)

    def short(other):
        return correlation_power(rho, other, n, between, alpha, se) - power

    if top <= rho or short(top) < 0:
        return float("nan")
    return float(optimize.brentq(short, rho, top, xtol=1e-10) - rho)


def paired_power(difference, sd, n, alpha=0.05):
    """Chance that a two-sided paired t test over n draws finds a mean difference; `sd` that of the differences."""
    if n < 2 or not sd > 0:
        raise UserError(f"the power of a paired test needs n >= 2 and sd > 0, but got n = {n}, sd = {sd}")
    edge = stats.t.isf(_level(alpha) / 2, n - 1)  # t^2 of a shifted sample is noncentral F
    if difference == 0:
        return alpha  # scipy's noncentral F does not take a shift of 0
    return float(stats.ncf.sf(edge**2, 1, n - 1, n * (difference / sd) ** 2))


def detectable_difference(sd, n, power=0.8, alpha=0.05):
    """The smallest mean difference over n draws that a paired t test finds with chance `power`."""
    paired_power(0.0, sd, n, alpha)  # refuses what makes no sense
    if _level(power, "power") <= alpha:
        return 0.0

    def short(k):  # how much power a difference of k standard deviations lacks, below 0
        return paired_power(k * sd, sd, n, alpha) - power

    top = 1.0
    while short(top) < 0:
        top *= 2
    return float(optimize.brentq(short, 0, top, xtol=1e-10) * sd)


def _difference_error(rho_a, rho_b, between, n, se):
    """Standard error of artanh rho_a - artanh rho_b."""
    ea, eb = z_error(rho_a, n, se), z_error(rho_b, n, se)
    if between is None:
        return float(np.hypot(ea, eb))
    determinant = 1 + 2 * rho_a * rho_b * between - rho_a**2 - rho_b**2 - between**2
    if not -1 <= between <= 1 or determinant < -1e-9:
        raise UserError(f"correlations {rho_a:g}, {rho_b:g} and {between:g} between them cannot occur together")
    r = (rho_a + rho_b) / 2
    s = (between * (1 - 2 * r**2) - r**2 / 2 * (1 - 2 * r**2 - between**2)) / (1 - r**2) ** 2
    return float(np.sqrt(max(0.0, ea**2 + eb**2 - 2 * s * ea * eb)))


def _level(value, name="alpha"):
    if not 0 < value < 1:
        raise UserError(f"{name} lies between 0 and 1, but is {value!r}")
    return value
