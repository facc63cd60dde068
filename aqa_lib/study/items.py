"""The scored test items behind a number: how many there are, and what runs would have measured on others like them.

All draws on one data set are measured on the same test items, so an interval over draws says nothing of other items. A
comparison's table therefore holds, beside each value, what the run would have measured on resamples of its test items
(`resampled`, an array; evaluation/items.py), from the predictions that it left. Where replicates are worlds, each has
its own test items, and the spread over worlds holds theirs already: nothing is resampled.
"""

from typing import NamedTuple

import numpy as np

from aqa_lib import chance, tasks
from aqa_lib.errors import choose
from aqa_lib.evaluation.items import RESAMPLES, resampled_l2, resampled_pairwise, resampled_spearman, taken
from aqa_lib.methods import get

COLUMNS = ["items", "worlds", "resampled"]  # of a row: its scored test items, whether they are its replicate's own
RESAMPLED = ("spearman", "pairwise_accuracy", "relative_l2")  # what is measured again; others have intervals over draws


class Cell(NamedTuple):
    """A value of a comparison: that of a run, or of the joined folds of a part."""

    parts: tuple  # of study/parts.py
    runs: tuple  # a row of Study.train each
    steps: tuple  # the evaluations that the value is the mean over, of each run; () for the last
    replicate: tuple  # (draw, seed)

    @property
    def task(self):
        return tasks.get(get(self.runs[0]["method"]).task)

    @property
    def key(self):
        return self.parts[0].block, self.parts[0].name, self.task.measure, *(part.split for part in self.parts)

    @property
    def complete(self):
        return all(run["state"] == "complete" for run in self.runs)

    def items(self):
        """The test items, of joined folds one after another."""
        return np.concatenate([self.task.tested(part.data, part.items) for part in self.parts])

    def pairs(self):
        """The pairs [P,2] of data items that pairwise accuracy is measured on, those within one of the folds."""
        return np.concatenate([
            self.task.ranked(p.data, p.items, self.task.tested(p.data, p.items)) for p in self.parts
        ])  # fmt: skip


def behind(study, cells, measure):
    """[(scored test items, whether they are the replicate's own, the measure on resamples of them [B] or None)]."""
    counts, found, shared = {}, [], {}
    for number, cell in enumerate(cells):
        own = bool(cell.parts[0].worlds)
        key = (*cell.key, cell.replicate) if own else cell.key
        if key not in counts and (cell.complete or not own):
            counts[key] = scored(study, cell, measure)
        found.append((counts.get(key, 0), own, None))
        if not own and measure in RESAMPLED and cell.complete:
            shared.setdefault(cell.key, []).append(number)
    for numbers in shared.values():
        for number, values in zip(numbers, again(study, [cells[i] for i in numbers], measure), strict=True):
            found[number] = *found[number][:2], values
    return found


def scored(study, cell, measure):
    """How many test items the measure looks at."""
    data = cell.parts[0].data
    if measure == "pairwise_accuracy":
        return len(np.unique(cell.pairs()))
    if data.scores is None or np.isnan(data.scores).all():
        return len(cell.items())
    if cell.parts[0].worlds:  # only the first world is at hand
        return sum(int(study.read(run["id"]).predictions["score"].notna().sum()) for run in cell.runs)
    return int(np.isfinite(data.scores[cell.items()]).sum())


def again(study, cells, measure):
    """The measure of cells of one part on the same resamples of its test items: [cells, B]."""
    cell, said = cells[0], [predicted(study, each) for each in cells]
    data, items = cell.parts[0].data, cell.items()
    counts = taken(data.levels()[items], RESAMPLES, chance.key("test items", data.name, *map(str, cell.key)))
    rows, true = np.concatenate(said), data.scores[items]
    if measure == "pairwise_accuracy":
        place = np.full(len(data), -1)
        place[items] = np.arange(len(items))
        pairs = cell.pairs()
        values = resampled_pairwise(rows, place[pairs], data.levels()[pairs[:, 0]], counts)
    else:
        known = np.isfinite(true)
        measured = {"spearman": resampled_spearman, "relative_l2": resampled_l2}[measure]
        values = measured(rows[:, known], true[known], counts[:, known])
    ends = np.cumsum([len(each) for each in said])[:-1]
    return [each.mean(0) for each in np.split(values, ends)]


