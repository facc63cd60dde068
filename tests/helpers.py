"""What tests of methods share: a small set of noise, a stack to step through, and gradients by part of the network."""

import numpy as np
import pandas as pd
import torch

from aqa_lib import methods
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.splits import official
from aqa_lib.training.stack import Labels, Stack


def noise_set(n=60, T=5, D=16, seed=0, views=()):
    """Features and scores that depend on them a little; sizes as small as a test allows."""
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(n, T, D)), 0).astype("f4")
    y = 50 + 10 * x.mean(1) @ rng.normal(size=D) + rng.normal(size=n)
    table = pd.DataFrame({"split": ["train"] * (n - n // 4) + ["test"] * (n // 4)})
    extra = {name: np.maximum(rng.normal(size=(n, T, D)), 0).astype("f4") for name in views}
    return AssessmentSet(name="noise", features=x, scores=y, ids=np.arange(n).astype(str), table=table, views=extra)


def make_stack(method, data, runs=({},), device="cpu", **kw):
    """A Stack of `runs` of a method on the official split."""
    method = methods.get(method)
    runs = [method.resolve(r) for r in runs]
    split = official(data)
    torch.set_num_threads(1)
    return Stack(method, data, split, runs, [Labels(data, split, s) for s in runs], device, **kw)


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
