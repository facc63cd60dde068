"""VAT: its loss and gradient against ordinary modules in float64, and what the perturbation is."""

import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set

from aqa_lib.methods.vat import direction, distance
from aqa_lib.models.functions import uniform
from benchmarks.plain.vat import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4}


def drawn(batch):
    """The numbers that the direction starts from, [K,T,B,D]."""
    return uniform(batch.keys["direction"][:, 0], batch.x.shape[2:]) - 0.5


@pytest.mark.parametrize("stop", [False, True])
def test_loss_and_gradient_are_those_of_ordinary_modules(stop):
    data = noise_set()
    stack = make_stack("vat", data, [{**RUN, "stop": stop}], dtype=torch.float64)
    terms, batch = losses_of(stack), stack.batch(0)
    x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
    peer = Peer(data, drop=0.0, stop=stop).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1], d=drawn(batch)[0].transpose(0, 1).double(), seed=0)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
    stack.model.differentiate(terms["loss"])
    loss.backward()
    mine = {id(p): g for p, g in stack.model.parts}
    for layer, conv in enumerate(peer.encoder.convs):
        g = mine[id(stack.model.encoder.convs[layer].weight)][0].permute(2, 1, 0)
        assert torch.allclose(g, conv.weight.grad, rtol=1e-8, atol=1e-12)
    g = mine[id(stack.model.regressor.first.weight)][0].T
    assert torch.allclose(g, peer.regressor[0].weight.grad, rtol=1e-8, atol=1e-12)


def test_the_perturbation_has_its_norm_and_moves_more_than_a_random_one():
    """For two runs of different eps; and the small step is no smaller than fp32 can see."""
    runs = [RUN, {**RUN, "eps": 0.5, "seed": 1}]
    directions = []
    for dtype in (torch.float32, torch.float64):
        stack = make_stack("vat", noise_set(), runs, dtype=dtype)
        batch = stack.batch(0)
        x = batch.x[:, 1]
        label = stack.method.virtual(stack.model, x, batch).detach()
        r = stack.method.adversary(stack.model, x, label, batch)
        norms = r.transpose(1, 2).flatten(2).norm(dim=2)
        assert torch.allclose(norms, torch.tensor([[2.5], [0.5]], dtype=dtype), rtol=1e-5)
        other = direction(drawn(batch).to(dtype)) * norms[:, None, :, None]
        moved = [distance(stack.method.virtual(stack.model, x + p, batch), label) for p in (r, other)]
        assert (moved[0] > 2 * moved[1]).all()
        directions.append(r.double())
    cosine = torch.nn.functional.cosine_similarity(*(r.flatten(1) for r in directions))
    assert (cosine > 0.999).all()


def test_clean_and_perturbed_passes_share_dropout():
    """So that a perturbation of nothing changes nothing."""
    still, moved = (make_stack("vat", noise_set(), [{**RUN, "drop": 0.5, "eps": eps}]) for eps in (0.0, 0.1))
    assert losses_of(still)["adversarial"].item() == 0 < losses_of(moved)["adversarial"].item()


def test_gradients():
    """The adversarial loss stops before the last layer; the search for its direction leaves no trace."""
    stack = make_stack("vat", noise_set(), [RUN])
    parts = gradients(stack, "adversarial")
    assert parts["encoder"] > 0 < parts["regressor"]
    grads = {id(p): g for p, g in stack.model.parts}
    assert grads[id(stack.model.regressor.first.weight)].abs().sum() > 0
    assert grads[id(stack.model.regressor.last.weight)].abs().sum() == 0
    assert all(p.grad is None for p in stack.model.parameters())


def test_running_statistics_follow_the_labelled_alone():
    """They are those of a pass over the labelled videos, whatever the perturbation."""
    runs = [{**RUN, "eps": eps} for eps in (0.0, 9.0)]
    stacks = [make_stack("vat", noise_set(), [run]) for run in runs]
    for stack in stacks:
        losses_of(stack)
    plain = make_stack("vat", noise_set(), [RUN])
    plain.model.encoder(plain.batch(0).x[:, :1])
    for layer in range(3):
        mean = plain.model.encoder.norms[layer].mean
        assert all(torch.equal(stack.model.encoder.norms[layer].mean, mean) for stack in stacks)
        assert mean.abs().sum() > 0
