"""S4AQA: Zhang, Pan, Gao, Zheng, "Semi-supervised action quality assessment with self-supervised segment
feature recovery", IEEE TCSVT 2022.

    L = L_reg + lambda1 L_rcvr + lambda2 L_adv

L_reg: squared error of the labelled videos' scores. L_rcvr: mean absolute error between an unlabelled video's
masked segment feature and what the decoder recovers from the rest (with several masked, their mean). L_adv:
cross-entropy of a discriminator of labelled against unlabelled encodings behind a gradient reversal.

Stated in the paper: the three losses, lambda1 = 40, lambda2 = 0.1, one random masked segment, Adam 5e-4 with
weight decay 1e-4, the weights of Eq. 6. Chosen here: zeros as mask; L_rcvr averaged over the D dimensions;
each set (labelled, whole, masked) normalised by its own batch statistics while the running ones follow the
labelled; gradient reversal coefficient 1; 32 + 32 videos a step.

A deviation: `head` "norm", the default, has a LayerNorm without parameters on the hidden layer of decoder and
discriminator. Without it ("plain", as published) all units of the decoder die where rate times encoded size is large,
and it returns one constant from then on: with 160 encoded numbers at a rate of 3.2e-2, not at the paper's 5e-4.

Mechanisms: "recovery" and "alignment". Whether they are on (training/alive.py): each unlabelled video's recovered
segment against the segment at the same place of other videos; the discriminator's answers with the domains exchanged,
or MMD with domains drawn by lot. An adversary that has won leaves nothing to tell apart, so the largest t of the run
counts. The control (`exchange`) recovers the segment at the same place of another video of the batch, and aligns two
halves of the videos that are drawn by lot: terms with nothing to learn of the video. Their gradient is smaller than the
method's own, once the decoder returns what all videos share (docs/mechanisms.md).

The paper's variants are settings. AA: recover = align = False; AA+RDA: align alone; AA+MSFR: recover alone. Masks of
2 or 3 segments. `alignment`: by MMD instead (bandwidths chosen here, see losses.mmd). `recover_labelled`: recovery on
labelled videos too (here: the mean of both losses). `pretrain`: "vanilla SSL", that share of the steps minimises the
recovery loss alone and the rest the regression alone, in one optimiser and without alignment. `pretext` "still": all
segment features are predicted from those of still frames (mean absolute error). `modality` "rgb+flow": an encoder and
a decoder each, the encodings side by side, L_rcvr the mean of both.

Not in the paper: `ramp` (the schedule of DANN for the reversal) and `balance` (each auxiliary loss divided by the norm
of its gradient at the encoder's weights and multiplied by that of the regression, norms averaged over about ten steps).
"""

import torch
import torch.nn.functional as F

from aqa_lib import losses
from aqa_lib.errors import UserError
from aqa_lib.methods._balance import TERMS, balanced, gradient_norms
from aqa_lib.methods._encoded import for_all
from aqa_lib.methods._exchange import EXCHANGE, Exchange, another, exchanged, exchanging
from aqa_lib.methods._recovery import encode, keep, keep_alike, recovery_error
from aqa_lib.methods.base import SHARES, Method, Setting
from aqa_lib.models.functions import constant, hashed, resampled, reverse_gradient
from aqa_lib.models.s4aqa import S4AQA

LABELLED, WHOLE, MASKED, HINTED = range(4)  # HINTED: the labelled videos as the recovery sees them
LOTS = 8  # draws of domains by lot that MMD is held against
ORDER = (LABELLED, HINTED, WHOLE, MASKED)  # as they are encoded: copies of the unlabelled come last


