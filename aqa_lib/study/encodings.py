"""What networks make of the videos that they were trained on, as a number a replicate.

    seen = encodings(Study("explore"), {"name": "surrogate"}, variants, blocks, fraction=0.4, draws=3)
    apart = measured(seen, lambda r, f: domains(f[r.training], r.kinds).auc)     # a long table, a row an encoding
    effects(apart, "AA")                                                         # effects.py, or tables.compare

Blocks, worlds and draws are those of a comparison (comparison.py). Beside the encodings stand the mean-pooled features,
which no training has touched.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from aqa_lib import kinds, methods, tasks
from aqa_lib.data import AssessmentSet, splits
from aqa_lib.errors import UserError
from aqa_lib.kinds import takes
from aqa_lib.study.comparison import run_of
from aqa_lib.study.parts import parts_of, replicates
from aqa_lib.study.study import loaded
from aqa_lib.study.variants import check_labels, check_methods, resolved
from aqa_lib.study.words import states
from aqa_lib.tasks import Labels

FEATURES = "features"


@dataclass
class Replicate:
    """One data set and label draw, and what every variant makes of its videos."""

    block: str
    fraction: float
    number: int  # of the label draw and the seed; where replicates are worlds, of the world
    data: AssessmentSet = field(repr=False)
    labels: Labels = field(repr=False)
    spaces: dict = field(repr=False)  # title -> [N,C] of all videos, the mean-pooled features last
    states: dict  # title -> the states of its mechanisms, as text
    worlds: bool = False  # whether every replicate has a data set of its own

    @property
    def training(self):
        """The labelled videos, then those without a label."""
        return np.concatenate([self.labels.train, self.labels.unlabelled])

    @property
    def kinds(self):
        """[n] of `training`: whether a video was labelled."""
        return np.arange(len(self.training)) < len(self.labels.train)

    @property
    def hidden(self):
        """Training videos whose score was not learnt from, but is known."""
        return self.labels.unlabelled[np.isfinite(self.data.scores[self.labels.unlabelled])]


@takes(variants=kinds.variants)
def encodings(study, data, variants, blocks, fraction, draws, *, root=None, **train):
    """[Replicate]: every variant trained with its weights kept, and its encoding of all videos, part by part.

    variants: of methods with an `encode`, such as s4aqa. Runs that a comparison has trained without their weights are
    trained again, so ask for these first.
    """
    for title, (name, _) in variants.items():
        if not hasattr(methods.get(name), "encode"):
            raise UserError(f"variant {title!r}: method {name} has no encoding to look at; leave it out")
    parts = parts_of(data, blocks, root)
    check_methods(variants, parts)
    check_labels(variants, parts, [fraction])
    where = [(part, number) for part in parts for number, _ in replicates(draws, parts)]
    asked = {}
    for title, (name, settings) in variants.items():
        runs = [run_of(methods.get(name), settings, fraction, (n, n), part) for part, n in where]
        asked.setdefault(name, []).append((title, runs))
    tables = {}  # all runs of a method in one call, so that they share stacks
    for name, of in asked.items():
        worlds, splits = [p.replicate(n) for p, n in where] * len(of), [p.split for p, _ in where] * len(of)
        runs = [run for _, those in of for run in those]
        table = study.train(name, worlds, splits, runs, root=root, weights=True, **train)
        tables |= {title: table.iloc[i * len(where) : (i + 1) * len(where)] for i, (title, _) in enumerate(of)}
    return [_replicate(study, part, number, fraction, variants, {t: r.iloc[i] for t, r in tables.items()}, root)
            for i, (part, number) in enumerate(where)]  # fmt: skip


def _replicate(study, part, number, fraction, variants, rows, root):
    from aqa_lib.training import restore

    world = part.replicate(number)
    data = loaded(world["name"], root, **{k: v for k, v in world.items() if k != "name"})
    name, settings = next(iter(variants.values()))
    run = resolved(name, settings) | {"fraction": fraction, "draw": number}
    labels = tasks.get(methods.get(name).task).labels(data, splits.get(part.split)(data), run)
    spaces = {}
    for title, row in rows.items():
        if row["state"] != "complete":
            why = row["reason"]
            raise UserError(f"{part}, draw {number}: the run of {title} failed ({why}), so it has no encoding")
        trained = restore(study.read(row["id"]))
        spaces[title] = trained.method.encode(trained.model, trained.prepared(data).features)
    spaces[FEATURES] = np.asarray(data.features.mean(1))
    block = ", ".join(filter(None, [part.block, part.name]))
    alive = {t: states(row) for t, row in rows.items()}
    return Replicate(block, fraction, number, data, labels, spaces, alive, bool(part.worlds))


def measured(replicates, measure, called=""):
    """The long table of measure(replicate, encoding [N,C]) -> number: block, fraction, variant, draw, seed, value, the
    states of the run's mechanisms, whether replicates are worlds, and what the measure is `called` (metrics.BOUNDS)."""
    rows = [(r.block, r.fraction, title, r.number, r.number, measure(r, f), r.states.get(title, ""), r.worlds)
            for r in replicates for title, f in r.spaces.items()]  # fmt: skip
    return pd.DataFrame(
        rows, columns=["block", "fraction", "variant", "draw", "seed", "value", "states", "worlds"]
    ).assign(measure=called)
