"""How alike two partitions of the same items are: true classes [N] and clusters found [N], both as integers.

With n_ck the number of items of class c in cluster k, and N of all:

* NMI = I(classes; clusters) / mean of the two entropies. The mean is arithmetic in scikit-learn since version 0.22 and
  geometric before, which moves the value, so that it is part of the name here.
* adjusted Rand index (Hubert and Arabie, 1985): agreement on pairs of items; 0 is what chance gives, 1 the same.
* purity = 1/N sum_k max_c n_ck: each cluster stands for its most frequent class. It rises with the number of clusters.
* Hungarian accuracy = 1/N max sum_k n_{c(k) k} over one-to-one assignments c of clusters to classes.

An item labelled -1 in either partition (unlabelled, or assigned to no cluster) is left out. Two partitions of one
cluster each are the same, NMI and adjusted Rand index 1; against several classes one cluster has both 0. Where no
item is left, every measure is NaN, and a warning says so.
"""

import warnings

import numpy as np
from scipy.optimize import linear_sum_assignment

from aqa_lib.errors import UserError
from aqa_lib.kinds import numbers, takes

IGNORED = -1


@takes(true=numbers, found=numbers)
def nmi_arithmetic(true, found):
    """Normalised mutual information, over the arithmetic mean of the entropies; from 0 to 1."""
    return _nmi(true, found, "arithmetic")


@takes(true=numbers, found=numbers)
def nmi_geometric(true, found):
    """Normalised mutual information, over the geometric mean of the entropies; never below `nmi_arithmetic`."""
    return _nmi(true, found, "geometric")


@takes(true=numbers, found=numbers)
def adjusted_rand(true, found):
    """Adjusted Rand index, from -0.5 to 1."""
    from sklearn.metrics import adjusted_rand_score

    true, found = _partitions(true, found)
    return float(adjusted_rand_score(true, found)) if len(true) else float("nan")


@takes(true=numbers, found=numbers)
def purity(true, found):
    """Share of items that are of the most frequent class of their cluster."""
    counts = _counts(*_partitions(true, found))
    return float(counts.max(axis=0).sum() / counts.sum()) if counts.size else float("nan")


@takes(true=numbers, found=numbers)
def hungarian_accuracy(true, found):
    """Share of items in the right class under the best one-to-one assignment of clusters to classes.

    With more clusters than classes, or fewer, the items of those that are left over count as wrong.
    """
    counts = _counts(*_partitions(true, found))
    return float(counts[linear_sum_assignment(-counts)].sum() / counts.sum()) if counts.size else float("nan")


def _nmi(true, found, mean):
    from sklearn.metrics import normalized_mutual_info_score

    true, found = _partitions(true, found)
    return float(normalized_mutual_info_score(true, found, average_method=mean)) if len(true) else float("nan")


def _counts(true, found):
    """n_ck [C, K]."""
    (classes, c), (clusters, k) = (np.unique(labels, return_inverse=True) for labels in (true, found))
    counts = np.zeros((len(classes), len(clusters)), int)
    np.add.at(counts, (c, k), 1)
    return counts


def _partitions(true, found):
    """Both without the items that either leaves out."""
    true, found = np.asarray(true), np.asarray(found)
    if true.ndim != 1 or true.shape != found.shape or true.dtype.kind not in "iu" or found.dtype.kind not in "iu":
        raise UserError(
            f"two partitions must be vectors of integers of one length, not {true.dtype} {true.shape} and "
            f"{found.dtype} {found.shape}: number the classes and the clusters"
        )
    kept = (true != IGNORED) & (found != IGNORED)
    if not kept.any():
        warnings.warn("no item is labelled in both partitions: they cannot be compared", RuntimeWarning, stacklevel=4)
    return true[kept], found[kept]
