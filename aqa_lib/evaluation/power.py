"""What a number of draws can show: the power of a paired t test, and the smallest difference that it detects."""

from scipy import optimize, stats

from aqa_lib.errors import UserError
from aqa_lib.kinds import number, optional, takes


@takes(difference=number, sd=number, n=number, alpha=number, freedom=optional(number))
def paired_power(difference, sd, n, alpha=0.05, freedom=None):
    """Chance that a two-sided paired t test over n draws finds a mean difference; `sd` that of the differences.

    freedom: degrees of freedom, by default n - 1.
    """
    if n < 2 or not sd > 0:
        raise UserError(f"the power of a paired test needs n >= 2 and sd > 0, but got n = {n}, sd = {sd}")
    freedom = n - 1 if freedom is None else freedom
    edge = stats.t.isf(_level(alpha) / 2, freedom)  # t^2 of a shifted sample is noncentral F
    if difference == 0:
        return alpha  # scipy's noncentral F does not take a shift of 0
    return float(stats.ncf.sf(edge**2, 1, freedom, n * (difference / sd) ** 2))


@takes(sd=number, n=number, power=number, alpha=number, freedom=optional(number))
def detectable_difference(sd, n, power=0.8, alpha=0.05, freedom=None):
    """The smallest mean difference over n draws that a paired t test finds with chance `power`."""
    paired_power(0.0, sd, n, alpha)  # refuses what makes no sense
    if _level(power, "power") <= alpha:
        return 0.0

    def short(k):  # how much power a difference of k standard deviations lacks, below 0
        return paired_power(k * sd, sd, n, alpha, freedom) - power

    top = 1.0
    while short(top) < 0:
        top *= 2
    return float(optimize.brentq(short, 0, top, xtol=1e-10) * sd)


def _level(value, name="alpha"):
    if not 0 < value < 1:
        raise UserError(f"{name} lies between 0 and 1, but is {value!r}")
    return value
