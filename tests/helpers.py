"""What tests of methods share: a small set of noise, a stack to step through, and gradients by part of the network."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from aqa_lib import methods
from aqa_lib.data import load
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.splits import official
from aqa_lib.tasks import SCORES
from aqa_lib.training import train
from aqa_lib.training.stack import Stack


def noise_set(n=60, T=5, D=16, seed=0, views=()):
    """Features and scores that depend on them a little; sizes as small as a test allows."""
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(n, T, D)), 0).astype("f4")
    y = 50 + 10 * x.mean(1) @ rng.normal(size=D) + rng.normal(size=n)
    table = pd.DataFrame({"split": ["train"] * (n - n // 4) + ["test"] * (n // 4)})
    extra = {name: np.maximum(rng.normal(size=(n, T, D)), 0).astype("f4") for name in views}
    return AssessmentSet(name="noise", features=x, scores=y, ids=np.arange(n).astype(str), table=table, views=extra)


def uneven_noise(n=800, seed=0):
    """(a set whose scores' standard deviation is 1 to 9 by one of eight features, and their mean by another; that
    deviation [n])."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 1, 8)).astype("f4")
    sd = 5 + 2 * x[:, 0, 1]
    table = pd.DataFrame({"split": ["train"] * (n - n // 4) + ["test"] * (n // 4)})
    made = dict(features=x, scores=50 + 8 * x[:, 0, 0] + sd * rng.normal(size=n), ids=np.arange(n).astype(str))
    return AssessmentSet(name="uneven noise", table=table, **made), sd


def of_scores():
    """The names of all methods that learn from scores; those of other tasks have checks of their own (contract.py)."""
    return [name for name in methods.names() if methods.get(name).task == "scores"]


def world(**options):
    """A small surrogate set; a column of durations lets every method learn from it."""
    data = load("surrogate", **{"T": 4, "D": 16, **options})
    duration = np.random.default_rng(0).uniform(2, 4, len(data)) + data.features.mean((1, 2))
    return dataclasses.replace(data, table=data.table.assign(duration=duration))


def make_stack(method, data, runs=({},), device="cpu", split=None, **kw):
    """A Stack of `runs` of a method; `split`: one a run, or None: the official split for all."""
    method = methods.get(method) if isinstance(method, str) else method
    runs = [method.resolve(r) for r in runs]
    split = split or [official(data)] * len(runs)
    torch.set_num_threads(1)
    labels = [SCORES.labels(data, part, s) for part, s in zip(split, runs, strict=True)]
    return Stack(method, data, split, runs, labels, device, **kw)


def stated(name):
    """Steps, rate and settings of a method as configs/full.yaml compares it, with 40 % of the labels."""
    text = (Path(__file__).parents[1] / "configs" / "full.yaml").read_text()
    blocks = {e.get("name", e["notebook"]): e["parameters"] for e in yaml.safe_load(text)["notebooks"]}
    given = blocks["30_compare_40"]
    own = given["settings"].get(methods.get(name).title) or given["settings"].get(name) or {}
    return {"fraction": 0.4, "steps": given["steps"], "lr": given["lr"], **own}


def three_kinds(name, off, seeds=3, **more):
    """({mechanism: table of runs}, without its weight, of its control): index, t, share and state as configs/full.yaml
    trains it on the quick surrogate, a row a seed; labels, draws and videos kept aside are the same in all three."""
    data, method = load("surrogate"), methods.get(name)
    runs = [{**stated(name), **more, "seed": k, "draw": k} for k in range(seeds)]
    found = train(name, data, official(data), [{**run, **kind} for kind in ({}, off, method.control) for run in runs])
    metrics = [r.metrics for r in found]
    numbers = {
        m: pd.DataFrame({n: [row[f"{m}_{n}"] for row in metrics] for n in ("index", "t", "share", "state")})
        for m in method.mechanisms(found[0].settings)
    }
    return [{m: t.iloc[i * seeds : (i + 1) * seeds] for m, t in numbers.items()} for i in range(3)]


def scores(stack, items):
    """The predicted scores [K,n] of the same items by each run of a stack."""
    return np.stack([out["score"] for out in stack.predict(np.asarray(items))])


def fitted(method, x, y, settings=None):
    """A closed-form method fitted to videos x [n,T,D] of scores y [n] (NaN: no label), as a function of videos."""
    method, settings = methods.get(method), settings or {}

    def among(x):
        n = len(x)
        unknown = np.full(n, np.nan)
        return AssessmentSet("videos", x, unknown, np.arange(n).astype(str), pd.DataFrame(index=range(n))), np.arange(n)

    arrays = method.fit(*among(x), y, settings)
    return lambda x: method.apply(arrays, *among(x), settings)


def losses_of(stack, step=0):
    """What the method returns for a step of the stack."""
    stack.method.before(stack, step)
    return stack.method.losses(stack.model, stack.batch(step))


def advance(stack, steps, start=0):
    """Optimiser steps `start` ... `start + steps - 1`, as the training loop takes them."""
    for step in range(start, start + steps):
        stack.model.differentiate(losses_of(stack, step)["loss"])
        stack.optimiser.step()
        stack.method.after(stack, step + 1)


def gradients(stack, term="loss", step=0):
    """Sum of |gradient| of one term of step `step`, by the first part of the parameters' names."""
    stack.model.differentiate(losses_of(stack, step)[term])
    sums, start = {}, 0
    for name, p in stack.model.named_parameters():
        if p.requires_grad:
            n = p[0].numel()
            part = name.split(".")[0]
            sums[part] = sums.get(part, 0.0) + float(stack.model.flat_grad[:, start : start + n].abs().sum())
            start += n
    return sums


def ours(tmp_path, name="ours", n=40, T=5, **fields):
    """The path of a set of one's own, with nothing but features, scores and a split."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"split": ["train"] * (n - 10) + ["test"] * 10})
    x, y = rng.normal(size=(n, T, 8)), rng.normal(size=n)
    fields = {"features": x, "scores": y, "ids": np.arange(n), "table": table} | fields
    return str(AssessmentSet(name=name, **fields).save(tmp_path / f"{name}.safetensors"))
