"""Whether the mechanisms of a run were on: do they hold what belongs to a video, and does the encoder feel it?

For every term by which a run learns from unlabelled videos, on training videos without a label that are kept aside
(never test videos), at half and three quarters of its steps and, on several hidden segments a video, at their end:

    index a   1 - L(own target) / L(another video's target), the same outputs (methods/_exchange.py)
    t         of the differences over videos; where both sides are alike before training (views of one video), of how
              far they have grown since the first step
    share g   norm of the weighted term's gradient at the encoder, over that of the regression's

on: t > 3 at the end and g >= .02 on average; weak: on, and g < .1; collapsed: L(another's target) is below a thousandth
of its natural size, so that nothing differs; off: all else. Numbers that look like signs of life and are none: dead
units, the spread of outputs, an error below that of the median, a large gradient, a small loss.
"""

import numpy as np
import torch

from aqa_lib import chance

MOST = 128  # so many videos are kept aside at most
FEWEST = 8  # fewer are not kept aside: then those are looked at that are learnt from
ROUNDS = 4  # times that each of them is looked at in the end, with other hidden segments
LOOKS = 4  # looks a run, the last at its end
T, WEAK, STRONG, NOTHING = 3.0, 0.02, 0.1, 1e-3


def kept_aside(unlabelled, settings):
    """(items kept aside, the others) of a run's unlabelled videos."""
    order = unlabelled[chance.permutation(chance.key(settings["seed"], "aside"), len(unlabelled))]
    count = min(MOST, int(settings["aside"] * len(unlabelled)))
    count = count if count >= FEWEST else 0
    return order[:count], np.sort(order[count:])


