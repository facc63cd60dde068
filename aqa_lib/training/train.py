"""The training loop: one for a run and for a thousand.

    results = train("s4aqa", data, official(data), [{"seed": 0}, {"seed": 1, "lambda1": 10.0}])

Runs of one shape become a stack and take their steps together; each has the result that it would have alone.
A run that finishes, stops early or diverges leaves the stack.
"""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from aqa_lib import methods
from aqa_lib.errors import UserError
from aqa_lib.evaluation import relative_l2, spearman_rows
from aqa_lib.training.stack import Labels, Stack

CHECK = 25  # steps between looks for a run that diverges
FEW = 4  # fewer runs than this are not worth a stack of their own
DIVERGED = 1e8  # a loss beyond this, on scores of about 5, does not come back


@dataclass
class Result:
    """What a run leaves: how it ended, its curve, and its prediction of every test item at every evaluation."""

    settings: dict
    curve: pd.DataFrame  # a row an evaluation: step, losses since the last one, measures on the test items
    predictions: pd.DataFrame  # a row a test item: id, score, step_<n> ...
    metrics: dict
    weights: dict | None = None
    reason: str = ""  # why it failed; empty where it did not

    @property
    def complete(self):
        return not self.reason


def train(method, data, split, runs, *, device="cpu", at_once=None, weights=False, compile=False, on_result=None):
    """Train every run on `split` of `data`; results in the order of `runs`.

    `runs`: one dict of settings each (missing ones take their defaults). `at_once`: how many runs a stack may
    hold (default: by the memory at hand). `on_result(place, result)` is called as soon as a run ends.
    """
    method = methods.get(method) if isinstance(method, str) else method
    data.need_features()
    runs = [method.resolve(run) for run in runs]
    labels = [Labels(data, split, s) for s in runs]  # refuses impossible draws before anything is trained
    results = [None] * len(runs)

    def end(place, result):
        results[place] = result
        if on_result:
            on_result(place, result)

    if not method.gradient:
        for i, (s, lab) in enumerate(zip(runs, labels, strict=True)):
            end(i, _fit(method, data, split, s, lab))
        return results
    for lab, s in zip(labels, runs, strict=True):
        method.check(s, data)
        if method.unlabelled(s) and not len(lab.unlabelled):
            raise UserError(
                f"method {method.name}: fraction = {s['fraction']} leaves no unlabelled video to learn from"
            )
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)  # two threads collapse when a core is busy; use one process a core
    for places in stacks(method, data, runs, device, at_once):
        run, lab = [runs[i] for i in places], [labels[i] for i in places]
        _train_stack(method, data, split, run, lab, places, device, weights, compile, end)
    return results


