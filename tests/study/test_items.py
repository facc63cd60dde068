"""The test items behind a table: intervals that hold them, how many there are, and who may be called first."""

import numpy as np
import pandas as pd
import pytest
from helpers import ours
from scipy import stats

from aqa_lib import data as data_sets
from aqa_lib.errors import UserError
from aqa_lib.evaluation import bounds, crossed, rank_interval, spearman_rows, two_level_bootstrap
from aqa_lib.evaluation.items import resampled_l2, resampled_pairwise, resampled_spearman, taken
from aqa_lib.evaluation.metrics import pairwise_accuracy, relative_l2
from aqa_lib.study.answer import standing_behind
from aqa_lib.study.comparison import averaged, compare_variants
from aqa_lib.study.effects import effects
from aqa_lib.study.items import told, with_items
from aqa_lib.study.study import Study
from aqa_lib.study.summary import differences, standing, summary
from aqa_lib.study.tables import compare, first, ranking, shows
from aqa_lib.study.variants import by_name

SMALL = {"name": "surrogate", "n_train": 60, "n_test": 30, "T": 4, "D": 8}
QUICK = {"steps": 8, "batch": 8}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    return Study("explore")


# ---- resamples of test items


def listed(counts):
    """The items of each resample as a list, each as often as it was taken."""
    return [np.repeat(np.arange(len(row)), row.astype(int)) for row in counts]


def test_measures_of_resamples_are_those_of_the_items_written_out():
    """With ties among predictions and scores; every resample built and measured by itself."""
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 6, 25).astype(float), rng.integers(0, 9, (4, 25)).astype(float)
    counts = taken(np.zeros(25), 60)
    rho, far = resampled_spearman(predicted, true, counts), resampled_l2(predicted, true, counts)
    assert (counts.sum(1) == 24).all()
    for b, items in enumerate(listed(counts)):
        for k in range(4):
            assert rho[k, b] == pytest.approx(stats.spearmanr(predicted[k][items], true[items]).statistic)
            assert far[k, b] == pytest.approx(relative_l2(predicted[k][items], true[items]))


def test_a_resampled_pair_counts_as_often_as_both_its_items():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 5, (3, 12)).astype(float)
    scores[2, 4] = np.nan
    pairs = np.array([(a, b) for a in range(12) for b in range(12) if a % 2 == b % 2 and a < b])
    levels = np.arange(12) % 2
    counts = taken(levels, 40)
    found = resampled_pairwise(scores, pairs, levels[pairs[:, 0]], counts)
    for b, row in enumerate(counts):
        means = []
        for level in (0, 1):
            those = [pair for pair in pairs if levels[pair[0]] == level]
            again = np.array([p for p in those for _ in range(int(row[p[0]] * row[p[1]]))])
            means.append([pairwise_accuracy(s, again) for s in scores[:2]])
        assert found[:2, b] == pytest.approx(np.mean(means, axis=0))
    assert np.isnan(found[2]).all()  # neither right nor wrong


def test_a_level_keeps_its_size_and_an_item_alone_is_always_taken():
    counts = taken(np.array(["a"] * 5 + ["b"] * 3 + ["c"]), 50)
    assert (counts[:, :5].sum(1) == 4).all() and (counts[:, 5:8].sum(1) == 2).all() and (counts[:, 8] == 1).all()


def test_the_variance_of_a_resampled_mean_has_no_bias():
    values = np.random.default_rng(2).normal(size=6)
    counts = taken(np.zeros(6), 40_000)
    assert (counts @ values / 5).var() == pytest.approx(values.var(ddof=1) / 6, rel=0.03)


