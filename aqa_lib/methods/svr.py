"""Linear support vector regression on mean-pooled segment features: Drucker, Burges, Kaufman, Smola, Vapnik, "Support
vector regression machines", NIPS 1996; in action quality assessment since Pirsiavash, Vondrick, Torralba, ECCV 2014.

    min_{w,b}  1/2 |w|^2 + C sum_i max(0, |y_i - w . v_i - b| - epsilon),   v_i = 1/T sum_t x_it

S4AQA (TCSVT 2022) states a linear SVR on the same features as the networks; the pooling, C and epsilon are not stated.
Chosen here: the mean over segments; features and scores standardised by the labelled videos, so that epsilon = 0.1 is a
tenth of the scores' standard deviation, and features divided by sqrt(D), so that |v|^2 is about 1 and C means the same
for every D (libsvm takes minutes for a large C on long v); C among 10^-3 ... 10^2 by the squared error of
cross-validation on the labelled alone, the least C where several are equal. The folds are five, or as many as there are
labels: the labelled sorted by score are dealt to them in turn, so that each fold spans the scores and nothing is left
to chance. libsvm solves it. No unlabelled video is used.
"""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from aqa_lib.data.ragged import means
from aqa_lib.methods.base import Method, Setting, linear

GRID = [10.0**i for i in range(-3, 3)]


class SupportVectors(Method):
    title = "SVR"
    gradient = False
    masks = True
    SETTINGS = {
        "epsilon": Setting(0.1, "half width of the tube without loss, in standard deviations of the labels", low=0),
        "folds": Setting(5, "folds of the cross-validation that chooses C", low=2),
    }

    def fit(self, data, items, scores, settings):
        """scores [n] with NaN where there is no label -> the weights {"w", "b"} of a linear function."""
        labelled = np.isfinite(scores)
        v, y = means(data.features[items[labelled]]), scores[labelled]
        middle, spread = y.mean(), y.std() or 1.0
        z, epsilon = (y - middle) / spread, settings["epsilon"]
        fold = folds(y, settings["folds"])
        errors = [0.0] * len(GRID)
        for held in (fold == f for f in range(fold.max() + 1)):
            for i, C in enumerate(GRID):
                model = regression(C, epsilon).fit(v[~held], z[~held])
                errors[i] += np.square(model.predict(v[held]) - z[held]).sum()
        model = regression(GRID[np.argmin(errors)], epsilon).fit(v, z)
        scaler, svr = model[0], model[-1]
        of_z = linear(scaler.mean_, scaler.scale_ * v.shape[1] ** 0.5, svr.coef_[0], svr.intercept_[0])
        return {"w": spread * of_z["w"], "b": middle + spread * of_z["b"]}

    def apply(self, arrays, data, items, settings):
        return means(data.features[items]) @ arrays["w"] + arrays["b"]


def regression(C, epsilon):
    return make_pipeline(StandardScaler(), FunctionTransformer(shorten), SVR(kernel="linear", C=C, epsilon=epsilon))


def shorten(v):
    return v / v.shape[1] ** 0.5


def folds(y, n):
    """The fold of each label, 0 .. n-1 (at most one for each label): dealt in turn from the lowest score up."""
    fold = np.empty(len(y), dtype=int)
    fold[np.argsort(y, kind="stable")] = np.arange(len(y)) % min(n, len(y))
    return fold


METHOD = SupportVectors()
