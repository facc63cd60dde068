"""S4AQA's network: Zhang, Pan, Gao, Zheng, "Semi-supervised action quality assessment with self-supervised
segment feature recovery", IEEE TCSVT 2022.

Stated there: encoder and regressor (aqa_lib/models/encoder.py); a decoder FC-ReLU-FC that returns one segment's
feature; a binary discriminator behind a gradient reversal. Not stated and chosen here: the encoded video keeps time
(T x C numbers), since the decoder must find the masked place in it; hidden widths D/2 of the decoder and D/8 of the
discriminator.
"""

from aqa_lib.models.encoder import Encoder, Head, widths_of
from aqa_lib.models.layers import Model


class S4AQA(Model):
    """Encoder, regressor, decoder and discriminator of K runs."""

    def __init__(self, *, runs, segments, inputs, widths=None, drop=0.5, precision="fp32"):
        super().__init__()
        widths = widths or widths_of(inputs)
        encoded = segments * widths[-1]
        self.encoder = Encoder(runs=runs, inputs=inputs, widths=widths, drop=drop, precision=precision)
        made = dict(runs=runs, inputs=encoded, precision=precision)
        self.regressor = Head(hidden=max(inputs // 4, 32), outputs=1, **made)
        self.decoder = Head(hidden=max(inputs // 2, 32), outputs=inputs, **made)
        self.discriminator = Head(hidden=max(inputs // 8, 16), outputs=1, **made)

    def scores(self, f):
        """f [K,B,TC] -> predicted scores [K,B]."""
        return self.regressor(f).squeeze(-1)
