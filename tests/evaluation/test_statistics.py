"""Two-level bootstrap and power against scipy, hand cases and simulation."""

import numpy as np
import pytest
from scipy import stats

from aqa_lib.errors import UserError
from aqa_lib.evaluation import bootstrap, detectable_difference, paired_power, spearman_rows, two_level_bootstrap


def row_means(predicted, true):
    return predicted.mean(axis=1)


# ---- two-level bootstrap


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_one_draw_is_scipys_bootstrap(method):
    """Of skewed values, where the upper limits of the two methods lie 5 % apart."""
    values = np.random.default_rng(0).exponential(size=30)
    got = two_level_bootstrap(values, np.zeros(30), statistic=row_means, method=method.lower(), resamples=10_000)
    scipys = stats.bootstrap((values,), np.mean, method=method, n_resamples=20_000, rng=np.random.default_rng(1))
    assert got.mean == values.mean()
    assert got[1:] == pytest.approx(tuple(scipys.confidence_interval), rel=0.02)


def test_groups_are_the_samples_of_scipys_bootstrap():
    """A difference of the means of two groups: resampled within them and accelerated by both, as by scipy."""
    rng = np.random.default_rng(6)
    x, y = rng.exponential(size=12), 3 * rng.normal(size=30)

    def gap(predicted, true):
        return predicted[:, true == 0].mean(axis=1) - predicted[:, true == 1].mean(axis=1)

    group = np.repeat([0.0, 1.0], [12, 30])
    got = two_level_bootstrap(np.r_[x, y], group, groups=group, statistic=gap, resamples=10_000)
    means = lambda a, b, axis: a.mean(axis) - b.mean(axis)  # noqa: E731
    scipys = stats.bootstrap((x, y), means, n_resamples=20_000, rng=np.random.default_rng(1))
    assert got.mean == pytest.approx(x.mean() - y.mean())
    assert got[1:] == pytest.approx(tuple(scipys.confidence_interval), abs=0.03)


def test_the_acceleration_is_that_of_the_groups():
    """Mean of a set of two groups far apart: a by hand from the deviations within them, not from all items."""
    x = np.array([0.0, 0, 0, 6, 100, 101, 102, 103, 104])  # 4 and 5 items
    groups, N = np.repeat([0, 1], [4, 5]), 9
    seen = []

    def spy(tails, estimate, replicates, without):
        seen.extend(without)
        return tails

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_bca", spy)
        two_level_bootstrap(x, x, groups=groups, statistic=row_means, resamples=10)
    for sample, values in zip(seen, (x[:4], x[4:]), strict=True):
        np.testing.assert_allclose(sample, (x.sum() - values) / (N - 1))
    # deviations -1.5 x 3 and 4.5: cubes 81 and squares 27; the other group is symmetric: 0 and 10
    u3, u2 = (3 / 8) ** 3 * 81 / 4**3, (3 / 8) ** 2 * 27 / 4**2 + (4 / 8) ** 2 * 10 / 5**2
    replicates, tails = np.random.default_rng(0).normal(size=999), np.array([0.025, 0.975])
    z0 = stats.norm.ppf((replicates < 0.1).mean())
    z = z0 + stats.norm.ppf(tails)
    expected = stats.norm.cdf(z0 + z / (1 - u3 / 6 / u2**1.5 * z))
    np.testing.assert_allclose(bootstrap._bca(tails, 0.1, replicates, seen), expected)


def test_groups_of_one_item():
    values = np.arange(6.0)
    how = {"statistic": row_means, "resamples": 50}
    with pytest.warns(RuntimeWarning, match="1 of 6 items are alone in their group"):
        one = two_level_bootstrap(values, values, groups=list("aaabbc"), **how)
    assert one.low < 2.5 < one.high
    with pytest.raises(UserError, match="every group holds one item"):
        two_level_bootstrap(values, values, groups=list("abcdef"), **how)
    assert np.isnan(two_level_bootstrap([[1.0]], [2.0], **how).low)  # one item varies by itself no more


def test_one_draw_of_spearman_is_scipys_bootstrap():
    rng = np.random.default_rng(3)
    true = rng.normal(size=50)
    predicted = true + 0.5 * rng.normal(size=50)
    got = two_level_bootstrap(predicted, true, resamples=2000)
    rho = lambda a, b: stats.spearmanr(a, b).statistic  # noqa: E731
    scipys = stats.bootstrap((predicted, true), rho, paired=True, vectorized=False, n_resamples=1000, rng=rng)
    assert got.mean == pytest.approx(stats.spearmanr(predicted, true).statistic)
    assert got[1:] == pytest.approx(tuple(scipys.confidence_interval), abs=0.025)


