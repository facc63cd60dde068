"""Tasks by hand: what they hand out, in which units they answer, and what they measure."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, spearmanr

from aqa_lib import data as data_sets
from aqa_lib import methods, tasks
from aqa_lib.data.splits import Split
from aqa_lib.errors import UserError


def scored(**more):
    ids, scores = list("abcdefgh"), np.array([10.0, 20, 30, 40, 50, 60, np.nan, 80])
    x = np.arange(8 * 2 * 3, dtype="f4").reshape(8, 2, 3)
    return data_sets.AssessmentSet(name="eight", features=x, scores=scores, ids=ids, **more)


SPLIT = Split("official", np.array([0, 1, 2, 3, 6]), np.array([4, 5, 7]))


def test_scores_that_were_not_drawn_are_not_handed_out():
    settings = {"fraction": 0.75, "draw": 0, "how": "random", "validation": 0.0}
    labels = tasks.SCORES.labels(scored(), SPLIT, settings)
    assert len(labels.train) == 3 and set(labels.train) < {0, 1, 2, 3}
    assert sorted([*labels.train, *labels.unlabelled]) == [0, 1, 2, 3, 6]
    hidden = np.setdiff1d(np.arange(8), labels.train)
    assert np.isnan(labels.scores[hidden]).all() and labels.scale == 5 / np.nanmax(labels.scores)


FOLDED = {"fraction": 0.75, "draw": 0, "how": "random", "label_folds": 2, "label_fold": 0, "whole_groups": True}


def folded(data, split, **settings):
    return tasks.SCORES.labels(data, split, {**FOLDED, **settings})


def test_every_label_is_held_out_once_and_then_neither_learnt_from_nor_unlabelled():
    """Nine of twelve training items have their label shown; two folds of four and five."""
    data = data_sets.AssessmentSet(name="n", scores=np.arange(1.0, 15), ids=list("abcdefghijklmn"))
    split = Split("official", np.arange(12), np.array([12, 13]))
    whole = tasks.SCORES.labels(data, split, {**FOLDED, "label_folds": 0})
    found = [folded(data, split, label_fold=k) for k in (0, 1)]
    assert sorted(np.concatenate([labels.held for labels in found])) == sorted(whole.train) and not len(whole.held)
    for labels in found:
        assert len(labels.held) in (4, 5) and np.isnan(labels.scores[labels.held]).all()
        assert sorted([*labels.train, *labels.held]) == sorted(whole.train)
        assert labels.unlabelled.tolist() == whole.unlabelled.tolist()
        assert labels.scale == 5 / (labels.train.max() + 1)  # of what it learns from alone
    watched = folded(data, split, fraction=1.0, validation=0.5)
    assert (len(watched.held), len(watched.train), len(watched.validation)) == (6, 3, 3)
    with pytest.raises(UserError, match="fold 2 of the labels is none of the 2"):
        folded(data, split, label_fold=2)
    with pytest.raises(UserError, match="without fold 0 of 2 2 labels are left, fewer than the 3 needed"):
        folded(data, split, fraction=0.34)


def test_where_people_are_tested_folds_are_of_whole_people():
    """Of p, q, r, s with three items each: none of a held person's is left to learn from, be it unlabelled."""
    groups = [*"pppqqqrrrsss", "y", "z"]
    data = data_sets.AssessmentSet(name="n", scores=np.arange(1.0, 15), ids=list("abcdefghijklmn"), groups=groups)
    split, by = Split("of people", np.arange(12), np.array([12, 13])), np.array(groups)
    drawn = tasks.SCORES.labels(data, split, {**FOLDED, "label_folds": 0}).train
    for k in (0, 1):
        labels = folded(data, split, label_fold=k)
        gone, left = set(by[labels.held]), set(by[np.concatenate([labels.train, labels.unlabelled])])
        assert gone | left == set("pqrs") and not gone & left
        assert set(drawn) == {*labels.train, *labels.held}
    apart = folded(data, split, whole_groups=False)
    assert set(by[apart.held]) & set(by[apart.train])
    known = folded(dataclasses.replace(data, groups=[*groups[:12], "p", "q"]), split)  # tested people are known
    assert set(by[known.held]) & set(by[known.train])


