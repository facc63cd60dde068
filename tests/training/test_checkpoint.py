"""A killed stack goes on from its checkpoint as if nothing had happened, also when some of its runs had ended."""

import warnings

import numpy as np
import pytest
import torch
from helpers import of_scores, world

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.training import Checkpoints, checkpoint, train
from aqa_lib.training.train import Loop

STEPS = [4, 4, 8, 4, 8]  # of five runs
WORLDS = [0, 0, 2, 1, 1]  # all runs of the first end
GRADIENT = [name for name in of_scores() if methods.get(name).gradient]


class Killed(BaseException):
    """What no code catches."""


def same(a, b):
    """Whether two nested values are equal, tensors to the last bit."""
    if torch.is_tensor(a):
        return torch.is_tensor(b) and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def asked(name, **settings):
    """Data, splits and runs of one call."""
    worlds = [world(seed=seed, n_train=80, n_test=10 + seed) for seed in range(3)]
    data = [worlds[w] for w in WORLDS]
    made = {**methods.get(name).small, "fraction": 0.4, "batch": 32, "every": 3, "lr": 2e-3, **settings}
    if name == "trs":
        made["burn_in"] = 0.0  # a run in burn-in sums up more rows, of zeros, where others are beyond theirs
    runs = [{**made, "seed": k, "draw": k, "steps": steps} for k, steps in enumerate(STEPS)]
    return data, list(map(official, data)), runs


def killed_after(saves, monkeypatch):
    """From now on the process dies when a stack has saved its state so many times."""
    save, count = checkpoint.Writer.save, []

    def last(self, *args):
        save(self, *args)
        count.append(1)
        if len(count) == saves:
            raise Killed

    monkeypatch.setattr(checkpoint.Writer, "save", last)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [*((name, {}) for name in GRADIENT), ("s4aqa", {"balance": True})], ids=str
)
@pytest.mark.parametrize("order", [[2, 4], [4, 2]], ids=str)
def test_what_goes_on_has_the_bits_that_it_would_have_had(name, settings, order, tmp_path, monkeypatch):
    """After six steps three runs have ended; the others come back in either order, without the ended ones' data."""
    data, splits, runs = asked(name, **settings)
    whole = train(name, data, splits, runs, weights=True)
    ids, ended = [f"run{k}" for k in range(5)], {}
    with monkeypatch.context() as patch:
        killed_after(6, patch)
        with pytest.raises(Killed):
            train(name, data, splits, runs, weights=True, on_result=ended.__setitem__,
                  checkpoints=Checkpoints(tmp_path, ids, seconds=0))  # fmt: skip
    assert sorted(ended) == [0, 1, 3]
    (path,) = tmp_path.iterdir()
    assert Checkpoints.read(path)["names"] == ["run2", "run4"]
    rest = [[part[i] for i in order] for part in (data, splits, runs, ids)]
    steps, before = [], type(methods.get(name)).before
    monkeypatch.setattr(type(methods.get(name)), "before", lambda *a: steps.append(a[2]) or before(*a))
    results = train(name, *rest[:3], weights=True, checkpoints=Checkpoints(tmp_path, rest[3], seconds=1e9))
    assert steps == [6, 7]  # not from the first step again
    for i, result in zip(order, results, strict=True):
        for part, value in whole[i].weights.items():
            assert np.array_equal(result.weights[part], value), part
        assert result.curve.equals(whole[i].curve) and result.predictions.equals(whole[i].predictions)
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_other_sources_and_damaged_ones_are_begun_again(tmp_path, monkeypatch):
    data, splits, runs = asked("usdl")
    ids = [f"run{k}" for k in range(5)]
    with monkeypatch.context() as patch:
        killed_after(6, patch)
        with pytest.raises(Killed):
            train("usdl", data, splits, runs, checkpoints=Checkpoints(tmp_path, ids, "old", 0))
    assert list(Checkpoints(tmp_path, ids, "new").found(range(5))) == []
    assert [places for _, _, places in Checkpoints(tmp_path, ids, "old").found(range(5))] == [[2, 4]]
    assert list(Checkpoints(tmp_path, ["another"], "old").found([0])) == []
    (path,) = tmp_path.iterdir()
    kept, random = path.read_bytes(), np.random.default_rng(0)
    path.write_bytes(kept[:100])
    with pytest.warns(UserWarning, match="cannot be read .*: its runs begin again"):
        assert list(Checkpoints(tmp_path, ids, "old").found(range(5))) == []
    path.write_bytes(kept)
    whole, refused = Checkpoints.read(path), 0
    for place in random.integers(len(kept), size=40):
        damaged = bytearray(kept)
        damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True):
            state = Checkpoints.read(path)
        refused += state is None
        assert state is None or same(state, whole)  # padding between the parts is nobody's
    assert refused > 10


def test_what_another_run_depended_on_does_not_matter(tmp_path, monkeypatch):
    """Runs on data sets of two readers: those of one have ended, and the others still find their checkpoint."""
    data, splits, runs = asked("usdl")
    ids, codes = [f"run{k}" for k in range(5)], ["one", "one", "other", "one", "one"]
    with monkeypatch.context() as patch:
        killed_after(6, patch)
        with pytest.raises(Killed):
            train("usdl", data, splits, runs, checkpoints=Checkpoints(tmp_path, ids, codes, 0))
    for left, asked_for, places in [
        (["run2", "run4"], ["other", "one"], [0, 1]),
        (["run4"], ["one"], [0]),
        (["run2", "run4"], ["edited", "one"], [1]),
    ]:
        found = Checkpoints(tmp_path, left, asked_for).found(range(len(left)))
        assert [here for *_, here in found] == [places]


