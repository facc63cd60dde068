"""Random orders and parts of items that are functions of a key alone: for label draws, and for folds of labels."""

import numpy as np

from aqa_lib import chance
from aqa_lib.errors import UserError
from aqa_lib.kinds import takes, whole


def folds(names, count, key, groups=None):
    """[n] which of `count` folds each of n names is in, at random: a function of the name and the 64-bit key.

    groups [n]: the folds are of whole groups, large ones first, each in the fold that has the fewest names so far.
    """
    groups = np.asarray(names if groups is None else groups)
    found, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if not 2 <= count <= len(found):
        what = "labels" if len(found) == len(groups) else "groups that have labels"
        raise UserError(f"{count} folds of {len(found)} {what} cannot be: take 2 or more, and no more than there are")
    words = np.array([chance.key(key, str(name)) for name in found], dtype=np.uint64)
    fold, filled = np.empty(len(found), dtype=int), np.zeros(count, dtype=int)
    for g in np.lexsort((words, -sizes)):
        fold[g] = filled.argmin()
        filled[fold[g]] += sizes[g]
    return fold[group]


@takes(n=whole, key=whole)
def stratified_order(n, key, strata=()):
    """An order of 0..n-1 of which every beginning is spread evenly, and is random all the same.

    A van der Corput sequence with nested scrambling: halve the range, order each half in the same way, and
    merge the two in proportion, with one random phase u a node: after k items floor(k a + u) of them are
    from the left, a = left / n. Its mean is k a, so every item is among the first k with chance k / n.

    `strata`: arrays [n], coarse ones first, equal values side by side. A range that holds several values of one is
    parted between two of them, as near to its middle as that allows.
    """
    if n < 2:
        return np.arange(n)
    phases = chance.uniform(key, 2 * n)
    borders = [np.flatnonzero(values[1:] != values[:-1]) + 1 for values in strata]

    def parting(low, high):
        middle = (low + high) // 2
        for border in borders:
            inside = border[np.searchsorted(border, low, "right") : np.searchsorted(border, high)]
            if len(inside):
                return int(inside[np.abs(inside - middle).argmin()])
        return middle

    def merge(low, high, node):  # `node` numbers the n-1 inner nodes of the tree in order
        if high - low == 1:
            return np.array([low])
        middle = parting(low, high)
        left, right = merge(low, middle, node + 1), merge(middle, high, node + middle - low)
        k = np.arange(high - low + 1)
        from_left = np.diff(np.floor(k * len(left) / (high - low) + phases[node]).astype(int)).astype(bool)
        merged = np.empty(high - low, dtype=int)
        merged[from_left], merged[~from_left] = left, right
        return merged

    return merge(0, n, 0)