def stacks(method, data, runs, device, at_once=None):
    """Places of `runs` that train together: equal shapes, as many as fit.

    A stack computes every set of videos that one of its runs uses. So runs that use the same sets (the same loss
    terms switched on) come together; where a stack of their own would be small, they ride along with others.
    """
    shapes = {}
    for i, s in enumerate(runs):
        shapes.setdefault(method.shape(s), {}).setdefault(method.uses(s), []).append(i)
    for groups in shapes.values():
        few = [places for places in groups.values() if len(places) < FEW]
        many = [places for places in groups.values() if len(places) >= FEW]
        if few:
            many.append(sorted(sum(few, [])))
        for places in many:
            most = at_once or capacity(method, data, runs[places[0]], device)
            parts = -(-len(places) // most)
            yield from (list(part) for part in np.array_split(places, parts))


def capacity(method, data, settings, device):
    """How many runs fit in a stack: on a GPU by its free memory, on a CPU by what stays near its caches."""
    _, T, D = data.features.shape
    with torch.device("meta"):  # shapes without numbers
        weights = sum(p.numel() for p in method.build([settings], data).parameters())
    one = 4 * 3 * settings["batch"] * T * D * 9 + 4 * 4 * weights  # bytes: activations; weights, gradients, moments
    if torch.device(device).type == "cuda":
        return int(max(1, min(128, 0.5 * torch.cuda.mem_get_info(device)[0] // one)))
    return int(max(1, min(32, 2**26 // one)))


def _train_stack(method, data, split, runs, labels, places, device, keep_weights, compile, end):
    torch.backends.cuda.matmul.allow_tf32 = runs[0]["precision"] == "tf32"
    stack = Stack(method, data, split, runs, labels, device)
    losses = method.losses
    if compile:
        losses = torch.compile(losses, backend="inductor" if compile is True else compile)
    items = np.unique(np.concatenate([split.test, *(lab.validation for lab in labels)]))
    records = [Record(data, split, items, s, lab) for s, lab in zip(runs, labels, strict=True)]
    places, step, sums, start = list(places), 0, {}, time.perf_counter()
    while stack.runs:
        method.before(stack, step)
        terms = losses(stack.model, stack.batch(step))
        stack.model.differentiate(terms["loss"])
        stack.optimiser.step()
        step += 1
        method.after(stack, step)
        for name, value in terms.items():
            value = value.detach()
            sums[name] = sums[name] + value if name in sums else value
        due = [step % s["every"] == 0 or step == s["steps"] for s in stack.runs]
        if not any(due) and step % CHECK:
            continue

        values = {name: v.cpu().numpy() for name, v in sums.items()}
        predicted = stack.predict(items) if any(due) else None
        lost = [False] * len(places)  # looked at when the run itself is due, so that nobody's company matters
        for k, (s, record) in enumerate(zip(stack.runs, records, strict=True)):
            if not due[k] and step % CHECK:
                continue
            loss = float(values["loss"][k]) / (step - record.last)
            finite = not due[k] or np.isfinite(predicted[k]).all()
            lost[k] = not (abs(loss) < DIVERGED and finite)  # NaN too
            if lost[k]:
                what = f"the loss is {loss:.3g}" if finite else "a prediction is not finite"
                end(places[k], record.failed(f"diverged by step {step}: {what}; try lr below {s['lr']:g}"))
            elif due[k]:
                record.add(step, {n: v[k] for n, v in values.items()}, predicted[k])
        fresh = torch.tensor(due, device=stack.device)
        sums = {name: v.masked_fill(fresh, 0) for name, v in sums.items()}
        over = [s["steps"] == step or r.stopped for s, r in zip(stack.runs, records, strict=True)]
        seconds = (time.perf_counter() - start) / len(runs)
        for k in range(len(places)):
            if over[k] and not lost[k]:
                end(places[k], records[k].result(seconds, stack.model.state(k) if keep_weights else None))
        stay = [k for k in range(len(places)) if not over[k] and not lost[k]]
        if len(stay) < len(places):
            places, records = [places[k] for k in stay], [records[k] for k in stay]
            sums = {name: v[stay] for name, v in sums.items()}
            if not stay:
                return
            stack.select(stay)


class Record:
    """A run's curve and predictions as they grow, and when to stop early."""

    def __init__(self, data, split, items, settings, labels):
        self.settings, self.labels = settings, labels
        self.ids, self.truth = data.ids[split.test], data.scores[split.test]
        self.tested = np.searchsorted(items, split.test)  # where they stand among the items that are predicted
        self.watched = np.searchsorted(items, labels.validation)
        self.watched_truth = data.scores[labels.validation]
        self.rows, self.columns, self.last, self.best, self.waited = [], {}, 0, np.inf, 0

    def add(self, step, sums, predicted):
        """Losses summed since the last evaluation, and predictions of the stack's items."""
        row = {"step": step, **{name: value / (step - self.last) for name, value in sums.items()}}
        test = predicted[self.tested]
        row |= measures(test, self.truth)
        if len(self.watched):
            watched = predicted[self.watched]
            error = float(np.mean((watched - self.watched_truth) ** 2))
            row |= {
                "validation_mse": error,
                "validation_spearman": spearman_rows(watched[None], self.watched_truth)[0],
            }
            self.waited = 0 if error < self.best else self.waited + 1
            self.best = min(self.best, error)
        self.rows.append(row)
        self.columns[f"step_{step}"] = test.astype(np.float32)
        self.last = step

    @property
    def stopped(self):
        return 0 < self.settings["patience"] <= self.waited

    def tables(self):
        predictions = pd.DataFrame({"id": self.ids, "score": self.truth, **self.columns})
        return pd.DataFrame(self.rows), predictions

    def result(self, seconds, weights):
        """The last evaluation is what the run reports; every other can be recomputed from its tables."""
        last = {n: v for n, v in self.rows[-1].items() if n != "step"}
        metrics = {**last, "steps_taken": self.last, "labels": len(self.labels.train), "seconds": seconds}
        return Result(self.settings, *self.tables(), metrics, weights)

    def failed(self, reason):
        return Result(self.settings, *self.tables(), {}, reason=reason)


def measures(predicted, true):
    """Rank correlation and relative L2 (x 100) on the test items."""
    return {
        "spearman": float(spearman_rows(predicted[None], true)[0]),
        "relative_l2": relative_l2(predicted, true),
    }


def _fit(method, data, split, settings, labels):
    """A closed-form method: one fit, one row of curve."""
    start = time.perf_counter()
    views = {name: data.view(name) for name in method.views(settings)}
    seen = {name: x[split.train] for name, x in views.items()}
    predict = method.fit(data.features[split.train], labels.scores[split.train], settings, **seen)
    seen = {name: x[split.test] for name, x in views.items()}
    predicted, true = predict(data.features[split.test], **seen), data.scores[split.test]
    row = measures(predicted, true)
    seconds = time.perf_counter() - start
    table = pd.DataFrame({"id": data.ids[split.test], "score": true, "step_0": predicted.astype(np.float32)})
    metrics = {**row, "steps_taken": 0, "labels": len(labels.train), "seconds": seconds}
    return Result(settings, pd.DataFrame([{"step": 0, **row}]), table, metrics)
