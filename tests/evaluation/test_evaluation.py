"""Metrics and statistics against scipy, hand cases and simulation."""

import inspect
import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aqa_lib import evaluation
from aqa_lib.errors import UserError
from aqa_lib.evaluation import (
    bootstrap_interval,
    fisher_mean,
    holm,
    mae,
    mean_interval,
    paired_interval,
    pairwise_accuracy,
    relative_l2,
    rows_differ,
    spearman,
    spearman_by_group,
    spearman_rows,
)

values = st.lists(st.integers(-4, 4).map(float), min_size=3, max_size=30)  # few values, many ties


@given(st.integers(3, 30).flatmap(lambda n: st.tuples(*[st.lists(st.integers(-3, 3), min_size=n, max_size=n)] * 2)))
@settings(max_examples=200, deadline=None)
def test_spearman_is_scipys_with_ties(pair):
    a, b = (np.array(v, float) for v in pair)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        with pytest.warns(RuntimeWarning, match="constant"):
            assert np.isnan(spearman(a, b))
        return
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_by_hand():
    # ranks 1 2.5 2.5 4 and 2 1 3 4: deviations (-1.5 0 0 1.5) . (-.5 -1.5 .5 1.5) = 3, norm sqrt(4.5 x 5)
    assert spearman([1, 2, 2, 9], [5, 1, 6, 7]) == pytest.approx(3 / np.sqrt(22.5))
    assert spearman([1, 2, 3], [10, 20, 30]) == 1 and spearman([3, 2, 1], [10, 20, 30]) == -1


def test_spearman_of_one_and_two():
    with pytest.warns(RuntimeWarning, match="constant"):
        assert np.isnan(spearman([1.0], [2.0]))  # never 0
    assert spearman([1.0, 2.0], [5.0, 9.0]) == pytest.approx(1)
    assert spearman([1.0, 2.0], [9.0, 5.0]) == pytest.approx(-1)


def test_spearman_of_what_is_not_finite():
    with pytest.warns(RuntimeWarning, match="NaN or infinity"):
        assert np.isnan(spearman([1, np.nan, 3], [1, 2, 3]))
    with pytest.raises(UserError, match="vectors of one length"):
        spearman([1, 2], [1, 2, 3])


def test_spearman_rows_is_spearman_of_each_row():
    rng = np.random.default_rng(0)
    predicted, true = rng.integers(0, 6, (9, 40)).astype(float), rng.integers(0, 9, 40).astype(float)
    predicted[2], predicted[5, 3], predicted[7, 0] = 1.1, np.nan, np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = spearman_rows(predicted, true)
        assert np.isnan(spearman_rows(predicted, np.ones(40))).all()
    assert np.flatnonzero(np.isnan(rows)).tolist() == [2, 5, 7]
    for k in (0, 1, 3, 4, 6, 8):
        assert rows[k] == pytest.approx(stats.spearmanr(predicted[k], true).statistic, abs=1e-12)
    with pytest.raises(UserError, match=r"must be \[K, N\] and \[N\]"):
        spearman_rows(predicted, true[:-1])


scores = st.lists(st.integers(-9, 9).map(float), min_size=6, max_size=6)


@given(scores, scores)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore:rank correlation is undefined")
def test_spearman_sees_order_alone(a, b):
    a, b = np.array(a), np.array(b)
    rho = spearman(a, b)
    same = lambda other: other == pytest.approx(rho, abs=1e-12, nan_ok=True)  # noqa: E731
    assert np.isnan(rho) == (np.ptp(a) == 0 or np.ptp(b) == 0)
    assert np.isnan(rho) or -1 <= rho <= 1
    assert same(spearman(b, a)) and same(-spearman(-a, b))
    assert same(spearman(np.exp(a / 3), b**3)) and same(spearman(a[::-1], b[::-1]))
    if np.ptp(a):
        assert spearman(a, a) == pytest.approx(1)


def test_fisher_mean():
    assert fisher_mean([0.3, 0.3]) == pytest.approx(0.3)
    assert fisher_mean([0.0, 0.8]) == pytest.approx(0.5)  # artanh .8 = ln 3; tanh(ln 3 / 2) = (3-1)/(3+1)
    assert fisher_mean([1.0, 0.0]) < 1 and fisher_mean([1.0, -1.0]) == pytest.approx(0, abs=1e-9)
    assert np.isnan(fisher_mean([0.3, np.nan])) and np.isnan(fisher_mean([]))


