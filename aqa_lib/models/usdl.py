"""The network of USDL: Tang, Ni, Zhou, Zhang, Lu, Wu, Zhou, "Uncertainty-aware score distribution learning for action
quality assessment", CVPR 2020.

Stated there: an MLP with ReLU from a video's mean feature to a distribution over the scores, 1024-256-128-101 wide.
Chosen here: the hidden widths as shares of D, D/4 and D/8, at least 32 and 16.
"""

import torch

from aqa_lib.models.functions import constant
from aqa_lib.models.layers import Linear, Model


class ScoreDistribution(Model):
    """Mean segment features x [K,R,D] -> logits of the bins [K,R,bins]; `at` [bins] are the bins' scores."""

    def __init__(self, *, runs, inputs, at, expectation=False, precision="fp32"):
        super().__init__()
        sizes = [inputs, max(inputs // 4, 32), max(inputs // 8, 16), len(at)]
        self.layers = torch.nn.ModuleList(
            Linear(runs=runs, inputs=a, outputs=b, precision=precision)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.at, self.expectation = at, expectation

    def forward(self, x):
        first, second, last = self.layers
        return last(second(first(x).relu()).relu())

    def scores(self, logits):
        """Logits [K,R,bins] -> scores [K,R]: that of the likeliest bin, or the expectation."""
        at = constant(tuple(self.at.tolist()), logits.dtype, logits.device)
        return (logits.softmax(-1) * at).sum(-1) if self.expectation else at[logits.argmax(-1)]