def test_replicates_vary_as_the_pigeonhole_says():
    """Variance of the bootstrapped mean of a table: Owen's exact expression, from the table's own sums of squares."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(8, 1)) + 2 * rng.normal(size=(1, 40)) + rng.normal(size=(8, 40))
    got = two_level_bootstrap(
        table, np.zeros(40), statistic=row_means, method="percentile", level=0.6827, resamples=4000
    )
    rows, columns, mean = table.mean(1, keepdims=True), table.mean(0, keepdims=True), table.mean()
    a, b, rest = (np.mean(x**2) for x in (rows - mean, columns - mean, table - rows - columns + mean))
    assert (got.high - got.low) / 2 == pytest.approx(np.sqrt(a / 8 + b / 40 + rest / 320), rel=0.04)


def test_both_levels_count_and_groups_narrow():
    rng = np.random.default_rng(2)
    width = lambda interval: interval.high - interval.low  # noqa: E731
    draws = rng.normal(size=(10, 1)) + np.zeros((1, 30))  # only draws differ
    items = np.zeros((10, 1)) + rng.normal(size=(1, 30))  # only items differ
    how = {"statistic": row_means, "method": "percentile", "resamples": 2000}
    assert width(two_level_bootstrap(draws, np.zeros(30), **how)) == pytest.approx(
        3.92 * draws[:, 0].std() / np.sqrt(10), rel=0.07
    )
    assert width(two_level_bootstrap(items, np.zeros(30), **how)) == pytest.approx(
        3.92 * items[0].std() / np.sqrt(30), rel=0.07
    )
    competition = np.repeat([0.0, 5.0, 10.0], 10)  # all items of a competition alike: nothing varies within
    assert width(two_level_bootstrap([competition], competition, groups=competition, **how)) == 0
    assert width(two_level_bootstrap([competition], competition, **how)) > 1
    names = np.array(["x", "y", "z"]).repeat(10)
    assert width(two_level_bootstrap([competition], competition, groups=names, **how)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_two_level_bootstrap_covers(method):
    """Draws x items with effects of both; a 90 % interval holds the truth about that often or rather more."""
    rng, inside, n = np.random.default_rng(4), 0, 100
    for k in range(n):
        table = rng.normal(size=(12, 1)) + 2 * rng.normal(size=(1, 40)) + rng.normal(size=(12, 40))
        got = two_level_bootstrap(
            table, np.zeros(40), statistic=row_means, method=method, level=0.9, resamples=199, seed=k
        )
        inside += got.low < 0 < got.high
    assert 0.81 < inside / n < 0.98


def test_paired_difference_is_measured_on_the_same_replicates():
    rng = np.random.default_rng(5)
    true = rng.normal(size=60)
    a = true + rng.normal(size=(6, 60))
    b = a + 0.1 * rng.normal(size=(6, 60))  # nearly the same predictions
    gap = two_level_bootstrap(a, true, minus=b, resamples=300)
    assert gap.mean == pytest.approx(spearman_rows(a, true).mean() - spearman_rows(b, true).mean())
    alone = two_level_bootstrap(a, true, resamples=300)
    assert gap.high - gap.low < 0.5 * (alone.high - alone.low)
    assert two_level_bootstrap(a, true, minus=a, resamples=50) == (0, 0, 0)
    assert alone == two_level_bootstrap(a, true, resamples=300) != two_level_bootstrap(a, true, resamples=300, seed=1)


def test_undefined_replicates_are_counted():
    true, predicted = np.arange(5.0), np.array([[0.0, 0, 0, 0, 1]])
    with pytest.warns(RuntimeWarning, match=r"of 200 bootstrap replicates are undefined"):
        got = two_level_bootstrap(predicted, true, method="percentile", resamples=200)
    assert np.isfinite(got).all()
    constant = two_level_bootstrap(np.ones((2, 5)), true)
    assert np.isnan(constant).all()


def test_bootstrap_refuses():
    for args, kw, sentence in [
        (([[1.0, 2]], [1.0, 2, 3]), {}, r"must be \[D, N\]"),
        (([[1.0, 2]], [1.0, 2]), {"minus": np.ones((2, 2))}, "same draws of both methods, not 1 and 2"),
        ((np.ones((3, 2)), [1.0, 2]), {"minus": [1.0, 2]}, "same draws of both methods, not 3 and 1"),
        (([[1.0, 2]], [1.0, 2]), {"groups": [1]}, "one entry an item"),
        (([[1.0, 2]], [1.0, 2]), {"method": "bc"}, "did you mean 'bca'"),
        (([[1.0, 2]], [1.0, 2]), {"level": 95}, "level"),
    ]:
        with pytest.raises(UserError, match=sentence):
            two_level_bootstrap(*args, **kw)


# ---- paired differences over draws


def test_paired_power_by_simulation():
    rng = np.random.default_rng(10)
    d = 0.03 + 0.04 * rng.normal(size=(4000, 10))
    found = stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05
    assert paired_power(0.03, 0.04, 10) == pytest.approx(found.mean(), abs=0.025)
    for gap, sd, n in ((0.03, 0.04, 10), (0.5, 1, 2), (1, 1, 5)):  # t of a shifted sample is noncentral t
        edge, shift = stats.t.isf(0.025, n - 1), gap / sd * np.sqrt(n)
        two_sided = stats.nct.sf(edge, n - 1, shift) + stats.nct.cdf(-edge, n - 1, shift)
        assert paired_power(gap, sd, n) == pytest.approx(two_sided)
    assert paired_power(0.0, 0.04, 10) == pytest.approx(0.05)
    assert paired_power(-0.03, 0.04, 10) == pytest.approx(paired_power(0.03, 0.04, 10))


@pytest.mark.parametrize("n", [2, 3, 5, 10, 100])
def test_detectable_difference(n):
    gap = detectable_difference(0.02, n)
    assert paired_power(gap, 0.02, n) == pytest.approx(0.8, abs=1e-6)
    if n == 100:  # near the normal's (1.96 + .84) sd / sqrt n
        assert gap == pytest.approx(2.8016 * 0.02 / 10, rel=0.02)
    with pytest.raises(UserError, match="n >= 2 and sd > 0"):
        detectable_difference(0.0, n)
    assert detectable_difference(0.02, n, power=0.05) == 0
    for bad in ({"alpha": 0}, {"power": 1}):
        with pytest.raises(UserError, match="lies between 0 and 1"):
            detectable_difference(0.02, n, **bad)
