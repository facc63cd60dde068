"""An ordinary torch module in a stack: K copies of it, one after another, in the loop and ledger of all other methods.

    model = Ordinary(lambda: nn.Sequential(nn.Flatten(), nn.Linear(T * D, 64), nn.ReLU(), nn.Linear(64, 1)), runs)
    scores = model(batch.x[:, 0])    # x [K,T,B,D]: copy k sees [B,T,D], batch first, and gives [B] or [B,1]; [K,B]

Every copy has its own weights, buffers and random numbers, functions of its run's seed: run k of a stack is the run
alone. It takes K times as long as one copy; a network of the layers of models/layers.py takes less. On a GPU each call
waits for the keys of its random numbers, which no stacked network does.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from aqa_lib import chance
from aqa_lib.errors import UserError
from aqa_lib.models.layers import Model


class Ordinary(Model):
    """K copies of the module that `make()` gives; its parameters and buffers carry a leading run dimension.

    Dropout and other draws come from (run seed, step, number of the call within the step). Buffers, such as the
    running statistics of a batch norm, are kept where a training pass changes or replaces them.
    """

    def __init__(self, make, runs):
        super().__init__()
        self.make, self.track = make, True  # track: whether training passes keep what they do to buffers
        with torch.random.fork_rng([]):  # the numbers that are drawn here are replaced by `initialise`
            self.net = make()
        check(self.net)
        K = len(runs)
        replace(self.net, lambda v: alike(v, v.new_empty(K, *v.shape)))
        self.register_buffer("seeds", torch.zeros(K, dtype=torch.int64))
        self.register_buffer("turns", torch.zeros(K, 2, dtype=torch.int64))  # steps taken, calls since the last one

    def initialise(self, seeds):
        """Copy k as `make()` gives it from run seed k; then flatten."""
        with torch.no_grad():
            for k, seed in enumerate(seeds):
                with torch.device("cpu"), seeded(chance.key(seed, "init"), torch.device("cpu")):
                    fresh = self.make()
                for mine, new in zip(numbers(self.net), numbers(fresh), strict=True):
                    mine[k] = new
            keys = np.array([chance.key(seed, "dropout") for seed in seeds], dtype=np.uint64)
            self.seeds.copy_(torch.from_numpy(keys.view(np.int64)))
            self.turns.zero_()
        return self.flatten()

    def forward(self, x, **more):
        """x, and by name whatever else the module takes (mask, another view), [K or 1,T,B,...]; None is left out.

        Gives [K,B], or [K,B,...] where the module has more than one output an item.
        """
        inputs = {"": x} | {name: value for name, value in more.items() if value is not None}
        layers = list(self.net.modules())
        weights = [(m._parameters, n, p) for m in layers for n, p in m._parameters.items() if p is not None]
        buffers = [(m._buffers, n, b) for m in layers for n, b in m._buffers.items() if b is not None]
        rows = [p.unbind(0) for *_, p in weights]
        keys, outs = self.keys(), []
        try:
            for k in range(len(self.seeds)):
                for (store, name, _), row in zip(weights, rows, strict=True):
                    store[name] = row[k]
                for store, name, value in buffers:
                    store[name] = value[k].clone()  # autograd may keep it
                named = {name: v[k if len(v) > 1 else 0].transpose(0, 1) for name, v in inputs.items()}
                with seeded(keys[k], x.device):
                    outs.append(self.net(named.pop(""), **named))
                if self.training and self.track:
                    for store, name, value in buffers:
                        value[k] = store[name].detach()
        finally:
            for store, name, value in (*weights, *buffers):
                store[name] = value
        return stacked(outs, x.shape[2])

    def keys(self):
        """The key of each copy's random numbers in this call [K]."""
        keys = [chance.key(*row) for row in torch.cat([self.seeds[:, None], self.turns], 1).tolist()]
        if self.training:
            self.turns[:, 1] += 1
        return keys

    def differentiate(self, loss):
        super().differentiate(loss)
        self.turns[:, 0] += 1
        self.turns[:, 1] = 0

    def select(self, keep):
        replace(self, lambda v: alike(v, v.detach()[keep].clone()))
        return self.flatten()

    @contextmanager
    def still(self):
        self.track = False
        try:
            yield
        finally:
            self.track = True


def check(net):
    """Refuse, in a sentence, what cannot be copied."""
    if not isinstance(net, nn.Module):
        raise UserError(f"Ordinary takes a function that makes a torch module, but it gave {type(net).__name__}")
    if any(isinstance(v, nn.parameter.UninitializedTensorMixin) for v in numbers(net)):
        raise UserError("Ordinary takes no lazy modules: give every layer its sizes, from data.features.shape")
    if not any(p.requires_grad for p in net.parameters()):
        raise UserError(f"Ordinary: the module {type(net).__name__} has no parameters to train")


def numbers(net):
    """All parameters and buffers of a module, shared ones once."""
    return [*net.parameters(), *net.buffers()]


def replace(net, of):
    """Put of(value) in the place of every parameter and buffer; shared ones stay shared."""
    made = {id(value): (value, of(value)) for value in numbers(net)}
    for layer in net.modules():
        for store in (layer._parameters, layer._buffers):
            store.update({name: made[id(value)][1] for name, value in store.items() if value is not None})


def alike(value, new):
    """`new` as a parameter where `value` is one."""
    return nn.Parameter(new, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else new


def stacked(outs, B):
    """The copies' outputs [B], [B,1] or [B,...] as one tensor."""
    first = outs[0]
    if not isinstance(first, torch.Tensor) or first.shape[:1] != (B,):
        what = f"a tensor of shape {tuple(first.shape)}" if isinstance(first, torch.Tensor) else type(first).__name__
        raise UserError(
            f"a module in Ordinary sees {B} videos [B,T,...] and must give a tensor [B] or [B,...], but gave {what}"
        )
    out = torch.stack(outs)
    return out.squeeze(2) if out.ndim == 3 and out.shape[2] == 1 else out


@contextmanager
def seeded(key, device):
    """Inside, torch draws from `key` on the processor and on `device`; outside, nothing has been drawn."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(key)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(key)
        yield
