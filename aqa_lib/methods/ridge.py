"""Ridge regression on mean-pooled segment features: the linear method that every network has to beat.

    min_w  sum_i (y_i - w . v_i - b)^2 + alpha |w|^2,   v_i = 1/T sum_t x_it, standardised,

alpha chosen among powers of ten by leave-one-out error on the labelled videos alone (Golub, Heath, Wahba
1979, as scikit-learn's RidgeCV computes it). No unlabelled video is used.

`modality` gives it what networks are given that see more than RGB: "rgb+flow" sets both side by side; "turned" learns
from all four rotations of each labelled video, as S4L does, and predicts from the unturned.
"""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from aqa_lib.data.ragged import means
from aqa_lib.methods.base import Method, Setting, linear

VIEWS = {"rgb": (), "rgb+flow": ("flow",), "turned": ("rot90", "rot180", "rot270")}


class Ridge(Method):
    gradient = False
    masks = True
    SETTINGS = {"modality": Setting("rgb", "what it sees of a video", choices=tuple(VIEWS))}

    def views(self, settings):
        return VIEWS[settings.get("modality", "rgb")]

    def fit(self, data, items, scores, settings):
        """scores [n] with NaN where there is no label -> the weights {"w", "b"} of a linear function."""
        labelled = np.isfinite(scores)
        pooled, y = self.pooled(data, items[labelled], settings), scores[labelled]
        x = np.concatenate(pooled, 1 if beside(settings) else 0)
        scaler = StandardScaler().fit(x)
        model = RidgeCV(alphas=np.logspace(-2, 5, 15))
        model.fit(scaler.transform(x), y if beside(settings) else np.tile(y, len(pooled)))
        return linear(scaler.mean_, scaler.scale_, model.coef_, model.intercept_)

    def apply(self, arrays, data, items, settings):
        pooled = self.pooled(data, items, settings)
        x = np.concatenate(pooled, 1) if beside(settings) else pooled[0]
        return x @ arrays["w"] + arrays["b"]

    def pooled(self, data, items, settings):
        """The mean segment feature [n,D] of items in each view that it sees."""
        return [means(data.view(name)[items]) for name in ("rgb", *self.views(settings))]


def beside(settings):
    """Whether the views stand side by side in one video's features."""
    return settings.get("modality", "rgb") == "rgb+flow"


METHOD = Ridge()
