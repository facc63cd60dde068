"""`aqa bench`: what a stack of runs saves, as ratios measured in one process, and what bfloat16 costs.

    aqa bench grid        (a) data loaders, (b) tensors in memory, (c) the stack with K runs; whole grids
    aqa bench precision   rank correlation of fp32 against bf16 products over seeds, paired

The variants take turns, round after round, and what counts is processor time on one thread: the median over
rounds of the ratio within a round says what a busy machine's clock does not. On a GPU the clock is the wall's,
after the device has finished. (a) and (b) are the ordinary modules of tests/oracle.py, so this needs a checkout.
"""

import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError
from aqa_lib.study.files import write
from aqa_lib.study.paths import outputs, root

SIZES = {  # N, T, D, labelled (and unlabelled) videos a step, steps a round of one run
    "tiny": SimpleNamespace(N=200, T=10, D=64, B=16, steps=30),
    "middle": SimpleNamespace(N=800, T=10, D=256, B=64, steps=8),
    "paper": SimpleNamespace(N=1059, T=10, D=1024, B=64, steps=3),
}
STACKS = {"tiny": (1, 8, 32), "middle": (1, 8, 32), "paper": (1, 8)}
EPOCH = 15  # steps between evaluations, for every variant
GRID = {"lambda1": [1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0], "lambda2": [0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}
GRID_SEEDS, GRID_STEPS = 3, 420  # 30 epochs of 14 steps


def configure(parser):
    parser.add_argument("what", choices=["grid", "precision"], help="which measurement")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="which sizes")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--no-end-to-end", action="store_true", help="leave out the whole grids")
    parser.add_argument("--seeds", type=int, default=10, help="precision: paired seeds")
    parser.add_argument("--steps", type=int, default=600, help="precision: steps of each run")


def run(args):
    if args.rounds < 1 or args.seeds < 2:
        raise UserError("aqa bench: --rounds takes at least 1 and --seeds at least 2")
    report = precision(args) if args.what == "precision" else grid(args)
    text = "\n".join(report.lines)
    print(text)
    folder = outputs("bench")
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{args.what}.json", json.dumps(report.numbers, indent=1))
    write(folder / f"{args.what}.md", text + "\n")


# ---- one step


def grid(args):
    """The table of one step, memory, and the whole grid end to end."""
    import torch

    torch.set_num_threads(1)
    rows = []
    for size in args.sizes:
        rows += measure(size, args)
    table = pd.DataFrame(rows)
    lines = [f"One step of S4AQA, {where(args.device)}.", f"Medians of {args.rounds} rounds.", "", markdown(table)]
    numbers = {"step": rows, "device": where(args.device)}
    if args.device == "cpu" and "paper" in args.sizes:
        numbers["megabytes"] = memory()
        lines += ["", f"Memory of one more run in a stack at paper size: {numbers['megabytes']:.0f} MB."]
    if args.device == "cpu" and not args.no_end_to_end:
        numbers["grid"] = end_to_end()
        lines += ["", *sentences(numbers["grid"])]
    if args.device != "cpu":
        lines += ["", *projection(rows)]
    return SimpleNamespace(lines=lines, numbers=numbers)


