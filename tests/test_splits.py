"""Splits and label draws: nested, stratified, fair, the same everywhere, and never a leak."""

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp

from aqa_lib.data import AssessmentSet, load
from aqa_lib.data.splits import Split, get, label_draw, leak_free, official, stratified_order
from aqa_lib.errors import UserError


def make(scores, groups=None, split=None, **columns):
    n = len(scores)
    table = pd.DataFrame({"x": range(n), **columns})
    if split is not None:
        table["split"] = split
    ids = [f"v{i}" for i in range(n)]
    return AssessmentSet("made", np.ones((n, 1, 1)), scores, ids, table, groups=groups)


@functools.cache
def surrogate():
    return load("surrogate", size="small", D=2)


def test_official_is_the_column():
    s = make([1.0, 2, np.nan, np.nan, 5], split=["train", "test", "train", "test", "test"])
    split = official(s)
    assert split.train.tolist() == [0, 2] and split.test.tolist() == [1, 4]  # no score, nothing to test
    with pytest.raises(UserError, match="no official split"):
        official(make([1.0, 2, 3]))
    with pytest.raises(UserError, match="leaves no scored test items"):
        official(make([1.0, 2, np.nan], split=["train", "train", "test"]))


def test_leak_free_holds_out_whole_groups_at_the_official_share():
    s = surrogate()
    split, other = leak_free(s), leak_free(s)
    assert not set(s.groups[split.train]) & set(s.groups[split.test])
    assert sorted([*split.train, *split.test]) == list(range(len(s)))
    assert abs(len(split.test) - len(official(s).test)) <= 0.02 * len(s)
    np.testing.assert_array_equal(split.test, other.test)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40).filter(lambda g: len(set(g)) > 1))
@settings(max_examples=40, deadline=None)
def test_leak_free_on_any_groups(groups):
    s = make(np.arange(len(groups), dtype=float), groups=groups)
    split = leak_free(s)
    assert len(split.train) and len(split.test)
    assert not set(s.groups[split.train]) & set(s.groups[split.test])
    # which groups are held out does not hang on the order of the items
    order = np.random.default_rng(0).permutation(len(groups))
    again = make(np.arange(len(groups), dtype=float), groups=np.array(groups)[order])
    assert set(again.groups[leak_free(again).test]) == set(s.groups[split.test])


def test_leak_free_needs_groups():
    with pytest.raises(UserError, match="groups"):
        leak_free(make([1.0, 2, 3]))
    with pytest.raises(UserError, match="one group only"):
        leak_free(make([1.0, 2, 3], groups=["a"] * 3))
    with pytest.raises(UserError, match="did you mean 'leak_free'"):
        get("leakfree")


@given(
    scores=st.lists(st.one_of(st.integers(0, 6).map(float), st.just(float("nan"))), min_size=12, max_size=60),
    f=st.tuples(st.floats(0.3, 1), st.floats(0.3, 1)),
    draw=st.integers(0, 10**6),
    how=st.sampled_from(["stratified", "random"]),
)
@settings(max_examples=150, deadline=None)
def test_draws_are_nested_prefixes_of_the_right_size(scores, f, draw, how):
    s = make(scores, split=["train"] * (len(scores) - 2) + ["test"] * 2)
    s.scores[-2:] = 1.0
    train = official(s).train
    known = train[~np.isnan(s.scores[train])]
    low, high = sorted(f)
    if round(low * len(known)) < 3:
        with pytest.raises(UserError, match="fewer than the 3 needed"):
            label_draw(s, low, draw, how)
        return
    small, large = label_draw(s, low, draw, how), label_draw(s, high, draw, how)
    assert len(small) == round(low * len(known)) and len(large) == round(high * len(known))
    np.testing.assert_array_equal(small, large[: len(small)])
    assert sorted(label_draw(s, 1.0, draw, how)) == known.tolist()  # each once, none without a score


