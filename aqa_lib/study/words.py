"""The words of tables and answers: who beats whom, whether a mechanism was on, and sentences without numbers.

    table = compare(runs, "variant", "AA")                       # tables.py; or summary(...), over blocks
    table["verdict"]                                             # made by `verdict`, and by nothing else
    sentence(table, "AA+MSFR", "AA")                             # "AA+MSFR beats AA."

A variant beats another where the interval of the paired difference lies above zero, its p is below `LEVEL` after Holm,
and both halves of the pairs have the sign. Interval and p are over replicates and, where these share their test items,
over the items as well (tables.py); without an interval nothing can be told. Who is first is said of a variant that
beats every other one. A mechanism is a loss beside the regression: each run records its state as NAME_state, and a
comparison keeps those of a run as text, "recovery:on alignment:off".
"""

from collections import Counter
from itertools import zip_longest

import numpy as np

from aqa_lib.errors import choose

LEVEL = 0.05
WORDS = 25  # an answer has no more
BEATS, WORSE, SAME, NONE = "beats", "is worse than", "cannot be told from", "cannot be compared with"
NO_SPREAD = "draws do not differ"  # there is no interval, and nothing to judge a difference by
BASELINE = "baseline"  # stands for the verdict in the baseline's own row
ENDING = "_state"
STATES = ("collapsed", "off", "unseen", "weak", "on")  # from the worst; unseen: of a method that declares no mechanism
MARK = "OFF: "  # what the mechanism of a row begins with whose every mechanism was off
PARTLY = "PARTLY OFF: "  # some of them; the row still speaks of the others
ITS_OWN, THE_OTHERS = "mechanism off", "mechanism of the baseline off"


# ---- verdicts


def verdict(row, baseline=None):
    """What a row's difference from the baseline says: beats, is worse than, cannot be told from, or compared with.

    row: of `compare` or `summary`. baseline: the baseline's row of the same table, whose mechanism counts as well.
    """
    return judged(row, baseline)[0]


def judged(row, baseline=None):
    """(verdict, why): why nothing can be told, "" where something can."""
    for of, why in ((row, ITS_OWN), (baseline, THE_OTHERS)):
        if of is not None and str(of.get("mechanism", "")).startswith(MARK):
            return NONE, why
    low, high, halves = row["difference low"], row["difference high"], (row["half 1"], row["half 2"])
    if np.isnan(row["difference"]):
        return NONE, "no pair"
    if np.isnan(halves).any():
        return SAME, "fewer than 4 pairs"
    if np.isnan(low):
        return SAME, NO_SPREAD
    if low <= 0 <= high:
        return SAME, "interval holds zero"
    if not row["p (Holm)"] < LEVEL:
        return SAME, "not after Holm"
    if not np.all(np.sign(halves) == np.sign(low)):
        return SAME, "halves differ"
    return (BEATS if low > 0 else WORSE), ""


def verdicts(table, baseline):
    """A list of (verdict, why), one a row of `compare`."""
    return [(BASELINE, "") if name == baseline else judged(row, table.loc[baseline]) for name, row in table.iterrows()]


# ---- mechanisms


def states(run):
    """The states of a run's mechanisms as text, "recovery:on alignment:off"; "" where it has none."""
    found = {name.removesuffix(ENDING): run[name] for name in run.index if str(name).endswith(ENDING)}
    return " ".join(f"{name}:{state}" for name, state in found.items() if state in STATES)


def weakest(one, other):
    """The states of a pair, run by run: of each mechanism the worse of the two."""
    pairs = []
    for a, b in zip_longest(one.split(";"), other.split(";"), fillvalue=""):
        a, b = _read(a), _read(b)
        worst = {n: min(a.get(n, "on"), b.get(n, "on"), key=STATES.index) for n in a | b}
        pairs.append(" ".join(f"{name}:{state}" for name, state in worst.items()))
    return "; ".join(pairs)


def mechanism(rows):
    """In how many runs of one variant each mechanism was not on: "recovery off in 3 of 12; alignment on".

    rows: a row a run with columns NAME_state, or of a comparison with column `states`. "" where no run has a state.
    """
    if is_control(rows):
        return "control"
    texts = []
    for name, found in _counts(rows).items():
        n, seen = found.total(), [state for state in STATES if found[state]]
        parts = [f"{state} in {found[state]} of {n}" for state in seen if state != "on"]
        texts.append(f"{name} {seen[0] if len(seen) == 1 else ', '.join(parts)}")
    return "; ".join(texts)


def marked(rows):
    """Whether a mechanism was off or collapsed in any of ten runs or fewer, or in more than a tenth of more."""
    return any(_off(rows))


