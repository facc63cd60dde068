"""Conformal intervals of runs: against intervals made by hand from what the K runs say, and where people matter."""

import importlib

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.ledger.record import Record
from aqa_lib.study.conformal import conformalised, covered, fold_runs, intervals
from aqa_lib.study.study import Study
from aqa_lib.training import Checkpoints, train

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "T": 4, "D": 16}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    return Study("explore")


def record(held, tested):
    """A run of which only the tables matter; [(id, score, predicted, variance, low, high)] of either."""
    columns = ["id", "score", "step_5", "variance", "quantile_0", "quantile_1"]
    held, tested = (pd.DataFrame(rows, columns=columns) for rows in (held, tested))
    return Record("0" * 16, {}, {}, pd.DataFrame(), tested, {}, None, held)


def test_intervals_by_hand():
    """Two runs, residuals 1 and 2 of the first, 4 of the second; at level .5 the second smallest of three.

    Test item t: the runs say 10 and 20. Ends of CV+ 10 - 1, 10 - 2, 20 - 4 and 10 + 1, 10 + 2, 20 + 4.
    """
    one = record([("a", 3.0, 2.0, 1.0, 1, 4), ("b", 8.0, 6.0, 4.0, 3, 7)], [("t", 11.0, 10.0, 4.0, 9, 12)])
    two = record([("c", 1.0, 5.0, 4.0, 2, 3)], [("t", 11.0, 20.0, 1.0, 18, 21)])
    found = intervals([one, two], level=0.5).set_index(["how", "kind", "fold"])[["low", "high"]]
    assert found.loc["CV+", "plain", -1].tolist() == [9, 12]
    # deviations 1 2 2, so 1 1 2 of them, times 2 2 1 at t: 10 - 2, 10 - 2, 20 - 2 and 10 + 2, 10 + 2, 20 + 2
    assert found.loc["CV+", "scaled", -1].tolist() == [8, 12]
    # a is 1 inside, b 1 outside, c 1 outside: 9 + 1, 9 - 1, 18 - 1 and 12 - 1, 12 + 1, 21 + 1
    assert found.loc["CV+", "quantiles", -1].tolist() == [10, 13]
    assert found.loc["split", "plain", 0].tolist() == [8, 12]  # the second smallest of 1, 2
    assert found.loc["split", "plain", 1].tolist() == [16, 24]  # the only one
    table = covered(intervals([one, two], level=0.5), 0.5).set_index(["how", "kind"])
    assert table.loc["CV+", "plain"].tolist() == [1, 3, 3, 1]
    assert table.loc["split", "plain"].tolist() == [0.5, 6, (4 + 8 + 4 * 5) / 2, 1]  # 11 is 5 below 16
    alike = intervals([one, two], 0.6, {"a": "p", "b": "p", "c": "q"})  # a third each: .6 needs both groups
    assert alike[alike["how"] == "CV+, groups alike"]["high"].iloc[0] == 24
    few = covered(intervals([one, two], 0.9))
    assert np.isinf(few["width"]).all() and (few["finite"] == 0).all() and (few["coverage"] == 1).all()


def test_runs_that_do_not_belong_together():
    a = record([("a", 3.0, 2.0, 1.0, 1, 4)], [("t", 11.0, 10.0, 4.0, 9, 12)])
    with pytest.raises(UserError, match="two of these runs held out 'a'"):
        intervals([a, a])
    with pytest.raises(UserError, match="tested on different items"):
        intervals([a, record([("b", 3.0, 2.0, 1.0, 1, 4)], [("u", 11.0, 10.0, 4.0, 9, 12)])])
    bare = Record("1" * 16, {}, {}, pd.DataFrame(), a.predictions, {}, None)
    with pytest.raises(UserError, match="held out no labels: train it with the settings of fold_runs"):
        intervals([bare])


def test_runs_of_ridge_from_the_ledger_to_the_table(study):
    """Every label is held out once, predicted as the same ridge fitted here says; the table is that of `intervals`."""
    runs = fold_runs({"fraction": 0.5, "draw": 1, "seed": 1}, 5)
    table = study.train("ridge", WORLD, "official", runs)
    records = [study.read(id) for id in table["id"]]
    data = data_sets.load(**{"name": "surrogate", **WORLD})
    method, split = methods.get("ridge"), official(data)
    full = method.resolve(runs[0])
    ids = [id for r in records for id in r.held["id"]]
    assert len(ids) == len(set(ids)) == 30 and table["labels"].sum() == 4 * 30
    known = np.full(len(data), np.nan)
    shown = [i for i, id in enumerate(data.ids) if id in set(ids) - set(records[0].held["id"])]
    known[shown] = data.scores[shown]
    items = np.array([list(data.ids).index(id) for id in records[0].held["id"]])
    seen = np.setdiff1d(split.train, items)
    arrays = method.fit(data, seen, known[seen], full)
    said = method.apply(arrays, data, items, full)
    held = records[0].held
    np.testing.assert_allclose(held["step_0"], said["score"] if isinstance(said, dict) else said, rtol=1e-5)
    np.testing.assert_allclose(held["score"], data.scores[items])
    found = conformalised(study, WORLD, {"ridge": ("ridge", {})}, {"official": {"split": "official"}}, [0.5], 2)
    mine = found[found["draw"] == 1].set_index(["how", "kind"])
    pd.testing.assert_frame_equal(
        mine[["coverage", "width", "interval score", "finite"]], covered(intervals(records)).set_index(["how", "kind"])
    )
    assert set(found["draw"]) == {0, 1} and (found["variant"] == "ridge").all()
    assert np.isinf(mine.loc["split", "plain"]["width"])  # six labels a fold are too few at .9


def test_a_network_states_variances_of_held_out_labels_alone_in_a_stack_and_after_a_kill(tmp_path):
    """Folds are one stack; each run says what it says alone, also where it goes on from a checkpoint."""
    method = importlib.import_module("contract.dae").METHOD
    method.name = "dae"
    data = data_sets.load(**WORLD)
    runs = fold_runs({"fraction": 0.5, "steps": 12, "every": 4, "batch": 8}, 3)
    together = train(method, data, official(data), runs)
    (alone,) = train(method, data, official(data), runs[1:2])
    columns = ["id", "score", "step_4", "step_8", "step_12", "variance"]
    for result in together:
        assert list(result.held) == columns and result.complete and len(result.predictions) == 30
    assert alone.held["id"].tolist() == together[1].held["id"].tolist()
    for name in columns[2:]:
        np.testing.assert_allclose(alone.held[name], together[1].held[name], rtol=1e-4, atol=1e-4)
    assert train(method, data, official(data), [{"fraction": 0.5, "steps": 4, "batch": 8}])[0].held is None

    saved = importlib.import_module("aqa_lib.training.contract")
    with pytest.raises(saved.Broken):
        train(method, data, official(data), runs[1:2], checkpoints=saved.Breaking(tmp_path, ["run"]))
    (resumed,) = train(method, data, official(data), runs[1:2], checkpoints=Checkpoints(tmp_path, ["run"]))
    pd.testing.assert_frame_equal(resumed.held, alone.held)
