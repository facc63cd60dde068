"""Calibration against scipy, numerical integration and simulation."""

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.metrics import mean_pinball_loss

from aqa_lib.errors import UserError
from aqa_lib.evaluation.calibration import (
    LEVELS,
    calibration_error,
    central,
    coverage,
    discrete_crps,
    gaussian_crps,
    gaussian_nll,
    gaussian_quantiles,
    interval_coverage,
    interval_score,
    measures,
    pinball_loss,
    quantile_calibration_error,
    quantile_coverage,
    quantile_crps,
    sharpness,
    variance_error,
    variance_ratio,
    variance_spread,
)


@pytest.fixture
def gaussian():
    """Means, variances and true values drawn from just these Gaussians."""
    rng = np.random.default_rng(0)
    mean, variance = 50 + 10 * rng.normal(size=4000), rng.uniform(0.5, 9, 4000)
    return mean, variance, mean + np.sqrt(variance) * rng.normal(size=4000)


def test_coverage_is_that_of_scipys_interval(gaussian):
    mean, variance, true = gaussian
    for level, got in zip((0.5, 0.9, 0.95), coverage(mean, variance, true, (0.5, 0.9, 0.95)), strict=True):
        low, high = stats.norm.interval(level, mean, np.sqrt(variance))
        assert got == np.mean((low <= true) & (true <= high)) == interval_coverage(low, high, true)
        assert stats.binomtest(round(got * 4000), 4000, level).pvalue > 1e-3
    assert coverage([0.0], [1.0], [0.5], 0.5).shape == (1,)


def test_calibration_error_by_hand(gaussian):
    """Half the standard deviation covers 2 Phi(z/2) - 1; and at two levels, the mean of two gaps."""
    mean, variance, true = gaussian
    assert calibration_error(mean, variance, true) < 0.015
    levels = np.array(LEVELS)
    expected = 2 * stats.norm.cdf(stats.norm.ppf((1 + levels) / 2) / 2) - 1
    assert calibration_error(mean, variance / 4, true) == pytest.approx(np.mean(levels - expected), abs=0.015)
    # |z| = 0, 1, 1, 3: the levels .5 (z .67) and .9 (z 1.64) hold 1 and 3 of 4
    assert calibration_error(np.zeros(4), np.ones(4), [0, 1, -1, 3], (0.5, 0.9)) == pytest.approx((0.25 + 0.15) / 2)


def test_nll_is_scipys(gaussian):
    mean, variance, true = gaussian
    assert gaussian_nll(mean, variance, true) == pytest.approx(-stats.norm.logpdf(true, mean, np.sqrt(variance)).mean())


@pytest.mark.parametrize(("mean", "variance", "true"), [(0, 1, 0), (3, 4, 5.5), (-2, 0.25, 1), (80, 30, 60)])
def test_crps_is_its_integral(mean, variance, true):
    """Integral of (F(x) - [x >= y])^2, on both sides of y."""
    cdf = stats.norm(mean, np.sqrt(variance)).cdf
    ends = min(mean, true) - 12 * np.sqrt(variance), max(mean, true) + 12 * np.sqrt(variance)
    below = integrate.quad(lambda x: cdf(x) ** 2, ends[0], true, limit=200)[0]
    above = integrate.quad(lambda x: (1 - cdf(x)) ** 2, true, ends[1], limit=200)[0]
    assert gaussian_crps([mean], [variance], [true]) == pytest.approx(below + above, rel=1e-6)


def test_crps_is_twice_the_pinball_loss_of_all_quantiles(gaussian):
    mean, variance, true = (v[:50] for v in gaussian)
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = stats.norm.ppf(levels, mean[:, None], np.sqrt(variance)[:, None])
    assert gaussian_crps(mean, variance, true) == pytest.approx(
        2 * pinball_loss(quantiles, true, levels).mean(), rel=1e-3
    )


