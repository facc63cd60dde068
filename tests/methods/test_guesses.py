"""Methods that watch no video: hand cases, other sets, and the figures measured on the annotations of MTL-AQA."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aqa_lib import methods
from aqa_lib.data import AssessmentSet, load, splits
from aqa_lib.data.splits import label_draw, leak_free, official
from aqa_lib.errors import UserError
from aqa_lib.evaluation import spearman, spearman_rows
from aqa_lib.ledger.record import packed, unpacked
from aqa_lib.study.draws import over_draws, without_video
from aqa_lib.training import train
from aqa_lib.training.restore import trained

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mtl_aqa"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the annotations of MTL-AQA are not at {REAL}")


COMPARED = ["guess_attributes", "guess_difficulty", "guess_duration", "guess_group_and_attributes", "guess_group_mean"]
GUESSES = [*COMPARED, "guess_training_mean"]


def small(**changes):
    table = pd.DataFrame({"split": ["train"] * 4 + ["test"] * 3, "duration": [1, 2, 3, 4, 5, 6, 7]})
    table["position"] = ["pike", "pike", "tuck", "tuck", "pike", "tuck", "free"]
    table["armstand"] = [True, False, True, False, True, False, True]
    fields = dict(name="small", features=None, scores=[10.0, 20, 30, 60, np.nan, np.nan, np.nan], table=table)
    fields |= dict(ids=list("abcdefg"), groups=list("xxyyxyz"), difficulty=[1.0, 2, 3, 4, 5, 6, 7])
    return AssessmentSet(**(fields | changes))


LABELLED, ITEMS = np.arange(4), np.arange(4, 7)


def guess(name, data, labelled, items, **settings):
    """What the method says of items when the scores of the labelled ones are known."""
    method, labelled = methods.get(name), np.asarray(labelled)
    method.fits(run := method.resolve(settings), data)
    arrays = method.fit(data, labelled, data.scores[labelled], run)
    return method.apply(arrays, data, np.asarray(items), run)


def test_what_watches_no_video():
    assert [name for name in methods.names() if not methods.get(name).video] == GUESSES
    assert [name for name in GUESSES if methods.get(name).compared] == COMPARED  # the same for all orders nothing
    every = {setting for name in methods.names() for setting in methods.get(name).settings()}
    assert not every.intersection(methods.names())  # a comparison takes settings by either name


def test_means_by_hand():
    s = small()
    assert guess("guess_training_mean", s, LABELLED, ITEMS).tolist() == [30] * 3
    # x: (30 + 2 * 30) / 4, y: (90 + 60) / 4, z: no label, so the mean of all
    assert guess("guess_group_mean", s, LABELLED, ITEMS).tolist() == [22.5, 37.5, 30]
    assert guess("guess_group_mean", s, LABELLED, ITEMS, shrink=0.5).tolist() == [45 / 2.5, 105 / 2.5, 30]
    # with two labels, group y has one: (60 + 2 * 35) / 3
    assert guess("guess_group_mean", s, [0, 3], ITEMS)[1] == pytest.approx(130 / 3)


def test_equal_means_tie_however_they_are_summed():
    s = small(scores=[0.1, 0.2, 0.3, 0.3, 0.2, 0.1, np.nan], groups=list("xxxyyyx"))
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert np.ptp(guess("guess_group_mean", s, np.arange(6), np.arange(7))) == 0


def test_surgeon_mean_over_folds_that_leak_the_surgeon():
    """Two surgeons, a good one (D) and a poor one (B), and two folds; scores and answers by hand."""
    table = pd.DataFrame({"fold_four": list("112212"), "fold_louo": list("DBDBDB"), "seconds": [9, 8, 7, 6, 5, 4]})
    s = AssessmentSet("trials", None, [20.0, 10, 26, 12, 23, np.nan], list("abcdef"), table, groups=list("DBDBDB"))
    first, second = (splits.get(name)(s) for name in splits.every(s, "fold:four"))
    assert first.test.tolist() == [0, 1, 4] and second.test.tolist() == [2, 3]  # f has no score
    known = first.train[~np.isnan(s.scores[first.train])]
    # trained on c = 26 and d = 12, mean 19: D (26 + 19 / 2) / 1.5, B (12 + 19 / 2) / 1.5
    found = guess("guess_group_mean", s, known, first.test, shrink=0.5)
    assert found == pytest.approx([35.5 / 1.5, 21.5 / 1.5, 35.5 / 1.5])
    # guesses rank 2.5 1 2.5, scores 2 1 3: deviations (.5 -1 .5) . (0 -1 1) = 1.5, norm sqrt(1.5 x 2)
    assert spearman(found, s.scores[first.test]) == pytest.approx(1.5 / np.sqrt(3))
    # trained on a, b, e: mean 53 / 3, D (43 + 53 / 6) / 2.5, B (10 + 53 / 6) / 1.5
    found = guess("guess_group_mean", s, second.train[~np.isnan(s.scores[second.train])], second.test, shrink=0.5)
    assert found == pytest.approx([(43 + 53 / 6) / 2.5, (10 + 53 / 6) / 1.5])
    assert spearman(found, s.scores[second.test]) == 1
    for name in splits.every(s, "fold:louo"):  # one user out: nothing is known of who is tested
        user = splits.get(name)(s)
        known = user.train[~np.isnan(s.scores[user.train])]
        assert guess("guess_group_mean", s, known, user.test) == pytest.approx(s.scores[known].mean())
    # duration is measured in what the set has: the line through (7, 26) and (6, 12) has slope 14
    assert "guess_duration" in without_video(s).values()
    assert guess("guess_duration", s, [2, 3], [0, 1]) == pytest.approx([54, 40])


def test_a_line_needs_numbers():
    holes = small(difficulty=[1.0, 2, 3, 4, np.nan, 6, 7])
    with pytest.raises(UserError, match="'small': difficulty of item 'e' is no number"):
        guess("guess_difficulty", holes, LABELLED, ITEMS)
    assert guess("guess_difficulty", holes, LABELLED, [5, 6]) == pytest.approx([86, 102])  # e is not asked for


def test_lines_by_hand():
    # least squares through (1, 10), (2, 20), (3, 30), (4, 60): slope 16, mean 30 at 2.5
    for name in ("guess_difficulty", "guess_duration"):
        assert guess(name, small(), LABELLED, ITEMS) == pytest.approx([70, 86, 102])
    flat = small(difficulty=np.ones(7))
    assert guess("guess_difficulty", flat, LABELLED, ITEMS).tolist() == [30] * 3  # nothing to lean on


@pytest.mark.parametrize("name, groups", [("guess_attributes", False), ("guess_group_and_attributes", True)])
def test_attributes_against_the_normal_equations(name, groups):
    s = small()
    columns = [s.groups] if groups else []
    columns += [s.table["position"].to_numpy(), s.table["armstand"].astype(str).to_numpy()]
    x = np.concatenate([[c == v for v in sorted(set(c[LABELLED]))] for c in columns]).T.astype(float)
    mean, y = x[LABELLED].mean(0), s.scores[LABELLED]
    centred = x[LABELLED] - mean
    w = np.linalg.solve(centred.T @ centred + np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    assert guess(name, s, LABELLED, ITEMS) == pytest.approx(y.mean() + (x[ITEMS] - mean) @ w)


@pytest.mark.parametrize("name", GUESSES)
def test_no_guess_sees_a_score_that_is_not_labelled(name):
    s, other = small(), small(scores=[10.0, 20, 30, 60, -5, 0, 5])
    first = guess(name, s, LABELLED, ITEMS)
    np.testing.assert_array_equal(first, guess(name, other, LABELLED, ITEMS))
    assert np.isfinite(first).all()
    assert (guess(name, small(scores=np.arange(7.0)), LABELLED, ITEMS) != first).any()


@pytest.mark.parametrize("name", GUESSES)
def test_what_is_kept_predicts_alone(name, tmp_path):
    """Trained on annotations alone, written to a file and read back, it says the same bits of the same items."""
    s = small(scores=np.array([10.0, 20, 30, 60, 15, 40, 25]))
    (result,) = train(name, s, official(s), [{"fraction": 1.0}], weights=True)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(packed(result.weights, result.about))
    again = trained(*unpacked(path))
    before = methods.get(name).apply(result.weights, s, np.arange(7), result.settings)
    np.testing.assert_array_equal(again.predict(s)["score"], before)
    np.testing.assert_array_equal(result.predictions["step_0"], before[4:])
    assert before == pytest.approx(guess(name, s, LABELLED, np.arange(7)))
    # a set with features, of any shape, and one that has none are predicted alike
    watched = dataclasses.replace(s, features=np.ones((7, 2, 3)))
    (other,) = train(name, watched, official(watched), [{"fraction": 1.0}], weights=True)
    np.testing.assert_array_equal(trained(other.weights, other.about).predict(s)["score"], before)


def test_another_set_is_predicted_by_what_is_known_there():
    def applied(name, **changes):
        method, s = methods.get(name), small()
        arrays = method.fit(s, LABELLED, s.scores[LABELLED], run := method.resolve({}))
        return method.apply(arrays, small(**changes), np.arange(7), run)

    # groups of more letters than any that was learnt from, one before and one behind all others, and y among them
    found = applied("guess_group_mean", groups=["a", "zebra", "y", "xy", "x", "", "yy"])
    assert found.tolist() == [30, 30, 37.5, 30, 22.5, 30, 30]
    table = small().table.assign(position=["straddle"] * 7, armstand=["maybe"] * 7)
    for name in ("guess_attributes", "guess_group_and_attributes"):  # nothing known of them: what is left is b
        found, own = applied(name, table=table, groups=["new"] * 7), applied(name)
        assert np.ptp(found) == 0 < np.ptp(own)
    assert applied("guess_group_and_attributes", table=table)[[0, 2]] == pytest.approx(
        applied("guess_group_and_attributes", table=table, groups=list("xqyqqqq"))[[0, 2]]
    )
    with pytest.raises(UserError, match="'small' has no 'armstand'"):
        applied("guess_attributes", table=small().table.drop(columns="armstand"))
    with pytest.raises(UserError, match="'small' has no column 'duration'"):
        applied("guess_duration", table=small().table.rename(columns={"duration": "frames"}))
    for name, field in (("guess_group_mean", "groups"), ("guess_difficulty", "difficulty")):
        with pytest.raises(UserError, match=f"'small' has no {field}"):
            applied(name, **{field: None})


def test_which_apply():
    assert without_video(small()) == {methods.get(name).title: name for name in COMPARED}
    assert "no video: group and attributes" in without_video(small())
    bare = small(groups=None, difficulty=None, table=pd.DataFrame({"split": ["train"] * 4 + ["test"] * 3}))
    assert without_video(bare) == {}
    assert guess("guess_training_mean", bare, LABELLED, ITEMS).tolist() == [30] * 3
    for name in COMPARED:
        with pytest.raises(UserError, match="'small' has no"):
            guess(name, bare, LABELLED, ITEMS)
    with pytest.raises(UserError, match="'small' has no groups"):
        guess("guess_group_and_attributes", small(groups=None), LABELLED, ITEMS)
    assert list(without_video(load("surrogate", D=2)).values()) == [n for n in COMPARED if n != "guess_duration"]


def test_what_cannot_be_is_refused():
    s = small(scores=np.arange(7.0))
    with pytest.raises(UserError, match="did you mean 'guess_group_mean'"):
        over_draws("group_means", s, official(s), 1.0, [0])
    with pytest.raises(UserError, match="method s4aqa learns step by step"):
        over_draws("s4aqa", s, official(s), 1.0, [0])
    for labelled in ([], [4, 5]):
        with pytest.raises(UserError, match="needs one item with a score"):
            guess("guess_training_mean", small(), np.array(labelled, dtype=int), ITEMS)


def test_over_draws_is_a_fit_a_draw():
    s = load("surrogate", size="quick", D=2)
    rows = over_draws("guess_group_mean", s, split := leak_free(s), 0.2, [3, 7], how="stratified", shrink=0.5)
    assert rows.shape == (2, len(split.test))
    for row, draw in zip(over_draws("guess_attributes", s, official(s), 0.2, [3, 7]), [3, 7], strict=True):
        labelled = label_draw(s, 0.2, draw, "random")
        assert row == pytest.approx(guess("guess_attributes", s, labelled, official(s).test))
        (run,) = train("guess_attributes", s, official(s), [{"fraction": 0.2, "draw": draw, "how": "random"}])
        assert run.predictions["step_0"].to_numpy() == pytest.approx(row, rel=1e-6)


@pytest.fixture(scope="module")
def dives():
    s = load("mtl_aqa", REAL, annotations="judges")
    return s, official(s)


def rhos(dives, name, fraction, draws):
    s, split = dives
    return spearman_rows(over_draws(name, s, split, fraction, range(draws)), s.scores[split.test])


@pytest.mark.slow
@real
def test_the_event_alone(dives):
    assert rhos(dives, "guess_group_mean", 1.0, 1)[0] == pytest.approx(0.637, abs=0.0006)
    ten, forty = rhos(dives, "guess_group_mean", 0.1, 200), rhos(dives, "guess_group_mean", 0.4, 200)
    # means of 200 draws, whose standard error is .031 / sqrt(200) = .0022; other draws were used there
    assert ten.mean() == pytest.approx(0.596, abs=0.007) and ten.std() == pytest.approx(0.031, abs=0.007)
    assert forty.mean() == pytest.approx(0.631, abs=0.0025) and forty.std() == pytest.approx(0.006, abs=0.0025)


@real
def test_event_and_attributes(dives):
    assert rhos(dives, "guess_group_and_attributes", 1.0, 1)[0] == pytest.approx(0.693, abs=0.0006)
    # 20 draws here as there, each mean with a standard error near .006 and .002
    assert rhos(dives, "guess_group_and_attributes", 0.1, 20).mean() == pytest.approx(0.611, abs=0.02)
    assert rhos(dives, "guess_group_and_attributes", 0.4, 20).mean() == pytest.approx(0.683, abs=0.006)


@real
def test_difficulty_alone_and_the_training_mean(dives):
    assert rhos(dives, "guess_difficulty", 1.0, 1)[0] == pytest.approx(0.560, abs=0.0006)
    assert np.isnan(rhos(dives, "guess_training_mean", 1.0, 1)[0])  # a constant has no rank correlation
    assert abs(rhos(dives, "guess_duration", 1.0, 1)[0]) < 0.5


@real
def test_without_the_leak_the_event_says_nothing(dives):
    """Held-out events have no labelled dive, so every dive gets the mean of all."""
    s, _ = dives
    split = leak_free(s)
    assert np.unique(guess("guess_group_mean", s, split.train, split.test)).size == 1
