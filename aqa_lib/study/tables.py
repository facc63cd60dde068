"""Tables from runs: means with their intervals, and paired differences from a baseline, in numbers and words."""

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import holm, mean_interval, paired_interval

PAIR = ("draw", "seed")  # two runs that agree in these are a pair
COLUMNS = ["n", "mean", "sd", "low", "high", "pairs", "difference", "difference low", "difference high", "p (Holm)"]


def compare(table, by, baseline, metric="spearman", pair=PAIR):
    """A row a value of column `by`: n, mean, sd and 95 % interval of the metric, and its paired difference
    from `baseline` with interval and Holm-corrected Wilcoxon p.

    Runs that failed have no metric: n counts those that are left, and column `pairs`, there where it differs from n,
    the pairs that are.
    """
    choose("column", by, list(table.columns))
    choose(f"value of {by}", baseline, list(table[by].unique()))
    if metric not in table:
        raise UserError(f"no run of this table is complete, so there is no {metric} to compare: see column reason")
    if table.duplicated([by, *pair]).any():
        raise UserError(f"runs of one {by} share {' and '.join(pair)}: more than {by} differs between them")
    wide = table.pivot(index=list(pair), columns=by, values=metric)
    nothing = dict.fromkeys(COLUMNS, np.nan)
    rows = {}
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
                row |= {"difference": d.mean, "difference low": d.low, "difference high": d.high, "p (Holm)": d.p}
        rows[name] = row
    result = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis(by)
    tested = result["p (Holm)"].notna()
    if tested.any():
        result.loc[tested, "p (Holm)"] = holm(result.loc[tested, "p (Holm)"])
    return result.drop(columns="pairs") if (result["pairs"].dropna() == result["n"].drop(baseline)).all() else result


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


def in_words(name, row, baseline):
    """A sentence on one row of `compare` that follows from its numbers, also where the answer is no."""
    pairs = int(row.get("pairs", row["n"]))
    if pairs == 0:
        return f"{name} cannot be compared with {baseline}: no draw has a complete run of both"
    difference = number(row["difference"], sign=True)
    if pairs == 1:
        return f"{name} differs from {baseline} by {difference}, one pair and so no interval"
    low, high = (number(row[f"difference {side}"], sign=True) for side in ("low", "high"))
    interval = f"{difference} [{low}, {high}], n = {pairs}"
    if row["difference low"] > 0:
        return f"{name} beats {baseline} ({interval})"
    if row["difference high"] < 0:
        return f"{name} is worse than {baseline} ({interval})"
    return f"{name} cannot be told from {baseline} ({interval})"


def label_runs(tables):
    """Tables of several methods or variants under one another, each named in column `variant`."""
    return pd.concat([t.assign(variant=name) for name, t in tables.items()], ignore_index=True)
