"""Layers with a run dimension against torch's own in float64, and chance against its published numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from aqa_lib import chance
from aqa_lib.models import functions, layers
from aqa_lib.training.optim import Optimiser


def test_chance_is_the_same_on_the_device_and_in_numpy():
    keys = np.array([0, 1, 2**63 + 5, 2**64 - 1], dtype=np.uint64)
    device = functions.hashed(torch.from_numpy(keys.view(np.int64)), 100)
    assert (device.numpy().view(np.uint64) == chance.words(keys, 100)).all()
    kept = functions.keep_bytes(torch.from_numpy(keys.view(np.int64)), (50, 41), 0.25).double()
    assert kept.shape == (4, 50, 41)
    assert abs(kept.mean().item() - 0.75) < 4 * np.sqrt(0.25 * 0.75 / kept.numel())


def test_splitmix64_known_answers():
    """Steele, Lea and Flood's generator from seed 1234567: its published first outputs."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert chance.words(1234567, 4).tolist() == expected


def fill(layer, seed=0):
    g = torch.Generator().manual_seed(seed)
    layer.double()
    for p in layer.parameters():
        p.data = torch.randn(p.shape, generator=g, dtype=torch.float64)
    return layer


@pytest.mark.parametrize("copies", ["none", "whole", "masked", "both"])
def test_temporal_convolution_and_its_gradients(copies):
    torch.manual_seed(1)
    K, S, T, B, C = 2, 2, 5, 3, 4
    conv = fill(layers.TemporalConv(runs=K, inputs=C, outputs=6))
    h = torch.randn(K, S, T, B, C, dtype=torch.float64, requires_grad=True)
    keep = (torch.rand(K, T, B) > 0.4).double()
    keeps = {"none": (), "whole": [None], "masked": [keep], "both": [None, keep]}[copies]
    y = conv(h, keeps)
    inputs = [
        h[:, 0],
        *([h[:, 1]] if not keeps else [h[:, 1] if k is None else h[:, 1] * k[..., None] for k in keeps]),
    ]
    expected = torch.stack([
        torch.stack([
            nn.functional.conv1d(x[k].permute(1, 2, 0), conv.weight[k].permute(2, 1, 0), padding=1).permute(2, 0, 1)
            for k in range(K)]) for x in inputs], 1)  # fmt: skip
    assert torch.allclose(y, expected, atol=1e-12)
    g = torch.randn_like(y)
    mine = torch.autograd.grad(y, (h, conv.weight), g)
    theirs = torch.autograd.grad(expected, (h, conv.weight), g)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-11)


def test_norm_relu_drop_against_batchnorm():
    torch.manual_seed(2)
    K, S, T, B, C = 2, 3, 4, 5, 6
    norm = fill(layers.NormReluDrop(runs=K, channels=C, drop=0.25))
    y = torch.randn(K, S, T, B, C, dtype=torch.float64, requires_grad=True)
    keys = torch.arange(K * S).view(K, S)
    out = norm(y, keys)
    kept = functions.keep_bytes(keys, (T, B, C), 0.25)
    expected = []
    for k in range(K):
        own = nn.BatchNorm1d(C).double()
        own.weight, own.bias = nn.Parameter(norm.gamma[k].detach()), nn.Parameter(norm.beta[k].detach())
        for s in range(S):
            own.momentum = 0.1 if s == 0 else 0.0
            h = own(y[k, s].flatten(0, 1)).relu().view(T, B, C)
            expected.append(h * kept[k, s] / 0.75)
        assert torch.allclose(norm.mean[k], own.running_mean) and torch.allclose(norm.var[k], own.running_var)
    expected = torch.stack(expected).view_as(out)
    assert torch.allclose(out, expected, atol=1e-12)
    g = torch.randn_like(out)
    assert torch.allclose(*(torch.autograd.grad(o, y, g)[0] for o in (out, expected)), atol=1e-11)
    assert torch.autograd.gradcheck(lambda y, a, b: functions.NormReluDropFunction.apply(y, a, b, None, 1e-5)[0],
                                    (y.flatten(2, 3), norm.gamma, norm.beta))  # fmt: skip


