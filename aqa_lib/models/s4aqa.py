"""S4AQA's network: Zhang, Pan, Gao, Zheng, "Semi-supervised action quality assessment with self-supervised
segment feature recovery", IEEE TCSVT 2022.

Stated there: encoder and regressor (aqa_lib/models/encoder.py); a decoder FC-ReLU-FC that returns one segment's
feature; a binary discriminator behind a gradient reversal. Not stated and chosen here: the encoded video keeps time
(T x C numbers), since the decoder must find the masked segment in it; hidden widths D/2 of the decoder and D/8 of the
discriminator.
"""

from aqa_lib.models.encoder import Encoder, Head, widths_of
from aqa_lib.models.layers import Model


class S4AQA(Model):
    """Encoder, regressor, decoder, discriminator of K runs; two kinds of features have an encoder and a decoder each.

    inputs: D, or [D of the first kind, D of the second]. all_segments: the decoder returns T segments, not one.
    head: "norm" has a LayerNorm without parameters on the hidden layer of decoder and discriminator, "plain" none.
    ragged: the videos differ in length, so that the encoder takes masks and `segments` are equal shares of each.
    """

    def __init__(
        self, *, runs, segments, inputs, widths=None, drop=0.5, precision="fp32", all_segments=False, ragged=False,
        head="norm",
    ):  # fmt: skip
        super().__init__()
        self.ragged = ragged
        inputs = [inputs] if isinstance(inputs, int) else list(inputs)
        self.kinds, encoded = len(inputs), 0
        for i, size in enumerate(inputs):
            wide = widths or widths_of(size)
            name = "" if i == 0 else "_flow"
            encoder = Encoder(runs=runs, segments=segments, inputs=size, widths=wide, drop=drop, precision=precision)
            made = dict(runs=runs, inputs=segments * wide[-1], precision=precision, norm=head == "norm")
            decoder = Head(hidden=max(size // 2, 32), outputs=size * (segments if all_segments else 1), **made)
            setattr(self, f"encoder{name}", encoder)
            setattr(self, f"decoder{name}", decoder)
            encoded += segments * wide[-1]
        made = dict(runs=runs, inputs=encoded, precision=precision)
        self.regressor = Head(hidden=max(inputs[0] // 4, 32), outputs=1, **made)
        self.discriminator = Head(hidden=max(inputs[0] // 8, 16), outputs=1, norm=head == "norm", **made)

    @property
    def encoders(self):
        return [self.encoder] if self.kinds == 1 else [self.encoder, self.encoder_flow]

    @property
    def decoders(self):
        return [self.decoder] if self.kinds == 1 else [self.decoder, self.decoder_flow]

    def scores(self, f):
        """f [K,B,TC] -> predicted scores [K,B]."""
        return self.regressor(f).squeeze(-1)
