"""No video: the mean of an item's group (a dive's event, a trial's surgeon), drawn to the mean of all.

    s_g = (sum_{j in g} y_j + k m) / (n_g + k),   m the mean of all labelled scores, n_g the labelled items of group g

The form of the best linear unbiased prediction of a group's random intercept (Robinson, "That BLUP is a good thing",
Statistical Science 1991), where k is the variance within groups over that between them. Chosen here: k is a setting and
not estimated, and m weighs items equally. A group without a labelled item gets m.
"""

import numpy as np

from aqa_lib.errors import UserError
from aqa_lib.methods._guesses import Guess, labelled
from aqa_lib.methods.base import Setting


class GroupMean(Guess):
    title = "no video: group mean"
    SETTINGS = {"shrink": Setting(2.0, "k, how many labelled items the mean of all counts for", low=0)}

    def check(self, settings, data):
        if data.groups is None:
            raise UserError(
                f"data set {data.name!r} has no groups, so there is no group mean: fill in its field groups"
            )

    def fit(self, data, items, scores, settings):
        items, y = labelled(items, scores)
        groups, of, count = np.unique(data.groups[items], return_inverse=True, return_counts=True)
        k, m = settings["shrink"], y.mean()
        return {"group": groups, "score": (np.bincount(of, weights=y) + k * m) / (count + k), "mean": np.array([m])}

    def guess(self, arrays, data, items):
        group = data.groups[items]
        place = np.searchsorted(arrays["group"], group).clip(max=len(arrays["group"]) - 1)
        return np.where(arrays["group"][place] == group, arrays["score"][place], arrays["mean"])


METHOD = GroupMean()
