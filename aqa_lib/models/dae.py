"""The network of DAE: Zhang, Chen, Wang, "Auto-encoding score distribution regression for action quality assessment",
2021: an MLP from a video's mean feature to the mean and the log variance of each score.

    mu, log_variance = ScoreEncoder(runs=2, inputs=64, power=[1, 1])(torch.zeros(2, 5, 64))     # [2, 5, 1] each
"""

import torch

from aqa_lib.models.mlp import Perceptron


class ScoreEncoder(Perceptron):
    """Mean segment features x [K,R,D] -> mu and log variance [K,R,heads] of y = mu + eps sigma^power.

    The last layer gives mu and log sigma^2, so the log variance of y is power log sigma^2; power: 1 or 2 a run.
    """

    def __init__(self, *, runs, inputs, power, heads=1, precision="fp32"):
        super().__init__(runs=runs, inputs=inputs, outputs=2 * heads, precision=precision)
        self.register_buffer("power", torch.tensor(power, dtype=torch.float32))

    def forward(self, x):
        mu, z = super().forward(x).chunk(2, -1)
        return mu, self.power[:, None, None] * z
