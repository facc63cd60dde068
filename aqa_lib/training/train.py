"""The training loop: one for a run and for a thousand.

    results = train("s4aqa", data, official(data), [{"seed": 0}, {"seed": 1, "lambda1": 10.0}])

Runs of one shape become a stack and take their steps together, also on different splits or data sets of one shape;
each has the result that it would have alone. A run that finishes, stops early or diverges leaves the stack.
"""

import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from aqa_lib import methods, tasks
from aqa_lib.data.standardise import standardised
from aqa_lib.errors import UserError
from aqa_lib.kinds import DATA, METHOD, SPLIT, or_word, several, takes
from aqa_lib.training.alive import ROUNDS, Look, T, look
from aqa_lib.training.history import History
from aqa_lib.training.packing import check_fits, stacks
from aqa_lib.training.stack import Stack

CHECK = 25  # steps between looks for a run that diverges
DIVERGED = 1e8  # a loss beyond this, on scores of about 5, does not come back


@dataclass
class Result:
    """What a run leaves: how it ended, its curve, and its prediction of every test item at every evaluation."""

    settings: dict
    curve: pd.DataFrame  # a row an evaluation: step, losses since the last one, measures on the test items
    predictions: pd.DataFrame  # a row a test item: id, score, step_<n> ...
    metrics: dict
    weights: dict | None = None  # arrays by name
    about: dict | None = None  # what else is needed to use the weights (restore.py)
    reason: str = ""  # why it failed; empty where it did not
    held: pd.DataFrame | None = None  # as predictions, of the labelled items of the fold that was held out

    @property
    def complete(self):
        return not self.reason


@takes(method=or_word(METHOD), data=several(DATA), split=several(SPLIT))
def train(method, data, split, runs, *, device="cpu", at_once=None, weights=False, compile=False, on_result=None,
          checkpoints=None, claim=list):  # fmt: skip
    """Train every run on `split` of `data`; results in the order of `runs`.

    `runs`: one dict of settings each (missing ones take their defaults). `data` and `split`: one for all, or a list
    with one a run. `at_once`: how many runs a stack may hold (default: by the memory at hand).
    `on_result(number, result)` is called as soon as a run ends. `checkpoints`: a Checkpoints, to go on from after a
    kill. `claim(numbers)` is asked before a stack of these runs begins and says which of them to train, so that
    processes can share the runs; the results of the others stay None.
    """
    method = methods.get(method) if isinstance(method, str) else method
    runs = [method.resolve(run) for run in listed(runs)]
    data = data if isinstance(data, list) else [data] * len(runs)
    splits = split if isinstance(split, list) else [split] * len(runs)
    if len(data) != len(runs) or len(splits) != len(runs):
        raise UserError(
            f"train: {len(data)} data sets and {len(splits)} splits for {len(runs)} runs; give one, or one a run"
        )
    task, checked = tasks.get(method.task), set()
    for s, d in zip(runs, data, strict=True):
        if (id(d), key := repr(s)) not in checked:
            method.fits(s, d)
            checked.add((id(d), key))
    # impossible draws are refused before anything is trained
    labels = [task.labels(d, p, s) for d, p, s in zip(data, splits, runs, strict=True)]
    results = [None] * len(runs)
    # within a column, where the set asks for it
    ready = [standardised(d, p) if method.video else (d, None) for d, p in zip(data, splits, strict=True)]
    data, standards = [d for d, _ in ready], [s for _, s in ready]

    def end(number, result):
        if result.weights is not None and (standard := standards[number]):
            views = method.views(result.settings)
            result.weights, result.about = standard.beside(result.weights, result.about, views)
        results[number] = result
        if on_result:
            on_result(number, result)

    check_fits(method, data, runs, device, at_once)
    if not method.gradient:
        for i, (s, lab) in enumerate(zip(runs, labels, strict=True)):
            if claim([i]):
                end(i, _fit(method, task, data[i], splits[i], s, lab, weights))
        return results
    for lab, s in zip(labels, runs, strict=True):
        if method.unlabelled(s) and not len(lab.unlabelled):
            raise UserError(
                f"method {method.name}: fraction = {s['fraction']} leaves no unlabelled video to learn from"
            )

    def loop(places, state=None):
        stack = Stack(method, *([part[i] for i in places] for part in (data, splits, runs, labels)), device)
        if state:
            stack.load(*state)
        torch.backends.cuda.matmul.allow_tf32 = stack.runs[0]["precision"] == "tf32"  # alike in a stack, not in a call
        return Loop(stack, places, weights, compile, end, checkpoints)

    def resumed(wanted, claim):
        """Train those of these runs that go on from a checkpoint; returns which have one."""
        there = set()
        for state, keep, places in checkpoints.found(wanted) if checkpoints else ():
            there |= set(places)
            mine = set(claim(places))
            both = [(k, i) for k, i in zip(keep, places, strict=True) if i in mine]
            if both:
                keep, places = map(list, zip(*both, strict=True))
                loop(places, (state, keep)).resume(state, keep).run()
        return there

    with machine(device):
        left = set(range(len(runs)))
        left -= resumed(left, claim)
        for places in stacks(method, data, runs, device, at_once, sorted(left)):
            mine = list(claim(places))
            if anew := sorted(set(mine) - resumed(mine, list)):  # a process may have died since, and left a checkpoint
                loop(anew).run()
    return results


