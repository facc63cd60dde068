"""UCVME's pair of networks on segment features: each is an encoder and a regressor (aqa_lib/models/encoder.py) that
returns a score and its log variance, as in Dai, Li, Cheng, "Semi-supervised deep regression with uncertainty
consistency and variational model ensembling via Bayesian neural networks", AAAI 2023.
"""

from torch import nn

from aqa_lib.models.encoder import Encoder, Head, widths_of
from aqa_lib.models.layers import Model


class Net(Model):
    """(score, log variance) of K runs: h [K,S,T,B,D] -> [K,S,B,2]."""

    def __init__(self, *, runs, segments, inputs, drop, precision):
        super().__init__()
        widths = widths_of(inputs)
        made = dict(runs=runs, inputs=inputs, drop=drop, precision=precision)
        self.encoder = Encoder(segments=segments, widths=widths, **made)
        made = dict(runs=runs, inputs=segments * widths[-1], precision=precision)
        self.regressor = Head(hidden=max(inputs // 4, 32), outputs=2, **made)

    def forward(self, h, keeps=(), keys=None, mask=None):  # keeps: the copies of the last set that are wanted
        f = self.encoder(h, keeps, keys, mask)  # [K,S,B,TC]
        return self.regressor(f.flatten(1, 2)).unflatten(1, f.shape[1:3])


class UCVME(Model):
    """Two such networks of K runs, from different initial weights."""

    def __init__(self, **made):
        super().__init__()
        self.nets = nn.ModuleList(Net(**made) for _ in range(2))
