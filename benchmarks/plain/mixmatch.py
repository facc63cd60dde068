"""MixMatch for regression in ordinary modules."""

import torch
from torch import nn

from benchmarks.plain.encoder import Regression


class Peer(Regression):
    def __init__(self, data, drop=0.5, weight=0.1, hide=0.15):
        super().__init__(*data.features.shape[1:], drop)
        self.weight, self.hide = weight, hide

    def draw(self, x_l, x_u):
        B, T, _ = x_u.shape
        return {
            "kept": [torch.rand(B, T, 1, device=x_u.device) >= self.hide for _ in range(2)],
            "order": torch.randperm(len(x_l) + 2 * B, device=x_u.device),
            "beta": torch.distributions.Beta(0.5, 0.5).sample().item(),
        }

    def loss(self, x_l, y, x_u, kept, order, beta, ramp=1.0):
        first, second = (x_u * k for k in kept)
        with torch.no_grad():
            pseudo = (self(first, track=False) + self(second, track=False)) / 2
        x, y = torch.cat([x_l, first, second]), torch.cat([y, pseudo, pseudo])
        share = max(beta, 1 - beta)
        x, y = share * x + (1 - share) * x[order], share * y + (1 - share) * y[order]
        B = len(x_l)
        regression = nn.functional.mse_loss(self(x[:B]), y[:B])
        mixed = torch.cat([self(part, track=False) for part in x[B:].split(len(x_u))])
        return regression + ramp * self.weight * nn.functional.mse_loss(mixed, y[B:])

    def load(self, stack):
        self.load_regression(stack.model)
        return self
