"""Rank-matched pseudo-labels in ordinary modules and numpy's interpolation."""

import numpy as np
import torch
from torch import nn

from benchmarks.plain.encoder import Regression


def matched(raw, labels):
    """Each of raw's numbers replaced by the quantile of `labels` at its rank."""
    out = np.empty(len(raw))
    out[np.argsort(raw, kind="stable")] = np.interp(
        np.linspace(0, 1, len(raw)), np.linspace(0, 1, len(labels)), np.sort(labels)
    )
    return out


class Memory:
    """The last prediction of every unlabelled video and its aligned label, once there is one."""

    def __init__(self, data, refresh, batch):
        self.raw, self.aligned = {}, {}
        self.steps = refresh or -(-int((data.table["split"] == "train").sum()) // batch)

    def before(self, step, y):
        if step and step % self.steps == 0 and self.raw:
            labels = matched(np.array(list(self.raw.values())), y[~torch.isnan(y)].cpu().numpy())
            self.aligned = dict(zip(self.raw, labels, strict=True))

    def pseudo(self, items, predicted):
        self.raw.update(zip(items.tolist(), predicted.tolist(), strict=True))
        known = [self.aligned.get(i, p) for i, p in zip(items.tolist(), predicted.tolist(), strict=True)]
        return torch.tensor(known, dtype=predicted.dtype, device=predicted.device)


class Peer(Regression):
    """before(step, y): y [N] scaled scores, NaN where there is none."""

    def __init__(self, data, drop=0.5, weight=1.0, hide=0.15, refresh=0, batch=32):
        super().__init__(*data.features.shape[1:], drop)
        self.weight, self.hide, self.memory = weight, hide, Memory(data, refresh, batch)

    def before(self, step, y):
        self.memory.before(step, y)

    def draw(self, x_l, x_u, **_):
        return {"kept": torch.rand(*x_u.shape[:2], 1, device=x_u.device) >= self.hide}

    def loss(self, x_l, y, x_u, *, items, kept, ramp=1.0):
        regression = nn.functional.mse_loss(self(x_l), y)
        predicted = self(x_u * kept, track=False)
        target = self.memory.pseudo(items[1], predicted.detach())
        return regression + ramp * self.weight * nn.functional.mse_loss(predicted, target)

    def load(self, stack):
        self.load_regression(stack.model)
        return self
