"""A comparison: several variants over blocks and parts of a data set, on the same label draws and seeds.

    blocks = {"official": {"split": "official"}, "leak-free": {"split": "leak_free"}}
    variants = by_name(["s4aqa", "ridge"], {"steps": 250})
    runs = compare_variants(Study("explore"), {"name": "surrogate"}, variants, blocks, fractions=[0.1], draws=10)
    found = averaged(runs)

Variants are those of variants.py, blocks those of parts.py. `compare_variants` gives a long table, a row a run, part
and measure, with the test items behind it (items.py); `averaged` one number a run: folds arithmetically, other parts by
the rule of the measure (tasks.average), as published. In a block with `pool` the folds of a part are one row, measured
on their joined predictions. The table of a comparison and its words are in summary.py.
"""

from itertools import cycle, product

import numpy as np
import pandas as pd

from aqa_lib import methods, tasks
from aqa_lib.errors import choose
from aqa_lib.evaluation.selection import RULES, Selected, common, over_folds
from aqa_lib.kinds import mapping, table, takes
from aqa_lib.study import items
from aqa_lib.study.parts import parts_of, replicates
from aqa_lib.study.time import announce
from aqa_lib.study.variants import by_name, check_labels, check_methods, chosen, invited, without_epochs
from aqa_lib.study.words import states

COLUMNS = ["data", "block", "published", "part", "split", "variant", "fraction", "draw", "seed", "measure", "value",
           "failed", "states", *items.COLUMNS]  # fmt: skip
RUN = ["variant", "fraction", "draw", "seed"]


