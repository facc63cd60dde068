"""The mean teacher: its loss against ordinary modules in float64, and how the teacher follows."""

import pytest
import torch
from helpers import advance, gradients, losses_of, make_stack, noise_set, scores

from aqa_lib.methods._encoded import strong, weak
from benchmarks.plain.mean_teacher import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "steps": 10}


def test_the_loss_is_that_of_ordinary_modules():
    """After three steps, so that teacher and student differ; 3 / (0.4 * 10) of the weight."""
    data, step = noise_set(), 3
    stack = make_stack("mean_teacher", data, [{**RUN, "lr": 0.01}], dtype=torch.float64)
    advance(stack, step)
    batch, terms = stack.batch(step), losses_of(stack, step)
    x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
    ones = torch.ones_like(batch.x[:, 1])
    kept = [weak(ones, batch.keys["hide"][:, i])[0].transpose(0, 1)[..., :1] for i in range(2)]
    noise = (strong(ones, batch.keys["noise"][:, 0], 1.0) - ones)[0].transpose(0, 1)
    peer = Peer(data, drop=0.0).double().load(stack)
    loss = peer.loss(x[0], batch.y[0], x[1], kept, noise, ramp=0.75)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
    with torch.no_grad():  # the student in the teacher's place would give another target
        peer.teacher.encoder, peer.teacher.regressor = peer.encoder, peer.regressor
        assert abs(peer.loss(x[0], batch.y[0], x[1], kept, noise, ramp=0.75).item() - loss.item()) > 1e-6


def test_the_teacher_follows_as_the_formula_says():
    """Against the plain implementation's, from the student's weights of six steps; statistics are the student's."""
    data = noise_set()
    stack = make_stack("mean_teacher", data, [{**RUN, "decay": 0.7, "lr": 0.01}], dtype=torch.float64)
    peer = Peer(data, decay=0.7).double().load(stack)
    for step in range(6):
        advance(stack, 1, step)
        peer.load_regression(stack.model)
        peer.after(step + 1)
    teacher = stack.model.teacher
    for layer, conv in enumerate(peer.teacher.encoder.convs):
        assert torch.allclose(teacher.encoder.convs[layer].weight[0].permute(2, 1, 0), conv.weight, rtol=1e-12)
    assert torch.allclose(teacher.regressor.last.bias[0], peer.teacher.regressor[2].bias, rtol=1e-12)
    assert not torch.allclose(teacher.regressor.last.bias, stack.model.regressor.last.bias, rtol=1e-4)
    for mine, theirs in zip(teacher.encoder.norms, stack.model.encoder.norms, strict=True):
        assert torch.equal(mine.mean, theirs.mean) and torch.equal(mine.var, theirs.var)


def test_no_gradient_reaches_the_teacher():
    """Nor is any of its weights the optimiser's; and at the first step of the warm-up there is no consistency."""
    stack = make_stack("mean_teacher", noise_set(), [RUN])
    assert losses_of(stack, 0)["loss"].item() == losses_of(stack, 0)["regression"].item()
    assert gradients(stack, "consistency")["encoder"] > 0
    taught = {id(p) for p in stack.model.teacher.parameters()}
    assert taught and not taught & {id(p) for p, _ in stack.model.parts}
    assert not any(p.requires_grad for p in stack.model.teacher.parameters())
    same = make_stack("mean_teacher", noise_set(), [{**RUN, "hide": 0.0, "noise": 0.0}])
    assert gradients(same, "consistency")["encoder"] == 0  # equal weights, equal views


def test_who_predicts():
    """With decay 1 the effective decay is 1 - 1 / (step + 1): the mean of all weights so far, behind the student."""
    stacks = []
    for who in ("student", "teacher"):
        stack = make_stack("mean_teacher", noise_set(), [{**RUN, "lr": 0.01, "predict_with": who, "decay": 1.0}])
        advance(stack, 5)
        stacks.append(stack)
    student, teacher = stacks
    assert torch.equal(student.model.flat, teacher.model.flat)
    assert (scores(student, range(60)) != scores(teacher, range(60))).any()
    teacher.model.teacher.load_state_dict(
        {name: value for name, value in teacher.model.state_dict().items() if not name.startswith("teacher.")}
    )
    assert (scores(student, range(60)) == scores(teacher, range(60))).all()


def test_the_teacher_leaves_the_stack_with_its_run():
    stack = make_stack("mean_teacher", noise_set(), [{**RUN, "seed": k, "lr": 0.01} for k in range(3)])
    advance(stack, 2)
    bias = stack.model.teacher.regressor.last.bias.clone()
    stack.select([0, 2])
    assert torch.equal(stack.model.teacher.regressor.last.bias, bias[[0, 2]])
    advance(stack, 2, 2)
    assert not torch.equal(stack.model.teacher.regressor.last.bias, bias[[0, 2]])
