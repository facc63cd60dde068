"""Processes that want the same runs share them, a stack at a time; complete runs are read from read-only outputs."""

import errno
import json
import os
import subprocess
import sys

import pytest

from aqa_lib import grid
from aqa_lib.errors import UserError
from aqa_lib.ledger.ledger import Ledger, run_id
from aqa_lib.paths import root
from aqa_lib.study.claims import Claims
from aqa_lib.study.study import Study

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
RUNS = grid(("seed", "draw"), seed=range(6), draw=range(6), steps=[20], fraction=[0.3], batch=[8])

WORKER = """
import json, pathlib, sys, time
from aqa_lib.study.study import Study
from aqa_lib.training.train import Loop
real, study, world, runs, here = Loop.run, *map(json.loads, sys.argv[1:4]), pathlib.Path(sys.argv[4])
def slow(loop):
    print("stack", len(loop.stack.runs), flush=True)
    while not (here / "go").exists():
        time.sleep(0.01)
    return real(loop)
Loop.run = slow
print("asked", flush=True)
table = Study(study).train("s4aqa", world, runs=runs, at_once=2, device="cpu")
print(json.dumps(table["spearman"].tolist()), flush=True)
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    return Study("explore")


@pytest.mark.slow
def test_a_second_process_shares_the_work(study, tmp_path):
    """Both stand in a stack of their own at the same time, and each run is trained once."""
    words = [sys.executable, "-c", WORKER, '"explore"', json.dumps(WORLD), json.dumps(RUNS), str(tmp_path)]
    team = [subprocess.Popen(words, stdout=subprocess.PIPE, cwd=root(), text=True) for _ in range(2)]
    assert [process.stdout.readline() for process in team] == ["asked\n"] * 2
    assert [process.stdout.readline() for process in team] == ["stack 2\n"] * 2  # neither has ended anything
    assert [study.ledger.state(id) for id in study.ledger.ids()] == ["running"] * 4
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=120)[0].splitlines() for process in team]
    assert [process.returncode for process in team] == [0, 0]
    assert sum(line.startswith("stack") for lines in said for line in lines) == 1  # the third stack, by one of them
    alone = Study("alone").train("s4aqa", WORLD, runs=RUNS, device="cpu", at_once=2)
    assert json.loads(said[0][-1]) == json.loads(said[1][-1]) == alone["spearman"].tolist()
    table = study.ledger.table()
    makers = [json.loads((study.ledger.path(id) / "run.json").read_text())["pid"] for id in table["id"]]
    assert len(table) == 6 and {makers.count(process.pid) for process in team} == {2, 4}


def specs(n):
    return [
        {"method": "ridge", "data": {"name": "surrogate"}, "split": "official", "settings": {"seed": k}}
        for k in range(n)
    ]


def test_a_stack_of_which_somebody_has_the_first_run_is_left_to_it(tmp_path):
    one, other = (Ledger(tmp_path / "explore") for _ in range(2))
    with Claims(one, specs(4)) as mine, Claims(other, specs(4)) as theirs:
        assert mine.take([0, 1]) == [0, 1] and theirs.take([0, 1, 2]) == []
        assert theirs.take([2, 3]) == [2, 3] and mine.take([2, 3]) == []
        assert theirs.take([3, 0]) == []  # what it has it need not ask for
    assert one.ids() == []  # all released


def test_a_run_that_failed_again_meanwhile_is_not_tried_once_more(tmp_path):
    ledger, (spec, other) = Ledger(tmp_path / "explore"), specs(2)
    for s in (spec, other):
        ledger.lock(s).fail("once")
    with Claims(ledger, [spec, other], retry=True) as claims:
        ledger.lock(spec, retry=True).fail("twice")
        assert claims.take([0, 1]) == [1]
        assert ledger.look(run_id(spec))[1]["reason"] == "twice"


# ---- read-only outputs


@pytest.fixture
def read_only(monkeypatch):
    """A function after which this process can write nothing, as on a file system that is mounted read-only."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    def begin():
        real, writing = os.open, os.O_WRONLY | os.O_RDWR | os.O_CREAT

        def opened(path, flags, *args, **kwargs):
            return (refuse if flags & writing else real)(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", opened)
        for name in ("mkdir", "unlink", "rename", "replace", "link", "rmdir", "utime"):
            monkeypatch.setattr(os, name, refuse)

    return begin


def test_complete_runs_are_read_from_outputs_that_cannot_be_written(study, read_only):
    runs = [{"fraction": 0.3, "seed": k} for k in range(2)]
    before = study.train("ridge", WORLD, runs=runs, weights=True)
    read_only()
    after = study.train("ridge", WORLD, runs=runs, weights=True)
    assert after.equals(before) and study.ledger.table()["id"].tolist() == sorted(before["id"])
    assert len(study.predict(after, WORLD)) == 90
    with pytest.raises(UserError, match="Read-only file system.* nothing was started"):
        study.train("ridge", WORLD, runs=[*runs, {"fraction": 0.4}])


def test_a_run_folder_that_is_a_link_is_said_before_anything_is_trained(study, tmp_path, monkeypatch):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("all of it")
    runs = [{"fraction": 0.3, "seed": k} for k in range(2)]
    ids = [run_id(spec) for spec in study.specs("ridge", WORLD, "official", runs)]
    study.ledger.folder.mkdir()
    study.ledger.path(ids[1]).symlink_to(thesis)
    with pytest.raises(UserError, match=f"{ids[1]} is a link"):
        study.train("ridge", WORLD, runs=runs)
    assert study.ledger.state(ids[0]) == "absent" and os.listdir(thesis) == ["chapter.tex"]
