"""`aqa runs` on a small study."""

import json

import numpy as np
import pytest
from ledger_cases import finish, spec
from scipy import stats

from aqa_lib.commands import main
from aqa_lib.ledger.ledger import Ledger, run_id


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Four complete runs of each of two methods, a failed and a stale one; the values of s4aqa."""
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    ledger = Ledger(tmp_path / "explore")
    for seed in range(4):
        finish(ledger.lock(spec(seed, alpha=1)), 0.5 + seed / 100)
        finish(ledger.lock(spec(seed, "s4aqa", lambda1=0.5)), 0.7 + seed**2 / 100)
    ledger.lock(spec(9, "s4aqa")).fail("the loss is NaN")
    ledger.lock(spec(8))
    return ledger


def aqa(capsys, *words):
    code = main(["runs", *words])
    out, err = capsys.readouterr()
    assert (code == 0) == (err == "")
    return out if code == 0 else (code, err)


def test_list_filters_sorts_and_writes_json_and_csv(study, capsys):
    out = aqa(capsys, "list")
    assert "10 runs: 8 complete, 1 failed, 1 stale" in out and "data.size=quick" in out.split("the same in all:")[1]
    rows = json.loads(aqa(capsys, "list", "--where", "method=s4aqa", "--state", "complete", "--sort=-seed", "--json"))
    assert [row["seed"] for row in rows] == [3, 2, 1, 0] and rows[0]["spearman"] == 0.79
    out = aqa(capsys, "list", "--where", "seed=2.0", "--where", "lambda1=0.50", "--columns", "seed,method", "--csv")
    assert out == "seed,method\n2,s4aqa\n"
    assert "the loss is NaN" in aqa(capsys, "list", "--study", "explore", "--state", "failed")
    assert "no run in" in aqa(capsys, "list", "--state", "running")


def test_compare_is_students_interval(study, capsys):
    (row,) = json.loads(aqa(capsys, "compare", "--where", "method=s4aqa", "--json"))
    values = np.array([0.70, 0.71, 0.74, 0.79])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    want = {
        "method": "s4aqa",
        "n": 4,
        "mean": values.mean(),
        "sd": values.std(ddof=1),
        "low": low,
        "high": high,
    }
    assert row == pytest.approx(want)
    out = aqa(capsys, "compare")
    assert out.index("s4aqa") < out.index("ridge") and "mixed" not in out
    assert "mixed within a group, choose with --where or --by: alpha, lambda1, method" in aqa(
        capsys, "compare", "--by", "fraction"
    )


def test_show_takes_the_beginning_of_an_id(study, capsys):
    id = run_id(spec(1, "s4aqa", lambda1=0.5))
    out = aqa(capsys, "show", id[:8])
    assert id in out and "spearman: 0.71" in out and "lambda1: 0.5" in out and "predictions.csv" in out
    assert "the loss is NaN" in aqa(capsys, "show", run_id(spec(9, "s4aqa")))


def test_delete_asks_for_yes(study, capsys):
    assert "1 runs would be deleted for good: add --yes" in aqa(capsys, "delete", "--state", "failed")
    assert len(study.ids()) == 10
    aqa(capsys, "delete", "--state", "failed", "--yes")
    aqa(capsys, "delete", "--state", "stale", "--yes")
    aqa(capsys, "delete", run_id(spec(1, alpha=1))[:10], "--yes")
    assert len(study.ids()) == 7 and run_id(spec(1, alpha=1)) not in study.ids()
    held = study.lock(spec(7))
    code, sentence = aqa(capsys, "delete", held.id, "--yes")
    assert code == 2 and "is running, nothing was deleted" in sentence
    aqa(capsys, "delete", "--where", "method=ridge", "--yes")
    assert study.state(held.id) == "running" and len(study.ids()) == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "--where", "metod=ridge"), "unknown column 'metod': did you mean 'method'?"),
        (("list", "--where", "method=rigde"), "no run has it, did you mean 'ridge'?"),
        (("list", "--where", "method"), "write COLUMN=VALUE"),
        (("list", "--study", "explor"), "unknown study 'explor': did you mean 'explore'? (choices: explore)"),
        (("list", "--sort", "spearmn"), "unknown column 'spearmn': did you mean 'spearman'?"),
        (("compare", "--metric", "spearmn"), "unknown metric 'spearmn': did you mean 'spearman'?"),
        (("show", "zzz"), "has an id that begins with 'zzz'"),
        (("delete",), "say which runs"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(study, capsys, words, sentence):
    code, said = aqa(capsys, *words)
    assert code == 2 and sentence in said.replace("Say", "say") and said.count("\n") == 1


def test_no_runs_yet_and_several_studies(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "new"))
    assert "there are no runs in" in aqa(capsys, "list")[1]
    for name in ("a", "b"):
        Ledger(tmp_path / "new" / name).lock(spec()).fail("x")
    assert "say which with --study (choices: a, b)" in aqa(capsys, "list")[1]
    assert "is complete, nothing can be compared" in aqa(capsys, "compare", "--study", "b")[1]
