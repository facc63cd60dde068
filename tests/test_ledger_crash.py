"""The ledger against what befalls a study: kill -9, Ctrl-C, a full disk, many processes on the same runs.

All for real: processes are forked or started, killed at every system call of a result's writing and at random
times, raced for the same runs, and run on a disk that is full. After each, nothing half-written counts.
"""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ledger_worker as worker
import pytest

from aqa_lib.errors import UserError
from aqa_lib.study.claims import HELD, Heartbeat, Hold
from aqa_lib.study.ledger import STATES, Ledger, code_version, run_id

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")

SIZE = 20  # predictions a run
CALLS = (
    "open",
    "write",
    "fsync",
    "replace",
    "link",
)  # the system calls through which a result gets to the disk
WORKER = Path(worker.__file__)
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[1])}


@pytest.fixture
def ledger(tmp_path):
    code_version()  # cached here, so that a forked child need not ask git
    return Ledger(tmp_path / "explore")


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
        assert ledger.claim(worker.spec(0)) is None
        return
    assert ledger.state(id) in ("absent", "stale") and len(ledger.table()) == 0
    claim = ledger.claim(worker.spec(0))
    assert claim.complete(*worker.result(0, SIZE), weights={"w": [1.0]})
    assert worker.is_whole(ledger.read(id), SIZE)
    names = ["curve.csv", "metrics.json", "predictions.csv", "run.json", "weights.safetensors"]
    assert sorted(os.listdir(ledger.path(id))) == names


# ---- kill -9


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_step_of_claiming_and_writing(ledger, after):
    def life(n):
        at_call(n, lambda: os.kill(os.getpid(), signal.SIGKILL), setattr, after)
        ledger.claim(worker.spec(0)).complete(*worker.result(0, SIZE), weights={"w": [1.0]})

    killed, whole = 0, []
    for n in range(1, 100):
        code = ended(forked(life, n))
        killed += code == -signal.SIGKILL
        whole.append(ledger.state(run_id(worker.spec(0))) == "complete")
        check_ended(ledger, whole[-1])
        shutil.rmtree(ledger.folder)
        if code == 0:
            break
    assert code == 0 and killed >= 20  # claim: 3 calls; five files: 4 each; two folders: 2 each
    assert whole == sorted(whole) and whole[-1]  # the result appears at one point and stays


def test_killed_while_training(ledger):
    def life():
        with Heartbeat(ledger.claim_many([worker.spec(seed) for seed in range(3)])) as beat:
            beat.claims[1].complete(*worker.result(1, SIZE))
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
    got = ledger.claim_many([worker.spec(seed) for seed in range(3)])
    assert [claim is not None for claim in got] == [True, False, True]


def test_a_stopped_process_keeps_its_run_until_it_is_killed(ledger):
    def life():
        at_call(10, lambda: os.kill(os.getpid(), signal.SIGSTOP), setattr)  # amid the files of the result
        ledger.claim(worker.spec(0)).complete(*worker.result(0, SIZE))

    patient = Ledger(ledger.folder, expiry=0.0)  # on this machine, what counts is the process, not its pulse
    for finish in (signal.SIGCONT, signal.SIGKILL):
        pid = forked(life)
        os.waitpid(pid, os.WUNTRACED)
        assert len(os.listdir(ledger.path(run_id(worker.spec(0))))) >= 3
        assert patient.state(run_id(worker.spec(0))) == "running" and patient.claim(worker.spec(0)) is None
        os.kill(pid, finish)
        assert ended(pid) == (0 if finish == signal.SIGCONT else -signal.SIGKILL)
        check_ended(patient, whole=finish == signal.SIGCONT)
        shutil.rmtree(ledger.folder)


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
    claimed = noted(log, "claimed")
    assert len(claimed) - len(set(claimed)) <= 1  # the run under way at the first kill


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
        claim = ledger.claim(worker.spec(0))
        hit = False
        with monkeypatch.context() as broken:
            at_call(n, interrupt, broken.setattr, after)
            try:
                claim.complete(*worker.result(0, SIZE), weights={"w": [1.0]})
            except KeyboardInterrupt:
                hit = True
        state = ledger.state(claim.id)
        assert state == "complete" or (hit and not ledger.path(claim.id).exists()), (n, state)
        check_ended(ledger, whole=state == "complete")
        shutil.rmtree(ledger.folder)
        if not hit:
            break
    assert not hit and n > 20


