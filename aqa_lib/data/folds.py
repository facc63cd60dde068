"""Splits that come as folds: columns `fold_<name>` of the table, and ranked pairs whose videos are divided.

A column `fold_<name>` holds the name of the fold that tests on an item, one fold an item. Columns `split_<k>` say
"train" or "test" of every video in the k-th division of a pairwise-ranked set.
"""

import numpy as np

from aqa_lib.data.splits import Split
from aqa_lib.errors import UserError, choose


def protocols(data):
    """Names of the fold columns of a set, for example ["four", "louo"]."""
    return [c.removeprefix("fold_") for c in data.table.columns if str(c).startswith("fold_")]


def folds(data, protocol):
    """Names of the folds of a protocol, in order."""
    choose(f"folds of data set {data.name!r}", protocol, protocols(data))
    column = data.table[f"fold_{protocol}"].astype(str)
    return sorted(set(column[column != ""]))


def split(data, protocol, fold):
    """The Split that tests on one fold.

    Test items without a score are left out, as everywhere. An item in no fold (an empty cell) is trained on where it
    has no score, and left out where it has one: it belongs to no published fold.
    """
    fold = choose(f"fold of {protocol}", str(fold), folds(data, protocol))
    column = data.table[f"fold_{protocol}"].astype(str).to_numpy()
    known = ~np.isnan(data.scores)
    test = np.flatnonzero((column == fold) & known)
    train = np.flatnonzero((column != fold) & ~((column == "") & known))
    if len(test) == 0 or len(train) == 0:
        part = "scored test" if len(test) == 0 else "training"
        raise UserError(f"data set {data.name!r}: fold {fold} of {protocol} leaves no {part} items")
    return Split(f"{protocol}-{fold}", train, test)


def every(data, protocol):
    """The Splits of all folds of a protocol that test on a scored item."""
    column = data.table[f"fold_{protocol}"].astype(str) if protocol in protocols(data) else None
    scored = set(column[~np.isnan(data.scores)]) if column is not None else set()
    return [split(data, protocol, fold) for fold in folds(data, protocol) if fold in scored]


def pairs(data, division):
    """(training pairs, test pairs) [P, 2] of a pairwise-ranked set in one of its divisions of the videos.

    As published: trained on are pairs of two training videos, tested on are all pairs with a held-out video, whose
    other video may be one that was trained on.
    """
    if data.pairs is None:
        raise UserError(f"data set {data.name!r} has no ranked pairs: take epic_skills, best or ui_prmd")
    divisions = [c.removeprefix("split_") for c in data.table.columns if str(c).startswith("split_")]
    division = choose(f"division of data set {data.name!r}", str(division), divisions)
    held = data.table[f"split_{division}"].to_numpy() == "test"
    test = held[data.pairs].any(axis=1)
    return data.pairs[~test], data.pairs[test]
