"""The ledger on a disk that fails: at every system call of its writing, by a limit, and really full."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import ledger_worker as worker
import pytest
from ledger_cases import ENV, SIZE, WORKER, at_call, check_ended, ended, forked, noted, start

from aqa_lib.errors import UserError
from aqa_lib.ledger.identity import code_version
from aqa_lib.ledger.ledger import STATES, Ledger

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "explore")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_at_any_call_leaves_no_run_and_one_sentence(ledger, monkeypatch, code):
    def fail():
        raise OSError(code, os.strerror(code))

    code_version(worker.spec(0))  # asks git once; its calls are none of the ledger's
    refusals = 0
    for n in range(1, 100):
        ledger.folder.mkdir(exist_ok=True)
        with monkeypatch.context() as broken:
            count = at_call(n, fail, broken.setattr)
            try:
                lock = ledger.lock(worker.spec(0))
                lock.complete(*worker.result(0, SIZE), weights={"w": [1.0]})
                refused = None
            except UserError as error:
                refused = str(error)
        if refused:
            refusals += 1
            assert str(ledger.folder) in refused and ("was not kept" in refused or "was not started" in refused)
            assert ("is full" in refused) == (code != errno.EIO) and "AQA_OUTPUTS" in refused
            assert os.listdir(ledger.folder) == []  # neither a lock nor a temporary file
        check_ended(ledger, whole=not refused)
        shutil.rmtree(ledger.folder)
        if count[0] < n:
            break
    assert refusals == 23  # the lock's 3 calls and 4 for each of 5 files; a folder's fsync may fail


def test_a_disk_that_takes_a_few_bytes_at_a_time(ledger, monkeypatch):
    real = os.write
    with monkeypatch.context() as slow:
        slow.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
        assert ledger.lock(worker.spec(0)).complete(*worker.result(0, SIZE))
    check_ended(ledger, whole=True)


def test_failing_to_note_a_failure(ledger, monkeypatch):
    lock = ledger.lock(worker.spec(0))
    with monkeypatch.context() as broken, pytest.raises(UserError, match="is full"):
        broken.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        lock.fail("the loss is NaN")
    check_ended(ledger, whole=False)


def test_a_file_larger_than_the_system_allows(ledger, tmp_path):
    import resource  # not on every system

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    log = tmp_path / "log"
    process = start(ledger, log, runs=3, size=5000, preexec_fn=small)
    (log / "go").touch()
    _, said = process.communicate(timeout=60)
    assert (
        process.returncode == 1
        and said.startswith(f"UserError: the disk under {ledger.folder}")
        and "\n" not in said[:-1]
    )
    assert ledger.ids() == [] and noted(log, "done") == []
    assert len(noted(log, "locked")) == 1


def test_a_disk_that_is_really_full(tmp_path):
    """On a tmpfs of its own, mounted in a namespace of its own where the system lets us."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    log.mkdir()
    (log / "go").touch()
    inside = f"mount -t tmpfs -o size=400k tmpfs {disk}"
    try:
        subprocess.run(["unshare", "-rm", "sh", "-c", inside], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a namespace with a disk of its own cannot be made here")
    run = f"{sys.executable} {WORKER} {disk}/explore {log} 0 200 500"
    script = f"{inside} && {run}; code=$?; cp -r {disk}/explore {tmp_path}/explore; exit $code"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, env=ENV)
    assert done.returncode == 1 and done.stderr.startswith("UserError: the disk under"), done.stderr
    assert "is full (No space left on device)" in done.stderr
    ledger = Ledger(tmp_path / "explore")
    table = ledger.table(STATES)
    assert set(table["state"]) == {"complete"} and len(table) > 5
    assert sorted(table["seed"]) == sorted(noted(log, "done"))
    assert all(worker.is_whole(ledger.read(id), 500) for id in table["id"])
    assert not list(ledger.folder.glob("**/*.tmp")) and not list(ledger.folder.glob("**/lock*"))


def test_a_folder_without_permission(tmp_path):
    def ask():
        if os.geteuid() == 0:
            os.setuid(65534)
        with pytest.raises(UserError, match="cannot be written .Permission denied., nothing was started"):
            Ledger(tmp_path / "locked" / "explore").check_writable()

    (tmp_path / "locked").mkdir(mode=0o500)
    assert ended(forked(ask)) == 0
