"""How right a variant is in each test group (subject, surgeon), and intervals over label draws and groups.

    each = by_group(Study("explore"), {"name": "ui_prmd"}, variants, blocks, fractions=[0.1], draws=4)
    over_groups(each, {"AA less ridge": ("AA", "ridge")})

Recordings of one subject resemble one another, so those of ten subjects are ten observations, not two thousand. The
interval resamples label draws and groups, crossed (evaluation/bootstrap.py): it says how far the difference would move
with other labels, other initialisations and other subjects of the same kind. Groups that share a fold are scored by the
same trained networks, which it does not know of.
"""

import numpy as np
import pandas as pd

from aqa_lib import kinds, methods
from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import Interval, holm, paired_interval, pairwise_accuracy, two_level_bootstrap
from aqa_lib.evaluation.statistics import equal
from aqa_lib.kinds import mapping, table, takes
from aqa_lib.study.comparison import run_of
from aqa_lib.study.effects import ENDING
from aqa_lib.study.parts import parts_of, replicates
from aqa_lib.study.tables import halves
from aqa_lib.study.words import WORDS, clause, judged, places, shown, states

CELL = ["block", "fraction"]


@takes(variants=kinds.variants)
def by_group(study, data, variants, blocks, fractions, draws, root=None):
    """A row a (block, fraction, variant, draw, group): the pairwise accuracy of the group's test pairs, as `value`, and
    `items`, how many test items these pairs hold.

    The mean over the levels of the set's `within`, and over the parts of a block; NaN where a run failed. Each run
    counts at its last evaluation; `run` and `states` are its name and those of its mechanisms, joined over parts.
    Runs that `compare_variants` has trained are read.
    """
    rows = []
    parts = parts_of(data, blocks, root)
    pairs_of = replicates(draws, parts)
    for part in parts:
        pairs = tested(part)
        for title, (name, settings) in variants.items():
            asked = [(f, d) for f in part.fractions or fractions for d, _ in pairs_of]
            runs = [run_of(methods.get(name), settings, f, (d, d), part) for f, d in asked]
            worlds = [part.replicate(d) for _, d in asked]
            table = study.train(name, worlds, part.split, runs, root=root)
            for (f, d), (_, run) in zip(asked, table.iterrows(), strict=True):
                found = dict.fromkeys(np.unique(part.data.groups[pairs[:, 0]]), np.nan)
                if run["state"] == "complete":
                    found = accuracies(part.data, pairs, last(study.read(run["id"]), part.data))
                of = part.block, f, title, d
                held = sizes(part.data, pairs)
                rows += [(*of, group, value, held[group], run["id"], states(run)) for group, value in found.items()]
    table = pd.DataFrame(rows, columns=[*CELL, "variant", "draw", "group", "value", "items", "run", "states"])
    together = table.groupby([*CELL, "variant", "draw", "group"], sort=False)
    mean = lambda values: values.mean(skipna=False)  # noqa: E731
    joined = {name: (name, "; ".join) for name in ("run", "states")}
    return together.agg(value=("value", mean), items=("items", "sum"), **joined).reset_index()


def sizes(data, pairs):
    """{group: how many items its pairs [P, 2] hold}."""
    groups, counts = np.unique(data.groups[np.unique(pairs)], return_counts=True)
    return dict(zip(groups, counts, strict=True))


def tested(part):
    """The pairs [P, 2] of two test items of one group."""
    data = part.data
    if data.pairs is None or data.groups is None:
        raise UserError(f"{part}: the data set needs pairs and groups for an accuracy a group: take ui_prmd or jigsaws")
    inside = np.isin(data.pairs, part.items.test).all(axis=1)
    a, b = data.groups[data.pairs[inside]].T
    return data.pairs[inside][a == b]


