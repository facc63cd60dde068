"""The mean teacher in ordinary modules."""

import copy

import torch
from torch import nn

from benchmarks.plain.encoder import Regression


class Peer(Regression):
    def __init__(self, data, drop=0.5, weight=0.1, decay=0.99, hide=0.15, noise=0.05):
        super().__init__(*data.features.shape[1:], drop)
        self.weight, self.decay, self.hide, self.noise = weight, decay, hide, noise
        self.teacher = copy.deepcopy(self).requires_grad_(False)

    def draw(self, x_l, x_u, **extras):
        B, T, _ = x_u.shape
        return {
            "kept": [torch.rand(B, T, 1, device=x_u.device) >= self.hide for _ in range(2)],
            "noise": torch.randn_like(x_u),
        }

    def loss(self, x_l, y, x_u, kept, noise, ramp=1.0, **extras):
        weak, other = (x_u * k for k in kept)
        strong = other + self.noise * other.square().mean().sqrt() * noise
        regression = nn.functional.mse_loss(self(x_l), y)
        with torch.no_grad():
            target = self.teacher(weak, track=False)
        return regression + ramp * self.weight * nn.functional.mse_loss(self(strong, track=False), target)

    @torch.no_grad()
    def after(self, step):
        decay = min(self.decay, 1 - 1 / (step + 1))
        for part in ("encoder", "regressor"):
            pairs = zip(getattr(self.teacher, part).parameters(), getattr(self, part).parameters(), strict=True)
            for mine, theirs in pairs:
                mine.mul_(decay).add_(theirs, alpha=1 - decay)

    def load(self, stack):
        self.load_regression(stack.model)
        self.teacher.load_regression(stack.model.teacher)
        return self