def test_a_later_state_takes_the_place_of_the_one_that_it_went_on_from(tmp_path, monkeypatch):
    """Killed once more: two of five runs are left, and one file, from which they end."""
    data, splits, runs = asked("usdl")
    whole, files = train("usdl", data, splits, runs, weights=True), []
    for saves, left in ((5, range(5)), (2, [2, 4])):
        given = [[part[i] for i in left] for part in (data, splits, runs)]
        saved = Checkpoints(tmp_path, [f"run{i}" for i in left], seconds=0)
        with monkeypatch.context() as patch:
            killed_after(saves, patch)
            with pytest.raises(Killed):
                train("usdl", *given, checkpoints=saved)
        files.append(list(tmp_path.iterdir()))
    assert list(map(len, files)) == [1, 1] and files[0] != files[1]
    assert Checkpoints.read(files[1][0])["loop"]["step"] == 7
    results = train("usdl", *given, weights=True, checkpoints=saved)
    for i, result in zip((2, 4), results, strict=True):
        assert all(np.array_equal(result.weights[part], value) for part, value in whole[i].weights.items())
    assert not list(tmp_path.iterdir())


def test_a_state_that_two_processes_go_on_from_stays_for_the_second(tmp_path, monkeypatch):
    """One takes a run of two and is killed, then another takes both: neither begins at an earlier step than it need."""
    data, splits, runs = asked("usdl")
    whole, ids = train("usdl", data, splits, runs, weights=True), [f"run{k}" for k in range(5)]
    steps, resume = {}, Loop.resume

    def noted(self, state, keep):
        steps.update(dict.fromkeys(self.places, state["loop"]["step"]))
        return resume(self, state, keep)

    monkeypatch.setattr(Loop, "resume", noted)
    for saves, mine in ((6, range(5)), (1, [2]), (1, [4])):
        with monkeypatch.context() as patch:
            killed_after(saves, patch)
            with pytest.raises(Killed):
                train("usdl", data, splits, runs, checkpoints=Checkpoints(tmp_path, ids, seconds=0),
                      claim=lambda numbers: [i for i in numbers if i in mine])  # fmt: skip  # noqa: B023
    assert steps == {2: 6, 4: 6}
    over = {"run0", "run1", "run3"}
    saved = Checkpoints(tmp_path, ids, seconds=1e9, ended=over.__contains__)
    results = train("usdl", data, splits, runs, weights=True, checkpoints=saved,
                    claim=lambda numbers: [i for i in numbers if i in (2, 4)],
                    on_result=lambda i, _: over.add(ids[i]))  # fmt: skip
    assert steps == {2: 7, 4: 7} and not list(tmp_path.iterdir())
    for i in (2, 4):
        assert all(np.array_equal(results[i].weights[part], value) for part, value in whole[i].weights.items())


def test_only_runs_that_are_claimed_are_trained_a_stack_at_a_time(tmp_path):
    data, splits, runs = asked("usdl")
    whole, stacks, ended = train("usdl", data, splits, runs, weights=True), [], []

    def claim(numbers):
        stacks.append((list(numbers), list(ended)))
        return [i for i in numbers if i != 2]  # another process has it

    keep = lambda number, result: ended.append(number)  # noqa: E731
    results = train("usdl", data, splits, runs, weights=True, at_once=2, claim=claim, on_result=keep)
    assert sorted(sum((numbers for numbers, _ in stacks), [])) == list(range(5)) and len(stacks) == 3
    for k, (_, before) in enumerate(stacks):  # asked for when the stacks before it have ended, not earlier
        assert sorted(before) == sorted({i for numbers, _ in stacks[:k] for i in numbers} - {2})
    assert results[2] is None and sorted(ended) == [0, 1, 3, 4]
    for i in ended:
        assert all(np.array_equal(results[i].weights[part], value) for part, value in whole[i].weights.items())


def test_what_another_process_left_after_we_began_is_gone_on_from(tmp_path, monkeypatch):
    """It died while we trained something else: its checkpoint is looked for when its runs are claimed."""
    data, splits, runs = asked("usdl")
    whole, ids = train("usdl", data, splits, runs, weights=True), [f"run{k}" for k in range(5)]

    def claim(numbers):
        with monkeypatch.context() as patch:
            killed_after(6, patch)
            with pytest.raises(Killed):
                train("usdl", data, splits, runs, checkpoints=Checkpoints(tmp_path, ids, seconds=0))
        return numbers

    steps, resume = [], Loop.resume
    monkeypatch.setattr(Loop, "resume", lambda *a: steps.append(a[1]["loop"]["step"]) or resume(*a))
    saved = Checkpoints(tmp_path, ids, seconds=1e9)
    results = train("usdl", data, splits, runs, weights=True, checkpoints=saved, claim=claim)
    assert steps == [6]
    for i, result in enumerate(results):
        assert all(np.array_equal(result.weights[part], value) for part, value in whole[i].weights.items())


def test_a_checkpoint_of_runs_that_somebody_living_has_is_left_to_it(tmp_path, monkeypatch):
    data, splits, runs = asked("usdl")
    ids, claimed = [f"run{k}" for k in range(5)], []
    with monkeypatch.context() as patch:
        killed_after(6, patch)
        with pytest.raises(Killed):
            train("usdl", data, splits, runs, checkpoints=Checkpoints(tmp_path, ids, seconds=0))
    results = train("usdl", data, splits, runs, checkpoints=Checkpoints(tmp_path, ids, seconds=1e9),
                    claim=lambda numbers: claimed.append(numbers) or ([] if 2 in numbers else numbers))  # fmt: skip
    assert [i for i, r in enumerate(results) if r is None] == [2, 4] and claimed[0] == [2, 4]
    assert len(list(tmp_path.iterdir())) == 1
