"""Quantile regression: the pinball loss by hand, quantiles that never cross, and the variance that is read off them."""

import numpy as np
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set, uneven_noise
from scipy import stats

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.evaluation.calibration import LEVELS, pinball_loss, quantile_coverage
from aqa_lib.methods.quantile_regression import pinball, quantiles, variance
from aqa_lib.training import train

RUN = {"batch": 32, "fraction": 0.4, "steps": 10}


def test_the_pinball_loss_by_hand():
    """A score of 3: quantiles below it cost p times the distance, those above 1 - p times it."""
    q = torch.zeros(1, 19).double()
    q[0, :10], q[0, 10:] = 1.0, 7.0
    cost = pinball(q, torch.tensor([3.0]).double())[0]
    assert cost[0].item() == pytest.approx(0.05 * 2) and cost[9].item() == pytest.approx(0.5 * 2)
    assert cost[10].item() == pytest.approx(0.45 * 4) and cost[18].item() == pytest.approx(0.05 * 4)


def test_the_loss_of_a_run_is_the_mean_over_levels_and_videos():
    stack = make_stack("quantile_regression", noise_set(), [RUN, {**RUN, "seed": 1}], dtype=torch.float64)
    batch, loss = stack.batch(0), losses_of(stack)["loss"]
    q = quantiles(stack.model(batch.x[:, 0].mean(1))).detach().numpy()
    for k in range(2):
        assert loss[k].item() == pytest.approx(pinball_loss(q[k], batch.y[k].numpy(), LEVELS).mean(), rel=1e-12)
    assert all(size > 0 for size in gradients(stack).values())
    assert not methods.get("quantile_regression").unlabelled(stack.runs[0])


def test_quantiles_by_hand_and_in_order_whatever_the_outputs_are():
    normal = quantiles(torch.zeros(19).double())
    assert np.allclose(normal, stats.norm.ppf(LEVELS), atol=1e-12)
    z = torch.zeros(19).double()
    z[9], z[10], z[7] = 2.0, 3.0, -1.0
    u, soft = stats.norm.ppf(LEVELS), np.logaddexp(0, z.numpy()) / np.log(2)
    q = quantiles(z)
    assert q[9] == 2 and q[10].item() == pytest.approx(2 + u[10] * soft[10])
    assert q[8].item() == pytest.approx(2 + u[8]) and q[7].item() == pytest.approx(2 + u[8] + (u[7] - u[8]) * soft[7])
    assert q[18].item() == pytest.approx(2 + u[10] * soft[10] + u[18] - u[10])
    for scale in (1.0, 30.0, 1e4):
        z = (scale * torch.randn(50, 19, generator=torch.Generator().manual_seed(0))).requires_grad_()
        q = quantiles(z)
        (g,) = torch.autograd.grad(pinball(q, torch.zeros(50)).sum(), z)
        assert (q.diff() >= 0).all() and q.isfinite().all() and g.isfinite().all()


def test_the_variance_of_quantiles():
    """Exact for a Gaussian; else the slope that numpy finds, too little for heavy tails and too much for none."""
    q = stats.norm.ppf(LEVELS, 3, 1.7)
    assert variance(torch.as_tensor(q)).item() == pytest.approx(1.7**2, rel=1e-12)
    heavy, none = stats.t(3), stats.uniform()
    found = [variance(torch.as_tensor(law.ppf(LEVELS))).item() for law in (heavy, none)]
    slopes = [np.polyfit(stats.norm.ppf(LEVELS), law.ppf(LEVELS), 1)[0] for law in (heavy, none)]
    assert found == pytest.approx(np.square(slopes), rel=1e-12)
    assert 0.5 * heavy.var() < found[0] < heavy.var() and none.var() < found[1] < 1.25 * none.var()


def test_predictions_are_in_the_datas_units():
    data = noise_set()
    stack = make_stack("quantile_regression", data, [RUN], dtype=torch.float64)
    (out,), unit = stack.predict(np.arange(60)), 5 / np.nanmax(stack.labels[0].scores)
    q = quantiles(stack.model(torch.as_tensor(data.features).double().mean(1)[None]))[0].detach().numpy()
    assert out["quantiles"].shape == (60, 19) and np.allclose(out["quantiles"], q / unit, rtol=1e-9)
    assert np.array_equal(out["score"], out["quantiles"][:, 9])
    slopes = [np.polyfit(stats.norm.ppf(LEVELS), row / unit, 1)[0] for row in q]
    assert np.allclose(out["variance"], np.square(slopes), rtol=1e-9)


def test_a_run_of_a_stack_is_the_run_alone():
    data, runs = noise_set(), [{**RUN, "seed": k, "draw": k, "lr": 2e-3 * (k + 1)} for k in range(3)]
    runs[1]["steps"] = 4
    for one, run in zip(train("quantile_regression", data, official(data), runs), runs, strict=True):
        (alone,) = train("quantile_regression", data, official(data), [run])
        assert one.complete and one.predictions.equals(alone.predictions) and "quantile_18" in one.predictions


def test_quantiles_follow_the_planted_noise():
    """The stated deviation is the planted one's, and about a share p of unseen scores is below the p-quantile."""
    data, sd = uneven_noise()
    split, run = official(data), {"fraction": 1.0, "how": "random", "steps": 800, "lr": 4e-3}
    (result,) = train("quantile_regression", data, split, [run])
    table, sd = result.predictions, sd[split.test]
    assert np.corrcoef(np.sqrt(table["variance"]), sd)[0, 1] > 0.5
    below = quantile_coverage(table[[f"quantile_{i}" for i in range(19)]].to_numpy(), data.scores[split.test])
    assert np.abs(below - LEVELS).max() < 0.15