def test_relative_l2():
    # span 10, errors 1 and 2: 100/2 (.01 + .04)
    assert relative_l2([1.0, 8.0], [0.0, 10.0]) == pytest.approx(2.5)
    for true, span in (([3.0, 3.0], 0), ([3.0, np.nan], "nan")):
        with pytest.warns(RuntimeWarning, match=f"the span of the scores is {span}"):
            assert np.isnan(relative_l2([1.0, 2.0], true))


def test_mae():
    assert mae([1.0, 8.0, 3.0], [0.0, 10.0, 3.0]) == 1
    with pytest.raises(UserError, match="vectors of one length"):
        mae([1, 2], [1])


@given(scores, scores, st.integers(-8, 8), st.sampled_from([-4.0, 0.5, 2.0]))
@settings(max_examples=50, deadline=None)
def test_errors_move_and_scale_as_they_should(a, b, shift, scale):
    a, b = np.array(a), np.array(b)
    assert mae(a, b) == mae(b, a) == mae(a + shift, b + shift) == mae(scale * a, scale * b) / abs(scale)
    if np.ptp(b):
        assert relative_l2(scale * a + shift, scale * b + shift) == pytest.approx(relative_l2(a, b))
        assert relative_l2(b, b) == 0


@given(scores)
@settings(max_examples=50, deadline=None)
def test_pairs_turned_round(v):
    pairs = np.array([(i, j) for i in range(6) for j in range(i)])
    assert pairwise_accuracy(v, pairs) + pairwise_accuracy(v, pairs[:, ::-1]) == pytest.approx(1)
    higher, lower = [v[i] for i, _ in pairs], [v[j] for _, j in pairs]
    signs = [np.sign(h - w) for h, w in zip(higher, lower, strict=True)]
    assert pairwise_accuracy(v, pairs) == pytest.approx((1 + np.mean(signs)) / 2)
    assert pairwise_accuracy(np.exp(v), pairs) == pairwise_accuracy(v, pairs)


def test_pairwise_accuracy():
    assert pairwise_accuracy([3, 1, 2, 2], [[0, 1], [1, 0], [2, 3], [0, 2]]) == (1 + 0 + 0.5 + 1) / 4
    assert pairwise_accuracy([np.inf, np.inf, -np.inf], [[0, 1], [0, 2]]) == 0.75
    with pytest.raises(UserError, match="pairs"):
        pairwise_accuracy([1, 2], np.zeros((0, 2), int))
    for bad in ([[0, 2]], [[-1, 0]], [[0.0, 1.0]]):
        with pytest.raises(UserError, match=r"whole numbers 0\.\.1, indices of the 2 scores"):
            pairwise_accuracy([1, 2], bad)
    with pytest.warns(RuntimeWarning, match="NaN among the scores"):
        assert np.isnan(pairwise_accuracy([3, np.nan, 1], [[0, 2], [0, 1]]))
    assert pairwise_accuracy([3, np.nan, 1], [[0, 2]]) == 1  # nobody asks for the undefined one


@given(values, st.sampled_from([0.5, 0.9, 0.95]))
@settings(max_examples=50, deadline=None)
def test_mean_interval_is_students(v, level):
    got = mean_interval(v, level)
    if np.std(v) == 0:
        assert got.mean == pytest.approx(v[0]) and np.isnan(got[1:]).all()  # a spread of 0 is not known to be one
        return
    low, high = stats.ttest_1samp(v, 0).confidence_interval(level)
    assert got == pytest.approx((np.mean(v), low, high))


def test_mean_interval_at_the_rim():
    mean, low, high = mean_interval([0.7])
    assert mean == 0.7 and np.isnan(low) and np.isnan(high)
    assert np.isnan(mean_interval([0.7, np.nan, 0.8]).mean)
    for bad in ([], [[1.0, 2.0]]):
        with pytest.raises(UserError, match="vector of at least one"):
            mean_interval(bad)
    with pytest.raises(UserError, match="level"):
        mean_interval([1.0, 2.0], 95)


