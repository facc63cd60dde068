"""S4L-Rotation: Zhai, Oliver, Kolesnikov, Beyer, "S4L: self-supervised semi-supervised learning", ICCV 2019; as a
baseline of S4AQA (Zhang et al., IEEE TCSVT 2022).

    L = 1/(4L) sum_i sum_r (y_i - R(E(x_i^r)))^2
        + w/2 [ 1/(4L) sum_i sum_r CE(C(E(x_i^r)), r) + 1/(4U) sum_u sum_r CE(C(E(x_u^r)), r) ]

x^r is a video whose frames are turned by r = 0, 90, 180, 270 degrees and C a linear layer to four classes. Stated and
in the released configuration: all four rotations of every video; the rotation loss on labelled and unlabelled alike,
averaged, w = 1; the supervised loss on all four copies of the labelled. S4AQA does not state its weight. Chosen here:
C is linear on f; prediction from the unrotated view; the four copies share batch statistics (normalised apart, each
rotation would lose the shift that tells it from the others), labelled and unlabelled have their own, and the running
ones follow the labelled; E and R of S4AQA; 32 + 32 videos, so 256 encoded copies, a step.

On frozen features a rotation cannot be made from the features themselves: the backbone must have seen the turned
frames, so a data set needs the views rot90, rot180 and rot270, extracted beforehand.

The mechanism is the rotation loss of the unlabelled videos; that of the labelled is a second task on labelled data.
Control: the four rotations of each unlabelled video are all turned on by the same number, 0 to 3, drawn by lot.
"""

import torch
import torch.nn.functional as F

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded
from aqa_lib.methods._exchange import EXCHANGE, Exchange, exchanging
from aqa_lib.methods.base import Setting
from aqa_lib.models.functions import hashed
from aqa_lib.models.s4l import S4L

TURNED = ("rot90", "rot180", "rot270")


class SelfSupervised(Encoded):
    title = "S4L"
    beside = {"ridge, turned views": ("ridge", {"modality": "turned"})}
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(1.0, "weight of the rotation loss", low=0, per_run=True),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    PLACES = {"drop0": 2, "drop1": 2, "drop2": 2, "another": 1}
    masks = False

    def build(self, runs, data):
        return S4L(runs=len(runs), **self.made(runs, data))

    def views(self, settings):
        return TURNED

    def mechanisms(self, settings):
        return ("rotation",)

    def auxiliary(self, batch, terms):
        """Half the rotation loss is of labelled videos, which is no part of the mechanism."""
        return {"rotation": batch.weight("weight") * terms["rotation of unlabelled"] / 2}

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        f, logits, turned = self.passes(model, batch)
        regression = losses.squared_error(model.scores(f[:, LABELLED]), batch.y.repeat(1, 4))
        each = F.cross_entropy(logits.mT, turned, reduction="none")
        rotation, unlabelled = each.mean(1), each[:, each.shape[1] // 2 :].mean(1)
        loss = regression + batch.weight("weight") * rotation
        return {"loss": loss, "regression": regression, "rotation": rotation, "rotation of unlabelled": unlabelled}

    def passes(self, model, batch):
        """f [K,2,4B,TC], logits [K,2 4B,4] of the labelled copies, then of the unlabelled, and their rotations."""
        x = torch.cat([batch.x, *map(batch.view, TURNED)], 3)  # [K,2,T,4B,D], one rotation after another
        f = self.encode(model, x, batch, (LABELLED, UNLABELLED))
        K, B = batch.y.shape
        turned = torch.arange(4, device=x.device).repeat_interleave(B).repeat(K, 2)
        if exchanging(batch):  # the copies of each unlabelled video of a control, turned by lot
            lots = hashed(batch.keys["another"][:, 0], B) % 4 * (batch.weight("exchange") > 0).unsqueeze(1)
            turned = (turned + torch.cat([torch.zeros_like(lots).repeat(1, 4), lots.repeat(1, 4)], 1)) % 4
        return f, model.rotations(f.flatten(1, 2)), turned

    def alive(self, model, batch):
        """Another rotation, mean over the four copies of a video."""
        _, logits, turned = self.passes(model, batch)
        K, B = batch.y.shape
        logits, turned = logits[:, 4 * B :], turned[:, 4 * B :]

        def cost(r):  # [K,B]
            return F.cross_entropy(logits.mT, (turned + r) % 4, reduction="none").view(K, 4, B).mean(1)

        return {"rotation": Exchange(cost(0), sum(cost(r) for r in (1, 2, 3)) / 3)}

    def predict(self, model, x, **turned):
        """x [K or 1,1,T,n,D] -> scores [K,n] of the unrotated view alone."""
        return super().predict(model, x)


METHOD = SelfSupervised()
