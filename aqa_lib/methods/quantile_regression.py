"""Quantile regression: a network states quantiles of the score, without any family of distributions. Koenker and
Bassett, "Regression quantiles", Econometrica 1978.

    L = 1/(B Q) sum_i sum_k max(p_k (y_i - q_ik), (p_k - 1) (y_i - q_ik)),   p_k = .05, .10, ... .95, Q = 19

The loss has its least where a share p_k of the scores is below q_k. Chosen here: an MLP on the mean segment feature
with 19 outputs z_k. z_10 is the median; each other quantile lies beyond its neighbour on the median's side by
g_k softplus(z_k) / log 2 > 0, so that quantiles never cross and need no sorting. g_k is that gap of a standard normal
distribution: at z = 0 these are the quantiles of a Gaussian of variance 1 about 0.

Predicted are the quantiles, and the median as the score. The variance is that of the Gaussian whose quantiles come
nearest to them, sigma = sum_k u_k q_k / sum_k u_k^2 with u_k = Phi^-1(p_k), the slope of a line through the points
(u_k, q_k): exact for a Gaussian, less than the variance where the tails are heavier than a Gaussian's (beyond .05 and
.95 the quantiles say nothing of them), and more where they are lighter. No unlabelled video is used.
"""

import math

import torch
import torch.nn.functional as F
from scipy.special import ndtri

from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.methods.base import Method
from aqa_lib.models.functions import average, constant
from aqa_lib.models.mlp import Perceptron

MEDIAN = LEVELS.index(0.5)
NORMAL = tuple(float(u) for u in ndtri(LEVELS))  # u_k
GAPS = tuple(b - a for a, b in zip(NORMAL[:-1], NORMAL[1:], strict=True))


class Quantiles(Method):
    title = "Quantiles"
    masks = True

    def build(self, runs, data):
        made = {"inputs": data.features.shape[2], "outputs": len(LEVELS), "precision": runs[0]["precision"]}
        return Perceptron(runs=len(runs), **made)

    def losses(self, model, batch):
        """The loss of each run [K]."""
        q = quantiles(model(average(batch.x[:, 0], batch.mask_of(0))))
        return {"loss": pinball(q, batch.y).flatten(1).mean(1)}

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> median and variance [K,n] and quantiles [K,n,19].

        In float64, whose last digits (one run and many do not have the same) are rounded away in the end.
        """
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        out = model(v.expand(len(model.layers[0].weight), -1, -1))
        q = quantiles(out.double())
        found = {"score": q[..., MEDIAN], "variance": variance(q), "quantiles": q}
        return {name: value.to(out.dtype) for name, value in found.items()}


def quantiles(z):
    """Outputs [...,19] -> quantiles [...,19] in ascending order."""
    gap = F.softplus(torch.cat([z[..., :MEDIAN], z[..., MEDIAN + 1 :]], -1)) / math.log(2)
    gap = gap * constant(GAPS, z.dtype, z.device)
    above, below = gap[..., MEDIAN:].cumsum(-1), gap[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
    median = z[..., MEDIAN : MEDIAN + 1]
    return torch.cat([median - below, median, median + above], -1)


def pinball(q, y):
    """What each quantile [...,19] of scores y [...] costs [...,19]."""
    above, p = y.unsqueeze(-1) - q, constant(LEVELS, q.dtype, q.device)
    return torch.maximum(p * above, (p - 1) * above)


def variance(q):
    """Of the Gaussian with the quantiles nearest to q [...,19]."""
    u = constant(NORMAL, q.dtype, q.device)
    return ((q * u).sum(-1) / u.square().sum()).square()


METHOD = Quantiles()
