"""The contract's checks: what is right passes, and each kind of wrong is caught by its own check, in its own words."""

import re
import sys

import numpy as np
import pytest

from aqa_lib import commands, methods, tasks
from aqa_lib.training import contract

GOOD = '''"""A linear function of the mean segment: s = w . mean_t x_t + b, by least squares on the labelled videos."""

from torch import nn

from aqa_lib import losses
from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.ordinary import Ordinary


class Mine(Method):
    SETTINGS = {"factor": Setting(1.0, "factor of the loss", low=0, per_run=True)}

    def build(self, runs, data):
        T, D = data.features.shape[1:]
        make = lambda: nn.Sequential(nn.Flatten(), nn.Linear(T * D, 32), nn.Dropout(0.1), nn.ReLU(), nn.Linear(32, 1))
        return Ordinary(make, runs)

    def losses(self, model, batch):
        return {"loss": batch.weight("factor") * losses.squared_error(model(batch.x[:, 0]), batch.y)}

    def predict(self, model, x):
        return model(x[:, 0])


METHOD = Mine()
'''

RANKED = GOOD.replace("    SETTINGS", '    task = "pairs"\n    SETTINGS').replace(
    "losses.squared_error(model(batch.x[:, 0]), batch.y)",
    "((margin(model(batch.x[:, 0])) + 1).relu() * batch.better()).mean((1, 2))",
)
RANKED = RANKED.replace(
    "METHOD =", "def margin(s):\n    return s.unsqueeze(1) - s.unsqueeze(2)  # [K,i,j] s_j - s_i\n\n\nMETHOD ="
)

WRONG = {  # what a student may write instead: (text, in its place, the checks that must find it, words of one)
    "peeks at the scores": (
        "batch.y)}",
        "batch.y + 1e-3 * batch.stack.data[0].scores.mean())}",
        {contract.sees_no_hidden_label},
        "when labels that were not drawn are replaced",
    ),
    "mixes the runs of a stack": (
        "batch.y)}",
        "batch.y - batch.y.mean())}",
        {contract.is_alone_in_a_stack},
        r"run \d of a stack of three is not the run alone",
    ),
    "keeps state outside memory": (
        '        return {"loss": ',
        "        self.seen = getattr(self, 'seen', 0) + 1\n        return {'loss': self.seen / 10 * ",
        {contract.repeats, contract.goes_on_from_a_checkpoint},
        "between steps belongs into stack.memory",
    ),
    "keeps a global": (
        '        return {"loss": ',
        "        STEPS.append(1)\n        return {'loss': len(STEPS) / 10 * ",
        {contract.repeats, contract.goes_on_from_a_checkpoint},
        "keep nothing on the method or in its module",
    ),
    "predicts by what is not among the weights": (
        "    def predict(self, model, x):\n        return ",
        "    def begin(self, stack):\n        STEPS[:] = [1]\n\n"
        "    def predict(self, model, x):\n        return len(STEPS) + ",
        {contract.comes_back_from_its_weights},
        "a restored network predicts",
    ),
    "takes lengths that it cannot": (
        "    SETTINGS = ",
        "    masks = True\n    SETTINGS = ",
        {contract.takes_unequal_lengths_or_says_so},
        "unexpected keyword argument 'mask'",
    ),
    "learns nothing": ("squared_error(model", "squared_error(0 * model", {contract.learns}, "where 0.6 is the least"),
    "says nothing": ('"factor of the loss"', '""', {contract.says_what_it_is}, "setting factor has no help"),
    "has no docstring": (GOOD.splitlines()[0], "", {contract.says_what_it_is}, "opens without a docstring"),
    "misspells": ('.weight("', '.wieght("', set(contract.CHECKS[1:-2]), r"AttributeError: .* in line \d+ \("),
}


def written(folder, text, name="mine"):
    (folder / f"{name}.py").write_text(text.replace("METHOD =", "STEPS = []\nMETHOD ="))
    return str(folder / f"{name}.py")


@pytest.mark.slow
@pytest.mark.parametrize("text", [GOOD, RANKED], ids=["scores", "pairs"])
def test_a_students_file_passes_every_check(text, tmp_path, capsys):
    assert commands.main(["check-method", written(tmp_path, text)]) == 0, capsys.readouterr().out
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["ok"] * len(contract.CHECKS)
    assert lines[-1] == f"{len(contract.CHECKS)} of {len(contract.CHECKS)} checks passed"


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG)
def test_each_fault_is_found_by_its_check_and_told_in_a_sentence(what, tmp_path):
    text, instead, checks, words = WRONG[what]
    assert GOOD.count(text) == 1
    file = methods.path(written(tmp_path, GOOD.replace(text, instead)))
    found = {check: contract.complaint(check, file) for check in contract.CHECKS}
    assert {check for check, complaint in found.items() if complaint} == checks
    assert any(re.search(words, found[check]) for check in checks), found
    assert not any("\n" in complaint for complaint in found.values())


def test_the_command_says_what_is_wrong_and_ends_with_one(tmp_path, capsys):
    assert commands.main(["check-method", written(tmp_path, GOOD.replace('"factor of the loss"', '""'))]) == 1
    out = capsys.readouterr().out
    assert "  WRONG  its file opens with" in out and "         setting factor has no help" in out and "8 of 9" in out


@pytest.mark.parametrize(
    ("which", "text", "words"),
    [
        ("rigde", "", "did you mean 'ridge'"),
        ("none.py", "", "there is no file none.py"),
        (None, "x = 1", "defines no METHOD"),
        (None, GOOD.replace("Mine()", "Mine"), "METHOD is a class: write METHOD = Mine()"),
    ],
)
def test_what_is_no_method_is_one_sentence(which, text, words, tmp_path, capsys):
    path = which or written(tmp_path, text)
    try:
        code = commands.main(["check-method", path])
    finally:
        told = "".join(capsys.readouterr())
    assert code in (1, 2) and words in told


def test_a_file_in_the_package_is_a_method_and_nothing_else_changes(tmp_path, monkeypatch):
    """Dropped beside the others it has a name, passes, and trains by its name in a study."""
    from aqa_lib.study.study import Study

    written(tmp_path, GOOD)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    before = set(methods.names())
    assert "mine" in before and commands.main(["check-method", "mine"]) == 0
    try:
        world = {"name": "surrogate", "n_train": 40, "n_test": 20, "T": 4, "D": 16}
        table = Study("own").train("mine", world, runs=[{"steps": 6, "fraction": 0.5}], weights=True)
        assert list(table["state"]) == ["complete"]
        assert len(Study("own").predict(table, world)) == 60
    finally:
        sys.modules.pop("aqa_lib.methods.mine", None)


def test_pairs_are_hidden_unless_they_were_drawn():
    world, task = tasks.PAIRS.easy(), tasks.PAIRS
    a, b = world.data.scores[world.data.pairs].T
    assert (a > b).all() and set(world.split.train).isdisjoint(world.split.test)
    drawn = task.labels(world.data, world.split, {"fraction": 0.5, "draw": 0})
    hidden = task.hidden(world.data, drawn)
    kept = {tuple(p) for p in drawn.pairs}
    for old, new in zip(world.data.pairs, hidden.pairs, strict=True):
        assert tuple(new) == (tuple(old) if tuple(old) in kept else tuple(old[::-1]))
    assert not np.isin(hidden.scores, world.data.scores).any() and not hidden.judges.any() and not hidden.truth
