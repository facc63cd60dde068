"""The Pi-model: its loss against ordinary modules in float64, and where its gradient goes."""

import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set

from aqa_lib.methods._encoded import strong, weak
from benchmarks.plain.pi_model import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "steps": 10}


def test_the_loss_is_that_of_ordinary_modules():
    data = noise_set(60, 5, 16)
    stack = make_stack("pi_model", data, [RUN], dtype=torch.float64)
    step = 2  # half of the warm-up: 2 / (0.4 * 10)
    batch, terms = stack.batch(step), losses_of(stack, step)
    x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
    ones = torch.ones_like(batch.x[:, 1])
    kept = [weak(ones, batch.keys["hide"][:, i])[0].transpose(0, 1) for i in range(2)]
    noise = (strong(ones, batch.keys["noise"][:, 0], 1.0) - ones)[0].transpose(0, 1)
    peer = Peer(data, drop=0.0).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1], [k[..., :1] for k in kept], noise, ramp=0.5)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-12)


def test_the_target_sends_no_gradient_back():
    """At the first step of the warm-up there is none at all; a term's own gradient is that of the student alone."""
    stack = make_stack("pi_model", noise_set(60, 5, 16), [RUN])
    assert losses_of(stack, 0)["loss"].item() == losses_of(stack, 0)["regression"].item()
    assert gradients(stack, "consistency")["encoder"] > 0
    still = make_stack("pi_model", noise_set(60, 5, 16), [{**RUN, "hide": 0.0, "noise": 0.0}])
    assert gradients(still, "consistency")["encoder"] == 0
