"""What the tests of the ledger share: runs and results to write, processes to kill, system calls to break."""

import os
import subprocess
import sys
import time
from pathlib import Path

import ledger_worker as worker
import numpy as np
import pandas as pd

from aqa_lib.ledger.ledger import run_id

SIZE = 20  # predictions a run of a worker
CALLS = ("open", "write", "fsync", "replace", "link")  # the system calls that bring a result to the disk
WORKER = Path(worker.__file__)
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[1])}


def spec(seed=0, method="ridge", **more):
    return {
        "method": method,
        "data": {"name": "surrogate", "size": "quick"},
        "split": "official",
        "settings": {"seed": seed, "fraction": 0.4, **more},
    }


def tables(n=50):
    random = np.random.default_rng(n)
    curve = pd.DataFrame({"step": np.arange(5), "loss": random.random(5).astype(np.float32)})
    ids = [f"{i:03d}" for i in range(n - 2)] + ["NA", "a,b"]
    bits = random.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)  # any float32 there is
    predictions = pd.DataFrame({"id": ids, "predicted": bits, "score": random.normal(size=n) * 1e-7})
    predictions.loc[0, "predicted"] = np.float32("nan")
    return curve, predictions


def finish(lock, spearman=0.5, **more):
    return lock.complete({"spearman": spearman}, *tables(), **more)


def forked(act, *arguments):
    """The process number of a child that does act() and leaves with 0, or with 1 where it raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act(*arguments)
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid):
    """Exit code of a child; minus the signal where one killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_call(n, act, patch, after=False):
    """From now on the n-th system call of CALLS does act() before (or after) its work; a counter of them."""
    count = [0]

    def wrapped(real):
        def call(*args, **kwargs):
            count[0] += 1
            here = count[0] == n
            if here and not after:
                act()
            value = real(*args, **kwargs)
            if here and after:
                act()
            return value

        return call

    for name in CALLS:
        patch(os, name, wrapped(getattr(os, name)))
    return count


def check_ended(ledger, whole):
    """The one run of a ledger is whole, or is as if it had never been and can be trained at once."""
    id = run_id(worker.spec(0))
    if whole:
        assert ledger.state(id) == "complete" and worker.is_whole(ledger.read(id), SIZE)
        assert ledger.lock(worker.spec(0)) is None
        return
    assert ledger.state(id) in ("absent", "stale") and len(ledger.table()) == 0
    lock = ledger.lock(worker.spec(0))
    assert lock.complete(*worker.result(0, SIZE), weights={"w": [1.0]})
    assert worker.is_whole(ledger.read(id), SIZE)
    names = ["curve.csv", "metrics.json", "predictions.csv", "run.json", "weights.safetensors"]
    assert sorted(os.listdir(ledger.path(id))) == names


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def start(ledger, log, order=0, runs=200, size=SIZE, **keywords):
    """A worker process; it waits for the file go in `log`."""
    log.mkdir(exist_ok=True)
    words = [sys.executable, str(WORKER), str(ledger.folder), str(log), str(order), str(runs), str(size)]
    keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENV} | keywords
    process = subprocess.Popen(words, **keywords)
    wait_for(lambda: (log / f"{process.pid}.ready").exists() or process.poll() is not None)
    return process


def noted(log, kind):
    return [int(seed) for path in log.glob(f"*.{kind}") for seed in path.read_text().split()]