def test_mean_interval_covers_at_its_level():
    rng = np.random.default_rng(3)
    inside = [low < 0 < high for _, low, high in (mean_interval(rng.standard_normal(5), 0.9) for _ in range(2000))]
    assert stats.binomtest(sum(inside), 2000, 0.9).pvalue > 1e-3


def test_paired_interval_is_scipys():
    rng = np.random.default_rng(1)
    a = rng.random(12)
    b = a + 0.05 * rng.standard_normal(12) - 0.02
    got = paired_interval(a, b)
    test = stats.ttest_rel(a, b)
    assert got[:3] == pytest.approx((np.mean(a - b), *test.confidence_interval(0.95)))
    assert got.p == pytest.approx(stats.wilcoxon(a, b).pvalue) and got.p_t == pytest.approx(test.pvalue)
    mirrored = paired_interval(b, a)
    assert mirrored.mean == -got.mean and mirrored.p == got.p


def test_paired_interval_at_the_rim():
    same = paired_interval([1.0, 2, 3], [1.0, 2, 3])
    assert np.isnan([same.low, same.high]).all() and (same.mean, same.p, same.p_t) == (0, 1, 1)
    one = paired_interval([1.0], [0.5])
    assert one.mean == 0.5 and np.isnan(one.p)
    assert np.isnan(paired_interval([1.0, np.nan], [0.5, 0.5]).mean)
    step = paired_interval([2.0, 3, 4, 5, 6, 7], [1.0, 2, 3, 4, 5, 6])  # always by the same step
    assert np.isnan([step.low, step.high, step.p_t]).all() and step.p == 2 / 2**6
    with pytest.raises(UserError, match="paired comparison"):
        paired_interval([1.0, 2], [1.0])


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8).filter(any))
@settings(max_examples=50, deadline=None)
def test_wilcoxon_with_ties_and_zeros_is_every_sign(d):
    """Zeros left out, mid-ranks, all 2^n signs: no normal approximation where draws are few."""
    d = np.array(d, float)
    ranks = stats.rankdata(np.abs(d[d != 0]))
    sums = [abs(np.dot(s, ranks)) for s in product([-1, 1], repeat=len(ranks))]
    p = np.mean(np.array(sums) >= abs(np.dot(np.sign(d[d != 0]), ranks)) - 1e-9)
    assert paired_interval(d, np.zeros(len(d))).p == pytest.approx(p)


def test_bootstrap_interval_counts_what_is_undefined():
    """Of 3^3 resamples of 3 items, 3 hold one item alone and have no rank correlation."""
    with pytest.warns(RuntimeWarning, match="of 2000 bootstrap replicates are undefined") as said:
        got = bootstrap_interval((np.array([1.0, 2, 3]), np.array([1.0, 3, 2])), statistic=spearman)
    assert len(said) == 1 and int(str(said[0].message).split()[0]) == pytest.approx(2000 / 9, rel=0.2)
    assert got == (0.5, -1, 1)
    with pytest.warns(RuntimeWarning, match="constant"):
        assert np.isnan(bootstrap_interval((np.ones(4), np.arange(4.0)), statistic=spearman)).all()


def test_bootstrap_interval():
    rng = np.random.default_rng(2)
    v = rng.exponential(size=60)
    got = bootstrap_interval(v, 0.9, seed=5)
    assert got == bootstrap_interval(v, 0.9, seed=5) != bootstrap_interval(v, 0.9, seed=6)
    draws = np.random.default_rng(9).choice(v, (20000, 60)).mean(axis=1)  # a bootstrap of our own
    assert got[1:] == pytest.approx(np.quantile(draws, [0.05, 0.95]), abs=0.02)
    x = rng.standard_normal(80)
    rho, low, high = bootstrap_interval((x, x + rng.standard_normal(80)), statistic=spearman, resamples=500)
    assert low < rho < high and 0.4 < rho < 0.9 and 0.1 < high - low < 0.4  # pairs stay together
    assert np.isnan(bootstrap_interval([1.0]).low)
    with pytest.raises(UserError, match="one length"):
        bootstrap_interval((x, x[:-1]))