def last(record, data):
    """The scores [N] of a run's last evaluation, NaN where an item was not tested."""
    said = record.predictions.set_index("id")
    column = [c for c in said if c.startswith("step_")][-1]
    return said[column].reindex(data.ids).to_numpy(dtype=float)


def accuracies(data, pairs, scores):
    """{group: pairwise accuracy} of scores [N] on pairs [P, 2] of the same group, the mean over levels of `within`."""
    table = pd.DataFrame({"group": data.groups[pairs[:, 0]], "level": data.levels()[pairs[:, 0]]})
    each = [
        (g, pairwise_accuracy(scores, pairs[at])) for (g, _), at in table.groupby(["group", "level"]).indices.items()
    ]
    return pd.DataFrame(each, columns=["group", "value"]).groupby("group")["value"].mean().to_dict()


@takes(each=table(*CELL, "variant", "draw", "group", "value"), differences=mapping)
def over_groups(each, differences, level=0.95, resamples=2000):
    """A row a (block, fraction, difference): its mean with the two-level interval over label draws and groups.

    each: of `by_group`. differences: {name: (variant, other)}. p is that of the paired t test over groups, each the
    mean over its draws, corrected after Holm over all rows; halves are those of the groups in their order. The verdict
    needs all three, as elsewhere (words.py). A draw in which one of the runs failed is left out.
    """
    if not differences:
        raise UserError("over_groups: there is no difference to tell of: name two variants, or two blocks, to compare")
    rows = []
    for (block, fraction), part in each.groupby(CELL, sort=False):
        for name, (one, other) in differences.items():
            two = [part[part["variant"] == choose("variant", v, list(part["variant"].unique()))] for v in (one, other)]
            a, b = (table.pivot(index="draw", columns="group", values="value") for table in two)
            row = {
                "block": block,
                "fraction": fraction,
                "difference of": name,
                "mechanism": shown(two[0].drop_duplicates("run")),
            }
            row |= {"first": a.stack().mean(), "second": b.stack().mean()}
            row |= difference((a - b).dropna(), level, resamples)
            if "items" in part:
                row["test items"] = int(part.groupby("group")["items"].max().sum())
            rows.append(row)
    table = pd.DataFrame(rows)
    table["p (Holm)"] = holm(table["p (Holm)"])
    table["verdict"], table["why"] = zip(*(judged(row) for _, row in table.iterrows()), strict=True)
    return table


def difference(gap, level=0.95, resamples=2000):
    """What a table says of differences gap, a row a label draw and a column a group; p before Holm's correction."""
    found, by_group = Interval(*[np.nan] * 3), gap.mean()
    p, parts = np.nan, {"half 1": np.nan, "half 2": np.nan}
    if len(gap) and equal(gap.to_numpy()):
        found = found._replace(mean=float(gap.to_numpy().mean()))  # nothing differs: there is no interval, and no p
        parts |= halves(by_group)
    elif len(gap):
        how = dict(statistic=mean_of_rows, level=level, resamples=resamples)
        found = two_level_bootstrap(gap.to_numpy(), np.zeros(gap.shape[1]), **how)
        p, parts = paired_interval(by_group, 0 * by_group, level).p_t, parts | halves(by_group)
    row = {"draws": len(gap), "groups": gap.shape[1], "difference": found.mean, "difference low": found.low}
    return row | {"difference high": found.high, "p (Holm)": p, **parts}


def mean_of_rows(values, _):
    return values.mean(axis=1)


def told(table, differences):
    """A sentence of at most 25 words, without numbers, on the differences of `over_groups`: who beats whom."""
    for named in (True, False):
        clauses = []
        for name, (one, other) in differences.items():
            said = places(table[table["difference of"] == name])
            other = "its control" if other == f"{one}{ENDING}" else other
            clauses.append(f"{one} {clause(other, 1, said, named)}")
        text = "; ".join(clauses) + "."
        if len(text.split()) <= WORDS:
            return text
    return "Which differences hold over draws and groups stands in the table."
