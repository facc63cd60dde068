"""The table of a comparison (comparison.py), beside what was published, and what it says in words.

    found = averaged(compare_variants(...))
    result = summary(found, "AA", figures_published("ablation", "mtl_aqa"))     # published/tables.py
    told(result, "AA+MSFR", "AA")

Published numbers stand beside the blocks whose protocol they were measured in (parts.py).
"""

import numpy as np
import pandas as pd

from aqa_lib.published.tables import PRACTICE, plain
from aqa_lib.study.comparison import RUN
from aqa_lib.study.tables import compare, number

# columns of `averaged` beside the parts
NOT_PARTS = ("data", "block", "published", *RUN, "value", "parts", "undefined", "failed")


def differences(found, pairs):
    """Rows of differences: pairs {name: (variant, other)}, the numbers of the one less those of the other."""
    index = ["block", "published", "fraction", "draw", "seed"]
    values = ["value", *(c for c in found if c not in NOT_PARTS)]
    tables = []
    for name, (one, other) in pairs.items():
        a, b = (found[found["variant"] == v].set_index(index) for v in (one, other))
        counts = a[["parts"]].join(a[["undefined", "failed"]] + b[["undefined", "failed"]])
        tables.append((a[values] - b[values]).join(counts).assign(variant=name).reset_index())
    return pd.concat(tables, ignore_index=True)


def summary(found, baseline, beside=None, rule="last", also=None):
    """A row a (block, fraction, variant): n, mean, sd, interval, the difference from `baseline` with its interval
    and Holm-corrected p, `published` where there is such a number for the block's protocol, and the mean of each part.

    beside: what `figures_published` gives. also: a second variant, from which every other's difference
    stands in columns of its own. Differences are paired draw by draw; p is corrected within each block and
    fraction.
    """
    groups = [c for c in found if c not in NOT_PARTS]
    beside, tables = beside or {}, []
    for (block, fraction), rows in found.groupby(["block", "fraction"], sort=False):
        table = compare(rows, "variant", baseline, "value")
        if also is not None and also != baseline:
            second = compare(rows, "variant", also, "value")
            for column, name in (("difference", "less"), ("difference low", "low, less"),
                                 ("difference high", "high, less"), ("p (Holm)", "p (Holm), less")):  # fmt: skip
                table[f"{name} {also}"] = second[column]
        theirs = {v: beside.get((v, fraction), {}) if rows["published"].all() else {} for v in table.index}
        table["published"] = [theirs[v].get("", np.nan) for v in table.index]
        for group in groups:
            table[group] = rows.groupby("variant", sort=False)[group].mean()
            table[f"{group}, published"] = [theirs[v].get(plain(group), np.nan) for v in table.index]
        table["undefined"] = rows.groupby("variant")["undefined"].sum()
        table["failed"] = rows.groupby("variant")["failed"].sum()
        table.insert(0, "rule", rule)
        tables.append(table.reset_index().assign(block=block, fraction=fraction))
    table = pd.concat(tables, ignore_index=True).round(6)  # the spread of equal numbers is 0, not 1e-17
    spare = [c for c in table if c == "published" or c.endswith(", published")]
    table = table.drop(columns=[c for c in spare if table[c].isna().all()])
    table = table.drop(columns=[c for c in ("undefined", "failed") if not table[c].any()])
    return table[["block", "fraction", "variant", *table.columns.drop(["block", "fraction", "variant"])]]


def practice(data, rule):
    """A sentence on the rule by which a table counts, and that of published tables on the data set."""
    counts = {"last": "each run counts at its last evaluation"}.get(rule, f"each run counts by the rule {rule}")
    return f"{counts[0].upper()}{counts[1:]}" + (f"; {PRACTICE[data]}." if data in PRACTICE else ".")


def told(table, variant, baseline):
    """In which blocks and at which shares of labels a variant beats the table's baseline, is worse, or neither."""
    cells = {}
    for _, row in table[table["variant"] == variant].iterrows():
        where, (said, numbers) = f"{row['block']}, {row['fraction']:.0%} of labels", verdict(row)
        cells.setdefault(said, []).append(f"{where}: {numbers}")
    return ", and ".join(f"{variant} {said} {baseline} ({'; '.join(found)})" for said, found in cells.items())


def verdict(row, level=0.05):
    """(words, numbers) of a row's difference from the baseline.

    It beats or is worse where the interval lies beside zero and Holm's p below `level`, leads or trails where the
    interval alone does, and cannot be told from it where the interval holds zero.
    """
    difference, low, high = (row[f"difference{side}"] for side in ("", " low", " high"))
    numbers = [number(v, sign=True) for v in (difference, low, high)]
    if np.isnan(difference):
        return "cannot be compared with", "no draw has a number for both"
    if np.isnan(low):
        return "cannot be told from", f"{numbers[0]}, one pair"
    numbers = "{} [{}, {}]".format(*numbers)
    if low <= 0 <= high:
        return "cannot be told from", numbers
    if row["p (Holm)"] < level:
        return ("beats" if low > 0 else "is worse than"), numbers
    return ("leads" if low > 0 else "trails"), f"{numbers}, but p = {number(row['p (Holm)'])} after Holm"


def standing(table, baseline, blind=(), level=0.05):
    """A sentence for each block and fraction: who is best, where the baseline stands, who differs from it.

    blind: the variants that see no video (variants.guessed), of which the best is named. Who differs is said by
    Holm's p below `level`. Variants without a number are not in the order.
    """
    sentences = []
    for (block, fraction), rows in table.dropna(subset="mean").groupby(["block", "fraction"], sort=False):
        order = rows.sort_values("mean", ascending=False).set_index("variant")
        if baseline not in order.index:
            sentences.append(f"With {fraction:.0%} of the labels ({block}) {baseline} has no complete run.")
            continue
        sure = order[order["p (Holm)"] < level]
        above, below = (list(sure.index[side]) for side in (sure["difference"] > 0, sure["difference"] < 0))
        text = f"With {fraction:.0%} of the labels ({block}) {order.index[0]} is first with "
        text += f"{number(order['mean'].iloc[0])}"
        text += f", {baseline} has place {order.index.get_loc(baseline) + 1} of {len(order)} with "
        text += f"{number(order['mean'][baseline])}; "
        text += f"better than it: {', '.join(above) or 'none'}; worse: {', '.join(below) or 'none'} (p < {level:g})"
        guesses = order[order.index.isin(blind)]
        if len(guesses):
            side = "above" if guesses["mean"].iloc[0] > order["mean"][baseline] else "below"
            name = str(guesses.index[0]).split(": ")[-1]  # "no video: group mean"
            text += f"; the best guess without video ({name}) lies {side} it with "
            text += number(guesses["mean"].iloc[0])
        tests, draws = rows["p (Holm)"].notna().sum(), int(rows["n"].max())
        if tests * 2.0 ** (1 - draws) >= level:  # the least p of a signed-rank test, times the number of tests
            text += f"; {draws} draws cannot show any of {tests} differences at that level"
        sentences.append(f"{text}.")
    return " ".join(sentences)
