"""S4AQA's network: Zhang, Pan, Gao, Zheng, "Semi-supervised action quality assessment with self-supervised
segment feature recovery", IEEE TCSVT 2022.

Stated there: an encoder of three temporal convolutions, each with ReLU, batch norm and dropout; a regressor
FC-ReLU-FC; a decoder FC-ReLU-FC that returns one segment's feature; a binary discriminator behind a gradient
reversal. Not stated and chosen here: the order convolution, norm, ReLU, dropout; kernel 3; widths D/2, D/4,
D/8; the encoded video keeps time (T x C numbers), since the decoder must find the masked place in it; hidden
widths D/4, D/2, D/8; dropout 0.5.
"""

import torch

from aqa_lib.models.layers import Linear, Model, NormReluDrop, TemporalConv


class Head(Model):
    """FC-ReLU-FC: x [K,R,in] -> [K,R,out]."""

    def __init__(self, *, runs, inputs, hidden, outputs, precision):
        super().__init__()
        self.first = Linear(runs=runs, inputs=inputs, outputs=hidden, precision=precision)
        self.last = Linear(runs=runs, inputs=hidden, outputs=outputs, precision=precision)

    def forward(self, x):
        return self.last(self.first(x).relu())


class Encoder(Model):
    """Three temporal convolutions: h [K,S,T,B,D] -> [K,S,B,T*C]."""

    def __init__(self, *, runs, inputs, widths, drop, precision):
        super().__init__()
        sizes = [inputs, *widths]
        self.convs = torch.nn.ModuleList(
            TemporalConv(runs=runs, inputs=a, outputs=b, precision=precision)
            for a, b in zip(sizes[:-1], widths, strict=True)
        )
        self.norms = torch.nn.ModuleList(NormReluDrop(runs=runs, channels=c, drop=drop) for c in widths)

    def forward(self, h, keeps=(), keys=None):  # keeps: the copies of the last set that are wanted
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = conv(h, keeps if layer == 0 else ())
            h = norm(y, None if keys is None else keys[layer])
        return h.transpose(2, 3).flatten(3)


class S4AQA(Model):
    """Encoder, regressor, decoder and discriminator of K runs."""

    def __init__(self, *, runs, segments, inputs, widths=None, drop=0.5, precision="fp32"):
        super().__init__()
        widths = widths or [max(inputs // 2**i, 16) for i in (1, 2, 3)]
        encoded = segments * widths[-1]
        self.encoder = Encoder(runs=runs, inputs=inputs, widths=widths, drop=drop, precision=precision)
        made = dict(runs=runs, inputs=encoded, precision=precision)
        self.regressor = Head(hidden=max(inputs // 4, 32), outputs=1, **made)
        self.decoder = Head(hidden=max(inputs // 2, 32), outputs=inputs, **made)
        self.discriminator = Head(hidden=max(inputs // 8, 16), outputs=1, **made)

    def scores(self, f):
        """f [K,B,TC] -> predicted scores [K,B]."""
        return self.regressor(f).squeeze(-1)
