"""Asking for runs: trained once whoever asks, failures with their reason, tables that pair what belongs together."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aqa_lib.errors import UserError
from aqa_lib.evaluation import rows_differ
from aqa_lib.paths import root
from aqa_lib.study import study as study_module
from aqa_lib.study.asked import grid
from aqa_lib.study.study import Study
from aqa_lib.study.tables import compare, label_runs, number
from benchmarks.sizes import SIZES, markdown
from benchmarks.step import flops_of
from benchmarks.whole import memory

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
RUNS = grid(("seed", "draw"), seed=range(3), draw=range(3), steps=[20], fraction=[0.3], batch=[8])


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    return Study("explore")


def trained(monkeypatch):
    """Counts the runs that are really trained."""
    from aqa_lib import training

    seen, real = [], training.train

    def count(method, data, split, runs, **kw):
        seen.extend(runs)
        return real(method, data, split, runs, **kw)

    monkeypatch.setattr(training, "train", count)
    return seen


def test_grid_is_a_product_of_what_walks_alone_and_together():
    runs = grid(("seed", "draw"), seed=[0, 1], draw=[5, 6], lr=[0.1, 0.2])
    assert runs == [{"lr": lr, "seed": s, "draw": s + 5} for lr in (0.1, 0.2) for s in (0, 1)]
    assert grid(a=[1], b=[2, 3]) == [{"a": 1, "b": 2}, {"a": 1, "b": 3}]


def test_a_run_asked_for_twice_is_trained_once(study, monkeypatch):
    seen = trained(monkeypatch)
    first = study.train("s4aqa", WORLD, runs=RUNS)
    assert len(seen) == 3 and (first["state"] == "complete").all()
    more = study.train("s4aqa", WORLD, runs=[*RUNS, {**RUNS[0], "lambda1": 1}, RUNS[0]])
    assert len(seen) == 4 and len(more) == 5 and more["id"][4] == more["id"][0]
    assert more["spearman"][:3].tolist() == first["spearman"].tolist()
    assert study.train("s4aqa", {**WORLD, "T": 10}, runs=RUNS)["id"].tolist() == first["id"].tolist()
    assert len(seen) == 4  # T = 10 is what `quick` has, so these are the same runs
    record = study.read(first["id"][0])
    assert record.predictions.shape == (30, 2 + 10) and list(record.curve["step"]) == list(range(2, 21, 2))
    assert record.run["device"] == "cpu" and record.spec["settings"]["lambda2"] == 0.1


def test_one_run_may_be_named_without_a_list(study):
    id = study.train("ridge", WORLD, runs=[{"fraction": 0.3}], weights=True)["id"][0]
    table = study.predict(id[:9], WORLD)
    assert table.equals(study.predict([id], WORLD)) and f"run {id}" in table


def test_weights_are_kept_on_request(study):
    kept = study.train("s4aqa", WORLD, runs=RUNS[:2], weights=True)
    weights = study.read(kept["id"][1]).weights()
    assert weights["encoder.convs.0.weight"].shape == (3, 16, 16) and "encoder.norms.2.var" in weights
    plain = study.train("s4aqa", WORLD, runs=RUNS[2:])
    with pytest.raises(UserError, match="kept no weights"):
        study.read(plain["id"][0]).weights()


@pytest.mark.slow
def test_processes_share_the_runs(study):
    alone = Study("alone").train("s4aqa", WORLD, runs=RUNS)
    shared = study.train("s4aqa", WORLD, runs=RUNS, workers=2)
    assert np.allclose(alone["spearman"], shared["spearman"], atol=1e-3)
    makers = {json.loads((study.ledger.path(id) / "run.json").read_text())["pid"] for id in shared["id"]}
    assert len(makers) == 2 and os.getpid() not in makers


def test_a_failed_run_is_a_row_with_its_reason_and_only_retried_on_request(study, monkeypatch):
    runs = [RUNS[0], {**RUNS[1], "lr": 1e12}]
    table = study.train("s4aqa", WORLD, runs=runs)
    assert table["state"].tolist() == ["complete", "failed"] and "diverged" in table["reason"][1]
    seen = trained(monkeypatch)
    assert study.train("s4aqa", WORLD, runs=runs)["state"].tolist() == ["complete", "failed"] and not seen
    study.train("s4aqa", WORLD, runs=runs, retry=True)
    assert len(seen) == 1


@pytest.mark.slow
def test_runs_of_another_process_are_waited_for(study, tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "WAIT", 0.05)
    code = (
        "import sys, json, time; from aqa_lib.study.study import Study; from aqa_lib.training.train import Loop\n"
        "real = Loop.run\n"
        "def slow(loop): print('locked', flush=True); time.sleep(3); return real(loop)\n"
        "Loop.run = slow\n"
        "Study('explore').train('s4aqa', json.loads(sys.argv[1]), runs=json.loads(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, json.dumps(WORLD), json.dumps(RUNS)]
    other = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=root(), text=True)
    assert other.stdout.readline() == "locked\n"
    seen = trained(monkeypatch)
    table = study.train("s4aqa", WORLD, runs=RUNS)
    assert (table["state"] == "complete").all() and not seen
    assert other.wait() == 0


@pytest.mark.slow
def test_training_that_is_killed_loses_only_the_runs_under_way(study, monkeypatch):
    """kill -9 in the middle of a study: what had ended is kept, the rest is trained by the next call."""
    context = multiprocessing.get_context("spawn")
    long = [{**r, "steps": 200000} for r in RUNS[1:]]
    todo = [(spec, WORLD) for spec in study.specs("s4aqa", WORLD, "official", [RUNS[0], *long])]
    victim = context.Process(target=study_module.work, args=("explore", "s4aqa", todo, None, {"device": "cpu"}))
    victim.start()
    wait = time.monotonic() + 60
    while not study.ledger.table().shape[0] and time.monotonic() < wait:
        time.sleep(0.05)
    victim.kill()
    victim.join()
    states = [study.ledger.state(id) for id in study.ledger.ids()]
    assert sorted(states) == ["complete", "stale", "stale"]
    seen = trained(monkeypatch)
    table = study.train("s4aqa", WORLD, runs=RUNS)
    assert (table["state"] == "complete").all() and len(seen) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "s4aaq"}, "s4aqa"),
        ({"data": {"name": "surogate"}}, "surrogate"),
        ({"data": {"name": "surrogate", "rhoo": 0.5}}, "rho"),
        ({"data": {"name": "surrogate", "rho": "high"}}, "rho"),
        ({"split": "oficial"}, "official"),
        ({"runs": [{"lambda1": -1.0}]}, "lambda1"),
        ({"runs": [{"lambdal": 1.0}]}, "lambda1"),
        ({"runs": [{"steps": "many"}]}, "steps"),
        ({"runs": [RUNS[0], {"fraction": 0.01}]}, "0.01"),
        ({"runs": {"seed": 1}}, "a list of runs"),
        ({"runs": []}, "list of runs is empty"),
        ({"runs": 3}, "a list of runs .* but got 3"),
        ({"runs": "s4aqa"}, "a list of runs"),
        ({"runs": [3]}, "a run is a mapping"),
        ({"runs": [{"lr": 0}]}, "lr = 0.0, but it must be above 0"),
        ({"runs": [{"lr": 1e300}]}, "lr = 1e.300 is above 1e.30"),
        ({"runs": [{"lambda1": float("inf")}]}, "lambda1 = inf is beyond"),
        ({"runs": [{"seed": 2**64}]}, "seed is beyond"),
        ({"runs": [{"steps": 10**18}]}, "steps = .* greatest value"),
        ({"runs": [{"batch": 10**9}]}, "batch"),
        ({"at_once": -1}, "at_once = -1 is below 1"),
        ({"at_once": "all"}, "at_once takes int"),
        ({"workers": 0}, "workers = 0 is below 1"),
        ({"checkpoint": -1}, "checkpoint = -1.0 is below 0"),
        ({"weights": "yes"}, "weights takes bool"),
        ({"root": 3}, "root takes the path"),
        ({"data": 3}, "a data set is given as"),
        ({"data": {"name": ["surrogate"]}}, "a data set is given as"),
        ({"method": ["s4aqa"]}, "unknown method"),
        ({"method": {}}, "unknown method"),
        ({"split": {}}, "unknown split"),
        ({"data": {"size": "quick"}}, "name"),
        ({"device": "gpu"}, "cpu"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_trained(study, change, words):
    with pytest.raises(UserError, match=words) as error:
        study.train(**{"method": "s4aqa", "data": WORLD, "runs": RUNS, **change})
    assert "\n" not in str(error.value)
    assert study.ledger.ids() == []  # no run was begun, and no lock is left


def test_runs_of_other_sources_are_told_of(study, monkeypatch):
    first = study.train("s4aqa", WORLD, runs=RUNS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.train("s4aqa", WORLD, runs=RUNS)
    one = study.train("ridge", WORLD, runs=[{"fraction": 0.3}])
    now = {"s4aqa": "abc+src.000000000000", "ridge": one["code"][0]}  # a method that was edited, and another
    monkeypatch.setattr(study_module, "code_version", lambda spec: now[spec["method"]])
    with pytest.warns(UserWarning, match="3 of these 4 runs were trained by other sources"):
        study._warned(pd.concat([study.train("ridge", WORLD, runs=[{"fraction": 0.3}]), first]))
    with pytest.warns(UserWarning, match="3 of these 3 runs were trained by other sources"):
        study.train("s4aqa", WORLD, runs=RUNS)


def test_an_output_folder_that_cannot_be_written_is_said_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "file"))
    seen = trained(monkeypatch)
    with pytest.raises(UserError, match="AQA_OUTPUTS"):
        Study("explore").train("s4aqa", WORLD, runs=RUNS)
    assert not seen


# ---- tables


def runs_of(name, values):
    return pd.DataFrame({"variant": name, "draw": range(len(values)), "seed": 0, "spearman": values})


def test_compare_pairs_draws_and_corrects_for_the_number_of_comparisons():
    a, b, c = [0.5, 0.6, 0.7, 0.4, 0.55], [0.61, 0.7, 0.83, 0.52, 0.6], [0.4, 0.65, 0.7, 0.5, 0.5]
    table = pd.concat([runs_of("a", a), runs_of("b", b).iloc[::-1], runs_of("c", c)])
    result = compare(table, by="variant", baseline="a")
    d = np.subtract(b, a)
    low, high = stats.t.interval(0.95, 4, d.mean(), stats.sem(d))
    row = result.loc["b"]
    assert (row["difference"], row["difference low"], row["difference high"]) == pytest.approx((d.mean(), low, high))
    assert row["p (Holm)"] == pytest.approx(2 * stats.ttest_rel(b, a).pvalue)
    assert result.loc["a", ["n", "mean", "sd"]].tolist() == pytest.approx([5, np.mean(a), np.std(a, ddof=1)])
    assert row["verdict"] == "beats"
    assert result.loc["c", "verdict"] == "cannot be told from"
    assert compare(table, "variant", "b").loc["a", "verdict"] == "is worse than"


def test_compare_leaves_out_pairs_with_a_failed_run_and_refuses_mixtures():
    table = pd.concat([runs_of("a", [0.5, 0.6, np.nan]), runs_of("b", [0.6, 0.8, 0.9])])
    result = compare(table, "variant", "a")
    assert result.loc["b", "difference"] == pytest.approx(0.15) and result["n"].tolist() == [2, 3]
    one = compare(pd.concat([runs_of("a", [0.5]), runs_of("b", [0.6])]), "variant", "a")
    assert one.loc["b", "verdict"] == "cannot be told from"
    assert one.loc["b", "why"] == "fewer than 4 pairs" and one["detectable"].isna().all()
    with pytest.raises(UserError, match="share draw and seed"):
        compare(pd.concat([table, table]), "variant", "a")
    with pytest.raises(UserError, match="variant"):
        compare(table, "variand", "a")
    lost = pd.concat([runs_of("a", [np.nan, np.nan]), runs_of("b", [0.6, 0.8])])
    none = compare(lost, "variant", "a").loc["b"]
    assert none["verdict"] == "cannot be compared with" and none["why"] == "no pair"
    gap = compare(pd.concat([runs_of("a", [0.5, 0.6, np.nan]), runs_of("b", [0.6, 0.8, 0.9])]), "variant", "a")
    assert gap.loc["b", "pairs"] == 2 and gap.loc["a", "n"] == 2
    both = label_runs({"x": runs_of("a", [1.0]), "y": runs_of("a", [2.0])})
    assert both["variant"].tolist() == ["x", "y"]


def test_numbers_are_printed_as_correlations_are():
    assert [number(v) for v in (0.1234, -0.5, 1.0, np.nan)] == [".123", "-.500", "1.000", "undefined"]
    assert number(0.05, sign=True) == "+.050"


def test_rows_differ_is_the_two_way_analysis_of_variance():
    """With two rows F is the square of the paired t; under no difference p is uniform."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9))
    assert rows_differ(x) == pytest.approx(stats.ttest_rel(*x).pvalue)
    blocks = 10 * rng.normal(size=(400, 1, 6))
    p = [rows_differ(v) for v in rng.normal(size=(400, 5, 6)) + blocks]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.isnan(rows_differ([[1.0, 2.0]])) and np.isnan(rows_differ([[1.0], [2.0]]))
    assert rows_differ(rng.normal(size=(5, 6)) + 3 * np.arange(5)[:, None]) < 1e-4


