"""USDL: Tang, Ni, Zhou, Zhang, Lu, Wu, Zhou, "Uncertainty-aware score distribution learning for action quality
assessment", CVPR 2020.

    L = 1/(n C) sum_i sum_c t_ic (log t_ic - log p_ic),   t_ic ~ exp(-(c - c_i)^2 / (2 sigma^2)),   sum_c t_ic = 1

p_i = softmax of an MLP on the mean segment feature over C = 101 bins; c_i is the score in bins. Predicted is the score
of the likeliest bin. No unlabelled video is used.

Stated: the target, the MLP, 101 bins and sigma = 5 bins for diving, Adam. The released code divides by C as well as by
n (what its library calls the mean) and takes the arg-max, not the expectation; both are followed. The arg-max gives
equal scores to many videos, which a rank correlation counts as ties; output = expectation has none. Variance and
quantiles that are stated are those of p_i, whose target has the same deviation for a sure and for an unsure video.
There bin 100 is 104.5 points, the highest score of all. Here, since scores that are not labelled may be higher than
those that are, bin 100 is `top` = 1.1 times the largest labelled score, and bin 0 is 0; a score outside them pulls
towards the nearest end. Chosen here: frozen features, the learning rate and steps of the other networks (released:
1e-4, features tuned along). No weight decay, as released.
"""

import numpy as np
import torch

from aqa_lib.methods.base import SCALE, Method, Setting
from aqa_lib.models.functions import average
from aqa_lib.models.usdl import ScoreDistribution, spread


class Distribution(Method):
    title = "USDL"
    masks = True
    SETTINGS = {
        "bins": Setting(101, "bins that the range of scores is cut into", low=2),
        "sigma": Setting(5.0, "standard deviation of the target distribution, in bins", low=0.01),
        "top": Setting(1.1, "score of the last bin, in largest labelled scores; the first is 0", low=0.01),
        "output": Setting("argmax", "score that is predicted", choices=("argmax", "expectation"), per_run=True),
        "weight_decay": Setting(0.0, "L2 penalty, as torch's optimisers add it", low=0, per_run=True),
    }

    variants = {"USDL": {}, "USDL, expectation": {"output": "expectation"}}

    def build(self, runs, data):
        s, inputs = runs[0], data.features.shape[2]
        at = np.linspace(0, SCALE * s["top"], s["bins"])
        made = dict(at=at, expectation=[s["output"] == "expectation" for s in runs], precision=s["precision"])
        return ScoreDistribution(runs=len(runs), inputs=inputs, **made)

    def losses(self, model, batch):
        """The loss of each run [K]."""
        s, x = batch.runs[0], average(batch.x[:, 0], batch.mask_of(0))  # [K,B,D]
        c = (s["bins"] - 1) / (SCALE * s["top"]) * batch.y
        log_t, log_p = log_target(c, s["bins"], s["sigma"]), model(x).log_softmax(-1)
        loss = (log_t.exp() * (log_t - log_p)).sum((1, 2)) / log_p[0].numel()
        return {"loss": loss}

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> score, variance [K,n] and quantiles [K,n,Q] of the distribution."""
        runs = len(model.layers[0].weight)
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        logits = model(v.expand(runs, -1, -1))
        variance, quantiles = spread(logits.softmax(-1), model.at)
        return {"score": model.scores(logits), "variance": variance, "quantiles": quantiles}


def log_target(c, bins, sigma):
    """Logarithm of a Gaussian about c [K,B], in bins, over the bins [K,B,bins]; its numbers sum to 1."""
    distance = torch.arange(bins, dtype=c.dtype, device=c.device) - c.unsqueeze(-1)
    return (distance / sigma).square().mul(-0.5).log_softmax(-1)


METHOD = Distribution()
