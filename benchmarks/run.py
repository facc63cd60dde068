"""`aqa bench`: what a stack of runs saves, as ratios measured in one process, and what bfloat16 costs.

    aqa bench grid        (a) data loaders, (b) tensors in memory, (c) the stack with K runs; whole grids
    aqa bench precision   rank correlation of fp32 against bf16 products over seeds, paired
    aqa bench methods     a step of every method: as one would write it, alone, and in a stack of 32
    aqa bench folds       folds and tasks in one stack, against a call a fold and a call a run
    aqa bench kills       kill -9 of random processes of a study: what is lost, and whether its tables differ

The variants take turns, round after round, and what counts is processor time on one thread: the median over
rounds of the ratio within a round says what a busy machine's clock does not. On a GPU the clock is the wall's,
after the device has finished. (a) and (b) are the ordinary modules of benchmarks/plain/oracle.py, and those of
the other methods lie beside it.
"""

import json
import tempfile
from types import SimpleNamespace

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError
from aqa_lib.ledger.files import write
from aqa_lib.paths import outputs, root, writable
from aqa_lib.report.readme import put
from aqa_lib.study.asked import check_device
from benchmarks.sizes import SIZES, markdown, where


def run(args):
    if args.rounds < 1 or args.seeds < 2:
        raise UserError("aqa bench: --rounds takes at least 1 and --seeds at least 2")
    check_device(args.device)
    folder = writable(outputs("bench"))
    report = {"grid": grid, "precision": precision, "methods": all_methods, "folds": folds, "kills": killed}[args.what](
        args
    )
    text = "\n".join(report.lines)
    print(text)
    write(folder / f"{args.what}.json", json.dumps(report.numbers, indent=1))
    write(folder / f"{args.what}.md", text + "\n")
    if args.readme:
        put(root() / "README.md", f"bench-{args.what}", f"`{command(args)}`\n\n{text}")


def command(args):
    """The call that measures this again."""
    words = ["aqa bench", args.what]
    if args.what == "grid":
        words += [] if args.sizes == list(SIZES) else ["--sizes", *args.sizes]
        words += [] if args.rounds == 7 else [f"--rounds {args.rounds}"]
        words += ["--no-end-to-end"] * args.no_end_to_end
    elif args.what in ("methods", "folds"):
        words += [] if not args.methods else ["--methods", *args.methods]
        words += [] if args.rounds == 7 else [f"--rounds {args.rounds}"]
    elif args.what == "kills":
        words += [f"--kills {args.kills} --seed {args.seed}"]
    else:
        words += [] if (args.seeds, args.steps) == (10, 600) else [f"--seeds {args.seeds} --steps {args.steps}"]
    return " ".join(words + ([] if args.device == "cpu" else [f"--device {args.device}"]))


def grid(args):
    """The table of one step, memory, and the whole grid end to end."""
    import torch

    from benchmarks.step import measure
    from benchmarks.whole import end_to_end, memory, sentences

    torch.set_num_threads(1)
    rows = []
    for size in args.sizes:
        rows += measure(size, args)
    table = pd.DataFrame(rows)
    lines = [
        f"One step of S4AQA, {where(args.device)}.",
        f"Medians of {args.rounds} rounds.",
        "",
        markdown(table),
    ]
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


def all_methods(args):
    """The table of one step of every method."""
    import torch

    from benchmarks.methods import FRACTION, SIZE, table

    torch.set_num_threads(1)
    rows = table(args)
    lines = [
        f"One step (32 labelled and 32 unlabelled videos) on the surrogate '{SIZE}', {FRACTION:.0%} labels, "
        f"{where(args.device)}.",
        f"Medians of {args.rounds} rounds; times: against the method as one would write it for one run, in ordinary "
        "modules (benchmarks/plain).",
        "",
        markdown(pd.DataFrame(rows)),
    ]
    return SimpleNamespace(lines=lines, numbers={"methods": rows, "device": where(args.device)})


def folds(args):
    """The table of folds and tasks in one stack."""
    import torch

    from benchmarks.folds import DRAWS, STEPS, table

    torch.set_num_threads(1)
    rows = table(args)
    lines = [
        f"Three tasks of four folds with the shapes of JIGSAWS, {DRAWS} draws each, {STEPS} steps, "
        f"{where(args.device)}; medians of {args.rounds} rounds. times: the processor time of one call for all.",
        "",
        markdown(pd.DataFrame(rows)),
    ]
    return SimpleNamespace(lines=lines, numbers={"folds": rows, "device": where(args.device)})


def killed(args):
    """What kills of each kind cost, and every fault that they left; a UserError where there is one."""
    from benchmarks.kills import kills, summary

    with tempfile.TemporaryDirectory() as folder:
        report = kills(folder, args.kills, args.seed)
    table = report.pop("kills")
    lines = summary(table, report)
    if report["faults"]:
        raise UserError("\n".join(["aqa bench kills: these differ from the undisturbed study:", *lines]))
    return SimpleNamespace(lines=lines, numbers=report | {"kills": table.to_dict("records")})


def projection(rows):
    """Minutes for 2,000 runs of 1,000 epochs of 15 steps at paper size, from the largest stack."""
    paper = [r for r in rows if r["size"] == "paper" and r["variant"].startswith("(c) K = 64")]
    return [
        f"2,000 runs of 1,000 epochs (15 steps each), computed from {r['variant'][4:]}: "
        f"{2000 * 1000 * 15 * r['us a model-step'] / 6e7:.0f} minutes."
        for r in paper
    ]


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
