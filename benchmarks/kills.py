"""kill -9 of random processes of a study at random times, until it is done: what it costs, and whether anybody sees it.

    report = kills(folder, n=100, seed=0)      # or: aqa bench kills

A study of three notebooks trains 12 runs with two workers each and checkpoints every second. It runs undisturbed
once. Then it runs again from nothing while a process at a time is killed: one that trains, a notebook worker, a
Jupyter kernel, or `aqa study` itself. Whenever `aqa study` has ended, the same command is started again; where a study
is done before all kills were made, another begins in fresh outputs. Held against the undisturbed one, bit by bit:

* after each kill, every run that is complete: curve, predictions, weights, all metrics but the seconds taken;
* at the end, every run, and of every notebook the words, the figure and the numbers of its answer.

The work lost: benchmarks/watch.py notes every step of every stack in every process. A run that begins at a step that an
earlier process had passed does the steps between twice: these are lost. At most one checkpoint's work is lost where
each run goes on no earlier than from the last state that its process had saved, and that was saved `CHECKPOINT` seconds
before the last step, but for the step under way and the saving itself.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pandas as pd
import psutil
import yaml
from tqdm import tqdm

from aqa_lib.errors import UserError
from aqa_lib.ledger.ledger import STATES, Ledger
from aqa_lib.ledger.locks import LEFT
from aqa_lib.paths import root
from benchmarks import watch
from benchmarks.sizes import markdown

CHECKPOINT = 1.0  # seconds
KINDS = {"run": 4, "worker": 2, "kernel": 3, "study": 2}  # what is killed, and how often beside the others
KILLED = {
    "run": "a process that trains",
    "worker": "a notebook worker",
    "kernel": "a Jupyter kernel",
    "study": "`aqa study`",
}
MOST = 3.0  # seconds that a target may live on
REDRAW = 20.0  # seconds that a target of a kind is waited for
BEGUN = 0.6  # share of the kills that wait until something is trained beneath the target
PATIENCE = 300  # seconds without a kill or an end, after which something hangs
WORLD = {"name": "surrogate", "n_train": 60, "n_test": 20, "T": 4, "D": 16}
NOTEBOOKS = {  # name: [(method, steps, seeds)]; two notebooks ask for some of the same runs
    "10": [("s4aqa", 120, range(4))],
    "20": [("usdl", 1200, range(4))],
    "30": [("s4aqa", 120, range(2, 6)), ("mean_teacher", 120, range(2))],
}
TRAIN = """runs.append(Study(study).train({method!r}, {world}, runs={runs}, workers=2, at_once=2, weights=True,
                              checkpoint={checkpoint}, device="cpu"))"""
ANSWER = """table = pd.concat(runs)[["id", "method", "seed", "spearman", "relative_l2"]]
figure = go.Figure(go.Bar(x=table["seed"], y=table["spearman"]))
answer(f"The mean is {float(table['spearman'].mean())!r}.", figure=figure, table=table, numbers=table)"""


class House:
    """A folder with the notebooks and the config of the study, and outputs of their own for each time it is run."""

    def __init__(self, folder, notebooks, steps):
        self.folder, self.names = Path(folder), list(notebooks)
        for name in ("notebooks", "configs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, calls in notebooks.items():
            nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"# What is {name}?")])
            nb.cells.append(v4.new_code_cell('study: str = "try"  # folder', metadata={"tags": ["parameters"]}))
            nb.cells.append(v4.new_code_cell("import pandas as pd\nimport plotly.graph_objects as go\n"
                                             "from aqa_lib.study.answer import answer\n"
                                             "from aqa_lib.study.study import Study\n"
                                             "from benchmarks.watch import watch\nwatch()\nruns = []"))  # fmt: skip
            for method, n, seeds in calls:
                n = max(1, round(n * steps))
                common = {"fraction": 0.3, "batch": 8, "steps": n, "every": max(1, n // 3)}
                runs = [common | {"seed": seed, "draw": seed} for seed in seeds]
                text = TRAIN.format(method=method, world=WORLD, runs=runs, checkpoint=CHECKPOINT)
                nb.cells.append(v4.new_code_cell(text))
            nb.cells.append(v4.new_code_cell(ANSWER))
            nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
            nbformat.write(nb, self.folder / "notebooks" / f"{name}.ipynb")
        config = {"study": "try", "notebooks": [{"notebook": name} for name in notebooks]}
        (self.folder / "configs/study.yaml").write_text(yaml.safe_dump(config))

    def start(self, name):
        """`aqa study` under way, with the outputs `name`."""
        log = self.folder / name / "log"
        log.mkdir(parents=True, exist_ok=True)
        own = {"AQA_ROOT": self.folder, "AQA_OUTPUTS": self.folder / name / "outputs", watch.PLACE: log}
        own |= {"PYTHONPATH": root(), "OMP_NUM_THREADS": 1}
        command = [sys.executable, "-m", "aqa_lib", "study", "configs/study.yaml", "--workers", "2"]
        with open(self.folder / name / "said.txt", "a") as said:
            environment = os.environ | {key: str(value) for key, value in own.items()}
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=said, stderr=said)

    def place(self, name):
        return self.folder / name / "outputs" / "try"

    def said(self, name):
        return (self.folder / name / "said.txt").read_text()


# ---- what a study has found


def bits(ledger, id):
    """All that a complete run has left and that does not depend on the clock."""
    record, folder = ledger.read(id), ledger.path(id)
    metrics = {key: repr(value) for key, value in record.metrics.items() if key != "seconds"}
    assert not record.curve.empty and not record.predictions.empty and record.weights()  # their checksums hold
    names = ("curve.csv", "predictions.csv", "weights.safetensors")
    return metrics, *((folder / name).read_bytes() for name in names)


def found(place, names):
    """{(kind, name): what it is} of all runs and answers."""
    ledger, out = Ledger(place), {}
    for id in ledger.ids():
        state = ledger.state(id)
        out["run", id] = bits(ledger, id) if state == "complete" else state
    for name in names:
        stem = place / "notebooks" / name
        with contextlib.suppress(FileNotFoundError):
            answer = json.loads(Path(f"{stem}.answer.json").read_text())
            out["words", name] = answer["text"]
            out["table", name] = answer["table"]
            out["figure", name] = json.loads(Path(f"{stem}.figure.json").read_text())
            out["numbers", name] = Path(f"{stem}.numbers.csv").read_bytes()
    return out


def left_behind(place):
    """Files that only a process under way should have."""
    left = Counter()
    for path in place.rglob("*"):
        for kind, is_one in {
            "lock": LEFT.fullmatch(path.name),
            "part": path.name.endswith((".tmp", ".part")),
            "checkpoint": path.name.endswith(".checkpoint"),
            "stage": path.parent.name == ".stage",
        }.items():
            left[kind] += bool(is_one)
    return +left


# ---- killing


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


# ---- the work lost


def work(lives):
    """(model-steps trained, needed, losses, faults) of one study's lives, in order of their begin.

    A loss is a run that goes on, or begins again, at a step that an earlier life had passed: its steps, how many
    seconds they had taken since the last state that was saved, and when its life was ended.
    """
    trained = needed = 0
    losses, faults, before, done = [], [], {}, {}
    for life in lives:
        begun, last = life["begun"][0], life["ended"][0]
        for id in life["ids"]:
            if id in done and life["begun"][1] > done[id][1]:
                faults.append(f"run {id} was trained twice")
            if id in before:
                was = before[id]
                kept, when = ([was["begun"]] + was["saved"])[-1]
                if was["ended"][1] > life["begun"][1]:
                    faults.append(f"run {id} was trained by two processes at once")
                if begun < kept:
                    faults.append(f"run {id} went on from step {begun}, though {kept} was saved")
                if was["ended"][0] > begun:
                    seconds = was["ended"][1] - when
                    losses.append({"steps": was["ended"][0] - begun, "seconds": seconds, "time": was["ended"][1]})
            elif begun:
                faults.append(f"run {id} began at step {begun}")
            before[id] = life
            trained += (life["done"][id][0] if id in life["done"] else last) - begun
        for id, (step, when) in life["done"].items():
            needed += step if id not in done else 0
            done.setdefault(id, (step, when))
    return trained, needed, losses, faults


def summary(table, report):
    """The lines of the report: a row a kind, and sentences."""
    rows = []
    for kind, what in KILLED.items():
        own = table[table["kind"] == kind]
        hit = own[own["losses"] > 0]
        rows.append({"killed": what, "kills": len(own), "that cost steps": len(hit)})
        rows[-1] |= {"model-steps lost": own["steps"].sum(), "most of a kill": own["steps"].max() if len(own) else 0}
        rows[-1] |= {"longest loss (s)": round(own["seconds"].max(), 2) if len(own) else 0.0}
    share = (report["trained"] - report["needed"]) / report["needed"]
    return [
        markdown(pd.DataFrame(rows)),
        "",
        f"{len(table)} kills in {report['studies']} studies of {report['runs']} runs, {report['starts']} starts of "
        f"`aqa study`, {report['took']:.0f} s in all ({report['undisturbed']:.0f} s of them the undisturbed study). "
        f"Model-steps: {report['trained']:,} trained, {report['needed']:,} needed ({share:.0%} more).",
        *(report["faults"] or ["Runs lost, doubled, half-written or different: 0; answers that differ: 0."]),
    ]


def kills(folder, n=100, seed=0, notebooks=NOTEBOOKS, steps=1.0):
    """The whole measurement: {kills: a table, starts, studies, trained, needed, seconds, faults}."""
    house, began = House(folder, notebooks, steps), time.monotonic()
    if house.start("whole").wait():
        raise RuntimeError(house.said("whole"))
    undisturbed = time.monotonic() - began
    truth = found(house.place("whole"), house.names)
    killer = Killer(house, n, seed, truth).run()
    rows = [kill | {"steps": 0, "seconds": 0.0, "losses": 0} for kill in killer.kills]
    trained = needed = 0
    for name in killer.names:
        mine = [row for row in rows if row["study"] == name]
        one = work(watch.read(house.folder / name / "log"))
        trained, needed, killer.faults = trained + one[0], needed + one[1], killer.faults + one[3]
        for loss in one[2]:  # a process ends some moments after the one whose kill ended it
            row = min(mine, key=lambda row: abs(row["time"] - loss["time"]))
            row["steps"], row["losses"] = row["steps"] + loss["steps"], row["losses"] + 1
            row["seconds"] = max(row["seconds"], loss["seconds"])
    return {
        "kills": pd.DataFrame(rows),
        "starts": killer.starts,
        "studies": len(killer.names),
        "runs": sum(kind == "run" for kind, _ in truth),
        "trained": trained,
        "needed": needed,
        "undisturbed": undisturbed,
        "took": time.monotonic() - began,
        "faults": killer.faults,
    }
