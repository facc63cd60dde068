"""The study that benchmarks/kills.py kills: its notebooks, its command, and what it has found when it is done."""

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import yaml

from aqa_lib.ledger.ledger import Ledger
from aqa_lib.ledger.locks import LEFT
from aqa_lib.paths import root
from benchmarks import watch

CHECKPOINT = 1.0  # seconds
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