def predicted(study, cell):
    """What was predicted of the test items: a row an evaluation that the value is the mean over."""
    found = []
    for part, run, steps in zip(cell.parts, cell.runs, cell.steps, strict=True):
        table = study.read(run["id"]).predictions.set_index("id")
        names = [f"step_{step}" for step in steps] or [[c for c in table if c.startswith("step_")][-1]]
        found.append(table.loc[part.data.ids[cell.task.tested(part.data, part.items)], names].to_numpy(float).T)
    return np.concatenate(found, axis=1)


def joined(table, rows, run, average):
    """A table of runs with these columns, from the rows of their folds and parts: folds are averaged arithmetically,
    parts by `average`, as their values are."""
    if not set(COLUMNS) <= set(rows):
        return table
    found = {}
    for key, those in rows.groupby(run, sort=False):
        parts = {}
        for part, value, resampled in zip(those["part"], those["value"], those["resampled"], strict=True):
            if not np.isnan(value):  # a fold without a value is left out of the mean
                parts.setdefault(part, []).append(resampled)
        resampled = None
        if parts and not any(each is None for folds in parts.values() for each in folds):
            means = [np.mean(folds, axis=0) for folds in parts.values()]
            resampled = means[0] if len(means) == 1 else average(means, axis=0)
        found[key] = int(those["items"].sum()), bool(those["worlds"].any()), resampled
    each = [found[key] for key in table[run].itertuples(index=False, name=None)]
    return table.assign(**{name: [row[i] for row in each] for i, name in enumerate(COLUMNS)})


def with_items(study, table):
    """A table of Study.train's runs with the columns of this file, for tables that compare rank correlations.

    A run counts at its last evaluation, or at the steps in column `evaluations`. Runs that were measured on the same
    items share the resamples; runs of other items are another world, and there nothing is resampled.
    """
    choose("column", "id", list(table.columns))
    done = [i for i, (_, run) in enumerate(table.iterrows()) if run.get("state", "complete") == "complete"]
    read = {i: study.read(table["id"].iloc[i]).predictions for i in done}
    alike = {(tuple(said["id"]), tuple(said["score"])) for said in read.values()}
    items, resampled = [0] * len(table), [None] * len(table)
    for i, said in read.items():
        items[i] = int(said["score"].notna().sum())
    if len(alike) == 1:
        true = next(iter(read.values()))["score"].to_numpy(float)
        known = np.isfinite(true)
        counts = taken(np.zeros(known.sum()), RESAMPLES, chance.key("test items", *map(str, next(iter(alike))[0])))
        for i, said in read.items():
            steps = table["evaluations"].iloc[i] if "evaluations" in table else ()
            names = [f"step_{step}" for step in steps] or [[c for c in said if c.startswith("step_")][-1]]
            rows = said[names].to_numpy(float).T[:, known]
            resampled[i] = resampled_spearman(rows, true[known], counts).mean(0)
    return table.assign(items=items, worlds=len(alike) > 1, measure="spearman", resampled=resampled)


# ---- in words


def told(numbers):
    """How many scored test items stand behind a comparison's long table; "" where it does not say.

    "960 scored test items: 80 in each of 12 worlds", "353 scored test items, the same in 10 draws".
    """
    if not {"items", "worlds", "draw"} <= set(numbers):
        return ""
    numbers = numbers[numbers["measure"] == numbers["measure"].iloc[0]] if "measure" in numbers else numbers
    blocks = numbers["block"] if "block" in numbers else np.zeros(len(numbers))
    said = {str(block): _told(rows) for block, rows in numbers.groupby(blocks, sort=False)}
    texts = list(dict.fromkeys(said.values()))
    if len(texts) == 1:
        return texts[0] + " in each of the blocks" * (len(said) > 1)
    return "; ".join(f"{block}: {text}" for block, text in said.items())


def _told(rows):
    """The same of one block."""
    test_set = [c for c in ("part", "split") if c in rows]
    each = rows.groupby([*test_set, "draw"])["items"].max().groupby("draw").sum()
    n, (least, most) = len(each), (int(each.min()), int(each.max()))
    if rows["worlds"].any():
        size = str(least) if least == most else f"{least} to {most}"
        return f"{int(each.sum())} scored test items: {size} in each of {n} worlds"
    return f"{most} scored test items" + (f", the same in {n} draws" if n > 1 else ", one draw")
