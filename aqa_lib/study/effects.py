"""What a method gains, beside its control: the mechanism apart from a second task and the number of steps.

    method less baseline  =  (method less control)  +  (control less baseline)
    the gain                 the mechanism             a second task, and the variant's own number of steps

The control of a variant learns as much from another video's target (methods' setting `exchange`), so there is nothing
to learn in it of the video at hand; what it gains, a regulariser gains, or the variant's own number of steps where
that is not the baseline's. Method and control take the same steps.

    variants |= controls(variants)                     # "AA+MSFR, control" beside "AA+MSFR"
    effects(averaged(compare_variants(...)), "AA")     # three rows a variant, with intervals and verdicts
    credited(effects(...), "AA", {"AA+MSFR": "recovery"})      # "Recovery beats AA and its control."
"""

import numpy as np
import pandas as pd

from aqa_lib import kinds, methods
from aqa_lib.errors import choose
from aqa_lib.evaluation import holm
from aqa_lib.kinds import TABLE, table, takes
from aqa_lib.study import words
from aqa_lib.study.tables import ITEMS, detectable, mean, paired
from aqa_lib.study.variants import resolved
from aqa_lib.study.words import BASELINE, BEATS, MARK, SAME, WORDS, WORSE, clause, judged, listed, places, shown

ENDING = ", control"
GAIN, MECHANISM, TASK = "gain", "mechanism", "second task"
KEY = ["block", "fraction", "variant"]
FAMILY = ("p (Holm)", "detectable", "verdict", "why")  # what depends on the rows that Holm's correction counts
EFFECTS = GAIN, MECHANISM, TASK


@takes(variants=kinds.variants)
def controls(variants, of=None):
    """{title + ", control": variant} of those variants that learn from unlabelled videos; `of`: of these titles."""
    found = {}
    for title, (name, settings) in variants.items():
        method = methods.get(name)
        if method.control and method.mechanisms(resolved(name, settings)) and (of is None or title in of):
            found[f"{title}{ENDING}"] = name, {**settings, **method.control}
    return found


