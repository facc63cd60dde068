"""A set of videos of unequal length, and what one run of a stack sees of it as a plain loop over videos takes it.

Nothing here comes from the library's pool or masks: videos are read from the data set, and what chance decides is
`chance.words` of the step's keys at the index of each segment, video and channel.
"""

import math

import numpy as np
import pandas as pd
import torch
from helpers import advance, make_stack, noise_set
from scipy.stats import beta

from aqa_lib import chance, methods
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.ragged import Ragged

VIEWS = ("flow", "still")


def ragged_set(lengths, D=16, seed=0):
    """Videos of these lengths, a quarter of them to test, with two more views, attributes and captions."""
    rng, n = np.random.default_rng(seed), len(lengths)
    x, *views = (Ragged.of([np.maximum(rng.normal(size=(t, D)), 0).astype("f4") for t in lengths]) for _ in range(3))
    y = 50 + 10 * x.means() @ rng.normal(size=D) + rng.normal(size=n)
    table = {
        "split": ["train"] * (n - n // 4) + ["test"] * (n // 4),
        "position": rng.choice(["free", "pike", "tuck"], n),
        "armstand": rng.random(n) < 0.3,
        "rotation": rng.choice(["back", "forward", "inward", "reverse"], n),
        "somersaults": rng.integers(0, 10, n),
        "twists": rng.integers(0, 8, n),
        "caption": [" ".join(rng.choice(list("abcdefgh"), 1 + i % 6)) if i % 5 else None for i in range(n)],
    }
    made = dict(scores=y, ids=np.arange(n).astype(str), table=pd.DataFrame(table))
    return AssessmentSet(name="noise", features=x, views=dict(zip(VIEWS, views, strict=True)), **made)


def uneven(n=60, least=3, most=9, **kw):
    """n videos of least to most segments, among them one of each."""
    lengths = np.random.default_rng(1).integers(least, most + 1, n)
    lengths[:2] = least, most
    return ragged_set(lengths, **kw)


def even(T=6, n=60):
    """An ordinary set with the same columns and views."""
    data, ragged = noise_set(n, T, views=VIEWS), uneven(n)
    return AssessmentSet(**{**vars(data), "table": ragged.table})


def runs_of(name, settings, count=2):
    """Runs of different seeds, label draws, label shares and rates."""
    own = {"shares": 4} if "shares" in methods.get(name).settings() else {}
    run = {"batch": 8, "steps": 10, **own, **settings}
    return [{"seed": k, "draw": k, "fraction": 0.3 + 0.1 * k, "lr": 1e-3 * (k + 1), **run} for k in range(count)]


def stack_of(name, data, settings=None, steps=3, count=2, dtype=torch.float64):
    """A stack of runs after some steps."""
    stack = make_stack(name, data, runs_of(name, settings or {}, count), dtype=dtype)
    advance(stack, steps)
    return stack


def with_more(data, T):
    """The set with one more video of T segments, which is in no split."""
    rng, more = np.random.default_rng(7), {"ids": np.append(data.ids, "long"), "scores": np.append(data.scores, 1.0)}
    longer = {n: Ragged.of([*x, rng.random((T, x.shape[2]))]) for n, x in [("rgb", data.features), *data.views.items()]}
    table = pd.concat([data.table, data.table.tail(1).assign(split="")], ignore_index=True)
    return AssessmentSet(name=data.name, features=longer.pop("rgb"), views=longer, table=table, **more)


def padded(value, like):
    """`value` [K,N] with what `like` [K,N+1] has of the items that it lacks."""
    more = like.shape[1] - value.shape[1] if value.dim() > 1 else 0
    return torch.cat([value, like[:, value.shape[1] :]], 1) if more > 0 else value.clone()


class Run:
    """Run k of a stack at a step; see benchmarks/plain/ragged.py."""

    def __init__(self, stack, k, step):
        batch, data = stack.batch(step), stack.data[k]
        self.s, self.keys, self.B = stack.runs[k], {n: v[k] for n, v in batch.keys.items()}, stack.B
        named = [*stack.model.named_parameters(), *stack.model.named_buffers()]
        self.w = {n: v.detach()[k].clone().requires_grad_(v.requires_grad) for n, v in named}
        self.statistics, self.D = {}, data.features.shape[2]
        items, scale, lab = batch.items[k].numpy(), stack.labels[k].scale, stack.labels[k]
        self.labelled, self.unlabelled = ([self.video(data, i) for i in row] for row in (items[0], items[-1]))
        if self.s.get("pretext") == "still":
            self.still = [[self.video(data, i, "still") for i in row] for row in (items[1], items[0])]
        self.items, self.memory = items, {n: v[k].clone() for n, v in stack.memory.items()}
        self.y = torch.from_numpy(data.scores[items[0]] * scale)
        self.known = [self.video(data, i) for i in lab.train]
        self.known_y = torch.from_numpy(data.scores[lab.train] * scale)
        warm_up = self.s.get("warm_up", 1.0) * self.s["steps"]
        self.ramp = min(1.0, step / warm_up)
        if "said" in self.memory:
            self.told(data, lab.train)

    @staticmethod
    def video(data, i, view="rgb"):
        return torch.from_numpy(np.asarray(data.view(view)[int(i)])).double()

    def key(self, name, i):
        return np.uint64(self.keys[name][i].item() % 2**64)

    @staticmethod
    def bytes_of(key, shape):
        n = math.prod(shape)
        return chance.words(key, -(-n // 8)).astype("<u8").view(np.uint8)[:n].reshape(shape)

    def kept(self, key, channels):
        drop = round(256 * self.s["drop"])
        return torch.from_numpy(self.bytes_of(key, (99, self.B, channels)) >= drop).double()

    def drop(self, name, i):
        widths = [max(self.D // 2**layer, 16) for layer in (1, 2, 3)]
        return [self.kept(self.key(f"{name}{layer}", i), c) for layer, c in enumerate(widths)]

    def passing(self, m, i):
        """Dropout of pass i of network m of UCVME."""
        keys = [chance.words(self.key(f"pass{layer}", m), i + 1)[i] for layer in range(3)]
        widths = [max(self.D // 2**layer, 16) for layer in (1, 2, 3)]
        return [self.kept(key, c) for key, c in zip(keys, widths, strict=True)]

    def uniform(self, name, i, shape):
        return (chance.words(self.key(name, i), math.prod(shape)) >> np.uint64(40)).reshape(shape) * 2.0**-24

    def hide(self, i):
        return torch.from_numpy(self.uniform("hide", i, (99, self.B)) >= self.s["hide"]).double()

    def direction(self):
        return torch.from_numpy(self.uniform("direction", 0, (99, self.B, self.D)) - 0.5)

    def noise(self):
        """Sums of eight bytes, rounded to fp32 as the library draws them."""
        sums = self.bytes_of(self.key("noise", 0), (99, self.B, self.D, 8)).astype(np.int64).sum(-1)
        scale = np.float32((8 * (256**2 - 1) / 12) ** -0.5)
        return torch.from_numpy(((sums - 1020).astype("f4") * scale).astype("f8"))

    def words(self, name, i):
        return chance.words(self.key(name, i), 99 * self.B).view(np.int64).reshape(99, self.B)

    def share(self):
        b = beta.ppf(self.uniform("mix", 0, (1,))[0], 0.5, 0.5)
        return max(b, 1 - b)

    def order(self, n):
        return torch.from_numpy(np.argsort(chance.words(self.key("shuffle", 0), n).view(np.int64), kind="stable"))

    def aligned(self, predicted):
        label = self.memory["aligned"][torch.from_numpy(self.items[1])]
        assert label.isfinite().any()
        return torch.where(label.isfinite(), label, predicted)

    def told(self, data, labelled):
        """Ids of the labelled captions: 0 ends one, 1 is an unknown word, 2 ... the words by how often they come."""
        texts = [t.split() if isinstance(t, str) else [] for t in data.table["caption"]]
        words = sorted({w for t in texts for w in t})
        count = {w: sum(texts[i].count(w) for i in labelled) for w in words}
        known = sorted((w for w in words if count[w]), key=lambda w: -count[w])
        ids = {w: 2 + i for i, w in enumerate(known)}
        here = [texts[i] for i in self.items[0]]
        self.ids, self.ids_in_all = [[*(ids[w] for w in t), 0] if t else [] for t in here], 2 + len(known)
        names = {
            "position": ["free", "pike", "tuck"],
            "armstand": [False, True],
            "rotation": ["back", "forward", "inward", "reverse"],
            "somersaults": list(range(10)),
            "twists": list(range(8)),
        }
        rows = [[v.index(data.table[n][i]) for n, v in names.items()] for i in self.items[0]]
        self.classes = torch.tensor(rows)

    def said(self, _):
        """Dropout of the states before the words [L,B,H]."""
        return self.kept(self.key("drop", 0), max(self.D // 2, 32))
