"""What a comparison will take, measured before it begins: a few steps of each kind of stack that it will train.

    wanted = {"s4aqa": (worlds, splits, runs)}        # what Study.train is going to be asked for, a method
    reckoned(study, wanted, workers=2)                # {"s4aqa": 312.0} seconds
    announce(study, wanted)                           # "about 5.2 minutes on one process: s4aqa 5.2"

A kind is what trains alike: the method, the settings that a stack shares, the sets of videos that its runs encode, the
shape of the data. Of each kind one stack is built as it will be trained and stepped, without a ledger. Then

    seconds = sum over runs of (steps * seconds of a step + evaluations * seconds of an evaluation) / processes,

where both are shares of one run in its stack. A closed-form method is fitted once. Runs that end early take less.
"""

import gc
import os
import sys
import time

from aqa_lib import methods, tasks
from aqa_lib.data import splits
from aqa_lib.ledger.identity import run_id
from aqa_lib.study.study import default_device, loaded, located

MUCH = 50_000  # model-steps: what takes less is not announced, and nothing of it is measured
STEPS, SECONDS = 20, 0.3  # of a measurement, whichever is reached first
NAMED = 6  # methods that are told one by one


def announce(study, wanted, root=None, *, workers=1, device=None, at_once=None, retry=False, **_):
    """Say how long training will take where there is much to train; takes the options of Study.train."""
    if sum(steps(name, runs) for name, (_, _, runs) in wanted.items()) <= MUCH:
        return
    left = {name: still_open(study, name, *those, root=root, retry=retry) for name, those in wanted.items()}
    if sum(steps(name, [run for *_, run in todo]) for name, todo in left.items()) > MUCH:
        say(sentence(_reckoned(left, root, workers, device, at_once, time.perf_counter), workers))


def reckoned(study, wanted, root=None, *, workers=1, device=None, at_once=None, retry=False, clock=time.perf_counter):
    """{method: seconds} of the runs that are still to be trained; nothing is recorded."""
    left = {name: still_open(study, name, *those, root=root, retry=retry) for name, those in wanted.items()}
    return _reckoned(left, root, workers, device, at_once, clock)


def _reckoned(left, root, workers, device, at_once, clock):
    device = device or default_device()
    return {
        name: _method(methods.get(name), todo, located(root), min(workers, len(todo)), device, at_once, clock)
        for name, todo in left.items()
        if todo
    }


def steps(name, runs):
    """Model-steps of runs of a method; a closed-form one takes none."""
    method = methods.get(name)
    return sum(method.resolve(run)["steps"] for run in runs) if method.gradient else 0


def still_open(study, name, worlds, parts, runs, *, root=None, retry=False):
    """[(data set, split, settings)] of the runs without an end in the ledger, each once."""
    specs = study.specs(name, worlds, parts, runs, located(root))
    todo = {run_id(spec): (world, spec["split"], spec["settings"]) for world, spec in zip(worlds, specs, strict=True)}
    return [those for id, those in todo.items() if not study.ended(id, retry)]


def _method(method, todo, root, processes, device, at_once, clock):
    """Seconds of all runs of a method, from one process's share of them."""
    from aqa_lib.training import train
    from aqa_lib.training.packing import stacks
    from aqa_lib.training.train import machine

    sets, parts, runs = [], [], [settings for *_, settings in todo[::processes]]
    for world, split, _ in todo[::processes]:
        sets.append(loaded(world["name"], root, **{k: v for k, v in world.items() if k != "name"}))
        parts.append(splits.get(split)(sets[-1]))
    if not method.gradient:
        began = clock()
        train(method, sets[0], parts[0], runs[:1])
        return (clock() - began) * len(todo) / processes
    known, seconds = {}, 0.0
    with machine(device):
        for places in stacks(method, sets, runs, device, at_once):
            first = runs[places[0]]
            kind = method.shape(first), method.uses(first), sets[places[0]].features.shape[1:]
            if kind not in known:
                known[kind] = measured(
                    method, *([these[i] for i in places] for these in (sets, parts, runs)), device, clock
                )
            step, evaluation = known[kind]
            seconds += sum(runs[i]["steps"] * step + runs[i]["steps"] // runs[i]["every"] * evaluation for i in places)
    return seconds * len(todo) / len(runs) / processes


def measured(method, sets, parts, runs, device, clock):
    """(seconds of a step, seconds of an evaluation) of one run of a stack."""
    import torch

    from aqa_lib.training.stack import Stack

    task = tasks.get(method.task)
    labels = [task.labels(*row) for row in zip(sets, parts, runs, strict=True)]
    stack, K = Stack(method, sets, parts, runs, labels, device), len(runs)
    tested = [task.tested(*row) for row in zip(sets, parts, strict=True)]
    most = min(STEPS, *(run["steps"] for run in runs))
    advance(stack, 0)  # the first step draws the orders of many, and finds its memory
    began, n = now(stack, clock), 0
    while n < most and (n == 0 or now(stack, clock) - began < SECONDS):
        n += 1
        advance(stack, n)
    stepped = now(stack, clock)
    stack.predict(tested)
    predicted = now(stack, clock)
    if stack.device.type == "cuda":  # how large the stacks of the training are goes by the memory that is free
        del stack
        gc.collect()
        torch.cuda.empty_cache()
    return (stepped - began) / n / K, (predicted - stepped) / K


def advance(stack, step):
    """One step as the training loop takes it."""
    stack.method.before(stack, step)
    stack.model.differentiate(stack.method.losses(stack.model, stack.batch(step))["loss"])
    stack.optimiser.step()
    stack.method.after(stack, step + 1)


def now(stack, clock):
    """The time when all that was asked of the device is done."""
    if stack.device.type == "cuda":
        import torch

        torch.cuda.synchronize(stack.device)
    return clock()


def sentence(seconds, workers=1):
    """'about 12 minutes on one process: trs 5.1, vat 2.0, 4 others 0.3'."""
    minutes = sorted(((took / 60, name) for name, took in seconds.items()), reverse=True)
    total, rest = sum(took for took, _ in minutes), minutes[NAMED:]
    parts = [f"{name} {took:.1f}" for took, name in minutes[:NAMED]]
    parts += [f"{len(rest)} other{'s' * (len(rest) > 1)} {sum(took for took, _ in rest):.1f}"] if rest else []
    on = "one process" if workers == 1 else f"{workers} processes"
    return f"about {f'{total:.0f}' if total >= 10 else f'{total:.1f}'} minutes on {on}: {', '.join(parts)}"


def say(text):
    """Tell it where the runs are asked for; in a study also where the runner looks while the notebook runs."""
    print(text, file=sys.stderr)
    stem = os.environ.get("AQA_NOTEBOOK_OUT")
    if stem:
        with open(f"{stem}.said", "a") as file:
            file.write(f"{text}\n")
