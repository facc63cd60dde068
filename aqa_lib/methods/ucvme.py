"""UCVME: Dai, Li, Cheng, "Semi-supervised deep regression with uncertainty consistency and variational model
ensembling via Bayesian neural networks", AAAI 2023.

Two networks m = a, b return a score y_m and a log variance z_m. With y~, z~ the means of y_m, z_m over both networks
and T passes with dropout, from which no gradient flows,

    L = 1/L sum_i [ sum_m l(y_m, y_i, z) + (z_a - z_b)^2 ] + w 1/U sum_u sum_m [ l(y_m, y~, z~) + (z_m - z~)^2 ]
    l(y_m, y, z) = ((y_m - y)^2 exp(-z) + z) / 2

Stated: the losses, T = 5, dropout 0.05, w = 10 (results alike below 20). For labelled videos z is z_m in the paper's
Eq. 3 but (z_a + z_b) / 2 in the released code, as followed here (`variance`: "own" is Eq. 3). In both the networks
predict standardised scores; here, as in every method, scores whose largest is 5. Chosen here: each network is E and R
of S4AQA with two outputs of R; dropout 0.05 in E; the T passes normalise by batch statistics as training does, but the
running ones follow the labelled videos; prediction is the mean of y_a and y_b in one evaluation pass without dropout
(in the released code, of five passes); 32 + 32 videos a step.

Mechanisms: "consistency" of scores and "uncertainty" of log variances; other, and control: y~ and z~ of another video.
A look takes the absolute errors of y and of z; with exp(-z~) few videos would decide. Half of y~ is a network's own, so
the consistency of untrained networks has an index of .35, and t is of the growth since then: on the quick surrogate
with 40 % of the labels (rate 8e-3, 800 steps, three seeds) to .70 to .82, t 2.1 to 3.4, on in one of three; without the
term to .69, t about 2; in the control to .30 to .44. Neither does the uncertainty say anything of errors, whatever its
state: on the quick surrogate with 40 % of the labels (rate 8e-3, 250 steps, six seeds) z and the log of the squared
error correlate by -.16 to .15 over unlabelled videos, and the stated variance is .12 to .28 where the squared error is
.37 to .53.
"""

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, for_all
from aqa_lib.methods._exchange import EXCHANGE, another, deviation, exchanged, exchanging, taken
from aqa_lib.methods.base import SHARES, Setting
from aqa_lib.models.functions import hashed
from aqa_lib.models.ucvme import UCVME


class UncertaintyConsistency(Encoded):
    title = "UCVME"
    SETTINGS = {
        "shares": SHARES,
        "drop": Setting(0.05, "dropout of the encoders, in steps of 1/256", 0, 0.99),
        "weight": Setting(10.0, "weight of the losses on unlabelled videos", low=0, per_run=True),
        "passes": Setting(5, "passes with dropout whose mean is a pseudo-label", 1, 1000),
        "variance": Setting("mean", "log variance in the labelled loss", choices=("mean", "own")),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    from_the_start = ("consistency", "uncertainty")
    PLACES = {"another": 1, "drop0": 4, "drop1": 4, "drop2": 4, "pass0": 2, "pass1": 2, "pass2": 2}

    def build(self, runs, data):
        return UCVME(runs=len(runs), **self.made(runs, data))

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        pseudo, log_variance = self.targets_of(model, batch)
        y, z = self.outputs(model, batch)
        y_l, z_l, y_u, z_u = y[:, :, LABELLED], z[:, :, LABELLED], y[:, :, UNLABELLED], z[:, :, UNLABELLED]
        own = batch.runs[0]["variance"] == "own"
        labelled = likelihood(y_l, batch.y, z_l if own else z_l.mean(1, keepdim=True))
        agreement = losses.squared_error(z_l[:, 0], z_l[:, 1])
        unlabelled = likelihood(y_u, pseudo, log_variance.unsqueeze(1))
        uncertainty = (z_u - log_variance.unsqueeze(1)).square().sum(1).mean(1)
        return {
            "loss": labelled + agreement + batch.weight("weight") * (unlabelled + uncertainty),
            "regression": labelled,
            "agreement": agreement,
            "consistency": unlabelled,
            "uncertainty": uncertainty,
        }

    @staticmethod
    def outputs(model, batch):
        """Scores and log variances [K,m,S,B] of both networks."""
        keys = [batch.keys[f"drop{layer}"] for layer in range(3)]
        mask = batch.masked((LABELLED, UNLABELLED))
        out = [net(batch.x, (), [k[:, 2 * m : 2 * m + 2] for k in keys], mask) for m, net in enumerate(model.nets)]
        return torch.stack(out, 1).unbind(-1)

    def mechanisms(self, settings):
        return ("consistency", "uncertainty")

    def auxiliary(self, batch, terms):
        """The labelled videos' agreement is in neither part."""
        return {name: batch.weight("weight") * terms[name] for name in ("consistency", "uncertainty")}

    def encoding(self, model):
        return [p for net in model.nets for p in net.encoder.parameters()]

    def alive(self, model, batch):
        """y~ and z~ of another video, each by its squared error: with exp(-z~) few videos would decide."""
        pseudo, log_variance = self.targets_of(model, batch)
        y, z = (out[:, :, UNLABELLED] for out in self.outputs(model, batch))  # [K,m,B]

        def cost(output, target):
            return lambda r: (output - target.roll(-r, 1).unsqueeze(1)).abs().mean(1)

        score, uncertainty = cost(y, pseudo), cost(z, log_variance)
        return {"consistency": exchanged(score, deviation(batch.y)), "uncertainty": exchanged(uncertainty)}

    def targets_of(self, model, batch):
        """y~ and z~ [K,B] of the unlabelled; in a control those of others."""
        found = self.ensemble(model, batch)
        return [taken(part, another(batch)) for part in found] if exchanging(batch) else found

    @staticmethod
    @torch.no_grad()
    def ensemble(model, batch):
        """y~ and z~ [K,B] of the unlabelled: means over both networks and the passes, which share the first layer's
        products since dropout comes after them."""
        passes, x = batch.runs[0]["passes"], batch.x[:, UNLABELLED:]
        copies, total = (None,) * passes, 0
        with model.still():
            for m, net in enumerate(model.nets):
                keys = [hashed(batch.keys[f"pass{layer}"][:, m], passes) for layer in range(3)]
                total = total + net(x, copies, keys, batch.masked((UNLABELLED,))).mean(1)
        return (total / len(model.nets)).unbind(-1)

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> scores [K,n], the mean of both networks, with running statistics and no dropout."""
        seen = for_all(model.flat.shape[0], x, mask)
        return torch.stack([net(*seen)[:, 0, :, 0] for net in model.nets]).mean(0)


def likelihood(y, target, z):
    """sum over networks of the mean of ((y - target)^2 exp(-z) + z) / 2; y [K,m,B], target [K,B], z [K,1|m,B]."""
    return ((y - target.unsqueeze(1)).square() * (-z).exp() + z).sum(1).mean(1) / 2


METHOD = UncertaintyConsistency()