def test_an_interval_is_about_the_two_level_bootstraps():
    """Draws and items, of which neither is few; of a mean and of a difference."""
    rng = np.random.default_rng(3)
    true = rng.normal(size=100)
    common = true + rng.normal(size=100)
    one, two = common + 0.8 * rng.normal(size=(20, 100)), 0.5 * common + 0.8 * rng.normal(size=(20, 100))
    for minus in (None, two):
        mine = rank_interval(one, true, minus=minus)
        theirs = two_level_bootstrap(one, true, minus=minus, method="percentile", resamples=1000)
        assert mine.mean == pytest.approx(theirs.mean) and mine.over == ("draws", "items")
        assert mine.high - mine.low == pytest.approx(theirs.high - theirs.low, rel=0.15)
        draws_alone = crossed(spearman_rows(one, true) - (0 if minus is None else spearman_rows(two, true)))
        assert mine.high - mine.low > 1.3 * (draws_alone.high - draws_alone.low)


def test_draws_alone_give_students_interval_and_items_alone_one_of_items():
    d = np.random.default_rng(4).normal(0.3, 0.1, 6)
    got, students = crossed(d), stats.ttest_1samp(d, 0)
    assert got[:3] == pytest.approx((d.mean(), *students.confidence_interval(0.95)))
    assert got.p == pytest.approx(students.pvalue) and got.freedom == 5
    again = np.random.default_rng(5).normal(0.3, 0.05, (1, 4000))
    same = crossed([0.3] * 6, np.repeat(again, 6, axis=0), items=40)
    assert same.over == ("items",) and same.freedom == pytest.approx(39)
    assert same.high - same.mean == pytest.approx(stats.t.ppf(0.975, 39) * again.std(), rel=0.01)


def test_what_cannot_differ_has_no_interval():
    for values in ([-0.371], [-0.371] * 5, [0.1 + 0.2, 0.3]):  # all labels: each draw is the same, but for rounding
        found = crossed(values)
        assert np.isnan([found.low, found.high, found.p]).all() and found.over == ()
    assert crossed([0.0] * 5).p == 1


def test_intervals_keep_to_the_bounds_of_their_measure():
    rng = np.random.default_rng(6)
    for _ in range(50):
        rho = rng.uniform(-1, 1, 2)
        low, high = crossed(rho, limits=bounds("spearman"))[1:3]
        assert -1 <= low <= rho.mean() <= high <= 1
    assert stats.ttest_1samp(rho, 0).confidence_interval(0.95).high > 1  # the last one alone would not have
    assert bounds("difference in spearman") == (-2, 2) and bounds("difference in difference in spearman") == (-4, 4)
    assert bounds("pairwise_accuracy") == bounds("mAP_0.5") == (0, 1) and bounds("relative_l2") == (0, np.inf)
    assert bounds("difference in pairwise_accuracy") == (-1, 1) and bounds("nll") == (-np.inf, np.inf)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: rank_interval([1.0, 2], [1.0, 2, 3]),
        lambda: rank_interval("abc", [1.0, 2, 3]),
        lambda: rank_interval([1.0, 2], [np.nan, np.nan]),
        lambda: rank_interval([[1.0, 2]], [1.0, 2], minus=[[1.0, 2], [2, 1]]),
        lambda: rank_interval([1.0, 2], [1.0, 2], resamples=0),
        lambda: rank_interval([1.0, 2], [1.0, 2], level="high"),
        lambda: crossed([]),
        lambda: crossed([0.1, 0.2], limits=(1, -1)),
        lambda: crossed([0.1, 0.2], resampled=[0.1, 0.2]),
        lambda: bounds(3),
        lambda: ranking(pd.DataFrame({"variant": ["a"]})),
        lambda: with_items(None, pd.DataFrame({"state": ["complete"]})),
    ],
)
def test_wrong_input_is_answered_in_a_sentence(wrong):
    with pytest.raises(UserError):
        wrong()


# ---- tables


def table_of(variants, measure="spearman", items=None, resampled=None, worlds=False):
    rows = [(v, d, d, x) for v, values in variants.items() for d, x in enumerate(values)]
    table = pd.DataFrame(rows, columns=["variant", "draw", "seed", "value"]).assign(measure=measure)
    table = table.assign(block="b", fraction=0.1, published=False, parts=1, undefined=0, failed=0, states="")
    return table if items is None else table.assign(items=items, worlds=worlds, resampled=resampled)


