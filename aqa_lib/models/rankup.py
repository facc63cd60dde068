"""RankUp's network: Huang, Fu, Tsai, "RankUp: Boosting semi-supervised regression with an auxiliary ranking
classifier", NeurIPS 2024: beside the regressor one linear layer of two outputs, whose differences between two videos
are the logits of "the first is better" and "the second is"."""

from aqa_lib.models.encoder import Regression, widths_of
from aqa_lib.models.layers import Linear


class RankUp(Regression):
    """Encoder, regressor and ranking layer of K runs."""

    def __init__(self, *, runs, segments, inputs, drop=0.5, precision="fp32"):
        super().__init__(runs=runs, segments=segments, inputs=inputs, drop=drop, precision=precision)
        encoded = segments * widths_of(inputs)[-1]
        self.ranker = Linear(runs=runs, inputs=encoded, outputs=2, precision=precision)

    def pairs(self, f):
        """f [K,B,TC] -> d [K,B,B]: d_ij is the logit of "j is better than i" against "i is better than j"."""
        z = self.ranker(f)
        u = z[..., 0] - z[..., 1]
        return u.unsqueeze(1) - u.unsqueeze(2)
