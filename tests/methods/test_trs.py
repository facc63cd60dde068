"""TRS: its losses, gradients, teacher and memories against ordinary modules over several steps, and parts by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set, scores
from torch import nn

from aqa_lib.methods._encoded import strong, weak
from aqa_lib.methods.trs import likelihood, partner, remember
from aqa_lib.models.trs import LayerNorm
from benchmarks.plain.trs import Peer, load_norm

RUN = {"depth": 2, "batch": 8, "fraction": 0.4, "steps": 20, "burn_in": 0.1, "weight": 0.7, "decay": 0.6, "lr": 1e-3}


def drawn(batch):
    """The masks, the noise and the partner's distance of a step of run 0, as the plain implementation takes them."""
    ones = torch.ones_like(batch.x[:, 1])
    kept = [weak(ones, batch.keys["hide"][:, i])[0].transpose(0, 1)[..., :1] for i in range(2)]
    noise = (strong(ones, batch.keys["noise"][:, 0], 1.0) - ones)[0].transpose(0, 1)
    return {"kept": kept, "noise": noise, "on": partner(batch.keys["other"][:, 0], 8)[0, 0].item()}


def test_a_training_is_that_of_ordinary_modules():
    """Nine steps of Adam beside torch's: two of burn-in, then teacher and memories (27 videos: some met thrice)."""
    data = noise_set(60, 5, 16)
    stack = make_stack("trs", data, [RUN], dtype=torch.float64)
    for p in stack.model.parameters():  # no scale of a norm is 1
        p.data.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype))
    peer = Peer(data, depth=2, burn_in=0.1, weight=0.7, decay=0.6, steps=20).double().load(stack)
    adam = torch.optim.Adam([p for p in peer.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-4)
    for step in range(9):
        batch, terms = stack.batch(step), losses_of(stack, step)
        x = batch.x[0].transpose(1, 2)
        peer.before(step, stack.y[0])
        loss = peer.loss(x[0], batch.y[0], x[1], items=batch.items[0], **drawn(batch))
        assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10 if step == 0 else 1e-6)
        assert (terms["imitation"].item() > 0) == (step >= 2)
        adam.zero_grad()
        loss.backward()
        stack.model.differentiate(terms["loss"])
        found = dict(
            zip((n for n, p in stack.model.named_parameters() if p.requires_grad), stack.model.parts, strict=True)
        )
        for name, theirs in {
            "student.blocks.0.channel1.weight": peer.student.blocks[0].channels[0].weight,
            "reference.out.weight": peer.reference.out.weight,
        }.items():
            assert torch.allclose(found[name][1][0].T, theirs.grad, rtol=1e-5, atol=1e-9)
        stack.optimiser.step()
        adam.step()
        stack.method.after(stack, step + 1)
        peer.after(step + 1)
    for who, memory in zip(("teacher", "reference"), peer.memories, strict=True):
        kept = stack.memory[f"{who}_variance"][0].isfinite().nonzero().flatten().tolist()
        assert sorted(memory) == kept and len(kept) == 27
        for item, (score, variance) in memory.items():
            assert stack.memory[who][0, item].item() == pytest.approx(score, rel=1e-6)
            assert stack.memory[f"{who}_variance"][0, item].item() == pytest.approx(variance, rel=1e-6)


def test_the_student_alone_predicts():
    data = noise_set(60, 5, 16)
    stack = make_stack("trs", data, [RUN, {**RUN, "seed": 1}], dtype=torch.float64)
    peer = Peer(data, depth=2).double().load(stack)
    x = torch.from_numpy(data.features[:10]).double()
    expected = peer.student(x)[0] / stack.labels[0].scale
    before = scores(stack, range(10))
    assert before.shape == (2, 10) and before[0] == pytest.approx(expected.detach().numpy(), rel=1e-10)
    for part in (stack.model.teacher, stack.model.reference):
        for p in part.parameters():
            p.data.add_(1)
    assert (scores(stack, range(10)) == before).all()
    x, _, _ = stack.videos(torch.arange(60)[None])
    assert stack.method.predict(stack.model, x, at_once=7).shape == (2, 60)


def test_gradients_go_to_the_student_and_the_reference_as_each_learns():
    stack = make_stack("trs", noise_set(60, 5, 16), [{**RUN, "burn_in": 0.0}])
    assert not any(p.requires_grad for p in stack.model.teacher.parameters())
    regression, reference, imitation = (gradients(stack, t) for t in ("regression", "reference", "imitation"))
    assert set(regression) == {"student", "reference"}
    assert regression["student"] > 0 == regression["reference"]
    assert reference["reference"] > 0 == reference["student"]
    assert imitation["student"] > 0 == imitation["reference"]


def test_runs_leave_burn_in_each_at_its_time():
    runs = [{**RUN, "burn_in": share} for share in (0.0, 0.1, 1.0)]
    stack = make_stack("trs", noise_set(60, 5, 16), runs)
    first, third = (losses_of(stack, step)["imitation"] for step in (0, 2))
    assert (first > 0).tolist() == [True, False, False] and (third > 0).tolist() == [True, True, False]
    assert stack.memory["teacher_variance"].isfinite().sum(1).tolist()[2] == 0


def test_the_memory_by_hand():
    """Item 5 comes twice with variances 0.4 and 0.2, then more and less confident; a run in burn-in keeps nothing."""
    full = {"t": torch.zeros(2, 7), "t_variance": torch.full((2, 7), torch.inf)}
    batch = SimpleNamespace(items=torch.tensor([[[0, 0, 0], [5, 2, 5]]] * 2), memory=full)
    learning = torch.tensor([True, False])

    def step(scores, variances):
        rows = (torch.tensor([values] * 2) for values in (scores, variances))
        return remember(batch, "t", *rows, learning)[0].tolist()

    assert step([1.0, 2.0, 3.0], [0.4, 0.3, 0.2]) == [3.0, 2.0, 3.0]
    assert step([7.0, 8.0, 7.5], [0.3, 0.1, 0.5]) == [3.0, 8.0, 3.0]
    assert step([9.0, 0.0, 1.0], [0.1, 0.1, 0.1]) == [9.0, 8.0, 9.0]
    assert full["t_variance"][0, 5] == pytest.approx(0.1) and full["t_variance"][1].isinf().all()


def test_partners_are_other_places_and_all_of_them():
    ons = {tuple(row.tolist()) for row in partner(torch.arange(200), 4)}
    assert ons == {(1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2)}


def test_likelihood_and_norm_by_hand():
    score, variance, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0, 4.0]])
    expected = ((1 / 0.5 + math.log(0.5)) + (4 / 2 + math.log(2.0))) / 4
    assert likelihood(score, variance, y).item() == pytest.approx(expected)
    stacked = LayerNorm(runs=2, channels=6).double()
    for p in stacked.parameters():
        p.data = torch.rand_like(p)
    norm = nn.LayerNorm(6).double()
    load_norm(norm, stacked)
    h = torch.rand(2, 3, 4, 6, dtype=torch.float64)
    assert torch.allclose(stacked(h)[0], norm(h[0]), rtol=1e-12)
