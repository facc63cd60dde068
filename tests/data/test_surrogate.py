"""What the surrogate says of its dives: the chain of execution, the judges, the features."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom, kurtosis, norm
from surrogate_worlds import large, world

from aqa_lib.data import dives, load, resolve
from aqa_lib.data.readers import surrogate
from aqa_lib.data.splits import official
from aqa_lib.evaluation import spearman


@pytest.mark.parametrize("size, shape", [("quick", (360, 10, 64)), ("small", (640, 10, 256))])
def test_sizes(size, shape):
    s = world(size=size)
    assert s.features.shape == shape and s.features.dtype == np.float32
    split = official(s)
    assert len(split.train) == surrogate.SIZES[size]["n_train"] and len(split.test) == shape[0] - len(split.train)
    assert s.surrogate and s.meta["options"] == resolve("surrogate", {"size": size})
    assert s.truth["execution"].shape == shape[:2] and s.truth["nuisance"].shape[0] == len(s)
    assert all(len(v) == len(s) for k, v in s.truth.items() if k != "stage")
    assert {"id", "split", "event", "athlete", "class", "difficulty", "score", "labelable"} <= set(s.table)


def test_paper_size_fits_in_memory():
    tracemalloc.start()
    s = load("surrogate", size="paper")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert s.features.shape == (1412, 10, 1024)
    assert peak < 300 * 2**20  # the features are 55 of them


@pytest.mark.parametrize("t, stages", [(2, None), (7, 3), (12, 12), (30, 1)])
def test_any_number_of_segments_in_stages(t, stages):
    s = world(T=t, stages=stages, D=3)
    q, stage = s.truth["execution"], s.truth["stage"]
    assert s.features.shape[1] == len(stage) == t
    assert sorted(set(stage)) == list(range(stages or t)) and (np.diff(stage) >= 0).all()
    for segment in range(1, t):  # segments of one stage share its execution, others do not
        same = stage[segment] == stage[segment - 1]
        assert np.array_equal(q[:, segment], q[:, segment - 1]) == same


# -- the execution chain


@pytest.mark.slow
@pytest.mark.parametrize("rho, skill", [(0.0, 0.0), (0.6, 0.3), (0.9, 0.0), (0.0, 0.5), (0.0, 1.0)])
def test_stages_correlate_as_the_theory_says(rho, skill):
    s = large(rho=rho, skill=skill, ev_skill=0.0)
    q = s.truth["execution"]
    lag = np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    theory = skill + (1 - skill) * np.where(lag == 0, 1.0, float(rho) ** lag)
    # athletes repeat, so skill has some 800 independent values; 4 standard errors
    assert np.abs(np.corrcoef(q.T) - theory).max() < 0.12
    assert np.abs(q.std(axis=0) - 1).max() < 0.1
    off = np.corrcoef(q.T)[lag > 0]
    if rho == skill == 0:
        assert abs(off.mean()) < 4 / np.sqrt(45 * 4000) and np.abs(off).max() < 4.5 / np.sqrt(4000)


def test_the_field_has_its_share_of_skill():
    s = large(ev_skill=0.4, competitions=200)
    means = [s.truth["skill"][s.groups == g].mean() for g in np.unique(s.groups)]
    counts = np.bincount(s.truth["competition"])
    counts = counts[counts > 0]
    # between competitions: the field itself and the mean of the athletes (each dives about five times)
    athletes = np.maximum(2, counts // 5)
    assert np.average(np.square(means), weights=counts) == pytest.approx(
        np.average(0.4 + 0.6 / athletes, weights=counts), abs=0.12
    )


def test_early_mistakes_reach_the_quality_only_through_the_chain():
    free, chained = large(rho=0.0, skill=0.0, worst=0.0), large(rho=0.9, skill=0.0, worst=0.0)
    weights = 1 + 3 * np.linspace(0, 1, 10) ** 2
    for s, rho in ((free, 0.0), (chained, 0.9)):
        covariance = float(rho) ** np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
        theory = covariance[0] @ weights / np.sqrt(weights @ covariance @ weights)
        first = np.corrcoef(s.truth["execution"][:, 0], s.truth["quality"])[0, 1]
        assert first == pytest.approx(theory, abs=0.05)


# -- judges


def test_the_diving_rule_by_hand():
    awards = np.array([[7.0, 7.5, 6.5, 8.0, 5.0, 7.0, 9.0], [0.0, 0, 0, 10, 10, 10, 10]])
    # sorted 5 6.5 |7 7 7.5| 8 9 -> 21.5 x 3.2; 0 0 |0 10 10| 10 10 -> 20 x 1.5
    np.testing.assert_array_equal(dives.diving_rule(awards, np.array([3.2, 1.5])), [68.8, 30.0])


def test_awards_are_half_points_and_scores_follow_the_rule():
    s = world()
    assert s.judges.shape == (360, 7) and s.judges.min() >= 0 and s.judges.max() <= 10
    assert (np.mod(2 * s.judges, 1) == 0).all()
    assert (s.meta["judging"], s.meta["awards"]) == ("middle", [0, 10, 0.5])
    by_hand = [sum(sorted(j)[2:5]) * d for j, d in zip(s.judges, s.difficulty, strict=True)]
    np.testing.assert_allclose(s.scores, by_hand, atol=0.005)
    assert s.difficulty.min() >= 1.5 and s.difficulty.max() <= 4.1


def test_marginals_are_those_of_the_annotated_dives():
    sets = [world(size="paper", D=1, seed=seed) for seed in range(6)]

    def mean(f):
        return np.mean([f(s) for s in sets])

    def between(values, groups):
        means = {g: values[groups == g].mean() for g in np.unique(groups)}
        return np.var([means[g] for g in groups]) / np.var(values)

    # measured on the 1412 public annotations: the second number of each line
    assert mean(lambda s: s.judges.mean()) == pytest.approx(7.12, abs=0.1)
    assert mean(lambda s: s.judges.mean(axis=1).std()) == pytest.approx(1.39, abs=0.1)
    assert mean(lambda s: s.judges.std(axis=1, ddof=1).mean()) == pytest.approx(0.357, abs=0.05)
    assert mean(lambda s: s.difficulty.mean()) == pytest.approx(3.13, abs=0.1)
    assert mean(lambda s: s.difficulty.std()) == pytest.approx(0.42, abs=0.06)
    assert mean(lambda s: s.scores.mean()) == pytest.approx(67.0, abs=2)
    assert mean(lambda s: s.scores.std()) == pytest.approx(16.9, abs=1.5)
    assert mean(lambda s: between(s.scores, s.groups)) == pytest.approx(0.417, abs=0.1)
    assert mean(lambda s: between(s.judges.mean(axis=1), s.groups)) == pytest.approx(0.166, abs=0.06)
    # two panels of three judges agree at .974, one judge ranks the final scores at .976-.981
    assert mean(lambda s: spearman(s.judges[:, 0] * s.difficulty, s.scores)) == pytest.approx(0.978, abs=0.006)


def test_judges_disagree_most_over_middling_dives():
    s = large(judge=1.0, het=1.0)
    level, spread = s.truth["level"], s.judges.std(axis=1, ddof=1)
    middle, top = (level > 4) & (level < 5.5), level > 8.5
    assert spread[middle].mean() > 1.6 * spread[top].mean()
    even = large(het=0.0)
    np.testing.assert_allclose(even.truth["judge_sd"], 0.25)
    agreed = large(judge=0.0)
    assert (agreed.judges == agreed.judges[:, :1]).all() and (agreed.truth["score_sd"] == 0).all()


def test_expected_score_is_the_mean_over_fresh_panels():
    """Against the exact mean of order statistics 3-5 of seven independent, rounded normal awards."""
    s = world()
    spread = np.hypot(s.truth["judge_sd"], dives.SEAT_BIAS)[:, None]
    grid = np.arange(0.5, 10.01, 0.5)
    above = norm.sf((grid - 0.25 - s.truth["level"][:, None]) / spread)  # P(an award reaches the grid)
    order = sum(0.5 * binom.sf(7 - rank, 7, above).sum(axis=1) for rank in (3, 4, 5))  # E of the rank-th
    error = s.truth["expected"] - order * s.difficulty
    standard = s.truth["score_sd"] / np.sqrt(dives.PANELS)
    assert np.abs(error).max() < 5 * standard.max() + 1e-9
    assert abs(error.mean()) < 0.05
    assert np.std((s.scores - s.truth["expected"]) / s.truth["score_sd"]) == pytest.approx(1, abs=0.15)


def test_a_perfect_reader_reaches_the_judges_noise():
    for s in (world(size="paper", D=1), world()):
        test = official(s).test
        assert 0.985 < spearman(s.truth["expected"][test], s.scores[test]) < 0.999


# -- features


def test_features_look_like_pooled_relu_features():
    x = world(size="small").features
    channels = x.reshape(-1, x.shape[2])
    assert x.min() == 0 and 0.1 < x.mean() < 0.4 and 0.1 < (x == 0).mean() < 0.5
    assert kurtosis(x.ravel()) > 6 and (channels.std(axis=0) > 0).all()
    correlation = np.corrcoef(channels.T)
    off = np.abs(correlation[np.triu_indices_from(correlation, 1)])
    assert off.mean() > 0.08  # independent channels of this length would show .01
    spectrum = np.linalg.eigvalsh(np.cov(channels.T))[::-1]
    assert spectrum[:30].sum() / spectrum.sum() > 0.7  # a few dozen latent numbers make most of it


@pytest.mark.parametrize("venue", [0.0, 0.5, 1.0])
def test_nuisance_is_shared_in_a_competition(venue):
    s = large(venue=venue, competitions=100)
    v, g = s.truth["nuisance"], s.truth["competition"]
    pair = np.array([np.cov(v[g == c].T).trace() / 8 for c in np.unique(g) if (g == c).sum() > 8])
    assert np.mean(pair) == pytest.approx(1 - venue, abs=0.1)  # within competitions
    assert v.var() == pytest.approx(1, abs=0.15)
    if venue == 1.0:
        assert np.allclose(pair, 0)


def test_execution_can_be_made_invisible():
    hidden, seen = (world(execution=e, nuisance=0.0, classes=1, size="small") for e in (0.0, 2.0))

    def read(s):
        x, q = s.features.mean(axis=1), s.truth["quality"]
        split = official(s)
        a = np.hstack([x, np.ones((len(x), 1))])
        gram = a[split.train].T @ a[split.train] + np.eye(a.shape[1])
        return spearman(a[split.test] @ np.linalg.solve(gram, a[split.train].T @ q[split.train]), q[split.test])

    assert abs(read(hidden)) < 4 / np.sqrt(160) and read(seen) > 0.85
