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
"""

import torch
import torch.nn.functional as F

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded
from aqa_lib.methods.base import Setting
from aqa_lib.models.s4l import S4L

TURNED = ("rot90", "rot180", "rot270")


class SelfSupervised(Encoded):
    title = "S4L"
    beside = {"ridge, turned views": ("ridge", {"modality": "turned"})}
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(1.0, "weight of the rotation loss", low=0, per_run=True),
    }
    PLACES = {"drop0": 2, "drop1": 2, "drop2": 2}
    masks = False

    def build(self, runs, data):
        return S4L(runs=len(runs), **self.made(runs, data))

    def views(self, settings):
        return TURNED

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        x = torch.cat([batch.x, *map(batch.view, TURNED)], 3)  # [K,2,T,4B,D], one rotation after another
        f = self.encode(model, x, batch, (LABELLED, UNLABELLED))
        regression = losses.squared_error(model.scores(f[:, LABELLED]), batch.y.repeat(1, 4))
        K, B = batch.y.shape
        logits = model.rotations(f.flatten(1, 2))  # [K, 2 4B, 4]: the labelled, then as many unlabelled
        turned = torch.arange(4, device=x.device).repeat_interleave(B).repeat(K, 2)
        rotation = F.cross_entropy(logits.mT, turned, reduction="none").mean(1)
        loss = regression + batch.weight("weight") * rotation
        return {"loss": loss, "regression": regression, "rotation": rotation}

    def predict(self, model, x, **turned):
        """x [K or 1,1,T,n,D] -> scores [K,n] of the unrotated view alone."""
        return super().predict(model, x)


METHOD = SelfSupervised()
