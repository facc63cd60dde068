"""The blocks of a comparison and their parts: which data sets and splits stand for which published protocol.

    blocks = {
        "four folds": {"split": "fold:four/*", "parts": {"task": ["Suturing", "Knot_Tying"]}, "published": True},
        "leak-free": {"split": "leak_free", "fractions": [0.4]},
    }

A block is a protocol: a split, `options` of the data set, and `parts`, lists of options of which every combination is
a data set of its own (tasks, routines, worlds of the surrogate). `split` is a name, several in a list, or one that ends
in a star: "fold:four/*" are all folds of that protocol with something to test on, "division:*" all divisions.
`fractions` are shares of labels for this block alone. `worlds: {"seed": 100}` makes every replicate a world of its own:
the first draw is on the data set with that option at 100, the next at 101, and so on, so that an interval covers the
data, the test items, the label draw and the initialisation.

The folds of a part are measured one by one and averaged; with `pool: true` their predictions are joined and measured
once; that needs one data set for all replicates, without `worlds`. `published` says whether published numbers were
measured in this way, so that they may stand beside the block; by default they were where the split is "official". A
block on recordings made up in the layout of a real set (meta["stand-in"]) is called so and has no published numbers.
"""

from dataclasses import dataclass, field
from itertools import product

import pandas as pd

from aqa_lib import data as data_sets
from aqa_lib.data import AssessmentSet, splits
from aqa_lib.data.splits import Split
from aqa_lib.errors import UserError, choose
from aqa_lib.kinds import mapping, takes
from aqa_lib.settings import Setting, from_yaml
from aqa_lib.study.asked import named as named_set
from aqa_lib.study.study import loaded

BLOCK = {
    "options": Setting({}, "options of its data set", optional=True),
    "parts": Setting({}, "options, each with a list of values, such as {task: [Suturing]}", optional=True),
    "worlds": Setting({}, "options that count on with the replicate, such as {seed: 100}", optional=True),
    "fractions": Setting([0.1], "shares of labels of this block alone", above=0, high=1, optional=True),
    "pool": Setting(False, "whether predictions of folds are joined"),
    "published": Setting(None, "whether published numbers are of this protocol", kind=bool),
}
KEYS = ("split", *BLOCK)
DRAWS = Setting(10, "label draws, or worlds where blocks have them", 1, 10_000)


@dataclass(frozen=True)
class Part:
    """What a run of a comparison is trained and tested on."""

    block: str
    name: str  # what tells its data set from the others of the block, such as "Suturing"; "" where there is one
    world: dict  # {"name": data set, its options}
    split: str
    fractions: tuple  # of this block alone; () where it has none of its own
    data: AssessmentSet = field(repr=False)
    items: Split = field(repr=False)
    pool: bool = False  # whether the predictions of all folds of its data set are joined before they are measured
    published: bool = False  # whether its block is the protocol of published numbers
    worlds: dict = field(default_factory=dict)  # {option: its value in the first replicate}, where each is a world

    def replicate(self, number):
        """The data set of one replicate."""
        return {**self.world, **{option: first + number for option, first in self.worlds.items()}}

    def __str__(self):
        return ", ".join([f"block {self.block!r}", *filter(None, [self.name]), f"split {self.split}"])


def replicates(draws, parts):
    """[(draw, seed)] of so many draws, each with the seed of its number, or of a list of such pairs.

    A UserError where the world of one of them cannot be.
    """
    if isinstance(draws, (list, tuple)):
        pairs = [tuple(pair) if isinstance(pair, (list, tuple)) else () for pair in draws]
        if not pairs or not all(len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair) for pair in pairs):
            raise UserError(f"draws takes a number, or pairs (draw, seed) such as [(0, 1)], but got {draws!r}")
    else:
        pairs = [(d, d) for d in range(DRAWS.check("a comparison", "draws", draws))]
    for part in parts:
        if part.worlds:
            options = part.replicate(len(pairs) - 1)
            try:
                data_sets.resolve(options.pop("name"), options)
            except UserError as error:
                raise UserError(f"{part}, the last of {len(pairs)} worlds: {error}") from None
    return pairs


