"""S4L's network on segment features: encoder and regressor (aqa_lib/models/encoder.py), and a linear layer that tells
four rotations apart, as in Zhai, Oliver, Kolesnikov, Beyer, "S4L: self-supervised semi-supervised learning", ICCV 2019.
"""

from aqa_lib.models.encoder import Regression, widths_of
from aqa_lib.models.layers import Linear


class S4L(Regression):
    """Encoder, regressor and classifier of rotations of K runs."""

    def __init__(self, *, runs, segments, inputs, drop=0.5, precision="fp32"):
        made = dict(runs=runs, precision=precision)
        super().__init__(segments=segments, inputs=inputs, drop=drop, **made)
        self.rotations = Linear(inputs=segments * widths_of(inputs)[-1], outputs=4, **made)
