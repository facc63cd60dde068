"""Ridge regression on mean-pooled segment features: the linear method that every network has to beat.

    min_w  sum_i (y_i - w . v_i - b)^2 + alpha |w|^2,   v_i = 1/T sum_t x_it, standardised,

alpha chosen among powers of ten by leave-one-out error on the labelled videos alone (Golub, Heath, Wahba
1979, as scikit-learn's RidgeCV computes it). No unlabelled video is used.

`modality` gives it what networks are given that see more than RGB: "rgb+flow" sets both side by side; "turned" learns
from all four rotations of each labelled video, as S4L does, and predicts from the unturned.
"""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aqa_lib.methods.base import Method, Setting

VIEWS = {"rgb": (), "rgb+flow": ("flow",), "turned": ("rot90", "rot180", "rot270")}


class Ridge(Method):
    gradient = False
    SETTINGS = {"modality": Setting("rgb", "what it sees of a video", choices=tuple(VIEWS))}

    def views(self, settings):
        return VIEWS[settings.get("modality", "rgb")]

    def fit(self, x, y, settings, **views):
        """x [N,T,D], y [N] with NaN where there is no label, views as x -> a function that predicts."""
        labelled = np.isfinite(y)
        beside = settings.get("modality", "rgb") == "rgb+flow"
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 5, 15)))
        pooled = [v[labelled].mean(1, dtype=np.float64) for v in (x, *views.values())]
        if beside:
            model.fit(np.concatenate(pooled, 1), y[labelled])
        else:
            model.fit(np.concatenate(pooled), np.tile(y[labelled], len(pooled)))

        def predict(x, **views):
            seen = [x, *views.values()] if beside else [x]
            return model.predict(np.concatenate([v.mean(1, dtype=np.float64) for v in seen], 1))

        return predict


METHOD = Ridge()
