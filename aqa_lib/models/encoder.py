"""The encoder and the regressor that every network method shares, so that methods differ in what they do with them.

From S4AQA (Zhang, Pan, Gao, Zheng, IEEE TCSVT 2022): an encoder of three temporal convolutions, each with ReLU, batch
norm and dropout, and a regressor FC-ReLU-FC. Chosen here: the order convolution, norm, ReLU, dropout; kernel 3; widths
D/2, D/4, D/8; the encoded video keeps time (T x C numbers); hidden width D/4 of the regressor; dropout 0.5.
"""

import torch

from aqa_lib.models.functions import resampled
from aqa_lib.models.layers import Linear, Model, NormReluDrop, TemporalConv


def widths_of(inputs):
    """Channels of the three convolutions for segment features of `inputs` numbers."""
    return [max(inputs // 2**i, 16) for i in (1, 2, 3)]


class Head(Model):
    """FC-ReLU-FC: x [K,R,in] -> [K,R,out]; with `norm` FC-LayerNorm-ReLU-FC, the norm without parameters."""

    def __init__(self, *, runs, inputs, hidden, outputs, precision, norm=False):
        super().__init__()
        self.norm = norm
        self.first = Linear(runs=runs, inputs=inputs, outputs=hidden, precision=precision)
        self.last = Linear(runs=runs, inputs=hidden, outputs=outputs, precision=precision)

    def forward(self, x):
        h = self.first(x)
        h = torch.nn.functional.layer_norm(h, h.shape[-1:]) if self.norm else h
        return self.last(h.relu())


class Encoder(Model):
    """Three temporal convolutions: h [K,S,T,B,D] -> f [K,S,B,T*C].

    Where videos differ in length, mask [K,S,T,B] is 1 up to the end of each: what lies beyond counts in no
    convolution and no statistic, and f holds `segments` equal shares of each video instead of its segments.
    """

    def __init__(self, *, runs, segments, inputs, widths, drop, precision):
        super().__init__()
        self.segments = segments
        sizes = [inputs, *widths]
        self.convs = torch.nn.ModuleList(
            TemporalConv(runs=runs, inputs=a, outputs=b, precision=precision)
            for a, b in zip(sizes[:-1], widths, strict=True)
        )
        self.norms = torch.nn.ModuleList(NormReluDrop(runs=runs, channels=c, drop=drop) for c in widths)

    def forward(self, h, keeps=(), keys=None, mask=None):  # keeps: the copies of the last set that are wanted
        if mask is not None:
            h = h * mask.unsqueeze(-1)
            if keeps:
                mask = torch.cat([mask[:, :-1], mask[:, -1:].expand(-1, len(keeps), -1, -1)], 1)
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = conv(h, keeps if layer == 0 else ())
            h = norm(y, None if keys is None else keys[layer], mask)
        if mask is not None:
            h = resampled(h, mask, self.segments)
        return h.transpose(2, 3).flatten(3)


class Regression(Model):
    """Encoder and regressor of K runs: f = E(x), score = R(f)."""

    def __init__(self, *, runs, segments, inputs, drop=0.5, precision="fp32"):
        super().__init__()
        widths = widths_of(inputs)
        made = dict(runs=runs, inputs=inputs, drop=drop, precision=precision)
        self.encoder = Encoder(segments=segments, widths=widths, **made)
        made = dict(runs=runs, inputs=segments * widths[-1], precision=precision)
        self.regressor = Head(hidden=max(inputs // 4, 32), outputs=1, **made)

    def scores(self, f):
        """f [K,R,TC] -> predicted scores [K,R]."""
        return self.regressor(f).squeeze(-1)
