"""ACTION-NET's dynamic branch: its loss against ordinary modules in float64, and its parts by hand."""

import math

import numpy as np
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set

from aqa_lib.models.action_net import adjacency
from aqa_lib.models.functions import keep_bytes
from benchmarks.plain.action_net import Peer

RUN = {"batch": 8, "fraction": 0.4, "steps": 10}


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_loss_and_gradients_are_those_of_ordinary_modules(drop):
    data = noise_set(60, 5, 16)
    stack = make_stack("action_net", data, [{**RUN, "drop": drop, "top": 1.3}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    dropped = keep_bytes(batch.keys["drop"][:, 0], (8, 16), drop)[0].double() / (1 - drop)
    peer = Peer(data, top=1.3).double().load(stack)
    loss = peer.loss(batch.x[0, 0].transpose(0, 1), batch.y[0], None, dropped)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    loss.backward()
    stack.model.differentiate(terms["loss"])
    for (name, _), (_, mine) in zip(stack.model.named_parameters(), stack.model.parts, strict=True):
        if name in ("embed.first.weight", "first.weight", "attention.last.weight"):
            theirs = {"e": peer.embed[0], "f": peer.graph[0], "a": peer.attention[2]}[name[0]].weight.grad.T
            assert (mine[0] - theirs).abs().max() < 1e-12 * theirs.abs().max(), name
    assert len(stack.model.parts) == len(list(peer.parameters()))


def test_the_adjacency_by_hand():
    """Two segments: rows sum to 1 + 1/e. Three: the middle one has two neighbours."""
    e = math.exp(-1)
    assert np.allclose(adjacency(2), np.array([[1, e], [e, 1]]) / (1 + e), rtol=1e-15)
    ends, middle = 1 + e + e * e, 1 + 2 * e
    third = adjacency(3)
    assert third[0, 1].item() == pytest.approx(e / math.sqrt(ends * middle), rel=1e-15)
    assert third[1, 1].item() == pytest.approx(1 / middle, rel=1e-15)
    assert np.allclose(third, third.T, rtol=1e-15)


def test_predictions_stay_between_zero_and_the_top_and_have_no_dropout():
    data = noise_set(60, 5, 16)
    stack = make_stack("action_net", data, [{**RUN, "top": 1.2}, {**RUN, "seed": 1, "top": 1.2}], dtype=torch.float64)
    stack.model.last.weight.data.mul_(1e4)
    x, _, _ = stack.videos(torch.arange(60)[None])
    stack.model.eval()
    scores = stack.method.predict(stack.model, x)
    assert 0 <= scores.min() and scores.max() <= 6 and scores.max() - scores.min() > 5.9
    peer = Peer(data, top=1.2).double().load(stack).eval()
    assert torch.allclose(scores[0], peer(x[0, 0].transpose(0, 1)), rtol=1e-9, atol=1e-12)


def test_every_layer_learns_from_labelled_videos_alone():
    stack = make_stack("action_net", noise_set(60, 5, 16), [RUN])
    assert all(size > 0 for size in gradients(stack).values()) and stack.batch(0).x.shape[1] == 1
