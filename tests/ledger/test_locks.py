"""Locks under every order of events that chance can think of.

Several processes take, give back and die on one folder, each in a thread that may go on only when a scheduler
lets it, and which asks before every call of the file system. So an order of events is a function of a seed,
and one that needs three processes to be held up at just the wrong calls is met within a few hundred seeds.
"""

import builtins
import errno
import functools
import json
import os
import random
import threading

import pytest

from aqa_lib.ledger import locks
from aqa_lib.ledger.locks import Lock

CALLS = ("open", "link", "unlink", "rename", "replace", "rmdir", "mkdir", "stat", "lstat", "listdir")


class Scheduler:
    """Lets one thread at a time go on to its next call: mostly the same one, switching now and then."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.here = threading.local()
        self.back = threading.Semaphore(0)

    def ask(self):
        """Called by a thread before each call of the file system: wait for the next turn."""
        go = getattr(self.here, "go", None)
        if go is not None:  # else it is not one of ours
            self.back.release()
            go.acquire()

    def run(self, acts):
        """Interleave the acts; raises what one of them raised."""
        raised, threads = [], {}

        def life(act, go):
            self.here.go = go
            go.acquire()
            try:
                act()
            except BaseException as error:
                raised.append(error)
            del threads[threading.current_thread()]
            self.back.release()

        for act in acts:
            go = threading.Semaphore(0)
            thread = threading.Thread(target=life, args=(act, go))
            threads[thread] = go
            thread.start()
        current, everyone = None, list(threads)
        patience = self.chance.choice([0.1, 0.3, 0.6])
        while threads:
            if current not in threads or self.chance.random() < patience:
                current = self.chance.choice([thread for thread in everyone if thread in threads])
            threads[current].release()
            self.back.acquire()
        for thread in everyone:
            thread.join()
        if raised:
            raise raised[0]


@pytest.fixture
def scheduled(monkeypatch):
    """A function that makes the file system's calls ask a scheduler first."""
    now = []

    def asking(real):
        def call(*args, **kwargs):
            if now:
                now[-1].ask()
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, asking(getattr(os, name)))
    monkeypatch.setattr(locks, "open", asking(builtins.open), raising=False)
    return now


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False])
def test_no_order_of_events_lets_two_inside(tmp_path, scheduled, monkeypatch, links):
    if not links:  # a file system without hard links: O_EXCL decides

        def refuse(*_):
            raise OSError(errno.EPERM, "no hard links")

        monkeypatch.setattr(os, "link", refuse)
    entered, taken, move = [], [], Lock._move_up
    monkeypatch.setattr(Lock, "_move_up", lambda lock: taken.append(lock.path) or move(lock))

    def life(folder, scheduler, inside, deaths):
        for dies in deaths:
            lock = Lock(folder)
            if lock.acquire():
                assert not inside, "two are inside"
                inside.append(lock)
                entered.append(lock.token)
                scheduler.ask()
                assert lock.held()
                inside.clear()
                if not dies:
                    lock.release()

    for seed in range(100):
        folder, chance, inside = tmp_path / str(seed), random.Random(seed), []
        for _ in range(chance.choice([0, 1, 1, 2])):
            assert Lock(folder).acquire()  # and dies at once: its object is gone
        scheduled.append(Scheduler(seed))
        deaths = [[chance.random() < 0.3, False] for _ in range(3)]
        acts = [functools.partial(life, folder, scheduled[0], inside, dies) for dies in deaths]
        scheduled[0].run(acts)
        scheduled.clear()
        last = Lock(folder)
        assert last.acquire(), seed  # whoever died, it is free in the end
        assert os.listdir(folder) == ["lock"]  # and what they left is gone
        last.release()
    assert len(entered) > 200 and len(set(taken)) > 50  # many by taking over


def test_dead_locks_do_not_pile_up(tmp_path):
    for _ in range(50):
        assert Lock(tmp_path / "run").acquire()  # and dies at once
    assert os.listdir(tmp_path / "run") == ["lock"]