# ---- bench


def test_the_operations_of_a_step_are_counted_as_torch_counts_them():
    """Against torch's counter on the ordinary module: the same but for the shared layer and the ends' taps."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.plain.oracle import OracleS4AQA

    z = SIZES["tiny"]
    model = OracleS4AQA(z.T, z.D)
    x = torch.randn(z.B, z.T, z.D)
    with FlopCounterMode(display=False) as counter:
        model.loss(x, torch.zeros(z.B), x, torch.zeros(z.B, 1, dtype=torch.long))[0].backward()
    unshared = 2 * 2 * 3 * z.T * z.B * z.D * 32  # the masked copies' first layer, forward and backward
    ours = flops_of(z)
    assert ours < counter.get_total_flops() - unshared < 1.1 * ours


@pytest.mark.slow
def test_one_more_run_at_paper_size_takes_less_than_120_megabytes():
    measured = min(memory() for _ in range(2))  # a peak depends a little on what the allocator returns when
    assert 60 < measured < 120  # weights, gradients and moments alone are 60


def test_a_table_for_github():
    table = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert markdown(table) == "| a | b |\n| --- | --- |\n| 1 | x |\n| 2 |  |"


@pytest.mark.slow
def test_the_bench_runs_and_its_ratios_are_those_of_its_times(capsys, tmp_path, monkeypatch):
    from aqa_lib.commands import main

    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    assert main(["bench", "grid", "--sizes", "tiny", "--rounds", "1", "--no-end-to-end"]) == 0
    assert "(c) K = 32" in capsys.readouterr().out
    rows = {r["variant"]: r for r in json.loads((tmp_path / "bench" / "grid.json").read_text())["step"]}
    ours, peer = rows["(c) K = 32"], rows["(b) in memory"]
    ratio = peer["us a model-step"] / ours["us a model-step"]
    assert ours["times (b)"] == pytest.approx(ratio, rel=0.01) and peer["times (b)"] == 1
