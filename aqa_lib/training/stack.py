"""A stack: K runs of one shape on one device, what they draw at each step, and how runs leave.

Whatever is random is a function of (run seed, name of the stream, step): the order in which a run meets its labelled
and its unlabelled videos, and the keys from which a method takes masks and dropout. So run k of a stack draws what it
would draw alone. Orders and keys are made for a block of steps at a time.
"""

import numpy as np
import torch

from aqa_lib import chance, tasks
from aqa_lib.errors import UserError
from aqa_lib.training.alive import kept_aside
from aqa_lib.training.batch import Batch
from aqa_lib.training.optim import Optimiser
from aqa_lib.training.pool import Pool

BLOCK = 256  # steps whose orders are drawn at once
ROWS = 5120  # segments that a run predicts at once


class Queue:
    """An endless sequence of items: one random order after another, order c a function of (seed, name, c)."""

    def __init__(self, items, *stream):
        self.items, self.key = items, chance.key(*stream)

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
        """`data` and `split`: one for all runs, or a list with one a run."""
        self.method, self.runs, self.labels = method, list(runs), list(labels)
        self.data = data if isinstance(data, list) else [data] * len(runs)
        self.splits = split if isinstance(split, list) else [split] * len(runs)
        self.device, self.dtype = torch.device(device), dtype
        self.task = tasks.get(method.task)
        self.pool = Pool(method, self.data, method.views(self.runs[0]), device, dtype, ragged=method.windows)
        self.T = self.pool.T
        self.memory, self.facts = {}, {}  # facts: plain values that hold for the stack as long as it lives
        self.model = method.build(self.runs, self.data[0]).to(self.device, dtype)
        self.model.initialise([s["seed"] for s in self.runs])
        self.optimiser = Optimiser(self.model, self.runs)
        self.streams = ["labelled"] + ["unlabelled"] * any(map(method.unlabelled, self.runs))
        self.names = list(method.PLACES)
        self.prepare()
        method.begin(self)

    def prepare(self):
        """What depends on who is in the stack."""
        K, B = len(self.runs), self.runs[0]["batch"]
        self.offsets = [self.pool.offset[id(data)] for data in self.data]
        y = np.full((K, self.pool.size), np.nan)
        for k, (lab, first) in enumerate(zip(self.labels, self.offsets, strict=True)):
            y[k, first : first + len(lab.scores)] = lab.scores * lab.scale
        self.y = torch.from_numpy(y).to(self.device, self.dtype)  # [K,N], NaN where a run does not know the score
        self.queues = []
        for s, lab, first in zip(self.runs, self.labels, self.offsets, strict=True):
            others = lab.unlabelled if len(lab.unlabelled) else lab.train  # a run that rides along uses none of them
            others = kept_aside(others, s)[1] if self.method.mechanisms(s) else others
            known = lab.train if lab.pairs is None else lab.pairs
            items = {"labelled": known + first, "unlabelled": others + first}
            self.queues.append([Queue(items[name], s["seed"], name) for name in self.streams])
        names = [(name, i) for name in self.names for i in range(self.method.PLACES[name])]
        self.base = np.array([[chance.key(s["seed"], *name) for name in names] for s in self.runs], dtype=np.uint64)
        self.train, self.trained = self.items_of([split.train for split in self.splits])
        self.passes = [-(-len(split.train) // B) for split in self.splits]  # steps of a pass over its training videos
        self.tables, self.block, self.B, self.pairs = {}, None, B, None

    def items_of(self, lists):
        """A run's own list of items for each run: (items [K,n] or, where all have the same, [1,n]; valid, alike).

        Shorter lists are filled up with their first item, which is not valid there.
        """
        lists = [np.sort(items) + first for items, first in zip(lists, self.offsets, strict=True)]
        if all(np.array_equal(items, lists[0]) for items in lists[1:]):
            lists = lists[:1]
        most = max(map(len, lists))
        full = np.stack([np.concatenate([items, np.repeat(items[:1], most - len(items))]) for items in lists])
        valid = np.stack([np.arange(most) < len(items) for items in lists])
        return torch.from_numpy(full).to(self.device), torch.from_numpy(valid).to(self.device)

    def items_trained(self, k):
        """The training items of run k, in the pool's numbers and in the order of `train`."""
        row = 0 if len(self.train) == 1 else k
        return self.train[row][self.trained[row]]

    def draw(self, block):
        """Items [steps,K,S,B] and keys [steps,K,streams] of a block of steps."""
        start = block * BLOCK
        items = np.stack([np.stack([self.stretch(q, start) for q in qs]) for qs in self.queues])  # [K,S,steps*B]
        items = items.reshape(*items.shape[:2], BLOCK, self.B).transpose(2, 0, 1, 3)
        keys = chance.words(self.base, BLOCK, start=start).view(np.int64).transpose(2, 0, 1)
        self.items = torch.from_numpy(np.ascontiguousarray(items)).to(self.device)
        self.keys = torch.from_numpy(np.ascontiguousarray(keys)).to(self.device)
        self.block = block

    def stretch(self, queue, start):
        """The items of BLOCK steps from step `start` on; ranked pairs come as their two items, one after the other."""
        if queue.items.ndim == 1:
            return queue(start * self.B, BLOCK * self.B)
        half = -(-self.B // 2)
        pairs = queue(start * half, BLOCK * half).reshape(BLOCK, 2 * half)
        return pairs[:, : self.B].ravel()

    def batch(self, step):
        first = self.block != step // BLOCK  # of a block
        if first:
            self.draw(step // BLOCK)
        items, keys = self.items[step % BLOCK], self.keys[step % BLOCK]  # [K,S,B], [K,streams]
        chosen = self.method.sample(self, step)
        return self.made_of(items if chosen is None else chosen, keys, step, first)

    def probe(self, items, number, step, own=False):
        """A batch of items [K,2,B] with the keys of this number, the same whenever it is asked for.

        own: controls have their own targets, too.
        """
        keys = [[chance.key(word, "probe", number) for word in row.tolist()] for row in self.base]
        keys = torch.from_numpy(np.array(keys, dtype=np.uint64).reshape(self.base.shape).view(np.int64))
        batch = self.made_of(items, keys.to(self.device), step)
        batch.probe, batch.own = True, own
        return batch

    def made_of(self, items, keys, step, first=False):
        """The batch of items [K,S,B] with keys [K,streams]; `first`: of its block."""
        t = self.method.times(self, items, step)
        if first and t is not None:
            self.check_window(t, items)
        rows, mask = self.pool.times(items, t)
        x = self.pool.gather(self.pool.x, rows)
        y = self.y.gather(1, items[:, 0])
        named, start = {}, 0
        for name in self.names:
            named[name] = keys[:, start : start + self.method.PLACES[name]]
            start += self.method.PLACES[name]
        return Batch(self.runs, x, y, named, step, self, items, mask, rows)

    def check_window(self, t, items):
        """A UserError where segments t of items are none of theirs; looked at once a block, for it waits for a GPU."""
        inside = (t >= 0) & (t < self.pool.length[items].unsqueeze(2))
        where = f"method {self.method.name}: `times` gives"
        if not self.pool.ragged and not inside.all():
            raise UserError(f"{where} places beyond the end of a video: set windows = True to have them masked")
        if (t < 0).any() or not inside[:, :, 0].all() or (inside[:, :, 1:] > inside[:, :, :-1]).any():
            raise UserError(
                f"{where} a place outside a video before one of its segments: give its segments, then what is beyond"
            )

    def videos(self, items):
        """(x [K or 1,1,T,n,*shape], mask or None, rows) of items [K or 1,n], whole videos."""
        rows, mask = self.pool.times(items.unsqueeze(1))
        return self.pool.gather(self.pool.x, rows), mask, rows

    def better(self, items):
        """[K,B,B]: 1 where a run knows items[k,i] to be better than items[k,j]."""
        N = self.pool.size
        if self.pairs is None:
            known = [lab.pairs if lab.pairs is not None else np.empty((0, 2), int) for lab in self.labels]
            codes = [np.sort((p[:, 0] + f) * N + p[:, 1] + f) for p, f in zip(known, self.offsets, strict=True)]
            most = max(1, *map(len, codes))
            full = np.stack([np.concatenate([c, np.full(most - len(c), N * N)]) for c in codes])
            self.pairs = torch.from_numpy(full).to(self.device)  # [K,P] sorted
        asked = (items.unsqueeze(2) * N + items.unsqueeze(1)).flatten(1)
        place = torch.searchsorted(self.pairs, asked).clamp(max=self.pairs.shape[1] - 1)
        return (self.pairs.gather(1, place) == asked).to(self.dtype).view(*items.shape, items.shape[1])

    @torch.no_grad()
    def outputs(self, items):
        """Named predictions [K,n,...] of items [K or 1,n] on the device, scaled as in training."""
        self.model.eval()
        parts = []
        for part in items.split(max(1, ROWS // self.T), 1):
            x, mask, rows = self.videos(part)
            more = {name: self.pool.gather(view, rows) for name, view in self.pool.views.items()}
            more |= {name: value[part] for name, value in self.pool.given.items()}
            more |= {} if mask is None else {"mask": mask}
            parts.append(named(self.method.predict(self.model, x, **more)))
        self.model.train()
        return {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}

    def predict(self, items):
        """Named predictions of every run, [{name: [n,...]}], in its data's own units; `items`: numbers for all runs, or
        a list with an array or list of numbers a run, each in the numbers of the run's own data set."""
        own = isinstance(items, (list, tuple)) and len(items) > 0 and np.ndim(items[0]) == 1
        lists = items if own else [np.asarray(items)] * len(self.runs)
        K, first = len(self.runs), self.offsets
        lists = [np.asarray(part) + f for part, f in zip(lists, first, strict=True)]
        if all(np.array_equal(part, lists[0]) for part in lists[1:]):
            full = lists[0][None]
        else:
            most = max(map(len, lists))
            full = np.stack([np.concatenate([part, np.repeat(part[:1], most - len(part))]) for part in lists])
        out = self.outputs(torch.from_numpy(full).to(self.device))
        out = {name: value.double().cpu().numpy() for name, value in out.items()}
        return [
            self.task.units({name: v[k, : len(lists[k])] for name, v in out.items()}, self.labels[k]) for k in range(K)
        ]

    def found(self):
        """What training has made of each run's own items: [{name: [N_k]}]."""
        made = {name: np.asarray(torch.as_tensor(v).cpu()) for name, v in self.method.found(self).items()}
        return [
            {name: v[k, first : first + len(self.data[k])] for name, v in made.items()}
            for k, first in enumerate(self.offsets)
        ]

    def restart(self, runs, round):
        """These runs (numbers) begin again with fresh weights, a function of (seed, round), and no moments."""
        settings = [self.runs[k] for k in runs]
        seeds = [s["seed"] if round == 0 else chance.key(s["seed"], "round", round) for s in settings]
        fresh = self.method.build(settings, self.data[0]).to(self.device, self.dtype)
        fresh.initialise(seeds)
        index = torch.as_tensor(runs, device=self.device)
        mine = [*self.model.parameters(), *self.model.buffers()]
        with torch.no_grad():
            for value, new in zip(mine, [*fresh.parameters(), *fresh.buffers()], strict=True):
                value[index] = new
        self.optimiser.restart(list(runs))

    def select(self, keep):
        """Only the runs of these indices go on; the bits of those that stay do not change."""
        self.runs, self.labels = [self.runs[k] for k in keep], [self.labels[k] for k in keep]
        self.data, self.splits = [self.data[k] for k in keep], [self.splits[k] for k in keep]
        index = torch.as_tensor(keep, device=self.device)
        self.model.select(index)
        self.optimiser.select(keep, self.model, self.runs)
        self.memory = {name: value[index] for name, value in self.memory.items()}
        self.prepare()

    # ---- checkpoints

    def state(self):
        """Everything that a step changes, [K, ...] each, and what holds for the whole stack."""
        rows = {f"model.{name}": value.detach() for name, value in self.parts()}
        rows |= {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
        rows |= {f"memory.{name}": value for name, value in self.memory.items()}
        pool = {"offsets": self.offsets, "items": self.pool.size}
        return {"rows": rows, "pool": pool, "facts": {**self.facts, "streams": self.streams}}

    def load(self, state, keep):
        """Go on from a state; `keep`: which of its runs the runs of this stack are."""
        rows, facts = {n: v[keep].to(self.device) for n, v in state["rows"].items()}, dict(state["facts"])
        self.streams = facts.pop("streams")
        self.facts = facts
        with torch.no_grad():
            for name, value in self.parts():
                value.copy_(rows[f"model.{name}"])
        self.optimiser.load({n.split(".", 1)[1]: v for n, v in rows.items() if n.startswith("optimiser.")})
        memory = {n.split(".", 1)[1]: v for n, v in rows.items() if n.startswith("memory.")}
        before, size = [state["pool"]["offsets"][k] for k in keep], state["pool"]["items"]
        places, row = self.places(before), torch.arange(len(keep), device=self.device).unsqueeze(1)
        self.memory = {n: v[row, places] if v.dim() > 1 and v.shape[1] == size else v for n, v in memory.items()}
        self.prepare()

    def places(self, before):
        """[K,N] where the pool's items stood for each run in a pool in which its own data set began at `before[k]`:
        a data set whose runs have all ended is in a checkpoint's pool, but not in that of the runs that go on."""
        first = {id(data): start for data, start in zip(self.data, before, strict=True)}
        rows = [{**first, id(data): start} for data, start in zip(self.data, before, strict=True)]
        rows = [torch.cat([torch.arange(len(d)) + row[id(d)] for d in self.pool.sets]) for row in rows]
        return torch.stack(rows).to(self.device)

    def parts(self):
        return [*self.model.named_parameters(), *self.model.named_buffers()]


def named(out):
    """A bare tensor is the score."""
    return out if isinstance(out, dict) else {"score": out}
