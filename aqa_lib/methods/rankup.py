"""RankUp: Huang, Fu, Tsai, "RankUp: Boosting semi-supervised regression with an auxiliary ranking classifier", NeurIPS
2024. Beside the regressor a linear layer z of two outputs ranks pairs of videos, trained as FixMatch trains classes.

    L = L_reg + w_arc (L_sup + L_unsup) [+ ramp w_align L_align]
    p_ij = softmax(z_j - z_i),  t_ij = (1 + sign(y_j - y_i)) / 2 the target of its first entry
    L_sup = mean over pairs of labelled videos of CE(t_ij, p_ij), ties counting half to each side
    L_unsup = mean over pairs of unlabelled videos of [max p_ij(weak) >= 0.95] CE(argmax p_ij(weak), p_ij(strong))

With `align_ranks` the regressor also learns rank-matched pseudo-labels on the weak view ("RankUp with RDA" of the
paper; aqa_lib/methods/_ranks.py), which is not S4AQA's RDA.

Stated: the pairs (all B^2 of a batch, each with itself included), 0.95, hard labels, w_arc = 0.2, w_align = 1 with a
warm-up of 40 %. The released RankUp adds a constant to the loss, which moves nothing and is left out. Chosen here: E
and R of S4AQA, z a layer on the encoded video; L_reg the squared error as in all methods here (theirs: absolute);
weak hides segments, strong adds noise to another hiding; 32 + 32 videos a step (theirs: 32 + 224); running
statistics follow the labelled videos; alignments once a pass over the training videos.

Mechanisms: "agreement", L_unsup, and with `align_ranks` "alignment". A look counts the pairs of which the weak view is
sure and that the strong view orders the other way, not their cross-entropy, to which a few pairs of large logits
contribute nearly all; other: the orders of the pairs (i + r, j + r), as in the control. Of an untrained network no pair
is sure, so its index is 0 (six seeds), though both sides are views of one video. Agreement is not truth: on the
quick surrogate with 40 % of the labels (rate 3.2e-2, 250 steps, six seeds) 35 to 48 % of the pairs are sure and 75 to
82 % of these are right, where 95 % are claimed.
"""

import torch
import torch.nn.functional as F

from aqa_lib import losses
from aqa_lib.methods import _ranks
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, strong, weak
from aqa_lib.methods._exchange import EXCHANGE, another, by_video, deviation, exchanged, exchanging, taken
from aqa_lib.methods.base import Setting
from aqa_lib.models.rankup import RankUp


