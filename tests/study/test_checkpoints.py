"""A killed stack goes on from its checkpoint, in another process, with the bits that it would have had."""

import multiprocessing
import time

import numpy as np
import pytest

from aqa_lib.study import study as study_module
from aqa_lib.study.study import Study
from aqa_lib.training.train import Loop

WORLD = {"name": "surrogate", "n_train": 80, "n_test": 20, "T": 5, "D": 32}
RUN = {"fraction": 0.3, "batch": 16, "lr": 2e-3, "steps": 3000, "every": 500}
RUNS = [{**RUN, "seed": k, "draw": k} for k in range(3)] + [{**RUN, "seed": 3, "steps": 500}]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    return Study("killed")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["s4aqa", "mean_teacher"])
def test_a_killed_stack_goes_on_with_the_same_bits(study, method, monkeypatch):
    whole = Study("whole").train(method, WORLD, runs=RUNS, weights=True, device="cpu")
    todo = [(spec, WORLD) for spec in study.specs(method, WORLD, "official", RUNS)]
    options = {"device": "cpu", "weights": True, "checkpoint": 0.1}
    victim = multiprocessing.get_context("spawn").Process(
        target=study_module.work, args=("killed", method, todo, None, options)
    )
    victim.start()
    folder, wait = study.ledger.folder / ".checkpoints", time.monotonic() + 60
    while time.monotonic() < wait and not (study.ledger.table().shape[0] and any(folder.glob("*.checkpoint"))):
        time.sleep(0.02)
    time.sleep(0.3)  # a checkpoint that the short run is no longer in
    victim.kill()
    victim.join()
    assert 1 <= len(study.ledger.table()) < len(RUNS), "the kill came too late to tell anything"

    resumed = []
    monkeypatch.setattr(Loop, "resume", watched(Loop.resume, resumed))
    table = study.train(method, WORLD, runs=RUNS, weights=True, device="cpu", checkpoint=0.1)
    assert resumed and min(resumed) >= 500  # it did go on, past the end of the short run
    assert not any(folder.glob("*.checkpoint"))
    for one, other in zip(whole["id"], table["id"], strict=True):
        a, b = Study("whole").read(one), study.read(other)
        assert one == other and a.predictions.equals(b.predictions)
        assert a.curve.equals(b.curve)
        assert all(np.array_equal(w, b.weights()[name]) for name, w in a.weights().items())


def watched(resume, steps):
    def wrapper(self, state, keep):
        found = resume(self, state, keep)
        steps.append(self.step)
        return found

    return wrapper


def test_a_damaged_checkpoint_is_said_and_its_runs_begin_again(study):
    folder = study.ledger.folder / ".checkpoints"
    folder.mkdir(parents=True)
    (folder / "0123456789abcdef.checkpoint").write_bytes(b"half")
    with pytest.warns(UserWarning, match="begin again"):
        table = study.train("s4aqa", WORLD, runs=[{**RUN, "steps": 20}], device="cpu")
    assert table["state"].tolist() == ["complete"]
