"""kill -9 of a process of a study at a random moment, again and again, and a look at its runs after each."""

import contextlib
import random
import signal
import subprocess
import time

import psutil
from tqdm import tqdm

from aqa_lib.errors import UserError
from aqa_lib.ledger.ledger import STATES, Ledger
from benchmarks.killed_study import bits, found, left_behind

KINDS = {"run": 4, "worker": 2, "kernel": 3, "study": 2}  # what is killed, and how often beside the others
MOST = 3.0  # seconds that a target may live on
REDRAW = 20.0  # seconds that a target of a kind is waited for
BEGUN = 0.6  # share of the kills that wait until something is trained beneath the target
PATIENCE = 300  # seconds without a kill or an end, after which something hangs


def family(process):
    """{kind: [its living processes, each with all below it]} of a study under way."""
    out = {kind: [] for kind in KINDS}
    with contextlib.suppress(psutil.NoSuchProcess):
        study = psutil.Process(process.pid)
        out["study"].append((study.pid, {p.pid for p in study.children(recursive=True)}))
        for worker in spawned(study):
            below = worker.children(recursive=True)
            out["worker"].append((worker.pid, {p.pid for p in below}))
            for kernel in (p for p in worker.children() if "ipykernel_launcher" in " ".join(p.cmdline())):
                out["kernel"].append((kernel.pid, {p.pid for p in kernel.children(recursive=True)}))
                out["run"] += [(p.pid, set()) for p in spawned(kernel)]
    return out


def spawned(process):
    """The workers of a process's pool."""
    return [p for p in process.children() if "spawn_main" in " ".join(p.cmdline())]


def at_work(log):
    """The numbers of all processes that have trained."""
    return {int(path.name.split("-")[0]) for path in log.glob("*.last")}


class Killer:
    """Kills n processes, a seeded choice of kinds and moments, and starts `aqa study` again until it is done."""

    def __init__(self, house, n, seed, truth):
        self.house, self.n, self.chance, self.truth = house, n, random.Random(seed), truth
        self.kills, self.faults, self.starts, self.names = [], [], 0, []

    def run(self):
        """Studies in fresh outputs, one after another, until all kills were made."""
        with tqdm(total=self.n, unit="kill", mininterval=5) as self.bar:
            while len(self.kills) < self.n and not self.faults:
                self.names.append(f"killed_{len(self.names)}")
                self.one(self.names[-1])
        return self

    def one(self, name):
        """One study from nothing to its end."""
        complete, disturbed, process = set(), True, None
        try:
            while True:
                if process is None or process.poll() is not None:
                    if process is not None and process.returncode == 0:
                        return self.check(name)
                    if not disturbed:
                        self.faults.append(f"aqa study ended with {process.returncode} though nothing was killed")
                        return None
                    process, disturbed, began = self.house.start(name), False, time.monotonic()
                    self.starts += 1
                if len(self.kills) < self.n:
                    disturbed |= self.kill(process, name)
                    complete |= self.look(name, complete)
                else:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(PATIENCE)
                if time.monotonic() - began > PATIENCE and not disturbed:
                    self.faults.append(f"aqa study hangs: {self.house.said(name)[-500:]}")
                    return None
        finally:
            if process is not None and process.poll() is None:
                process.kill()

    def kill(self, process, name):
        """Wait for a target and a moment, then kill; False where the study ended meanwhile."""
        log, began, redraw = self.house.folder / name / "log", time.monotonic(), 0.0
        while process.poll() is None and time.monotonic() - began < PATIENCE:
            if time.monotonic() > redraw:  # else a kind is waited for that does not come
                kind, begun = self.chance.choices(list(KINDS), KINDS.values())[0], self.chance.random() < BEGUN
                redraw = time.monotonic() + REDRAW
            trained = at_work(log) if begun else set()
            there = [pid for pid, below in family(process)[kind] if not begun or (below | {pid}) & trained]
            if not there:
                time.sleep(0.05)
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                victim = psutil.Process(self.chance.choice(there))
                time.sleep(self.chance.uniform(0, MOST))
                if victim.status() != psutil.STATUS_ZOMBIE:
                    victim.send_signal(signal.SIGKILL)
                    self.kills.append({"kind": kind, "time": time.monotonic(), "study": name})
                    self.bar.update()
                    if kind == "study":
                        process.wait()
                    return True
        return False

    def look(self, name, known):
        """The runs that are complete by now; what was complete before still is, and each is as it should be."""
        ledger = Ledger(self.house.place(name))
        table = ledger.table(STATES)
        now = set(table["id"][table["state"] == "complete"])
        self.faults += [f"run {id} was complete and is not" for id in known - now]
        self.faults += [f"run {id} failed" for id in table["id"][table["state"] == "failed"]]
        for id in now - known:
            try:
                same = bits(ledger, id) == self.truth["run", id]
            except UserError as error:
                same = str(error)
            self.faults += [] if same is True else [f"run {id} differs: {same}"]
        return now

    def check(self, name):
        """At the end of a study: it is the undisturbed one."""
        place = self.house.place(name)
        mine = found(place, self.house.names)
        self.faults += [f"{' '.join(what)} is lost" for what in self.truth.keys() - mine.keys()]
        self.faults += [f"{' '.join(what)} is nobody's" for what in mine.keys() - self.truth.keys()]
        both = self.truth.keys() & mine.keys()
        self.faults += [f"{' '.join(what)} differs" for what in both if mine[what] != self.truth[what]]
        self.faults += [f"{n} {kind} left behind" for kind, n in left_behind(place).items()]
        orphans = [p for p in psutil.process_iter() if of(p, str(place.parent))]
        _, living = psutil.wait_procs(orphans, timeout=30)
        self.faults += [f"process {p.pid} lives on" for p in living]


def of(process, outputs):
    """Whether a process was started for these outputs, also where its parents are gone."""
    with contextlib.suppress(psutil.Error):
        return process.environ().get("AQA_OUTPUTS") == outputs
    return False
