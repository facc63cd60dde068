"""MUSDL: Tang, Ni, Zhou, Zhang, Lu, Wu, Zhou, "Uncertainty-aware score distribution learning for action quality
assessment", CVPR 2020: USDL with a head for every judge.

    L = sum over judges j of 1/(n C) sum_i sum_c t_ijc (log t_ijc - log p_ijc),
    t_ijc ~ exp(-(c - c_ij)^2 / (2 sigma^2)),   sum_c t_ijc = 1

c_ij is judge j's award of video i in bins, p_ij a softmax over the C awards that can be given: 0, 1/2 .. 10 in diving,
1 .. 5 for the six items of JIGSAWS. Predicted is the likeliest award of each judge, and of these the score by the rule
of the data set (aqa_lib/methods/_judges.py): in diving the sum of the middle three times the difficulty.

Stated: the heads, the bins, sigma = 1 for JIGSAWS. In the released code sigma is 5 for diving as well, where the 21
bins span four of it; the loss is divided by C too; awards are those of the seats as they are stored; weight decay 1e-5.
All are followed (sigma: 5 where the rule is the middle, else 1). output = expectation takes the mean of each award in
place of the likeliest, which has no ties. The distribution of the score is exact for a sum and a mean (convolution),
and that of 256 draws of all heads for the middle three. Chosen here: frozen features, rate, batch and steps of the
other networks; the difficulty is a head like the others over 0, 0.1 .. 6 with a deviation of 2 bins, learnt from the
labelled videos (`musdl_difficulty` is told it, as published). A missing award teaches nothing.
"""

import numpy as np
import torch
from scipy.special import ndtr

from aqa_lib.errors import UserError
from aqa_lib.methods._judges import Judged, draws, sampled
from aqa_lib.methods.base import Setting
from aqa_lib.methods.usdl import log_target
from aqa_lib.models.functions import average, constant
from aqa_lib.models.usdl import AwardDistributions, point, spread

DIFFICULTIES, OF_DIFFICULTY = tuple(k / 10 for k in range(61)), 2.0  # bins, and the target's deviation in them


