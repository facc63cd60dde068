"""The AUC within items against counting pairs by hand, scikit-learn, and planted faults."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from aqa_lib.errors import UserError
from aqa_lib.evaluation.faults import against_typical, auc_within, spearman_within


def test_auc_by_hand():
    values = [[3, 1, 2, 0], [1, 1, 2, 0], [5, 5, 5, 5], [1, 2, 3, 4], [1, 2, 3, 4]]
    faulty = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    # second: pairs (1, 1) half, (1, 0), (2, 1), (2, 0) won: 3.5 of 4; the last two have nothing to compare
    np.testing.assert_allclose(auc_within(values, faulty), [1, 0.875, 0.5, np.nan, np.nan])


def test_auc_is_that_of_scikit_learn_and_does_not_compare_items():
    rng = np.random.default_rng(0)
    values, faulty = rng.normal(size=(30, 9)).round(1), rng.random((30, 9)) < 0.3
    mixed = faulty.any(1) & ~faulty.all(1)
    expected = [roc_auc_score(f, v) for v, f in zip(values[mixed], faulty[mixed], strict=True)]
    np.testing.assert_allclose(auc_within(values, faulty)[mixed], expected)
    moved = values + 100 * rng.normal(size=(30, 1))  # one item far above another
    np.testing.assert_allclose(auc_within(moved, faulty)[mixed], expected, atol=1e-9)


def test_faults_that_raise_the_value_are_found_and_chance_is_not():
    rng = np.random.default_rng(1)
    execution = rng.normal(size=(800, 10))
    faulty = execution < -1.5
    assert np.nanmean(auc_within(rng.normal(size=(800, 10)), faulty)) == pytest.approx(0.5, abs=0.03)
    assert np.nanmean(auc_within(-execution, faulty)) == 1.0


def test_spearman_within_by_scipy():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 12, 7))
    a[3] = 4.0
    found = spearman_within(a, b)
    assert np.isnan(found[3])
    for i in (0, 5, 11):
        assert found[i] == pytest.approx(spearmanr(a[i], b[i])[0])


def test_what_is_typical_of_a_place_is_taken_away():
    values = np.array([[1.0, 10.0], [3.0, 10.0], [2.0, 40.0]])
    np.testing.assert_allclose(against_typical(values), [[-1, -10], [1, -10], [0, 20]])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"two arrays \[N, T\], not \(2, 3\) and \(3, 2\)"):
        auc_within(np.zeros((2, 3)), np.zeros((3, 2), bool))
