"""Every method, found by its file, keeps the contract; and the losses against arithmetic done by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers import fitted, gradients, make_stack, noise_set
from scipy.stats import spearmanr

from aqa_lib import data as data_sets
from aqa_lib import losses, methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.tasks import SCORES
from aqa_lib.training import contract, train

EASY = {"n_train": 160, "n_test": 80, "execution": 3.0, "classes": 1, "nuisance": 0.3}


@pytest.fixture(scope="module")
def easy():
    return data_sets.load("surrogate", **EASY)


def quick(name, **settings):
    steps = {"steps": 250, "lr": 4e-3} if methods.get(name).gradient else {}
    return {"fraction": 0.4, **steps, **methods.get(name).small, **settings}


@pytest.mark.slow
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", methods.names())
def test_a_method_keeps_the_contract(name, check):
    assert contract.complaint(check, methods.path(name)) == ""


@pytest.mark.parametrize("name", ["ridge", "s4aqa"])
def test_the_metrics_of_a_run_are_those_of_its_predictions(name, easy):
    (result,) = train(name, easy, official(easy), [quick(name)])
    last = result.predictions.iloc[:, -1]
    assert result.metrics["spearman"] == pytest.approx(spearmanr(last, result.predictions["score"])[0], abs=1e-6)


def test_a_method_that_peeks_gets_nan(easy, monkeypatch):
    """One that adds the scores of its unlabelled videos to its loss is stopped, with a reason."""
    s4aqa = methods.get("s4aqa")
    honest = type(s4aqa).losses

    def peeking(self, model, batch):
        items = batch.stack.items[batch.step % 256][:, 1]  # the unlabelled of this step
        terms = honest(self, model, batch)
        return terms | {"loss": terms["loss"] + batch.stack.y.gather(1, items).sum(1)}

    assert train("s4aqa", easy, official(easy), [quick("s4aqa", steps=5)])[0].complete
    monkeypatch.setattr(type(s4aqa), "losses", peeking)
    (result,) = train("s4aqa", easy, official(easy), [quick("s4aqa", steps=5)])
    assert not result.complete and "the loss is nan" in result.reason


def test_losses_by_hand():
    """Float64, two runs: a mean over items and dimensions, never over runs."""
    y, yhat = torch.tensor([[1.0, 2.0], [0.0, 4.0]]).double(), torch.tensor([[2.0, 0.0], [1.0, 1.0]]).double()
    assert losses.squared_error(yhat, y).tolist() == [(1 + 4) / 2, (1 + 9) / 2]
    v = torch.zeros(2, 2, 3).double()
    r = torch.tensor([[[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0], [-1.0, -1.0, -4.0]]]).double()
    assert losses.recovery(r, v).tolist() == [1.0, 1.5]
    z = [torch.tensor([[0.0, 2.0]]).double(), torch.tensor([[1.0, -1.0]]).double()]
    by_hand = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    by_hand += 0.5 * (math.log(1 + math.exp(1)) + math.log(1 + math.exp(-1))) / 2
    weight = torch.tensor([[1.0, 0.5]]).double()
    assert losses.domain_confusion(z, [True, False], weight).item() == pytest.approx(by_hand, abs=1e-15)
    keeps = torch.tensor([[1.0, -1.0]]).double()  # the second place has changed its domain
    by_hand = (math.log(2) + math.log(1 + math.exp(2))) / 2
    by_hand += 0.5 * 2 * math.log(1 + math.exp(1)) / 2
    assert losses.domain_confusion(z, [True, False], weight, keeps).item() == pytest.approx(by_hand, abs=1e-15)


def test_gradients_flow_where_they_should():
    """AA moves neither decoder nor discriminator; recovery moves no regressor; alignment reverses at the encoder."""
    data = noise_set(80, 5, 16)

    def moved(**run):
        return gradients(make_stack("s4aqa", data, [{"seed": 1, "fraction": 0.3, "batch": 8, **run}]))

    aa = moved(recover=False, align=False)
    assert aa["encoder"] > 0 < aa["regressor"] and aa["decoder"] == 0 == aa["discriminator"]
    recovery = moved(align=False, lambda1=3.0)
    assert recovery["decoder"] > 0 == recovery["discriminator"] and recovery["regressor"] == aa["regressor"]
    silent = moved(align=True, grl=0.0, recover=False)
    assert silent["discriminator"] > 0 and silent["encoder"] == pytest.approx(aa["encoder"], rel=1e-6)


def test_ridge_is_the_closed_form(easy):
    """Against the normal equations of the standardised, centred problem in float64, at the alpha it chose."""
    split = official(easy)
    labels = SCORES.labels(easy, split, methods.get("ridge").resolve({"fraction": 0.4}))
    x, y = easy.features[split.train], labels.scores[split.train]
    predict = fitted("ridge", x, y)
    known = np.isfinite(y)
    v = x.mean(1, dtype=np.float64)
    mean, sd = v[known].mean(0), v[known].std(0)
    v, target = (v - mean) / sd, y[known] - y[known].mean()
    errors = {}
    for alpha in np.logspace(-2, 5, 15):
        hat = v[known] @ np.linalg.solve(v[known].T @ v[known] + alpha * np.eye(v.shape[1]), v[known].T)
        leverage = np.diag(hat) + 1 / known.sum()  # the intercept's share
        errors[alpha] = np.mean(((target - hat @ target) / (1 - leverage)) ** 2)
    alpha = min(errors, key=errors.get)
    w = np.linalg.solve(v[known].T @ v[known] + alpha * np.eye(v.shape[1]), v[known].T @ target)
    test = (easy.features[split.test].mean(1, dtype=np.float64) - mean) / sd
    assert np.allclose(predict(easy.features[split.test]), test @ w + y[known].mean(), atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_precision_is_an_option_that_changes_little(precision, easy):
    runs = [quick("s4aqa", precision=p, steps=100) for p in ("fp32", precision)]
    exact, rounded = train("s4aqa", easy, official(easy), runs)
    a, b = (r.curve["loss"].to_numpy() for r in (exact, rounded))
    assert np.allclose(a, b, rtol=0.02)
    assert np.array_equal(a, b) == (precision == "tf32")  # a mode of GPUs, which changes nothing here


@pytest.mark.slow
def test_compiling_is_an_option(easy):
    """Through the whole of torch.compile but its code generator, which takes a minute."""
    run, split = quick("s4aqa", steps=20), official(easy)
    eager, compiled = (train("s4aqa", easy, split, [run], compile=c) for c in (False, "aot_eager"))
    assert np.allclose(eager[0].predictions["step_20"], compiled[0].predictions["step_20"], rtol=1e-3)


def test_settings_take_numpys_numbers_and_no_none():
    method = methods.get("s4aqa")
    full = method.resolve({"seed": np.int64(3), "lr": np.float32(0.5), "recover": np.bool_(False), "lambda1": 2})
    assert (full["seed"], full["lr"], full["recover"], full["lambda1"]) == (3, 0.5, False, 2.0)
    assert [type(full[n]) for n in ("seed", "lr", "recover", "lambda1")] == [int, float, bool, float]
    for name in ("seed", "lr", "recover", "steps", "fraction"):
        with pytest.raises(UserError, match=name):
            method.resolve({name: None})


def test_a_data_set_of_ones_own(easy, tmp_path):
    path = easy.save(tmp_path / "own.safetensors")
    own = data_sets.load("file", path)
    assert np.array_equal(own.features, easy.features) and np.array_equal(own.ids, easy.ids)
    mark = data_sets.fingerprint("file", path)
    assert len(mark) == 16 and data_sets.fingerprint("surrogate") is None
    dataclasses.replace(easy, scores=easy.scores + 1).save(path)
    assert data_sets.fingerprint("file", path) != mark
    for root, words in ((None, "needs root"), (tmp_path / "none.safetensors", "none.safetensors")):
        with pytest.raises(UserError, match=words):
            data_sets.fingerprint("file", root)


@pytest.mark.parametrize("modality", ["rgb+flow", "turned"])
def test_ridge_sees_what_it_is_given(modality, easy):
    """Side by side it is ridge on the longer features; turned it is ridge on four times as many videos."""
    split, run = official(easy), {"fraction": 0.4, "modality": modality}
    (result,) = train("ridge", easy, split, [run])
    labelled = SCORES.labels(easy, split, methods.get("ridge").resolve(run)).train
    views = [easy.features] + [easy.view(v) for v in methods.get("ridge").views(run)]
    if modality == "turned":
        x, y = np.concatenate([v[labelled] for v in views]), np.tile(easy.scores[labelled], 4)
        test = easy.features[split.test]
    else:
        x, y = np.concatenate([v[labelled] for v in views], 2), easy.scores[labelled]
        test = np.concatenate([v[split.test] for v in views], 2)
    expected = fitted("ridge", x, y)(test)
    assert np.allclose(result.predictions["step_0"], expected, rtol=1e-5)
