"""Locks of other machines, of dead and of reused processes: which owners count as living."""

import errno
import json
import os
import time

import pytest
from ledger_cases import finish, spec

from aqa_lib.ledger import locks
from aqa_lib.ledger.ledger import Ledger, run_id
from aqa_lib.ledger.locks import Heartbeat


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "outputs" / "explore")


def elsewhere(monkeypatch):
    monkeypatch.setattr(locks, "host", lambda: "elsewhere")


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that stands still until it is moved: clock[0] += seconds."""
    now = [1000.0]
    monkeypatch.setattr(locks.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("ahead", [-400 * 86400, -300, 0, 300, 400 * 86400])
def test_a_lock_of_another_machine_lives_as_long_as_its_heart_beats(ledger, monkeypatch, clock, ahead):
    """Whatever time it is there, `ahead` of ours: what counts is that its beats change."""
    lock, there = ledger.lock(spec()), time.time() + ahead
    with monkeypatch.context() as here:
        elsewhere(here)
        for _ in range(5):
            there += 10
            os.utime(lock.path, (there, there))
            assert ledger.state(lock.id) == "running" and ledger.lock(spec()) is None
            clock[0] += 100
            assert ledger.state(lock.id) == "running" and ledger.lock(spec()) is None
        clock[0] += 21  # it stands still since 121 seconds
        assert ledger.state(lock.id) == "stale"
        assert Ledger(ledger.folder, expiry=200).state(lock.id) == "running"
        os.utime(lock.path, (there, there + 1))
        assert ledger.state(lock.id) == "running"  # it was only slow
        clock[0] += 121
        assert ledger.state(lock.id) == "stale"
    assert ledger.state(lock.id) == "running"  # on its own machine, its process decides


def test_a_dead_lock_dated_a_year_ahead_is_taken_over(ledger, monkeypatch, clock):
    dead, year = ledger.lock(spec()), time.time() + 365 * 86400
    os.utime(dead.path, (year, year))
    elsewhere(monkeypatch)
    assert ledger.lock(spec()) is None
    clock[0] += 121
    taker = ledger.lock(spec())
    assert taker is not None and os.listdir(taker.folder) == ["lock"]
    assert finish(taker) and ledger.state(taker.id) == "complete"


def test_heartbeat_touches_locks_and_releases_them(ledger):
    got = ledger.lock_many([spec(0), spec(1), spec(0)])
    with Heartbeat(got, every=0.02):
        finish(got[1])
        os.utime(got[0].path, (1, 1))
        deadline = time.monotonic() + 20
        while os.stat(got[0].path).st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - os.stat(got[0].path).st_mtime < 20
    assert [ledger.state(c.id) for c in got[:2]] == ["absent", "complete"]


def test_an_owner_that_lost_its_lock_writes_nothing(ledger, monkeypatch, clock):
    slept = ledger.lock(spec())
    with monkeypatch.context() as there:
        elsewhere(there)
        assert ledger.lock(spec()) is None
        clock[0] += 121
        taker = ledger.lock(spec())
        before = os.stat(taker.path).st_mtime
        os.utime(taker.path, (2, 2))
        slept.beat()  # must not keep the other's lock alive
        assert os.stat(taker.path).st_mtime == 2
        os.utime(taker.path, (before, before))
    assert finish(slept, 0.1) is False and slept.fail("late") is False
    assert ledger.state(slept.id) == "running"
    assert finish(taker, 0.2) and ledger.read(taker.id).metrics == {"spearman": 0.2}


def test_locks_exclude_each_other_on_a_file_system_without_hard_links(ledger, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    lock = ledger.lock(spec())
    assert os.listdir(ledger.path(lock.id)) == ["lock"] and ledger.lock(spec()) is None
    assert finish(lock) and ledger.state(lock.id) == "complete"


def test_an_empty_lock_expires(ledger, clock):
    folder = ledger.path(run_id(spec()))
    folder.mkdir(parents=True)
    (folder / "lock").touch()  # its owner died between creating and writing it
    assert ledger.state(folder.name) == "running"
    clock[0] += 121
    assert ledger.state(folder.name) == "stale" and finish(ledger.lock(spec()))


def test_a_process_number_used_again_is_not_the_owner(ledger):
    lock = ledger.lock(spec())
    owner = json.loads(open(lock.path).read())
    lock.release()
    lock.ledger.path(lock.id).mkdir()
    parent = os.getppid()
    begun = locks.process_start(parent)
    for start, state in ((begun, "running"), (begun - 1, "stale")):
        with open(lock.path, "w") as file:
            json.dump(owner | {"pid": parent, "start": start}, file)
        assert ledger.state(lock.id) == state
