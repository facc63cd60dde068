"""Ordinary torch modules in a stack: against a plain training loop, against themselves alone, and after a break."""

import copy

import numpy as np
import pytest
import torch
from helpers import noise_set
from torch import nn

from aqa_lib import chance, losses
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.methods.base import Method
from aqa_lib.models.ordinary import Ordinary
from aqa_lib.tasks import SCORES
from aqa_lib.training import Checkpoints, train
from aqa_lib.training.restore import trained
from aqa_lib.training.stack import Stack

DATA = noise_set(60, 5, 16)


class Mixed(nn.Module):
    """What torch has: recurrence, batch norm with its counter, dropout, shared weights, a buffer that is replaced."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 1)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.first.weight
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):  # [B,T,D] -> [B,1]
        if self.training:
            self.seen = self.seen + x.mean()
        h = self.norm(self.gru(x)[0][:, -1])
        return self.last(self.again(self.drop(self.first(h)).relu()) + h)


class Plain(Method):
    """A method around a module."""

    name = "plain"

    def __init__(self, make=Mixed):
        self.make = make

    def build(self, runs, data):
        return Ordinary(self.make, runs)

    def unlabelled(self, settings):
        return True

    def losses(self, model, batch):
        calm = losses.squared_error(model(batch.x[:, 1]), model(batch.x[:, 1]))  # two dropouts of the same videos
        return {"loss": losses.squared_error(model(batch.x[:, 0]), batch.y) + 0.1 * calm}

    def predict(self, model, x):
        return model(x[:, 0])


RUNS = [{"seed": k, "draw": k, "fraction": 0.4, "lr": 1e-2 / (k + 1), "batch": 6, "steps": 20} for k in range(3)]


def stack_of(method, runs, **kw):
    runs, split = [method.resolve(r) for r in runs], official(DATA)
    torch.set_num_threads(1)
    return Stack(method, DATA, split, runs, [SCORES.labels(DATA, split, s) for s in runs], "cpu", **kw)


def advance(stack, steps, start=0):
    for step in range(start, start + steps):
        stack.model.differentiate(stack.method.losses(stack.model, stack.batch(step))["loss"])
        stack.optimiser.step()


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def test_a_stack_of_one_is_the_plain_training_loop_in_float64():
    """20 steps of torch's own Adam, batch first, with the same batches; every draw is seeded by hand."""
    stack = stack_of(Plain(), RUNS[1:2], dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(chance.key(1, "init"))
        net = Mixed().double()
    optimiser = torch.optim.Adam(net.parameters(), lr=RUNS[1]["lr"], weight_decay=1e-4)
    stream = int(np.uint64(chance.key(1, "dropout")).astype(np.int64))
    for step in range(20):
        batch = stack.batch(step)
        outs = []
        for call, x in enumerate([batch.x[0, 1], batch.x[0, 1], batch.x[0, 0]]):
            with torch.random.fork_rng():
                torch.manual_seed(chance.key(stream, step, call))
                outs.append(net(x.permute(1, 0, 2))[:, 0])
        loss = ((outs[2] - batch.y[0]) ** 2).mean() + 0.1 * ((outs[0] - outs[1]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        mine = stack.method.losses(stack.model, batch)["loss"]
        assert abs(mine.item() - loss.item()) < 1e-10
        stack.model.differentiate(mine)
        stack.optimiser.step()
    theirs = net.state_dict()
    for name, value in stack.model.state(0).items():
        if name.startswith("net."):
            assert np.abs(value - theirs[name.removeprefix("net.")].numpy()).max() < 1e-10, name
    assert theirs["norm.num_batches_tracked"] == 60 and theirs["seen"] != 0
    net.eval()
    predicted = stack.predict(np.arange(60))[0]["score"] * stack.labels[0].scale
    expected = net(torch.as_tensor(DATA.features).double())[:, 0].detach().numpy()
    assert np.abs(predicted - expected).max() < 1e-10


def test_a_run_of_a_stack_is_the_run_alone_to_the_bit_also_when_another_leaves():
    before = torch.random.get_rng_state()
    three = stack_of(Plain(), RUNS)
    advance(three, 8)
    three.select([0, 2])
    advance(three, 12, start=8)
    assert torch.equal(torch.random.get_rng_state(), before)  # torch's own stream is left where it was
    for i, k in enumerate((0, 2)):
        alone = stack_of(Plain(), RUNS[k : k + 1])
        advance(alone, 20)
        assert same(three.model.state(i), alone.model.state(0))
        assert np.array_equal(three.predict(np.arange(60))[i]["score"], alone.predict(np.arange(60))[0]["score"])
    assert three.model.net.again.weight is three.model.net.first.weight


def test_a_restarted_run_is_the_run_alone_and_others_do_not_notice():
    two, calm, alone = stack_of(Plain(), RUNS[:2]), stack_of(Plain(), RUNS[:2]), stack_of(Plain(), RUNS[1:2])
    advance(two, 5)
    advance(calm, 5)
    two.restart([1], 1)
    alone.restart([0], 1)
    assert not np.array_equal(alone.model.state(0)["net.last.weight"], calm.model.state(1)["net.last.weight"])
    advance(two, 5, start=5)
    advance(calm, 5, start=5)
    advance(alone, 5, start=5)
    assert same(two.model.state(0), calm.model.state(0)) and same(two.model.state(1), alone.model.state(0))


def test_a_state_goes_on_with_the_same_bits():
    whole, first = stack_of(Plain(), RUNS), stack_of(Plain(), RUNS)
    advance(whole, 10)
    advance(first, 6)
    state = copy.deepcopy(first.state())
    advance(first, 3, start=6)
    later = stack_of(Plain(), [RUNS[2], RUNS[0]])
    later.load(state, [2, 0])
    advance(later, 4, start=6)
    assert same(later.model.state(0), whole.model.state(2)) and same(later.model.state(1), whole.model.state(0))


def test_training_restoring_and_predicting(tmp_path):
    results = train(Plain(), DATA, official(DATA), RUNS, weights=True,
                    checkpoints=Checkpoints(tmp_path, list("abc"), seconds=0))  # fmt: skip
    split = official(DATA)
    for result in results:
        assert result.complete
        back = trained(result.weights, result.about, Plain())
        assert np.allclose(back.predict(DATA, split.test)["score"], result.predictions["step_20"], rtol=1e-5)
        assert same(back.model.state(0), result.weights)
    few = {name: value for name, value in results[0].weights.items() if name != "net.seen"}
    with pytest.raises(UserError, match="net.seen is not among the weights"):
        trained(few, results[0].about, Plain())


def test_evaluation_and_still_passes_leave_the_buffers_alone():
    stack = stack_of(Plain(), RUNS)
    advance(stack, 2)
    before = copy.deepcopy(stack.model.state(1))
    stack.predict(np.arange(60))
    assert same(before, stack.model.state(1))
    with stack.model.still():
        stack.model(stack.batch(3).x[:, 0])
    after = stack.model.state(1)
    assert {n for n in before if not np.array_equal(before[n], after[n])} == {"turns"}


def test_more_inputs_and_outputs():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x, mask=None):
            x = self.layer(x)
            return x.mean(1) if mask is None else (x * mask.unsqueeze(-1)).sum(1)

    model = Ordinary(Masked, [0, 1]).initialise([5, 6])
    x, mask = torch.randn(2, 4, 7, 3), (torch.rand(1, 4, 7) > 0.5).float()
    out = model(x, mask=mask)
    assert out.shape == (2, 7, 2) and torch.equal(model(x), model(x, mask=None))
    w, b = model.net.layer.weight[1], model.net.layer.bias[1]
    assert torch.allclose(out[1, 3], (x[1, :, 3] @ w.T + b).mul(mask[0, :, 3:4]).sum(0), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: 3, "makes a torch module, but it gave int"),
        (lambda: nn.LazyLinear(1), "lazy"),
        (lambda: nn.ReLU(), "ReLU has no parameters"),
        (lambda: nn.GRU(16, 4, batch_first=True), "but gave tuple"),
        (lambda: nn.Sequential(nn.Linear(16, 1), nn.Flatten(0)), r"sees 6 videos .* gave a tensor of shape \(30,\)"),
    ],
)
def test_what_is_no_network_of_videos_is_one_sentence(make, words):
    with pytest.raises(UserError, match=words):
        advance(stack_of(Plain(make), RUNS), 1)
