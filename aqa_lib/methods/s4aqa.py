"""S4AQA: Zhang, Pan, Gao, Zheng, "Semi-supervised action quality assessment with self-supervised segment
feature recovery", IEEE TCSVT 2022.

    L = L_reg + lambda1 L_rcvr + lambda2 L_adv

L_reg: squared error of the labelled videos' scores. L_rcvr: mean absolute error between an unlabelled video's
masked segment feature and what the decoder recovers from the rest (with several masked, their mean). L_adv:
cross-entropy of a discriminator of labelled against unlabelled encodings behind a gradient reversal.

Stated in the paper: the three losses, lambda1 = 40, lambda2 = 0.1, one random masked segment, Adam 5e-4 with
weight decay 1e-4, the weights of Eq. 6. Chosen here: zeros as mask; L_rcvr averaged over the D dimensions;
each set (labelled, whole, masked) normalised by its own batch statistics while the running ones follow the
labelled; gradient reversal coefficient 1; 32 + 32 videos a step. The paper's variants are settings: AA is
recover = align = False, AA+RDA is align alone, AA+MSFR is recover alone.
"""

from aqa_lib import losses
from aqa_lib.errors import UserError
from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.functions import hashed, reverse_gradient
from aqa_lib.models.s4aqa import S4AQA

LABELLED, WHOLE, MASKED = range(3)


class SemiSupervised(Method):
    SETTINGS = {
        "recover": Setting(True, "recover masked segments of unlabelled videos (MSFR)", per_run=True),
        "align": Setting(True, "align labelled and unlabelled encodings (RDA)", per_run=True),
        "lambda1": Setting(40.0, "weight of the recovery loss", low=0, per_run=True),
        "lambda2": Setting(0.1, "weight of the alignment loss", low=0, per_run=True),
        "grl": Setting(1.0, "coefficient of the gradient reversal", low=0, per_run=True),
        "masks": Setting(1, "masked segments a video", low=1),
        "drop": Setting(0.5, "dropout of the encoder, in steps of 1/256", 0, 0.99),
    }
    PLACES = {"mask": 1, "drop0": 3, "drop1": 3, "drop2": 3}

    def build(self, runs, data):
        s, (_, segments, inputs) = runs[0], data.features.shape
        made = dict(segments=segments, inputs=inputs, drop=s["drop"], precision=s["precision"])
        return S4AQA(runs=len(runs), **made)

    def check(self, settings, data):
        segments = data.features.shape[1]
        if settings["masks"] >= segments:
            masks = settings["masks"]
            raise UserError(f"method s4aqa: masks = {masks} leaves nothing of {segments} segments; give fewer")

    def uses(self, settings):
        """The sets that a run encodes: the masked copy for recovery, both for alignment with recovery."""
        recover, align = settings["recover"], settings["align"]
        return (LABELLED,) + (WHOLE,) * align + (MASKED,) * recover

    def unlabelled(self, settings):
        return settings["recover"] or settings["align"]

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each; `batch` holds what the runs of the stack need."""
        sets = sorted(set().union(*map(self.uses, batch.runs)))
        keys = [batch.keys[f"drop{layer}"][:, sets] for layer in range(3)]
        keep = self.keep(batch) if MASKED in sets else None
        copies = [None] * (WHOLE in sets) + [keep] * (MASKED in sets)
        f = model.encoder(batch.x, copies, keys)  # [K,S,B,TC]
        f = dict(zip(sets, f.unbind(1), strict=True))

        terms = {"regression": losses.squared_error(model.scores(f[LABELLED]), batch.y)}
        loss = terms["regression"]
        if MASKED in sets:
            hidden = (1 - keep).unsqueeze(-1)
            target = (batch.x[:, -1] * hidden).sum(1) / hidden[0, :, 0].sum()  # [K,B,D]
            terms["recovery"] = losses.recovery(model.decoder(f[MASKED]), target)
            loss = loss + batch.weight("lambda1", "recover") * terms["recovery"]
        if any(s["align"] for s in batch.runs):
            logits = [self.logits(model, f[s], batch.weight("grl")) for s in sets]
            weight = batch.table(self.set_weights)[:, sets]
            terms["alignment"] = losses.domain_confusion(logits, [s == LABELLED for s in sets], weight)
            loss = loss + batch.weight("lambda2", "align") * terms["alignment"]
        return {"loss": loss, **terms}

    @staticmethod
    def keep(batch):
        """1 for kept and 0 for masked segments [K,T,B]: the `masks` smallest of T random words a video."""
        K, _, T, B, _ = batch.x.shape
        words = hashed(batch.keys["mask"], T * B).view(K, T, B)
        masked = words.topk(batch.runs[0]["masks"], dim=1, largest=False).indices
        return batch.x.new_ones(K, T, B).scatter_(1, masked, 0)

    @staticmethod
    def logits(model, f, coefficient):
        return model.discriminator(reverse_gradient(f, coefficient)).squeeze(-1)

    @staticmethod
    def set_weights(settings):
        """Eq. 6: labelled 1; whole and masked share 1 (one of them alone has all of it)."""
        return [1.0, 0.5, 0.5] if settings["recover"] else [1.0, 1.0, 0.0]

    def predict(self, model, x):
        """x [1,1,T,N,D] -> scores [K,N] with running statistics and no dropout."""
        K = model.regressor.last.bias.shape[0]
        f = model.encoder(x.expand(K, -1, -1, -1, -1))
        return model.scores(f[:, 0])


METHOD = SemiSupervised()
