"""How long a comparison will take: the arithmetic by a clock of the test's own, and that nothing is left behind."""

import pytest
import torch

from aqa_lib.batch import runner
from aqa_lib.study import time as reckoning
from aqa_lib.study.comparison import compare_variants
from aqa_lib.study.study import Study
from aqa_lib.study.time import announce, reckoned, sentence
from aqa_lib.study.variants import by_name
from aqa_lib.training import stack as stacks

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
QUICK = {"fraction": 0.4, "steps": 40, "every": 10, "batch": 8}


class Clock:
    """Time that passes only where the test lets it: per run of a stack, 1 ms a step and 5 ms an evaluation."""

    def __init__(self, monkeypatch):
        self.now, self.sizes = 0.0, []
        step, predict = reckoning.advance, stacks.Stack.predict

        def stepped(stack, number):
            self.now += 1e-3 * len(stack.runs)
            self.sizes.append(len(stack.runs))
            return step(stack, number)

        def predicted(stack, items):
            self.now += 5e-3 * len(stack.runs)
            return predict(stack, items)

        monkeypatch.setattr(reckoning, "advance", stepped)
        monkeypatch.setattr(stacks.Stack, "predict", predicted)

    def __call__(self):
        return self.now


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    return Study("explore")


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def asked(n, worlds=WORLD, **settings):
    """What Study.train would be asked for: n runs on one world and the official split."""
    runs = [{**QUICK, **settings, "seed": seed} for seed in range(n)]
    return [worlds] * n, ["official"] * n, runs


def test_it_is_steps_and_evaluations_of_all_runs_and_nothing_is_recorded(study, clock, tmp_path):
    state = torch.get_rng_state(), torch.get_num_threads()
    found = reckoned(study, {"usdl": asked(6), "vat": asked(3, steps=20)}, clock=clock)
    assert found == pytest.approx({"usdl": 6 * (40 * 1e-3 + 4 * 5e-3), "vat": 3 * (20 * 1e-3 + 2 * 5e-3)})
    assert set(clock.sizes) == {6, 3} and len(clock.sizes) == 2 * (1 + reckoning.STEPS)  # whole stacks, few steps
    assert not (tmp_path / "outputs").exists()
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == torch.get_num_threads()


def test_processes_share_the_runs_and_a_stack_is_as_large_as_one_of_them_trains(study, clock):
    found = reckoned(study, {"usdl": asked(8)}, workers=2, clock=clock)
    assert found == pytest.approx({"usdl": 8 * (40 * 1e-3 + 4 * 5e-3) / 2}) and set(clock.sizes) == {4}
    clock.sizes.clear()
    reckoned(study, {"usdl": asked(8)}, at_once=2, clock=clock)
    assert set(clock.sizes) == {2} and len(clock.sizes) == 1 + reckoning.STEPS  # one stack of four that are alike


def test_long_steps_are_measured_for_a_moment_only(study, clock, monkeypatch):
    monkeypatch.setattr(reckoning, "SECONDS", 2.5e-3)
    assert reckoned(study, {"usdl": asked(1)}, clock=clock) == pytest.approx({"usdl": 40 * 1e-3 + 4 * 5e-3})
    assert len(clock.sizes) == 1 + 3


def test_variants_that_encode_other_sets_are_measured_by_themselves(study, clock):
    worlds, splits, runs = asked(8)
    runs = [{**run, **({"recover": False, "align": False} if i % 2 else {})} for i, run in enumerate(runs)]
    found = reckoned(study, {"s4aqa": (worlds, splits, runs)}, clock=clock)
    assert found == pytest.approx({"s4aqa": 8 * (40 * 1e-3 + 4 * 5e-3)})
    assert set(clock.sizes) == {4} and len(clock.sizes) == 2 * (1 + reckoning.STEPS)


