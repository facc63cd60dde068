"""The network of USDL: Tang, Ni, Zhou, Zhang, Lu, Wu, Zhou, "Uncertainty-aware score distribution learning for action
quality assessment", CVPR 2020: an MLP from a video's mean feature to a distribution over the scores; of MUSDL there, to
one over every judge's awards.
"""

import torch

from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.models.functions import constant
from aqa_lib.models.mlp import Perceptron


class ScoreDistribution(Perceptron):
    """Mean segment features x [K,R,D] -> logits of the bins [K,R,bins]; `at` [bins] are the bins' scores.

    expectation: whether the score of a run is the expectation, one for all or one a run; else the likeliest bin's.
    """

    def __init__(self, *, runs, inputs, at, expectation=False, precision="fp32"):
        super().__init__(runs=runs, inputs=inputs, outputs=len(at), precision=precision)
        self.at = tuple(map(float, at))
        self.register_buffer("expectation", torch.tensor(expectation, dtype=torch.float32).expand(runs).clone())

    def scores(self, logits):
        """Logits [K,R,bins] -> scores [K,R]: that of the likeliest bin, or the expectation."""
        return point(logits, self.at, self.expectation)


class AwardDistributions(Perceptron):
    """Mean segment features x [K,R,D] -> logits of the awards of `seats` judges [K,R,seats,bins], and of the
    difficulties [K,R,bins], None where there are none.

    awards, difficulties: the bins' values. expectation [runs] as in ScoreDistribution.
    """

    def __init__(self, *, runs, inputs, seats, awards, difficulties=(), expectation=False, precision="fp32"):
        outputs = seats * len(awards) + len(difficulties)
        super().__init__(runs=runs, inputs=inputs, outputs=outputs, precision=precision)
        self.awards, self.difficulties = awards, difficulties
        self.register_buffer("expectation", torch.tensor(expectation, dtype=torch.float32).expand(runs).clone())

    def forward(self, x):
        logits, last = super().forward(x), len(self.difficulties)
        of_awards = logits[..., : logits.shape[-1] - last].unflatten(-1, (-1, len(self.awards)))
        return of_awards, logits[..., -last:] if last else None


def point(logits, at, expectation):
    """The value [K,...] of the likeliest bin of logits [K,...,bins], or the expectation where `expectation` [K] is."""
    values = constant(at, logits.dtype, logits.device)
    mean, likeliest = (logits.softmax(-1) * values).sum(-1), values[logits.argmax(-1)]
    return torch.where(expectation.view(-1, *[1] * (mean.dim() - 1)) > 0, mean, likeliest)


def spread(p, at):
    """Variance [...] and quantiles [...,Q] at LEVELS of probabilities p [...,bins] of increasing values.

    A quantile is the first value up to which the probabilities sum to its level.
    """
    values, levels = (constant(tuple(v), p.dtype, p.device) for v in (at, LEVELS))
    mean = (p * values).sum(-1, keepdim=True)
    below = p.cumsum(-1).unsqueeze(-2) < levels.unsqueeze(-1) - 1e-6  # [...,Q,bins]; a sum has its rounding
    place = below.sum(-1).clamp(max=len(values) - 1)
    return (p * (values - mean).square()).sum(-1), values[place]
