"""Who is trained on, who is tested on, and whose labels are known.

A split and a label draw are functions of names and of the data, through `aqa_lib.chance`: the same call gives
the same items in any process. Draws are nested: a smaller fraction's labels are a prefix of a larger one's.

    split = get("fold:four/2")(data)          # a split by its name
    every(data, "fold:four")                  # ["fold:four/1", "fold:four/2", ...]
    training, test = pairs(data, split)       # the ranked pairs of a split

    official                the set's own, column "split" of its table: train, test, "" for neither
    leak_free               whole groups held out
    fold:PROTOCOL/NAME      tests on the items of one fold; column "fold_PROTOCOL" names the fold of each item
    division:K              column "split_K": train, test, "" for neither, as ranked videos are divided

Tested on are items with a score; in sets that are learnt from otherwise (pairs, actions, no score at all), all items of
the test part.
"""

import dataclasses
import functools
import operator
from numbers import Real

import numpy as np

from aqa_lib import chance
from aqa_lib.data.order import folds, stratified_order
from aqa_lib.errors import UserError, choose
from aqa_lib.kinds import DATA, SPLIT, number, optional, or_word, places, takes, whole, word

MIN_LABELS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Indices of the training and the test items."""

    name: str
    train: np.ndarray  # [n_train] int
    test: np.ndarray  # [n_test] int


@takes(data=DATA)
def official(data):
    """The split that the data set comes with (column "split")."""
    if "split" not in data.table:
        raise UserError(
            f"data set {data.name!r} has no official split: give its table a column split of train and test"
        )
    return _parts(data, "official", data.table["split"].to_numpy())


@takes(data=DATA)
def leak_free(data):
    """No group (competition, surgeon) in both parts: whole groups are held out.

    The test part is near the official share of the items that have a score (pair, action), or a quarter of them. Of
    256 fixed random orders of the groups, the one is taken of which some beginning comes nearest to that share.
    """
    if data.groups is None:
        raise UserError(f"data set {data.name!r} has no groups for a leak-free split: fill in its field groups")
    groups, group = np.unique(data.groups, return_inverse=True)
    known = labelled(data)
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
    test = np.isin(data.groups, groups[orders[order, : last + 1]])
    return _split(data, "leak_free", ~test, test)


SPLITS = {"official": official, "leak_free": leak_free}


def get(name):
    """The function that makes the split `name` of a data set."""
    if str(name).startswith(("fold:", "division:")):
        return functools.partial(listed, name=name)
    choose("split", name, [*SPLITS, "fold:PROTOCOL/NAME", "division:K"])
    return SPLITS[name]


@takes(data=DATA, name=word)
def listed(data, name):
    """The split `name` of those that stand in the table: fold:PROTOCOL/NAME or division:K.

    An item in no fold (an empty cell) is trained on where nothing is known of it, and left out where something is: it
    belongs to no published fold.
    """
    found = _listed(data)
    if name not in found:
        _missing(data, name)
        choose(f"split of data set {data.name!r}", name, names(data))
    kind, cells, word = found[name]
    if kind == "division":
        return _parts(data, name, cells)
    return _split(data, name, (cells != word) & ~((cells == "") & labelled(data)), cells == word)


@takes(data=DATA)
def names(data):
    """The names of all splits of a set."""
    has = {"official": "split" in data.table, "leak_free": data.groups is not None}
    return [*(name for name in SPLITS if has[name]), *_listed(data)]


def _listed(data):
    """Name -> (kind, cells [N] of its column, the word of them that is tested on) of all folds and divisions."""
    found = {}
    for column in map(str, data.table.columns):
        if column.startswith("fold_"):
            kind, cells = f"fold:{column.removeprefix('fold_')}", _cells(data, column)
            found |= {f"{kind}/{word}": (kind, cells, word) for word in sorted(set(cells) - {""})}
        elif column.startswith("split_"):
            cells = _cells(data, column)
            if set(cells) <= {"train", "test", ""}:
                found[f"division:{column.removeprefix('split_')}"] = "division", cells, "test"
    return found


def _cells(data, column):
    """[N] a column as text, "" where nothing stands."""
    column = data.table[column]
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy()


def _parts(data, name, cells):
    return _split(data, name, cells == "train", cells == "test")


def _split(data, name, train, test):
    """The Split of two masks [N]; test items without a score are left out where there are scores to learn from."""
    known = ~np.isnan(data.scores)
    scored = known.any() or (data.pairs is None and data.actions is None)
    train_items, test_items = np.flatnonzero(train), np.flatnonzero(test & known if scored else test)
    if len(test_items) == 0 or len(train_items) == 0:
        part = "training" if len(test_items) else "scored test" if scored else "test"
        raise UserError(f"data set {data.name!r}: the {name} split leaves no {part} items")
    return Split(name, train_items, test_items)


@takes(data=DATA)
def labelled(data):
    """[N] bool: items with a score; where no item has one, those in a pair, else those with an action."""
    known = ~np.isnan(data.scores)
    if known.any():
        return known
    if data.pairs is not None:
        return np.isin(np.arange(len(data)), data.pairs)
    return known if data.actions is None else np.isin(data.ids, data.actions["video"].to_numpy(dtype=str))


@takes(data=DATA, kind=word)
def every(data, kind):
    """Names of the splits of a kind, "fold:PROTOCOL" or "division", that test on a labelled item."""
    found, known = _listed(data), labelled(data)
    if not found:
        has = "no folds and no divisions: give its table a column fold_PROTOCOL or split_K"
        raise UserError(f"data set {data.name!r} has {has}")
    _missing(data, kind)
    choose(f"kind of splits of data set {data.name!r}", kind, list(dict.fromkeys(of for of, *_ in found.values())))
    return [name for name, (of, cells, word) in found.items() if of == kind and (known & (cells == word)).any()]


def _missing(data, name):
    """A UserError where the reader has said what is needed for splits of this kind: meta["no splits"], kind -> why."""
    for kind, why in data.meta.get("no splits", {}).items():
        if name == kind or name.startswith(f"{kind}/"):
            raise UserError(f"data set {data.name!r} has no splits {kind}/*: {why}")


@takes(data=DATA, split=or_word(SPLIT))
def pairs(data, split):
    """(training pairs, test pairs) [P, 2] of a split, or of the split of that name.

    As published: trained on are pairs of two training videos, tested on are all pairs with a held-out video, whose
    other video may be one that was trained on.
    """
    if data.pairs is None:
        raise UserError(f"data set {data.name!r} has no ranked pairs: take epic_skills, best or ui_prmd")
    split = get(split)(data) if isinstance(split, str) else split
    train, test = np.isin(data.pairs, split.train).all(axis=1), np.isin(data.pairs, split.test).any(axis=1)
    return data.pairs[train], data.pairs[test]


@takes(data=DATA, draw=whole, split=optional(or_word(SPLIT)))
def label_draw(data, fraction, draw, how="stratified", split=None):
    """Indices of the training items whose labels are known, first drawn first.

    round(fraction * n) of the n training items that have a score and are not barred (column "labelable").
    how="random" orders them by a hash; how="stratified" so that every beginning follows the distribution of
    the scores (see `stratified_order`), which takes scores that one would not have before labelling; where only
    items of one level of `data.within` are comparable, it follows the scores of every level.
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
    levels = data.levels()
    pool = pool[np.lexsort((data.ids[pool], data.scores[pool], levels[pool]))]
    strata = () if data.within is None else (levels[pool], data.scores[pool])
    return pool[stratified_order(len(pool), chance.key(*place), strata)][:count]