def test_folds_that_are_not_asked_for_are_no_part_of_a_run():
    """So runs from before there were folds keep their names."""
    for name in ("ridge", "s4aqa"):
        method = methods.get(name)
        assert not {"label_folds", "label_fold", "whole_groups"} & set(method.resolve({}))
        assert method.resolve({"label_folds": 0}) == method.resolve({})
        full = method.resolve({"label_folds": 4, "label_fold": 1})
        assert (full["label_folds"], full["label_fold"], full["whole_groups"]) == (4, 1, True)
        with pytest.raises(UserError, match="label_fold means nothing with label_folds = 0"):
            method.resolve({"label_fold": 1})


def test_predictions_come_back_in_the_judges_unit():
    labels = tasks.Labels(np.array([0]), np.array([1]), np.zeros(8), scale=0.5)
    out = {"score": np.array([1.0]), "variance": np.array([1.0]), "quantiles": np.array([[1.0, 2.0]]), "x": np.ones(1)}
    found = tasks.SCORES.units(out, labels)
    assert (found["score"], found["variance"], found["x"]) == (2.0, 4.0, 1.0)
    assert found["quantiles"].tolist() == [[2.0, 4.0]]


def test_learnt_from_scores_compared_by_pairs():
    """Pairs of two tested items count; e-h is right, f-e wrong, a-b is not tested."""
    data = scored(pairs=[[4, 7], [5, 4], [0, 1]])
    out = {"score": np.array([3.0, 2.0, 1.0])}  # of e, f, h
    found = tasks.SCORES.measures(data, SPLIT, SPLIT.test, out)
    assert found["pairwise_accuracy"] == 0.5
    assert found["spearman"] == pytest.approx(spearmanr([3, 2, 1], [50, 60, 80])[0])
    assert "pairwise_accuracy" not in tasks.SCORES.measures(scored(), SPLIT, SPLIT.test, out)


def test_the_uncertainty_is_measured_of_quantiles_where_there_are_any():
    """Of e, f, h with scores 50, 60, 80: quantiles 1 .. 19 below the first hold none, those of the others all."""
    out = {"score": np.array([52.0, 60, 79]), "variance": np.array([4.0, 1, 1])}
    gaussian = tasks.SCORES.measures(scored(), SPLIT, SPLIT.test, out)
    assert gaussian["coverage_90"] == 1 and gaussian["variance_ratio"] == pytest.approx(2 / ((4 + 0 + 1) / 3))
    assert gaussian["nll"] == pytest.approx(-norm([52, 60, 79], [2, 1, 1]).logpdf([50, 60, 80]).mean())
    quantiles = np.array([[30.0], [51], [71]]) + np.arange(19)
    found = tasks.SCORES.measures(scored(), SPLIT, SPLIT.test, {**out, "quantiles": quantiles})
    assert "nll" not in found and found["coverage_90"] == pytest.approx(2 / 3) and found["sharpness_90"] == 18
    assert found["interval_90"] == pytest.approx(18 + 20 * 2 / 3) and set(found) | {"nll"} == set(gaussian)
    assert tasks.average("variance_error")([0.5, 0.9]) == pytest.approx(np.tanh(np.arctanh([0.5, 0.9]).mean()))
    assert not {"crps", "ece"} & set(tasks.SCORES.measures(scored(), SPLIT, SPLIT.test, {"score": out["score"]}))


