"""The table of a comparison (comparison.py), beside what was published, and what it says in words.

    found = averaged(compare_variants(...))
    result = summary(found, "AA", figures_published("ablation", "mtl_aqa"))     # published/tables.py
    shows(result)                                     # tables.py: what the draws can show, said before the answer
    sentence(result, "AA+MSFR", "AA")                 # words.py

Published numbers stand beside the blocks whose protocol they were measured in (parts.py).
"""

import numpy as np
import pandas as pd

from aqa_lib.evaluation.metrics import LESS
from aqa_lib.kinds import TABLE, table, takes
from aqa_lib.published.tables import PRACTICE, plain
from aqa_lib.study.comparison import RUN
from aqa_lib.study.items import COLUMNS as BEHIND
from aqa_lib.study.tables import compare
from aqa_lib.study.words import BEATS, NONE, SAME, WORDS, WORSE, is_control, listed, sentence, weakest

ALSO = {"difference": "less", "difference low": "low, less", "difference high": "high, less",
        "p (Holm)": "p (Holm), less", "verdict": "verdict, less", "why": "why, less"}  # fmt: skip
# columns of `averaged` beside the parts
NOT_PARTS = ("data", "block", "published", "measure", *RUN, "value", "parts", "undefined", "failed", "states", *BEHIND)


@takes(found=table("block", "variant", "value"))
def differences(found, pairs):
    """Rows of differences: pairs {name: (variant, other)}, the numbers of the one less those of the other."""
    index = ["block", "published", "fraction", "draw", "seed"]
    values = ["value", *(c for c in found if c not in NOT_PARTS)]
    tables = []
    for name, (one, other) in pairs.items():
        a, b = (found[found["variant"] == v].set_index(index) for v in (one, other))
        counts = a[["parts"]].join(a[["undefined", "failed"]] + b[["undefined", "failed"]])
        table = (a[values] - b[values]).join(counts).assign(variant=name)
        if "states" in found:
            beside = b["states"].reindex(a.index, fill_value="")
            table["states"] = [weakest(*both) for both in zip(a["states"], beside, strict=True)]
        if "measure" in found:
            table["measure"] = LESS + a["measure"]
        if set(BEHIND) <= set(found):
            again = zip(a["resampled"], b["resampled"].reindex(a.index), strict=True)
            again = [None if x is None or y is None or x is np.nan or y is np.nan else x - y for x, y in again]
            table = table.assign(items=a["items"], worlds=a["worlds"], resampled=again)
        tables.append(table.reset_index())
    return pd.concat(tables, ignore_index=True)


@takes(found=table("block", "variant", "value"))
def summary(found, baseline, beside=None, rule="last", also=None):
    """A row a (block, fraction, variant): what `compare` gives, with the difference from `baseline` and what it says,
    `published` where there is such a number for the block's protocol, and the mean of each part.

    beside: what `figures_published` gives. also: a second variant, or several, from which every other's difference
    stands in columns of its own. Differences are paired draw by draw; p is corrected within each block and
    fraction.
    """
    also = [also] if isinstance(also, str) else list(also or [])
    groups = [c for c in found if c not in NOT_PARTS]
    beside, tables = beside or {}, []
    for (block, fraction), rows in found.groupby(["block", "fraction"], sort=False):
        table = compare(rows, "variant", baseline, "value")
        for second in also:
            if second != baseline:
                other = compare(rows, "variant", second, "value")
                for column, name in ALSO.items():
                    table[f"{name} {second}"] = other[column]
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
    if "mechanism" in table:
        table["mechanism"] = table["mechanism"].fillna("")
    spare = [c for c in table if c == "published" or c.endswith(", published")]
    table = table.drop(columns=[c for c in spare if table[c].isna().all()])
    table = table.drop(columns=[c for c in ("undefined", "failed") if not table[c].any()])
    return table[["block", "fraction", "variant", *table.columns.drop(["block", "fraction", "variant"])]]


def practice(data, rule):
    """A sentence on the rule by which a table counts, and that of published tables on the data set."""
    counts = {"last": "each run counts at its last evaluation"}.get(rule, f"each run counts by the rule {rule}")
    return f"{counts[0].upper()}{counts[1:]}" + (f"; {PRACTICE[data]}." if data in PRACTICE else ".")


def told(table, variant, baseline):
    """The sentence on a variant and the table's baseline, without its full stop."""
    return sentence(table, variant, baseline).removesuffix(".")


def joined(*sentences):
    """As many of these sentences, in their order, as have at most 25 words together."""
    rest = "The rest stands in the table."
    if len(" ".join(sentences).split()) <= WORDS:
        return " ".join(sentences)
    kept = list(sentences[:1])
    for text in sentences[1:]:
        kept += [text] if len(" ".join([*kept, text, rest]).split()) <= WORDS else []
    return " ".join([*kept, *([rest] if len(" ".join([*kept, rest]).split()) <= WORDS else [])])


@takes(table=TABLE)
def standing(table, baseline, blind=(), close=""):
    """A sentence, without numbers: who beats the baseline in all blocks and shares of labels, or in part of them.

    table: of `summary`, or of effects.with_controls where that is the table shown, so that both have one family.
    blind: the variants that see no video (variants.guessed), of which the best verdict is said. Controls are not named.
    close: a clause for the end (effects.over_controls).
    """
    table = table[table["verdict"].notna()]  # without its foot
    table = table[[not is_control(table.loc[[i]]) for i in table.index]]
    words = table[table["variant"] != baseline].groupby("variant", sort=False)["verdict"].agg(list)
    if all(word == NONE for said in words for word in said):
        return f"Nothing can be compared with {baseline}."
    seen = words[~words.index.isin(blind)]
    above = [name for name, said in seen.items() if set(said) == {BEATS}]
    partly = [name for name, said in seen.items() if BEATS in said and name not in above]
    guessed = {word for said in words[words.index.isin(blind)] for word in said}
    ends = {BEATS: "beats it", SAME: "cannot be told from it", WORSE: "does not reach it"}
    end = next((text for word, text in ends.items() if word in guessed), "is undefined here")
    end = f"; guessing without video {end}"
    for named in (True, False):
        first, second = (listed(n) if named or len(n) == 1 else "several methods" * bool(n) for n in (above, partly))
        verb = "beats" if len(above or partly) == 1 else "beat"
        text = f"{first or second or 'nothing'} {verb if above or partly else 'beats'} {baseline}"
        text += f", {second} in part" if above and partly else " in part" if partly else ""
        text += end if guessed else ""
        text += f"; {close}" if close else ""
        if len(text.split()) <= WORDS:
            break
    return f"{text[0].upper()}{text[1:]}."
