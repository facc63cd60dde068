"""USDL: its loss against ordinary modules in float64, its target by hand, and what it predicts."""

import math

import numpy as np
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set
from scipy.stats import rv_discrete

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.methods.usdl import log_target
from aqa_lib.models.usdl import spread
from aqa_lib.training import train
from aqa_lib.training.packing import stacks
from benchmarks.plain.usdl import Peer

RUN = {"batch": 8, "fraction": 0.4, "steps": 10}


@pytest.mark.parametrize("settings", [{}, {"bins": 25, "sigma": 1.0, "top": 1.0}])
def test_the_loss_is_that_of_ordinary_modules(settings):
    data = noise_set(60, 5, 16)
    stack = make_stack("usdl", data, [{**RUN, **settings}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    peer = Peer(data, **settings).double().load(stack)
    loss = peer.loss(batch.x[0, 0].transpose(0, 1), batch.y[0], None)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    stack.model.differentiate(terms["loss"])
    loss.backward()
    (_, mine), *_ = stack.model.parts  # the first layer's
    assert torch.allclose(mine[0], peer.net[0].weight.grad.T, rtol=1e-10, atol=1e-14)


def test_the_target_by_hand():
    """Bins 0, 1, 2, sigma 1, a score at 1.5: exp(-9/8), exp(-1/8), exp(-1/8), to sum 1; far outside, the last bin."""
    t = [math.exp(-9 / 8), math.exp(-1 / 8), math.exp(-1 / 8)]
    c = torch.tensor([[1.5, 90.0]]).double()
    target = log_target(c, 3, 1.0).exp()[0]
    assert np.allclose(target[0], [v / sum(t) for v in t], rtol=1e-12)
    assert target[1].tolist() == pytest.approx([0, 0, 1])


def test_the_likeliest_bin_or_the_expectation():
    """Scores reach 1.1 times the largest labelled one, in a hundred steps, or any number between."""
    data = noise_set(60, 5, 16)
    for output in ("argmax", "expectation"):
        stack = make_stack("usdl", data, [{**RUN, "output": output, "bins": 3, "top": 1.2}])
        logits = torch.tensor([[[0.0, 0.0, -99.0], [0.0, 2.0, 99.0], [-99.0, math.log(3), 0.0]]])
        scores = stack.model.scores(logits)[0].tolist()
        assert scores == pytest.approx([0, 6, 3] if output == "argmax" else [1.5, 6, 3 * 0.75 + 6 * 0.25])


def test_arg_max_ties_and_expectation_does_not():
    data = noise_set(80, 5, 16)
    runs = [{**RUN, "steps": 30, "lr": 4e-3, "output": output} for output in ("argmax", "expectation")]
    ties, none = (r.predictions["step_30"].to_numpy() for r in train("usdl", data, official(data), runs))
    top = 1.1 * largest(data, runs[0])
    assert len(np.unique(ties)) < len(np.unique(none)) == len(none)
    assert np.allclose(100 * ties / top, np.rint(100 * ties / top), atol=1e-3)


def largest(data, run):
    """The largest labelled score of a run."""
    (labels,) = make_stack("usdl", data, [run]).labels
    return np.nanmax(labels.scores)


def test_every_layer_learns_and_no_unlabelled_video_is_drawn():
    stack = make_stack("usdl", noise_set(60, 5, 16), [RUN])
    assert all(size > 0 for size in gradients(stack).values())
    assert stack.batch(0).x.shape[1] == 1 and not methods.get("usdl").unlabelled(stack.runs[0])


def test_the_distribution_that_is_stated_by_hand_and_by_scipy():
    """Bins 0, 1, 2 with chances .1, .6, .3: mean 1.2, variance .36; a quantile is the first bin to reach its level."""
    variance, quantiles = spread(torch.tensor([[0.1, 0.6, 0.3]]).double(), (0.0, 1.0, 2.0))
    assert variance.item() == pytest.approx(0.36)
    assert quantiles[0].tolist() == [0, 0, *[1] * 12, *[2] * 5]  # up to .10, up to .70, beyond
    p = np.random.default_rng(0).dirichlet(np.ones(30))
    by_scipy = rv_discrete(values=(np.arange(30), p))
    variance, quantiles = spread(torch.from_numpy(p), tuple(0.5 * k for k in range(30)))
    assert variance.item() == pytest.approx(by_scipy.var() / 4)
    assert quantiles.tolist() == pytest.approx(by_scipy.ppf(LEVELS) / 2)


def test_its_two_outputs_are_one_network():
    """They train as one stack, and state one distribution, in the units of the scores."""
    data, method = noise_set(80, 5, 16), methods.get("usdl")
    runs = [{**RUN, **s} for s in method.variants.values()]
    assert list(method.variants) == ["USDL", "USDL, expectation"]
    assert list(stacks(method, data, [method.resolve(r) for r in runs], "cpu")) == [[0, 1]]
    a, b = (r.predictions for r in train("usdl", data, official(data), runs))
    assert a["variance"].equals(b["variance"]) and a["quantile_9"].equals(b["quantile_9"])
    stack = make_stack("usdl", data, runs[1:])
    (out,) = stack.predict(official(data).test)
    z = stack.model(torch.from_numpy(data.features[official(data).test].mean(1))[None])[0].softmax(-1)
    at = np.linspace(0, 1.1 * largest(data, RUN), 101)
    p = z.detach().double().numpy()
    assert np.allclose(out["variance"], p @ at**2 - (p @ at) ** 2, rtol=1e-3)
    assert np.allclose(out["score"], p @ at, rtol=1e-5)
