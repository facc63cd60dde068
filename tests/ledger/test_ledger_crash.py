"""The ledger against what befalls a study: kill -9, Ctrl-C, many processes on the same runs.

All for real: processes are forked or started, killed at every system call of a result's writing and at random
times, and raced for the same runs. After each, nothing is doubled and nothing half-written counts.
"""

import os
import random
import shutil
import signal
import time

import ledger_worker as worker
import pytest
from ledger_cases import SIZE, at_call, check_ended, ended, forked, noted, start, wait_for

from aqa_lib.ledger.identity import code_version
from aqa_lib.ledger.ledger import STATES, Ledger, run_id
from aqa_lib.ledger.locks import HELD, Heartbeat, Lock

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")


@pytest.fixture
def ledger(tmp_path):
    code_version(worker.spec(0))  # cached here, so that a forked child need not ask git
    return Ledger(tmp_path / "explore")


# ---- kill -9


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_step_of_locking_and_writing(ledger, after):
    def life(n):
        at_call(n, lambda: os.kill(os.getpid(), signal.SIGKILL), setattr, after)
        ledger.lock(worker.spec(0)).complete(*worker.result(0, SIZE), weights={"w": [1.0]})

    killed, whole = 0, []
    for n in range(1, 100):
        code = ended(forked(life, n))
        killed += code == -signal.SIGKILL
        whole.append(ledger.state(run_id(worker.spec(0))) == "complete")
        check_ended(ledger, whole[-1])
        shutil.rmtree(ledger.folder)
        if code == 0:
            break
    assert code == 0 and killed >= 20  # lock: 3 calls; five files: 4 each; two folders: 2 each
    assert whole == sorted(whole) and whole[-1]  # the result appears at one point and stays


def test_killed_while_training(ledger):
    def life():
        with Heartbeat(ledger.lock_many([worker.spec(seed) for seed in range(3)])) as beat:
            beat.locks[1].complete(*worker.result(1, SIZE))
            (ledger.folder / "there").touch()
            time.sleep(60)

    pid = forked(life)
    wait_for(lambda: (ledger.folder / "there").exists())
    states = [ledger.state(run_id(worker.spec(seed))) for seed in range(3)]
    assert states == ["running", "complete", "running"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ledger.state(run_id(worker.spec(0))) == "stale")  # seen before it is waited for
    ended(pid)
    assert ledger.look(run_id(worker.spec(0)))[1]["reason"].startswith(f"process {pid} on ")
    got = ledger.lock_many([worker.spec(seed) for seed in range(3)])
    assert [lock is not None for lock in got] == [True, False, True]


def test_a_stopped_process_keeps_its_run_until_it_is_killed(ledger):
    def life():
        at_call(10, lambda: os.kill(os.getpid(), signal.SIGSTOP), setattr)  # amid the files of the result
        ledger.lock(worker.spec(0)).complete(*worker.result(0, SIZE))

    patient = Ledger(ledger.folder, expiry=0.0)  # on this machine, what counts is the process, not its pulse
    for finish in (signal.SIGCONT, signal.SIGKILL):
        pid = forked(life)
        os.waitpid(pid, os.WUNTRACED)
        assert len(os.listdir(ledger.path(run_id(worker.spec(0))))) >= 3
        assert patient.state(run_id(worker.spec(0))) == "running" and patient.lock(worker.spec(0)) is None
        os.kill(pid, finish)
        assert ended(pid) == (0 if finish == signal.SIGCONT else -signal.SIGKILL)
        check_ended(patient, whole=finish == signal.SIGCONT)
        shutil.rmtree(ledger.folder)


def test_killed_at_any_time_loses_the_run_under_way_only(ledger, tmp_path):
    log = tmp_path / "log"
    for delay in (0.05, 0.1):
        before = len(noted(log, "done"))
        process = start(ledger, log, runs=2000)
        (log / "go").touch()
        wait_for(lambda: len(noted(log, "done")) > before)  # noqa: B023
        time.sleep(delay)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        (log / "go").unlink()
        table = ledger.table(STATES)
        complete = table[table["state"] == "complete"]
        assert set(noted(log, "done")) <= set(complete["seed"]) and len(complete) > 0
        assert len(table) - len(complete) <= 1 and set(table["state"]) <= {"complete", "stale"}
        assert all(worker.is_whole(ledger.read(id), SIZE) for id in complete["id"])
    locked = noted(log, "locked")
    assert len(locked) - len(set(locked)) <= 1  # the run under way at the first kill


