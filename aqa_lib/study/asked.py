"""What is asked of Study.train, checked before anything is read or trained; `grid` makes its list of runs."""

import os
from collections.abc import Iterable
from itertools import product

from aqa_lib.data import splits
from aqa_lib.errors import UserError, choose, shown
from aqa_lib.settings import Setting, resolve

SECONDS = 180.0  # between two checkpoints of a stack
OPTIONS = {
    "at_once": Setting(None, "how many runs a stack may hold; None: by the memory at hand", 1, 100_000, kind=int),
    "weights": Setting(False, "whether weights are kept"),
    "workers": Setting(1, "processes that share the stacks", 1, 256),
    "retry": Setting(False, "whether a run that failed is trained again"),
    "checkpoint": Setting(SECONDS, "seconds between checkpoints of a stack; 0: none", low=0),
}


def grid(together=(), **settings):
    """Every combination of the settings, as a list of runs: grid(seed=range(3), lambda1=[1.0, 40.0]).

    Names in `together` (each a name of `settings`) walk side by side: grid(("seed", "draw"), seed=range(3),
    draw=range(3)) gives three runs, not nine.
    """
    settings = {name: values_of(name, values) for name, values in settings.items()}
    if isinstance(together, str) or not isinstance(together, Iterable):
        raise UserError(
            f"grid: what walks together are names of settings such as ('seed', 'draw'), not {shown(together)}"
        )
    for name in (together := list(together)):
        choose("setting of grid that walks together:", name, settings)
    if len({len(settings[name]) for name in together}) > 1:
        raise UserError(f"grid: {' and '.join(together)} walk side by side, so they need equally many values")
    walks = [dict(zip(together, values, strict=True)) for values in zip(*(settings[n] for n in together), strict=True)]
    rest = {name: values for name, values in settings.items() if name not in together}
    combinations = [dict(zip(rest, values, strict=True)) for values in product(*rest.values())]
    return [{**combination, **walk} for combination in combinations for walk in (walks or [{}])]


def values_of(name, values):
    """The values of one setting of a grid as a list."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise UserError(f"grid: {name} takes a list of values such as [{shown(values)}], but got {shown(values)}")
    if not (values := list(values)):
        raise UserError(f"grid: {name} has no values, so no run would be asked for: give at least one")
    return values


def asked_for(data, split, runs):
    """(settings of the runs, a data set a run, a split a run), plain, of what Study.train was given."""
    if isinstance(runs, (str, bytes, dict)) or not isinstance(runs, Iterable):
        raise UserError(
            f"Study.train takes a list of runs such as [{{'seed': 0}}, {{'seed': 1}}], but got {shown(runs)}"
        )
    runs = list(runs)
    if not runs:
        raise UserError("Study.train: the list of runs is empty, so there is nothing to train: [{}] is one run")
    for run in runs:
        if not isinstance(run, dict):
            raise UserError(
                f"Study.train: a run is a mapping of its settings such as {{'seed': 0}}, but got {shown(run)}"
            )
    worlds = [named(world) for world in alike(data, len(runs))]
    parts = alike(split, len(runs))
    for part in parts:
        splits.get(part)
    return runs, worlds, parts


def check_options(root, device, **options):
    """A UserError where one of the options of Study.train cannot be."""
    if root is not None and not isinstance(root, (str, os.PathLike)):
        raise UserError(f"Study.train: root takes the path of the data set's folder, but got {shown(root)}")
    resolve("Study.train", OPTIONS, options, "argument")
    check_device(device)


def alike(value, n):
    """A list with one a run, of one for all or of such a list."""
    if not isinstance(value, list):
        return [value] * n
    if len(value) != n:
        raise UserError(f"Study.train: {len(value)} data sets or splits for {n} runs; give one, or one a run")
    return value


def named(data):
    """A data set as {"name": ..., options}, of its name alone or of that."""
    if isinstance(data, str):
        return {"name": data}
    if not (isinstance(data, dict) and isinstance(data.get("name"), str)):
        raise UserError(f"a data set is given as {{'name': 'surrogate', ...}} or by its name, but got {shown(data)}")
    return dict(data)


def check_device(device):
    """A UserError where torch does not know the device, or the machine does not have it."""
    if device is not None and not isinstance(device, str) and type(device).__name__ != "device":  # torch's
        raise UserError(f"device {shown(device)} is no word: take 'cpu', or 'cuda' with a GPU")
    wanted = device or os.environ.get("AQA_DEVICE")
    if not wanted or wanted == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise UserError(
            f"device {shown(wanted)} cannot be used here ({why}): take 'cpu', or 'cuda' with a GPU"
        ) from None