@pytest.mark.parametrize("score", [gaussian_nll, gaussian_crps])
def test_the_true_variance_scores_best(gaussian, score):
    mean, variance, true = gaussian
    best = score(mean, variance, true)
    assert all(score(mean, k * variance, true) > best for k in (0.5, 0.8, 1.25, 2))
    assert score(mean + 0.5, variance, true) > best


def test_predictions_without_variance():
    mean, none, true = [1.0, 2.0], [0.0, 0.0], [1.0, 5.0]
    assert gaussian_crps(mean, none, true) == 1.5  # mean of |y - m|
    assert gaussian_crps(mean, [1e-12, 1e-12], true) == pytest.approx(1.5)
    assert gaussian_nll(mean, none, [2.0, 5.0]) == np.inf and gaussian_nll(mean, none, mean) == -np.inf
    np.testing.assert_array_equal(coverage(mean, none, true, (0.5, 0.9)), [0.5, 0.5])


def test_what_is_nan_shows():
    for at in range(3):
        given = [np.ones(4) for _ in range(3)]
        given[at][2] = np.nan
        assert all(np.isnan(f(*given)) for f in (gaussian_nll, gaussian_crps, calibration_error, interval_coverage))
        assert np.isnan(coverage(*given)).all()
    quantiles = np.array([[1.0, np.nan], [2.0, 3.0]])
    for got in (quantile_coverage(quantiles, [1, 2]), pinball_loss(quantiles, [1, 2], [0.2, 0.8])):
        assert np.isnan(got).tolist() == [False, True]
    assert np.isnan(quantile_coverage([[1.0], [2.0]], [1, np.nan])).all()


def test_pinball_loss_is_scikit_learns():
    rng = np.random.default_rng(1)
    quantiles, true, levels = rng.normal(size=(30, 3)), rng.normal(size=30), (0.1, 0.5, 0.9)
    got = pinball_loss(quantiles, true, levels)
    np.testing.assert_allclose(got, [mean_pinball_loss(true, quantiles[:, i], alpha=p) for i, p in enumerate(levels)])
    assert pinball_loss([[2.0], [2.0]], [5.0, 1.0], 0.9) == pytest.approx((0.9 * 3 + 0.1 * 1) / 2)


def test_the_right_quantile_has_the_least_loss_and_covers_its_level():
    true, levels = np.random.default_rng(2).gamma(2, size=20_000), np.array([0.05, 0.5, 0.9])
    right = np.broadcast_to(stats.gamma(2).ppf(levels), (len(true), 3))
    np.testing.assert_allclose(quantile_coverage(right, true), levels, atol=0.012)
    for shift in (-0.2, 0.2):
        assert (pinball_loss(right + shift, true, levels) > pinball_loss(right, true, levels)).all()
    assert quantile_coverage([[1.0], [2.0]], [1.0, 3.0]) == [0.5]  # equal is at or below


def test_intervals_by_hand():
    assert interval_coverage([0, 0, 0, -np.inf], [1, 1, 1, np.inf], [0, 1, 1.5, 9]) == 0.75


def test_quantiles_of_gaussians_are_scipys(gaussian):
    mean, variance, true = gaussian
    quantiles = gaussian_quantiles(mean, variance)
    np.testing.assert_allclose(quantiles, stats.norm.ppf(np.array(LEVELS), mean[:, None], np.sqrt(variance)[:, None]))
    low, high = central(quantiles, 0.9)
    np.testing.assert_allclose((low, high), stats.norm.interval(0.9, mean, np.sqrt(variance)))
    assert interval_coverage(low, high, true) == coverage(mean, variance, true, 0.9)[0]


def test_sharpness_and_interval_score_by_hand():
    """Widths 2 and 4; at level .8 what lies outside counts tenfold: 0, and 1.5 below."""
    assert sharpness([0, 10], [2, 14]) == 3 and sharpness([0, -np.inf], [1, 1]) == np.inf
    assert interval_score([0, 10], [2, 14], [2, 8.5], 0.8) == pytest.approx((2 + 4 + 10 * 1.5) / 2)
    assert interval_score([0, 10], [2, 14], [3, 12], 0.8) == pytest.approx((2 + 10 * 1 + 4) / 2)


