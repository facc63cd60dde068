"""Pi-model for regression: Laine, Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017; its loss for
regression as in the public code of RankUp (Huang, Fu, Tsai, NeurIPS 2024).

    L = 1/L sum_i (y_i - g(x_i))^2 + w(t) 1/U sum_u (g(a2(x_u)) - sg g(a1(x_u)))^2

g = R after E; a1 and a2 are two augmentations of an unlabelled video, sg stops the gradient; w grows linearly from 0
over the first 40 % of the steps. Stated: w = 0.1, the 40 %. Chosen here: E and R of S4AQA; a1 hides segments and a2
adds noise to another hiding (aqa_lib/methods/_encoded.py); 32 + 32 videos a step; running statistics follow the
labelled videos.

With the weight that is stated little comes of it: the weighted gradient at E is .08 to .15 of the regression's
(surrogate, 40 % of the labels, 250 steps at a learning rate of 1.6e-2), and most of what the two sides differ by is
dropout. The same 0.1 says more in RankUp's code, where it weighs squared years against an absolute error, so that two
views that are 5 years apart pull as much as a label does; here both are squares, of scores up to 5. Not tuned here.
Control: the first view of another video of the batch.
"""

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, strong, weak
from aqa_lib.methods._exchange import EXCHANGE, another, exchanged, exchanging, spread, taken
from aqa_lib.methods.base import Setting


class PiModel(Encoded):
    title = "Pi-model"
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(0.1, "weight of the consistency loss", low=0, per_run=True),
        "warm_up": Setting(0.4, "share of the steps over which the weight grows from 0", 0, 1, per_run=True),
        "hide": Setting(0.15, "chance that an augmentation hides a segment", 0, 0.99),
        "noise": Setting(0.05, "noise of the second augmentation, in root mean squares of the features", low=0),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    from_the_start = ("consistency",)
    PLACES = {"drop0": 3, "drop1": 3, "drop2": 3, "hide": 2, "noise": 1, "another": 1}

    def mechanisms(self, settings):
        return ("consistency",)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        labelled, student, target = self.passes(model, batch)
        regression = losses.squared_error(labelled, batch.y)
        consistency = losses.squared_error(student, target)
        return {
            "loss": regression + self.ramp(batch) * batch.weight("weight") * consistency,
            "regression": regression,
            "consistency": consistency,
        }

    def alive(self, model, batch):
        """The first view of another video."""
        _, student, target = self.passes(model, batch)
        cost = exchanged(lambda r: (student - target.roll(-r, 1)).abs(), spread(batch.y).sqrt())
        return {"consistency": cost}

    def passes(self, model, batch):
        """Scores [K,B] of the labelled videos, of second views, and what these are to be: in a control of others."""
        s, x = batch.runs[0], batch.x
        first = weak(x[:, UNLABELLED], batch.keys["hide"][:, 0], s["hide"])
        second = weak(x[:, UNLABELLED], batch.keys["hide"][:, 1], s["hide"])
        second = strong(second, batch.keys["noise"][:, 0], s["noise"], batch.mask_of(UNLABELLED))
        f = self.encode(
            model, torch.stack([x[:, LABELLED], first, second], 1), batch, (LABELLED, UNLABELLED, UNLABELLED)
        )
        labelled, target, student = (model.scores(f[:, s]) for s in range(3))
        target = target.detach()
        if exchanging(batch):
            target = taken(target, another(batch))
        return labelled, student, target


METHOD = PiModel()