def compare_variants(study, data, variants, blocks, fractions, draws=10, *, root=None, rule="last", measures=(),
                     **train):  # fmt: skip
    """The long table: data, block, published, part, split, variant, fraction, draw, seed, measure, value, failed,
    states (of the run's mechanisms, words.states), and the test items behind a value: items, worlds, resampled.

    draws: how many label draws, each with the seed of its number, or a list of pairs (draw, seed). rule: which
    evaluation of a run counts (evaluation.selection), picked on the curve averaged over the folds of a part. measures:
    what to look at besides the measure that tables of this data set compare. A variant's setting `epochs` gives its
    steps as passes over the unlabelled videos of each part.
    Every part is looked at before anything is trained; all runs of a method are asked for at once, so that folds, tasks
    and worlds train in one stack. A value is NaN where it is undefined, or its run `failed`.
    """
    choose("rule", rule, RULES)
    parts = parts_of(data, blocks, root)
    check_methods(variants, parts)
    check_labels(variants, parts, fractions)
    measures = list(dict.fromkeys([compared(variants, parts), *measures]))
    pairs = replicates(draws, parts)
    cells = [(p, *cell) for p in parts for cell in product(variants, p.fractions or fractions, pairs)]
    asked, wanted, ended = {}, {}, [None] * len(cells)
    for place, (_, title, _, _) in enumerate(cells):
        asked.setdefault(variants[title][0], []).append(place)
    for name, places in asked.items():
        runs = [
            run_of(methods.get(name), variants[title][1], *rest, p) for p, title, *rest in (cells[i] for i in places)
        ]
        on = [(p, pairs.index(pair)) for p, _, _, pair in (cells[i] for i in places)]
        wanted[name] = [p.replicate(number) for p, number in on], [p.split for p, _ in on], runs
    announce(study, wanted, root, **train)
    for name, places in asked.items():
        table = study.train(name, *wanted[name], root=root, **train)
        for place, (_, row) in zip(places, table.iterrows(), strict=True):
            ended[place] = row
    folds, rows, behind = {}, [], {m: [] for m in measures}  # the folds of a part, with one variant, share of labels,
    for (p, *of), row in zip(cells, ended, strict=True):  # draw and seed, belong together
        folds.setdefault((p.block, p.name, *map(repr, of)), []).append((p, of, row))
    for group in folds.values():
        ps, ofs, runs = zip(*group, strict=True)
        p, (title, fraction, pair), alive = ps[0], ofs[0], [states(run) for run in runs]
        if p.pool:
            one = " + ".join(part.split for part in ps), "; ".join(alive) if any(alive) else ""
            values = [(*one, ps, runs, pooled(study, ps, runs, rule, measures))]
        else:
            several = zip(ps, runs, alive, reported(study, runs, rule, measures), strict=True)
            values = [(part.split, state, (part,), (run,), found) for part, run, state, found in several]
        for split, state, those, ran, found in values:
            of = p.world["name"], p.block, p.published, p.name, split, title, fraction, *pair
            for measure, (value, failed, steps) in zip(measures, found, strict=True):
                rows.append((*of, measure, value, failed, state))
                behind[measure].append(items.Cell(those, ran, steps, pair))
    behind = {m: items.behind(study, each, m) for m, each in behind.items()}
    rows = [(*row, *behind[m][i]) for i, row, m in zip(np.arange(len(rows)) // len(measures), rows, cycle(measures))]
    return pd.DataFrame(rows, columns=COLUMNS)


def compared(variants, parts):
    """The measure that the table compares: that of the data set, else that of what the first variant learns from."""
    return parts[0].data.measure or tasks.get(methods.get(next(iter(variants.values()))[0]).task).measure


def reported(study, runs, rule, measures):
    """A list a run of [(value, whether it failed, steps of each run)]: the folds of a part by a rule on their mean
    curve; steps: the evaluations that it takes, () for the last.

    One evaluation alone, as in closed form, is the last. Runs that failed leave the choice to the others.
    """
    complete = [run for run in runs if run["state"] == "complete"]
    values = {}
    for measure in measures:
        if rule == "last":
            for run in complete:
                choose(f"measure of method {run['method']}:", measure, list(run.index))
            picked = [Selected(run[measure], ()) for run in complete]
        else:
            picked = over_folds([study.read(run["id"]).curve for run in complete], rule, measure)
        values |= {(run["id"], measure): s for run, s in zip(complete, picked, strict=True)}
    nothing = Selected(np.nan, ())
    found = [[(values.get((run["id"], m), nothing), run["state"] != "complete") for m in measures] for run in runs]
    return [[(s.value, failed, (s.steps,)) for s, failed in row] for row in found]


def pooled(study, parts, runs, rule, measures):
    """[(value, whether a run failed, steps of each run)]: the predictions of all folds of a part joined, each of its
    own run, measured.

    The rule looks at the curve of the joined predictions, beside the mean of what was held out for validation.
    """
    if any(run["state"] != "complete" for run in runs):
        return [(np.nan, True, ((),) * len(runs))] * len(measures)
    records, data = [study.read(run["id"]) for run in runs], parts[0].data
    tested = np.concatenate([part.items.test for part in parts])

    def joined(steps):
        tables = [record.predictions.set_index("id") for record in records]
        columns = [t[f"step_{s}"].loc[data.ids[p.items.test]] for t, s, p in zip(tables, steps, parts, strict=True)]
        return tasks.SCORES.measures(data, None, tested, {"score": np.concatenate(columns)})

    curves = [record.curve for record in records]
    if rule == "last" or all(len(curve) == 1 for curve in curves):
        found = joined([curve["step"].iloc[-1] for curve in curves])
        return [(found[choose("measure of joined predictions", m, found)], False, ((),) * len(runs)) for m in measures]
    curves = common(curves)
    curve = pd.DataFrame([{"step": step, **joined([step] * len(records))} for step in curves[0].index])
    for held in (c for c in curves[0] if c.startswith("validation")):
        curve[held] = np.mean([c[held] for c in curves], axis=0)
    picked = [RULES[rule](curve, measure) for measure in measures]
    return [(s.value, False, (s.steps,) * len(runs)) for s in picked]


def run_of(method, settings, fraction, pair, part):
    """A run's settings; `epochs`, passes over the unlabelled videos in its batches, are steps."""
    run = chosen(method, {**settings, "fraction": fraction, "draw": pair[0], "seed": pair[1]})
    if "epochs" not in run:
        return run
    full = method.resolve(without_epochs(run))
    labels = tasks.get(method.task).labels(part.data, part.items, full)
    passes = -(-max(1, len(labels.unlabelled)) // full["batch"])
    return without_epochs(run) | {"steps": run["epochs"] * passes}


@takes(runs=table("data", "block", "published", "part", *RUN, "measure", "value", "failed", "states"))
def averaged(runs, measure=None):
    """A row a (data, block, run): `value` over its parts, each part's own where there are several, and their numbers.

    Folds are averaged arithmetically, then parts by the measure's own rule. Column `undefined` counts values that are
    not defined; where one is in all folds of a part, the row has no number. Nor has it one where a run `failed`.
    `states` holds those of all its runs, `items` how many scored test items are behind it, `resampled` what it would be
    on resamples of them.
    measure: by default the one that the table compares.
    """
    measure = runs["measure"].iloc[0] if measure is None else choose("measure", measure, list(runs["measure"].unique()))
    runs = runs[runs["measure"] == measure]
    tables = [
        _averaged(rows, measure).assign(data=data, block=block, published=rows["published"].iloc[0], measure=measure)
        for (data, block), rows in runs.groupby(["data", "block"], sort=False)
    ]
    found = pd.concat(tables, ignore_index=True)
    first = ["data", "block", "published"]
    return found[[*first, *found.columns.drop(first)]]


def _averaged(rows, measure):
    names = list(dict.fromkeys(rows["part"]))
    over_folds = rows.groupby([*RUN, "part"], sort=False)["value"].mean().unstack("part")[names]  # NaN: left out
    counts = rows.groupby(RUN, sort=False)["failed"].agg(parts="size", failed="sum")
    counts["undefined"] = rows["value"].isna().groupby([rows[k] for k in RUN], sort=False).sum() - counts["failed"]
    counts["states"] = rows.groupby(RUN, sort=False)["states"].agg(lambda runs: "; ".join(runs) if any(runs) else "")
    over_folds = over_folds.loc[counts.index]
    value = over_folds[names[0]] if len(names) == 1 else over_folds.apply(tasks.average(measure), axis=1)
    table = counts.assign(value=value.where(counts["failed"] == 0))
    table = table.join(over_folds) if len(names) > 1 else table
    order = ["value", *(names if len(names) > 1 else []), "parts", "undefined", "failed", "states"]
    return items.joined(table[order].reset_index(), rows, RUN, tasks.average(measure))


# ---- before anything runs


@takes(given=mapping)
def check(given):
    """The parts of the blocks; a UserError where the parameters of a notebook with `blocks` cannot be on one of them.

    A notebook with `methods` leaves out what a data set does not allow; one that asks about a single `method` needs it.
    """
    shared = {k: v for k, v in given.items() if k in ("steps", "lr")} | (given.get("settings") or {})
    choose("rule", given.get("rule", "last"), RULES)
    names = [name for name in [*given.get("methods", []), given.get("method")] if name]
    if "methods" not in given:  # settings by the title of a version: the notebook, which names them, checks those
        shared = {k: v for k, v in shared.items() if not isinstance(v, dict) or k in names}
    wanted = by_name(names, shared)
    if given.get("controls"):
        every = [methods.get(name) for name in methods.names()]
        titles = {title for method in every for title in (*method.compared_as(), *method.ablation)}
        for title in given["controls"]:
            choose("title of a variant that gets a control:", title, sorted(titles))
    data = {**(given.get("options") or {}), "name": given["data"]}
    parts = parts_of(data, given["blocks"], given.get("root") or None)
    if wanted and "methods" not in given:
        check_methods(wanted, parts)
    else:
        wanted, _ = invited(parts, names if given.get("methods") else [], shared)
    check_labels(wanted, parts, given.get("fractions", [0.1]))
    replicates(given.get("draws", 1), parts)
    return parts
