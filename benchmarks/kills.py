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

import time

import pandas as pd

from benchmarks import watch
from benchmarks.killed_study import NOTEBOOKS, House, found
from benchmarks.killer import Killer
from benchmarks.sizes import markdown

KILLED = {
    "run": "a process that trains",
    "worker": "a notebook worker",
    "kernel": "a Jupyter kernel",
    "study": "`aqa study`",
}


def work(lives):
    """(model-steps trained, losses, faults) of one study's lives, in order of their begin.

    A loss is a run that goes on, or begins again, at a step that an earlier life had passed: its steps, how many
    seconds they had taken since the last state that was saved, and when its life was ended.
    """
    trained, losses, faults, before, done = 0, [], [], {}, {}
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
        done = life["done"] | done
    return trained, losses, faults


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
    """The whole measurement: its kills as a table, its counts, its seconds, and all faults.

    `notebooks` and `steps`, by which their steps are multiplied, make it smaller.
    """
    house, began = House(folder, notebooks, steps), time.monotonic()
    if house.start("whole").wait():
        raise RuntimeError(house.said("whole"))
    undisturbed = time.monotonic() - began
    truth = found(house.place("whole"), house.names)
    killer = Killer(house, n, seed, truth).run()
    rows = [kill | {"steps": 0, "seconds": 0.0, "losses": 0} for kill in killer.kills]
    trained, runs = 0, [value for (kind, _), value in truth.items() if kind == "run"]
    for name in killer.names:
        mine = [row for row in rows if row["study"] == name]
        steps_of, losses, faults = work(watch.read(house.folder / name / "log"))
        trained, killer.faults = trained + steps_of, killer.faults + faults
        for loss in losses:  # a process ends some moments after the one whose kill ended it
            row = min(mine, key=lambda row: abs(row["time"] - loss["time"]))
            row["steps"], row["losses"] = row["steps"] + loss["steps"], row["losses"] + 1
            row["seconds"] = max(row["seconds"], loss["seconds"])
    return {
        "kills": pd.DataFrame(rows),
        "starts": killer.starts,
        "studies": len(killer.names),
        "runs": len(runs),
        "trained": trained,
        "needed": len(killer.names) * sum(int(metrics["steps_taken"]) for metrics, *_ in runs),
        "undisturbed": undisturbed,
        "took": time.monotonic() - began,
        "faults": killer.faults,
    }
