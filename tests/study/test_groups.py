"""Accuracies a subject and their two-level intervals, by hand and against the comparison's own numbers."""

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data as data_sets
from aqa_lib.errors import UserError
from aqa_lib.evaluation import paired_interval
from aqa_lib.study.comparison import averaged, compare_variants
from aqa_lib.study.groups import accuracies, by_group, difference, last, over_groups
from aqa_lib.study.study import Study

WORLD = {"name": "ui_prmd"}
BLOCKS = {"folds": {"split": ["fold:two/1", "fold:two/4"]}}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    return Study("explore")


def table(values):
    """by_group's table of {variant: [draws, groups]}."""
    rows = [("b", 0.1, v, d, f"s{g}", x, f"{v} {d} {g // 2}", "")
            for v, of in values.items() for d, row in enumerate(of) for g, x in enumerate(row)]  # fmt: skip
    return pd.DataFrame(rows, columns=["block", "fraction", "variant", "draw", "group", "value", "run", "states"])


def test_accuracies_of_each_group_are_means_over_levels():
    """Two subjects, two movements: .5 (of one pair of two) and 1 make .75; a tie counts one half."""
    data = data_sets.load("ui_prmd")
    rows = {id: i for i, id in enumerate(data.ids)}
    names = ["m01_s01_e01", "m01_s01_e02", "m01_s01_e01_inc", "m02_s01_e01", "m02_s01_e01_inc", "m01_s02_e01",
             "m01_s02_e01_inc"]  # fmt: skip
    a, b, c, d, e, f, g = (rows[n] for n in names)
    scores = np.full(len(data), np.nan)
    scores[[a, b, c, d, e, f, g]] = [3, 1, 2, 1, 0, 4, 4]
    pairs = np.array([[a, c], [b, c], [d, e], [f, g]])
    assert accuracies(data, pairs, scores) == {"s01": 0.75, "s02": 0.5}


def test_groups_average_to_what_the_comparison_says(study):
    """The folds' own pairwise accuracy is the mean of their two subjects'."""
    variants = {"ridge": ("ridge", {}), "SVR": ("svr", {})}
    runs = averaged(compare_variants(study, WORLD, variants, BLOCKS, [0.05], draws=2))
    each = by_group(study, WORLD, variants, BLOCKS, [0.05], draws=2)
    assert set(each["group"]) == {"s01", "s02", "s07", "s08"} and len(each) == 2 * 2 * 4
    mean = each.groupby(["variant", "draw"])["value"].mean()
    for _, run in runs.iterrows():
        assert mean[run["variant"], run["draw"]] == pytest.approx(run["value"])
    found = over_groups(each, {"SVR less ridge": ("SVR", "ridge")})
    means = runs.groupby("variant")["value"].mean()
    assert found["difference"][0] == pytest.approx(means["SVR"] - means["ridge"])
    assert (found["draws"][0], found["groups"][0]) == (2, 4)


def test_the_interval_is_over_draws_and_groups():
    """Of a sum of a draw's and a group's part the variance of the mean is that of both, worked out by hand."""
    rng = np.random.default_rng(0)
    draws, groups = rng.normal(size=12), rng.normal(size=15)
    gap = pd.DataFrame(draws[:, None] + groups)
    row = difference(gap, resamples=4000)
    sd = np.sqrt(draws.var() / 12 + groups.var() / 15)
    assert row["difference"] == pytest.approx(draws.mean() + groups.mean())
    assert (row["difference high"] - row["difference low"]) / (2 * 1.96) == pytest.approx(sd, rel=0.08)
    p = paired_interval(gap.mean(), np.zeros(15)).p_t
    assert row["p (Holm)"] == pytest.approx(p)
    assert row["half 1"] == pytest.approx(draws.mean() + groups[:7].mean())


