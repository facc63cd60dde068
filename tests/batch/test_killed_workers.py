"""A killed worker takes its pool with it, but no other notebook; what is done is read from read-only outputs."""

import argparse
import concurrent.futures as futures
import contextlib
import errno
import json
import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from aqa_lib.batch import runner
from aqa_lib.batch.plan import read_plan
from aqa_lib.commands import main

COUNT = "with open(f'../{n}.txt', 'a') as file:\n    file.write('once\\n')"
KILL = COUNT + "\nimport os\nos.kill(os.getppid(), 9)"  # the worker, as the system does where memory ends


@pytest.mark.slow
def test_a_killed_worker_costs_no_other_notebook(house):
    for n, cell in enumerate([KILL, COUNT, COUNT]):
        house.notebook(f"0{n}", cell, f'answer("{n} is done")', parameters=f"n: int = {n}  # which")
    call = house.start("study", house.config("00", "01", "02"), "--workers", "2")
    out, err = call.communicate(timeout=500)
    assert call.returncode == 1 and "2 of 3 notebooks done" in out, err
    assert "00 failed" in err and "its worker process was killed twice" in err and "Traceback" not in err
    assert "00  a worker process was killed: it is run once more" in out
    times = [(house.folder / f"{n}.txt").read_text().count("once") for n in range(3)]
    assert times[0] == 2 and max(times) == 2
    answers = [json.loads((house.place / f"0{n}.answer.json").read_text())["text"] for n in (1, 2)]
    assert answers == ["1 is done", "2 is done"] and not (house.place / "00.answer.json").exists()
    assert {path.name[:2] for path in (house.place / ".stage").iterdir()} <= {"00"}  # swept when it is asked for again


class Pool:
    """A pool of two workers that runs jobs in order; where one is in `kills`, its worker is killed as often."""

    _max_workers = 2

    def __init__(self, n, kills, ran):
        self._max_workers, self.kills, self.ran, self.jobs = min(2, n), kills, ran, []

    def submit(self, call, job, *rest):
        self.jobs.append((job, futures.Future()))
        return self.jobs[-1][1]

    def work(self):
        broken = None
        for k, (job, future) in enumerate(self.jobs):
            if broken is None or k < broken + self._max_workers:  # under way beside the one that is killed
                self.ran.append(job.name)
            if broken is None and self.kills.get(job.name, 0):
                self.kills[job.name] -= 1
                broken = k
            if broken is None:
                future.set_result({"state": "done", "seconds": 1.0, "text": job.name})
            else:
                future.set_exception(BrokenProcessPool("a process was terminated abruptly"))


@pytest.mark.parametrize(
    ("kills", "failed"),
    [({"03": 1}, []), ({"03": 9}, ["03"]), ({"00": 9, "01": 9, "05": 1}, ["00", "01"]), ({"05": 9}, ["05"])],
    ids=str,
)
def test_what_was_not_done_is_submitted_again_each_at_most_twice(house, monkeypatch, kills, failed):
    names, ran, left = [f"0{n}" for n in range(6)], [], dict(kills)
    for name in names:
        house.notebook(name, 'answer("x")')
    jobs = read_plan(house.folder / house.config(*names))[1]
    pools = []

    def executor(args, n):
        pools.append(Pool(n, left, ran))
        return contextlib.nullcontext(pools[-1])

    real = futures.wait

    def wait(waiting, **more):
        if not next(iter(waiting)).done():
            pools[-1].work()
        return real(waiting, **more)

    monkeypatch.setattr(runner, "executor", executor)
    monkeypatch.setattr(runner.futures, "wait", wait)
    outcomes = {o["name"]: o for o in runner.follow(argparse.Namespace(force=False), jobs, house.place, 6)}
    assert sorted(outcomes) == names and [n for n in names if outcomes[n]["state"] == "failed"] == failed
    assert all("killed twice" in outcomes[name]["error"] for name in failed)
    assert max(ran.count(name) for name in names) <= 2 and all(ran.count(name) == 2 for name in failed)


@pytest.mark.slow
def test_a_study_that_is_done_is_read_from_outputs_that_cannot_be_written(house, monkeypatch, capsys):
    house.notebook("00", 'answer("It works.")')
    config = house.config("00")
    assert house.aqa("study", config).returncode == 0
    page = house.folder / "outputs/try/report/index.html"
    before, real, writing = page.read_bytes(), os.open, os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    def opened(path, flags, *args, **kwargs):
        return (refuse if flags & writing else real)(path, flags, *args, **kwargs)

    with monkeypatch.context() as mounted:
        mounted.setattr(os, "open", opened)
        mounted.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)
        for name in ("mkdir", "unlink", "rename", "replace", "link", "rmdir"):
            mounted.setattr(os, name, refuse)
        assert main(["study", config]) == 0
        said = capsys.readouterr()
        assert "00  already done" in said.out and "1 of 1 notebooks done" in said.out and not said.err
        assert main(["study", config, "--force"]) == 2
        assert "Read-only file system" in capsys.readouterr().err
    assert page.read_bytes() == before
