"""Adam and SGD for a stack: torch's fused kernels, with a learning rate and a weight decay a run.

The stack's parameters are one buffer [K, P]; neighbouring runs with equal rates are updated by one call.
"""

from itertools import groupby

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimiser:
    """First and second moments [K, P] beside the parameters; `step` counts from 1."""

    def __init__(self, model, runs):
        self.kind, self.momentum = runs[0]["optimiser"], runs[0]["momentum"]
        self.m = torch.zeros_like(model.flat)
        self.v = torch.zeros_like(model.flat) if self.kind == "adam" else None
        self.count = torch.zeros((), dtype=torch.float32, device=model.flat.device)
        self.attach(model, runs)

    def attach(self, model, runs):
        self.flat, self.grad = model.flat, model.flat_grad
        rates = [(s["lr"], s["weight_decay"]) for s in runs]
        self.groups, start = [], 0
        for (lr, decay), group in groupby(rates):
            end = start + len(list(group))
            self.groups.append((slice(start, end), lr, decay))
            start = end

    def select(self, keep, model, runs):
        """Only these runs go on."""
        self.m = self.m[keep]
        self.v = self.v[keep] if self.v is not None else None
        self.attach(model, runs)

    @torch.no_grad()
    def step(self):
        for k, lr, decay in self.groups:
            p, g, m = [self.flat[k]], [self.grad[k]], [self.m[k]]
            if self.kind == "adam":
                adam(p, g, m, [self.v[k]], [], [self.count.clone()], fused=True, amsgrad=False, beta1=0.9,
                     beta2=0.999, lr=lr, weight_decay=decay, eps=1e-8, maximize=False)  # fmt: skip
            else:
                sgd(p, g, m if self.momentum else [None], fused=True, lr=lr, weight_decay=decay, maximize=False,
                    momentum=self.momentum, dampening=0.0, nesterov=False, has_sparse_grad=False)  # fmt: skip
        self.count += 1