def test_verdicts_need_interval_p_and_both_halves():
    flat = np.zeros((4, 10))
    rng = np.random.default_rng(1)
    up = 0.1 + 0.01 * rng.normal(size=(4, 10))
    split = np.where(np.arange(10) < 5, -0.02, 0.4) + 0.01 * rng.normal(size=(4, 10))
    each = table({"flat": flat, "up": up, "down": -up, "split": split})
    against = {name: (name, "flat") for name in ("up", "down", "split")}
    words = over_groups(each, against).set_index("difference of")["verdict"]
    assert words.to_dict() == {"up": "beats", "down": "is worse than", "split": "cannot be told from"}
    some = np.where(each["draw"] == 0, "recovery:on", "recovery:off")
    off = over_groups(each.assign(states=np.where(each["variant"] == "up", some, "")), {"up": against["up"]})
    assert off["verdict"].tolist() == ["cannot be compared with"]
    assert "off in 15 of 20" in off["mechanism"][0]  # a run that scores two people counts once


def test_holm_counts_all_rows():
    rng = np.random.default_rng(2)
    each = table({"flat": np.zeros((4, 10)), "a": 0.02 + 0.03 * rng.normal(size=(4, 10))})
    one = over_groups(each, {"a": ("a", "flat")})["p (Holm)"][0]
    two = over_groups(each, {"a": ("a", "flat"), "again": ("a", "flat")})["p (Holm)"]
    assert two.tolist() == pytest.approx([2 * one, 2 * one])


def test_no_difference_is_a_sentence():
    with pytest.raises(UserError, match="name two variants, or two blocks"):
        over_groups(table({"flat": np.zeros((4, 10))}), {})


def test_a_draw_with_a_failed_run_is_left_out():
    values = np.arange(40.0).reshape(4, 10)
    each = table({"a": values, "b": 0 * values})
    lost = each[~((each["variant"] == "a") & (each["draw"] == 3) & (each["group"] == "s2"))]
    found = over_groups(lost, {"a": ("a", "b")})
    assert found["draws"][0] == 3 and found["difference"][0] == values[:3].mean()


def test_a_failed_run_leaves_no_number(study):
    variant = {"AA": ("s4aqa", {"steps": 40, "recover": False, "align": False, "lr": 1e30})}
    with np.errstate(all="ignore"):
        each = by_group(study, WORLD, variant, {"one": {"split": "fold:two/1"}}, [0.05], 1)
    assert each["group"].tolist() == ["s01", "s02"] and each["value"].isna().all()


def test_data_without_groups_or_pairs_are_refused(study):
    with pytest.raises(UserError, match="needs pairs and groups"):
        by_group(study, {"name": "surrogate", "n_train": 40, "n_test": 20, "D": 8}, {"ridge": ("ridge", {})},
                 {"official": {}}, [0.2], 1)  # fmt: skip


def test_the_last_evaluation_counts(study):
    variant = {"AA": ("s4aqa", {"steps": 4, "every": 2, "recover": False, "align": False})}
    each = by_group(study, WORLD, variant, {"one": {"split": "fold:two/1"}}, [0.05], 1)
    table = study.ledger.table()
    record, data = study.read(table["id"][0]), data_sets.load("ui_prmd")
    said = last(record, data)
    assert np.isnan(said[data.groups == "s03"]).all()
    assert said[data.groups == "s01"] == pytest.approx(
        record.predictions.set_index("id")["step_4"][data.ids[data.groups == "s01"]].to_numpy()
    )
    assert each["value"].mean() == pytest.approx(record.metrics["pairwise_accuracy"])


def test_groups_count_their_items_and_equal_differences_have_no_interval():
    each = table({"a": [[0.5, 0.6, 0.7, 0.8]] * 3, "b": [[0.4, 0.5, 0.6, 0.7]] * 3}).assign(items=20)
    found = over_groups(each, {"a less b": ("a", "b")}, resamples=50).iloc[0]
    assert found["test items"] == 80 and found["difference"] == pytest.approx(0.1)
    assert np.isnan([found["difference low"], found["difference high"], found["p (Holm)"]]).all()
    assert (found["verdict"], found["why"]) == ("cannot be told from", "draws do not differ")
