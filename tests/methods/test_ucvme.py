"""UCVME: its loss and gradient against ordinary modules in float64, the formula by hand, and its ensemble."""

import math

import pytest
import torch
from helpers import losses_of, make_stack, noise_set, scores

from aqa_lib.methods.ucvme import likelihood
from aqa_lib.models.functions import hashed
from benchmarks.plain.ucvme import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4}


def test_the_likelihood_by_hand():
    """Two networks, two videos; a shared log variance, and one each."""
    y = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]]).double()
    target, z = torch.tensor([[2.0, 2.0]]).double(), math.log(2)
    shared = (1 / 2 + z + 1 / 2 + z + 0 + z + 0 + z) / 2 / 2
    assert likelihood(y, target, torch.full((1, 1, 2), z).double()).item() == pytest.approx(shared)
    own = torch.tensor([[[0.0, 0.0], [z, z]]]).double()
    assert likelihood(y, target, own).item() == pytest.approx((1 + 1 + z + z) / 2 / 2)


@pytest.mark.parametrize("variance", ["mean", "own"])
def test_loss_and_gradient_are_those_of_ordinary_modules(variance):
    """The gradients too, so that pseudo-labels send none back."""
    data = noise_set()
    stack = make_stack("ucvme", data, [{**RUN, "variance": variance, "weight": 3.0}], dtype=torch.float64)
    terms, batch = losses_of(stack), stack.batch(0)
    x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
    peer = Peer(data, drop=0.0, variance=variance, weight=3.0).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1])
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
    stack.model.differentiate(terms["loss"])
    loss.backward()
    mine = {id(p): g for p, g in stack.model.parts}
    for net, theirs in zip(stack.model.nets, (peer.a, peer.b), strict=True):
        g = mine[id(net.encoder.convs[0].weight)][0].permute(2, 1, 0)
        assert torch.allclose(g, theirs.encoder.convs[0].weight.grad, rtol=1e-8, atol=1e-12)
        g = mine[id(net.regressor.last.weight)][0].T
        assert torch.allclose(g, theirs.regressor[2].weight.grad, rtol=1e-8, atol=1e-12)


def test_the_ensemble_is_the_mean_over_networks_and_passes():
    """With dropout, against one pass after another of whole encoders; the running statistics stay."""
    stack = make_stack("ucvme", noise_set(), [{**RUN, "drop": 0.3, "seed": k} for k in range(2)], dtype=torch.float64)
    batch, before = stack.batch(0), {n: b.clone() for n, b in stack.model.named_buffers()}
    pseudo, log_variance = stack.method.ensemble(stack.model, batch)
    assert all(torch.equal(b, before[n]) for n, b in stack.model.named_buffers())
    out = []
    for m, net in enumerate(stack.model.nets):
        for t in range(5):
            keys = [hashed(batch.keys[f"pass{layer}"][:, m], 5)[:, t : t + 1] for layer in range(3)]
            out.append(net(batch.x[:, 1:], (), keys)[:, 0])
    out = torch.stack(out)  # [networks x passes, K, B, 2]
    assert torch.allclose(pseudo, out.mean(0)[..., 0], rtol=1e-12)
    assert torch.allclose(log_variance, out.mean(0)[..., 1], rtol=1e-12)
    assert out.std(0).min() > 0 and not pseudo.requires_grad


def test_the_networks_differ_and_prediction_is_their_mean():
    stack = make_stack("ucvme", noise_set(), [RUN])
    both = scores(stack, range(60))
    parts = []
    for m in range(2):
        alone = make_stack("ucvme", noise_set(), [RUN])
        alone.model.nets[1 - m].load_state_dict(alone.model.nets[m].state_dict())
        parts.append(scores(alone, range(60)))
    assert abs(parts[0] - parts[1]).max() > 0.1
    assert (parts[0] + parts[1]) / 2 == pytest.approx(both, rel=1e-5)
