"""Calibration against scipy, numerical integration and simulation."""

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.metrics import mean_pinball_loss

from aqa_lib.errors import UserError
from aqa_lib.evaluation.calibration import (
    LEVELS,
    calibration_error,
    coverage,
    gaussian_crps,
    gaussian_nll,
    interval_coverage,
    pinball_loss,
    quantile_coverage,
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