def measure(size, args):
    """Rows of one size: each variant's microseconds a model-step and its ratio to (b) and (a)."""
    z, device = SIZES[size], args.device
    data, split, labels = noise(z), None, None
    oracle = peers()
    from aqa_lib.data.splits import official
    from aqa_lib.methods import get
    from aqa_lib.training.stack import Labels

    method, split = get("s4aqa"), official(data)
    runs = [method.resolve({"seed": i, "draw": i, "batch": z.B, "fraction": 0.2, "lambda1": 1.0 + i}) for i in range(64)]
    labels = [Labels(data, split, s) for s in runs]
    x, own = data.features, labels[0]
    plain = (x[own.train], data.scores[own.train] * own.scale, x[own.unlabelled], x[split.test])
    options = dict(steps=10**9, batch=z.B, epoch=EPOCH)
    variants = {}
    if device == "cpu":
        variants["(a) data loaders"] = (oracle.train_with_loader(*plain, **options), 1, "fp32")
    variants["(b) in memory"] = (oracle.train_in_memory(*plain, **options, device=device), 1, "fp32")
    variants["(b) one encoder call"] = (oracle.train_in_memory(*plain, **options, calls=1, device=device), 1, "fp32")
    stacks = STACKS[size] if device == "cpu" else (1, 8, 64)
    kinds = ["fp32", "bf16"] if device == "cpu" else ["fp32", "tf32", "bf16"]
    for K, kind in itertools.product(stacks, kinds):
        if kind == "bf16" and device == "cpu" and (size, K) != ("paper", 1):
            continue
        stacked = [{**s, "precision": kind} for s in runs[:K]]
        name = f"(c) K = {K}" + ("" if kind == "fp32" else f", {kind}")
        variants[name] = (steps_of(method, data, split, stacked, labels[:K], device), K, kind)
    for generator, _, _ in variants.values():
        advance(generator, 2, device)
    seconds = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, (generator, K, kind) in variants.items():
            count = max(2, z.steps // K) if kind != "bf16" or device != "cpu" else 1
            seconds[name].append(advance(generator, count, device) / count / K)
    peak = matmul_rate(device)
    flops = flops_of(z)
    rows = []
    for name, (_, K, kind) in variants.items():
        took = statistics.median(seconds[name])
        row = {"size": size, "variant": name, "us a model-step": round(took * 1e6)}
        for letter, peer in (("b", "(b) in memory"), ("a", "(a) data loaders")):
            if peer in seconds:
                ratios = [p / s for p, s in zip(seconds[peer], seconds[name], strict=True)]
                row[f"times ({letter})"] = round(statistics.median(ratios), 2)
        row["share of matmul peak"] = round(flops / took / peak[kind], 2) if name.startswith("(c)") else None
        rows.append(row)
    return rows


def steps_of(method, data, split, runs, labels, device):
    """A generator that takes one step of a stack a turn, with an evaluation an epoch."""
    import torch

    from aqa_lib.training.stack import Stack

    stack = Stack(method, data, split, runs, labels, device)
    for step in itertools.count():
        torch.backends.cuda.matmul.allow_tf32 = runs[0]["precision"] == "tf32"
        stack.model.differentiate(method.losses(stack.model, stack.batch(step))["loss"])
        stack.optimiser.step()
        if step % EPOCH == EPOCH - 1:
            stack.predict(split.test)
        yield


def advance(generator, count, device):
    """Seconds of `count` turns: processor time on a CPU, wall time on a GPU that has finished."""
    clock, wait = time.process_time, lambda: None
    if device != "cpu":
        import torch

        clock, wait = time.perf_counter, torch.cuda.synchronize
    wait()
    start = clock()
    for _ in range(count):
        next(generator)
    wait()
    return clock() - start


def flops_of(z):
    """Operations of one step of one run: products only, forward and backward, first layer shared."""
    widths = [max(z.D // 2**i, 16) for i in (1, 2, 3)]
    taps = 2 * (3 * z.T - 2) * z.B  # each multiply-add counts two; the ends have two taps
    conv = taps * (2 * 2 * z.D * widths[0] + 3 * 3 * (widths[0] * widths[1] + widths[1] * widths[2]))
    encoded = z.T * widths[2]
    heads = 3 * 2 * z.B * sum(
        sets * hidden * (encoded + out)
        for sets, hidden, out in [(1, max(z.D // 4, 32), 1), (1, max(z.D // 2, 32), z.D), (3, max(z.D // 8, 16), 1)]
    )  # fmt: skip
    return conv + heads


def matmul_rate(device, n=None):
    """The machine's own ceiling: operations a second of a large matrix product, by precision."""
    import torch

    n = n or (1024 if device == "cpu" else 8192)
    rates = {}
    for kind, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        if device == "cpu" and kind != "fp32":
            rates[kind] = rates["fp32"]  # against what the processor does in fp32
            continue
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        a = torch.randn(n, n, device=device, dtype=dtype)
        turns = iter(lambda a=a: a @ a, None)
        advance(turns, 2, device)
        rates[kind] = 2 * n**3 / min(advance(turns, 1, device) for _ in range(5))
    return rates


def projection(rows):
    """Minutes for 2,000 runs of 1,000 epochs of 15 steps at paper size, from the largest stack."""
    paper = [r for r in rows if r["size"] == "paper" and r["variant"].startswith("(c) K = 64")]
    return [
        f"2,000 runs of 1,000 epochs (15 steps each), computed from {r['variant'][4:]}: "
        f"{2000 * 1000 * 15 * r['us a model-step'] / 6e7:.0f} minutes."
        for r in paper
    ]


# ---- memory, whole grids


def memory():
    """Megabytes that one more run adds to a stack at paper size: peak of K = 5 less that of K = 1, by four."""
    code = (
        "import resource, sys; from aqa_lib.study import bench; bench.a_few_steps(int(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    unit = 1e6 if sys.platform == "darwin" else 1024.0  # bytes there, kilobytes here
    peak = {}
    for K in (1, 5):
        done = subprocess.run([sys.executable, "-c", code, str(K)], capture_output=True, text=True, check=True)
        peak[K] = float(done.stdout.split()[-1]) / unit
    return (peak[5] - peak[1]) / 4


def a_few_steps(K):
    """Three steps of a stack of K at paper size."""
    from aqa_lib.data.splits import official
    from aqa_lib.methods import get
    from aqa_lib.training.stack import Labels

    z, method = SIZES["paper"], get("s4aqa")
    data = noise(z)
    split = official(data)
    runs = [method.resolve({"seed": i, "batch": z.B, "fraction": 0.2}) for i in range(K)]
    generator = steps_of(method, data, split, runs, [Labels(data, split, s) for s in runs], "cpu")
    advance(generator, 3, "cpu")


def end_to_end(measured=3):
    """A 7 x 7 grid of 3 seeds at tiny size: one papermill run for all, against one papermill run each."""
    combinations = len(GRID["lambda1"]) * len(GRID["lambda2"]) * GRID_SEEDS
    with tempfile.TemporaryDirectory() as folder:
        lone = [notebook_seconds(folder, f"lone{i}", LONE, seed=i) for i in range(measured)]
        whole = notebook_seconds(folder, "whole", WHOLE)
    one = statistics.median(lone)
    return {"runs": combinations, "steps": GRID_STEPS, "measured": measured, "one": one, "one by one": one * combinations,
            "stacked": whole, "times": one * combinations / whole}  # fmt: skip


def sentences(g):
    return [
        f"A 7 x 7 grid of 3 seeds ({g['runs']} runs of {g['steps']} steps, tiny), processor time end to end: "
        f"one papermill run each takes {g['one']:.1f} s (median of {g['measured']} measured), so "
        f"{g['one by one']:.0f} s for all (extrapolated); one papermill run that trains them as stacks takes "
        f"{g['stacked']:.1f} s (measured, ledger included): {g['times']:.1f} times."
    ]


LONE = """
import torch, scipy.stats
from aqa_lib.study import bench
torch.set_num_threads(1)
bench.one_by_hand(seed)
"""
WHOLE = """
import torch, scipy.stats
from aqa_lib.study import bench
bench.whole_grid(folder)
"""


def notebook_seconds(folder, name, source, **parameters):
    """Processor seconds of one cold papermill run of a notebook, its kernel included."""
    import nbformat

    cell = nbformat.v4.new_code_cell("seed = 0\nfolder = ''", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(source.strip())])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = Path(folder, f"{name}.ipynb")
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "papermill", str(path), str(path.with_suffix(".out.ipynb")), "--no-progress-bar"]
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
    z, labels = SIZES["tiny"], None
    from aqa_lib.data.splits import official
    from aqa_lib.methods import get
    from aqa_lib.training.stack import Labels

    data = noise(z)
    split = official(data)
    labels = Labels(data, split, get("s4aqa").resolve({"fraction": 0.2}))
    x = data.features
    loop = peers().train_with_loader(
        x[labels.train], data.scores[labels.train] * labels.scale, x[labels.unlabelled], x[split.test],
        steps=GRID_STEPS, batch=z.B, seed=seed, epoch=EPOCH)  # fmt: skip
    for _ in loop:
        pass


def whole_grid(folder):
    """All runs of the grid through the study: resolved, claimed, stacked, written to a ledger."""
    os.environ["AQA_OUTPUTS"] = folder
    from aqa_lib.study.study import Study, grid

    z = SIZES["tiny"]
    noise(z).save(Path(folder, "noise.safetensors"))
    seeds = range(GRID_SEEDS)
    runs = grid(("seed", "draw"), seed=seeds, draw=seeds, **GRID, batch=[z.B], fraction=[0.2], steps=[GRID_STEPS],
                every=[EPOCH])  # fmt: skip
    table = Study("grid").train("s4aqa", "file", runs=runs, root=Path(folder, "noise.safetensors"), device="cpu")
    assert (table["state"] == "complete").all()


# ---- precision


def precision(args):
    """Rank correlation with bf16 products against fp32, the same seeds and draws, on the surrogate."""
    from aqa_lib.data import load
    from aqa_lib.data.splits import official
    from aqa_lib.evaluation import paired_interval
    from aqa_lib.training import train

    data = load("surrogate", size="small")
    runs = [{"seed": i, "draw": i, "fraction": 0.2, "steps": args.steps} for i in range(args.seeds)]
    rho = {}
    for kind in ("fp32", "bf16"):
        results = train("s4aqa", data, official(data), [{**r, "precision": kind} for r in runs], device=args.device)
        rho[kind] = [r.metrics["spearman"] for r in results]
    difference = paired_interval(rho["bf16"], rho["fp32"])
    lines = [
        f"Rank correlation of S4AQA with bf16 products less fp32, {args.seeds} paired seeds, surrogate 'small', "
        f"{args.steps} steps, {where(args.device)}: {difference.mean:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}] (95 %), p = {difference.p:.2f} (Wilcoxon); "
        f"fp32 mean {np.mean(rho['fp32']):.3f}."
    ]
    return SimpleNamespace(lines=lines, numbers={**rho, "difference": difference._asdict()})


# ---- shared


def noise(z):
    """Features and scores of one size; for speed only, they mean nothing."""
    from aqa_lib.data import AssessmentSet

    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(z.N, z.T, z.D)), 0).astype(np.float32) * 0.3
    table = pd.DataFrame({"split": ["train"] * (z.N - z.N // 4) + ["test"] * (z.N // 4)})
    return AssessmentSet(name="noise", features=x, scores=rng.uniform(0, 100, z.N), ids=np.arange(z.N).astype(str),
                         table=table)  # fmt: skip


def peers():
    """The ordinary modules of tests/oracle.py."""
    path = root() / "tests" / "oracle.py"
    if not path.exists():
        raise UserError(f"aqa bench compares with {path}, which is not there: run it in a checkout of the study")
    spec = importlib.util.spec_from_file_location("oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def where(device):
    """What it was measured on, in words."""
    import torch

    if device != "cpu":
        return f"on {torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    from aqa_lib.models.layers import fast_bf16

    fast = "with" if fast_bf16(torch.device("cpu")) else "without"
    return f"on one thread of a processor with {torch.backends.cpu.get_cpu_capability()}, {fast} bf16 products, torch {torch.__version__}"


def markdown(table):
    """A table as GitHub shows it."""
    cells = [[("" if pd.isna(v) else str(v)) for v in row] for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