WILD = {"a": [-0.9, 0.9], "b": [0.9, -0.9], "a, control": [0.95, 0.99]}


@pytest.mark.parametrize("measure, least, most", [("spearman", -1, 1), ("pairwise_accuracy", 0, 1)])
def test_every_interval_of_every_table_keeps_to_the_bounds(measure, least, most):
    values = {name: np.clip(v, least, most) for name, v in WILD.items()}
    found, span = table_of(values, measure), most - least
    means = compare(found, "variant", "b", "value")
    assert means["low"].min() >= least and means["high"].max() <= most
    for table in (means, summary(found, "b", also="a"), effects(found, "b")):
        low, high = (table[c].dropna() for c in ("difference low", "difference high"))
        assert len(low) and low.min() >= -span and high.max() <= span
        assert not (table["detectable"] > span).any()
    of_two = differences(found, {"x": ("a", "b"), "y": ("b", "a, control")})
    twice = compare(of_two, "variant", "y", "value")
    assert twice["low"].min() >= -span and twice["difference high"].max() <= 2 * span


def test_draws_that_do_not_differ_have_no_interval_and_no_verdict():
    """Two closed forms on all labels: always .3 apart, of which no p may be made."""
    found = table_of({"ridge": [-0.371] * 6, "guess": [-0.671] * 6, "one": [0.1], "again": [-0.671] * 6})
    result = compare(found, "variant", "guess", "value")
    assert result[["low", "high", "difference low", "difference high"]].isna().all(axis=None)
    assert result.loc["ridge", "interval over"] == "- (draws do not differ)"
    assert result.loc["one", "interval over"] == "- (one draw)"
    ridge, again = result.loc["ridge"], result.loc["again"]
    assert np.isnan(ridge["p (Holm)"]) and again["p (Holm)"] == 1
    assert (ridge["verdict"], ridge["why"]) == ("cannot be told from", "draws do not differ")
    assert shows(result).startswith("These runs can show no difference")


def test_worlds_bring_their_own_items():
    found = table_of({"a": [0.1, 0.2, 0.3], "b": [0.2, 0.4, 0.3]}, items=[6, 7, 8] * 2, worlds=True)
    result = compare(found, "variant", "a", "value")
    assert set(result["interval over"]) == {"worlds"} and set(result["test items"]) == {21}
    half = stats.t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert result.loc["a", "low"] == pytest.approx(0.2 - half)
    assert " on 21 test items a difference" in shows(result.assign(detectable=0.5))


def test_a_comparison_resamples_items_that_draws_share(study):
    """Against the same number made by hand from the runs' predictions; over worlds nothing is resampled."""
    variants = by_name(["ridge", "pi_model"], {**QUICK, "every": 4})
    blocks = {"fixed": {"split": "official"}, "worlds": {"worlds": {"seed": 5}}}
    runs = compare_variants(study, SMALL, variants, blocks, [0.4], 4)
    fixed = runs[runs["block"] == "fixed"]
    assert (runs["items"] == 30).all() and not fixed["worlds"].any()
    worlds = runs[runs["block"] == "worlds"]
    assert worlds["worlds"].all() and all(each is None for each in worlds["resampled"])
    result = summary(averaged(runs), "ridge").set_index(["block", "variant"])
    assert result["test items"].tolist() == [30, 30, 120, 120]
    assert result["interval over"].tolist() == ["draws and test items"] * 2 + ["worlds"] * 2

    table = study.ledger.table()
    where = (table["data.seed"] == loaded_seed()) & (table["state"] == "complete")
    said = {m: np.stack([study.read(i).predictions.iloc[:, -1] for i in rows.sort_values("draw")["id"]])
            for m, rows in table[where].groupby("method")}  # fmt: skip
    true = study.read(table[where]["id"].iloc[0]).predictions["score"].to_numpy()
    theirs = rank_interval(said["pi_model"], true, minus=said["ridge"])
    mine = result.loc[("fixed", "Pi-model")]
    assert mine["difference"] == pytest.approx(theirs.mean, abs=1e-5)
    assert mine["difference high"] - mine["difference low"] == pytest.approx(theirs.high - theirs.low, rel=0.1)
    words = "fixed: 30 scored test items, the same in 4 draws; worlds: 120 scored test items: 30 in each of 4 worlds"
    assert told(runs) == words


