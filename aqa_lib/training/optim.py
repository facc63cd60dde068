"""Adam and SGD for a stack: torch's fused kernels, with a learning rate, a weight decay and a count of steps a run.

The stack's parameters are one buffer [K, P]; neighbouring runs with equal rates and counts are updated by one call.
"""

from itertools import groupby

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimiser:
    """First and second moments [K, P] beside the parameters; `counts`: the steps that each run has taken."""

    def __init__(self, model, runs):
        self.kind, self.momentum = runs[0]["optimiser"], runs[0]["momentum"]
        self.m = torch.zeros_like(model.flat)
        self.v = torch.zeros_like(model.flat) if self.kind == "adam" else None
        self.counts, self.factors = [0] * len(runs), [1.0] * len(runs)
        self.attach(model, runs)

    def attach(self, model, runs):
        self.flat, self.grad, self.runs = model.flat, model.flat_grad, runs
        self.group()

    def group(self):
        """Neighbouring runs that one call updates: [(runs, lr, weight decay, steps taken, on the device)]."""
        rows = zip(self.runs, self.factors, self.counts, strict=True)
        self.groups, start = [], 0
        for (lr, decay, count), group in groupby((s["lr"] * f, s["weight_decay"], c) for s, f, c in rows):
            end = start + len(list(group))
            count = torch.tensor(float(count), device=self.flat.device)
            self.groups.append((slice(start, end), lr, decay, count))
            start = end

    def rates(self, factors):
        """Multiply the learning rate of each run by its factor from now on."""
        if list(factors) != self.factors:
            self.factors = [float(f) for f in factors]
            self.group()

    def restart(self, runs):
        """These runs begin again: no moments, no steps."""
        index = torch.as_tensor(runs, device=self.flat.device)
        self.m[index] = 0
        if self.v is not None:
            self.v[index] = 0
        for k in runs:
            self.counts[k] = 0
        self.group()

    def select(self, keep, model, runs):
        """Only these runs go on."""
        index = torch.as_tensor(keep, device=self.flat.device)
        self.m = self.m[index]
        self.v = self.v[index] if self.v is not None else None
        self.counts, self.factors = [self.counts[k] for k in keep], [self.factors[k] for k in keep]
        self.attach(model, runs)

    def state(self):
        """What a checkpoint keeps, a row a run."""
        found = {"m": self.m, "counts": torch.tensor(self.counts), "factors": torch.tensor(self.factors).double()}
        return found | ({} if self.v is None else {"v": self.v})

    def load(self, state):
        self.m.copy_(state["m"])
        if self.v is not None:
            self.v.copy_(state["v"])
        self.counts, self.factors = state["counts"].tolist(), state["factors"].tolist()
        self.group()

    @torch.no_grad()
    def step(self):
        for k, lr, decay, count in self.groups:
            p, g, m = [self.flat[k]], [self.grad[k]], [self.m[k]]
            if self.kind == "adam":
                adam(p, g, m, [self.v[k]], [], [count.clone()], fused=True, amsgrad=False, beta1=0.9,
                     beta2=0.999, lr=lr, weight_decay=decay, eps=1e-8, maximize=False)  # fmt: skip
            else:
                sgd(p, g, m if self.momentum else [None], fused=True, lr=lr, weight_decay=decay, maximize=False,
                    momentum=self.momentum, dampening=0.0, nesterov=False, has_sparse_grad=False)  # fmt: skip
            count += 1
        self.counts = [c + 1 for c in self.counts]
