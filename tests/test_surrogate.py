"""What the surrogate claims of itself, checked on what it generates."""

import functools
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, kurtosis, norm

from aqa_lib.data import dives, load, resolve, surrogate
from aqa_lib.data.splits import label_draw, leak_free, official
from aqa_lib.errors import UserError
from aqa_lib.evaluation import spearman
from aqa_lib.figures import surrogate as figures

FIELDS = ("features", "scores", "judges", "difficulty")


@functools.cache
def world(**knobs):
    return load("surrogate", **knobs)


def large(**knobs):
    return world(**{"n_train": 3000, "n_test": 1000, "D": 2, "competitions": 60} | knobs)


@pytest.mark.parametrize("size, shape", [("quick", (360, 10, 64)), ("small", (640, 10, 256))])
def test_sizes(size, shape):
    s = world(size=size)
    assert s.features.shape == shape and s.features.dtype == np.float32
    split = official(s)
    assert len(split.train) == surrogate.SIZES[size]["n_train"] and len(split.test) == shape[0] - len(split.train)
    assert s.surrogate and s.meta["knobs"] == resolve("surrogate", {"size": size})
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


# -- knobs


CHANGED = {
    "size": ("small", "features"),
    "seed": (1, "scores"),
    "n_train": (250, "scores"),
    "n_test": (130, "scores"),
    "T": (11, "features"),
    "D": (65, "features"),
    "stages": (3, "scores"),
    "rho": (0.5, "scores"),
    "skill": (0.5, "scores"),
    "ev_skill": (0.5, "scores"),
    "worst": (1.0, "scores"),
    "competitions": (10, "scores"),
    "classes": (10, "scores"),
    "popularity": (0.0, "scores"),
    "tilt": (0.0, "difficulty"),
    "judge": (2.0, "judges"),
    "het": (2.0, "judges"),
    "execution": (2.0, "features"),
    "nuisance": (2.0, "features"),
    "venue": (0.9, "features"),
    "fast": (2.0, "features"),
    "unseen": (4, "labelable"),
    "selection": (1.0, "labelable"),
    "labelled": (4, "labelable"),
    "shift": (2.0, "features"),
    "test_from": ("unlabelled", "groups"),
}


def test_every_knob_has_a_case_and_a_sentence():
    assert set(CHANGED) == set(surrogate.KNOBS) == set(surrogate.OPTIONS)
    assert all(k.about and "\n" not in k.about for k in surrogate.KNOBS.values())


@pytest.mark.parametrize("knob", CHANGED)
def test_every_knob_changes_what_it_says_and_nothing_upstream(knob):
    value, field = CHANGED[knob]
    base = {"labelled": 4} if knob in ("shift", "test_from") else {}
    old, new = world(**base), world(**base, **{knob: value})

    def get(s, name):
        return s.table[name].to_numpy() if name == "labelable" else getattr(s, name)

    assert not np.array_equal(get(old, field), get(new, field))
    untouched = {
        "judge": ["execution", "level", "nuisance"], "het": ["execution", "level", "nuisance"],
        "rho": ["skill", "nuisance", "class"], "classes": ["execution", "level", "nuisance"],
    }.get(knob, [])  # fmt: skip
    if field == "features" and knob not in ("size", "T"):
        untouched = ["execution", "quality", "expected", "judge_sd"]
        np.testing.assert_array_equal(old.scores, new.scores)
    for part in untouched:
        np.testing.assert_array_equal(old.truth[part], new.truth[part])
    if field == "labelable":
        for name in FIELDS:
            np.testing.assert_array_equal(get(old, name), get(new, name))


def test_switching_the_chain_off_keeps_the_noise_of_judges():
    noise = {}
    for rho in (0.0, 0.6):
        s = large(rho=rho, judge=1.0)
        noise[rho] = (s.judges - s.truth["level"][:, None]) / s.truth["judge_sd"][:, None]
        noise[rho][s.truth["level"] > 9] = 0  # the clip at ten
    assert np.corrcoef(noise[0.0].ravel(), noise[0.6].ravel())[0, 1] > 0.75  # half points blur the rest


def test_unseen_classes_and_selection_bound_the_labels():
    s = world(unseen=4, seed=3)
    train, drawn = official(s).train, label_draw(s, 1.0, 0)
    seen = set(s.truth["class"][drawn])
    assert len(set(s.truth["class"][train]) - seen) == 4
    missing = np.isin(s.truth["class"][train], list(seen), invert=True)
    counts = np.bincount(s.truth["class"][train])
    assert counts[list(set(s.truth["class"][train][missing]))].max() <= counts[list(seen)].min()
    picked = world(size="small", D=1, selection=1.0)
    free = label_draw(picked, 1.0, 0)
    assert picked.scores[free].mean() > picked.scores[official(picked).train].mean() + 3
    assert 0.4 < len(free) / 480 < 0.6
    for knobs in ({"unseen": 4}, {"labelled": 5}):  # another split trains on former test items: they are bound, too
        s = world(seed=3, **knobs)
        drawn = label_draw(s, 1.0, 0, split=leak_free(s))
        free = s.table["labelable"].to_numpy()
        assert free[drawn].all() and not free[240:].all()
        allowed = label_draw(s, 1.0, 0)
        kind = s.truth["class"] if "unseen" in knobs else s.truth["competition"]
        assert set(kind[drawn]) <= set(kind[allowed])