def test_what_is_kept_of_scores_with_quantiles():
    out = {"score": np.arange(3.0), "variance": np.ones(3), "quantiles": np.arange(6.0).reshape(3, 2)}
    table = tasks.SCORES.kept(scored(), SPLIT.test, {5: {"score": np.zeros(3)}, 10: out})
    assert list(table) == ["id", "score", "step_5", "step_10", "variance", "quantile_0", "quantile_1"]
    assert table["id"].tolist() == ["e", "f", "h"] and table["quantile_1"].tolist() == [1, 3, 5]


def untrimmed():
    """Two training videos of class run, one of jump, a test video of each; a second a segment."""
    ids = ["r1", "r2", "j1", "r3", "j2"]
    rows = [(i, "run" if i[0] == "r" else "jump", 2.0, 4.0) for i in ids]
    seconds = np.stack([np.arange(6.0), np.arange(6.0) + 1], 1)[None].repeat(5, 0)
    return data_sets.AssessmentSet(
        name="five", features=np.ones((5, 6, 2), "f4"), ids=ids, seconds=seconds,
        actions=pd.DataFrame(rows, columns=["video", "label", "start", "end"]),
    )  # fmt: skip


PARTS = Split("official", np.array([0, 1, 2]), np.array([3, 4]))


def test_clusters_get_the_name_of_most_of_their_training_videos():
    found = {"cluster": np.array([7, 7, 3, 7, 3])}  # only the training videos' may count
    segments = [("r3", 7, 2.0, 4.0, 0.9), ("j2", 3, 2.0, 3.0, 0.8)]  # tIoU 1 and .5
    columns = ["video", "cluster", "start", "end", "score"]
    out = {"segments": pd.DataFrame(segments, columns=columns), "found": found}
    got = tasks.ACTIONS.measures(untrimmed(), PARTS, PARTS.test, out)
    assert (got["nmi"], got["ari"], got["purity"]) == (1, 1, 1)
    assert [got[f"mAP_{t:g}"] for t in (0.3, 0.5, 0.6, 0.7)] == [1, 1, 0.5, 0.5]
    assert got["average_mAP"] == pytest.approx((1 + 1 + 1 + 0.5 + 0.5) / 5)
    mixed = {"cluster": np.array([0, 1, 1, -1, -1])}  # cluster 1 has one of each: named by the first class of the two
    got = tasks.ACTIONS.measures(untrimmed(), PARTS, PARTS.test, {**out, "found": mixed})
    assert got["average_mAP"] == 0 and got["purity"] == pytest.approx(2 / 3)


def test_nothing_found_is_no_error():
    out = {"segments": pd.DataFrame(columns=["video", "cluster", "start", "end", "score"]), "found": {}}
    assert tasks.ACTIONS.measures(untrimmed(), PARTS, PARTS.test, out)["average_mAP"] == 0


def test_classes_are_seen_by_the_weakly_supervised_alone():
    data = untrimmed()
    assert tasks.ACTIONS.labels(data, PARTS, {"weak": False}).classes.tolist() == [-1] * 5
    assert tasks.ACTIONS.labels(data, PARTS, {"weak": True}).classes.tolist() == [1, 1, 0, -1, -1]


def test_a_split_without_a_held_out_pair_is_one_sentence_before_anything_is_trained():
    data = scored(pairs=[[0, 1], [1, 2], [0, 2]])
    with pytest.raises(UserError, match="the official split leaves no ranked pair with a held-out video") as error:
        tasks.PAIRS.labels(data, SPLIT, {"fraction": 1.0, "draw": 0})
    assert data.name in str(error.value) and "\n" not in str(error.value)


def test_data_of_another_kind_are_one_sentence():
    for task, data, words in (
        (tasks.SCORES, untrimmed(), "no scores to learn from"),
        (tasks.PAIRS, scored(), "no ranked pairs"),
        (tasks.ACTIONS, scored(), "no actions"),
    ):
        with pytest.raises(UserError, match=words):
            task.check(data)
    with pytest.raises(UserError, match="did you mean 'pairs'"):
        tasks.get("pair")
