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
    return sorted(set(_column(data, protocol)) - {""})


def split(data, protocol, fold):
    """The Split that tests on one fold.

    Test items without a score are left out, as everywhere. An item in no fold (an empty cell) is trained on where it
    has no score, and left out where it has one: it belongs to no published fold.
    """
    fold = choose(f"fold of {protocol}", str(fold), folds(data, protocol))
    column = _column(data, protocol)
    known = ~np.isnan(data.scores)
    test = np.flatnonzero((column == fold) & known)
    train = np.flatnonzero((column != fold) & ~((column == "") & known))
    if len(test) == 0 or len(train) == 0:
        part = "scored test" if len(test) == 0 else "training"
        raise UserError(f"data set {data.name!r}: fold {fold} of {protocol} leaves no {part} items")
    return Split(f"{protocol}-{fold}", train, test)


def every(data, protocol):
    """The Splits of all folds of a protocol that test on a scored item."""
    names = folds(data, protocol)
    scored = set(_column(data, protocol)[~np.isnan(data.scores)])
    return [split(data, protocol, fold) for fold in names if fold in scored]


def _column(data, protocol):
    """[N] the fold of each item as text, "" where there is none."""
    column = data.table[f"fold_{protocol}"]
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy()


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