def test_labelled_competitions_and_what_differs_elsewhere():
    s = world(size="small", D=1, labelled=4, shift=3.0, test_from="unlabelled")
    drawn, split = label_draw(s, 1.0, 0), official(s)
    inside = set(s.groups[drawn])
    assert len(inside) == 4 and not inside & set(s.groups[split.test])
    plain = world(size="small", D=1, labelled=4, test_from="unlabelled")
    moved = np.linalg.norm(s.truth["nuisance"] - plain.truth["nuisance"], axis=1)
    assert np.array_equal(moved > 0, ~np.isin(s.groups, list(inside)))
    assert len(set(moved[moved > 0].round(9))) == 1


@pytest.mark.parametrize(
    "knobs, sentence",
    [
        ({"rho": 1.0}, "rho .* lies in 0.0..0.99, but is 1.0: take 0.99"),
        ({"rho": -0.1}, "take 0.0"),
        ({"rho": None}, "rho takes float \\(default 0.6\\), but got NoneType"),
        ({"rho": "0.5"}, "rho takes float"),
        ({"rho": float("nan")}, "rho takes float"),
        ({"nuisance": -1}, "nuisance .* lies in 0.0..20.0, but is -1.0: take 0.0"),
        ({"size": "quik"}, "did you mean 'quick'"),
        ({"size": 3}, "size takes str"),
        ({"n_train": 240.0}, "n_train takes int"),
        ({"n_train": 2}, "n_train .* take 6"),
        ({"T": 1}, "T .* lies in 2..1000"),
        ({"T": 4, "stages": 5}, "stages is 5, above the number of segments T: take 4"),
        ({"classes": 3, "unseen": 3}, "unseen is 3, above classes less one: take 2"),
        ({"labelled": 20}, "labelled is 20, above the number of competitions: take 15"),
        ({"labelled": 0}, "labelled .* take 1"),
        ({"shift": 1.0}, "shift acts on competitions that are not labelled, and all are"),
        ({"test_from": "unlabelled", "labelled": 15}, "test_from acts on competitions"),
        ({"test_from": "pol"}, "did you mean 'pool'"),
        ({"noise": 1}, "unknown knob of data set 'surrogate' 'noise'"),
        ({"ev_skil": 1}, "did you mean 'ev_skill'"),
    ],
)
def test_wrong_knobs_get_one_sentence(knobs, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        load("surrogate", **knobs)
    assert "\n" not in str(error.value)


def test_resolved_options_name_the_same_set_once():
    assert resolve("surrogate", {"T": 10, "rho": 0.6}) == resolve("surrogate")
    assert resolve("surrogate", {"nuisance": 1})["nuisance"] == 1.0
    assert resolve("surrogate", {"size": "paper"})["D"] == 1024


# -- reproducible


def test_the_same_seed_gives_the_same_set_in_another_process(tmp_path):
    code = f"from aqa_lib.data import load; load('surrogate', seed=5).save({str(tmp_path / 's')!r})"
    env = {"PYTHONHASHSEED": "99", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    here, there = world(seed=5), type(world(seed=5)).read(tmp_path / "s")
    np.testing.assert_array_equal(here.scores, there.scores)
    np.testing.assert_array_equal(here.judges, there.judges)
    assert here.table["labelable"].equals(there.table["labelable"])
    np.testing.assert_allclose(here.features, there.features, rtol=1e-5, atol=1e-6)


def test_the_first_scores_of_seed_0_stay_what_they_are():
    # a change here means another surrogate: results made with the old one no longer compare
    np.testing.assert_array_equal(world().scores[:6], [80.0, 80.0, 76.5, 67.2, 52.5, 49.5])


# -- figures


def test_figures_show_their_arrays_and_say_surrogate():
    s = world()
    t = s.truth
    table = pd.DataFrame({"reader": ["a", "b"], "kind": list(figures.KINDS)[:2], "spearman": [0.5, 0.9]})
    table = table.assign(low=[0.4, 0.8], high=[0.6, 1.0])
    made = [
        figures.chain({0.6: t["execution"]}, skill=0.3),
        figures.judges(s.judges, t["level"], t["judge_sd"]),
        figures.features(s.features),
        figures.readers(table),
        figures.in_sight({"quality": 0.8, "skill": -0.1}),
    ]
    for figure in made:
        assert any("surrogate" in note.text for note in figure.layout.annotations)
        assert figure.layout.title.text and len(figure.data)
    chain, judges, features, readers, sight = made
    np.testing.assert_allclose(chain.data[0].y, np.r_[1, 0.3 + 0.7 * 0.6 ** np.arange(1, 10)])
    np.testing.assert_allclose(judges.data[0].y, np.std(s.judges, axis=1, ddof=1))
    assert features.data[2].y[0] == (s.features == 0).mean()
    shown = sum(bar.y.sum() if hasattr(bar.y, "sum") else sum(bar.y) for bar in features.data[1:])
    assert 0.999 < shown <= 1  # all but the far tail
    assert list(readers.data[0].x) == [0.5] and list(readers.data[1].error_x.array) == pytest.approx([0.1])
    assert list(sight.data[0].y) == ["skill", "quality"]


def test_stage_correlations_by_hand():
    execution = np.array([[1.0, 2, -1], [2, 4, -2], [3, 6, -3.0]])  # stages 1 and 2 agree, 3 is their opposite
    np.testing.assert_allclose(figures.stage_correlations(execution), [1, 0, -1], atol=1e-12)
