"""A comparison: several variants over blocks and parts of a data set, on the same label draws and seeds.

    variants = {"AA": ("s4aqa", {"recover": False, "align": False}), "S4AQA": ("s4aqa", {})}
    blocks = {"official": {"split": "official"}, "leak-free": {"split": "leak_free"}}
    found = compare_variants(Study("explore"), {"name": "surrogate"}, variants, blocks, fractions=[0.1], draws=10)

A variant is a method and its settings, or a guess without video ("no video: group mean"). A block is a protocol: a
split, options of the data set, and parts, lists of options of which every combination is a data set of its own:

    {"split": "official", "options": {"protocol": "four"}, "parts": {"task": ["Suturing", ...], "fold": [1, 2, 3, 4]}}

`fold: all` stands for every fold of that protocol with a scored item; `fractions` are shares of labels for this block
alone. As published, rank correlations are averaged arithmetically over folds, and through Fisher's z over what other
parts there are (tasks, routines). The table and its words are in summary.py.
"""

from itertools import product

import numpy as np
import pandas as pd

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data import blind, folds, splits
from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import spearman_rows
from aqa_lib.evaluation.metrics import CLIP
from aqa_lib.evaluation.selection import RULES
from aqa_lib.study.study import loaded

NO_VIDEO = "no video: "
KEYS = ["variant", "fraction", "draw", "seed"]
OPTIMISER = ("lr", "optimiser", "momentum", "weight_decay")


# ---- variants


def by_name(names, shared):
    """{title: (method, settings)}: each method with those of the `shared` settings that it knows.

    A method that brings an optimiser or a learning rate of its own keeps all that belongs to it. `shared[name]`, where
    there is one, holds settings of that method alone; `epochs` stands for steps, see `compare_variants`.
    """
    every = {key for name in methods.names() for key in methods.get(name).settings()}
    for key in shared:
        choose("setting of a comparison", key, [*sorted(every), "epochs", *methods.names()])
    variants = {}
    for name in names:
        method = methods.get(name)
        own = {key for key in OPTIMISER if key in method.SETTINGS}
        keeps = OPTIMISER if own & {"lr", "optimiser"} else own
        known = {*method.settings(), *(["epochs"] if method.gradient else [])}.difference(keeps)
        small = {k: v for k, v in shared.get(name, {}).items() if k in method.small}
        title = method.title + "".join(f", {k} {v}" for k, v in small.items())
        variants[title] = name, {k: v for k, v in shared.items() if k in known} | dict(shared.get(name, {}))
    return variants


def contestants(data, block, names, shared, root=None):
    """(variants, {method: why it is left out}): guesses without video, methods, S4AQA, and AA, its labels-only network.

    No names: all methods that have on the data set what they need. What is named must be possible.
    """
    dataset, _ = first_part(data, block, root)
    fit, unfit = (names, {}) if names else suitable(methods.names(), dataset, shared)
    variants = no_video(dataset, shared.get("how", "stratified"))
    variants |= by_name([name for name in fit if name != "s4aqa"], shared)
    if "rankup" in fit:
        variants["RankUp + its RDA"] = ("rankup", {**variants["RankUp"][1], "align_ranks": True})
    if {"s4l", "ridge"} <= set(fit):  # what S4L is given, without its network
        variants["ridge, turned views"] = ("ridge", {**variants["ridge"][1], "modality": "turned"})
    variants |= by_name(["s4aqa"], shared)
    variants["AA"] = ("s4aqa", {**variants["S4AQA"][1], "recover": False, "align": False})
    return variants, unfit


def no_video(data, how="stratified"):
    """The guesses without video that a data set has what they need for, as variants."""
    names = [name for name in blind.applicable(data) if name != "training mean"]
    return {NO_VIDEO + name: (NO_VIDEO + name, {"how": how}) for name in names}


def guesses(data, blocks, how="stratified", root=None):
    """The guesses without video of a comparison's data set, as variants."""
    dataset, _ = first_part(data, next(iter(blocks.values())), root)
    return no_video(dataset, how)


