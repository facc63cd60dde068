"""Tables from runs: means with their intervals, and paired differences from a baseline, in numbers and words."""

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import holm, mean_interval, paired_interval

PAIR = ("draw", "seed")  # two runs that agree in these are a pair


def compare(table, by, baseline, metric="spearman", pair=PAIR):
    """A row a value of column `by`: n, mean, sd and 95 % interval of the metric, and its paired difference
    from `baseline` with interval and Holm-corrected Wilcoxon p.

    Runs that failed have no metric; a pair with one of them is left out, and n says how many are left.
    """
    choose("column", by, list(table.columns))
    choose(f"value of {by}", baseline, list(table[by].unique()))
    if metric not in table:
        raise UserError(f"no run of this table is complete, so there is no {metric} to compare: see column reason")
    if table.duplicated([by, *pair]).any():
        raise UserError(f"runs of one {by} share {' and '.join(pair)}: more than {by} differs between them")
    wide = table.pivot(index=list(pair), columns=by, values=metric)
    rows = {}
    for name in table[by].unique():
        values = wide[name].dropna()
        row = {"n": len(values), "mean": np.nan, "sd": np.nan, "low": np.nan, "high": np.nan}
        if len(values):
            row |= mean_interval(values)._asdict() | {"sd": values.std(ddof=1)}
        if name != baseline:
            both = wide[[name, baseline]].dropna()
            if len(both):
                d = paired_interval(both[name], both[baseline])
                row |= {"difference": d.mean, "difference low": d.low, "difference high": d.high, "p": d.p}
        rows[name] = row
    result = pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)
    tested = result["p"].notna() if "p" in result else pd.Series(False, index=result.index)
    if tested.any():
        result.loc[tested, "p"] = holm(result.loc[tested, "p"])
    return result.rename(columns={"p": "p (Holm)"})


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
    interval = f"{number(row['difference'], sign=True)} [{number(row['difference low'], sign=True)}, "
    interval += f"{number(row['difference high'], sign=True)}], n = {int(row['n'])}"
    if not np.isfinite(row["difference low"]):
        return f"{name} differs from {baseline} by {number(row['difference'], sign=True)}, one pair and so no interval"
    if row["difference low"] > 0:
        return f"{name} beats {baseline} ({interval})"
    if row["difference high"] < 0:
        return f"{name} is worse than {baseline} ({interval})"
    return f"{name} cannot be told from {baseline} ({interval})"


def label_runs(tables):
    """Tables of several methods or variants under one another, each named in column `variant`."""
    return pd.concat([t.assign(variant=name) for name, t in tables.items()], ignore_index=True)