def test_interval_score_is_that_of_the_two_pinball_losses(gaussian):
    """2 / a times the sum of the pinball losses at a / 2 and 1 - a / 2, here scikit-learn's; and its closed form."""
    mean, variance, true = gaussian
    low, high = stats.norm.interval(0.9, mean, np.sqrt(variance))
    losses = mean_pinball_loss(true, low, alpha=0.05) + mean_pinball_loss(true, high, alpha=0.95)
    assert interval_score(low, high, true, 0.9) == pytest.approx(losses * 2 / 0.1)
    # of N(0, 1): 2 z + 4 / a (phi(z) - z (1 - Phi(z))) = 4 phi(z) / a
    standard = stats.norm.rvs(size=200_000, random_state=0)
    z = stats.norm.ppf(0.95)
    got = interval_score(np.full(200_000, -z), np.full(200_000, z), standard, 0.9)
    assert got == pytest.approx(4 * stats.norm.pdf(z) / 0.1, rel=0.01)
    for wrong in (0.8, 1.25):
        assert interval_score(wrong * low, wrong * high, true, 0.9) > interval_score(low, high, true, 0.9)


def test_crps_of_few_quantiles_is_near_the_closed_form(gaussian):
    mean, variance, true = gaussian
    quantiles = gaussian_quantiles(mean, variance)
    exact = gaussian_crps(mean, variance, true)
    assert quantile_crps(quantiles, true) == pytest.approx(exact, rel=0.01)
    assert 2 * pinball_loss(quantiles, true, LEVELS).mean() > 1.03 * exact  # why it is no mean
    fine = (np.arange(2000) + 0.5) / 2000
    many = gaussian_quantiles(mean[:50], variance[:50], fine)
    assert quantile_crps(many, true[:50], fine) == pytest.approx(gaussian_crps(*(v[:50] for v in gaussian)), rel=1e-3)


def test_crps_of_discrete_distributions():
    """By hand: 1 with chance 1/4, else 3, truth 2: E|X - y| = 1, E|X - X'| / 2 = 3/8; samples against all pairs."""
    assert discrete_crps([3.0, 1.0], [2.0], [[0.75, 0.25]]) == pytest.approx(1 - 3 / 8)
    assert discrete_crps([[4.0], [7.0]], [1.0, 9.0]) == (3 + 2) / 2  # one sample: its absolute error
    rng = np.random.default_rng(3)
    samples, true = rng.normal(size=(5, 40)), rng.normal(size=5)
    apart = np.abs(samples[:, :, None] - samples[:, None]).mean((1, 2))
    expected = np.abs(samples - true[:, None]).mean(1) - apart / 2
    assert discrete_crps(samples, true) == pytest.approx(expected.mean())
    quantiles = stats.norm.ppf((np.arange(5000) + 0.5) / 5000)[None]
    assert discrete_crps(quantiles, [0.7]) == pytest.approx(gaussian_crps([0.0], [1.0], [0.7]), rel=1e-3)


def test_expected_calibration_error_of_quantiles(gaussian):
    """Near 0 where they are true; of means that are one standard deviation too low Phi^-1 gives it; by hand."""
    mean, variance, true = gaussian
    assert quantile_calibration_error(gaussian_quantiles(mean, variance), true) < 0.015
    shifted = gaussian_quantiles(mean - np.sqrt(variance), variance)
    levels = np.array(LEVELS)
    expected = np.mean(levels - stats.norm.cdf(stats.norm.ppf(levels) - 1))
    assert quantile_calibration_error(shifted, true) == pytest.approx(expected, abs=0.015)
    assert quantile_calibration_error([[0.0, 1.0], [0.0, 1.0]], [0.5, 2.0], (0.25, 0.75)) == pytest.approx(0.25)


