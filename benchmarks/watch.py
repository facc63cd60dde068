"""What a process trains, noted step by step in files that kill -9 cannot take back; benchmarks/kills.py reads them.

A notebook calls `watch()` before it trains. From then on each stack that this process or one of its workers trains is
a Life: a file of events (where it began, what was saved, which runs ended) and one of its last step. Each holds times
of CLOCK_MONOTONIC, which is the same for all processes of a machine.
"""

import json
import os
import struct
import time
import uuid
from pathlib import Path

from aqa_lib.study import study
from aqa_lib.training.checkpoint import Writer
from aqa_lib.training.train import Loop

PLACE = "AQA_KILLS_LOG"  # the folder of the files, in the environment of the whole study
LAST = struct.Struct("qd")  # step, time
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
trained = study.work


class Life:
    """The files of one stack in one process."""

    def __init__(self, ids, step):
        stem = Path(os.environ[PLACE]) / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.last = os.open(stem.with_suffix(".last"), os.O_WRONLY | os.O_CREAT)
        self.events = os.open(stem.with_suffix(".events"), APPEND)
        self.at(step)
        self.note(begun=step, ids=ids)

    def at(self, step):
        os.pwrite(self.last, LAST.pack(step, time.monotonic()), 0)

    def note(self, **event):
        os.write(self.events, (json.dumps(event | {"time": time.monotonic()}) + "\n").encode())

    def close(self):
        os.close(self.last)
        os.close(self.events)


def read(folder):
    """The lives in a folder: their ids; begun, ended and each of saved as (step, time); done as {id: (step, time)}."""
    lives = []
    for path in sorted(Path(folder).glob("*.events")):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        last = path.with_suffix(".last").read_bytes()
        if not events:  # killed before the first note: no step was taken
            continue
        life = {"ids": events[0]["ids"], "ended": LAST.unpack(last)}
        life["begun"] = events[0]["begun"], events[0]["time"]
        life["saved"] = [(e["saved"], e["time"]) for e in events if "saved" in e]
        life["done"] = {e["done"]: (e["step"], e["time"]) for e in events if "done" in e}
        lives.append(life)
    return sorted(lives, key=lambda life: life["begun"][1])


def watch():
    """Note from now on what this process and its workers train."""
    real = {name: getattr(Loop, name) for name in ("run", "look", "done")}
    save = Writer.save

    def run(self):
        self.life = self.writer.life = Life([self.writer.all.names[place] for place in self.places], self.step)
        try:
            return real["run"](self)
        finally:
            self.life.close()

    def look(self):  # the first thing after each step
        self.life.at(self.step)
        real["look"](self)

    def done(self, k, ended):
        name = self.writer.all.names[self.places[k]]
        real["done"](self, k, ended)  # writes the result
        self.life.note(done=name, step=self.step)

    def saves(self, state, places):
        save(self, state, places)
        self.life.note(saved=state["loop"]["step"])

    Loop.run, Loop.look, Loop.done, Writer.save = run, look, done, saves
    study.work = work


def work(*share):
    """A worker of Study.train, watched as well."""
    watch()
    trained(*share)
