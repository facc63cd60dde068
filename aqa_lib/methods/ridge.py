"""Ridge regression on mean-pooled segment features: the linear method that every network has to beat.

    min_w  sum_i (y_i - w . v_i - b)^2 + alpha |w|^2,   v_i = 1/T sum_t x_it, standardised,

alpha chosen among powers of ten by leave-one-out error on the labelled videos alone (Golub, Heath, Wahba
1979, as scikit-learn's RidgeCV computes it). No unlabelled video is used.
"""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aqa_lib.methods.base import Method


class Ridge(Method):
    gradient = False

    def fit(self, x, y, settings):
        """x [N,T,D], y [N] with NaN where there is no label -> a function that predicts."""
        labelled = np.isfinite(y)
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 5, 15)))
        model.fit(x[labelled].mean(1, dtype=np.float64), y[labelled])
        return lambda x: model.predict(x.mean(1, dtype=np.float64))


METHOD = Ridge()