def suitable(names, data, shared):
    """([name], {name: why not}): the methods that can be trained on a data set, and the others."""
    fit, unfit = [], {}
    for name in names:
        method = methods.get(name)
        ((_, settings),) = by_name([name], shared).values()
        try:
            fits(method, method.resolve(without_epochs(settings)), data)
            fit.append(name)
        except UserError as error:
            unfit[name] = str(error)
    return fit, unfit


def fits(method, settings, data):
    """A UserError where a method cannot be trained on a data set: segments, attributes, words or views are missing."""
    method.check(settings, data)
    method.targets(data)
    for view in method.views(settings):
        data.view(view)


def without_epochs(settings):
    """What the method itself knows of a variant's settings."""
    return {k: v for k, v in settings.items() if k != "epochs"}


# ---- blocks and their parts


def parts_of(data, block, root=None):
    """[(options, {part: value})] of a block: every combination of the values of its parts."""
    for key in block:
        choose("key of a block:", key, ("split", "options", "parts", "fractions"))
    options = {k: v for k, v in data.items() if k != "name"} | (block.get("options") or {})
    parts = dict(block.get("parts") or {})
    for key, values in parts.items():
        if not (isinstance(values, list) and values) and (key, values) != ("fold", "all"):
            raise UserError(f"a block's part {key!r} takes a list of values, or fold: all, but got {values!r}")
    walks = [[(k, v) for v in values] for k, values in parts.items() if values != "all"]
    found = [dict(values) for values in product(*walks)]
    if parts.get("fold") == "all":
        found = [{**part, "fold": fold} for part in found for fold in _folds(data["name"], options | part, root)]
    return [(options | part, part) for part in found]


def _folds(name, options, root):
    """Every fold with a scored item, of the protocol that the options name."""
    protocol = data_sets.resolve(name, options).get("protocol")
    every = folds.every(loaded(name, root, **options), protocol)
    return [split.name.removeprefix(f"{protocol}-") for split in every]


def first_part(data, block, root=None):
    """(data set, split) of a block's first part: what all parts are like."""
    options, _ = parts_of(data, block, root)[0]
    dataset = loaded(data["name"], root, **options)
    return dataset, splits.get(block.get("split", "official"))(dataset)


# ---- the comparison


def compare_variants(study, data, variants, blocks, fractions, draws=10, *, root=None, rule="last", **train):
    """A row a (block, variant, fraction, draw, seed): `spearman` over the block's parts, the parts' numbers.

    draws: how many label draws, each with the seed of its number, or a list of pairs (draw, seed). rule: which
    evaluation of a run counts (evaluation.selection). A variant's setting `epochs` gives its steps as passes over the
    unlabelled videos of each part. Column `undefined` counts parts whose correlation is undefined; where it is in all
    folds of a task, the row has no number. Nor has it one where a run `failed`.
    """
    choose("rule", rule, RULES)
    pairs = [(d, d) for d in range(draws)] if isinstance(draws, int) else [tuple(pair) for pair in draws]
    tables = []
    for name, block in blocks.items():
        rows = []
        for options, part in parts_of(data, block, root):
            world, split = {**options, "name": data["name"]}, block.get("split", "official")
            cells = list(product(variants, block.get("fractions") or fractions, pairs))
            values = of_part(study, world, split, variants, cells, root, rule, train)
            group = ", ".join(str(v) for k, v in part.items() if k != "fold")
            rows += [(v, f, *pair, group, *value) for (v, f, pair), value in zip(cells, values, strict=True)]
        columns = [*KEYS, "group", "spearman", "failed"]
        tables.append(averaged(pd.DataFrame(rows, columns=columns)).assign(block=name))
    found = pd.concat(tables, ignore_index=True)
    return found[["block", *found.columns.drop("block")]]


