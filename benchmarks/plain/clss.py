"""CLSS in ordinary modules, a row after another: numpy's eigenvectors, scipy's ranks."""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn
from torch.nn.functional import normalize

from benchmarks.plain.encoder import Regression


def rank(row):
    """Descending mid-ranks from 1/n to 1."""
    return torch.from_numpy(rankdata(-row.detach().cpu().numpy()) / len(row)).to(row)


class Ranker(torch.autograd.Function):
    @staticmethod
    def forward(ctx, row, step):
        ctx.save_for_backward(row)
        ctx.step = step
        return rank(row)

    @staticmethod
    def backward(ctx, g):
        (row,) = ctx.saved_tensors
        return -(rank(row) - rank(row + ctx.step * g)) / ctx.step, None


def fiedler(S):
    """The eigenvector of the least eigenvalue of the Laplacian, projected to the complement of the ones."""
    n = len(S)
    Z = np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1]
    _, v = np.linalg.eigh(Z.T @ (np.diag(S.sum(1)) - S) @ Z)
    return Z @ v[:, 0]


def rank_loss(similarity, places, step):
    loss = 0
    for i in range(len(places)):
        target = rank(-torch.from_numpy(np.abs(places[i] - places)).to(similarity))
        loss = loss + (Ranker.apply(similarity[i], step) - target).square().mean()
    return loss


def ordinal_entropy(f, y):
    values, which, counts = torch.unique(y, return_inverse=True, return_counts=True)
    centres = normalize(torch.stack([f[which == a].mean(0) for a in range(len(values))]), dim=1)
    distances, gaps = [], []
    for a in range(len(values)):
        for b in range(a + 1, len(values)):
            distances.append((centres[a] - centres[b]).norm())
            gaps.append((values[a] - values[b]).abs())
    spread = 0.0
    if gaps:
        gaps = torch.stack(gaps)
        spread = (torch.stack(distances) * (gaps - gaps.min()) / gaps.max()).mean()
    shared = counts[which] > 1
    tightness = 0.0
    if shared.any():
        tightness = (normalize(f, dim=1) - centres[which])[shared].square().sum(1).mean()
    return tightness - spread


class Peer(Regression):
    def __init__(self, data, drop=0.5, contrast=1.0, feature_weight=0.05, prediction_weight=0.01, rank_step=2.0):
        super().__init__(*data.features.shape[1:], drop)
        self.weights, self.step = (contrast, feature_weight, prediction_weight), rank_step

    def draw(self, x_l, x_u):
        return {}

    def loss(self, x_l, y, x_u):
        f_l, f_u = self.encoder(x_l), self.encoder(x_u, track=False)
        z = normalize(f_u, dim=1)
        cosines, g = z @ z.T, self.regressor(f_u)
        places = rankdata(fiedler(cosines.detach().double().cpu().numpy()))
        terms = [
            ordinal_entropy(f_l, y),
            rank_loss(cosines, places, self.step),
            rank_loss(-(g - g.T).abs(), places, self.step),
        ]
        loss = nn.functional.mse_loss(self.regressor(f_l)[:, 0], y)
        return loss + sum(w * term for w, term in zip(self.weights, terms, strict=True))

    def load(self, stack):
        self.load_regression(stack.model)
        return self
