"""Folds, draws and worlds in one call of `train`: to the bit what a call a split, and a call a run, give.

The number of runs in a stack changes no bit but for one thing: of a tensor's numbers, torch takes exponentials and the
like by the processor's vectors, and of the last few, which fill none, by another formula. Batches here are of 32
videos, which always fill whole vectors; what happens otherwise is tested below.
"""

import numpy as np
import pytest
from helpers import make_stack, of_scores, world

from aqa_lib import methods
from aqa_lib.data.splits import Split, official
from aqa_lib.training import train
from aqa_lib.training.packing import stacks

DRAWS = 3
ALIKE = {"trs": {"burn_in": 0.0}}  # a run in burn-in sums up more rows, of zeros, where others are beyond theirs
CASES = [
    *((name, ALIKE.get(name, {})) for name in of_scores()),
    ("s4aqa", {"recover": False, "align": False}),
    ("rankup", {"align_ranks": True}),
]


def small(seed=0, **options):
    return world(**{"n_train": 71, "n_test": 10, "seed": seed, **options})


def folds(data, n=5):
    """The items dealt to n folds in a random order: of 81, one fold of 17 is tested on and four of 16."""
    fold = np.random.default_rng(0).permutation(np.arange(len(data)) % n)
    return [Split(f"fold:five/{f}", np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(n)]


def runs_of(name, settings, **more):
    """A run for each draw, of which the second ends before the others."""
    method, runs = methods.get(name), []
    for k in range(DRAWS):
        steps = {"batch": 32, "every": 3, "lr": 2e-3, "steps": 4 if k == 1 else 8} if method.gradient else {}
        runs.append({"fraction": 0.4, **method.small, **steps, "seed": k, "draw": k, **settings, **more})
    return runs


def assert_same(one, other):
    """Two results are one: weights to the bit, and so the predictions of every evaluation and the curve.

    ACTION-NET ends in a sigmoid for each video, and there are not always 32 of these: its last digit may differ.
    """
    assert one.complete and one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        assert np.array_equal(value, other.weights[name]), name
    assert one.about == other.about
    rounded = one.about["method"] == "action_net"
    for a, b in ((one.predictions, other.predictions), (one.curve, other.curve)):
        assert list(a.columns) == list(b.columns)
        assert np.allclose(numbers(a), numbers(b), rtol=2e-6, atol=1e-7) if rounded else a.equals(b)


def numbers(table):
    return table.select_dtypes("number").to_numpy(dtype=float)


def assert_differ(*results):
    """No two results have the same weights."""
    for i, a in enumerate(results):
        for b in results[:i]:
            assert any(not np.array_equal(value, b.weights[name]) for name, value in a.weights.items())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_folds_in_one_call_are_the_folds_alone(name, settings):
    data, method = small(), methods.get(name)
    parts = folds(data)
    assert [(len(p.train), len(p.test)) for p in parts] == [(64, 17), *[(65, 16)] * 4]
    splits, runs = [part for part in parts for _ in range(DRAWS)], len(parts) * runs_of(name, settings)
    if method.gradient:
        assert list(stacks(method, data, [method.resolve(r) for r in runs], "cpu")) == [list(range(15))]
    whole = train(name, data, splits, runs, weights=True)
    for f, part in enumerate(parts):
        rows = slice(DRAWS * f, DRAWS * (f + 1))
        for result, apart in zip(whole[rows], train(name, data, part, runs[rows], weights=True), strict=True):
            assert list(result.predictions["id"]) == list(data.ids[part.test])
            assert_same(result, apart)
        i = DRAWS * f + f % DRAWS
        assert_same(whole[i], train(name, data, part, [runs[i]], weights=True)[0])
    assert_differ(*whole)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_worlds_in_one_call_are_the_worlds_alone_in_whatever_order_they_come(name, settings):
    worlds = [small(0), small(1, n_train=90), small(2, n_train=64, n_test=9)]
    sets_of, runs = [data for data in worlds for _ in range(DRAWS)], len(worlds) * runs_of(name, settings)
    joined = train(name, sets_of, list(map(official, sets_of)), runs, weights=True)
    for w, data in enumerate(worlds):
        rows = slice(DRAWS * w, DRAWS * (w + 1))
        apart = train(name, data, official(data), runs[rows], weights=True)
        for result, alone in zip(joined[rows], apart, strict=True):
            assert list(result.predictions["id"]) == list(data.ids[official(data).test])
            assert_same(result, alone)
    assert_differ(*joined)
    order = [7, 0, 4, 2, 8, 3, 1, 6, 5]
    data = [sets_of[i] for i in order]
    shuffled = train(name, data, list(map(official, data)), [runs[i] for i in order], weights=True)
    for i, result in zip(order, shuffled, strict=True):
        assert_same(result, joined[i])


@pytest.mark.slow
@pytest.mark.parametrize("batch", [17, 4])
@pytest.mark.parametrize("name", ["s4aqa", "pseudo_labels", "rankup", "usdl", "mean_teacher", "action_net"])
def test_batches_that_fill_no_vectors_agree_within_rounding(name, batch):
    """17 squared is 289 pairs for RankUp, the last of which are scored by another formula than in a stack.

    The bias of its ranker cancels in every pair. So its gradient is rounding alone, which Adam makes large.
    """
    data = small()
    parts = folds(data)
    splits, runs = [part for part in parts for _ in range(DRAWS)], len(parts) * runs_of(name, {}, batch=batch)
    whole = train(name, data, splits, runs, weights=True)
    for result, split, run in zip(whole, splits, runs, strict=True):
        (alone,) = train(name, data, split, [run], weights=True)
        for part in alone.weights.keys() - {"ranker.bias"}:
            value = alone.weights[part]
            assert np.abs(result.weights[part] - value).max() <= 1e-6, part


def test_each_fold_ends_its_passes_at_steps_of_its_own():
    """64 training videos are two batches of 32, 65 are three: pseudo-labels are renewed at other steps."""
    data = small()
    parts = folds(data)
    runs = [{"batch": 32, "fraction": 0.4, "seed": f} for f in range(5)]
    stack, renewed = make_stack("pseudo_labels", data, runs, split=parts), []
    assert stack.passes == [2, 3, 3, 3, 3]
    for step in range(7):
        stack.method.before(stack, step)
        pseudo = stack.memory["pseudo"]
        renewed.append([not (row.nan_to_num() == -1).any() for row in pseudo])
        for row, part in zip(pseudo, parts, strict=True):
            assert row.isfinite().nonzero().flatten().tolist() == part.train.tolist()
        stack.memory["pseudo"] = pseudo.masked_fill(pseudo.isfinite(), -1)  # what is not renewed stays as it is
    assert renewed == [[step % steps == 0 for steps in stack.passes] for step in range(7)]