@takes(found=table(*KEY, "value"))
def effects(found, baseline):
    """A row a (block, fraction, variant with a control, effect): difference with its interval, Holm's p, and verdict.

    found: what comparison.averaged gives. baseline: a title, or {title: its own baseline}, in column `baseline`. p is
    corrected over all rows of an effect, blocks and shares of labels together. Of a variant whose mechanism was off no
    verdict is given on it.
    """
    rows, beside = [], baseline if isinstance(baseline, dict) else {}
    for (block, fraction), part in found.groupby(["block", "fraction"], sort=False):
        titles = [t for t in part["variant"].unique() if f"{t}{ENDING}" in set(part["variant"])]
        rows += [{"block": block, "fraction": fraction, **_row(part, title, effect, beside.get(title, baseline))}
                 for title in titles for effect in EFFECTS]  # fmt: skip
    for effect in EFFECTS:
        table = [row for row in rows if row["effect"] == effect]
        for row, p in zip(table, holm([row["p"] for row in table]), strict=True):
            row["p (Holm)"], row["detectable"] = p, detectable(row, len(table))
            row["verdict"], row["why"] = judged(row)
    columns = ["block", "fraction", "variant", "baseline", "effect", "n", "difference", "difference low",
               "difference high", "p (Holm)", "half 1", "half 2", "detectable", ITEMS, "mechanism", "verdict",
               "why"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.drop(columns=ITEMS) if table[ITEMS].isna().all() else table


def _row(part, title, effect, baseline):
    """One paired difference as `compare` makes it, its p before Holm's correction."""
    one, other = {GAIN: (title, baseline), MECHANISM: (title, f"{title}{ENDING}"),
                  TASK: (f"{title}{ENDING}", baseline)}[effect]  # fmt: skip
    mine = part[(part["variant"] == one) & part["value"].notna()]
    found = {"variant": title, "baseline": baseline, "effect": effect, **paired(part, "variant", one, other)}
    found |= {"n": found["pairs"], ITEMS: mean(mine, "value")[ITEMS] if len(mine) else np.nan}
    return found | {"mechanism": shown(part[part["variant"] == title])}


@takes(table=TABLE, effects=TABLE)
def with_controls(table, effects, off=None):
    """A summary with its variants' differences from their controls; `off`: what `apart` set aside, at its foot.

    One family a difference: a variant's difference from a baseline that is its gain in `effects` as well has p (Holm),
    detectable, verdict and why of its gain, corrected over all gains, so that no sentence from `effects` contradicts
    the table. The other rows keep those of `summary`, corrected over all variants of their block and share of labels.
    """
    names = {"difference": "less its control", "difference low": "low, less its control",
             "difference high": "high, less its control", "p (Holm)": "p (Holm), less its control",
             "verdict": "verdict, less its control"}  # fmt: skip
    effects = effects.assign(fraction=effects["fraction"].round(6))  # as a summary has it
    mine = effects[effects["effect"] == MECHANISM].rename(columns=names)
    table, keys = table.merge(mine[[*KEY, *names.values()]], on=KEY, how="left"), pd.MultiIndex.from_frame(table[KEY])
    for baseline, verdict in words.verdict_columns(table).items():
        gains = effects[(effects["effect"] == GAIN) & (effects["baseline"] == baseline)].set_index(KEY)
        known = keys.isin(gains.index)
        for name in FAMILY:
            column = verdict.replace("verdict", name, 1)
            if column in table and known.any():
                table.loc[known, column] = gains.loc[keys[known], name].to_numpy()
    table = table.round(6)
    return table if off is None or off.empty else pd.concat([table, off], ignore_index=True)


def apart(table):
    """(The rows of variants of which something can be said, one row each of those whose mechanism was off everywhere).

    The controls of the latter are in neither.
    """
    if "mechanism" not in table:
        return table, table.iloc[:0]
    off = table["mechanism"].str.startswith(MARK) & (table["verdict"] != BASELINE)
    off = off.groupby(table["variant"]).transform("all")
    titles = list(table.loc[off, "variant"].unique())
    left = table[~off & ~table["variant"].isin([f"{title}{ENDING}" for title in titles])]
    return left, table.loc[off, ["variant", "n", "mechanism"]].drop_duplicates("variant")


# ---- sentences


def credited(table, baseline, names):
    """A sentence of at most 25 words, without numbers: what variants gain on the baseline, and on their controls.

    names: {title: what the sentence calls it}. Variants of which the same is to be said share a clause.
    """
    if not names:
        return "No variant has a control, so no gain is credited."
    for named in (True, False):
        clauses = {}
        for title, name in names.items():
            said = fate(table[table["variant"] == choose("variant of this table", title, list(table["variant"]))])
            clauses.setdefault(said, []).append(name)
        text = "; ".join(spoken(who, said, baseline, named) for said, who in clauses.items())
        if len(text.split()) <= WORDS:
            return f"{text[0].upper()}{text[1:]}."
    alive, many = rows_on(table[table["variant"].isin(names)]), len(names) > 1
    gain, mechanism = (set(alive.loc[alive["effect"] == effect, "verdict"]) for effect in (GAIN, MECHANISM))
    who, own = ("The variants", "their controls") if many else (next(iter(names.values())), "its control")
    text = f"{who} {tally(gain, baseline, many)}; {'they' if many else 'it'} {tally(mechanism, own, many)}"
    return f"{text[0].upper()}{text[1:]}."


def tally(said, other, many=False):
    """What a set of verdicts says together: "beats AA in part and is worse than AA in part", or "... everywhere"."""
    verbs = {BEATS: "beat", WORSE: "are worse than"} if many else {BEATS: BEATS, WORSE: WORSE}
    if len(said) < 2:
        return f"{verbs.get(*said, *said)} {other} everywhere" if said else f"cannot be compared with {other}"
    told = [f"{verb} {other} in part" for word, verb in verbs.items() if word in said]
    told += [f"nowhere {verbs[BEATS]} {'them' if many and other[0] == 't' else 'it'}"] * (BEATS not in said)
    return " and ".join(told)


def rows_on(rows):
    """Those whose mechanism was on."""
    return rows[~rows["mechanism"].str.startswith(MARK)]


def fate(rows):
    """(gain, mechanism, whether it was off elsewhere) of one variant, the first two each ((place, verdict), ...) where
    its mechanism was on; () if nowhere."""
    on = rows_on(rows)
    told = (tuple(places(on[on["effect"] == effect]).items()) for effect in (GAIN, MECHANISM))
    return (*told, len(on) < len(rows)) if len(on) else ()


def spoken(who, said, baseline, named=True):
    """A clause: S4AQA beats AA and its control."""
    if not said:
        return f"the mechanism of {listed(who)} was off"
    gain, mechanism, elsewhere = dict(said[0]), dict(said[1]), said[2]
    own = "its control" if len(who) == 1 else "their controls"
    if gain == mechanism:
        joined = f"{baseline} {'or' if set(gain.values()) == {SAME} else 'and'} {own}"
        text = clause(joined, 2, gain, named)
    else:
        first, second = clause(baseline, 1, gain, named), clause(own, len(who), mechanism, named)
        text = f"{first}{',' * (',' in first)} {'but' if set(gain.values()) == {BEATS} else 'and'} {second}"
    if len(who) > 1:
        text = text.replace("beats ", "beat ").replace("is worse", "are worse")
    return f"{listed(who)} {text}{' (elsewhere off)' * elsewhere}"


@takes(table=TABLE)
def over_controls(table):
    """A clause without numbers: which variants beat their controls, everywhere or in part; "" where none has one."""
    rows = table[(table["effect"] == MECHANISM) & ~table["mechanism"].str.startswith(MARK)]
    told = rows.groupby("variant", sort=False)["verdict"].agg(set)
    above = [title for title, said in told.items() if said == {BEATS}]
    partly = [title for title, said in told.items() if BEATS in said and title not in above]
    if len(told) == 1 and not partly:
        return f"{told.index[0]} {'beats' if above else 'does not beat'} its control"
    parts = [f"{listed(n)}{end}" for n, end in ((above, ""), (partly, " in part")) if n] or ["none"] * bool(len(told))
    if len(" ".join(parts).split()) > WORDS // 3:
        parts = ["some"]
    return f"over {'their controls' if len(told) > 1 else 'its control'}: {', '.join(parts)}" if parts else ""
