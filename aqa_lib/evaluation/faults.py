"""Localising faults: does a number for each segment (the error of recovering it) point at the faulty segments?

Videos are compared within, never with one another: a video that is hard to recover throughout says nothing about
where its fault lies.
"""

import numpy as np
from scipy.stats import rankdata

from aqa_lib.errors import UserError
from aqa_lib.evaluation.metrics import spearman_rows


def auc_within(values, faulty):
    """AUC within each item: the probability that a faulty segment has a higher value than a sound one; [N].

    values [N, T]; faulty [N, T] bool. Ties count half; NaN for items that have no faulty or no sound segment.
    AUC = (R - n (n + 1) / 2) / (n m): R the sum of the mid-ranks of the n faulty among all n + m segments (Mann,
    Whitney 1947).
    """
    values, faulty = _both(values, np.asarray(faulty, bool))
    n = faulty.sum(1)
    m = faulty.shape[1] - n
    ranks = np.where(faulty, rankdata(values, axis=1), 0).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((n > 0) & (m > 0), (ranks - n * (n + 1) / 2) / (n * m), np.nan)


def spearman_within(values, other):
    """For each item the rank correlation of two numbers over its segments; both [N, T] -> [N], NaN where constant."""
    values, other = _both(values, other)
    return np.array([spearman_rows(v[None], o)[0] for v, o in zip(values, other, strict=True)])


def against_typical(values):
    """values [N, T] less the mean over items at each index t: what is unusual for the t-th segment."""
    values = np.asarray(values, float)
    return values - values.mean(0)


def _both(values, other):
    values, other = np.asarray(values, float), np.asarray(other)
    if values.ndim != 2 or values.shape != other.shape:
        raise UserError(
            f"segments within items are compared as two arrays [N, T], not {values.shape} and {other.shape}"
        )
    return values, other
