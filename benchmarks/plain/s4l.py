"""S4L with rotations in ordinary modules."""

import torch
from torch import nn

from benchmarks.plain.encoder import Regression, load_linear


class Peer(Regression):
    def __init__(self, data, drop=0.5, weight=1.0):
        super().__init__(*data.features.shape[1:], drop)
        self.weight, self.rotations = weight, nn.Linear(self.encoder.outputs, 4)

    def draw(self, x_l, x_u, **extras):
        return {}

    def loss(self, x_l, y, x_u, *, views, **extras):
        turned = [views[name] for name in ("rot90", "rot180", "rot270")]
        f_l = self.encoder(torch.cat([x_l, *(v[0] for v in turned)]))
        f_u = self.encoder(torch.cat([x_u, *(v[1] for v in turned)]), track=False)
        regression = nn.functional.mse_loss(self.regressor(f_l)[:, 0], torch.cat([y] * 4))
        classes = torch.arange(4, device=y.device).repeat_interleave(len(y))
        rotation = [nn.functional.cross_entropy(self.rotations(f), classes) for f in (f_l, f_u)]
        return regression + self.weight * sum(rotation) / 2

    def load(self, stack):
        self.load_regression(stack.model)
        load_linear(self.rotations, stack.model.rotations)
        return self