def test_what_is_complete_costs_nothing_and_a_closed_form_method_one_fit(study, clock, monkeypatch):
    study.train("usdl", WORLD, "official", asked(2)[2])
    clock.sizes.clear()
    assert reckoned(study, {"usdl": asked(2)}, clock=clock) == {} and clock.sizes == []
    assert reckoned(study, {"usdl": asked(5)}, clock=clock) == pytest.approx({"usdl": 3 * (40 * 1e-3 + 4 * 5e-3)})
    ticks = iter(range(100))
    closed = [{"fraction": 0.4, "seed": seed} for seed in range(7)]
    found = reckoned(study, {"ridge": ([WORLD] * 7, ["official"] * 7, closed)}, clock=lambda: float(next(ticks)))
    assert found == {"ridge": 7.0} and next(ticks) == 2
    assert len(study.ledger.ids()) == 2


def test_the_sentence():
    assert sentence({"vat": 120.0, "trs": 306.0}) == "about 7.1 minutes on one process: trs 5.1, vat 2.0"
    many = {f"m{i}": 60.0 * (9 - i) for i in range(9)}
    told = "about 45 minutes on 2 processes: m0 9.0, m1 8.0, m2 7.0, m3 6.0, m4 5.0, m5 4.0, 3 others 6.0"
    assert sentence(many, 2) == told
    assert sentence({f"m{i}": 6.0 for i in range(7)}).endswith(", 1 other 0.1")


def test_a_small_comparison_is_silent_and_a_large_one_says_it_once(study, capsys, monkeypatch, tmp_path):
    variants, block = by_name(["USDL", "ridge"], {"steps": 20, "batch": 8}), {"o": {"split": "official"}}
    monkeypatch.setenv("AQA_NOTEBOOK_OUT", str(tmp_path / "out"))
    first = compare_variants(study, WORLD, variants, block, [0.4], 2)
    assert capsys.readouterr() == ("", "") and not (tmp_path / "out.said").exists()
    monkeypatch.setattr(reckoning, "MUCH", 39)  # two runs of 20 steps each are more
    again = compare_variants(study, WORLD, variants, block, [0.4], 2)
    assert capsys.readouterr().err == ""  # nothing is left to train
    second = compare_variants(Study("other"), WORLD, variants, block, [0.4], 2)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("about ") and " on one process: " in err and err.count("\n") == 1
    assert (tmp_path / "out.said").read_text() == err
    assert first.equals(again) and first.equals(second)  # looking ahead changes no number
    monkeypatch.setattr(reckoning, "MUCH", 40)
    compare_variants(Study("third"), WORLD, variants, block, [0.4], 2)
    assert capsys.readouterr().err == ""


def test_the_least_that_is_announced_is_counted_before_anything_is_looked_at(monkeypatch):
    monkeypatch.setattr(reckoning, "still_open", lambda *_, **__: pytest.fail("the ledger was asked"))
    announce(None, {"usdl": asked(10), "ridge": ([WORLD], ["official"], [{}])})
    with pytest.raises(pytest.fail.Exception):
        announce(None, {"usdl": asked(10, steps=reckoning.MUCH)})


def test_the_runner_tells_each_line_once_while_the_notebook_runs(tmp_path):
    stage, told = tmp_path / ".stage" / "30_compare-01234567", {}
    assert list(runner.said(tmp_path, "30_compare", told)) == []
    stage.mkdir(parents=True)
    (stage / "out.said").write_text("about 12 minutes\n")
    (tmp_path / ".stage" / "30_compare_2-01234567").mkdir()
    (tmp_path / ".stage" / "30_compare_2-01234567" / "out.said").write_text("another's\n")
    assert list(runner.said(tmp_path, "30_compare", told)) == ["about 12 minutes"]
    assert list(runner.said(tmp_path, "30_compare", told)) == []
    (stage / "out.said").write_text("about 12 minutes\nabout 3 minutes\n")
    assert list(runner.said(tmp_path, "30_compare", told)) == ["about 3 minutes"]