def of_part(study, world, split, variants, cells, root, rule, train):
    """(rank correlation, whether the run failed) of every cell (variant, fraction, (draw, seed)), in their order."""
    options = {k: v for k, v in world.items() if k != "name"}
    dataset = loaded(world["name"], root, **options)
    parted = splits.get(split)(dataset)
    values, asked = [None] * len(cells), {}
    for place, (name, fraction, (draw, seed)) in enumerate(cells):
        method, settings = variants[name]
        run = {**settings, "fraction": fraction, "draw": draw, "seed": seed}
        if method.startswith(NO_VIDEO):
            values[place] = guess(method.removeprefix(NO_VIDEO), dataset, parted, run), False
        else:
            asked.setdefault(method, {})[place] = in_steps(run, dataset, parted)
    for method, runs in asked.items():  # one call a method: stacks as large as shapes allow
        table = study.train(method, world, split, list(runs.values()), root=root, **train)
        for place, (_, row) in zip(runs, table.iterrows(), strict=True):
            values[place] = (np.nan, True) if row["state"] != "complete" else (reported(study, row, rule), False)
    return values


def guess(name, dataset, split, run):
    """Rank correlation of a guess without video from the labels that a run would have."""
    rows = blind.over_draws(name, dataset, split, run["fraction"], [run["draw"]], run.get("how", "stratified"))
    return float(spearman_rows(rows, dataset.scores[split.test])[0])


def reported(study, row, rule):
    """What a rule reports of a run; of a closed-form method, which has one evaluation, that one."""
    if rule == "last":
        return row["spearman"]
    curve = study.read(row["id"]).curve
    return RULES["last" if len(curve) == 1 else rule](curve).value


def in_steps(run, dataset, split):
    """A run whose `epochs`, passes over the unlabelled videos in its batches (of 32, if not given), are steps."""
    if "epochs" not in run:
        return run
    labelled = splits.label_draw(dataset, run["fraction"], run["draw"], run.get("how", "stratified"), split)
    passes = -(-max(1, len(split.train) - len(labelled)) // run.get("batch", 32))
    return without_epochs(run) | {"steps": run["epochs"] * passes}


def averaged(rows):
    """Rows of parts as one row a run: folds averaged arithmetically, then groups (tasks) through Fisher's z."""
    run = rows.groupby(KEYS, sort=False)
    groups = list(dict.fromkeys(rows["group"]))
    over_folds = rows.groupby([*KEYS, "group"], sort=False)["spearman"].mean().unstack("group")[groups]  # NaN: left out
    counts = run["failed"].agg(parts="size", failed="sum")
    counts["undefined"] = rows["spearman"].isna().groupby([rows[k] for k in KEYS], sort=False).sum() - counts["failed"]
    over_folds = over_folds.loc[counts.index]
    if len(groups) == 1:
        rho = over_folds[groups[0]]
    else:
        rho = np.tanh(np.arctanh(over_folds.clip(-CLIP, CLIP)).mean(axis=1, skipna=False))
    table = counts.assign(spearman=rho.where(counts["failed"] == 0))
    table = table.join(over_folds) if len(groups) > 1 else table
    order = ["spearman", *(groups if len(groups) > 1 else []), "parts", "undefined", "failed"]
    return table[order].reset_index()


# ---- before anything runs


def check(given):
    """A UserError where the parameters of a notebook with `blocks` cannot be; looks at each block's first part."""
    root = given.get("root") or None
    data = {**(given.get("options") or {}), "name": given["data"]}
    data_sets.reader(given["data"])
    names = [n for n in given.get("methods", []) if choose("method", n, methods.names())]
    shared = {k: v for k, v in given.items() if k in ("steps", "lr")} | (given.get("settings") or {})
    wanted = by_name(dict.fromkeys([*names, "s4aqa"]), shared)
    choose("rule", given.get("rule", "last"), RULES)
    if not given["blocks"] or not all(isinstance(block, dict) for block in given["blocks"].values()):
        raise UserError("blocks takes a mapping such as {official: {split: official}, leak-free: {split: leak_free}}")
    for name, block in given["blocks"].items():
        try:
            dataset, split = first_part(data, block, root)
        except UserError as error:
            raise UserError(f"block {name!r}: {error}, or leave the block out") from None
        for method, settings in wanted.values():
            method, settings = methods.get(method), methods.get(method).resolve(without_epochs(settings))
            if dataset.features is not None:
                fits(method, settings, dataset)
        for fraction in block.get("fractions") or given.get("fractions", [0.1]):
            splits.label_draw(dataset, fraction, 0, "stratified", split)