@takes(data=DATA, split=SPLIT, drawn=places, share=number)
def held_out(data, split, drawn, share):
    """(train, validation, unlabelled): the share of the drawn labels that came last is held out to watch.

    Where the split tests on groups of which it trains on none (people, competitions), whole groups are held out as
    well, until at least the share is, and none of their items is unlabelled: else what is watched would be easier than
    what is tested.
    """
    held, rest = round(share * len(drawn)), np.setdiff1d(split.train, drawn)
    if held and tests_new_groups(data, split):
        groups, watched = data.groups[drawn], np.zeros(len(drawn), dtype=bool)
        last_drawn_first = list(dict.fromkeys(groups[::-1]))
        for group in last_drawn_first[:-1]:  # one is left to learn from
            if watched.sum() < held:
                watched |= groups == group
        if watched.any():
            return drawn[~watched], drawn[watched], rest[~np.isin(data.groups[rest], groups[watched])]
    return drawn[: len(drawn) - held], drawn[len(drawn) - held :], rest


@takes(data=DATA, split=SPLIT, drawn=places, number=whole, count=whole)
def without_fold(data, split, drawn, number, count, whole, *place):
    """(the drawn labels without fold `number` of `count`, those of it, the split without what then is not to be seen).

    Folds are at random, a function of names and `place`. Where the split tests on groups of which it trains on none,
    and folds are to be `whole`, they are of whole groups, and no item of theirs is left to train on.
    """
    if not 0 <= number < count:
        raise UserError(f"fold {number} of the labels is none of the {count}: they are numbered 0 to {count - 1}")
    groups = data.groups[drawn] if whole and tests_new_groups(data, split) else None
    held = folds(data.ids[drawn], count, chance.key(data.name, split.name, "folds", *place), groups) == number
    unseen = np.isin(split.train, drawn[held]) if groups is None else np.isin(data.groups[split.train], groups[held])
    return drawn[~held], drawn[held], dataclasses.replace(split, train=split.train[~unseen])


@takes(data=DATA, split=SPLIT)
def tests_new_groups(data, split):
    """Whether a split tests on groups of which it trains on none."""
    return data.groups is not None and not np.isin(data.groups[split.test], data.groups[split.train]).any()
