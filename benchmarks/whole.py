"""A whole grid from a cold start to its ledger, and the memory that one more run takes."""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from aqa_lib.errors import UserError
from aqa_lib.paths import root
from benchmarks.plain import oracle
from benchmarks.sizes import EPOCH, SIZES, noise
from benchmarks.step import advance, steps_of

GRID = {
    "lambda1": [1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0],
    "lambda2": [0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0],
}
GRID_SEEDS, GRID_STEPS = 3, 420  # 30 epochs of 14 steps


def memory():
    """Megabytes that one more run adds to a stack at paper size: peak of K = 5 less that of K = 1, by four."""
    code = "import sys; from benchmarks import whole; whole.a_few_steps(int(sys.argv[1])); print(whole.peak())"
    peaks = []
    for K in (1, 5):
        call = [sys.executable, "-c", code, str(K)]
        done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=root())
        peaks.append(float(done.stdout.split()[-1]))
    return (peaks[1] - peaks[0]) / 4


def peak():
    """This process's largest resident memory so far, in megabytes."""
    if Path("/proc/self/status").exists():  # getrusage counts the parent's memory from before exec there
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1024)


def a_few_steps(K):
    """Three steps of a stack of K at paper size."""
    from aqa_lib.data.splits import official
    from aqa_lib.methods import get
    from aqa_lib.tasks import SCORES

    z, method = SIZES["paper"], get("s4aqa")
    data = noise(z)
    split = official(data)
    runs = [method.resolve({"seed": i, "batch": z.B, "fraction": 0.2}) for i in range(K)]
    generator = steps_of(method, data, split, runs, [SCORES.labels(data, split, s) for s in runs], "cpu")
    advance(generator, 3, "cpu")


def end_to_end(measured=3):
    """A 7 x 7 grid of 3 seeds at tiny size: one papermill run for all, against one papermill run each."""
    combinations = len(GRID["lambda1"]) * len(GRID["lambda2"]) * GRID_SEEDS
    with tempfile.TemporaryDirectory() as folder:
        lone = [notebook_seconds(folder, f"lone{i}", LONE, seed=i) for i in range(measured)]
        whole = notebook_seconds(folder, "whole", WHOLE)
    one = statistics.median(lone)
    return {
        "runs": combinations,
        "steps": GRID_STEPS,
        "measured": measured,
        "one": one,
        "one by one": one * combinations,
        "stacked": whole,
        "times": one * combinations / whole,
    }


def sentences(g):
    return [
        f"A 7 x 7 grid of 3 seeds ({g['runs']} runs of {g['steps']} steps, tiny), processor time end to end: "
        f"one papermill run each takes {g['one']:.1f} s (median of {g['measured']} measured), so "
        f"{g['one by one']:.0f} s for all (extrapolated); one papermill run that trains them as stacks takes "
        f"{g['stacked']:.1f} s (measured, ledger included): {g['times']:.1f} times."
    ]


LONE = """
import torch, scipy.stats
from benchmarks import whole
torch.set_num_threads(1)
whole.one_by_hand(seed)
"""
WHOLE = """
import torch, scipy.stats
from benchmarks import whole
whole.whole_grid(folder)
"""


def notebook_seconds(folder, name, source, **parameters):
    """Processor seconds of one cold papermill run of a notebook, its kernel included."""
    import nbformat

    cell = nbformat.v4.new_code_cell("seed = 0\nfolder = ''", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(source.strip())])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = Path(folder, f"{name}.ipynb")
    nbformat.write(notebook, path)
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(path),
        str(path.with_suffix(".out.ipynb")),
        "--no-progress-bar",
    ]
    for key, value in {"folder": folder, **parameters}.items():
        command += ["-p", key, str(value)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root())}
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)
    after = os.times()
    if done.returncode:
        raise UserError(f"aqa bench: papermill could not run the grid's notebook: {done.stderr.strip()[-300:]}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def one_by_hand(seed):
    """One run of the grid as a researcher's notebook would hold it, variant (a)."""
    z = SIZES["tiny"]
    from aqa_lib.data.splits import official
    from aqa_lib.methods import get
    from aqa_lib.tasks import SCORES

    data = noise(z)
    split = official(data)
    labels = SCORES.labels(data, split, get("s4aqa").resolve({"fraction": 0.2}))
    x = data.features
    loop = oracle.train_with_loader(
        x[labels.train], data.scores[labels.train] * labels.scale, x[labels.unlabelled], x[split.test],
        steps=GRID_STEPS, batch=z.B, seed=seed, epoch=EPOCH)  # fmt: skip
    for _ in loop:
        pass


def whole_grid(folder):
    """All runs of the grid through the study: resolved, locked, stacked, written to a ledger."""
    os.environ["AQA_OUTPUTS"] = folder
    from aqa_lib import Study, grid

    z = SIZES["tiny"]
    noise(z).save(Path(folder, "noise.safetensors"))
    seeds = range(GRID_SEEDS)
    runs = grid(("seed", "draw"), seed=seeds, draw=seeds, **GRID, batch=[z.B], fraction=[0.2], steps=[GRID_STEPS],
                every=[EPOCH])  # fmt: skip
    table = Study("grid").train("s4aqa", "file", runs=runs, root=Path(folder, "noise.safetensors"), device="cpu")
    assert (table["state"] == "complete").all()
