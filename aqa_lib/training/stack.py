"""A stack: K runs of one shape on one device, what they draw at each step, and how runs leave.

Whatever is random is a function of (run seed, step, place): the order in which a run meets its labelled and
its unlabelled videos, and the words from which a method takes masks and dropout. So run k of a stack draws
what it would draw alone. Orders and keys are made for a block of steps at a time.
"""

from dataclasses import dataclass

import numpy as np
import torch

from aqa_lib import chance
from aqa_lib.data.splits import label_draw
from aqa_lib.errors import UserError
from aqa_lib.methods.base import SCALE
from aqa_lib.training.optim import Optimiser

BLOCK = 256  # steps whose orders are drawn at once


@dataclass
class Batch:
    """What a method sees of one step; sets are labelled, then unlabelled where a run of the stack uses them."""

    runs: list  # K settings
    x: torch.Tensor  # [K,S,T,B,D]
    y: torch.Tensor  # [K,B] scaled scores of the labelled
    keys: dict  # place -> [K,n] int64
    step: int
    stack: object
    items: torch.Tensor | None = None  # [K,S,B] which of the data set's N items they are

    @property
    def memory(self):
        """What the method keeps between steps: name -> [K, ...]."""
        return self.stack.memory

    def view(self, name):
        """Features [K,S,T,B,D'] of the same items in another view (flow, still, ...)."""
        return self.stack.gather(self.stack.views[name], self.items)

    def target(self, name):
        """What else is known of the labelled items: the method's `targets` of that name, [K,B,...]."""
        return self.stack.targets[name][self.items[:, 0]]

    def progress(self):
        """Share of its steps that each run has taken [K]."""
        return self.step / self.weight("steps")

    def weight(self, name, switch=None):
        """A setting of every run [K]; zero where its switch is off."""
        return self.table(lambda s: [s[name] * s.get(switch, True)], key=(name, switch))[:, 0]

    def table(self, row, key=None):
        """row(settings) of every run as a tensor [K, n], made once a stack."""
        made = self.stack.tables
        key = key or row
        if key not in made:
            made[key] = self.x.new_tensor([row(s) for s in self.runs])
        return made[key]


class Labels:
    """A run's labelled, validation and unlabelled items, and its scores: NaN wherever it has no label."""

    def __init__(self, data, split, settings):
        drawn = label_draw(data, settings["fraction"], settings["draw"], settings["how"], split)
        held = round(settings.get("validation", 0.0) * len(drawn))
        self.train, self.validation = drawn[: len(drawn) - held], drawn[len(drawn) - held :]
        if held and (held < 3 or len(self.train) < 3):
            raise UserError(
                f"validation = {settings['validation']} of {len(drawn)} labels leaves {len(self.train)} to train on "
                f"and {held} to watch; both need three: use another share or a larger fraction"
            )
        self.unlabelled = np.setdiff1d(split.train, drawn)
        self.scores = np.full(len(data), np.nan)
        self.scores[self.train] = data.scores[self.train]
        top = np.abs(self.scores[self.train]).max()
        self.scale = SCALE / top if top > 0 else 1.0


class Queue:
    """An endless sequence of items: one random order after another, order c a function of (seed, name, c)."""

    def __init__(self, items, *place):
        self.items, self.key = items, chance.key(*place)

    def __call__(self, start, count):
        """Items start .. start+count-1 of the sequence."""
        n = len(self.items)
        first, last = start // n, (start + count - 1) // n
        keys = chance.words(self.key, last - first + 1, start=first)
        orders = np.argsort(chance.words(keys, n), axis=-1, kind="stable").ravel()
        return self.items[orders[start - first * n :][:count]]


