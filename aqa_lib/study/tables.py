"""Tables from runs: means with their intervals, and paired differences from a baseline; their words are in words.py."""

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import detectable_difference, holm, mean_interval, paired_interval
from aqa_lib.kinds import TABLE, by_name, some, table, takes, word
from aqa_lib.study.words import LEVEL, shown, verdicts

PAIR = ("draw", "seed")  # two runs that agree in these are a pair
COLUMNS = ["n", "mean", "sd", "low", "high", "pairs", "difference", "difference low", "difference high", "p (Holm)",
           "half 1", "half 2", "detectable"]  # fmt: skip


@takes(table=TABLE, by=word, metric=word)
def compare(table, by, baseline, metric="spearman", pair=PAIR):
    """A row a value of column `by`: n, mean, sd and 95 % interval of the metric, and its paired difference
    from `baseline` with interval, Holm-corrected p, its means in the first and the second half of the pairs, and what
    that says (words.verdict), and why not more.

    The test is the paired t test: a signed-rank test of n pairs has no p below 2^(1-n), which Holm's correction for
    eight comparisons lets none of six pairs pass. Halves are those of the pairs in their order, from 4 pairs on.
    `detectable` is the difference that so many pairs show with chance .8 at the first step of Holm's correction.
    Runs that failed have no metric: n counts those that are left, and column `pairs`, there where it differs from n,
    the pairs that are. `mechanism`, there where runs have one, says in how many it was off.
    """
    choose("column", by, list(table.columns))
    choose(f"value of {by}", baseline, list(table[by].unique()))
    if metric not in table:
        raise UserError(f"no run of this table is complete, so there is no {metric} to compare: see column reason")
    if table.duplicated([by, *pair]).any():
        raise UserError(f"runs of one {by} share {' and '.join(pair)}: more than {by} differs between them")
    wide = table.pivot(index=list(pair), columns=by, values=metric)
    nothing = dict.fromkeys(COLUMNS, np.nan)
    rows, spread = {}, {}
    for name in table[by].unique():
        values = wide[name].dropna()
        row = nothing | {"n": len(values)}
        if len(values):
            row |= mean_interval(values)._asdict() | {"sd": values.std(ddof=1)}
        if name != baseline:
            both = wide[[name, baseline]].dropna()
            row["pairs"] = len(both)
            if len(both):
                d = paired_interval(both[name], both[baseline])
                row |= {"difference": d.mean, "difference low": d.low, "difference high": d.high, "p (Holm)": d.p_t}
                row |= halves(both[name] - both[baseline])
                spread[name] = (both[name] - both[baseline]).std(ddof=1)
        rows[name] = row
    result = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis(by)
    tested = result["p (Holm)"].notna()
    if tested.any():
        result.loc[tested, "p (Holm)"] = holm(result.loc[tested, "p (Holm)"])
    for name, sd in spread.items():
        if sd > 0:  # not of one pair, nor of runs that do not differ
            pairs = int(result.loc[name, "pairs"])
            result.loc[name, "detectable"] = detectable_difference(sd, pairs, alpha=LEVEL / tested.sum())
    result["mechanism"] = [shown(table[table[by] == name]) for name in result.index]
    result["verdict"], result["why"] = zip(*verdicts(result, baseline), strict=True)
    spare = {"pairs": (result["pairs"].dropna() == result["n"].drop(baseline)).all(),
             "mechanism": not result["mechanism"].any()}  # fmt: skip
    return result.drop(columns=[column for column, is_so in spare.items() if is_so])


def halves(differences):
    """The mean difference in the first and in the second half of the pairs; NaN of fewer than 4."""
    n = len(differences)
    first, second = differences[: n // 2], differences[n // 2 :]
    return {"half 1": first.mean(), "half 2": second.mean()} if n >= 4 else {}


@takes(table=table("detectable"))
def shows(table):
    """What a table of `compare` or `summary` can show, for the line before its answer."""
    found = table[table["detectable"].notna()]
    if found.empty:
        return "These runs can show no difference: there are fewer than two different pairs."
    pairs = found["pairs"].fillna(found["n"]) if "pairs" in found else found["n"]
    size, n = span(found["detectable"], number), span(pairs, "{:.0f}".format)
    return f"With {n} pairs a difference of {size} is found with a chance of 80 %."


def span(values, text):
    """The least and the most of some values, or the one where both are the same."""
    return " to ".join(dict.fromkeys([text(min(values)), text(max(values))]))


def number(value, digits=3, sign=False):
    """0.1234 as .123, the way correlations are printed."""
    if value is None or not np.isfinite(value):
        return "undefined"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def between(interval):
    """A mean with its interval in brackets."""
    mean, low, high = interval
    return f"{number(mean)} [{number(low)}, {number(high)}]"


@takes(tables=some(by_name(TABLE), "tables"))
def label_runs(tables):
    """Tables of several methods or variants under one another, each named in column `variant`."""
    return pd.concat([t.assign(variant=name) for name, t in tables.items()], ignore_index=True)