class SemiSupervised(Method):
    title = "S4AQA"
    masks = True
    variants = {"S4AQA": {}, "AA": {"recover": False, "align": False}}
    ablation = {
        "AA": {"recover": False, "align": False},
        "AA+RDA": {"recover": False, "align": True},
        "AA+MSFR": {"recover": True, "align": False},
        "AA+MSFR+RDA": {"recover": True, "align": True},
    }
    SETTINGS = {
        "recover": Setting(True, "recover masked segments of unlabelled videos (MSFR)", per_run=True),
        "align": Setting(True, "align labelled and unlabelled encodings (RDA)", per_run=True),
        "lambda1": Setting(40.0, "weight of the recovery loss", low=0, per_run=True),
        "lambda2": Setting(0.1, "weight of the alignment loss", low=0, per_run=True),
        "grl": Setting(1.0, "coefficient of the gradient reversal", low=0, per_run=True),
        "ramp": Setting(False, "let the reversal grow from 0 to its coefficient, as DANN does", per_run=True),
        "alignment": Setting("grl", "what aligns", choices=("grl", "mmd_laplacian", "mmd_rbf")),
        "masks": Setting(1, "masked segments a video", low=1),
        "pretext": Setting("mask", "what is recovered from", choices=("mask", "still")),
        "recover_labelled": Setting(False, "recover segments of labelled videos, too", per_run=True),
        "pretrain": Setting(
            0.0, "share of the steps with the recovery alone; then regression alone", 0, 0.9, per_run=True
        ),  # fmt: skip
        "modality": Setting("rgb", "which features", choices=("rgb", "flow", "rgb+flow")),
        "balance": Setting(False, "scale auxiliary losses to the regression's gradient at the encoder"),
        "drop": Setting(0.5, "dropout of the encoder, in steps of 1/256", 0, 0.99),
        "head": Setting("norm", "hidden layer of decoder and discriminator", choices=("norm", "plain")),
        "exchange": EXCHANGE,
        "shares": SHARES,
    }
    control = {"exchange": True}
    transient = ("alignment",)
    PLACES = {"another": 1, "lot": 1, "mask": 2, "drop0": 4, "drop1": 4, "drop2": 4, "flow0": 4, "flow1": 4, "flow2": 4}

    def build(self, runs, data):
        s = runs[0]
        inputs = [data.view(m).shape[2] for m in s["modality"].split("+")]
        made = dict(segments=self.segments(s, data), inputs=inputs, ragged=self.ragged(data))
        made |= dict(drop=s["drop"], precision=s["precision"], all_segments=s["pretext"] == "still", head=s["head"])
        return S4AQA(runs=len(runs), **made)

    def check(self, settings, data):
        s, segments = settings, int(data.lengths.min()) if data.ragged else data.features.shape[1]
        if s["recover"] and s["pretext"] == "mask" and s["masks"] >= segments:
            masks, few = s["masks"], f"the {segments} segment{'s' * (segments > 1)}"
            few = f"{few} of the shortest video of data set {data.name!r}" if data.ragged else few
            raise UserError(f"method s4aqa: masks = {masks} leaves nothing of {few}; give fewer, or recover = false")
        if s["pretext"] == "still" and s["modality"] != "rgb":
            raise UserError(f"method s4aqa: still frames have no {s['modality']} features; take modality rgb")
        if not s["recover"] and (s["pretrain"] or s["recover_labelled"]):
            name = "pretrain" if s["pretrain"] else "recover_labelled"
            raise UserError(f"method s4aqa: {name} is about the recovery, which is switched off; set recover to true")

    def uses(self, settings):
        """The sets that a run encodes: the masked copy for recovery, both for alignment with recovery."""
        recover, align = settings["recover"], settings["align"]
        return (LABELLED,) + (WHOLE,) * align + (MASKED,) * recover + (HINTED,) * settings["recover_labelled"]

    def unlabelled(self, settings):
        return settings["recover"] or settings["align"]

    def views(self, settings):
        return ("flow",) * ("flow" in settings["modality"]) + ("still",) * (settings["pretext"] == "still")

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each; `batch` holds what the runs of the stack need."""
        used, sets, keep, f, recovered = self.passes(model, batch)
        terms = {"regression": losses.squared_error(model.scores(f[LABELLED]), batch.y)}
        weights = {"regression": None}
        if MASKED in used:
            place = another(batch) if exchanging(batch) else None
            terms["recovery"] = self.recovery(batch, recovered, self.targets_of(model, batch, keep, used, place), used)
            weights["recovery"] = batch.weight("lambda1", "recover")
        if any(s["align"] for s in batch.runs):
            terms["alignment"] = self.alignment(model, batch, f, [s for s in sets if s != HINTED])
            weights["alignment"] = batch.weight("lambda2", "align")
        if any(s["pretrain"] for s in batch.runs):
            first = batch.progress() < batch.weight("pretrain")
            weights["regression"] = (~first).to(batch.y.dtype)
            joint = batch.weight("pretrain") == 0
            weights["recovery"] = weights["recovery"] * (first | joint)
            if "alignment" in weights:
                weights["alignment"] = weights["alignment"] * joint
        norms = {}
        if batch.runs[0]["balance"]:
            norms = gradient_norms(terms, [p for e in model.encoders for p in e.parameters()])
            weights = balanced(batch, weights, norms)
        loss = 0
        for name, term in terms.items():
            loss = loss + (term if weights[name] is None else weights[name] * term)
        return {"loss": loss, **terms, **{f"gradient {name}": value for name, value in norms.items()}}

    def passes(self, model, batch, alike=False):
        """(what is used, the sets, what is kept of masked ones, f [K,B,TC] of each set, what is recovered).

        alike: the same place is hidden in all videos.
        """
        used = set().union(*map(self.uses, batch.runs))
        sets = [s for s in ORDER if s in used]
        kept = self.keep_alike if alike else self.keep
        keep = [kept(batch, i) if s in used else None for i, s in enumerate((MASKED, HINTED))]
        f, recovered = [], []
        for modality, encoder, decoder in zip(self.modalities(batch), model.encoders, model.decoders, strict=True):
            encoded = self.encodings(encoder, self.seen(batch, modality), batch, modality, sets, keep)
            f.append(encoded)
            recovered.append({s: decoder(encoded[s]) for s in (MASKED, HINTED) if s in used})
        f = {s: torch.cat([e[s] for e in f], -1) if len(f) > 1 else f[0][s] for s in sets}
        return used, sets, keep, f, recovered

    def targets_of(self, model, batch, keep, used, place=None):
        """What is to be recovered, a dict of sets a modality; `place` [K,B]: of the videos that stand there instead."""
        found = []
        for modality, encoder in zip(self.modalities(batch), model.encoders, strict=True):
            x = self.seen(batch, modality)
            x = x if place is None else x.gather(3, place[:, None, None, :, None].expand_as(x))
            sets = [s for s in (MASKED, HINTED) if s in used]
            found.append({s: self.target(x, s, keep, batch, encoder.segments) for s in sets})
        return found

    @staticmethod
    def seen(batch, modality):
        return batch.x if modality == "rgb" else batch.view(modality)

    def mechanisms(self, settings):
        return ("recovery",) * settings["recover"] + ("alignment",) * settings["align"]

    def working(self, settings):
        return 0.0, settings["pretrain"] or 1.0

    def auxiliary(self, batch, terms):
        weights = {"recovery": ("lambda1", "recover"), "alignment": ("lambda2", "align")}
        ratio = batch.made.get("ratio", {})
        return {n: batch.weight(*w) * ratio.get(n, 1) * terms[n] for n, w in weights.items() if n in terms}

    def alive(self, model, batch):
        """Recovery: the same place of another video. Alignment: the domains exchanged."""
        used, sets, keep, f, recovered = self.passes(model, batch, alike=True)
        found = {}
        if MASKED in used:
            targets = [t[MASKED] for t in self.targets_of(model, batch, keep, {MASKED})]

            def cost(r):  # [K,B]
                each = [(v[MASKED] - t.roll(-r, 1)).abs().mean(-1) for v, t in zip(recovered, targets, strict=True)]
                return sum(each) / len(each)

            first = targets[0]
            found["recovery"] = exchanged(cost, (first - first.mean(1, keepdim=True)).abs().mean((1, 2)))
        if any(s["align"] for s in batch.runs):
            sets = [s for s in sets if s != HINTED]
            found["alignment"] = self.confusion(model, batch, f, sets)
        return found

    def confusion(self, model, batch, f, sets):
        """What the discriminator pays for each pair of a labelled and an unlabelled video, the domains exchanged and
        not; where MMD aligns, what each video adds to it when domains are drawn by lot, and as they are."""
        weight, kind = batch.table(self.set_weights)[:, sets], batch.runs[0]["alignment"]
        if kind == "grl":
            z = {s: self.logits(model, f[s], batch.weight("grl")) for s in sets}

            def cost(exchange):
                signs = [-1.0 if (s == LABELLED) != exchange else 1.0 for s in sets]
                terms = [F.softplus(sign * z[s]) for s, sign in zip(sets, signs, strict=True)]
                return sum(weight[:, [i]] * term for i, term in enumerate(terms))

            return Exchange(cost(False), cost(True))
        signs = constant(tuple(1.0 if s == LABELLED else -1.0 for s in sets), weight.dtype, weight.device)
        weight, x = weight * signs, [f[s] for s in sets]
        lots = [self.lot(batch, r) for r in range(LOTS)]
        kernel = kind.removeprefix("mmd_")
        by_lot = sum(losses.mmd_parts(x, weight, kernel, lot) for lot in lots) / len(lots)
        return Exchange(by_lot, losses.mmd_parts(x, weight, kernel))

    @staticmethod
    def lot(batch, number=0):
        """+1 or -1 [K,B]: whether the labelled and the unlabelled video of a place keep their domains, by lot."""
        words = hashed(batch.keys["lot"][:, 0] + number, batch.y.shape[1])
        return (words & 1).to(batch.y.dtype) * 2 - 1

    @staticmethod
    def modalities(batch):
        return batch.runs[0]["modality"].split("+")

    def encodings(self, encoder, x, batch, modality, sets, keep):
        """f [K,B,TC] of every set that is used; a video and its masked copy share their first products."""
        place = "flow" if modality == "flow" and len(self.modalities(batch)) > 1 else "drop"
        keys = [batch.keys[f"{place}{layer}"][:, sets] for layer in range(3)]
        mask = None  # of the sets as they go in: the last one, the unlabelled, comes out as whole and masked copy
        if batch.runs[0]["pretext"] == "still":
            still = batch.view("still")
            seen = {LABELLED: x[:, 0], WHOLE: x[:, -1], HINTED: still[:, 0], MASKED: still[:, -1]}
            if batch.mask is not None:
                mask = torch.stack([batch.mask[:, 0 if s in (LABELLED, HINTED) else -1] for s in sets], 1)
            f = encoder(torch.stack([seen[s] for s in sets], 1), (), keys, mask)
        else:
            copies, mask = [None] * (WHOLE in sets) + [keep[0]] * (MASKED in sets), batch.mask
            if HINTED in sets:
                x = torch.cat([x[:, :1], (x[:, 0] * keep[1].unsqueeze(-1)).unsqueeze(1), x[:, 1:]], 1)
                mask = None if mask is None else torch.cat([mask[:, :1], mask], 1)
            if not copies:  # runs that have left used the unlabelled, those that stay do not
                x, mask = x[:, :1], None if mask is None else mask[:, :1]
            f = encoder(x, copies, keys, mask)
        return dict(zip(sets, f.unbind(1), strict=True))

    @staticmethod
    def target(x, s, keep, batch, segments):
        """What is to be recovered: the mean of the hidden segments [K,B,D], or all segments [K,B,TD] where none is."""
        which = -1 if s == MASKED else 0
        x, keep = x[:, which], keep[0 if s == MASKED else 1]
        if keep is None:
            x = x if batch.mask is None else resampled(x, batch.mask[:, which], segments)
            return x.transpose(1, 2).flatten(2)
        hidden = (1 - keep).unsqueeze(-1)
        return (x * hidden).sum(1) / hidden[0, :, 0].sum()

    @staticmethod
    def recovery(batch, recovered, targets, used):
        """L_rcvr [K], mean over modalities; with the labelled videos the mean of theirs and the unlabelled's."""

        def mean(s):
            each = [losses.recovery(r[s], t[s]) for r, t in zip(recovered, targets, strict=True)]
            return each[0] if len(each) == 1 else (each[0] + each[1]) / 2

        loss = mean(MASKED)
        if HINTED in used:
            loss = loss + batch.weight("recover_labelled") * (mean(HINTED) - loss) / 2
        return loss

    def alignment(self, model, batch, f, sets):
        """L_adv, or the squared MMD of labelled and unlabelled encodings, with the weights of Eq. 6; [K]."""
        weight = batch.table(self.set_weights)[:, sets]
        kind, keeps = batch.runs[0]["alignment"], None
        if exchanging(batch):  # the control's domains are drawn by lot
            keeps = torch.where(batch.weight("exchange").unsqueeze(1) > 0, self.lot(batch), 1.0)
        if kind != "grl":
            signs = constant(tuple(1.0 if s == LABELLED else -1.0 for s in sets), weight.dtype, weight.device)
            return losses.mmd([f[s] for s in sets], weight * signs, kind.removeprefix("mmd_"), keeps)
        coefficient = batch.weight("grl")
        if any(s["ramp"] for s in batch.runs):  # DANN: 2 / (1 + exp(-10 p)) - 1 = tanh(5 p)
            coefficient = torch.where(batch.weight("ramp") > 0, torch.tanh(5 * batch.progress()), 1) * coefficient
        logits = [self.logits(model, f[s], coefficient) for s in sets]
        return losses.domain_confusion(logits, [s == LABELLED for s in sets], weight, keeps)

    def begin(self, stack):
        if stack.runs[0]["balance"]:
            stack.memory["norms"] = stack.y.new_zeros(len(stack.runs), len(TERMS))

    @staticmethod
    def logits(model, f, coefficient):
        return model.discriminator(reverse_gradient(f, coefficient)).squeeze(-1)

    @staticmethod
    def set_weights(settings):
        """Eq. 6: labelled 1; whole and masked share 1 (one of them alone has all of it)."""
        return [1.0, 0.5, 0.5] if settings["recover"] else [1.0, 1.0, 0.0]

    keep, keep_alike = staticmethod(keep), staticmethod(keep_alike)
    encode, recovery_error = staticmethod(encode), staticmethod(recovery_error)

    def predict(self, model, x, flow=None, still=None, mask=None):
        """x [K or 1,1,T,n,D] -> scores [K,n] with running statistics and no dropout; still frames are a pretext only,
        so that no score depends on `still`."""
        K = model.regressor.last.bias.shape[0]
        seen = [x] if flow is None else [flow] if len(model.encoders) == 1 else [x, flow]
        f = [e(*for_all(K, v, mask))[:, 0] for e, v in zip(model.encoders, seen, strict=True)]
        return model.scores(torch.cat(f, -1) if len(f) > 1 else f[0])


METHOD = SemiSupervised()