class Stack:
    """Data on the device once, K runs, and `batch(step)`."""

    def __init__(self, method, data, split, runs, labels, device, dtype=torch.float32):
        self.method, self.runs, self.labels = method, list(runs), list(labels)
        self.device, self.dtype = torch.device(device), dtype
        N, self.T, self.D = data.features.shape
        x = torch.from_numpy(data.features).to(self.device, dtype)
        self.x = x.transpose(0, 1).contiguous()  # [T,N,D]: time outermost
        self.views = {name: self._view(data, name) for name in method.views(self.runs[0])}
        self.targets = {n: torch.from_numpy(v).to(self.device) for n, v in method.targets(data).items()}
        train = np.sort(split.train)
        self.train = torch.from_numpy(train).to(self.device)
        self.memory = {}
        self.offsets = torch.arange(self.T, device=self.device)[:, None] * N  # row of (t, n) is t N + n
        self.model = method.build(self.runs, data).to(self.device, dtype)
        self.model.initialise([s["seed"] for s in self.runs])
        self.optimiser = Optimiser(self.model, self.runs)
        self.streams = ["labelled"] + ["unlabelled"] * any(map(method.unlabelled, self.runs))
        self.places = list(method.PLACES)
        self.prepare()
        method.begin(self)

    def _view(self, data, name):
        x = torch.from_numpy(data.view(name)).to(self.device, self.dtype)
        return x.transpose(0, 1).contiguous()

    def prepare(self):
        """What depends on who is in the stack."""
        y = np.stack([lab.scores * lab.scale for lab in self.labels])
        self.y = torch.from_numpy(y).to(self.device, self.dtype)  # [K,N]
        B = self.runs[0]["batch"]
        self.queues = []
        for s, lab in zip(self.runs, self.labels, strict=True):
            others = lab.unlabelled if len(lab.unlabelled) else lab.train  # a run that rides along uses none of them
            items = {"labelled": lab.train, "unlabelled": others}
            self.queues.append([Queue(items[name], s["seed"], name) for name in self.streams])
        names = [(name, i) for name in self.places for i in range(self.method.PLACES[name])]
        self.base = np.array([[chance.key(s["seed"], *place) for place in names] for s in self.runs], dtype=np.uint64)
        self.tables, self.block, self.B = {}, None, B

    def draw(self, block):
        """Items [steps,K,S,B] and keys [steps,K,places] of a block of steps."""
        start = block * BLOCK
        items = np.stack([[q(start * self.B, BLOCK * self.B) for q in qs] for qs in self.queues])  # [K,S,steps*B]
        items = items.reshape(*items.shape[:2], BLOCK, self.B).transpose(2, 0, 1, 3)
        keys = chance.words(self.base, BLOCK, start=start).view(np.int64).transpose(2, 0, 1)
        self.items = torch.from_numpy(np.ascontiguousarray(items)).to(self.device)
        self.keys = torch.from_numpy(np.ascontiguousarray(keys)).to(self.device)
        self.block = block

    def batch(self, step):
        if self.block != step // BLOCK:
            self.draw(step // BLOCK)
        items, keys = self.items[step % BLOCK], self.keys[step % BLOCK]  # [K,S,B], [K,places]
        x = self.gather(self.x, items)
        y = self.y.gather(1, items[:, 0])
        named, start = {}, 0
        for name in self.places:
            named[name] = keys[:, start : start + self.method.PLACES[name]]
            start += self.method.PLACES[name]
        return Batch(self.runs, x, y, named, step, self, items)

    def gather(self, x, items):
        """Features [K,S,T,B,D] of items [K,S,B] from x [T,N,D]."""
        rows = items.unsqueeze(2) + self.offsets  # [K,S,T,B]
        return x.view(-1, x.shape[-1]).index_select(0, rows.flatten()).view(*rows.shape, x.shape[-1])

    @torch.no_grad()
    def predict(self, items, at_once=512):
        """Scores [K, n] of these items in the data's own units."""
        self.model.eval()
        parts = []
        for part in torch.as_tensor(items, device=self.device).split(at_once):
            views = {name: x.index_select(1, part)[None, None] for name, x in self.views.items()}
            x = self.x.index_select(1, part)[None, None]  # [1,1,T,n,D]
            parts.append(self.method.predict(self.model, x, **views).double().cpu().numpy())
        self.model.train()
        return np.concatenate(parts, 1) / np.array([[lab.scale] for lab in self.labels])

    def select(self, keep):
        """Only the runs at these places go on; the bits of those that stay do not change."""
        self.runs, self.labels = [self.runs[k] for k in keep], [self.labels[k] for k in keep]
        index = torch.as_tensor(keep, device=self.device)
        self.model.select(index)
        self.optimiser.select(index, self.model, self.runs)
        self.memory = {name: value[index] for name, value in self.memory.items()}
        self.prepare()
