"""Learning rates chosen on held-out labels."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from aqa_lib.data import load
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.study.rates import chosen, errors
from aqa_lib.study.study import Study


def test_the_least_error_is_chosen_and_an_edge_is_named():
    rows = [
        ("A", 1e-3, 4.0),
        ("A", 1e-3, 6.0),
        ("A", 2e-3, 1.0),
        ("A", 2e-3, 3.0),
        ("A", 4e-3, 9.0),
        ("A", 4e-3, np.nan),
    ]
    rows += [("B", 1e-2, 9.0), ("B", 2e-2, 4.0)]
    table = pd.DataFrame(rows, columns=["method", "lr", "validation_mse"])
    table["state"] = np.where(table["validation_mse"].isna(), "failed", "complete")
    result = chosen(table)
    assert result["lr"].tolist() == [2e-3, 2e-2] and result["at the edge"].tolist() == [False, True]
    assert result.loc["A", "2 x"] == pytest.approx(2**0.5) and result.loc["A", "4 x"] == np.inf
    assert result.loc["B", "2 x"] == 2.0


def test_runs_differ_in_rate_and_draw_and_hold_labels_out(monkeypatch, tmp_path):
    monkeypatch.setenv("AQA_ROOT", str(tmp_path))
    chance = dict(fraction=0.4, steps=4, validation=0.3)
    table = errors(Study("try"), "surrogate", "official", ["pi_model"], [1, 2], 2, chance, {"pi_model": {"lr": 1e-3}})
    assert sorted(zip(table["lr"], table["draw"], strict=True)) == [(1e-3, 0), (1e-3, 1), (2e-3, 0), (2e-3, 1)]
    assert (table["labels"] == 96 - 29).all() and table["validation_mse"].notna().all()
    both = errors(Study("try"), "surrogate", "official", ["s4aqa"], [1], 1, chance, {"AA": {"lr": 2e-3}})
    assert both[["method", "lr", "recover"]].to_numpy().tolist() == [["S4AQA", 5e-4, True], ["AA", 2e-3, False]]
    aa = errors(Study("try"), "surrogate", "official", ["AA"], [1], 1, chance)
    assert aa["method"].tolist() == ["AA"] and aa["lr"].tolist() == [5e-4]
    with pytest.raises(UserError, match="held out"):
        errors(Study("try"), "surrogate", "official", ["pi_model"], [1], 1, chance | {"validation": 0.0})
    with pytest.raises(UserError, match="closed form"):
        errors(Study("try"), "surrogate", "official", ["ridge"], [1], 1, chance)


def test_the_rate_is_chosen_by_the_error_on_held_out_labels_alone():
    """Test measures of all kinds say the other rate, and then none: neither changes a number of the choice."""
    rows = [("A", lr, draw, 1.0 + (lr == 1e-3) + 0.1 * draw) for lr in (1e-3, 2e-3, 4e-3) for draw in range(2)]
    table = pd.DataFrame(rows, columns=["method", "lr", "draw", "validation_mse"]).assign(state="complete")
    table.loc[table["lr"] == 4e-3, "validation_mse"] = 3.0
    good = (table["lr"] == 1e-3).astype(float)  # what test scores would choose
    measures = {"spearman": good, "relative_l2": 1 - good, "pairwise_accuracy": good, "validation_spearman": good}
    told = table.assign(**measures)
    assert chosen(told)["lr"].tolist() == [2e-3]
    turned = {n: -v for n, v in measures.items()}
    for other in (told.assign(**dict.fromkeys(measures, np.nan)), told.assign(**turned), table):
        pd.testing.assert_frame_equal(chosen(told), chosen(other))


def test_no_score_of_a_test_video_changes_an_error_or_a_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("AQA_ROOT", str(tmp_path))
    data = load("surrogate", n_train=60, n_test=20, T=4, D=16)
    chance, test = dict(fraction=0.5, steps=20, validation=0.3), official(data).test

    def tried(name, scores_of_test):
        scores = data.scores.copy()
        scores[test] = scores_of_test
        other = dataclasses.replace(data, scores=scores, judges=None, difficulty=None)
        path = other.save(tmp_path / f"{name}.safetensors")  # the name of the set, which draws depend on, stays
        return errors(Study(name), "file", "official", ["pi_model"], [1, 16], 2, chance, root=str(path))

    table = tried("true", data.scores[test])
    for other in (tried("reversed", data.scores[test][::-1]), tried("far", 1e3 * np.arange(len(test)))):
        assert (table["spearman"] != other["spearman"]).any()  # the test does see other scores
        assert np.array_equal(table["validation_mse"], other["validation_mse"])
        pd.testing.assert_frame_equal(chosen(table), chosen(other))
