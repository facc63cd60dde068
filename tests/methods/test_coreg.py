"""COREG against a word-for-word version with scikit-learn's regressor, and a round worked out by hand."""

import numpy as np
import pytest
from helpers import fitted
from scipy.spatial.distance import cdist

from aqa_lib import chance, methods
from aqa_lib.errors import UserError
from aqa_lib.methods.coreg import confidence, cotrain, distances
from benchmarks.plain.coreg import Peer

METHOD = methods.get("coreg")


def world(seed=0, n=40, labelled=15, D=4):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, size=(n, 3, D)).astype("f4")
    y = 50 + 10 * x.mean(1) @ rng.normal(size=D) + rng.normal(size=n)
    y[rng.permutation(n)[labelled:]] = np.nan
    return x, y


@pytest.mark.parametrize(
    "settings",
    [
        {"pool": 8, "iterations": 8},
        {"pool": 25, "iterations": 100},
        {"k": 2, "p1": 1, "p2": 3, "pool": 7, "iterations": 9, "seed": 5},
    ],
)
def test_it_picks_and_predicts_as_the_words_say(settings):
    x, y = world(settings.get("seed", 0))
    full = METHOD.resolve(settings)
    U = np.flatnonzero(np.isnan(y))
    order = U[chance.permutation(chance.key(full["seed"], "coreg", "pool"), len(U))]
    peer = Peer(**{name: full[name] for name in ("k", "p1", "p2", "iterations", "pool")})
    expected = peer.fit(x, y, order)
    assert len(peer.picked) > 6

    known = np.flatnonzero(np.isfinite(y))
    items, v = np.concatenate([known, order]), x.mean(1, dtype="f8")[np.concatenate([known, order])]
    between = [distances(v, v, full[p]) for p in ("p1", "p2")]
    sets = cotrain(between, y[known], full["k"], full["iterations"], full["pool"])
    for j in range(2):  # what regressor j has picked stands in the other one's set
        places, labels = (part[len(known) :] for part in sets[1 - j])
        theirs = [(u, label) for _, by, u, label in peer.picked if by == j]
        assert items[places].tolist() == [u for u, _ in theirs]
        assert np.allclose(labels, [label for _, label in theirs], rtol=1e-12)
    assert np.allclose(fitted("coreg", x, y, full)(x), expected(x), rtol=1e-10)


def test_a_round_by_hand():
    """On a line, k = 2: labels 0, 4, 10 at 0, 1, 2.5, a candidate at 0.9 and one far away at 9."""
    at = np.array([0.0, 1.0, 2.5, 0.9, 9.0])[:, None]
    d, labels = distances(at, at, 1), np.array([0.0, 4.0, 10.0])
    guess, delta = confidence(d, np.arange(3), labels, np.array([3, 4]), 2)
    # u = 0.9: Omega = {1, 0}, yhat 2. Of 1: h = (4 + 0) / 2 = 2, with u (4 + 2) / 2 = 3: (4 - 2)^2 - (4 - 3)^2 = 3.
    # Of 0: h = (0 + 4) / 2 = 2, with u (0 + 2) / 2 = 1: (0 - 2)^2 - (0 - 1)^2 = 3
    assert guess[0] == 2 and delta[0] == 6
    # u = 9: Omega = {2.5, 1}, yhat 7, too far to be anybody's neighbour
    assert guess[1] == 7 and delta[1] == 0


def test_each_teaches_the_other_and_it_stops_when_nobody_gains():
    at = np.array([0.0, 1.0, 2.5, 0.9, 9.0])[:, None]
    d = distances(at, at, 1)
    first, second = cotrain([d, d], np.array([0.0, 4.0, 10.0]), 2, 100, 2)
    # both would pick 0.9, the first one does; then 9 is nobody's neighbour, for the second gains nothing either
    assert second[0].tolist() == [0, 1, 2, 3] and second[1].tolist() == [0, 4, 10, 2]
    assert first[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("p", [1, 2, 3, 4, 5, 6, 7])
def test_distances_are_scipys(p):
    a, b = np.random.default_rng(p).normal(size=(2, 6, 5))
    assert np.allclose(distances(a, b, p) ** (1 / p), cdist(a, b, "minkowski", p=p), rtol=1e-12)


def test_chance_is_the_seeds_alone():
    x, y = world(n=80, labelled=15)
    few = {"pool": 5, "iterations": 5}
    fits = [fitted("coreg", x, y, METHOD.resolve({"seed": s, **few}))(x) for s in (0, 0, 1)]
    assert np.array_equal(fits[0], fits[1]) and not np.array_equal(fits[0], fits[2])


def test_without_unlabelled_videos_it_is_the_mean_of_two_regressors():
    x, y = world(n=15, labelled=15)
    expected = Peer().fit(x, y)(x)
    assert np.allclose(fitted("coreg", x, y, METHOD.resolve({}))(x), expected, rtol=1e-12)


def test_more_neighbours_than_labels_is_one_sentence():
    x, y = world(labelled=4)
    with pytest.raises(UserError, match="k = 5 is more than the 4 labels"):
        fitted("coreg", x, y, METHOD.resolve({"k": 5}))
