"""A process at work on a ledger, for test_ledger_crash.py to race, interrupt, kill and starve of disk.

python ledger_worker.py FOLDER LOG ORDER_SEED RUNS SIZE: waits for the file LOG/go, then locks the runs
0 .. RUNS-1 one by one in an order of its own, notes each lock in LOG/<pid>.locked and, when its result is
written, in LOG/<pid>.done. A result has SIZE predictions. At last it prints the UserError, if one ended it.
"""

import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError
from aqa_lib.ledger.ledger import Ledger
from aqa_lib.ledger.locks import Heartbeat


def spec(seed):
    return {"method": "ridge", "data": {"name": "surrogate"}, "split": "official", "settings": {"seed": seed}}


def result(seed, size):
    """(metrics, curve, predictions) of a run, so that a reader can tell whether they are whole."""
    predicted = np.random.default_rng(seed).random(size).astype(np.float32)
    predictions = pd.DataFrame({"id": [f"{i:05d}" for i in range(size)], "predicted": predicted})
    return {"seed": seed, "sum": float(predicted.sum())}, pd.DataFrame({"step": [0, 1]}), predictions


def is_whole(record, size):
    """Whether a record that was read back is the result of its run, to the last bit."""
    metrics, curve, predictions = result(record.metrics["seed"], size)
    return record.metrics == metrics and record.curve.equals(curve) and record.predictions.equals(predictions)


def note(path, seed):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{seed}\n".encode())
    os.close(fd)


def main(folder, log, order, runs, size):
    ledger, mine = Ledger(folder), Path(log) / str(os.getpid())
    seeds = list(range(runs))
    random.Random(order).shuffle(seeds)
    (Path(log) / f"{os.getpid()}.ready").touch()
    while not (Path(log) / "go").exists():
        time.sleep(0.002)
    for seed in seeds:
        lock = ledger.lock(spec(seed))
        if lock is not None:
            note(f"{mine}.locked", seed)
            with Heartbeat([lock], every=0.01):
                if lock.complete(*result(seed, size)):
                    note(f"{mine}.done", seed)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
    except UserError as error:
        sys.exit(f"UserError: {error}")