def loaded_seed():
    """The surrogate's seed where none is asked for."""
    return data_sets.resolve("surrogate", {})["seed"]


def test_folds_parts_and_joined_folds_are_resampled_as_they_are_averaged(study):
    """The mean of what is resampled lies at the value, and items add up over folds and parts."""
    folds = {"split": ["official", "leak_free"], "parts": {"seed": [0, 1]}}
    blocks = {"folds": folds, "joined": {**folds, "pool": True}}
    for rule in ("last", "mean_of_last"):
        variants = by_name(["ridge", "pi_model"], {**QUICK, "every": 4})
        found = averaged(compare_variants(study, SMALL, variants, blocks, [0.4], 1, rule=rule))
        sizes = found.groupby("block")["items"].unique()
        assert len(sizes["folds"]) == 1 and sizes["folds"] == sizes["joined"] > 2 * 30
        for _, row in found.iterrows():
            assert row["resampled"].shape == (1000,)
            assert abs(np.mean(row["resampled"]) - row["value"]) < 0.4 * np.std(row["resampled"])


def test_accuracies_on_pairs_are_resampled_and_count_the_items_of_pairs(study, tmp_path):
    pairs = np.array([[31, 30], [33, 32], [35, 34], [37, 36], [31, 36]])
    path = ours(tmp_path, measure="pairwise_accuracy", pairs=pairs)
    runs = compare_variants(study, {"name": "file"}, by_name(["ridge"], {}), {"a": {}}, [0.4], 2, root=path)
    assert (runs["items"] == 8).all()
    again = np.stack(list(runs["resampled"]))
    assert np.nanmin(again) >= 0 and np.nanmax(again) <= 1 and np.nanstd(again) > 0


def test_a_table_of_runs_is_given_its_items(study):
    runs = [{**QUICK, "every": 4, "fraction": 0.4, "draw": d, "seed": d} for d in range(3)]
    table = study.train("pi_model", SMALL, runs=runs)
    found = with_items(study, table.assign(variant="a"))
    said = study.read(table["id"][1]).predictions
    assert found["items"].tolist() == [30] * 3 and not found["worlds"].any()
    spread = rank_interval(said.iloc[:, -1], said["score"])
    assert np.std(found["resampled"][1], ddof=1) == pytest.approx(spread.error, rel=0.1)
    assert compare(found, "variant", "a")["interval over"].tolist() == ["draws and test items"]
    both = with_items(study, table.assign(evaluations=[(4, 8)] * 3))["resampled"][1]
    assert np.mean(both) == pytest.approx(
        np.mean([stats.spearmanr(said[f"step_{s}"], said["score"]).statistic for s in (4, 8)]), abs=0.08
    )
    worlds = study.train("ridge", [{**SMALL, "seed": s} for s in range(2)], runs=runs_of_ridge(2))
    own = with_items(study, worlds)
    assert own["worlds"].all() and own["items"].tolist() == [30, 30] and own["resampled"].isna().all()


def runs_of_ridge(n):
    return [{"fraction": 0.4, "draw": d} for d in range(n)]


# ---- who is first