def test_holm_by_hand():
    # .01 x 4, .03 x 3, then never falling: .04 x 2 = .08 -> .09
    np.testing.assert_allclose(holm([0.04, 0.01, 0.9, 0.03]), [0.09, 0.04, 0.9, 0.09])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])


def test_holm_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(holm([np.nan, 0.02, 0.03, np.nan]), [np.nan, 0.04, 0.04, np.nan])
    assert len(holm([])) == 0 and np.isnan(holm([np.nan])).all()
    for bad in ([-0.1], [1.5], [[0.1]]):
        with pytest.raises(UserError, match="from 0 to 1"):
            holm(bad)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_rejects_as_the_stepwise_rule(ps):
    adjusted, alpha = holm(ps), 0.05
    rejected = set()
    for i, j in enumerate(np.argsort(ps, kind="stable")):
        if ps[j] * (len(ps) - i) > alpha:
            break
        rejected.add(int(j))
    assert set(np.flatnonzero(adjusted <= alpha)) == rejected


def test_spearman_by_group_is_scipys_in_each_and_fishers_over_all():
    spearmanr = stats.spearmanr

    rng = np.random.default_rng(3)
    groups = np.repeat(["Ball", "Clubs", "Hoop"], [12, 9, 15])
    true = rng.normal(size=36)
    predicted = true + rng.normal(size=36)
    rhos, mean = spearman_by_group(predicted, true, groups)
    by_hand = {g: spearmanr(predicted[groups == g], true[groups == g])[0] for g in ("Ball", "Clubs", "Hoop")}
    assert rhos == pytest.approx(by_hand)
    assert mean == pytest.approx(np.tanh(np.mean([np.arctanh(r) for r in by_hand.values()])))
    with pytest.raises(UserError, match="groups"):
        spearman_by_group(predicted, true, groups[:3])
    groups[0] = "Rope"  # one item has no order: its correlation, and so the mean, is undefined
    with pytest.warns(RuntimeWarning, match="constant"):
        rhos, mean = spearman_by_group(predicted, true, groups)
    assert np.isnan(rhos["Rope"]) and np.isnan(mean) and rhos["Hoop"] == pytest.approx(by_hand["Hoop"])


def test_rows_differ_by_hand_and_of_two_rows_the_paired_t_test():
    a, b = np.random.default_rng(4).normal(size=(2, 9))
    assert rows_differ([a, b + 0.5]) == pytest.approx(stats.ttest_rel(a, b + 0.5).pvalue)
    table = np.array([[1.0, 2, 6], [2, 4, 3], [9, 5, 7], [4, 4, 5]])
    # row means 3 3 7 13/3, block means 4 15/4 21/4, of all 13/3: sums of squares 32, 31/6, 19.5, together 170/3
    assert rows_differ(table) == pytest.approx(stats.f.sf((32 / 3) / (19.5 / 6), 3, 6))
    assert np.isnan(rows_differ(table[:1])) and np.isnan(rows_differ(table[:, :1]))
    assert np.isnan(rows_differ(np.where(table == 9, np.nan, table)))


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("shape", [(3, 7), (4, 6), (6, 10)])
def test_rows_differ_takes_rounding_for_nothing(value, shape):
    assert rows_differ(np.full(shape, value)) == 1
    steps = value + np.arange(shape[0])[:, None] / 10 + np.arange(shape[1]) / 10
    assert rows_differ(steps) == 0  # every block says the same


def test_the_names_that_other_code_relies_on():
    house = {
        "spearman": ["predicted", "true"],
        "fisher_mean": ["rhos"],
        "relative_l2": ["predicted", "true"],
        "pairwise_accuracy": ["scores", "pairs"],
        "mean_average_precision": ["ground_truth", "predictions", "thresholds"],
    }
    for name, positional in house.items():
        parameters = inspect.signature(getattr(evaluation, name)).parameters.values()
        assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == positional
        assert name in evaluation.__all__
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)
    instance = {"v": {"annotations": [{"label": "a", "segment": [0, 1]}]}}
    found = evaluation.mean_average_precision(instance, {"v": [{"label": "a", "segment": [0, 1], "score": 1}]}, [0.5])
    assert set(found) == {"mAP", "average_mAP", "ap"}
