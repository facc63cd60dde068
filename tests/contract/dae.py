"""A score as a distribution: Zhang, Chen, Wang, "Auto-encoding score distribution regression for action quality
assessment", 2021, with the likelihood of its later version; here a method file that tests the training contract.

    h = MLP(mean segment feature);  L = 1/B sum_i ((y_i - mu_i)^2 / s_i^2 + log s_i^2) / 2
"""

import torch

from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.functions import average
from aqa_lib.models.layers import Linear, Model


class Gaussian(Model):
    """Mean segment features x [K,B,D] -> mu and log variance [K,B]."""

    def __init__(self, *, runs, inputs, widths=(64, 32)):
        super().__init__()
        sizes = [inputs, *widths, 2]
        self.layers = torch.nn.ModuleList(
            Linear(runs=runs, inputs=a, outputs=b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x).unbind(-1)


class AutoEncoder(Method):
    title = "DAE"
    masks = True
    SETTINGS = {"least": Setting(-4.0, "least log variance that can be stated, of scaled scores", -10, 0)}

    def build(self, runs, data):
        return Gaussian(runs=len(runs), inputs=data.features.shape[2])

    def losses(self, model, batch):
        mu, log_variance = model(average(batch.x[:, 0], batch.mask_of(0)))
        log_variance = log_variance.clamp(min=batch.runs[0]["least"])
        likelihood = ((batch.y - mu).square() * (-log_variance).exp() + log_variance).mean(1) / 2
        return {"loss": likelihood}

    def predict(self, model, x, mask=None):
        K = model.flat.shape[0]
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        mu, log_variance = model(v.expand(K, -1, -1))
        return {"score": mu, "variance": log_variance.exp()}


METHOD = AutoEncoder()