def listed(runs):
    """The settings of runs as a list of at least one."""
    if not isinstance(runs, (list, tuple)) or not len(runs):
        raise UserError(f"train takes a list of at least one run, such as [{{'seed': 0}}], but got {runs!r}")
    return list(runs)


@contextmanager
def machine(device):
    """torch set up for training, and as it was when that ends.

    On a CPU one thread: two collapse when a core is busy, so the work is spread over processes.
    """
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    try:
        if torch.device(device).type == "cpu":
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32


class Loop:
    """The steps of one stack, from its first to the last of its runs."""

    def __init__(self, stack, places, weights, compile, end, checkpoints):
        self.stack, self.places, self.weights, self.end = stack, list(places), weights, end
        self.losses = stack.method.losses
        if compile:
            self.losses = torch.compile(self.losses, backend="inductor" if compile is True else compile)
        rows = zip(stack.data, stack.splits, stack.runs, stack.labels, strict=True)
        self.histories = [History(stack.method, *row) for row in rows]
        self.step, self.sums, self.taken, self.size = 0, {}, 0.0, len(stack.runs)
        self.began = time.perf_counter()
        self.writer = checkpoints.writer(places) if checkpoints else None

    def run(self):
        stack, method = self.stack, self.stack.method
        if self.step == 0 and any(h.looks.wants_start for h in self.histories):
            method.before(stack, 0)
            for history, row in zip(self.histories, look(stack, 0, gradients=False), strict=True):
                history.looks.start(row)
        while stack.runs:
            method.before(stack, self.step)
            terms = self.losses(stack.model, stack.batch(self.step))
            stack.model.differentiate(terms["loss"])
            stack.optimiser.step()
            self.step += 1
            method.after(stack, self.step)
            for name, value in terms.items():
                value = value.detach()
                self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.look()
            if self.writer and self.writer.due and stack.runs:
                self.writer.save(self.state(), self.places)
        if self.writer:
            self.writer.end()

    def look(self):
        """Evaluate the runs that are due, and let those go that have ended or diverged."""
        stack, step = self.stack, self.step
        finished = stack.method.finished(stack, step)
        over = [s["steps"] == step for s in stack.runs] if finished is None else [
            s["steps"] == step or bool(f) for s, f in zip(stack.runs, finished, strict=True)
        ]  # fmt: skip
        due = [step % s["every"] == 0 or o for s, o in zip(stack.runs, over, strict=True)]
        if not any(due) and step % CHECK:
            return
        values = {name: v.cpu().numpy() for name, v in self.sums.items()}
        predicted = stack.predict([h.items for h in self.histories]) if any(due) else None
        found = stack.found() if any(due) else None
        lost = [False] * len(self.places)  # looked at when the run itself is due, so that nobody's company matters
        for k, (s, history) in enumerate(zip(stack.runs, self.histories, strict=True)):
            if not due[k] and step % CHECK:
                continue
            loss = float(values["loss"][k]) / (step - history.last)
            finite = not due[k] or all(np.isfinite(v).all() for v in predicted[k].values())
            lost[k] = not (abs(loss) < DIVERGED and finite)  # NaN too
            if lost[k]:
                what = f"the loss is {loss:.3g}" if finite else "a prediction is not finite"
                self.done(k, history.failed(f"diverged by step {step}: {what}; try lr below {s['lr']:g}"))
            elif due[k]:
                history.add(step, {n: v[k] for n, v in values.items()}, predicted[k], found[k])
        fresh = torch.tensor(due, device=stack.device)
        self.sums = {name: v.masked_fill(fresh, 0) for name, v in self.sums.items()}
        over = [o or h.stopped for o, h in zip(over, self.histories, strict=True)]
        self.look_alive(due, over, lost)
        for k in range(len(self.places)):
            if over[k] and not lost[k]:
                self.done(k, self.histories[k].result(self.seconds, self.kept(k) if self.weights else (None, None)))
        stay = [k for k in range(len(self.places)) if not over[k] and not lost[k]]
        if len(stay) == len(self.places):
            return
        self.places, self.histories = [self.places[k] for k in stay], [self.histories[k] for k in stay]
        self.sums = {name: v[stay] for name, v in self.sums.items()}
        if stay:
            stack.select(stay)
        else:
            stack.runs = []

    def look_alive(self, due, over, lost):
        """See whether the mechanisms of the runs that are due for it are on; others of the stack are none the wiser."""
        histories = [h if d and not gone else None for h, d, gone in zip(self.histories, due, lost, strict=True)]
        wanted = [h is not None and (h.looks.due(self.step) or (o and h.looks.wanting(self.step)))
                  for h, o in zip(histories, over, strict=True)]  # fmt: skip
        gradients = any(w and (o or h.looks.late(self.step)) for h, o, w in zip(histories, over, wanted, strict=True))
        for thorough in (False, True):  # alone a run would have the look that it has here
            wants = [w and thorough == (o or h.looks.final(self.step))
                     for h, o, w in zip(histories, over, wanted, strict=True)]  # fmt: skip
            if any(wants):
                rows = look(self.stack, self.step, ROUNDS if thorough else 0, gradients)
                for history, row, ended, wanting in zip(histories, rows, over, wants, strict=True):
                    if wanting:
                        history.saw(self.step, row, ended)

    def done(self, k, ended):
        self.end(self.places[k], Result(**ended))

    @property
    def seconds(self):
        """A run's share of the time so far."""
        return (self.taken + time.perf_counter() - self.began) / self.size

    def kept(self, k):
        """(arrays, what else is needed to use them) of run k."""
        from aqa_lib.training.restore import description

        stack = self.stack
        found = {name: v for name, v in stack.found()[k].items()}
        about = description(stack.method, stack.data[k], stack.runs[k], stack.labels[k])
        about["found"] = {
            name: dict(zip(stack.data[k].ids.tolist(), v.tolist(), strict=True)) for name, v in found.items()
        }
        return stack.model.state(k), about

    # ---- checkpoints

    def state(self):
        sums = {f"sums.{name}": value for name, value in self.sums.items()}
        state = self.stack.state()
        state["rows"] = {n: v.detach().cpu() for n, v in {**state["rows"], **sums}.items()}
        taken = self.taken + time.perf_counter() - self.began
        loop = {"step": self.step, "taken": taken, "size": self.size, "terms": list(self.sums)}
        return {**state, "loop": loop, "histories": [h.state() for h in self.histories]}

    def resume(self, state, keep):
        """Go on from the state of a checkpoint, of which the runs `keep` are this stack's."""
        loop = state["loop"]
        self.step, self.taken, self.size = loop["step"], loop["taken"], loop["size"]
        self.sums = {n: state["rows"][f"sums.{n}"][keep].to(self.stack.device) for n in loop["terms"]}
        for history, k in zip(self.histories, keep, strict=True):
            history.load(state["histories"][k])
        if len(keep) == len(state["names"]):  # else another process may go on from it, too
            self.writer.before = state["path"]
        return self


