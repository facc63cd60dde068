"""Three methods of other kinds prove the contract, a file each: a likelihood, ranked pairs, rounds of clustering."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr

from aqa_lib import data as data_sets
from aqa_lib import tasks
from aqa_lib.data import splits
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.training import contract, train
from aqa_lib.training.restore import trained
from aqa_lib.training.stack import Stack

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def method(name):
    found = importlib.import_module(f"contract.{name}").METHOD
    found.name, found.title = name, found.title or name
    return found


def same_weights(a, b):
    return all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights)


# ---- a score as a distribution


@pytest.fixture(scope="module")
def easy():
    return data_sets.load("surrogate", n_train=160, n_test=80, execution=3.0, classes=1, nuisance=0.3)


def test_a_likelihood_predicts_a_variance_in_the_judges_unit(easy):
    run = {"steps": 250, "lr": 4e-3, "fraction": 0.4, "seed": 3}
    (result,) = train(method("dae"), easy, official(easy), [run], weights=True)
    table, last = result.predictions, result.metrics
    assert last["spearman"] > 0.6 and last["spearman"] == pytest.approx(spearmanr(table["step_250"], table["score"])[0])
    density = norm(table["step_250"], np.sqrt(table["variance"]))
    assert last["nll"] == pytest.approx(-density.logpdf(table["score"]).mean(), rel=1e-4)
    inside = (density.ppf(0.05) <= table["score"]) & (table["score"] <= density.ppf(0.95))
    assert last["coverage_90"] == pytest.approx(inside.mean(), abs=0.02)

    twice = data_sets.AssessmentSet(
        name=easy.name, features=easy.features, scores=2 * easy.scores, ids=easy.ids, table=easy.table
    )
    (other,) = train(method("dae"), twice, official(twice), [run])  # the same in the network, twice in units
    np.testing.assert_allclose(other.predictions["step_250"], 2 * table["step_250"], rtol=1e-5)
    np.testing.assert_allclose(other.predictions["variance"], 4 * table["variance"], rtol=1e-5)


def test_its_network_is_used_again_without_the_training_set(easy, monkeypatch):
    run = {"steps": 20, "fraction": 0.4}
    (result,) = train(method("dae"), easy, official(easy), [run], weights=True)
    monkeypatch.setattr("aqa_lib.methods.get", method)
    again = trained(result.weights, json.loads(json.dumps(result.about))).predict(easy, official(easy).test)
    np.testing.assert_allclose(again["score"], result.predictions["step_20"], rtol=1e-5)
    np.testing.assert_allclose(again["variance"], result.predictions["variance"], rtol=1e-5)


# ---- what is given at test


def test_a_method_is_given_what_is_known_of_every_video():
    """With the difficulty it ranks better than with the same number for all, and the restored run asks for it, too."""
    run = {"steps": 250, "lr": 3e-2, "fraction": 0.4}
    easy = data_sets.load("surrogate", n_train=160, n_test=80, execution=3.0, nuisance=0.3)  # of many difficulties
    flat = dataclasses.replace(easy, difficulty=np.ones(len(easy)))
    with_it, without = (train(method("given"), d, official(d), [run])[0] for d in (easy, flat))
    assert with_it.metrics["spearman"] > without.metrics["spearman"] + 0.02
    holes = easy.difficulty.copy()
    holes[5] = np.nan
    with pytest.raises(UserError, match=f"given difficulty, which is not known of '{easy.ids[5]}'"):
        train(method("given"), dataclasses.replace(easy, difficulty=holes), official(easy), [run])
    with pytest.raises(UserError, match="no difficulty to be given"):
        train(method("given"), dataclasses.replace(easy, difficulty=None), official(easy), [run])


# ---- ranked pairs


def ranked(n=60, T=4, D=12, seed=0):
    """Items whose skill is a direction of their features, and pairs within four groups of them."""
    rng = np.random.default_rng(seed)
    skill, group = rng.normal(size=n), np.arange(n) % 4
    x = rng.normal(size=(n, T, D)).astype("f4")
    x[:, :, 0] += 2 * skill[:, None]
    pairs = [(i, j) for i in range(n) for j in range(n) if group[i] == group[j] and skill[i] > skill[j] + 0.1]
    import pandas as pd

    table = pd.DataFrame({"fold_group": [f"g{g}" for g in group]})
    ids = np.array([f"v{i:02d}" for i in range(n)])
    return data_sets.AssessmentSet(name="ranked", features=x, ids=ids, table=table, pairs=pairs), skill


def test_a_batch_knows_the_pairs_that_the_run_may_know():
    data, _ = ranked()
    split = splits.get("fold:group/g1")(data)
    ranker = method("margin")
    runs = [ranker.resolve({"fraction": f, "seed": k, "batch": 12}) for k, f in enumerate((1.0, 0.3))]
    labels = [tasks.PAIRS.labels(data, split, s) for s in runs]
    stack = Stack(ranker, data, split, runs, labels, "cpu")
    batch = stack.batch(5)
    better, items = batch.better(), batch.items[:, 0]
    for k, lab in enumerate(labels):
        known = set(map(tuple, lab.pairs.tolist()))
        for i in range(12):
            for j in range(12):
                assert better[k, i, j] == ((items[k, i].item(), items[k, j].item()) in known)
        assert better[k].sum() >= 6  # a batch is made of known pairs
        assert not np.isin(items[k], split.test).any()
    assert len(labels[1].pairs) == round(0.3 * len(labels[0].pairs))
    assert {tuple(p) for p in labels[1].pairs} < {tuple(p) for p in labels[0].pairs}


@pytest.mark.slow
def test_ranking_learns_from_pairs_and_is_tested_on_held_out_groups():
    data, skill = ranked()
    names = splits.every(data, "fold:group")
    parts = [splits.get(name)(data) for name in names]
    runs = [{"steps": 120, "lr": 4e-3, "batch": 16, "seed": k} for k in range(len(parts))]
    together = train(method("margin"), data, parts, runs, weights=True)
    for part, run, stacked in zip(parts, runs, together, strict=True):
        assert stacked.metrics["pairwise_accuracy"] > 0.8
        held = [(i, j) for i, j in data.pairs if i in part.test and j in part.test]
        score = dict(zip(stacked.predictions["id"], stacked.predictions["step_120"], strict=True))
        right = np.mean([score[data.ids[i]] > score[data.ids[j]] for i, j in held])
        assert stacked.metrics["pairwise_accuracy"] == pytest.approx(right)
        (alone,) = train(method("margin"), data, part, [run], weights=True)
        assert max(np.abs(alone.weights[n] - stacked.weights[n]).max() for n in alone.weights) < 2e-5
    with pytest.raises(UserError, match="no ranked pairs"):
        plain = data_sets.load("surrogate", n_train=20, n_test=10, T=4, D=8)
        train(method("margin"), plain, official(plain), runs[:1])


@pytest.mark.slow
def test_ranking_on_ui_prmd_with_subjects_held_out():
    if not (SHARED / "ui_prmd").is_dir():
        pytest.skip("needs ../shared/data/ui_prmd")
    data = data_sets.load("ui_prmd", SHARED / "ui_prmd", movement="m01", kind="statistics", segments=6)
    names = splits.every(data, "fold:subject")[:3]
    parts = [splits.get(name)(data) for name in names]
    runs = [{"steps": 100, "lr": 4e-3, "seed": k} for k in range(3)]
    for part, result in zip(parts, train(method("margin"), data, parts, runs), strict=True):
        assert len(set(data.groups[part.test])) == 1 and not set(data.groups[part.test]) & set(data.groups[part.train])
        assert result.metrics["pairwise_accuracy"] > 0.7  # .5 is chance


# ---- rounds


@pytest.fixture(scope="module")
def untrimmed():
    return data_sets.load("untrimmed", classes=4, train=10, test=5, D=32, least=40, most=90)


ROUND = {"steps": 240, "round": 40, "lr": 3e-3, "batch": 16}


@pytest.fixture(scope="module")
def rounds(untrimmed):
    """Runs of which some finish before others, and one whose rounds are longer."""
    runs = [{**ROUND, "seed": 0}, {**ROUND, "seed": 1}, {**ROUND, "seed": 2, "round": 60}]
    return runs, train(method("rounds"), untrimmed, official(untrimmed), runs, weights=True)


def test_rounds_find_the_planted_actions(untrimmed, rounds):
    runs, results = rounds
    for run, result in zip(runs, results, strict=True):
        curve = result.curve
        assert curve["nmi"].iloc[-1] > 0.75 and curve["average_mAP"].iloc[-1] > 0.6
        assert list(curve["step"]) == [run["round"] * (i + 1) for i in range(len(curve))]
        found = result.predictions
        assert set(found["video"]) <= set(untrimmed.ids[official(untrimmed).test])
        last = untrimmed.seconds[int(np.flatnonzero(untrimmed.ids == found["video"].iloc[0])[0])][-1, 1]
        assert (found["end"] > found["start"]).all() and found["end"].iloc[0] <= last + 1e-9
    assert min(r.metrics["steps_taken"] for r in results) < 240  # by itself, when two rounds agree


def test_a_run_in_rounds_has_the_bits_that_it_has_alone(untrimmed, rounds):
    runs, results = rounds
    for k in (1, 2):
        (alone,) = train(method("rounds"), untrimmed, official(untrimmed), [runs[k]], weights=True)
        assert same_weights(alone, results[k]) and alone.curve.equals(results[k].curve)
        assert alone.predictions.equals(results[k].predictions)


def test_a_restart_touches_nobody_else(untrimmed):
    split, rounds_ = official(untrimmed), method("rounds")
    runs = [rounds_.resolve({**ROUND, "seed": k}) for k in range(3)]
    labels = [tasks.ACTIONS.labels(untrimmed, split, s) for s in runs]

    def after(places, restart):
        stack = Stack(rounds_, untrimmed, split, [runs[k] for k in places], [labels[k] for k in places], "cpu")
        for step in range(10):
            if step == 5 and restart is not None:
                stack.restart([restart], 1)
            stack.model.differentiate(rounds_.losses(stack.model, stack.batch(step))["loss"])
            stack.optimiser.step()
        return stack

    undisturbed, restarted = after([0, 1, 2], None), after([0, 1, 2], 1)
    for k in (0, 2):
        assert torch.equal(undisturbed.model.flat[k], restarted.model.flat[k])
    assert torch.equal(after([1], 0).model.flat[0], restarted.model.flat[1])
    assert restarted.optimiser.counts == [10, 5, 10]


def test_training_windows_keep_the_bits_of_a_run_alone(untrimmed):
    runs = [{**ROUND, "steps": 60, "round": 30, "window": 20, "seed": k} for k in range(2)]
    together = train(method("rounds"), untrimmed, official(untrimmed), runs, weights=True)
    (alone,) = train(method("rounds"), untrimmed, official(untrimmed), runs[1:], weights=True)
    assert same_weights(alone, together[1])


def test_a_method_of_actions_refuses_a_scored_set():
    scored = data_sets.load("surrogate", n_train=20, n_test=10, T=4, D=8)
    with pytest.raises(UserError, match="has no actions"):
        train(method("rounds"), scored, official(scored), [ROUND])


@pytest.mark.parametrize("name", ["dae", "given", "margin", "rounds"])
def test_they_keep_the_contract(name):
    """Every check of `aqa check-method`, which goes by the file."""
    file = Path(__file__).parent / f"{name}.py"
    assert [words for words, complaint in contract.findings(file) if complaint] == []
