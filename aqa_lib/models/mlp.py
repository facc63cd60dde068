"""The network on a video's mean feature: three layers with ReLU, 1024-256-128-outputs wide in USDL, MUSDL and DAE.

    Perceptron(runs=2, inputs=64, outputs=2)(torch.zeros(2, 5, 64)).shape                # [2, 5, 2]
    Perceptron(runs=2, inputs=64, outputs=2, members=10)(torch.zeros(2, 5, 64)).shape    # [2, 10, 5, 2]

Chosen here: the hidden widths as shares of D, D/4 and D/8, at least 32 and 16. `members` networks of one run differ in
their initial weights alone; they are one product.
"""

import torch
from torch import nn

from aqa_lib.models.layers import Linear, Model, RunLayer


class Perceptron(Model):
    """Mean segment features x [K,R,D] -> [K,R,outputs], or with members [K,M,R,outputs]."""

    def __init__(self, *, runs, inputs, outputs, members=0, precision="fp32"):
        super().__init__()
        sizes = [inputs, max(inputs // 4, 32), max(inputs // 8, 16), outputs]
        kind, more = (Members, {"members": members}) if members else (Linear, {"precision": precision})
        self.layers = nn.ModuleList(
            kind(runs=runs, inputs=a, outputs=b, **more) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def forward(self, x):
        first, second, last = self.layers
        return last(second(first(x).relu()).relu())


class Members(RunLayer):
    """y_m = x W_m + b_m for x [K,R,in], the same for all, or [K,M,R,in] -> [K,M,R,out]."""

    def __init__(self, *, runs, members, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(runs, members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(runs, members, outputs))
        self.fan_in = inputs

    def forward(self, x):
        K, M = self.bias.shape[:2]
        x = x.unsqueeze(1).expand(-1, M, -1, -1) if x.dim() == 3 else x
        y = torch.baddbmm(self.bias.flatten(0, 1)[:, None], x.flatten(0, 1), self.weight.flatten(0, 1))
        return y.unflatten(0, (K, M))
