"""CLSS: Dai, Du, Bai, Cheng, Li, "Semi-supervised contrastive learning for deep regression with ordinal rankings from
spectral seriation", NeurIPS 2023; its labelled contrast is the ordinal entropy of Zhang, Yang, Mi, Zheng, Yao,
"Improving deep regression with ordinal entropy", ICLR 2023.

    L = L_reg + w_c L_contrast + w_u L_feature + w_p L_prediction
    L_contrast = mean_i |z_i - c(y_i)|^2 - mean_{a<b} v_ab |c_a - c_b|
    L_feature = sum_i mean_j (rank_j cos(f_i, f_j) - rank_j -|o_i - o_j|)^2          over unlabelled videos
    L_prediction = the same with -|g_i - g_j| in place of the cosines

z: encodings of length 1; c: mean encodings of the videos of one score, of length 1; v: score differences of these
pairs, (v - min) / max; the first mean over videos that share their score with another of the batch. o: the order of
the unlabelled videos by the Fiedler vector of their cosines (no gradient); ranks have a blackbox gradient
(aqa_lib/methods/_order.py).

The sign of a Fiedler vector is arbitrary, and the rule for it in the released code gives the same answer for both
signs. Both losses depend on distances between ranks alone, and an order and its reverse have the same: no sign is
chosen here.

Stated, or in the released code: w_c = 1, w_u = 0.05, w_p = 0.01, step 2 of the blackbox gradient, no warm-up, the sum
over i. There ties of ranks are broken arbitrarily, here they share their mean rank. Chosen here: f is the encoder's
output, behind its dropout; no augmentation; E and R of S4AQA; squared error (RankUp's code, which has CLSS too:
absolute); 32 + 32 videos a step (there 32 + 8, so that the sum over i has 8 terms); running statistics follow the
labelled videos.

Mechanisms: "feature" and "prediction"; other, and control: each video has the place of another in the order. An order
of features is nearer to them than another before any training, so t is of the growth since the first step. On the
quick surrogate with 40 % of the labels (rate 8e-3, 800 steps, three seeds) features are on (index .79 to .83, t 4 to 9;
the control's index .28 to .67, that without weights .50 to .61), and predictions in two of three (index .29 to .58;
.11 to .25; .12 to .40).
"""

import torch
import torch.nn.functional as F

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded
from aqa_lib.methods._exchange import EXCHANGE, another, by_video, exchanged, exchanging, taken
from aqa_lib.methods._order import nearness, rank_error, ranks, seriate
from aqa_lib.methods.base import Setting


class CLSS(Encoded):
    title = "CLSS"
    SETTINGS = {
        **Encoded.SETTINGS,
        "contrast": Setting(1.0, "weight of the labelled videos' contrast", low=0, per_run=True),
        "feature_weight": Setting(0.05, "weight of the ranks of unlabelled features", low=0, per_run=True),
        "prediction_weight": Setting(0.01, "weight of the ranks of unlabelled predictions", low=0, per_run=True),
        "rank_step": Setting(2.0, "step of the ranks' blackbox gradient", low=1e-6),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    from_the_start = ("feature", "prediction")
    PLACES = {"another": 1, "drop0": 2, "drop1": 2, "drop2": 2}

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        f = self.encode(model, batch.x, batch, (LABELLED, UNLABELLED))
        near = self.similarities(model, f[:, UNLABELLED])
        target, step = self.target(near["feature"], batch), batch.runs[0]["rank_step"]
        terms = {
            "regression": losses.squared_error(model.scores(f[:, LABELLED]), batch.y),
            "contrast": ordinal_entropy(f[:, LABELLED], batch.y),
            **{name: rank_error(s, target, step) for name, s in near.items()},
        }
        loss = terms["regression"] + batch.weight("contrast") * terms["contrast"]
        loss = loss + batch.weight("feature_weight") * terms["feature"]
        return {"loss": loss + batch.weight("prediction_weight") * terms["prediction"], **terms}

    @staticmethod
    def target(similarity, batch):
        """Ranks of nearness [K,B,B] in the order of the unlabelled; in a control each has the place of another."""
        order = seriate(similarity)
        if exchanging(batch):
            order = taken(order, another(batch))
        return nearness(order).to(similarity.dtype)

    @staticmethod
    def similarities(model, f):
        """How near any two videos are in features and in predictions, [K,B,B] each; f [K,B,TC]."""
        z, g = F.normalize(f, dim=-1), model.scores(f)
        return {"feature": z @ z.mT, "prediction": -(g.unsqueeze(1) - g.unsqueeze(2)).abs()}

    def mechanisms(self, settings):
        return ("feature", "prediction")

    def auxiliary(self, batch, terms):
        """The labelled videos' contrast is in neither part."""
        return {name: batch.weight(f"{name}_weight") * terms[name] for name in ("feature", "prediction")}

    def alive(self, model, batch):
        """The place in the order of another video."""
        f = self.encode(model, batch.x, batch, (LABELLED, UNLABELLED))
        near = self.similarities(model, f[:, UNLABELLED])
        target = self.target(near["feature"], batch)

        def found(similarity):
            r = ranks(similarity)
            return exchanged(lambda on: by_video((r - target.roll((-on, -on), (1, 2))).square()))

        return {name: found(similarity) for name, similarity in near.items()}


def ordinal_entropy(f, y):
    """Tightness around the centres of equal scores less the distance between centres; f [K,B,C], y [K,B] -> [K]."""
    same = y.unsqueeze(1) == y.unsqueeze(2)
    share = same.to(f.dtype) / same.sum(2, keepdim=True)
    centre = F.normalize(share @ f, dim=-1)  # every video has the centre of its score
    new = same.to(torch.uint8).argmax(2) == torch.arange(y.shape[1], device=y.device)  # the first video of its score
    pair = (new.unsqueeze(1) & new.unsqueeze(2)).triu(1)
    distance = (2 - 2 * centre @ centre.mT).clamp(min=1e-12).sqrt()
    gap = (y.unsqueeze(1) - y.unsqueeze(2)).abs()
    least = gap.masked_fill(~pair, torch.inf).amin((1, 2), keepdim=True)
    weight = ((gap - least) / gap.amax((1, 2), keepdim=True)).masked_fill(~pair, 0)
    spread = (distance * weight).sum((1, 2)) / pair.sum((1, 2)).clamp(min=1)
    several = (same.sum(2) > 1).to(f.dtype)
    away = (F.normalize(f, dim=-1) - centre).square().sum(2) * several
    return away.sum(1) / several.sum(1).clamp(min=1) - spread


METHOD = CLSS()