class JudgeDistributions(Judged):
    title = "MUSDL"
    SETTINGS = {
        **Judged.SETTINGS,
        "sigma": Setting(
            None,
            "deviation of the target in bins; None: 5 if the rule is the middle, else 1",
            0.01,
            kind=float,
            per_run=True,
        ),
        "least": Setting(None, "least award; None: as the data set says", kind=float),
        "most": Setting(None, "largest award; None: as the data set says", kind=float),
        "step": Setting(None, "between an award and the next; None: as the data set says", 0.001, kind=float),
        "output": Setting("argmax", "award that is predicted", choices=("argmax", "expectation"), per_run=True),
        "order": Setting(
            "seats", "awards that heads learn where the rule is the middle", choices=("sorted", "seats"), per_run=True
        ),
        "weight_decay": Setting(1e-5, "L2 penalty, as torch's optimisers add it", low=0, per_run=True),
    }
    variants = {"MUSDL": {}, "MUSDL, expectation": {"output": "expectation"}}

    def check(self, settings, data):
        awards, d = self.awards(settings, data), data.difficulty
        least, most = np.nanmin(data.judges, initial=awards[0]), np.nanmax(data.judges, initial=awards[-1])
        if least < awards[0] or most > awards[-1]:
            raise UserError(
                f"method {self.name}: awards of data set {data.name!r} lie in {least:g} .. {most:g}, beyond its bins "
                f"{awards[0]:g} .. {awards[-1]:g}: set least and most"
            )
        if self.guesses(settings, data) and not (np.nan_to_num(d) <= DIFFICULTIES[-1]).all():
            raise UserError(
                f"method {self.name}: difficulty {np.nanmax(d):g} of data set {data.name!r} is beyond its bins, 0 .. "
                f"{DIFFICULTIES[-1]:g}: give it in the units of diving, or take dae_mt"
            )

    def awards(self, settings, data):
        """The awards that can be given, a bin each."""
        self.rule(settings, data)
        told = data.meta.get("awards") or (None, None, None)
        least, most, step = (
            told[i] if settings[name] is None else settings[name] for i, name in enumerate(("least", "most", "step"))
        )
        if None in (least, most, step) or round((most - least) / step) < 1:
            raise UserError(
                f"method {self.name}: data set {data.name!r} does not say which awards can be given (meta awards: "
                "least, most, step): set least, most and step, with least below most"
            )
        return tuple(least + step * k for k in range(round((most - least) / step) + 1))

    def build(self, runs, data):
        s = runs[0]
        model = AwardDistributions(
            runs=len(runs),
            inputs=data.features.shape[2],
            seats=data.judges.shape[1],
            awards=self.awards(s, data),
            difficulties=DIFFICULTIES if self.guesses(s, data) else (),
            expectation=[s["output"] == "expectation" for s in runs],
            precision=s["precision"],
        )
        return self.carrying(model, s, data)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        of_awards, of_difficulty = model(average(batch.x[:, 0], batch.mask_of(0)))
        awards, difficulty = self.goals(model, batch)
        usual = 5.0 if model.rule == "middle" else 1.0
        sigma = batch.table(lambda s: [usual if s["sigma"] is None else s["sigma"]], key="sigma")
        terms = {"awards": divergence(of_awards, bins(awards, model.awards), sigma[:, :, None, None]).sum(1)}
        if difficulty is not None:
            terms["difficulty"] = divergence(of_difficulty, bins(difficulty, model.difficulties), OF_DIFFICULTY)
        return {"loss": sum(terms.values()), **terms}

    def predict(self, model, x, difficulty=None, mask=None):
        """x [K or 1,1,T,n,D] -> score, variance [K,n] and quantiles [K,n,Q] of the score before rounding."""
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        logits, of_difficulty = model(v.expand(len(model.scale), -1, -1))
        p, q = logits.softmax(-1), of_difficulty.softmax(-1) if model.guesses else None
        awards = point(logits, model.awards, model.expectation)
        d = point(of_difficulty, model.difficulties, model.expectation) if model.guesses else None

        def distribution(known):
            if model.rule != "middle":
                return spread(convolved(p), sums(model.awards, model.seats, model.rule))
            u = p.new_tensor(ndtr(draws(model.seats + model.guesses)))  # [DRAWS,H]

            def draw(items):
                drawn = drawn_from(p[:, items], model.awards, u[:, : model.seats].T)  # [K,m,J,DRAWS]
                of_draw = drawn_from(q[:, items], model.difficulties, u[:, -1]) if model.guesses else None
                return drawn.mT, of_draw

            return sampled(draw, p.shape[1], model.rule, known)

        return self.predicted(model, (awards, d), distribution, difficulty)


def bins(values, at):
    """Values as numbers of bins, which are evenly spaced at `at`."""
    return (values - at[0]) / (at[1] - at[0])


def divergence(logits, c, sigma):
    """KL(t || p) of a Gaussian about c [K,B,...], in bins, NaN where it is not known; mean over known and bins [K,...].

    logits [K,B,...,bins].
    """
    known = c.isfinite().to(logits.dtype)
    log_t, log_p = log_target(c.nan_to_num(), logits.shape[-1], sigma), logits.log_softmax(-1)
    of_item = (log_t.exp() * (log_t - log_p)).sum(-1) * known
    return of_item.sum(1) / (known.sum(1).clamp(min=1) * logits.shape[-1])


def sums(awards, seats, rule):
    """The scores that `seats` of these awards can make by the rules sum and mean."""
    least, step, parts = seats * awards[0], awards[1] - awards[0], seats if rule == "mean" else 1
    return tuple((least + step * k) / parts for k in range(seats * (len(awards) - 1) + 1))


def convolved(p):
    """The probabilities [...,J(C-1)+1] of the sum of J independent numbers 0 .. C-1, from theirs [...,J,C]."""
    total, C = p[..., 0, :], p.shape[-1]
    for head in p.unbind(-2)[1:]:
        shifted = [torch.nn.functional.pad(total, (c, C - 1 - c)) for c in range(C)]
        total = sum(head[..., c : c + 1] * shifted[c] for c in range(C))
    return total


def drawn_from(p, at, u):
    """Values [...,DRAWS] at levels u [...,DRAWS] of probabilities p [...,bins] of increasing values."""
    below = p.cumsum(-1).contiguous()
    place = torch.searchsorted(below, u.expand(*p.shape[:-1], -1).contiguous()).clamp(max=len(at) - 1)
    return constant(at, p.dtype, p.device)[place]


METHOD = JudgeDistributions()