@pytest.mark.parametrize("ragged", [False, True])
def test_the_norm_in_evaluation_and_its_gradient(ragged):
    """By the running statistics; beyond the end of a video there is nothing, and no gradient."""
    torch.manual_seed(2)
    norm = fill(layers.NormReluDrop(runs=1, channels=6, drop=0.25)).eval()
    norm.mean.normal_(), norm.var.uniform_(0.5, 2)
    y = torch.randn(1, 2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    valid = (torch.arange(4)[:, None] < torch.tensor([4, 3, 2, 4, 1])).double().expand(1, 2, 4, 5)
    own = nn.BatchNorm1d(6).double().eval()
    own.load_state_dict({"weight": norm.gamma[0], "bias": norm.beta[0], "running_mean": norm.mean[0],
                         "running_var": norm.var[0], "num_batches_tracked": torch.tensor(1)})  # fmt: skip
    expected = own(y.flatten(0, 3)).relu().view_as(y) * (valid.unsqueeze(-1) if ragged else 1)
    out = norm(y, valid=valid if ragged else None)
    assert torch.allclose(out, expected, atol=1e-12)
    g = torch.randn_like(out)
    assert torch.allclose(*(torch.autograd.grad(o, y, g)[0] for o in (out, expected)), atol=1e-12)


def test_dropout_keeps_the_mean_and_draws_for_each_run_alone():
    drop, x = layers.Dropout(0.25), torch.ones(3, 400, 25)
    keys = torch.tensor([7, 8, 7])
    out = drop(x, keys)
    assert torch.allclose(out.unique(), torch.tensor([0.0, 4 / 3]))
    assert abs(out.mean().item() - 1) < 4 * np.sqrt(1 / 3 / x.numel())
    assert torch.equal(out[0], out[2]) and not torch.equal(out[0], out[1])
    assert torch.equal(drop(x[1:2], keys[1:2])[0], out[1])
    assert torch.equal(drop.eval()(x, keys), x)


def test_gru_cell_and_attention():
    torch.manual_seed(3)
    cell = fill(layers.GRUCell(runs=2, inputs=3, hidden=4))
    x, h = torch.randn(2, 5, 3).double(), torch.randn(2, 5, 4).double()
    for k in range(2):
        own = nn.GRUCell(3, 4).double()
        own.weight_ih.data, own.weight_hh.data = cell.weight_x[k].data.T, cell.weight_h[k].data.T
        own.bias_ih.data, own.bias_hh.data = cell.bias_x[k].data, cell.bias_h[k].data
        assert torch.allclose(cell(x, h)[k], own(x[k], h[k]), atol=1e-12)
    pool = fill(layers.Attention(runs=2, inputs=3, hidden=4))
    x = torch.randn(2, 5, 7, 3).double()
    v, a = pool(x)
    for k in range(2):
        e = torch.tanh(x[k] @ pool.weight[k] + pool.bias[k]) @ pool.score[k]
        assert torch.allclose(v[k], torch.einsum("bi,bic->bc", e.exp() / e.exp().sum(1, keepdim=True), x[k]))
    assert torch.allclose(a.sum(-1), torch.ones(2, 5).double())


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_stacks_optimiser_is_torchs(optimiser):
    rates = [(1e-2, 0.0), (1e-2, 0.0), (3e-3, 1e-2)]
    runs = [{"optimiser": optimiser, "momentum": 0.9, "lr": lr, "weight_decay": wd} for lr, wd in rates]
    model = layers.Model()
    model.layer = layers.Linear(runs=3, inputs=4, outputs=3)
    model.double().initialise([0, 1, 2])
    own = [nn.Parameter(model.layer.weight[k].detach().clone()) for k in range(3)]
    kind = {"adam": torch.optim.Adam, "sgd": lambda p, **k: torch.optim.SGD(p, momentum=0.9, **k)}[optimiser]
    steppers = [kind([p], lr=lr, weight_decay=wd) for p, (lr, wd) in zip(own, rates, strict=True)]
    mine = Optimiser(model, runs)
    for _ in range(5):
        model.differentiate((model.layer.weight**3).sum((1, 2)) + model.layer.bias.sum(1))
        mine.step()
        for p, stepper in zip(own, steppers, strict=True):
            stepper.zero_grad()
            (p**3).sum().backward()
            stepper.step()
    for k in range(3):
        assert torch.allclose(model.layer.weight[k], own[k], atol=1e-14)


def test_reversed_gradient_scales_each_run():
    x = torch.randn(2, 3)
    assert torch.equal(functions.reverse_gradient(x, 1e6), x)
    x = torch.randn(2, 3, requires_grad=True, dtype=torch.float64)
    y = functions.reverse_gradient(x, torch.tensor([1.0, 0.25]))
    assert torch.allclose(y, x)
    (g,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(g, torch.tensor([[-1.0] * 3, [-0.25] * 3], dtype=torch.float64))


def test_a_parameter_that_a_later_loss_does_not_use_has_no_gradient_left():
    class Two(layers.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = (layers.Linear(runs=2, inputs=3, outputs=2) for _ in range(2))

    model, x = Two().initialise([0, 1]), torch.ones(2, 4, 3)
    model.differentiate((model.a(x) + model.b(x)).sum((1, 2)))
    assert (model.flat_grad[:, :16] != 0).all()
    model.differentiate(model.b(x).sum((1, 2)))
    assert (model.flat_grad[:, :8] == 0).all() and (model.flat_grad[:, 8:16] != 0).all()
