"""UCVME in ordinary modules."""

import torch
from torch import nn

from benchmarks.plain.encoder import Encoder, head, load_head


class Net(nn.Module):
    """Score and log variance."""

    def __init__(self, T, D, drop):
        super().__init__()
        self.encoder = Encoder(T, D, drop)
        self.regressor = head(self.encoder.outputs, max(D // 4, 32), 2)

    def forward(self, x, track=True):
        return self.regressor(self.encoder(x, track)).unbind(1)


class Peer(nn.Module):
    def __init__(self, data, drop=0.05, weight=10.0, passes=5, variance="mean"):
        super().__init__()
        self.a, self.b = (Net(*data.features.shape[1:], drop) for _ in range(2))
        self.weight, self.passes, self.variance = weight, passes, variance

    def draw(self, x_l, x_u, **extras):
        return {}

    def loss(self, x_l, y, x_u, **extras):
        with torch.no_grad():
            out = [torch.stack(net(x_u, track=False)) for _ in range(self.passes) for net in (self.a, self.b)]
            pseudo, log_variance = torch.stack(out).mean(0)
        (y_a, z_a), (y_b, z_b) = self.a(x_l), self.b(x_l)
        mean = (z_a + z_b) / 2
        own = self.variance == "own"
        loss = likelihood(y_a, y, z_a if own else mean) + likelihood(y_b, y, z_b if own else mean)
        loss = loss + (z_a - z_b).pow(2).mean()
        for net in (self.a, self.b):
            mu, z = net(x_u, track=False)
            loss = loss + self.weight * (likelihood(mu, pseudo, log_variance) + (z - log_variance).pow(2).mean())
        return loss

    def load(self, stack):
        for net, theirs in zip((self.a, self.b), stack.model.nets, strict=True):
            net.encoder.load(theirs.encoder)
            load_head(net.regressor, theirs.regressor)
        return self


def likelihood(mean, target, z):
    return (0.5 * ((mean - target).pow(2) * torch.exp(-z) + z)).mean()