def _fit(method, task, data, split, settings, labels, weights):
    """A closed-form method: one fit, one row of curve."""
    start = time.perf_counter()
    train = split.train[
        np.isin(split.train, np.concatenate([labels.train, labels.unlabelled]))
    ]  # without a fold held out
    arrays = method.fit(data, train, labels.scores[train], settings)
    history = History(method, data, split, settings, labels)
    out = method.apply(arrays, data, history.items, settings)
    out = {"score": out} if isinstance(out, np.ndarray) else out
    history.add(0, {}, {name: np.asarray(v) for name, v in out.items()}, {})
    seconds = time.perf_counter() - start
    kept, looks = (None, None), {}
    if method.mechanisms(settings):
        found = method.alive(arrays, data, train, labels.scores[train], settings)
        looks = {name: Look(*sides) for name, sides in found.items()}
    if weights:
        from aqa_lib.training.restore import description

        shapes = {name: list(np.shape(value)) for name, value in arrays.items()}
        kept = arrays, description(method, data, settings, labels) | {"scale": 1.0, "arrays": shapes}
    ended = history.result(seconds, kept)
    for name, seen in looks.items():
        row = {"index": seen.index, "t": seen.t(), "state": "on" if seen.t() > T else "off"}
        ended["metrics"] |= {f"{name}_{part}": value for part, value in row.items()}
    return Result(**ended)
