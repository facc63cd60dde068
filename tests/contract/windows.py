"""Labelled-only regression on windows of each video, on the shared encoder; a method file that tests the contract.

    L = 1/n sum_i (y_i - g(x_i[a_i .. a_i + w - 1]))^2,   a_i uniform in 0 .. T_i - 1

A window that begins near the end of a video reaches beyond it, and is as long as what is left.
"""

import torch

from aqa_lib import chance, losses
from aqa_lib.methods._encoded import LABELLED, Encoded
from aqa_lib.methods.base import Setting
from aqa_lib.models.functions import uniform


class Windows(Encoded):
    windows = True
    SETTINGS = {**Encoded.SETTINGS, "window": Setting(4, "segments of a window", low=1)}
    PLACES = {"drop0": 1, "drop1": 1, "drop2": 1}

    def unlabelled(self, settings):
        return False

    def times(self, stack, items, step):
        keys = [chance.key(s["seed"], "window", step) >> 1 for s in stack.runs]
        draw = uniform(torch.tensor(keys, device=items.device), tuple(items.shape[1:]))  # [K,S,B]
        start = (draw * stack.pool.length[items]).long()
        return start.unsqueeze(2) + torch.arange(stack.runs[0]["window"], device=items.device)[:, None]

    def losses(self, model, batch):
        f = self.encode(model, batch.x, batch, (LABELLED,))[:, 0]
        return {"loss": losses.squared_error(model.scores(f), batch.y)}


METHOD = Windows()
