"""The videos whose score no run has seen: what there is to predict in earnest."""

import numpy as np

from aqa_lib import tasks
from aqa_lib.errors import UserError


def unscored(data, split, settings):
    """Items [n] of a set that are neither among the labels of a run with these settings nor tested on.

    That is every video without a score, and every training video whose score the run's label draw left out.
    """
    labels = tasks.SCORES.labels(data, split, settings)
    seen = np.concatenate([labels.train, labels.validation, labels.held, split.test])
    rest = np.setdiff1d(np.arange(len(data)), seen)
    if not len(rest):
        raise UserError(
            f"data set {data.name!r} has a score for every video, and fraction = {settings['fraction']:g} shows the "
            "runs all of them: take a smaller fraction, or a set with videos without a score"
        )
    return rest