@takes(axes=mapping)
def crossed(axes, **block):
    """(blocks, labels): a block for every combination of the axes {axis: {label: options of the data set}}, all with
    what else `block` says, and a table of their labels, a row a block and a column an axis."""
    blocks, labels = {}, {}
    for axis, labelled in axes.items():
        if not isinstance(labelled, dict) or not labelled or not all(isinstance(o, dict) for o in labelled.values()):
            raise UserError(f"the axis {axis!r} takes {{label: options of the data set}}, but got {labelled!r}")
    for chosen in product(*(axis.items() for axis in axes.values())):
        name = ", ".join(label for label, _ in chosen)
        options = dict(block.get("options") or {})
        for _, more in chosen:
            options |= more
        blocks[name], labels[name] = {**block, "options": options}, [label for label, _ in chosen]
    return blocks, pd.DataFrame.from_dict(labels, orient="index", columns=list(axes)).rename_axis("block")


def parts_of(data, blocks, root=None):
    """[Part] of all blocks, each data set read once; a UserError names the block that cannot be."""
    if not isinstance(blocks, dict) or not blocks or not all(isinstance(block, dict) for block in blocks.values()):
        raise UserError("blocks takes a mapping such as {official: {split: official}, leak-free: {split: leak_free}}")
    data, found = named_set(data), []
    for name, block in blocks.items():
        if not isinstance(name, str):
            raise UserError(f"a block's name is a word, but got {name!r}: put it in quotes")
        try:
            found += of_block(name, block, data, root)
        except UserError as error:
            raise UserError(f"block {name!r}: {error}, or leave the block out") from None
    return found


def of_block(name, block, data, root):
    """The parts of one block."""
    for key in block:
        choose("key of a block:", key, KEYS)
    checked = {key: s.check("it", key, from_yaml(s, block[key])) for key, s in BLOCK.items() if key in block}
    options, values, worlds = (dict(checked.get(key) or {}) for key in ("options", "parts", "worlds"))
    for key, first in worlds.items():
        if not isinstance(first, int) or isinstance(first, bool):
            raise UserError(f"a block's worlds count on from a whole number, such as {{{key}: 0}}, but got {first!r}")
    for key, those in values.items():
        if not (isinstance(those, list) and those):
            raise UserError(f"a block's part {key!r} takes a list of values, but got {those!r}")
    if worlds and checked.get("pool"):
        raise UserError("pool joins the folds of one data set, but with worlds each replicate has its own: give one")
    asked = block.get("split", "official")
    pool, published = checked.get("pool", False), checked.get("published")
    published = asked == "official" if published is None else published
    found = []
    for chosen in product(*values.values()):
        world = {**data, **options, **dict(zip(values, chosen, strict=True)), **worlds}
        dataset = loaded(world["name"], root, **{k: v for k, v in world.items() if k != "name"})
        title, fractions = ", ".join(map(str, chosen)), tuple(checked.get("fractions") or ())
        made_up = dataset.meta.get("stand-in", False)
        block_name = f"{name}, stand-in" if made_up else name
        for split in named(asked, dataset):
            items = splits.get(split)(dataset)
            own = (fractions, dataset, items, pool, published and not made_up, worlds)
            found.append(Part(block_name, title, world, split, *own))
    return found


def named(split, data):
    """The names of splits that a block's `split` stands for on a data set."""
    given = [split] if isinstance(split, str) else split
    if not (isinstance(given, list) and given and all(isinstance(name, str) for name in given)):
        raise UserError(f"a block's split takes a name or a list of names, but got {split!r}")
    wanted = [splits.every(data, name[:-1].rstrip(":/")) if name.endswith("*") else [name] for name in given]
    return list(dict.fromkeys(sum(wanted, [])))
