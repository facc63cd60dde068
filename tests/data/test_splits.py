"""Splits and label draws: nested, stratified, fair, the same everywhere, and never a leak."""

import dataclasses
import functools
import hashlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import of_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp

from aqa_lib import methods
from aqa_lib.data import AssessmentSet, load, splits
from aqa_lib.data.splits import (
    Split,
    every,
    folds,
    get,
    held_out,
    label_draw,
    leak_free,
    official,
    pairs,
    stratified_order,
)
from aqa_lib.errors import UserError
from aqa_lib.tasks import SCORES


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


def test_leak_free_counts_items_with_a_score():
    """Group b has no score: it alone is no test part, and the share is of the others."""
    scores = np.r_[np.arange(6.0), np.full(40, np.nan), np.arange(2.0)]
    s = make(scores, groups=["a"] * 6 + ["b"] * 40 + ["c"] * 2)
    split = leak_free(s)
    assert set(s.groups[split.test]) == {"c"} and {"a"} <= set(s.groups[split.train])
    with pytest.raises(UserError, match="scores in fewer than two groups"):
        leak_free(make([1.0, 2, np.nan], groups=list("aab")))


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


def test_a_random_draw_is_the_hash_of_the_names():
    """Worked from the names alone, so that any machine finds it: the first are those of the smallest hash."""
    s = make(np.arange(20.0) % 7, split=["train"] * 16 + ["test"] * 4)

    def word(i):
        text = "\x1f".join(["str:made", "str:official", "str:random", "int:3", f"str:v{i}"])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    assert label_draw(s, 0.5, 3, "random").tolist() == sorted(range(16), key=word)[:8]


def test_a_stratified_draw_stays_what_it_is():
    """Written down once: another version that draws others would compare methods on other labels."""
    s = make(np.arange(20.0) % 7, split=["train"] * 16 + ["test"] * 4)
    assert label_draw(s, 0.5, 3).tolist() == [5, 8, 11, 0, 6, 9, 10, 1]


@pytest.mark.parametrize("how", ["stratified", "random"])
def test_a_draw_is_the_same_for_every_method(how):
    """What two methods are handed: the same labels, and NaN for all others."""
    s = surrogate()
    handed = [
        SCORES.labels(s, official(s), methods.get(name).resolve({"fraction": 0.2, "draw": 5, "how": how, "seed": seed}))
        for seed, name in enumerate(of_scores())
    ]
    drawn = label_draw(s, 0.2, 5, how)
    for labels in handed:
        np.testing.assert_array_equal(labels.train, drawn)
        assert np.flatnonzero(~np.isnan(labels.scores)).tolist() == sorted(drawn)


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


def test_a_fraction_may_be_any_number():
    for fraction in (1, np.int64(1), np.float32(1)):
        assert len(label_draw(surrogate(), fraction, 0)) == 480


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


# ---- folds and divisions, which come as columns


def test_an_empty_cell_is_no_fold():
    """As a table from a file has it: NaN, None or "" for items that belong to no published fold."""
    s = make([1.0, 2, 3, np.nan, 5, 6], fold_four=["1", "2", None, np.nan, "", "1"])
    assert every(s, "fold:four") == splits.names(s) == ["fold:four/1", "fold:four/2"]
    one, two = (get(name)(s) for name in every(s, "fold:four"))
    assert one.name == "fold:four/1" and two.name == "fold:four/2"
    assert one.test.tolist() == [0, 5] and one.train.tolist() == [1, 3]  # item 3 has no score: it may be looked at
    assert two.test.tolist() == [1] and two.train.tolist() == [0, 3, 5]


