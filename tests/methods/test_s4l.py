"""S4L: its loss against ordinary modules in float64, where its gradient goes, and what it needs of a data set."""

import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set, scores

from aqa_lib.errors import UserError
from benchmarks.plain.s4l import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4}
TURNED = ("rot90", "rot180", "rot270")


def test_the_loss_is_that_of_ordinary_modules():
    data = noise_set(views=TURNED)
    stack = make_stack("s4l", data, [{**RUN, "weight": 0.7}], dtype=torch.float64)
    terms, batch = losses_of(stack), stack.batch(0)
    x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
    views = {}
    for name in TURNED:  # from the data set itself, by item
        views[name] = [torch.from_numpy(data.view(name)[items.numpy()]).double() for items in batch.items[0]]
    peer = Peer(data, drop=0.0, weight=0.7).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1], views=views)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)


def test_gradients():
    """Rotations move no regressor and scores no classifier of rotations."""
    stack = make_stack("s4l", noise_set(views=TURNED), [RUN])
    rotation, regression = (gradients(stack, term) for term in ("rotation", "regression"))
    assert rotation["encoder"] > 0 < rotation["rotations"] and rotation["regressor"] == 0
    assert regression["encoder"] > 0 < regression["regressor"] and regression["rotations"] == 0


def test_rotations_that_look_alike_cannot_be_told_apart():
    """With three views that are the video itself, the best is a guess among four, log 4, and no step gets below it."""
    data = noise_set()
    data.views.update({name: data.features for name in TURNED})
    stack = make_stack("s4l", data, [{**RUN, "lr": 0.01}])
    for step in range(30):
        terms = losses_of(stack, step)
        stack.model.differentiate(terms["rotation"])
        stack.optimiser.step()
    assert terms["rotation"].item() == pytest.approx(torch.tensor(4.0).log().item(), abs=0.02)
    told = make_stack("s4l", noise_set(views=TURNED), [{**RUN, "lr": 0.01}])
    for step in range(30):
        terms = losses_of(told, step)
        told.model.differentiate(terms["rotation"])
        told.optimiser.step()
    assert terms["rotation"].item() < 1.3  # random views differ for each video, so these can be learnt by heart


def test_prediction_is_from_the_unrotated_view():
    data = noise_set(views=TURNED)
    stack = make_stack("s4l", data, [RUN])
    before = scores(stack, range(60))
    for name in TURNED:
        stack.pool.views[name].zero_()
    assert (scores(stack, range(60)) == before).all()


def test_a_set_without_rotations_is_refused():
    with pytest.raises(UserError, match="rot90"):
        make_stack("s4l", noise_set(), [RUN])
