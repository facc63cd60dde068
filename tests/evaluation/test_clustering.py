"""Measures of partitions against cases worked by hand, brute force and what chance gives."""

import warnings
from itertools import permutations

import numpy as np
import pytest

from aqa_lib.errors import UserError
from aqa_lib.evaluation.clustering import adjusted_rand, hungarian_accuracy, nmi_arithmetic, nmi_geometric, purity

MEASURES = (nmi_arithmetic, nmi_geometric, adjusted_rand, purity, hungarian_accuracy)


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_measures_by_hand():
    """Classes of 3 and 3, clusters of 2, 3 and 1: n = [[2, 1, 0], [0, 2, 1]]."""
    true, found = [0, 0, 0, 1, 1, 1], [5, 5, 7, 7, 7, 9]
    H_true, H_found = np.log(2), np.log(6) - (2 * np.log(2) + 3 * np.log(3)) / 6
    joint = np.log(6) - (2 * np.log(2) + 2 * np.log(2)) / 6  # entropy of (2, 1, 2, 1) / 6
    information = H_true + H_found - joint
    assert nmi_arithmetic(true, found) == pytest.approx(information / ((H_true + H_found) / 2))
    assert nmi_geometric(true, found) == pytest.approx(information / np.sqrt(H_true * H_found))
    # pairs together in both: 1 + 1; in the classes 3 + 3, in the clusters 1 + 3; of 15: expected 6 x 4 / 15
    assert adjusted_rand(true, found) == pytest.approx((2 - 24 / 15) / ((6 + 4) / 2 - 24 / 15))
    assert purity(true, found) == 5 / 6  # 2 + 2 + 1
    assert hungarian_accuracy(true, found) == 4 / 6  # 5 -> 0 and 7 -> 1; the third cluster has no class left


def test_the_means_of_entropies_by_hand():
    """Four items alone against two classes of two: I = log 2, entropies log 2 and log 4."""
    true, found = [0, 0, 1, 1], [0, 1, 2, 3]
    assert nmi_arithmetic(true, found) == pytest.approx(2 / 3)
    assert nmi_geometric(true, found) == pytest.approx(1 / np.sqrt(2))


def test_names_of_clusters_do_not_matter():
    true = np.repeat([0, 1, 2], [3, 4, 5])
    for measure in MEASURES:
        assert measure(true, (true + 1) % 3) == pytest.approx(1)
        assert measure(true, true + 40) == pytest.approx(1)


def test_one_cluster_and_items_alone():
    true, one, alone = np.repeat([0, 1, 2], [2, 3, 5]), np.zeros(10, int), np.arange(10)
    assert [m(true, one) for m in MEASURES] == pytest.approx([0, 0, 0, 0.5, 0.5])  # the largest class
    assert [m(one, one) for m in MEASURES] == [1, 1, 1, 1, 1]
    assert [m(alone, alone[::-1]) for m in MEASURES] == pytest.approx([1, 1, 1, 1, 1])
    assert adjusted_rand(true, alone) == pytest.approx(0, abs=1e-12)
    assert purity(true, alone) == 1 and hungarian_accuracy(true, alone) == 0.3  # one item a class
    assert [m([4], [2]) for m in MEASURES] == [1, 1, 1, 1, 1]


def test_ignored_items_are_left_out():
    true, found = np.array([0, 0, 1, 1, -1, 1, -1]), np.array([3, 3, 4, 3, 4, -1, -1])
    for measure in MEASURES:
        assert measure(true, found) == measure(true[:4], found[:4]) != measure(true[:3], found[:3])
    for nothing in ([-1, 2], []):
        for measure in MEASURES:
            with pytest.warns(RuntimeWarning, match="cannot be compared"):
                assert np.isnan(measure(np.array([1, -1][: len(nothing)], int), np.array(nothing, int)))


def test_assignment_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        true, found = rng.integers(0, 4, (2, 30))
        best = max(np.mean(np.array(p)[found] == true) for p in permutations(range(4)))
        assert hungarian_accuracy(true, found) == pytest.approx(best)
        assert nmi_arithmetic(true, found) <= nmi_geometric(true, found) + 1e-12
        assert hungarian_accuracy(true, found) <= purity(true, found)


def test_chance_gives_an_adjusted_rand_index_of_zero():
    rng = np.random.default_rng(1)
    true = np.repeat(np.arange(5), 20)
    found = [adjusted_rand(true, rng.integers(0, 7, 100)) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / np.sqrt(300))


@pytest.mark.parametrize("bad", [([0, 1], [0]), ([0.0, 1.0], [0, 1]), (["a", "b"], [0, 1]), ([[0, 1]], [[0, 1]])])
def test_what_is_no_partition(bad):
    for measure in MEASURES:
        with pytest.raises(UserError, match="vectors of integers of one length|takes numbers"):
            measure(*bad)
