"""The Pi-model in ordinary modules."""

import torch
from torch import nn

from benchmarks.plain.encoder import Regression


class Peer(Regression):
    def __init__(self, data, drop=0.5, weight=0.1, hide=0.15, noise=0.05):
        super().__init__(*data.features.shape[1:], drop)
        self.weight, self.hide, self.noise = weight, hide, noise

    def draw(self, x_l, x_u):
        B, T, _ = x_u.shape
        return {
            "kept": [torch.rand(B, T, 1, device=x_u.device) >= self.hide for _ in range(2)],
            "noise": torch.randn_like(x_u),
        }

    def loss(self, x_l, y, x_u, kept, noise, ramp=1.0):
        weak, other = (x_u * k for k in kept)
        strong = other + self.noise * other.square().mean().sqrt() * noise
        regression = nn.functional.mse_loss(self(x_l), y)
        with torch.no_grad():
            target = self(weak, track=False)
        return regression + ramp * self.weight * nn.functional.mse_loss(self(strong, track=False), target)

    def load(self, stack):
        self.load_regression(stack.model)
        return self
