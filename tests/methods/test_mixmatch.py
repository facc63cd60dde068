"""MixMatch for regression: its loss against ordinary modules, what it draws, and where its gradient goes."""

import numpy as np
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set
from scipy.stats import beta, kstest

from aqa_lib.methods._encoded import weak
from aqa_lib.methods.mixmatch import mix, share
from aqa_lib.models.functions import hashed, uniform
from benchmarks.plain.mixmatch import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "steps": 10, "weight": 0.7}


def drawn(batch):
    """The masks, the order and the Beta variable of a step of run 0, as the plain implementation takes them."""
    ones = torch.ones_like(batch.x[:, 1])
    kept = [weak(ones, batch.keys["hide"][:, i])[0].transpose(0, 1)[..., :1] for i in range(2)]
    order = np.argsort(hashed(batch.keys["shuffle"][0, 0], 24).numpy(), kind="stable")
    u = uniform(batch.keys["mix"][0, 0], (1,)).item()
    return {"kept": kept, "order": torch.from_numpy(order), "beta": beta.ppf(u, 0.5, 0.5)}


@pytest.mark.parametrize("step", [0, 2, 7])
def test_the_loss_and_its_gradient_are_those_of_ordinary_modules(step):
    data = noise_set(60, 5, 16)
    stack = make_stack("mixmatch", data, [RUN], dtype=torch.float64)
    batch, terms = stack.batch(step), losses_of(stack, step)
    x = batch.x[0].transpose(1, 2)
    peer = Peer(data, drop=0.0, weight=0.7).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1], **drawn(batch), ramp=min(step / 4, 1.0))
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
    assert terms["mixed"].item() > 0
    loss.backward()
    stack.model.differentiate(terms["loss"])
    found = dict(zip((n for n, _ in stack.model.named_parameters()), stack.model.parts, strict=True))
    conv = found["encoder.convs.0.weight"][1][0].permute(2, 1, 0)
    assert torch.allclose(conv, peer.encoder.convs[0].weight.grad, rtol=1e-8, atol=1e-12)
    for ours, theirs in zip(stack.model.encoder.norms, peer.encoder.norms, strict=True):
        assert torch.allclose(ours.mean[0], theirs.running_mean) and torch.allclose(ours.var[0], theirs.running_var)


def test_the_share_is_of_the_arcsine_law_and_at_least_a_half():
    u = torch.linspace(0, 1, 10001, dtype=torch.float64)[:-1]
    found = share(u).numpy()
    assert found.min() >= 0.5 and found.max() <= 1
    law = beta(0.5, 0.5)
    assert kstest(found, lambda t: law.cdf(t) - law.cdf(1 - t)).statistic < 1e-3


def test_a_mixture_by_hand():
    """Two runs, two sets of two videos, one segment of one number: each run is mixed by its own order and share."""
    x = torch.arange(8.0).view(2, 2, 1, 2, 1)
    y = 10 * torch.arange(8.0).view(2, 2, 2)
    order = torch.tensor([[3, 0, 2, 1], [1, 0, 3, 2]])
    mixed, scores = mix(x, y, order, torch.tensor([[0.75], [0.5]]))
    expected = [[0 + 0.75, 0.75, 2.0, 2.25 + 0.25], [4.5, 4.5, 6.5, 6.5]]
    assert mixed.view(2, 4).tolist() == expected
    assert torch.allclose(scores.view(2, 4), 10 * torch.tensor(expected))


def test_the_orders_of_runs_and_steps_differ_and_are_permutations():
    stack = make_stack("mixmatch", noise_set(60, 5, 16), [{**RUN, "seed": k} for k in range(2)])
    orders = [hashed(stack.batch(step).keys["shuffle"][:, 0], 24).argsort(1) for step in range(2)]
    orders = torch.cat(orders)
    assert (orders.sort(1).values == torch.arange(24)).all() and len({tuple(o.tolist()) for o in orders}) == 4


def test_nothing_is_learned_from_unlabelled_videos_before_the_warm_up():
    stack = make_stack("mixmatch", noise_set(60, 5, 16), [RUN])
    assert losses_of(stack, 0)["loss"].item() == losses_of(stack, 0)["regression"].item()
    assert gradients(stack, "mixed")["encoder"] > 0 < gradients(stack, "mixed")["regressor"]
    assert losses_of(stack, 1)["loss"].item() > losses_of(stack, 1)["regression"].item()
