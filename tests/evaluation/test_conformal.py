"""Conformal intervals: quantiles against sorting, intervals against loops by hand, coverage over 200 worlds.

Coverage is the mean over worlds, and so is its standard error: items of one world share their calibration.
"""

import numpy as np
import pytest

from aqa_lib.data.order import folds
from aqa_lib.errors import UserError
from aqa_lib.evaluation import conformal
from aqa_lib.evaluation.calibration import central, gaussian_quantiles, interval_coverage, sharpness

WORLDS, LEVEL = 200, 0.9


# ---- by hand


@pytest.mark.parametrize("level", [0.5, 0.55, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [1, 4, 8, 9, 10, 19, 20, 99, 200])
def test_a_quantile_is_the_value_of_that_rank(n, level):
    values = np.random.default_rng(n).normal(size=(3, n))
    rank = -(-(n + 1) * round(100 * level) // 100)  # ceil, in whole numbers
    expected = np.sort(values)[:, rank - 1] if rank <= n else [np.inf] * 3
    np.testing.assert_array_equal(conformal.quantile(values, level), expected)
    assert (rank <= n) == (n >= conformal.needed(level))


def test_a_group_counts_once_in_a_quantile_of_groups():
    """Three groups, a quarter each: 1 of a, 2 3 of b, 4 5 6 7 of c. At .5 both of b are needed, at .75 all of c."""
    values, groups = np.array([7.0, 2, 1, 4, 5, 3, 6]), np.array(list("cbaccbc"))
    got = [conformal.quantile(values, level, groups) for level in (0.25, 0.375, 0.5, 0.51, 0.75, 0.76)]
    assert got == [1, 2, 3, 4, 7, np.inf]
    assert conformal.quantile(values, 0.5, np.arange(7)) == conformal.quantile(values, 0.5) == 4


def test_scores_and_split_by_hand():
    """n = 4 at level .6: the third smallest of the scores 1, 2, 4, 8."""
    assert conformal.scores([5.0, 5], [5.0, 5], [3.0, 6], [1, 2]).tolist() == [2, 0.5]
    assert conformal.scores([1.0, 1, 1], [3.0, 3, 3], [0.0, 2, 7]).tolist() == [1, -1, 4]  # 1 inside counts as -1
    m, held = np.array([10.0, 20]), np.array([4.0, 1, 8, 2])
    assert np.array(conformal.split(m, m, held, 0.6)).tolist() == [[6, 16], [14, 24]]
    assert np.array(conformal.split(m, m, held, 0.6, scale=[1, 0.5])).tolist() == [[6, 18], [14, 22]]
    assert np.array(conformal.split(m, m + 2, -held, 0.6)).tolist() == [[12, 22], [10, 20]]  # -8 -4 -2: too wide, cut
    assert np.isinf(conformal.split(m, m, held)).all()  # nine are needed at .9


def test_each_level_of_a_column_has_its_own_quantile():
    m, held = np.zeros(3), np.array([1.0, 2, 3, 10, 20, 30])
    low, high = conformal.within(m, m, held, list("bac"), list("aaabbb"), 0.5)
    assert high.tolist() == [20, 2, np.inf] and low.tolist() == [-20, -2, -np.inf]


def by_loops(low, high, scale, held, fold, level):
    """CV+ of one test item after another, with sorted lists."""
    n, found = len(held), []
    up = int(np.ceil(round((n + 1) * level, 9)))  # rank of the high end; the low end's is counted from below
    for j in range(low.shape[1]):
        lows = sorted(low[k, j] - scale[k, j] * r for r, k in zip(held, fold, strict=True))
        highs = sorted(high[k, j] + scale[k, j] * r for r, k in zip(held, fold, strict=True))
        found.append((lows[n - up], highs[up - 1]) if up <= n else (-np.inf, np.inf))
    return np.array(found).T


@pytest.mark.parametrize("n", [5, 12, 30])
def test_cv_plus_is_that_of_plain_loops(n):
    rng = np.random.default_rng(n)
    fold, held = np.arange(n) % 5, rng.exponential(size=n)
    low = rng.normal(size=(5, 7))
    high, scale = low + rng.exponential(size=(5, 7)), rng.uniform(0.5, 2, (5, 7))
    np.testing.assert_allclose(
        conformal.cv_plus(low, high, held, fold, 0.9, scale), by_loops(low, high, scale, held, fold, 0.9)
    )
    low = rng.normal(size=(n, 7))
    ones = np.ones_like(low)
    np.testing.assert_allclose(
        conformal.jackknife_plus(low, low, held, 0.8), by_loops(low, low, ones, held, np.arange(n), 0.8)
    )


def test_what_makes_no_sense():
    nothing, m = np.zeros(2), np.zeros((2, 3))
    with pytest.raises(UserError, match="scale of conformal scores must be above 0"):
        conformal.scores(nothing, nothing, nothing, [1, 0])
    with pytest.raises(UserError, match="needs scores and a level between 0 and 1"):
        conformal.quantile([], 0.9)
    with pytest.raises(UserError, match="level between 0 and 1, but got 2 and 90"):
        conformal.quantile(nothing, 90)
    with pytest.raises(UserError, match="name the group of each of the 2 scores"):
        conformal.quantile(nothing, 0.9, ["a"])
    with pytest.raises(UserError, match=r"folds must be whole numbers 0\.\.1"):
        conformal.cv_plus(m, m, nothing, [0, 2])
    with pytest.raises(UserError, match=r"must be \[K, N\]"):
        conformal.cv_plus(m[0], m[0], nothing, [0, 1])
    with pytest.raises(UserError, match="a level lies between 0 and 1"):
        conformal.needed(1)
    assert np.isnan(conformal.quantile([1.0, np.nan], 0.5))


# ---- coverage over worlds


def ridge(x, y, penalty=1.0):
    """Weights of a ridge regression with an intercept that is penalised, too."""
    x = np.c_[x, np.ones(len(x))]
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


def says(weights, x):
    return np.c_[x, np.ones(len(x))] @ weights


def world(rng, groups=0, n=40, tested=40, D=6):
    """(x, y, group) of n + tested items; with groups, of twice as many equal ones, half of them tested.

    A group has features and a taste of its own: a model that knows the group knows part of the taste.
    """
    total = n + tested
    group = np.repeat(np.arange(2 * groups), total // (2 * groups)) if groups else np.arange(total)
    x = rng.normal(size=(total, D)) + (2 * rng.normal(size=(2 * groups, D))[group] if groups else 0)
    taste = 1.5 * rng.normal(size=2 * groups)[group] if groups else 0
    return x, x @ np.ones(D) + taste + rng.normal(size=total), group


def cross(x, y, n, fold, **how):
    """CV+ of ridge on the first n items, around what it says of the others."""
    weights = [ridge(x[:n][fold != k], y[:n][fold != k]) for k in range(fold.max() + 1)]
    own = np.array([says(weights[k], x[i : i + 1])[0] for i, k in enumerate(fold)])
    m = np.array([says(w, x[n:]) for w in weights])
    return conformal.cv_plus(m, m, conformal.scores(own, own, y[:n]), fold, LEVEL, **how)


def over_worlds(covered):
    """(mean, standard error over worlds) of the coverage of 200 worlds."""
    shares = np.array([covered(np.random.default_rng(seed), seed) for seed in range(WORLDS)])
    return shares.mean(), shares.std(ddof=1) / np.sqrt(WORLDS)


def split_covers(rng, calibration, how="plain"):
    """Coverage of split conformal in one world: 30 items to learn from, `calibration` held out, 50 tested."""
    x, y, _ = world(rng, n=30 + calibration, tested=50)
    weights = ridge(x[:30], y[:30])
    m, true, sd = says(weights, x[30:]), y[30:], 0.2 + np.abs(x[30:, 0])
    low, high = m, m
    if how == "quantiles":
        low, high = central(gaussian_quantiles(m, sd**2), 0.9)
    scale = sd if how == "scaled" else np.ones(len(m))
    c = calibration
    held = conformal.scores(low[:c], high[:c], true[:c], scale[:c])
    return interval_coverage(*conformal.split(low[c:], high[c:], held, LEVEL, scale[c:]), true[c:])


@pytest.mark.parametrize("calibration", [9, 20, 25])  # exactly .9, 19 / 21 and 24 / 26
@pytest.mark.parametrize("how", ["plain", "scaled", "quantiles"])
def test_split_conformal_covers_exactly(calibration, how):
    mean, error = over_worlds(lambda rng, _: split_covers(rng, calibration, how))
    exact = np.ceil(round((calibration + 1) * LEVEL, 9)) / (calibration + 1)
    assert abs(mean - exact) < 3 * error, f"coverage {mean:.4f} +- {error:.4f}, exactly {exact:.4f}"


@pytest.mark.parametrize("how", ["CV+", "jackknife+"])
def test_cross_conformal_covers_at_least_what_is_guaranteed(how):
    def covered(rng, seed):
        x, y, _ = world(rng)
        fold = np.arange(40) if how == "jackknife+" else folds(np.arange(40), 5, seed)
        return interval_coverage(*cross(x, y, 40, fold), y[40:])

    mean, error = over_worlds(covered)
    said = f"{how}: coverage {mean:.4f} +- {error:.4f}, {mean - LEVEL:+.4f} from the level"
    assert mean >= 1 - 2 * (1 - LEVEL), said
    assert abs(mean - LEVEL) < 0.03, said  # what is found where a model is stable, beyond the guarantee


def test_where_groups_matter_folds_must_be_of_whole_groups():
    """Ten groups of eight to learn from, ten others tested: what a model knows of its own groups, it does not of those.

    Groups that count alike in the quantile give wider intervals: the guarantee is for a new group.
    """
    found = {}
    for how in ("item", "group", "group, alike"):

        def covered(rng, seed, how=how):
            x, y, group = world(rng, groups=10, n=80, tested=80)
            own = group[:80] if how != "item" else None
            alike = {"groups": own} if how == "group, alike" else {}
            ends = cross(x, y, 80, folds(np.arange(80), 5, seed, own), **alike)
            return interval_coverage(*ends, y[80:])

        found[how] = over_worlds(covered)
    said = ", ".join(f"{how} {mean:.4f} +- {error:.4f}" for how, (mean, error) in found.items())
    assert found["item"][0] < LEVEL - 0.1, said
    assert LEVEL - 3 * found["group"][1] <= found["group"][0] < 0.95, said
    assert found["group, alike"][0] >= found["group"][0], said


def test_split_with_groups_that_count_alike_covers_a_new_group():
    """12 calibration groups of unequal size, one new one: at least .9, where items that count alike cover less."""

    def covered(rng, alike):
        sizes = rng.integers(1, 30, size=13)
        group = np.repeat(np.arange(13), sizes)
        y = (np.exp(rng.normal(size=13)) * (1 + 20 / sizes))[group] * rng.normal(size=len(group))
        new = group == 12
        held = np.abs(y[~new])
        nothing = np.zeros(new.sum())
        groups = group[~new] if alike else None
        return interval_coverage(*conformal.split(nothing, nothing, held, LEVEL, groups=groups), y[new])

    (alike, error), (items, _) = (over_worlds(lambda rng, _, a=a: covered(rng, a)) for a in (True, False))
    assert alike >= LEVEL - 3 * error and items < alike - 0.02, f"{alike:.4f} +- {error:.4f}, by items {items:.4f}"


def test_scaled_intervals_follow_the_noise():
    """Noise that grows with |x|: plain and scaled cover alike, but scaled ones are narrow where the noise is small."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    sd = 0.2 + np.abs(x)
    y, m = sd * rng.normal(size=2000), np.zeros(2000)
    calm = np.abs(x[1000:]) < 0.3
    kept = {}
    for name, scale in (("plain", np.ones(2000)), ("scaled", sd)):
        held = conformal.scores(m[:1000], m[:1000], y[:1000], scale[:1000])
        low, high = conformal.split(m[1000:], m[1000:], held, LEVEL, scale[1000:])
        assert abs(interval_coverage(low, high, y[1000:]) - LEVEL) < 0.03
        kept[name] = interval_coverage(low[calm], high[calm], y[1000:][calm]), sharpness(low[calm], high[calm])
    assert kept["plain"][0] > 0.98 and abs(kept["scaled"][0] - LEVEL) < 0.05
    assert kept["scaled"][1] < kept["plain"][1] / 2
