"""C3D-AVG-STL: its loss against ordinary modules in float64, and by hand."""

import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set

from aqa_lib.methods.c3d_avg_stl import score_error
from benchmarks.plain.c3d_avg_stl import Peer

RUN = {"batch": 8, "fraction": 0.4, "steps": 10}


def test_the_loss_is_that_of_ordinary_modules():
    data = noise_set(60, 5, 16)
    stack = make_stack("c3d_avg_stl", data, [RUN], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    x = batch.x[0, 0].transpose(0, 1)
    peer = Peer(data).double().load(stack)
    loss = peer.loss(x, batch.y[0], None)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    predicted = stack.method.predict(stack.model, batch.x[:1])[0]
    assert torch.allclose(predicted, peer(x), rtol=1e-12)


def test_squared_plus_absolute_error_by_hand():
    error = score_error(torch.tensor([[1.0, 5.0], [2.0, 2.0]]), torch.tensor([[3.0, 4.0], [2.0, 2.0]]))
    assert error.tolist() == [(4 + 2 + 1 + 1) / 2, 0]


def test_every_layer_learns_from_labelled_videos_alone():
    stack = make_stack("c3d_avg_stl", noise_set(60, 5, 16), [RUN])
    assert set(gradients(stack)) == {"fc", "score"} and all(size > 0 for size in gradients(stack).values())
    assert stack.batch(0).x.shape[1] == 1