def test_unknown_folds_get_the_nearest():
    s = make([1.0, 2, 3, 4], fold_four=list("1122"), fold_louo=list("BCBC"), split_1=["train", "test"] * 2)
    for ask, said in [
        (lambda: every(s, "fold:fuor"), "unknown kind of splits of .*'fold:fuor': did you mean 'fold:four'"),
        (lambda: get("fold:four/3")(s), "unknown split of data set 'made' 'fold:four/3': did you mean 'fold:four/"),
        (lambda: get("fold:loou/B")(s), "did you mean 'fold:louo/B'"),
        (lambda: get("fold:four")(s), "did you mean 'fold:four/"),
        (lambda: get("division:2")(s), "did you mean 'division:1'"),
        (lambda: get("folds:four/1"), "unknown split 'folds:four/1' .*fold:PROTOCOL/NAME"),
        (lambda: get(3), "unknown split 3"),
        (lambda: every(make([1.0, 2]), "fold:four"), "has no folds and no divisions"),
        (lambda: pairs(s, "division:1"), "has no ranked pairs"),
    ]:
        with pytest.raises(UserError, match=said) as error:
            ask()
        assert "\n" not in str(error.value)


@given(
    cells=st.lists(st.tuples(st.sampled_from(["", "1", "2", "3"]), st.booleans()), min_size=4, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_every_scored_item_of_a_fold_is_tested_once(cells):
    words, known = zip(*cells, strict=True)
    s = make(np.where(known, 1.0, np.nan), fold_k=list(words))
    tested = []
    for name in splits.names(s):
        fold = name.removeprefix("fold:k/")
        if not any(n == fold and k for n, k in cells) or not any(n != fold and (n or not k) for n, k in cells):
            with pytest.raises(UserError, match="leaves no"):
                get(name)(s)
            continue
        part = get(name)(s)
        assert not set(part.train) & set(part.test) and all(words[i] == fold for i in part.test)
        assert all(words[i] != fold for i in part.train)
        tested += part.test.tolist()
    assert len(tested) == len(set(tested))


def ranked(pairs, **columns):
    """Six videos without a score, ranked in pairs."""
    ids = list("abcdef")
    return AssessmentSet("ranked", ids=ids, table=pd.DataFrame({"id": ids, **columns}), pairs=pairs)


def test_ranked_videos_are_divided():
    divided = ["train", "train", "test", "test", "train", ""]
    s = ranked([[0, 1], [1, 2], [3, 2], [4, 0], [5, 0], [5, 3]], split_1=divided, split_b=list("uvwxyz"))
    assert splits.names(s) == every(s, "division") == ["division:1"]  # split_b says something else
    split = get("division:1")(s)
    assert split.name == "division:1" and split.train.tolist() == [0, 1, 4] and split.test.tolist() == [2, 3]
    train, test = pairs(s, split)
    assert train.tolist() == [[0, 1], [4, 0]] and test.tolist() == [[1, 2], [3, 2], [5, 3]]


def test_folds_of_ranked_videos():
    """Videos without a score stay; a fold without a video of a pair is none of `every`."""
    s = ranked([[0, 1], [1, 2], [2, 3]], fold_k=["x", "x", "y", "", "z", ""])
    assert every(s, "fold:k") == ["fold:k/x", "fold:k/y"] and splits.names(s)[-1] == "fold:k/z"
    split = get("fold:k/y")(s)
    assert split.test.tolist() == [2] and split.train.tolist() == [0, 1, 4, 5]  # 3 is ranked, but in no fold
    assert get("fold:k/z")(s).test.tolist() == [4]
    with pytest.raises(UserError, match="leaves no training items"):
        get("fold:k/x")(ranked([[0, 1]], fold_k=["x"] * 6))


def test_test_videos_of_actions_stay():
    actions = pd.DataFrame({"video": ["b", "e"], "label": "x", "start": 0.0, "end": 1.0})
    table = pd.DataFrame({"split": ["train", "train", "", "test", "test"], "fold_k": list("12123")})
    s = AssessmentSet("untrimmed", ids=list("abcde"), table=table, actions=actions, groups=list("aabbc"))
    assert official(s).train.tolist() == [0, 1] and official(s).test.tolist() == [3, 4]
    assert every(s, "fold:k") == ["fold:k/2", "fold:k/3"] and get("fold:k/1")(s).test.tolist() == [0, 2]
    split = leak_free(s)  # b of group a and e of group c have an action: one of the two groups is held out
    assert ({"a", "c"} & set(s.groups[split.test])) in ({"a"}, {"c"})
    with pytest.raises(UserError, match="leaves no scored test items"):  # nothing to learn from at all
        official(AssessmentSet("bare", ids=list("abcde"), table=table))


def test_a_pair_may_reach_from_scored_items_to_others():
    """With scores, test items without one are left out, and so are their pairs."""
    s = make([1.0, 2, 3, np.nan], split=["train", "train", "test", "test"])
    s = dataclasses.replace(s, pairs=[[0, 1], [2, 1], [3, 0]])
    train, test = pairs(s, "official")
    assert train.tolist() == [[0, 1]] and test.tolist() == [[2, 1]]


def grouped(groups, drawn, share, test="z"):
    """held_out of ten training items a ... j of these groups and one to test; letters in, letters out."""
    ids, groups = list("abcdefghij") + ["t"], [*groups, test]
    data = AssessmentSet(name="eleven", scores=np.arange(11.0), ids=ids, groups=groups)
    split = Split("of people", np.arange(10), np.array([10]))
    found = held_out(data, split, np.array([ids.index(i) for i in drawn]), share)
    return ["".join(data.ids[items]) for items in found]


def test_where_people_are_tested_whole_people_are_held_out():
    """Of a, c, f, i the share of one half is two: i is the last, of the person of h, j; then f, of that of e, g."""
    assert grouped("ppqqrrrsss", "acfi", 0.5) == ["ac", "fi", "bd"]
    assert grouped("ppqqrrrsss", "acfi", 0.25) == ["acf", "i", "bdeg"]
    assert grouped("ppqqrrrsss", "icaf", 0.25) == ["ica", "f", "bdhj"]
    assert grouped("ppqqrrrsss", "acfi", 0.0) == ["acfi", "", "bdeghj"]


def test_where_people_are_known_already_items_are_held_out():
    assert grouped("ppqqrrrsss", "acfi", 0.5, test="s") == ["ac", "fi", "bdeghj"]
    assert grouped("pppppppppp", "acfi", 0.5) == ["ac", "fi", "bdeghj"]  # all of one: nothing would be left


def test_one_person_is_left_to_learn_from():
    assert grouped("ppppprrrrr", "abcdf", 0.8) == ["abcd", "f", "e"]


def test_folds_are_equal_random_and_of_names():
    names = np.array([f"video {i}" for i in range(23)])
    found = folds(names, 5, 7)
    assert sorted(np.bincount(found)) == [4, 4, 5, 5, 5]
    assert folds(names[::-1], 5, 7).tolist() == found[::-1].tolist()  # whatever the order
    assert folds(names, 5, 8).tolist() != found.tolist()
    firsts = [folds(names, 5, key)[0] for key in range(500)]  # every name is in every fold equally often
    assert np.abs(np.bincount(firsts) - 100).max() < 3.5 * np.sqrt(500 * 0.2 * 0.8)


def test_folds_of_whole_groups():
    groups = np.array(list("aaaaaabbbbccccdddee"))
    found = folds(np.arange(19), 3, 0, groups)
    assert all(len(set(found[groups == g])) == 1 for g in "abcde")
    assert sorted(np.bincount(found)) == [6, 6, 7]  # a, b + e or c + e, the rest
    assert found.tolist() == folds(np.arange(19), 3, 0, groups).tolist()
    with pytest.raises(UserError, match="6 folds of 5 groups that have labels cannot be"):
        folds(np.arange(19), 6, 0, groups)
    with pytest.raises(UserError, match="4 folds of 3 labels cannot be"):
        folds(np.arange(3), 4, 0)