# ---- a full disk


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_at_any_call_leaves_no_run_and_one_sentence(ledger, monkeypatch, code):
    def fail():
        raise OSError(code, os.strerror(code))

    refusals = 0
    for n in range(1, 100):
        ledger.folder.mkdir(exist_ok=True)
        with monkeypatch.context() as broken:
            count = at_call(n, fail, broken.setattr)
            try:
                claim = ledger.claim(worker.spec(0))
                claim.complete(*worker.result(0, SIZE), weights={"w": [1.0]})
                refused = None
            except UserError as error:
                refused = str(error)
        if refused:
            refusals += 1
            assert str(ledger.folder) in refused and (
                "was not kept" in refused or "was not started" in refused
            )
            assert ("is full" in refused) == (code != errno.EIO) and "AQA_OUTPUTS" in refused
            assert os.listdir(ledger.folder) == []  # neither a claim nor a temporary file
        check_ended(ledger, whole=not refused)
        shutil.rmtree(ledger.folder)
        if count[0] < n:
            break
    assert refusals == 23  # the claim's 3 calls and 4 for each of 5 files; a folder's fsync may fail


def test_a_disk_that_takes_a_few_bytes_at_a_time(ledger, monkeypatch):
    real = os.write
    with monkeypatch.context() as slow:
        slow.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
        assert ledger.claim(worker.spec(0)).complete(*worker.result(0, SIZE))
    check_ended(ledger, whole=True)


def test_failing_to_note_a_failure(ledger, monkeypatch):
    claim = ledger.claim(worker.spec(0))
    with monkeypatch.context() as broken, pytest.raises(UserError, match="is full"):
        broken.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        claim.fail("the loss is NaN")
    check_ended(ledger, whole=False)


def test_a_file_larger_than_the_system_allows(ledger, tmp_path):
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
    assert len(noted(log, "claimed")) == 1


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
    assert not list(ledger.folder.glob("**/*.tmp")) and not list(ledger.folder.glob("**/claim*"))


def test_a_folder_without_permission(tmp_path):
    def ask():
        if os.geteuid() == 0:
            os.setuid(65534)
        with pytest.raises(UserError, match="cannot be written .Permission denied., nothing was started"):
            Ledger(tmp_path / "locked" / "explore").check_writable()

    (tmp_path / "locked").mkdir(mode=0o500)
    assert ended(forked(ask)) == 0


# ---- many processes on the same runs


def dead_claim(ledger, seed):
    """A claim whose process has ended."""
    pid = forked(lambda: HELD.update(kept=ledger.claim(worker.spec(seed))) or os._exit(0))
    assert ended(pid) == 0


@pytest.mark.parametrize("dead", [0, 100])
def test_processes_that_race_train_each_of_200_runs_once(ledger, tmp_path, dead):
    log = tmp_path / "log"
    for seed in range(dead):
        dead_claim(ledger, seed)
    table = ledger.table(("stale",))
    assert len(table) == dead
    team = [start(ledger, log, order // 2) for order in range(4)]  # two and two take the same order
    (log / "go").touch()
    for process in team:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert sorted(noted(log, "claimed")) == sorted(noted(log, "done")) == list(range(200))
    assert len(list(log.glob("*.done"))) >= 2  # or it was no race
    table = ledger.table(STATES)
    assert len(table) == 200 and set(table["state"]) == {"complete"}
    assert not list(ledger.folder.glob("*/claim*")) and not list(ledger.folder.glob("*/.*"))


def test_takers_of_dead_claims_exclude_each_other(tmp_path):
    """Four processes take, give back and die on two folders for a while; never are two inside."""
    inside, log = tmp_path / "inside", tmp_path / "log"
    inside.mkdir()
    log.mkdir()

    def life(number):
        import random

        chance = random.Random(number)
        for _ in range(150):
            name = chance.choice("ab")
            hold = Hold(tmp_path / name)
            if chance.random() < 0.3:
                ended(forked(hold.take))  # takes it, if it can, and dies with it
            elif hold.take():
                os.close(os.open(inside / name, os.O_CREAT | os.O_EXCL))  # fails where another is inside
                time.sleep(chance.random() * 1e-3)
                os.unlink(inside / name)
                worker.note(log / f"{number}.done", 1)
                hold.release()

    team = [forked(life, number) for number in range(4)]
    assert [ended(pid) for pid in team] == [0] * 4
    assert len(noted(log, "done")) > 50 and len(list(log.glob("*.done"))) == 4
    for name in "ab":
        hold = Hold(tmp_path / name)
        assert hold.take()  # whoever died, it is free in the end
        hold.release()
