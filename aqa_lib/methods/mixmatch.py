"""MixMatch for regression: Berthelot, Carlini, Goodfellow, Papernot, Oliver, Raffel, "MixMatch: A holistic approach to
semi-supervised learning", NeurIPS 2019; as the public code of RankUp (Huang, Fu, Tsai, NeurIPS 2024) has it for scores.

    y~_u = sg (g(a1(x_u)) + g(a2(x_u))) / 2
    all = labelled (x_i, y_i), (a1(x_u), y~_u), (a2(x_u), y~_u), in this order; others = all, shuffled
    (x', y') = l all + (1 - l) others,   l = max(b, 1 - b),   b ~ Beta(1/2, 1/2)
    L = mean over the labelled rows of (y' - g(x'))^2 + w(t) mean over the unlabelled rows of (y' - g(x'))^2

g = R after E; a1 and a2 hide different segments of a video; w grows linearly from 0. One l a step. Beta(1/2, 1/2) is
the arcsine law, of which sin^2(pi u / 2) with a uniform u is a draw. No sharpening: a score has none.

Stated: the mixing over everything, Beta(1/2, 1/2), w = 0.1, warm-up over 40 % of the steps; the running statistics
follow the mixed labelled rows, and the pseudo-labels come from passes in training mode (dropout, batch statistics)
that leave them alone. Chosen here: E and R of S4AQA, videos mixed as segment features, a mixed video as long as the
one with the larger share; squared error on the labelled rows (theirs: absolute); 32 + 32 videos a step.

With the weight that is stated little comes of the unlabelled rows: their weighted gradient at E is .06 to .15 of the
labelled rows' (surrogate, 40 % of the labels, 250 steps at a learning rate of 3.2e-2). The same 0.1 says more in
RankUp's code, where it weighs squared years against an absolute error. Not tuned here. Exchange index: y~_u of another
video, against both views as they are before the mixing. Control: y~_u of another video, exchanged before the mixing.
"""

import math

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, weak
from aqa_lib.methods._exchange import EXCHANGE, another, exchanged, exchanging, spread, taken
from aqa_lib.methods.base import Setting
from aqa_lib.models.functions import hashed, uniform


class MixMatch(Encoded):
    title = "MixMatch"
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(0.1, "weight of the error at the unlabelled rows", low=0, per_run=True),
        "warm_up": Setting(0.4, "share of the steps over which the weight grows from 0", 0, 1, per_run=True),
        "hide": Setting(0.15, "chance that an augmentation hides a segment", 0, 0.99),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    from_the_start = ("mixed",)
    PLACES = {"drop0": 5, "drop1": 5, "drop2": 5, "hide": 2, "mix": 1, "shuffle": 1, "another": 1}

    def mechanisms(self, settings):
        return ("mixed",)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        x, pseudo = self.guessed(model, batch)
        y = torch.stack([batch.y, pseudo, pseudo], 1)  # [K,3,B]

        n = y[0].numel()
        order = hashed(batch.keys["shuffle"][:, 0], n).argsort(dim=1, stable=True)
        x, y = mix(x, y, order, share(uniform(batch.keys["mix"][:, 0], (1,)).to(y.dtype)))
        f = self.encode(model, x, batch, (LABELLED, UNLABELLED, UNLABELLED))
        error = [losses.squared_error(model.scores(f[:, s]), y[:, s]) for s in range(3)]
        unlabelled = (error[1] + error[2]) / 2
        loss = error[0] + self.ramp(batch) * batch.weight("weight") * unlabelled
        return {"loss": loss, "regression": error[0], "mixed": unlabelled}

    def guessed(self, model, batch):
        """x [K,3,T,B,D], labelled videos and two views of unlabelled ones, and y~ [K,B]; in a control of others."""
        hide, keys = batch.runs[0]["hide"], batch.keys["hide"]
        views = [weak(batch.x[:, UNLABELLED], keys[:, i], hide) for i in range(2)]
        x = torch.stack([batch.x[:, LABELLED], *views], 1)
        with torch.no_grad(), model.still():
            f = self.encode(model, x[:, 1:], batch, (UNLABELLED, UNLABELLED), first=3)
            pseudo = (model.scores(f[:, 0]) + model.scores(f[:, 1])) / 2
        if exchanging(batch):
            pseudo = taken(pseudo, another(batch))
        return x, pseudo

    def alive(self, model, batch):
        """What is guessed of another video, against the scores of both views as they are before the mixing."""
        x, pseudo = self.guessed(model, batch)
        f = self.encode(model, x[:, 1:], batch, (UNLABELLED, UNLABELLED), first=1)
        views = torch.stack([model.scores(f[:, s]) for s in range(2)])
        return {"mixed": exchanged(lambda r: (views - pseudo.roll(-r, 1)).abs().mean(0), spread(batch.y).sqrt())}


def share(u):
    """max(b, 1 - b) of b = sin^2(pi u / 2), whose law for a uniform u is Beta(1/2, 1/2)."""
    b = (math.pi / 2 * u).sin().square()
    return torch.maximum(b, 1 - b)


def mix(x, y, order, share):
    """x [K,S,T,B,D] and y [K,S,B], each row share [K,1] of itself and the rest of row order [K,SB] of its run."""
    K, S, T, B, D = x.shape
    run, time = (torch.arange(n, device=x.device) for n in (K, T))
    other = order.view(K, S, 1, B)
    rows = ((run.view(K, 1, 1, 1) * S + other // B) * T + time.view(T, 1)) * B + other % B  # [K,S,T,B]
    others = x.view(-1, D).index_select(0, rows.flatten()).view(x.shape)
    other_y = y.flatten(1).gather(1, order).view(y.shape)
    share = share.view(K, 1, 1)
    return torch.lerp(others, x, share.view(K, 1, 1, 1, 1)), torch.lerp(other_y, y, share)


METHOD = MixMatch()
