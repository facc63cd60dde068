"""Tables from runs: means with their intervals, and paired differences from a baseline; their words are in words.py."""

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import bounds, crossed, detectable_difference, holm
from aqa_lib.kinds import TABLE, by_name, some, table, takes, word
from aqa_lib.study.words import BASELINE, LEVEL, SAME, WORDS, WORSE, listed, shown, verdicts

PAIR = ("draw", "seed")  # two runs that agree in these are a pair
COLUMNS = ["n", "mean", "sd", "low", "high", "pairs", "difference", "difference low", "difference high", "p (Holm)",
           "half 1", "half 2", "detectable", "test items", "interval over"]  # fmt: skip
ITEMS, OVER = COLUMNS[-2:]


@takes(table=TABLE, by=word, metric=word)
def compare(table, by, baseline, metric="spearman", pair=PAIR):
    """A row a value of column `by`: n, mean, sd and 95 % interval of the metric, and its paired difference
    from `baseline` with interval, Holm-corrected p, its means in the first and the second half of the pairs, and what
    that says (words.verdict), and why not more.

    The test is the paired t test: a signed-rank test of n pairs has no p below 2^(1-n), which Holm's correction for
    eight comparisons lets none of six pairs pass. Intervals and p are over pairs and, where the table holds what runs
    measure on resamples of the test items that all share (items.py), over these as well; `interval over` says what that
    of the mean covers, or after "-" why there is none; `test items` how many scored ones there are, of all worlds
    together. An interval keeps to the bounds of the metric, or of what column `measure` says the values are.
    Halves are those of the pairs in their order, from 4 pairs on.
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
    nothing = dict.fromkeys(COLUMNS, np.nan)
    rows, found = {}, {}
    for name in table[by].unique():
        mine = table[(table[by] == name) & table[metric].notna()]
        row = nothing | {"n": len(mine), OVER: "-"}
        if len(mine):
            row |= mean(mine, metric) | {"sd": mine[metric].std(ddof=1)}
        if name != baseline:
            found[name] = paired(table, by, name, baseline, metric, pair)
            row |= {column: found[name][column] for column in COLUMNS if column in found[name]}
            row |= {"p (Holm)": found[name]["p"]}
        rows[name] = row
    result = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis(by)
    tested = result["p (Holm)"].notna()
    if tested.any():
        result.loc[tested, "p (Holm)"] = holm(result.loc[tested, "p (Holm)"])
    for name, row in found.items():
        result.loc[name, "detectable"] = detectable(row, tested.sum())
    result["mechanism"] = [shown(table[table[by] == name]) for name in result.index]
    result["verdict"], result["why"] = zip(*verdicts(result, baseline), strict=True)
    spare = {"pairs": (result["pairs"].dropna() == result["n"].drop(baseline)).all(),
             ITEMS: result[ITEMS].isna().all(), "mechanism": not result["mechanism"].any()}  # fmt: skip
    return result.drop(columns=[column for column, is_so in spare.items() if is_so])


def mean(rows, metric):
    """Of the runs of one variant that have the metric: mean, low, high, test items, interval over."""
    own = "worlds" in rows and bool(rows["worlds"].any())
    items = int(rows["items"].sum() if own else rows["items"].max()) if "items" in rows else np.nan
    again = list(rows["resampled"]) if "resampled" in rows else [None]
    again = None if any(each is None for each in again) else again
    found = crossed(rows[metric], again, 0 if again is None else items, limits=limits(rows, metric))
    unit = "world" if own else "draw"
    covered = [{"draws": f"{unit}s", "items": "test items"}[what] for what in found.over]
    why = f"- (one {unit})" if len(rows) == 1 else f"- ({unit}s do not differ)"
    return {"mean": found.mean, "low": found.low, "high": found.high, ITEMS: items,
            OVER: " and ".join(covered) or why}  # fmt: skip


def limits(rows, metric):
    """The bounds of a column: of the measure that column `measure` names, else of one of the column's own name."""
    named = rows["measure"].iloc[0] if "measure" in rows else metric
    return bounds(str(named))


