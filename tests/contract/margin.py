"""Margin ranking, the loss of Doughty, Damen, Mayol-Cuevas, "Who's better? Who's best? Pairwise deep ranking for skill
determination", CVPR 2018, on the shared encoder; here a method file that tests the training contract.

    L = mean over known pairs (i better than j) of the batch of max(0, margin - (s_i - s_j))
"""

from aqa_lib.methods._encoded import LABELLED, Encoded
from aqa_lib.methods.base import Setting


class Margin(Encoded):
    title = "Margin ranking"
    task = "pairs"
    SETTINGS = {**Encoded.SETTINGS, "margin": Setting(1.0, "least difference of a pair's scores", low=0, per_run=True)}
    PLACES = {"drop0": 1, "drop1": 1, "drop2": 1}

    def unlabelled(self, settings):
        return False

    def losses(self, model, batch):
        s = model.scores(self.encode(model, batch.x, batch, (LABELLED,))[:, 0])  # [K,B]
        short = (batch.weight("margin").view(-1, 1, 1) - (s.unsqueeze(2) - s.unsqueeze(1))).clamp(min=0)
        known = batch.better()  # [K,B,B]
        return {"loss": (short * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)}


METHOD = Margin()
