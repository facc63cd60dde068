"""Rejection curves by hand, against permutations, and in closed form."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from aqa_lib.errors import UserError
from aqa_lib.evaluation.rejection import rejection_area, rejection_correlation, rejection_curve, rejection_index


def test_a_curve_by_hand():
    shares, errors = rejection_curve([3.0, 1, 2, 6], [0.1, 0.2, 0.3, 0.4])
    assert shares.tolist() == [0.25, 0.5, 0.75, 1] and errors.tolist() == [3, 2, 2, 3]
    assert rejection_area([3.0, 1, 2, 6], [0.1, 0.2, 0.3, 0.4]) == 2.5


def test_equals_are_in_no_order():
    """The mean over all orders of items of equal uncertainty."""
    error, uncertainty = np.array([4.0, 1, 7, 2, 5]), np.array([1.0, 0, 1, 1, 2])
    orders = [[1, *middle, 4] for middle in permutations([0, 2, 3])]
    by_hand = np.mean([np.cumsum(error[order]) / np.arange(1, 6) for order in orders], axis=0)
    np.testing.assert_allclose(rejection_curve(error, uncertainty)[1], by_hand)
    np.testing.assert_allclose(rejection_curve(error, np.ones(5))[1], error.mean())


def test_the_index_in_closed_form():
    """Errors 1 .. n: by themselves the first k have mean (k + 1) / 2, an area of (n + 3) / 4; at random (n + 1) / 2."""
    n, error = 50, np.random.default_rng(0).permutation(50) + 1.0
    assert rejection_area(error, error) == pytest.approx((n + 3) / 4)
    assert rejection_index(error, error**3) == pytest.approx(1)
    assert rejection_index(error, np.ones(n)) == pytest.approx(0)
    assert rejection_index(error, -error) == pytest.approx(-1)  # errors in reverse: as far on the other side
    chance = [rejection_index(error, np.random.default_rng(k).random(n)) for k in range(400)]
    assert abs(np.mean(chance)) < 3 * np.std(chance) / 20
    assert np.isnan(rejection_index([2.0, 2.0], [1.0, 2.0]))


def test_rank_correlation_of_what_is_kept():
    rng = np.random.default_rng(1)
    true, variance = rng.normal(size=60), rng.uniform(0.1, 3, 60)
    predicted = true + np.sqrt(variance) * rng.normal(size=60)
    shares, rhos = rejection_correlation(predicted, true, variance, (0.2, 0.5, 1))
    order = np.argsort(variance)
    assert shares.tolist() == [0.2, 0.5, 1]
    for share, rho in zip(shares, rhos, strict=True):
        kept = order[: round(share * 60)]
        assert rho == pytest.approx(spearmanr(predicted[kept], true[kept])[0])
    assert rhos[0] > rhos[-1]
    shares, rhos = rejection_correlation(predicted, true, np.ones(60), (0.2, 0.5))  # all are as uncertain
    assert shares.tolist() == [1, 1] and rhos == pytest.approx(spearmanr(predicted, true)[0])
    assert np.isnan(rejection_correlation(predicted, true, variance, 1 / 60)[1]).all()


def test_what_is_nan_shows_and_what_makes_no_sense():
    nan = [1.0, np.nan, 2.0]
    for error, uncertainty in ((nan, [1.0, 2, 3]), ([1.0, 2, 3], nan)):
        assert np.isnan(rejection_curve(error, uncertainty)[1]).all()
        assert np.isnan(rejection_index(error, uncertainty))
    assert np.isnan(rejection_correlation([1.0, 2, 3], [1.0, 2, 3], nan, 0.5)[1]).all()
    with pytest.raises(UserError, match="vectors of one length"):
        rejection_curve([1.0], [1.0, 2.0])
    with pytest.raises(UserError, match="shares that are kept lie above 0"):
        rejection_correlation([1.0], [1.0], [1.0], (0, 1))