def paired(table, by, one, other, metric="value", pair=PAIR):
    """The paired difference of two values of column `by`: pairs, difference, difference low and high, p, halves, error,
    freedom and the most that it can be; NaN where there is no pair."""
    a, b = (table[(table[by] == name) & table[metric].notna()].set_index(list(pair)) for name in (one, other))
    a, b = (side.sort_index() for side in (a, b))
    both = a.index.intersection(b.index)
    row = {
        "pairs": len(both),
        **dict.fromkeys(["difference", "p", "error", "freedom", "half 1", "half 2", "most"], np.nan),
    }
    row |= {"difference low": np.nan, "difference high": np.nan}
    if not len(both):
        return row
    a, b = a.loc[both], b.loc[both]
    gap, (low, high) = a[metric] - b[metric], limits(a, metric)
    row["most"] = high - low
    again, items = None, 0
    if "resampled" in table and not any(each is None for each in [*a["resampled"], *b["resampled"]]):
        again = [x - y for x, y in zip(a["resampled"], b["resampled"], strict=True)]
        items = int(a["items"].max())
    found = crossed(gap, again, items, limits=(low - high, high - low))
    row |= {"difference": found.mean, "difference low": found.low, "difference high": found.high}
    return row | {"p": found.p, "error": found.error, "freedom": found.freedom, **halves(gap)}


def detectable(row, tests):
    """The difference that is found with chance .8 at the first of Holm's steps, of a row of `paired`.

    NaN where there is none, or none as large between the bounds of the measure.
    """
    if not (row["pairs"] > 1 and row["error"] > 0):  # not of one pair, nor of runs that do not differ
        return np.nan
    n = row["pairs"]
    least = detectable_difference(row["error"] * n**0.5, n, alpha=LEVEL / tests, freedom=row["freedom"])
    return least if least <= row["most"] else np.nan


def halves(differences):
    """The mean difference in the first and in the second half of the pairs; NaN of fewer than 4."""
    n = len(differences)
    first, second = differences[: n // 2], differences[n // 2 :]
    return {"half 1": first.mean(), "half 2": second.mean()} if n >= 4 else {}


def first(table, by="variant", metric="spearman", pair=PAIR):
    """(The value of column `by` with the largest mean, those that it does not beat): it is first where there are none.

    Each of the others is compared with it, after Holm's correction for all of them.
    """
    choose("column", by, list(table.columns))
    means = table.groupby(by, sort=False)[choose("measure", metric, list(table.columns))].mean()
    if means.isna().all():
        return None, list(means.index)
    best = means.idxmax()
    found = compare(table, by, best, metric, pair)
    return best, list(found.index[~found["verdict"].isin([WORSE, BASELINE])])


def ranking(table, by="variant", metric="spearman", pair=PAIR):
    """A sentence of at most 25 words, without numbers: who is first, or that nobody is shown to be."""
    best, rest = first(table, by, metric, pair)
    if best is None or table[by].nunique() < 2:
        return "There are no two to compare."
    if not rest:
        return f"{best} is first."
    for others in (listed(map(str, rest)), "several others"):
        text = f"None is shown to be first: {best} {SAME} {others}."
        if len(text.split()) <= WORDS:
            break
    return text


@takes(table=table("detectable"))
def shows(table):
    """What a table of `compare` or `summary` can show, for the line before its answer."""
    found = table[table["detectable"].notna()]
    if found.empty:
        return "These runs can show no difference: they have fewer than two different pairs, or too few for any."
    pairs = found["pairs"].fillna(found["n"]) if "pairs" in found else found["n"]
    size, n = span(found["detectable"], number), span(pairs, "{:.0f}".format)
    items = f" on {span(found[ITEMS].dropna(), '{:.0f}'.format)} test items" if ITEMS in found else ""
    return f"With {n} pairs{items} a difference of {size} is found with a chance of 80 %."


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
