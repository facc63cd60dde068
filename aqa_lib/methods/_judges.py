"""How several judges' awards become one score, for numbers and for distributions of them.

    middle: the sum of the middle three awards, times the difficulty where there is one (diving, seven judges)
    sum: the sum of all (six items of JIGSAWS)
    mean: the mean of all, of which the score is the nearest whole number, halves upwards (raters of finger tapping)

A data set says its rule in meta["judging"]; the setting `rule` says it where the set does not. On the 489 clips of
finger tapping the consensus is the mean of four raters rounded so in 83 %, with halves to the even number in 79 %.

The distribution of the score follows from that of each award, awards being independent given the video: by draws that
are the same for every video, each draw sorted for itself where the rule is the middle. It is the distribution of the
score before rounding: a rounded mean has no variance wherever the distribution lies between two halves.
"""

import functools

import numpy as np
import torch
from scipy.special import ndtri

from aqa_lib import chance
from aqa_lib.errors import UserError
from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.methods.base import SCALE, Method, Setting
from aqa_lib.models.functions import constant

RULES = ("middle", "sum", "mean")
RULE = Setting("auto", "how awards make the score; auto: as the data set says", choices=("auto", *RULES))
DRAWS = 256
PART = 256  # videos whose draws are held at once


def rule_of(where, settings, data):
    """The rule of a run on a data set, or a sentence on what is missing."""
    if data.judges is None:
        raise UserError(
            f"{where}: data set {data.name!r} has no judges: take a set with judges, or a method of one score"
        )
    rule = data.meta.get("judging") if settings["rule"] == "auto" else settings["rule"]
    if rule not in RULES:
        raise UserError(
            f"{where}: data set {data.name!r} does not say how its judges make a score (meta judging): set rule to "
            f"{', '.join(RULES[:-1])} or {RULES[-1]}"
        )
    seats = data.judges.shape[1]
    if rule == "middle" and (seats < 3 or seats % 2 == 0):
        raise UserError(f"{where}: {seats} judges have no middle three: set rule to sum or mean")
    return rule


def combined(awards, rule, difficulty=None):
    """The score [...] of awards [..., J] before rounding; difficulty [...] multiplies the middle three."""
    if rule == "mean":
        return awards.mean(-1)
    if rule == "sum":
        return awards.sum(-1)
    drop = (awards.shape[-1] - 3) // 2
    total = awards.sort(-1).values[..., drop : drop + 3].sum(-1)
    return total if difficulty is None else total * difficulty


def given_out(score, rule):
    """The score as it is given: a mean is rounded, halves upwards."""
    return (score + 0.5).floor() if rule == "mean" else score


def in_order(awards):
    """Awards [...,J] from the smallest to the largest; all NaN where one is missing, for then none has a place."""
    lacking = awards.isnan().any(-1, keepdim=True)
    return awards.sort(-1).values.masked_fill(lacking, float("nan"))


class Judged(Method):
    """A method with a head a judge and, where the middle three are multiplied by it, one of the difficulty.

    Its network carries `rule`, `seats` (J), `guesses` (whether it has a head of the difficulty), and the buffers `unit`
    and `scale` [K]: an award times `unit` is at most 5 among the labelled; a score times `scale` is that of a batch.
    """

    masks = True
    told = False  # whether the difficulty is known at test as well
    SETTINGS = {"rule": RULE}

    def check(self, settings, data):
        self.rule(settings, data)

    def rule(self, settings, data):
        return rule_of(f"method {self.name}", settings, data)

    def targets(self, data):
        """What heads learn of the labelled; an award that is missing is NaN."""
        return {"awards": data.judges, **({} if data.difficulty is None else {"difficulty": data.difficulty})}

    def given(self, data):
        if not self.told:
            return {}
        if data.difficulty is None:
            raise UserError(
                f"method {self.name}: data set {data.name!r} has no difficulty to be given: fill it in there"
            )
        return {"difficulty": data.difficulty.astype("float32")}

    def guesses(self, settings, data):
        return self.rule(settings, data) == "middle" and data.difficulty is not None and not self.told

    def carrying(self, model, settings, data):
        """The network with what `predict` needs of the data."""
        model.rule, model.seats = self.rule(settings, data), data.judges.shape[1]
        model.guesses = self.guesses(settings, data)
        for name in ("unit", "scale"):
            model.register_buffer(name, torch.ones(len(model.layers[0].weight)))
        return model

    def begin(self, stack):
        units = []
        for lab, data in zip(stack.labels, stack.data, strict=True):
            awards = np.abs(data.judges[lab.train])
            if not np.isfinite(awards).any():
                raise UserError(
                    f"method {self.name}: none of the labelled items of data set {data.name!r} has an award: give a "
                    "larger fraction"
                )
            units.append(SCALE / (np.nanmax(awards) or SCALE))
        model = stack.model
        model.unit.copy_(model.unit.new_tensor(units))
        model.scale.copy_(model.scale.new_tensor([lab.scale for lab in stack.labels]))

    @staticmethod
    def goals(model, batch):
        """Awards [K,B,J] and difficulties [K,B] or None of the labelled; NaN where one is missing."""
        awards = batch.target("awards").to(batch.y.dtype)
        if model.rule == "middle":
            ordered = batch.table(lambda s: [s["order"] == "sorted"], key="ordered").unsqueeze(-1) > 0
            awards = torch.where(ordered, in_order(awards), awards)
        return awards, batch.target("difficulty").to(awards.dtype) if model.guesses else None

    @staticmethod
    def predicted(model, point, spread, difficulty):
        """Score, variance [K,n] and quantiles [K,n,Q], as a batch has them.

        point: awards [K,n,J] and difficulties [K,n] or None, of which the score is made; `difficulty` [K or 1,n], where
        it is given, counts instead. spread(difficulty) gives variance and quantiles of the score before rounding.
        """
        awards, d = point
        difficulty = None if difficulty is None or model.rule != "middle" else difficulty.to(awards.dtype)
        score = combined(awards, model.rule, d if difficulty is None else difficulty)
        variance, quantiles = spread(difficulty)
        scale = model.scale[:, None]
        return {
            "score": given_out(score, model.rule) * scale,
            "variance": variance * scale.square(),
            "quantiles": quantiles * scale.unsqueeze(-1),
        }


def sampled(draw, n, rule, difficulty=None):
    """Variance [K,n] and quantiles [K,n,Q] of the score of n videos before rounding, over DRAWS draws of each.

    draw(items): awards [K,m,DRAWS,J] and difficulties [K,m,DRAWS] or None of a slice of the videos; `difficulty`
    [K or 1,n], where it is given, counts instead.
    """
    found = []
    for start in range(0, n, PART):
        items = slice(start, start + PART)
        awards, d = draw(items)
        total = combined(awards, rule, d if difficulty is None else difficulty[:, items, None])
        quantiles = torch.quantile(total, constant(LEVELS, total.dtype, total.device), dim=-1).movedim(0, -1)
        found.append((total.var(-1, correction=0), quantiles))
    return tuple(torch.cat(parts, 1) for parts in zip(*found, strict=True))


@functools.cache
def draws(heads):
    """Normal numbers [DRAWS,heads], constant: with each its negative, and of unit covariance to rounding, so that the
    mean and the variance of every weighted sum are exact."""
    half = ndtri(chance.uniform(chance.key("judges", "draws"), DRAWS // 2 * heads)).reshape(-1, heads)
    eps = np.concatenate([half, -half])
    return eps @ np.linalg.inv(np.linalg.cholesky(eps.T @ eps / DRAWS)).T
