"""Pseudo-labels by nearest neighbours in ordinary modules."""

import numpy as np
import torch
from torch import nn

from benchmarks.plain.encoder import Regression


class Peer(Regression):
    """`labelled`: which items have scores, by default every tenth of the training videos."""

    def __init__(self, data, drop=0.5, weight=0.5, k=5, refresh=0, batch=32, labelled=None):
        super().__init__(*data.features.shape[1:], drop)
        train = np.flatnonzero(data.table["split"] == "train")
        labelled = train[::10] if labelled is None else np.sort(labelled)
        self.weight, self.k, self.every = weight, k, refresh or -(-len(train) // batch)
        self.register_buffer("x", torch.from_numpy(data.features))
        self.register_buffer("y", torch.from_numpy(5 * data.scores[labelled] / np.abs(data.scores[labelled]).max()))
        self.register_buffer("labelled", torch.from_numpy(labelled))
        self.pseudo = None

    @torch.no_grad()
    def before(self, step):
        if step % self.every == 0:
            self.eval()
            f = torch.cat([self.encoder(part) for part in self.x.split(512)])
            self.train()
            near = torch.cdist(f, f[self.labelled]).topk(self.k, largest=False).indices
            self.pseudo = self.y[near].mean(1).to(f.dtype)

    def draw(self, x_l, x_u, **extras):
        return {}

    def loss(self, x_l, y, x_u, *, items, **extras):
        regression = nn.functional.mse_loss(self(x_l), y)
        return regression + self.weight * nn.functional.mse_loss(self(x_u, track=False), self.pseudo[items[1]])

    def load(self, stack):
        self.load_regression(stack.model)
        for norm, theirs in zip(self.encoder.norms, stack.model.encoder.norms, strict=True):
            norm.running_mean.copy_(theirs.mean[0])
            norm.running_var.copy_(theirs.var[0])
        return self