class Ranking(Encoded):
    title = "RankUp"
    variants = {"RankUp": {}, "RankUp + its RDA": {"align_ranks": True}}
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(0.2, "weight of both ranking losses", low=0, per_run=True),
        "confidence": Setting(0.95, "least probability of a pair's order that is learned from", 0.5, 1, per_run=True),
        "align_ranks": Setting(False, "learn rank-matched pseudo-labels too", per_run=True),
        "align_weight": Setting(1.0, "weight of the error to the aligned labels", low=0, per_run=True),
        **_ranks.SETTINGS,
        "hide": Setting(0.15, "chance that an augmentation hides a segment", 0, 0.99),
        "noise": Setting(0.05, "noise of the strong augmentation, in root mean squares of the features", low=0),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    PLACES = {"another": 1, "drop0": 4, "drop1": 4, "drop2": 4, "hide": 3, "noise": 1}  # the last ones are a look's

    def build(self, runs, data):
        return RankUp(runs=len(runs), **self.made(runs, data))

    def uses(self, settings):
        return ("aligned",) * settings["align_ranks"]

    def begin(self, stack):
        _ranks.begin(stack)

    def before(self, stack, step):
        _ranks.refresh(stack, step)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        f, f_weak = self.encodings(model, batch)
        regression = losses.squared_error(model.scores(f[:, 0]), batch.y)
        ordered = ranking(model.pairs(f[:, 0]), batch.y)
        orders = self.orders(model, f_weak, batch)
        agreed = disagreement(model.pairs(f[:, 1]), orders, batch.weight("confidence")).mean((1, 2))
        terms = {"regression": regression, "ranking": ordered, "agreement": agreed}
        loss = regression + batch.weight("weight") * (ordered + agreed)
        if any(run["align_ranks"] for run in batch.runs):
            predicted = model.scores(f_weak)
            terms["alignment"] = losses.squared_error(predicted, _ranks.pseudo(self, model, batch, predicted))
            loss = loss + self.ramp(batch) * batch.weight("align_weight", "align_ranks") * terms["alignment"]
        return {"loss": loss, **terms}

    def encodings(self, model, batch):
        """f [K,2,B,TC] of the labelled videos and of the strong views of the unlabelled; of the weak views [K,B,TC]."""
        s, x, keys = batch.runs[0], batch.x, batch.keys
        weakly = weak(x[:, UNLABELLED], keys["hide"][:, 0], s["hide"])
        strongly = weak(x[:, UNLABELLED], keys["hide"][:, 1], s["hide"])
        strongly = strong(strongly, keys["noise"][:, 0], s["noise"], batch.mask_of(UNLABELLED))
        f = self.encode(model, torch.stack([x[:, LABELLED], strongly], 1), batch, (LABELLED, UNLABELLED))
        learning = torch.is_grad_enabled() and any(run["align_ranks"] for run in batch.runs)
        with model.still(), torch.set_grad_enabled(learning):  # only the alignment learns on the weak view
            return f, self.encode(model, weakly.unsqueeze(1), batch, (UNLABELLED,), first=2)[:, 0]

    @staticmethod
    def orders(model, f_weak, batch):
        """d [K,B,B] of the weak views, without gradient; in a control those of the pairs of other videos."""
        d = model.pairs(f_weak).detach()
        if exchanging(batch):
            place = another(batch)
            d = taken(d, place).gather(2, place.unsqueeze(1).expand_as(d))
        return d

    def mechanisms(self, settings):
        return ("agreement",) + ("alignment",) * settings["align_ranks"]

    def auxiliary(self, batch, terms):
        """The labelled videos' ranking is in neither part."""
        found = {"agreement": batch.weight("weight") * terms["agreement"]}
        if "alignment" in terms:
            weight = self.ramp(batch) * batch.weight("align_weight", "align_ranks")
            found["alignment"] = weight * terms["alignment"]
        return found

    def alive(self, model, batch):
        """The orders of other pairs (i + r, j + r), as sure or not as those are; the aligned label of another video."""
        f, f_weak = self.encodings(model, batch)
        d, d_weak, confidence = model.pairs(f[:, 1]), self.orders(model, f_weak, batch), batch.weight("confidence")

        def cost(r):
            return by_video(reversed_pairs(d, d_weak.roll((-r, -r), (1, 2)), confidence))

        found = {"agreement": exchanged(cost)}
        if any(run["align_ranks"] for run in batch.runs):
            predicted = model.scores(f_weak)
            aligned = _ranks.pseudo(self, model, batch, predicted)
            found["alignment"] = exchanged(lambda r: (predicted - aligned.roll(-r, 1)).abs(), deviation(batch.y))
        return found


def ranking(d, y):
    """Cross-entropy of pair logits d [K,B,B] with the order of the scores y [K,B]; [K]."""
    t = (1 + (y.unsqueeze(1) - y.unsqueeze(2)).sign()) / 2
    return (F.softplus(d) - t * d).mean((1, 2))


def disagreement(d, d_weak, confidence):
    """Cross-entropy of each pair's logit d with the order of d_weak, where that is sure enough; [K,B,B]."""
    sure = d_weak.abs().sigmoid() >= confidence.view(-1, 1, 1)
    return F.softplus(-d * d_weak.sign()) * sure


def reversed_pairs(d, d_weak, confidence):
    """1 for each pair of which d_weak is sure and d has the other order; [K,B,B]."""
    sure = d_weak.abs().sigmoid() >= confidence.view(-1, 1, 1)
    return (sure & (d * d_weak < 0)).to(d.dtype)


METHOD = Ranking()