def probes(stack, rounds):
    """(items [P,K,2,B] of the probes, counted [P,K,B]): labelled videos beside those kept aside, `rounds` times each.

    Where these are fewer than a batch, others fill it up and are not counted.
    """
    B, parts = stack.B, []
    for lab, first, s in zip(stack.labels, stack.offsets, stack.runs, strict=True):
        others = lab.unlabelled if len(lab.unlabelled) else lab.train
        aside, rest = kept_aside(others, s)
        aside = aside if len(aside) else others[:MOST]
        batches = -(-len(aside) // B)
        rest = rest if len(rest) else aside
        fill = np.resize(rest, batches * B - len(aside))
        seen = np.concatenate([aside, fill]).reshape(batches, B)
        counted = (np.arange(batches * B) < len(aside)).reshape(batches, B)
        parts.append((lab.train + first, seen + first, counted))
    P = rounds * max(len(seen) for _, seen, _ in parts) if rounds else 1
    known = np.stack([np.resize(train, P * B).reshape(P, B) for train, _, _ in parts], 1)
    seen, counted = (np.stack([part[i][np.arange(P) % len(part[i])] for part in parts], 1) for i in (1, 2))
    for k, (_, videos, _) in enumerate(parts):
        counted[max(1, rounds * len(videos)) :, k] = False  # others of the stack have more to look at
    return stack.pool.put(np.stack([known, seen], 2)), counted


def look(stack, step, rounds=ROUNDS, gradients=True):
    """[{mechanism: Look}] of every run of a stack; neither weights nor statistics nor memory change.

    rounds: how often each video is looked at; 0: one batch of them, once. Terms that compare two views of a video are
    looked at as they are trained, with dropout, which is a part of them; others without it.
    """
    method, memory, model = stack.method, stack.memory, stack.model
    rounds = rounds or int(bool(method.from_the_start))  # growth is of the same videos as at the start
    items, counted = probes(stack, rounds)
    seen, shares = {}, {}
    with model.still():
        model.train(bool(method.from_the_start))
        for p in range(len(items)):
            stack.memory = {name: value.clone() for name, value in memory.items()}
            with torch.no_grad():
                found = method.alive(model, stack.probe(items[p], p, step, own=True))
            for name, exchange in found.items():
                seen.setdefault(name, []).append(exchange)
        model.train()
        if gradients:
            stack.memory = {name: value.clone() for name, value in memory.items()}
            shares = gradient_shares(stack, items[0], step)
    stack.memory = memory
    seen, items = {name: numbers(parts) for name, parts in seen.items()}, items[:, :, 1].cpu().numpy()
    rows = []
    for k, s in enumerate(stack.runs):
        row, which = {}, counted[:, k]  # [P,B]
        videos, place = np.unique(items[:, k][which], return_inverse=True)
        videos = videos - stack.offsets[k]
        times = np.bincount(place)
        for name in method.mechanisms(s):
            own, other, size = seen[name]
            own, other = (np.bincount(place, part[:, k][which]) / times for part in (own, other))
            share = float(shares[name][k]) if name in shares else np.nan
            size = None if size is None else size[which.any(1), k].mean()
            row[name] = Look(own, other, size, share, videos)
        rows.append(row)
    return rows


def numbers(parts):
    """(own [P,K,B], other [P,K,B], size [P,K] or None) of the Exchanges of P batches, in numpy."""
    own, other = (torch.stack([[e.own, e.other][i] for e in parts]).double().cpu().numpy() for i in range(2))
    sizes = [e.size.double().cpu().numpy() for e in parts if e.size is not None]
    return own, other, np.stack(sizes) if sizes else None


def gradient_shares(stack, items, step):
    """{mechanism: [K]} norm of its gradient at the encoder over that of the regression."""
    method, model = stack.method, stack.model
    batch = stack.probe(items, 0, step)
    terms = method.losses(model, batch)
    parameters = method.encoding(model)

    def norm(term):
        """[K], summed row by row in numpy, so that the number of runs changes no digit."""
        squares = np.zeros(len(stack.runs))
        if term.requires_grad:
            gradient = torch.autograd.grad(term.sum(), parameters, retain_graph=True, allow_unused=True)
            for g in (g.double().cpu().numpy().reshape(len(squares), -1) for g in gradient if g is not None):
                squares += (g * g).sum(1)
        return np.sqrt(squares)

    regression = np.maximum(norm(terms["regression"]), 1e-12)
    return {name: norm(part) / regression for name, part in method.auxiliary(batch, terms).items()}


class Look:
    """What one look at one mechanism of one run has seen."""

    def __init__(self, own, other, size=None, share=np.nan, videos=None):
        self.own, self.other, self.size, self.share = own, other, size, share
        self.videos = np.arange(len(own)) if videos is None else videos

    @property
    def each(self):
        """The index of every video [n]."""
        mean = self.other.mean()
        return (self.other - self.own) / mean if mean > 0 else np.zeros_like(self.own)

    @property
    def index(self):
        return float(self.each.mean())

    def t(self, before=None):
        """Of the index over videos, or of its growth since `before`, {video: index}."""
        d = self.each if before is None else self.each - [before[v] for v in self.videos.tolist()]
        error = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else 0.0
        if not np.isfinite(d).all():
            return 0.0
        return float(d.mean() / error) if error > 1e-12 else 0.0

    @property
    def collapsed(self):
        return bool(self.size is not None and self.other.mean() < NOTHING * self.size)


class Looks:
    """One run's looks, and what they say of it in the end."""

    def __init__(self, method, settings):
        self.names = method.mechanisms(settings)
        self.learns = method.unlabelled(settings)
        self.method, self.steps = method, settings["steps"]
        self.first, self.last = method.working(settings)
        self.before, self.mark, self.rows = {}, -1, []

    def due(self, step):
        """Whether a quarter of the steps at which the run's mechanisms work has passed, of their later half."""
        if not self.names:
            return False
        return self.tick(step) > self.mark and self.tick(step) >= (0 if self.method.transient else LOOKS / 2)

    def tick(self, step):
        """How many of its looks a run has had by a step, were it evaluated as often; -1 while no mechanism works."""
        past = (step / self.steps - self.first) / (self.last - self.first)
        return int(LOOKS * past + 1e-9) if 0 <= past <= 1 + 1e-9 else -1

    def final(self, step):
        """Whether a look at this step may be the last one."""
        return self.tick(step) == LOOKS or step == self.steps

    def wanting(self, step):
        """Whether a run that ends at this step, before its time perhaps, has not had its last look."""
        working = self.tick(step) >= 0 or not self.rows
        return bool(self.names) and working and not any(self.final(row["step"]) for row in self.rows)

    def late(self, step):
        """Whether gradients count: the later half of the steps at which its mechanisms work."""
        return step / self.steps >= (self.first + self.last) / 2 - 1e-9

    @property
    def wants_start(self):
        return any(name in self.method.from_the_start for name in self.names)

    def start(self, row):
        views = [name for name in self.names if name in self.method.from_the_start]
        self.before = {
            name: dict(zip(row[name].videos.tolist(), row[name].each.tolist(), strict=True)) for name in views
        }

    def add(self, step, row, over=False):
        """Keep a look; return its numbers for the curve. Shares are there where they count, whoever is in the stack."""
        self.mark, counts = max(self.mark, self.tick(step)), self.late(step) or over
        found = {}
        for name in self.names:
            look = row[name]
            found |= {f"{name}_index": look.index, f"{name}_t": look.t(self.before.get(name))}
            share = look.share if counts else np.nan
            found |= {f"{name}_share": share, f"{name}_collapsed": float(look.collapsed)}
        self.rows.append({"step": step, "counts": counts, **found})
        return found

    def states(self):
        """{NAME_index, NAME_t, NAME_share, NAME_state} of every mechanism; t of those that may end: the largest."""
        if not self.names and self.learns:
            return {"mechanism_state": "unseen"}
        found = {}
        for name in self.names:
            if not self.rows:
                found |= {f"{name}_state": "off"}
                continue
            last = self.rows[-1]
            t = max(row[f"{name}_t"] for row in self.rows) if name in self.method.transient else last[f"{name}_t"]
            shares = [row[f"{name}_share"] for row in self.rows if row["counts"]]
            share = float(np.mean(shares)) if shares else last[f"{name}_share"]
            on = t > T and not share < WEAK  # a method in closed form has no gradients
            state = (
                "collapsed" if last[f"{name}_collapsed"] else "off" if not on else "weak" if share < STRONG else "on"
            )
            found |= {f"{name}_index": last[f"{name}_index"], f"{name}_t": t, f"{name}_share": share}
            found |= {f"{name}_state": state}
        return found

    def state(self):
        """Plain values for a checkpoint."""
        before = {name: [list(pair) for pair in each.items()] for name, each in self.before.items()}
        return {"before": before, "mark": self.mark, "rows": self.rows}

    def load(self, state):
        self.before = {name: {int(v): each for v, each in pairs} for name, pairs in state["before"].items()}
        self.mark, self.rows = state["mark"], state["rows"]
