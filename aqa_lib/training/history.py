"""A run's curve and predictions as they grow, and when to stop early."""

import numpy as np
import pandas as pd

from aqa_lib import tasks
from aqa_lib.training.alive import Looks


class History:
    """One run's evaluations; what is measured is its task's business."""

    def __init__(self, method, data, split, settings, labels):
        self.method, self.data, self.split, self.settings, self.labels = method, data, split, settings, labels
        self.task = tasks.get(method.task)
        self.tested = self.task.tested(data, split)
        parts = self.tested, labels.validation, labels.held
        self.items = np.unique(np.concatenate(parts))  # what is predicted
        self.test, self.watched, self.held = (np.searchsorted(self.items, i) for i in parts)
        self.rows, self.outs, self.held_outs = [], {}, {}
        self.last, self.best, self.waited = 0, np.inf, 0
        self.looks = Looks(method, settings) if method.gradient else None

    def add(self, step, sums, predicted, found):
        """Losses summed since the last evaluation, named predictions of `items`, what training found of items."""
        row = {"step": step, **{name: float(value / (step - self.last)) for name, value in sums.items()}}
        out = {name: v[self.test] for name, v in predicted.items()}
        out = self.method.read(out, self.data, self.tested, self.settings)
        row |= self.task.measures(self.data, self.split, self.tested, {**out, "found": found} if found else out)
        if len(self.watched):
            watched = {name: v[self.watched] for name, v in predicted.items()}
            watched = self.task.watched(self.data, self.labels.validation, watched)
            error = next(iter(watched.values()))
            row |= watched
            self.waited = 0 if error < self.best else self.waited + 1
            self.best = min(self.best, error)
        # plain numbers: a checkpoint takes no others
        self.rows.append({name: _number(v) for name, v in row.items()})
        self.outs[step] = out
        if len(self.held):
            out = {name: v[self.held] for name, v in predicted.items()}
            self.held_outs[step] = self.method.read(out, self.data, self.labels.held, self.settings)
        self.last = step

    def saw(self, step, row, over=False):
        """Of what a look at the mechanisms has seen, the numbers go into the curve."""
        self.rows[-1] |= self.looks.add(step, row, over)

    @property
    def stopped(self):
        return 0 < self.settings.get("patience", 0) <= self.waited

    def tables(self):
        return {
            "settings": self.settings,
            "curve": pd.DataFrame(self.rows),
            "predictions": self.task.kept(self.data, self.tested, self.outs),
            "held": self.task.kept(self.data, self.labels.held, self.held_outs) if self.held_outs else None,
        }

    def result(self, seconds, kept):
        """The last evaluation is what the run reports; every other can be recomputed from its tables."""
        last = {n: v for n, v in self.rows[-1].items() if n != "step"}
        last = {n: v for n, v in last.items() if not n.endswith("_collapsed")}
        last |= self.looks.states() if self.looks else {}
        metrics = {**last, "steps_taken": self.last, "labels": len(self.labels.train), "seconds": seconds}
        weights, about = kept
        return {**self.tables(), "metrics": metrics, "weights": weights, "about": about}

    def failed(self, reason):
        empty = {"settings": self.settings, "curve": pd.DataFrame(self.rows), "predictions": pd.DataFrame()}
        return {**(self.tables() if self.outs else empty), "metrics": {}, "reason": reason}

    def state(self):
        """Plain values for a checkpoint."""
        outs, held = (
            [[step, {n: _plain(v) for n, v in out.items()}] for step, out in kept.items()]
            for kept in (self.outs, self.held_outs)
        )
        found = {
            "rows": self.rows,
            "outs": outs,
            "held_outs": held,
            "last": self.last,
            "best": float(self.best),
            "waited": self.waited,
        }
        return found | {"looks": self.looks.state()}

    def load(self, state):
        self.rows, self.last, self.best, self.waited = (state[n] for n in ("rows", "last", "best", "waited"))
        self.looks.load(state["looks"])
        self.outs, self.held_outs = (
            {step: {n: _array(v) for n, v in out.items()} for step, out in state[kept]}
            for kept in ("outs", "held_outs")
        )


def _number(value):
    """numpy's numbers and words as Python's."""
    return value.item() if hasattr(value, "item") else value


def _plain(value):
    """An array or a table as lists of plain values, which a checkpoint holds without pickled objects."""
    if isinstance(value, pd.DataFrame):
        return {"table": {str(c): [_number(v) for v in value[c]] for c in value.columns}}
    return {"array": value.tolist(), "type": str(value.dtype)}


def _array(value):
    return pd.DataFrame(value["table"]) if "table" in value else np.array(value["array"], dtype=value["type"])