def test_the_variance_beside_what_it_should_tell(gaussian):
    mean, variance, true = gaussian
    error = (true - mean) ** 2
    assert variance_ratio(mean, variance, true) == pytest.approx(variance.mean() / error.mean())
    assert variance_ratio(mean, 0.01 * variance, true) == pytest.approx(0.01, rel=0.1)
    assert variance_error(mean, variance, true) == pytest.approx(stats.spearmanr(variance, error)[0])
    spread = np.where(np.arange(4000) % 3, np.sqrt(variance) + 0.1 * error, np.nan)
    known = ~np.isnan(spread)
    assert variance_spread(variance, spread) == pytest.approx(stats.spearmanr(variance[known], spread[known])[0])
    assert np.isnan(variance_error(mean, np.ones(4000), true))  # a constant says nothing
    assert np.isnan(variance_spread([1.0, 2.0, 3.0], [1.0, np.nan, 2.0]))
    assert np.isnan(variance_ratio(mean, variance, mean))


def test_measures_are_of_quantiles_where_there_are_any(gaussian):
    """Of a skewed distribution the Gaussian ones are miscalibrated, its own quantiles are not."""
    mean, variance, true = gaussian
    found = measures(mean, variance, true)
    low, high = stats.norm.interval(0.9, mean, np.sqrt(variance))
    assert found["nll"] == gaussian_nll(mean, variance, true) and found["crps"] == gaussian_crps(mean, variance, true)
    assert found["coverage_90"] == np.mean((low <= true) & (true <= high))
    assert found["sharpness_90"] == pytest.approx(np.mean(high - low))
    assert found["interval_90"] == pytest.approx(interval_score(low, high, true, 0.9))
    true = mean + stats.expon.rvs(size=4000, random_state=4) - 1  # mean 0, variance 1
    own = mean[:, None] + stats.expon.ppf(LEVELS) - 1
    assert own.shape == (4000, 19)
    skewed, wrong = measures(mean, np.ones(4000), true, own), measures(mean, np.ones(4000), true)
    assert set(wrong) - set(skewed) == {"nll"} and skewed["variance_ratio"] == wrong["variance_ratio"]
    assert skewed["ece"] < 0.015 < 0.06 < wrong["ece"] and abs(skewed["coverage_90"] - 0.9) < 0.015
    assert skewed["crps"] < wrong["crps"] and skewed["interval_90"] < wrong["interval_90"]


def test_more_that_makes_no_sense():
    with pytest.raises(UserError, match="low end is at most its high one"):
        sharpness([1.0], [0.0])
    with pytest.raises(UserError, match=r"no central interval of level 0\.85"):
        central(np.zeros((2, 19)), 0.85)
    with pytest.raises(UserError, match="probabilities are at least 0 and sum to 1"):
        discrete_crps([1.0, 2.0], [1.0], [[0.5, 0.6]])
    with pytest.raises(UserError, match=r"must be \[N, S\]"):
        discrete_crps([1.0, 2.0], [1.0, 2.0, 3.0], [[0.5, 0.5]])
    assert np.isnan([sharpness([np.nan], [1.0]), interval_score([0.0], [1.0], [np.nan], 0.9)]).all()


def test_what_makes_no_sense():
    with pytest.raises(UserError, match="a variance is at least 0, but one of the predictions has -1"):
        gaussian_nll([0.0], [-1.0], [0.0])
    for bad in (([0.0, 1.0], [1.0], [0.0]), ([], [], []), ([[0.0]], [[1.0]], [[0.0]])):
        with pytest.raises(UserError, match="vectors of one length"):
            gaussian_crps(*bad)
    for levels in ((0.5, 1.0), (), (0, 0.5), (95,)):
        with pytest.raises(UserError, match="levels lie between 0 and 1"):
            coverage([0.0], [1.0], [0.0], levels)
    with pytest.raises(UserError, match="a level each, but 2 have 1 levels"):
        pinball_loss([[0.0, 1.0]], [0.5], [0.5])
    with pytest.raises(UserError, match=r"must be \[N, Q\] and \[N\]"):
        quantile_coverage([0.0, 1.0], [0.5, 0.5])
