"""Who is trained on, who is tested on, and whose labels are known.

A split and a label draw are functions of names and of the data, through `aqa_lib.chance`: the same call gives
the same items in any process. Draws are nested: a smaller fraction's labels are a prefix of a larger one's.
"""

import dataclasses
import operator
from numbers import Real

import numpy as np

from aqa_lib import chance
from aqa_lib.errors import UserError, choose

MIN_LABELS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Indices of the training and the test items."""

    name: str
    train: np.ndarray  # [n_train] int
    test: np.ndarray  # [n_test] int


def official(data):
    """The split that the data set comes with (column "split"); test items without a score are left out."""
    if "split" not in data.table:
        raise UserError(
            f"data set {data.name!r} has no official split: give its table a column split of train and test"
        )
    return _split(data, "official", data.table["split"].to_numpy() == "test")


def leak_free(data):
    """No group (competition, surgeon) in both parts: whole groups are held out.

    The test part is near the official share of the items that have a score, or a quarter of them. Of 256 fixed
    random orders of the groups, the one is taken of which some beginning comes nearest to that share.
    """
    if data.groups is None:
        raise UserError(f"data set {data.name!r} has no groups for a leak-free split: fill in its field groups")
    groups, group = np.unique(data.groups, return_inverse=True)
    known = ~np.isnan(data.scores)
    sizes = np.bincount(group[known], minlength=len(groups))
    if (sizes > 0).sum() < 2:
        only = "one group only" if len(groups) < 2 else "scores in fewer than two groups"
        raise UserError(f"data set {data.name!r} has {only}; a leak-free split needs at least two with scores")
    share = (data.table["split"][known] == "test").mean() if "split" in data.table else 0.25
    keys = [chance.key(data.name, "leak_free", i) for i in range(256)]
    orders = np.stack([chance.permutation(k, len(groups)) for k in keys])
    held = np.cumsum(sizes[orders], axis=1)  # [256, G] scored items in the first g groups
    off = np.where((held > 0) & (held < sizes.sum()), np.abs(held - share * sizes.sum()), np.inf)  # some in each part
    order, last = np.unravel_index(np.argmin(off), off.shape)
    return _split(data, "leak_free", np.isin(data.groups, groups[orders[order, : last + 1]]))


def _split(data, name, test):
    test_items = np.flatnonzero(test & ~np.isnan(data.scores))
    train_items = np.flatnonzero(~test)
    if len(test_items) == 0 or len(train_items) == 0:
        part = "scored test" if len(test_items) == 0 else "training"
        raise UserError(f"data set {data.name!r}: the {name} split leaves no {part} items")
    return Split(name, train_items, test_items)


SPLITS = {"official": official, "leak_free": leak_free}


def get(name):
    """The function that makes the split `name`."""
    return SPLITS[choose("split", name, SPLITS)]


def label_draw(data, fraction, draw, how="stratified", split=None):
    """Indices of the training items whose labels are known, first drawn first.

    round(fraction * n) of the n training items that have a score and are not barred (column "labelable").
    how="random" orders them by a hash; how="stratified" so that every beginning follows the distribution of
    the scores (see `stratified_order`), which takes scores that one would not have before labelling.
    """
    choose("label draw", how, ["stratified", "random"])
    if isinstance(fraction, bool) or not isinstance(fraction, Real) or not 0 < fraction <= 1:
        raise UserError(f"the label fraction must be a number above 0 and at most 1, but is {fraction!r}")
    split = split or official(data)
    split = get(split)(data) if isinstance(split, str) else split
    known = ~np.isnan(data.scores[split.train])
    if "labelable" in data.table:
        known &= data.table["labelable"].to_numpy(dtype=bool)[split.train]
    pool = split.train[known]
    count = round(fraction * len(pool))
    if count < MIN_LABELS:
        enough = len(pool) >= MIN_LABELS
        take = f"{MIN_LABELS / len(pool):.2g} or more" if enough else "a set or split with more labels"
        raise UserError(
            f"a label fraction of {fraction} leaves {count} of {len(pool)} labels, fewer than "
            f"the {MIN_LABELS} needed: take {take}"
        )
    place = data.name, split.name, how, operator.index(draw)
    if how == "random":
        words = np.array([chance.key(*place, str(i)) for i in data.ids[pool]], dtype=np.uint64)
        return pool[np.lexsort((data.ids[pool], words))][:count]
    pool = pool[np.lexsort((data.ids[pool], data.scores[pool]))]
    return pool[stratified_order(len(pool), chance.key(*place))][:count]


def stratified_order(n, key):
    """An order of 0..n-1 of which every beginning is spread evenly, and is random all the same.

    A van der Corput sequence with nested scrambling: halve the range, order each half in the same way, and
    merge the two in proportion, with one random phase u a node: after k items floor(k a + u) of them are
    from the left, a = left / n. Its mean is k a, so every item is among the first k with chance k / n.
    """
    if n < 2:
        return np.arange(n)
    phases = chance.uniform(key, 2 * n)

    def merge(low, high, node):  # `node` numbers the n-1 inner nodes of the tree in order
        if high - low == 1:
            return np.array([low])
        middle = (low + high) // 2
        left, right = merge(low, middle, node + 1), merge(middle, high, node + middle - low)
        k = np.arange(high - low + 1)
        from_left = np.diff(np.floor(k * len(left) / (high - low) + phases[node]).astype(int)).astype(bool)
        merged = np.empty(high - low, dtype=int)
        merged[from_left], merged[~from_left] = left, right
        return merged

    return merge(0, n, 0)