def test_random_features_and_six_test_videos_make_nobody_first(study, tmp_path):
    """Eight ridges, each on noise of its own: one is always ahead, and is not called so, in six draws of labels."""
    rng = np.random.default_rng(7)
    n, tables = 46, []
    scores = rng.normal(size=n)
    table = pd.DataFrame({"split": ["train"] * 40 + ["test"] * 6})
    for i in range(8):
        x = rng.normal(size=(n, 3, 8))
        path = ours(tmp_path, f"noise{i}", features=x, scores=scores, ids=np.arange(n), table=table)
        runs = compare_variants(study, {"name": "file"}, by_name(["ridge"], {}), {"o": {}}, [0.4], 6, root=path)
        tables.append(averaged(runs).assign(variant=f"method {i}"))
    found = pd.concat(tables, ignore_index=True)
    assert found.groupby("variant")["value"].mean().max() > 0.3  # what would have been called first
    draws_alone = compare(found.drop(columns="resampled"), "variant", "method 0", "value")
    assert draws_alone["verdict"].isin(["beats", "is worse than"]).any()  # as it was before
    best, rest = first(found, metric="value")
    assert len(rest) == 7 and ranking(found, metric="value").startswith(f"None is shown to be first: {best} cannot")
    for baseline in found["variant"].unique():
        result = summary(found, baseline)
        assert set(result["verdict"]) == {"baseline", "cannot be told from"}
        assert standing(result, baseline) == f"Nothing beats {baseline}."
        assert (result["test items"] == 6).all()


@pytest.mark.slow
def test_noise_is_called_first_no_more_often_than_the_level_says():
    """Six test videos and eight methods that know nothing, 60 times over; each method is steady over its draws."""
    rng, called = np.random.default_rng(8), 0
    for _ in range(60):
        true, counts, tables = rng.normal(size=6), taken(np.zeros(6), 200, rng.integers(2**32)), []
        for v in range(8):
            said = rng.normal(size=6) + 0.3 * rng.normal(size=(6, 6))
            again = list(resampled_spearman(said, true, counts))
            one = table_of({f"m{v}": spearman_rows(said, true)}, items=6)
            tables.append(one.assign(resampled=again))
        called += not first(pd.concat(tables), metric="value")[1]
    assert called <= 3


def test_who_beats_all_others_is_first():
    good, low = [0.80, 0.82, 0.79, 0.81, 0.80, 0.83], [0.5, 0.51, 0.49, 0.52, 0.5, 0.5]
    found = table_of({"a": low, "b": good, "c": np.subtract(low, [0.1, 0.12, 0.1, 0.09, 0.1, 0.11])})
    assert first(found, metric="value") == ("b", []) and ranking(found, metric="value") == "b is first."
    near = table_of({"a": low, "b": good, "c": np.subtract(good, [0.01, -0.01, 0.02, -0.02, 0.01, -0.005])})
    assert ranking(near, metric="value") == "None is shown to be first: b cannot be told from c."
    assert ranking(table_of({"a": low}), metric="value") == "There are no two to compare."
    many = table_of({f"a long title of a method {i}": good for i in range(9)})
    assert len(ranking(many, metric="value").split()) <= 25
    two = table_of({"a": [0.1, 0.2], "b": [0.8, 0.9]})  # too few draws to tell
    assert ranking(two, metric="value") == "None is shown to be first: b cannot be told from a."


# ---- what an answer says


def test_an_answer_says_what_stands_behind_it():
    assert standing_behind(353, None) == "353 scored test items" and standing_behind(1, None) == "1 scored test item"
    assert standing_behind(np.int64(6), None) == "6 scored test items" and standing_behind(0, None) == "no test item"
    assert standing_behind("40 of them.", None) == "40 of them" and standing_behind(None, None) == ""
    assert standing_behind(None, pd.DataFrame({"value": [1.0]})) == ""
    for bad in (-1, 2.5, True, [3], np.arange(3)):
        with pytest.raises(UserError, match="tested takes a number of scored test items"):
            standing_behind(bad, None)
    numbers = table_of({"a": [0.1, 0.2], "b": [0.2, 0.1]}, items=[6, 8] * 2, worlds=True)
    assert standing_behind(None, numbers) == "14 scored test items: 6 to 8 in each of 2 worlds"
    one = table_of({"a": [0.1]}, items=6)
    assert standing_behind(None, one) == "6 scored test items, one draw"
    both = pd.concat([one.assign(block="x"), one.assign(block="y")])
    assert standing_behind(None, both) == "6 scored test items, one draw in each of the blocks"