@pytest.mark.parametrize("how", ["stratified", "random"])
def test_draws_differ_and_repeat(how):
    draws = {tuple(sorted(label_draw(surrogate(), 0.1, d, how))) for d in range(50)}
    assert len(draws) == 50
    again = label_draw(surrogate(), 0.1, np.int64(7), how)
    np.testing.assert_array_equal(again, label_draw(surrogate(), 0.1, 7, how))


@pytest.mark.parametrize("how", ["stratified", "random"])
def test_a_draw_does_not_hang_on_the_order_of_the_items(how):
    s = surrogate()
    order = np.random.default_rng(1).permutation(len(s))
    other = AssessmentSet(s.name, s.features[order], s.scores[order], s.ids[order], s.table.iloc[order])
    assert s.ids[label_draw(s, 0.2, 3, how)].tolist() == other.ids[label_draw(other, 0.2, 3, how)].tolist()


def test_a_draw_is_the_same_in_another_process():
    code = (
        "from aqa_lib.data import load; from aqa_lib.data.splits import label_draw\n"
        "s = load('surrogate', size='small', D=2)\n"
        "print([label_draw(s, .05, 3, how).tolist() for how in ('stratified', 'random')])"
    )
    env = {"PYTHONHASHSEED": "12", "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    here = [label_draw(surrogate(), 0.05, 3, how).tolist() for how in ("stratified", "random")]
    assert out.stdout.strip() == str(here)


def test_stratified_follows_the_scores_better_than_random():
    s = surrogate()
    scores = s.scores[official(s).train]

    def distance(how):
        return np.mean([ks_2samp(s.scores[label_draw(s, 0.1, d, how)], scores).statistic for d in range(40)])

    assert distance("stratified") < 0.5 * distance("random")


@given(n=st.integers(1, 200), seed=st.integers(0, 2**64 - 1), cells=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_every_beginning_is_spread_over_the_quantiles(n, seed, cells):
    order = stratified_order(n, seed)
    assert sorted(order) == list(range(n))
    inside = np.arange(1, n + 1)
    for cell in np.array_split(np.arange(n), 2**cells):  # the cells of the tree but for one item at the rim
        taken = np.cumsum(np.isin(order, cell))
        assert np.abs(taken - inside * len(cell) / n).max() < cells + 1


def test_every_item_is_equally_likely_to_be_drawn():
    n, k, draws = 13, 4, 4000  # sizes that no power of two divides
    counts = np.zeros(n)
    for d in range(draws):
        counts[stratified_order(n, d * 7919 + 1)[:k]] += 1
    assert all(binomtest(int(c), draws, k / n).pvalue > 0.05 / n / 20 for c in counts)


def test_items_that_may_not_be_labelled_never_are():
    barred = np.array([True, False] * 20)
    s = make(np.arange(40.0), split=["train"] * 30 + ["test"] * 10, labelable=~barred)
    for how in ("stratified", "random"):
        drawn = label_draw(s, 1.0, 0, how)
        assert len(drawn) == 15 and not barred[drawn].any() and drawn.max() < 30


def test_the_split_bounds_the_draw():
    s = surrogate()
    split = leak_free(s)
    assert set(label_draw(s, 0.3, 0, split="leak_free")) <= set(split.train)
    named = label_draw(s, 0.3, 0, split=split)
    np.testing.assert_array_equal(named, label_draw(s, 0.3, 0, split="leak_free"))
    renamed = dataclasses.replace(split, name="another")
    assert set(label_draw(s, 0.3, 0, split=renamed)) != set(named)
    assert set(label_draw(s, 1.0, 0, split=Split("few", np.arange(5), np.arange(5, 9)))) == set(range(5))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, "0.1", True, float("nan"), None])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(UserError, match="label fraction"):
        label_draw(surrogate(), fraction, 0)


def test_too_few_labels_are_refused_with_a_way_out():
    with pytest.raises(UserError, match=r"leaves 2 of 480 labels.*take 0.0063 or more"):
        label_draw(surrogate(), 0.005, 0)
    assert len(label_draw(surrogate(), 0.0063, 0)) == 3
    with pytest.raises(UserError, match="did you mean 'stratified'"):
        label_draw(surrogate(), 0.5, 0, how="stratify")
