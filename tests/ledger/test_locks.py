"""Locks under every order of events that chance can think of.

Several processes take, give back and die on one folder, each in a thread that may go on only when a scheduler
lets it, and which asks before every call of the file system. So an order of events is a function of a seed,
and one that needs three processes to be held up at just the wrong calls is met within a few hundred seeds.
"""

import builtins
import errno
import functools
import os
import random
import threading

import pytest

from aqa_lib.ledger import locks
from aqa_lib.ledger.locks import Lock

CALLS = ("open", "link", "unlink", "rename", "replace", "rmdir", "mkdir", "stat")


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
    entered = []

    def life(folder, scheduler, inside, deaths):
        for dies in deaths:
            lock = Lock(folder)
            if lock.acquire():
                assert not inside, "two are inside"
                inside.append(lock)
                entered.append(os.path.basename(lock.path))
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
        last.release()
    assert len(entered) > 200 and len(set(entered)) > 50  # many by taking over, under a name of their own
