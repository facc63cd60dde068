"""Baselines that watch no video: hand cases, and the figures measured on the annotations of MTL-AQA."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aqa_lib.data import AssessmentSet, blind, folds, load
from aqa_lib.data.splits import leak_free, official
from aqa_lib.errors import UserError
from aqa_lib.evaluation import fisher_mean, spearman, spearman_rows

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mtl_aqa"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the annotations of MTL-AQA are not at {REAL}")


def small(**changes):
    table = pd.DataFrame({"split": ["train"] * 4 + ["test"] * 3, "duration": [1, 2, 3, 4, 5, 6, 7]})
    table["position"] = ["pike", "pike", "tuck", "tuck", "pike", "tuck", "free"]
    table["armstand"] = [True, False, True, False, True, False, True]
    fields = dict(name="small", features=None, scores=[10.0, 20, 30, 60, np.nan, np.nan, np.nan], table=table)
    fields |= dict(ids=list("abcdefg"), groups=list("xxyyxyz"), difficulty=[1.0, 2, 3, 4, 5, 6, 7])
    return AssessmentSet(**(fields | changes))


LABELLED, ITEMS = np.arange(4), np.arange(4, 7)


def test_means_by_hand():
    s = small()
    assert blind.predict("training mean", s, LABELLED, ITEMS).tolist() == [30] * 3
    # x: (30 + 2 * 30) / 4, y: (90 + 60) / 4, z: no label, so the mean of all
    assert blind.predict("group mean", s, LABELLED, ITEMS).tolist() == [22.5, 37.5, 30]
    assert blind.predict("group mean", s, LABELLED, ITEMS, shrink=0.5).tolist() == [45 / 2.5, 105 / 2.5, 30]
    # with two labels, group y has one: (60 + 2 * 35) / 3
    assert blind.predict("group mean", s, [0, 3], ITEMS)[1] == pytest.approx(130 / 3)


def test_surgeon_mean_over_folds_that_leak_the_surgeon():
    """Two surgeons, a good one (D) and a poor one (B), and two folds; scores and answers by hand."""
    table = pd.DataFrame({"fold_four": list("112212"), "fold_louo": list("DBDBDB"), "seconds": [9, 8, 7, 6, 5, 4]})
    s = AssessmentSet("trials", None, [20.0, 10, 26, 12, 23, np.nan], list("abcdef"), table, groups=list("DBDBDB"))
    first, second = folds.every(s, "four")
    assert first.test.tolist() == [0, 1, 4] and second.test.tolist() == [2, 3]  # f has no score
    known = first.train[~np.isnan(s.scores[first.train])]
    # trained on c = 26 and d = 12, mean 19: D (26 + 19 / 2) / 1.5, B (12 + 19 / 2) / 1.5
    guess = blind.predict("group mean", s, known, first.test, shrink=0.5)
    assert guess == pytest.approx([35.5 / 1.5, 21.5 / 1.5, 35.5 / 1.5])
    # guesses rank 2.5 1 2.5, scores 2 1 3: deviations (.5 -1 .5) . (0 -1 1) = 1.5, norm sqrt(1.5 x 2)
    assert spearman(guess, s.scores[first.test]) == pytest.approx(1.5 / np.sqrt(3))
    # trained on a, b, e: mean 53 / 3, D (43 + 53 / 6) / 2.5, B (10 + 53 / 6) / 1.5
    guess = blind.predict("group mean", s, second.train[~np.isnan(s.scores[second.train])], second.test, shrink=0.5)
    assert guess == pytest.approx([(43 + 53 / 6) / 2.5, (10 + 53 / 6) / 1.5])
    assert spearman(guess, s.scores[second.test]) == 1
    for user in folds.every(s, "louo"):  # one user out: nothing is known of who is tested
        known = user.train[~np.isnan(s.scores[user.train])]
        assert blind.predict("group mean", s, known, user.test) == pytest.approx(s.scores[known].mean())
    # duration is measured in what the set has: the line through (7, 26) and (6, 12) has slope 14
    assert "duration" in blind.applicable(s)
    assert blind.predict("duration", s, [2, 3], [0, 1]) == pytest.approx([54, 40])


def test_a_line_needs_numbers():
    holes = small(difficulty=[1.0, 2, 3, 4, np.nan, 6, 7])
    with pytest.raises(UserError, match="'small': difficulty of item 'e' is no number"):
        blind.predict("difficulty", holes, LABELLED, ITEMS)
    assert blind.predict("difficulty", holes, LABELLED, [5, 6]) == pytest.approx([86, 102])  # e is not asked for


def test_lines_by_hand():
    # least squares through (1, 10), (2, 20), (3, 30), (4, 60): slope 16, mean 30 at 2.5
    for name in ("difficulty", "duration"):
        assert blind.predict(name, small(), LABELLED, ITEMS) == pytest.approx([70, 86, 102])
    flat = small(difficulty=np.ones(7))
    assert blind.predict("difficulty", flat, LABELLED, ITEMS).tolist() == [30] * 3  # nothing to lean on


@pytest.mark.parametrize("name, groups", [("attributes", False), ("group and attributes", True)])
def test_attributes_against_the_normal_equations(name, groups):
    s = small()
    columns = [s.groups] if groups else []
    columns += [s.table["position"].to_numpy(), s.table["armstand"].astype(str).to_numpy()]
    x = np.concatenate([[c == v for v in sorted(set(c[LABELLED]))] for c in columns]).T.astype(float)
    mean, y = x[LABELLED].mean(0), s.scores[LABELLED]
    centred = x[LABELLED] - mean
    w = np.linalg.solve(centred.T @ centred + np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    assert blind.predict(name, s, LABELLED, ITEMS) == pytest.approx(y.mean() + (x[ITEMS] - mean) @ w)


@pytest.mark.parametrize("name", blind.BASELINES)
def test_no_baseline_sees_a_score_that_is_not_labelled(name):
    s, other = small(), small(scores=[10.0, 20, 30, 60, -5, 0, 5])
    first = blind.predict(name, s, LABELLED, ITEMS)
    np.testing.assert_array_equal(first, blind.predict(name, other, LABELLED, ITEMS))
    assert np.isfinite(first).all()
    assert (blind.predict(name, small(scores=np.arange(7.0)), LABELLED, ITEMS) != first).any()


def test_which_apply():
    assert blind.applicable(small()) == list(blind.BASELINES)
    bare = small(groups=None, difficulty=None, table=pd.DataFrame({"split": ["train"] * 4 + ["test"] * 3}))
    assert blind.applicable(bare) == ["training mean"]
    for name in set(blind.BASELINES) - {"training mean"}:
        with pytest.raises(UserError, match="'small' has no"):
            blind.predict(name, bare, LABELLED, ITEMS)
    with pytest.raises(UserError, match="'small' has no groups"):
        blind.predict("group and attributes", small(groups=None), LABELLED, ITEMS)
    assert blind.applicable(load("surrogate", D=2)) == [n for n in blind.BASELINES if n != "duration"]


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="did you mean 'group mean'"):
        blind.predict("group means", small(), LABELLED, ITEMS)
    for labelled in ([], [0, 4]):
        with pytest.raises(UserError, match="need a score each"):
            blind.predict("training mean", small(), labelled, ITEMS)


def test_panels_by_hand():
    awards = np.array([[1, 2, 4, 8], [1, 10, 100, 1000]])
    a, b = blind.panels(awards, size=2)
    pairs = {frozenset(pair) for pair in zip(a[:, 1], b[:, 1], strict=True)}
    assert pairs == {frozenset(p) for p in ((11, 1100), (101, 1010), (1001, 110))} and len(a) == 3
    assert (a[:, 0] + b[:, 0] == 15).all()
    a, b = blind.panels(np.zeros((5, 7)))
    assert a.shape == b.shape == (70, 5)
    with pytest.raises(UserError, match="need 6 judges, but there are 5"):
        blind.panels(np.zeros((2, 5)))


@pytest.fixture(scope="module")
def dives():
    s = load("mtl_aqa", REAL, annotations="judges")
    return s, official(s)


def rhos(dives, name, fraction, draws):
    s, split = dives
    return spearman_rows(blind.over_draws(name, s, split, fraction, range(draws)), s.scores[split.test])


@real
def test_the_event_alone(dives):
    assert rhos(dives, "group mean", 1.0, 1)[0] == pytest.approx(0.637, abs=0.0006)
    ten, forty = rhos(dives, "group mean", 0.1, 200), rhos(dives, "group mean", 0.4, 200)
    # means of 200 draws, whose standard error is .031 / sqrt(200) = .0022; other draws were used there
    assert ten.mean() == pytest.approx(0.596, abs=0.007) and ten.std() == pytest.approx(0.031, abs=0.007)
    assert forty.mean() == pytest.approx(0.631, abs=0.0025) and forty.std() == pytest.approx(0.006, abs=0.0025)


@real
def test_event_and_attributes(dives):
    assert rhos(dives, "group and attributes", 1.0, 1)[0] == pytest.approx(0.693, abs=0.0006)
    # 20 draws here as there, each mean with a standard error near .006 and .002
    assert rhos(dives, "group and attributes", 0.1, 20).mean() == pytest.approx(0.611, abs=0.02)
    assert rhos(dives, "group and attributes", 0.4, 20).mean() == pytest.approx(0.683, abs=0.006)


@real
def test_difficulty_alone_and_the_training_mean(dives):
    assert rhos(dives, "difficulty", 1.0, 1)[0] == pytest.approx(0.560, abs=0.0006)
    assert np.isnan(rhos(dives, "training mean", 1.0, 1)[0])  # a constant has no rank correlation
    assert abs(rhos(dives, "duration", 1.0, 1)[0]) < 0.5


@real
def test_two_panels_of_judges(dives):
    s, split = dives
    judges, difficulty = s.judges[split.test], s.difficulty[split.test]
    a, b = blind.panels(judges)
    raw = [spearman(x, y) for x, y in zip(a, b, strict=True)]
    scored = [spearman(x * difficulty, y * difficulty) for x, y in zip(a, b, strict=True)]
    # over all 70 ways, averaged through Fisher's z as correlations are; the plain mean of the raw ones is .9734
    assert len(raw) == 70 and round(fisher_mean(raw), 3) == 0.974 and round(fisher_mean(scored), 3) == 0.984
    assert round(np.mean(raw), 4) == 0.9734
    one = [spearman(judges[:, j] * difficulty, s.scores[split.test]) for j in range(7)]
    assert min(one) > 0.975 and max(one) < 0.982


@real
def test_without_the_leak_the_event_says_nothing(dives):
    """Held-out events have no labelled dive, so every dive gets the mean of all."""
    s, _ = dives
    split = leak_free(s)
    assert np.unique(blind.predict("group mean", s, split.train, split.test)).size == 1
