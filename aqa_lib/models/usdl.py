"""The network of USDL: Tang, Ni, Zhou, Zhang, Lu, Wu, Zhou, "Uncertainty-aware score distribution learning for action
quality assessment", CVPR 2020: an MLP from a video's mean feature to a distribution over the scores.
"""

from aqa_lib.models.functions import constant
from aqa_lib.models.mlp import Perceptron


class ScoreDistribution(Perceptron):
    """Mean segment features x [K,R,D] -> logits of the bins [K,R,bins]; `at` [bins] are the bins' scores."""

    def __init__(self, *, runs, inputs, at, expectation=False, precision="fp32"):
        super().__init__(runs=runs, inputs=inputs, outputs=len(at), precision=precision)
        self.at, self.expectation = at, expectation

    def scores(self, logits):
        """Logits [K,R,bins] -> scores [K,R]: that of the likeliest bin, or the expectation."""
        at = constant(tuple(self.at.tolist()), logits.dtype, logits.device)
        return (logits.softmax(-1) * at).sum(-1) if self.expectation else at[logits.argmax(-1)]