# ---- Ctrl-C


def test_interrupt_keeps_what_is_done_and_releases_the_rest(ledger, tmp_path):
    log = tmp_path / "log"
    process = start(ledger, log, runs=2000)
    (log / "go").touch()
    wait_for(lambda: len(noted(log, "done")) >= 5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in said and process.returncode != 0
    table = ledger.table(STATES)
    assert set(table["state"]) <= {"complete", "stale"} and (table["state"] == "stale").sum() <= 1
    assert set(noted(log, "done")) <= set(table["seed"]) and len(table) >= 5
    assert all(worker.is_whole(ledger.read(id), SIZE) for id in table["id"][table["state"] == "complete"])


@pytest.mark.parametrize("after", [False, True])
def test_interrupted_at_every_step_of_writing(ledger, monkeypatch, after):
    def interrupt():
        raise KeyboardInterrupt

    for n in range(1, 100):
        lock = ledger.lock(worker.spec(0))
        hit = False
        with monkeypatch.context() as broken:
            at_call(n, interrupt, broken.setattr, after)
            try:
                lock.complete(*worker.result(0, SIZE), weights={"w": [1.0]})
            except KeyboardInterrupt:
                hit = True
        state = ledger.state(lock.id)
        assert state == "complete" or (hit and not ledger.path(lock.id).exists()), (n, state)
        check_ended(ledger, whole=state == "complete")
        shutil.rmtree(ledger.folder)
        if not hit:
            break
    assert not hit and n > 20


# ---- many processes on the same runs


def abandoned_lock(ledger, seed):
    """A lock whose process has ended."""
    pid = forked(lambda: HELD.update(kept=ledger.lock(worker.spec(seed))) or os._exit(0))
    assert ended(pid) == 0


@pytest.mark.slow
def test_processes_that_race_train_each_of_200_runs_once(ledger, tmp_path):
    log, dead = tmp_path / "log", 60
    for seed in range(dead):
        abandoned_lock(ledger, seed)
    table = ledger.table(("stale",))
    assert len(table) == dead
    team = [start(ledger, log, order // 2) for order in range(4)]  # two and two take the same order
    (log / "go").touch()
    for process in team:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert sorted(noted(log, "locked")) == sorted(noted(log, "done")) == list(range(200))
    assert len(list(log.glob("*.done"))) >= 2  # or it was no race
    table = ledger.table(STATES)
    assert len(table) == 200 and set(table["state"]) == {"complete"}
    assert not list(ledger.folder.glob("*/lock*")) and not list(ledger.folder.glob("*/.*"))


def test_processes_at_abandoned_locks_exclude_each_other(tmp_path):
    """Four processes take, give back and die on two folders for a while; never are two inside."""
    inside, log = tmp_path / "inside", tmp_path / "log"
    inside.mkdir()
    log.mkdir()

    def life(number):
        chance = random.Random(number)
        for _ in range(50):
            name = chance.choice("ab")
            lock = Lock(tmp_path / name)
            if chance.random() < 0.3:
                ended(forked(lock.acquire))  # takes it, if it can, and dies with it
            elif lock.acquire():
                os.close(os.open(inside / name, os.O_CREAT | os.O_EXCL))  # fails where another is inside
                time.sleep(chance.random() * 1e-3)
                os.unlink(inside / name)
                worker.note(log / f"{number}.done", 1)
                lock.release()

    team = [forked(life, number) for number in range(4)]
    assert [ended(pid) for pid in team] == [0] * 4
    assert len(noted(log, "done")) > 20 and len(list(log.glob("*.done"))) == 4
    for name in "ab":
        lock = Lock(tmp_path / name)
        assert lock.acquire()  # whoever died, it is free in the end
        lock.release()
