"""The options of the surrogate: what each changes and what it leaves alone; one seed, one set; its figures."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from surrogate_worlds import large, world

from aqa_lib.data import load, resolve
from aqa_lib.data.readers import surrogate
from aqa_lib.data.splits import label_draw, leak_free, official
from aqa_lib.errors import UserError
from aqa_lib.figures import surrogate as figures

FIELDS = ("features", "scores", "judges", "difficulty")


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


def test_every_option_has_a_case_and_a_sentence():
    assert set(CHANGED) == set(surrogate.OPTIONS)
    assert all(s.help and "\n" not in s.help for s in surrogate.OPTIONS.values())


@pytest.mark.parametrize("option", CHANGED)
def test_every_option_changes_what_it_says_and_nothing_upstream(option):
    value, field = CHANGED[option]
    base = {"labelled": 4} if option in ("shift", "test_from") else {}
    old, new = world(**base), world(**base, **{option: value})

    def get(s, name):
        return s.table[name].to_numpy() if name == "labelable" else getattr(s, name)

    assert not np.array_equal(get(old, field), get(new, field))
    untouched = {
        "judge": ["execution", "level", "nuisance"], "het": ["execution", "level", "nuisance"],
        "rho": ["skill", "nuisance", "class"], "classes": ["execution", "level", "nuisance"],
    }.get(option, [])  # fmt: skip
    if field == "features" and option not in ("size", "T"):
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
    for options in ({"unseen": 4}, {"labelled": 5}):  # another split trains on former test items: they are bound, too
        s = world(seed=3, **options)
        drawn = label_draw(s, 1.0, 0, split=leak_free(s))
        free = s.table["labelable"].to_numpy()
        assert free[drawn].all() and not free[240:].all()
        allowed = label_draw(s, 1.0, 0)
        kind = s.truth["class"] if "unseen" in options else s.truth["competition"]
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
    "options, sentence",
    [
        ({"rho": 1.0}, "rho = 1.0 is above 0.99, its greatest value .how far an error"),
        ({"rho": -0.1}, "rho = -0.1 is below 0.0"),
        ({"rho": None}, "rho takes float \\(default 0.6\\), but got NoneType"),
        ({"rho": "0.5"}, "rho takes float"),
        ({"rho": float("nan")}, "rho takes float"),
        ({"nuisance": -1}, "nuisance = -1.0 is below 0.0, its least value"),
        ({"size": "quik"}, "did you mean 'quick'"),
        ({"size": 3}, "size takes str"),
        ({"n_train": 240.0}, "n_train takes int or null"),
        ({"n_train": 2}, "n_train = 2 is below 6, its least value"),
        ({"T": 1}, "T = 1 is below 2, its least value .segments of a video"),
        ({"T": 4, "stages": 5}, "stages is 5, above the number of segments T: take 4"),
        ({"classes": 3, "unseen": 3}, "unseen is 3, above classes less one: take 2"),
        ({"labelled": 20}, "labelled is 20, above the number of competitions: take 15"),
        ({"labelled": 0}, "labelled = 0 is below 1"),
        ({"shift": 1.0}, "shift acts on competitions that are not labelled, and all are"),
        ({"test_from": "unlabelled", "labelled": 15}, "test_from acts on competitions"),
        ({"test_from": "pol"}, "did you mean 'pool'"),
        ({"noise": 1}, "data set 'surrogate': unknown option 'noise'"),
        ({"ev_skil": 1}, "did you mean 'ev_skill'"),
    ],
)
def test_wrong_options_get_one_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        load("surrogate", **options)
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
