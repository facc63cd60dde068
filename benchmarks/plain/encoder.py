"""E and R as ordinary modules, which most plain implementations use."""

import torch
from torch import nn


class Encoder(nn.Module):
    """x [B,T,D] -> f [B, T*C]."""

    def __init__(self, T, D, drop=0.5):
        super().__init__()
        sizes = [D, *(max(D // 2**i, 16) for i in (1, 2, 3))]
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, 3, padding=1, bias=False) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(c) for c in sizes[1:])
        self.drop, self.outputs = drop, T * sizes[-1]

    def forward(self, x, track=True):
        h = x.transpose(1, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            norm.momentum = 0.1 if track else 0.0
            h = nn.functional.dropout(norm(conv(h)).relu(), self.drop, self.training)
        return h.transpose(1, 2).flatten(1)

    def load(self, encoder, k=0):
        with torch.no_grad():
            for layer in range(3):
                self.convs[layer].weight.copy_(encoder.convs[layer].weight[k].permute(2, 1, 0))
                self.norms[layer].weight.copy_(encoder.norms[layer].gamma[k])
                self.norms[layer].bias.copy_(encoder.norms[layer].beta[k])


def head(inputs, hidden, outputs, norm=False):
    """FC-ReLU-FC; with `norm` FC-LayerNorm-ReLU-FC, the norm without parameters."""
    norms = [nn.LayerNorm(hidden, elementwise_affine=False)] if norm else []
    return nn.Sequential(nn.Linear(inputs, hidden), *norms, nn.ReLU(), nn.Linear(hidden, outputs))


def load_linear(linear, stacked, k=0):
    """Copy run k of a stacked Linear."""
    with torch.no_grad():
        linear.weight.copy_(stacked.weight[k].T)
        linear.bias.copy_(stacked.bias[k])


def load_head(sequential, stacked, k=0):
    """Copy run k of a stacked Head."""
    load_linear(sequential[0], stacked.first, k)
    load_linear(sequential[-1], stacked.last, k)


class Regression(nn.Module):
    """score = R(E(x))."""

    def __init__(self, T, D, drop=0.5):
        super().__init__()
        self.encoder = Encoder(T, D, drop)
        self.regressor = head(self.encoder.outputs, max(D // 4, 32), 1)

    def forward(self, x, track=True):
        return self.regressor(self.encoder(x, track))[:, 0]

    def load_regression(self, model, k=0):
        self.encoder.load(model.encoder, k)
        load_head(self.regressor, model.regressor, k)
