"""Linear SVR against the quadratic programme solved by another library, and its folds by hand."""

import numpy as np
from helpers import fitted

from aqa_lib import methods
from aqa_lib.methods.svr import folds
from benchmarks.plain.svr import Peer


def world(seed, labelled=11):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, size=(20, 3, 3)).astype("f4")
    y = 60 + x.mean(1) @ np.array([8.0, -5.0, 3.0]) + 4 * rng.normal(size=20)
    y[labelled:] = np.nan
    return x, y


def test_predictions_are_those_of_the_quadratic_programme():
    """C is chosen among six by hand-dealt folds; two worlds choose two different ones."""
    method, chosen = methods.get("svr"), set()
    for seed in (0, 3):
        x, y = world(seed)
        peer = Peer(folds=3)
        expected = peer.fit(x, y)(x)
        settings = method.resolve({"folds": 3})
        assert np.allclose(fitted("svr", x, y, settings)(x), expected, rtol=0, atol=0.02), peer.C
        chosen.add(peer.C)
    assert len(chosen) == 2


def test_folds_span_the_scores_also_of_few_labels():
    assert folds(np.array([5.0, 1.0, 3.0, 2.0, 4.0]), 2).tolist() == [0, 0, 0, 1, 1]
    assert sorted(folds(np.array([7.0, 7.0, 6.0]), 5)) == [0, 1, 2]


def test_units_of_the_scores_and_features_do_not_matter():
    x, y = world(1)
    settings = methods.get("svr").resolve({})
    a, b = fitted("svr", x, y, settings)(x), fitted("svr", 8 * x, 100 * y - 7, settings)(8 * x)
    assert np.allclose(100 * a - 7, b, rtol=1e-6)


def test_equal_scores_are_predicted():
    x, y = world(2)
    y[:11] = 4.0
    assert np.allclose(fitted("svr", x, y, methods.get("svr").resolve({}))(x), 4.0)
