"""CLSS: its loss and gradient against loops over rows, orders and ranks by hand."""

import numpy as np
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set
from scipy.stats import rankdata

from aqa_lib.methods._order import BlackboxRanks, nearness, ranks, seriate
from aqa_lib.methods.clss import ordinal_entropy
from benchmarks.plain.clss import Peer

RUN = {"drop": 0.0, "batch": 12, "fraction": 0.4, "steps": 10}
WEIGHTS = {"contrast": 0.8, "feature_weight": 0.3, "prediction_weight": 0.2, "rank_step": 1.5}


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_the_loss_and_its_gradient_are_those_of_loops(steps):
    data = noise_set(60, 5, 16)
    data.scores[:] = np.round(data.scores, -1)  # several videos share a score
    stack = make_stack("clss", data, [{**RUN, **WEIGHTS}], dtype=torch.float64)
    batch, terms = stack.batch(steps), losses_of(stack, steps)
    x = batch.x[0].transpose(1, 2)
    peer = Peer(data, drop=0.0, **WEIGHTS).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1])
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
    loss.backward()
    stack.model.differentiate(terms["loss"])
    found = dict(zip((n for n, _ in stack.model.named_parameters()), stack.model.parts, strict=True))
    conv = found["encoder.convs.0.weight"][1][0].permute(2, 1, 0)
    assert torch.allclose(conv, peer.encoder.convs[0].weight.grad, rtol=1e-8, atol=1e-12)
    assert terms["contrast"].item() != 0 < terms["feature"].item() and terms["prediction"].item() > 0


def test_ranks_are_scipys_and_do_not_mind_places():
    rng = np.random.default_rng(0)
    s = rng.integers(0, 5, size=(3, 4, 9)).astype(float)
    found = ranks(torch.tensor(s)).numpy()
    assert np.allclose(found, rankdata(-s, axis=-1) / 9, atol=1e-15)
    shuffle = rng.permutation(9)
    assert np.array_equal(ranks(torch.tensor(s[..., shuffle])).numpy(), found[..., shuffle])


def test_the_blackbox_gradient_by_hand():
    """s = (1, 3, 2) has ranks 3, 1, 2; an incoming gradient of (1, -1, 0) with step 2 moves s to (3, 1, 2)."""
    s = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
    r = BlackboxRanks.apply(s, 2.0)
    assert (3 * r).tolist() == [[3.0, 1.0, 2.0]]
    (r * torch.tensor([[1.0, -1.0, 0.0]])).sum().backward()
    assert s.grad.flatten().tolist() == pytest.approx([(1 - 3) / 3 / 2, (3 - 1) / 3 / 2, 0.0])


def test_seriation_finds_a_planted_order():
    """Items on a line, similar where they are near; two lines at once, shuffled; negative similarities too."""
    rng = np.random.default_rng(1)
    for low in (0.0, -0.5):
        places = np.stack([rng.permutation(12), rng.permutation(12)])
        gap = np.abs(places[:, :, None] - places[:, None])
        order = seriate(torch.tensor(np.exp(-gap / 3) + low)).numpy() * 12
        for found, true in zip(order, places, strict=True):
            assert any(np.allclose(found, r) for r in (true + 1, 12 - true))


def test_seriation_by_hand():
    """A path of three, a - b - c: the Fiedler vector is (1, 0, -1) / sqrt 2, or its negative."""
    S = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    assert (3 * seriate(S)).round().tolist() in ([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]])


def test_an_order_and_its_reverse_are_the_same_target():
    order = torch.tensor([[3.0, 1.0, 2.0, 4.5, 4.5]]) / 5
    assert torch.equal(nearness(order), nearness(6 / 5 - order))
    row = 5 * nearness(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]) / 5)[0, 1]
    assert row.tolist() == [2.5, 1.0, 2.5, 4.0, 5.0]  # neighbours on both sides share ranks 2 and 3


def test_ordinal_entropy_by_hand():
    """Scores 0, 0, 1, 3: centres (1,1)/sqrt 2, (0,1), (-1,0); pairs 1, 3, 2 apart weigh 0, 2/3, 1/3."""
    f = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [0.0, 5.0], [-1.0, 0.0]]], dtype=torch.float64)
    y = torch.tensor([[0.0, 0.0, 1.0, 3.0]], dtype=torch.float64)
    root = 2**-0.5
    far = np.hypot(root + 1, root)
    tight = (1 - root) ** 2 + root**2
    expected = tight - (2 / 3 * far + 1 / 3 * np.sqrt(2)) / 3
    assert ordinal_entropy(f, y).item() == pytest.approx(expected, rel=1e-12)


def test_one_score_alone_and_all_different_are_finite():
    f = torch.rand(2, 4, 3, dtype=torch.float64, requires_grad=True)
    loss = ordinal_entropy(f, torch.tensor([[2.0] * 4, [1.0, 2.0, 3.0, 4.0]], dtype=torch.float64))
    assert loss[0] > 0 > loss[1]
    loss.sum().backward()
    assert f.grad.isfinite().all() and f.grad.abs().sum() > 0


def test_where_gradients_go():
    stack = make_stack("clss", noise_set(60, 5, 16), [RUN])
    contrast, feature, prediction = (gradients(stack, t) for t in ("contrast", "feature", "prediction"))
    assert contrast["encoder"] > 0 == contrast["regressor"]
    assert feature["encoder"] > 0 == feature["regressor"]
    assert prediction["encoder"] > 0 < prediction["regressor"]