def test_locks_that_an_earlier_kill_left_are_followed_and_removed(tmp_path, monkeypatch):
    """A chain as processes leave it that were killed before they could move up."""
    with monkeypatch.context() as killed:
        killed.setattr(Lock, "_move_up", lambda lock: True)
        for _ in range(5):
            assert Lock(tmp_path / "run").acquire()
    assert len(os.listdir(tmp_path / "run")) == 5
    late = locks.chain(tmp_path / "run")  # what a slow competitor has read
    lock = Lock(tmp_path / "run")
    assert lock.acquire() and os.listdir(tmp_path / "run") == ["lock"]
    with monkeypatch.context() as slow:
        answers = iter([late])
        real = locks.chain
        slow.setattr(locks, "chain", lambda folder: next(answers, None) or real(folder))
        assert not Lock(tmp_path / "run").acquire()  # its link follows nothing
    assert lock.held() and os.listdir(tmp_path / "run") == ["lock"]


def test_where_a_lock_cannot_be_moved_it_holds_where_it_is(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("somebody reads it")  # as some shared file systems say

    assert Lock(tmp_path / "run").acquire()
    with monkeypatch.context() as stuck:
        stuck.setattr(os, "replace", refuse)
        lock = Lock(tmp_path / "run")
        assert lock.acquire() and lock.held() and not Lock(tmp_path / "run").acquire()
        lock.release()
    assert not (tmp_path / "run").exists()


def test_a_process_that_wakes_up_while_it_moves_its_lock_has_lost_it(tmp_path, monkeypatch):
    """It slept between locking and moving until another took over: exactly one of them holds the folder."""
    for after in (False, True):
        folder, real, woken = tmp_path / str(after), Lock._move_up, []
        assert Lock(folder).acquire()  # and dies
        with monkeypatch.context() as asleep:
            asleep.setattr(Lock, "_move_up", lambda lock: True)
            sleeper = Lock(folder)
            assert sleeper.acquire()
        elsewhere = dict(locks.HELD)
        locks.HELD.clear()  # it counts as dead

        def replace(old, new, real_replace=os.replace, after=after, sleeper=sleeper, woken=woken, real=real):
            if woken or not after:
                return real_replace(old, new)
            woken.append(True)
            real_replace(old, new)
            woken.append(real(sleeper))  # it wakes up just after the other has moved

        with monkeypatch.context() as waking:
            waking.setattr(os, "replace", replace)
            taker = Lock(folder)
            got = taker.acquire()
        locks.HELD.update(elsewhere)
        if not after:
            woken = [True, real(sleeper)]
        assert [got, woken[1]].count(True) == 1
        assert (taker if got else sleeper).held() and not (sleeper if got else taker).held()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"token": 3}',
        b'{"token": "../../x"}',
        b'{"token": "a\\u0000"}',
        b"[" * 100_000,
        b"\xff",
    ]
    + [b'{"token": "%s", "host": 1, "pid": "x", "start": []}' % (b"a" * 32)]
    + [b'{"token": "%s", "host": "h", "pid": %d, "start": 1}' % (b"a" * 32, 2**70)],
    ids=range(11),
)
def test_an_odd_lock_is_waited_for_and_then_taken_over(tmp_path, monkeypatch, text):
    now = [0.0]
    monkeypatch.setattr(locks.time, "monotonic", lambda: now[0])
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").write_bytes(text)
    lock = Lock(folder)
    assert not lock.acquire()
    now[0] += locks.EXPIRY + 1
    assert lock.acquire() and os.listdir(folder) == ["lock"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "cycle"])
def test_what_stands_in_a_locks_place_stops_nobody_for_ever(tmp_path, monkeypatch, kind):
    now = [0.0]
    monkeypatch.setattr(locks.time, "monotonic", lambda: now[0])
    folder, path = tmp_path / "run", tmp_path / "run" / "lock"
    folder.mkdir()
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("all of it")
    owner = {"token": "a" * 32, "host": "elsewhere", "pid": 1, "start": 1}
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(thesis)
    else:
        for name in ("lock", "lock." + "a" * 32):
            (folder / name).write_text(json.dumps(owner))
    lock = Lock(folder)
    assert not lock.acquire()
    now[0] += locks.EXPIRY + 1
    assert lock.acquire() and not Lock(folder).acquire()
    lock.release()
    assert thesis.read_text() == "all of it"
