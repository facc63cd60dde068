"""What training sets up of the machine, and leaves as it was."""

import pytest
import torch
from helpers import noise_set

from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.models import functions
from aqa_lib.training import train
from aqa_lib.training.train import Loop

RUN = {"steps": 5, "batch": 4, "fraction": 0.4}


@pytest.mark.parametrize("run", [RUN, {**RUN, "precision": "tf32"}, {**RUN, "masks": 99}, {**RUN, "lr": 1e30}])
def test_threads_and_tf32_are_as_they_were(run):
    data, seen = noise_set(), []
    before = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    try:
        torch.set_num_threads(3)
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            train("s4aqa", data, official(data), [run], on_result=lambda *r: seen.append(torch.get_num_threads()))
        except UserError:
            pass
        assert torch.get_num_threads() == 3 and torch.backends.cuda.matmul.allow_tf32
        assert set(seen) <= {1}  # one thread while it trains
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cuda.matmul.allow_tf32 = before[1]


def test_every_stack_of_a_call_has_the_precision_of_its_runs(monkeypatch):
    seen, run = [], Loop.run

    def watched(self):
        seen.append((self.stack.runs[0]["precision"], torch.backends.cuda.matmul.allow_tf32))
        return run(self)

    monkeypatch.setattr(Loop, "run", watched)
    data = noise_set()
    train("s4aqa", data, official(data), [RUN, {**RUN, "precision": "tf32"}, {**RUN, "precision": "bf16"}])
    assert sorted(seen) == [("bf16", False), ("fp32", False), ("tf32", True)]


@pytest.mark.parametrize(("bf16", "fast"), [(1.0, True), (3.0, False), (1.9, False)])
def test_bf16_is_native_where_the_clock_says_that_it_is_faster(monkeypatch, bf16, fast):
    asked = []

    def seconds(a, b, **more):
        asked.append(a.dtype)
        return bf16 if a.dtype == torch.bfloat16 else 2.0

    functions.fast_bf16.cache_clear()
    monkeypatch.setattr(functions, "least_seconds", seconds)
    try:
        cpu = torch.device("cpu")
        assert functions.fast_bf16(cpu) is fast and functions.fast_bf16(cpu) is fast
        assert len(asked) == 2  # once a process, both kinds
    finally:
        functions.fast_bf16.cache_clear()


def test_the_clock_measures_products():
    a, b = torch.randn(1, 64, 64), torch.randn(1, 64, 64)
    short, long = functions.least_seconds(a, b, count=1), functions.least_seconds(a, b, count=200)
    assert 0 < short < long


def test_the_clock_draws_nothing_from_the_users_random_numbers():
    functions.fast_bf16.cache_clear()
    before = torch.get_rng_state()
    functions.fast_bf16(torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


def test_data_sets_and_splits_are_one_or_one_a_run():
    data = noise_set()
    for sets, split in (([data], official(data)), (data, [official(data)] * 3)):
        with pytest.raises(UserError, match="give one, or one a run"):
            train("ridge", sets, split, [{"fraction": 0.4}] * 2)