def _off(rows):
    """[whether it is marked] of every mechanism of these runs."""
    if is_control(rows):
        return []
    off = [(found["off"] + found["collapsed"], found.total()) for found in _counts(rows).values()]
    return [k > (n / 10 if n > 10 else 0) for k, n in off]


def is_control(rows):
    """Whether these are runs of a control, whose mechanism has nothing to learn from."""
    said = "control" in rows and rows["control"].eq(True).all()
    titles = rows["variant"].astype(str) if "variant" in rows else [""]
    return bool(said or all("control" in title.split(", ")[1:] for title in titles))  # "S4AQA, control, segments 8"


def shown(rows):
    """What a table shows of the mechanisms of one variant, with the mark."""
    off = _off(rows)
    return ((MARK if all(off) else PARTLY) if any(off) else "") + mechanism(rows)


def _counts(rows):
    texts = rows["states"] if "states" in rows else [states(run) for _, run in rows.iterrows()]
    counts = {}
    for text in texts:
        for run in str(text).split(";"):
            for name, state in _read(run).items():
                counts.setdefault(name, Counter())[state] += 1
    return counts


def _read(run):
    return dict(pair.split(":") for pair in run.split() if ":" in pair)  # a table put together may hold NaN


# ---- sentences


def sentence(table, name, others):
    """A sentence of at most 25 words, without numbers: whom of `others` a variant beats.

    table: of `compare`, or of `summary`, whose baseline and `also` the others are. Where blocks or shares of labels
    differ, the rarer verdict names its own. Of a mechanism that was off nothing is said but that.
    """
    rows = table if "variant" in table else table.rename_axis("variant").reset_index()
    others = [others] if isinstance(others, str) else list(others)
    columns = verdict_columns(rows)
    mine = rows[rows["variant"] == choose("variant of this table", name, list(rows["variant"].unique()))]
    own, left, off, partly = mine.get("mechanism", mine["why"]).str.startswith(MARK), {}, [], []
    if own.all():
        return f"{name}'s mechanism was off, so nothing follows for it."
    for other in others:
        column = columns[choose("baseline of this table", other, list(columns))]
        alive = mine[column.replace("verdict", "why", 1)] != THE_OTHERS
        if not (~own & alive).any():
            off.append(other)
            continue
        left.setdefault(tuple(places(mine[~own & alive], column).items()), []).append(other)
        partly += [other] if not alive[~own].all() else []
    if not left:
        return f"The mechanism of {listed(off)} was off, so nothing follows for {name}."
    ends = ["; elsewhere its mechanism was off"] if own.any() else []
    ends += [f"; elsewhere the mechanism of {listed(partly)} was off"] if partly else []
    ends += [f"; the mechanism of {listed(off)} was off"] if off else []
    for named in (True, False):
        clauses = [clause(listed(names), len(names), dict(said), named) for said, names in left.items()]
        text = f"{name} {' and '.join(clauses)}{''.join(ends)}."
        if len(text.split()) <= WORDS:
            return text
    return f"What {name} beats stands in the table."


def verdict_columns(rows):
    """{a variant that others are compared with: the column with the verdicts on it}."""
    baselines = {name: "verdict" for name in rows.loc[rows["verdict"] == BASELINE, "variant"]}
    start = "verdict, less "
    return {c.removeprefix(start): c for c in rows if str(c).startswith(start)} | baselines


def places(rows, column="verdict"):
    """{(block, share of labels), or those of both that matter, or (): verdict}."""
    cells = [(row.get("block", ""), row.get("fraction", ""), row[column]) for _, row in rows.iterrows()]
    for axes in ((), (0,), (1,), (0, 1)):
        found = {}
        for cell in cells:
            found.setdefault(tuple(cell[i] for i in axes), set()).add(cell[2])
        if all(len(words) == 1 for words in found.values()):
            break
    return {place: words.pop() for place, words in found.items()}


def clause(names, count, said, named=True):
    """beats AA; or where places differ: beats AA (official), elsewhere cannot be told from it."""
    words = list(said.values())
    most = max(dict.fromkeys(words), key=lambda word: (words.count(word), word == SAME))
    parts, it = [], "it" if count == 1 else "them"
    for word in dict.fromkeys(words):
        if word != most:
            where = "; ".join(label(place) for place, other in said.items() if other == word)
            parts.append(f"{word} {it if parts else names} ({where if named else 'in part'})")
    return ", ".join([*parts, f"elsewhere {most} {it}"]) if parts else f"{most} {names}"


def label(place):
    return ", ".join(part if isinstance(part, str) else f"{part:.0%} of labels" for part in place)


def listed(names):
    """A, B and C; A and B and C where a name has a comma of its own."""
    names = list(names)
    if any("," in name for name in names):
        return " and ".join(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
