"""Virtual adversarial training in ordinary modules."""

import torch
from torch import nn

from benchmarks.plain.encoder import Regression


class Peer(Regression):
    def __init__(self, data, drop=0.5, weight=1.0, eps=2.5, xi=0.1, stop=False):
        super().__init__(*data.features.shape[1:], drop)
        self.weight, self.eps, self.xi, self.stop = weight, eps, xi, stop

    def draw(self, x_l, x_u, **extras):
        return {"d": torch.rand_like(x_u) - 0.5, "seed": int(torch.randint(2**31, ()))}

    def label(self, x, seed):
        """The first layer's output, with the same dropout for the same seed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.regressor[0](self.encoder(x, track=False))

    def loss(self, x_l, y, x_u, d, seed, **extras):
        regression = nn.functional.mse_loss(self(x_l), y)
        clean = self.label(x_u, seed)
        d = self.xi * nn.functional.normalize(d.flatten(1)).view_as(d)
        d.requires_grad_()
        difference = (self.label(x_u + d, seed) - clean.detach()).pow(2).sum(1).mean()
        (g,) = torch.autograd.grad(difference, d)
        r = self.eps * nn.functional.normalize(g.flatten(1), eps=1e-30).view_as(g)
        target = clean.detach() if self.stop else clean
        return regression + self.weight * (self.label(x_u + r, seed) - target).pow(2).sum(1).mean()

    def load(self, stack):
        self.load_regression(stack.model)
        return self
