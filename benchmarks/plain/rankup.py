"""RankUp in ordinary modules: all pairs as rows of two logits."""

import torch
from torch import nn

from benchmarks.plain.encoder import Regression, load_linear
from benchmarks.plain.rank_alignment import Memory


def pairs(z):
    """z [B,2] -> [B*B,2]: row (i, j) is z_j - z_i."""
    return (z[None] - z[:, None]).flatten(0, 1)


def orders(y):
    """y [B] -> [B*B,2]: how much of each class the order of (i, j) is."""
    first = ((1 + torch.sign(y[None] - y[:, None])) / 2).flatten()
    return torch.stack([first, 1 - first], 1)


class Peer(Regression):
    """before(step, y): y [N] scaled scores, NaN where there is none."""

    def __init__(self, data, drop=0.5, weight=0.2, confidence=0.95, align_ranks=False, align_weight=1.0,
                 hide=0.15, noise=0.05, refresh=0, batch=32):  # fmt: skip
        super().__init__(*data.features.shape[1:], drop)
        self.ranker = nn.Linear(self.encoder.outputs, 2)
        self.weight, self.confidence, self.hide, self.noise = weight, confidence, hide, noise
        self.align_weight = align_weight if align_ranks else 0.0
        self.memory = Memory(data, refresh, batch)

    def before(self, step, y):
        self.memory.before(step, y)

    def draw(self, x_l, x_u, **_):
        B, T, _ = x_u.shape
        return {
            "kept": [torch.rand(B, T, 1, device=x_u.device) >= self.hide for _ in range(2)],
            "noise": torch.randn_like(x_u),
        }

    def loss(self, x_l, y, x_u, *, kept, noise, items=None, ramp=1.0):
        f = self.encoder(x_l)
        loss = nn.functional.mse_loss(self.regressor(f)[:, 0], y)
        ranking = nn.functional.cross_entropy(pairs(self.ranker(f)), orders(y))

        weak, other = (x_u * k for k in kept)
        strong = other + self.noise * other.square().mean().sqrt() * noise
        f_weak, f_strong = self.encoder(weak, track=False), self.encoder(strong, track=False)
        sure, label = pairs(self.ranker(f_weak)).detach().softmax(1).max(1)
        agreement = nn.functional.cross_entropy(pairs(self.ranker(f_strong)), label, reduction="none")
        loss = loss + self.weight * (ranking + (agreement * (sure >= self.confidence)).mean())
        if self.align_weight:
            predicted = self.regressor(f_weak)[:, 0]
            target = self.memory.pseudo(items[1], predicted.detach())
            loss = loss + ramp * self.align_weight * nn.functional.mse_loss(predicted, target)
        return loss

    def load(self, stack):
        self.load_regression(stack.model)
        load_linear(self.ranker, stack.model.ranker)
        return self
