"""DAE-MT: Zhang, Chen, Wang, "Auto-encoding score distribution regression for action quality assessment", arXiv
2111.11029, 2021: the distribution of every judge's award, and by the rules of the sport that of the score.

    mu_j, log sigma_j^2 = MLP(mean segment feature),    L = mean over judges of DAE's loss of their awards
    score = d (mu_(3) + mu_(4) + mu_(5)) of seven sorted mu_j;    its variance is that of d (y_(3) + y_(4) + y_(5))

The losses are those of DAE (aqa_lib/methods/dae.py), one rule a data set (aqa_lib/methods/_judges.py): the sum of six
items on JIGSAWS, the rounded mean of the raters on finger tapping. The score is the rule applied to the means, not
rounded but for finger tapping; variance and quantiles are those of 256 draws of all heads, sorted in each draw.

Stated: several scores with a mean and a variance each. In the one file of code that there was, one head gives the sum
of three and is multiplied by the true difficulty at test as well. Chosen here: the difficulty is a head like the
others, learnt from the labelled videos (`dae_mt_difficulty` is told it instead); the heads of seven judges learn the
sorted awards, since no seat is the same person at two events (order = seats: as they are stored). Heads are
independent given the video. Sorted awards are not: of seven seats that judge independently and alike, the variance of
the sum of the middle three comes out at a third. A missing award teaches nothing.
"""

import torch

from aqa_lib.methods._judges import Judged, draws, sampled
from aqa_lib.methods.base import Setting
from aqa_lib.methods.dae import POWER, READINGS, count_labels, named, noise, readings, weights
from aqa_lib.models.dae import ScoreEncoder
from aqa_lib.models.functions import average


class MultiTask(Judged):
    title = "DAE-MT"
    SETTINGS = {
        **READINGS,
        **Judged.SETTINGS,
        "order": Setting(
            "sorted", "awards that heads learn where the rule is the middle", choices=("sorted", "seats"), per_run=True
        ),
    }
    PLACES = {"noise": 1}
    variants = {"DAE-MT": {}, "DAE-MT, likelihood": {"loss": "likelihood"}}

    def build(self, runs, data):
        heads = data.judges.shape[1] + self.guesses(runs[0], data)
        made = dict(power=[POWER[s["noise"]] for s in runs], precision=runs[0]["precision"])
        model = ScoreEncoder(runs=len(runs), inputs=data.features.shape[2], heads=heads, **made)
        return self.carrying(model, runs[0], data)

    def begin(self, stack):
        count_labels(stack)
        super().begin(stack)

    def losses(self, model, batch):
        """The loss of each run, its parts and the mean variance of the heads, [K] each."""
        mu, log_variance = model(average(batch.x[:, 0], batch.mask_of(0)))  # [K,B,H]
        awards, difficulty = self.goals(model, batch)
        g = awards * model.unit[:, None, None]
        g = g if difficulty is None else torch.cat([g, difficulty.unsqueeze(-1)], -1)
        known = g.isfinite().to(mu.dtype)

        def mean(of_heads):
            return (of_heads * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)

        parts = readings(mu, log_variance, g.nan_to_num(), noise(batch, mu))  # [K,B,H,3]
        loss = mean((weights(batch).unsqueeze(2) * parts).sum(-1))
        of_parts = torch.stack([mean(part) for part in parts.unbind(-1)], -1)
        return {"loss": loss, **named(of_parts), "variance": mean(log_variance.exp())}

    def predict(self, model, x, difficulty=None, mask=None):
        """x [K or 1,1,T,n,D] -> score, variance [K,n] and quantiles [K,n,Q] of the score before rounding."""
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        mu, log_variance = model(v.expand(len(model.power), -1, -1))
        sd, eps = (log_variance / 2).exp(), mu.new_tensor(draws(mu.shape[-1]))

        def parted(heads):
            """Awards and difficulties of what the heads say [K,...,H]."""
            unit = model.unit.view(-1, *[1] * (heads.dim() - 1))
            return heads[..., : model.seats] / unit, heads[..., -1] if model.guesses else None

        def draw(items):
            return parted(mu[:, items, None] + eps * sd[:, items, None])

        return self.predicted(
            model, parted(mu), lambda known: sampled(draw, mu.shape[1], model.rule, known), difficulty
        )


METHOD = MultiTask()
