"""On a GPU: every method with gradients trains, copies nothing within a step, and agrees with the processor.

Skipped where there is no GPU; what of this can be seen without one (that constants are made once) is tested anywhere.
"""

import numpy as np
import pytest
import torch
from helpers import make_stack, of_scores, world

from aqa_lib import methods
from aqa_lib.models.functions import constant
from aqa_lib.models.ordinary import Ordinary

GRADIENT = [name for name in of_scores() if methods.get(name).gradient]
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: nothing here was run on one")
RUNS = [{"seed": k, "draw": k, "fraction": 0.4, "steps": 100, "batch": 16} for k in range(3)]


def stack_of(name, runs, device):
    runs = [{**methods.get(name).small, **r} for r in runs]
    return make_stack(name, world(n_train=80, n_test=20, T=6, D=32), runs, device=device)


def stacked(name, device):
    """A stack of a method whose network is stacked: one of ordinary modules asks the device for its keys."""
    stack = stack_of(name, RUNS, device)
    if isinstance(stack.model, Ordinary):
        pytest.skip("copies of an ordinary module read their keys from the device in each step")
    return stack


def advance(stack, steps, start=0):
    for step in range(start, start + steps):
        stack.method.before(stack, step)
        stack.model.differentiate(stack.method.losses(stack.model, stack.batch(step))["loss"])
        stack.optimiser.step()
        stack.method.after(stack, step + 1)
    return stack


def apart(a, b):
    """|a - b| / |b| of two runs' weights."""
    a, b = (torch.as_tensor(x).double().cpu() for x in (a, b))
    return float((a - b).norm() / b.norm())


@GPU
@pytest.mark.parametrize("name", GRADIENT)
def test_a_step_copies_nothing(name):
    """After two steps, which make the constants; the orders of 256 steps are drawn together before."""
    stack = advance(stacked(name, "cuda"), 2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        advance(stack, 8, start=2)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@GPU
@pytest.mark.parametrize("name", GRADIENT)
def test_a_run_agrees_with_itself_alone_and_with_the_processor(name):
    """cuBLAS may take another algorithm for another number of runs: relative 1e-3 after 50 steps in fp32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    together = advance(stack_of(name, RUNS, "cuda"), 50).model.flat[1]
    alone = advance(stack_of(name, RUNS[1:2], "cuda"), 50).model.flat[0]
    processor = advance(stack_of(name, RUNS[1:2], "cpu"), 50).model.flat[0]
    assert apart(together, alone) <= 1e-3 and apart(together, processor) <= 1e-3


@GPU
@pytest.mark.parametrize("name", GRADIENT)
def test_a_checkpoint_goes_on_there(name):
    whole = advance(stack_of(name, RUNS, "cuda"), 20)
    half = advance(stack_of(name, RUNS, "cuda"), 10).state()
    half["rows"] = {n: v.cpu() for n, v in half["rows"].items()}
    other = stack_of(name, RUNS, "cuda")
    other.load(half, [0, 1, 2])
    assert apart(advance(other, 10, start=10).model.flat, whole.model.flat) <= 1e-3


@pytest.mark.parametrize("name", GRADIENT)
def test_a_step_makes_no_tensor_of_plain_numbers(name, monkeypatch):
    """On any device: after two steps nobody calls torch.tensor, as_tensor or new_tensor, which would copy."""
    stack = advance(stacked(name, "cpu"), 2)

    def refused(*args, **kwargs):
        raise AssertionError("a tensor is made of plain numbers within a step")

    for owner, what in ((torch, "tensor"), (torch, "as_tensor"), (torch, "from_numpy"), (torch.Tensor, "new_tensor")):
        monkeypatch.setattr(owner, what, refused)
    for what in ("item", "tolist", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, what, refused)
    advance(stack, 8, start=2)


def test_constants_are_made_once():
    a, b = (constant((1.0, 2.0), torch.float32, torch.device("cpu")) for _ in range(2))
    assert a is b and np.array_equal(a, [1, 2])
