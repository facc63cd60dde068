"""Faults of what the library is called with: every argument of every public function, every field of a data set.

Functions are found in `aqa_lib`, the lists `__all__` of rooms, `splits`, and the methods of Study and Ledger; a valid
example of an argument is found by its name (EXAMPLES), and one that is not there is its default, or some numbers.
"""

import dataclasses
import functools
import inspect
import shutil

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import aqa_lib
from aqa_lib import data as data_sets
from aqa_lib import evaluation, training
from aqa_lib.data import splits
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.ledger.ledger import Ledger
from aqa_lib.methods import get
from aqa_lib.paths import outputs
from aqa_lib.study.study import Study
from benchmarks.fault_values import objects

WORLD = {"name": "surrogate", "n_train": 40, "n_test": 12, "D": 4, "T": 3}
FILES = ("path", "folder", "root")  # arguments that fault_files.py damages; here they stay as they are


def functions():
    """[(group, name, function)] of all that is public."""
    found = [("aqa_lib", name, getattr(aqa_lib, name)) for name in aqa_lib.FACE if name != "Study"]
    for room in (evaluation, training, data_sets):
        for name in room.__all__:
            part = getattr(room, name)
            if inspect.ismodule(part):
                found += [(short(room), f"{name}.{n}", f) for n, f in of_module(part)]
            elif callable(part) and part is not AssessmentSet:
                found += [(short(room), name, part)]
    found += [("splits", name, function) for name, function in of_module(splits)]
    for made in (Study, Ledger):
        names = [name for name, f in vars(made).items() if name[0] != "_" and inspect.isfunction(f)]
        found += [(made.__name__, name, functools.partial(on_copy, made, name)) for name in names]
    return found


def short(room):
    return room.__name__.removeprefix("aqa_lib.")


def of_module(module):
    """Its own public functions."""
    own = [(n, f) for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
    return [(name, function) for name, function in own if name[0] != "_"]


def on_copy(made, name, /, **given):
    """Call a method of a study or ledger on a fresh copy of the example's outputs."""
    shutil.rmtree(outputs("copy"), ignore_errors=True)
    shutil.copytree(outputs("try"), outputs("copy"))
    return getattr(Study("copy") if made is Study else Ledger(outputs("copy")), name)(**given)


def signature(function):
    """Its arguments, without self."""
    if isinstance(function, functools.partial):
        made, name = function.args
        parts = list(inspect.signature(getattr(made, name)).parameters.values())[1:]
    else:
        parts = list(inspect.signature(function).parameters.values())
    return [part for part in parts if part.kind is not part.VAR_POSITIONAL]


def examples():
    """({name: a valid value of arguments of that name}, {function: {argument: what is valid there alone}})."""
    random, n = np.random.default_rng(0), 12
    world = data_sets.load(**WORLD)
    runs = Study("try").train("ridge", WORLD, runs=[{"seed": 0}, {"seed": 1}], weights=True)
    one, two = runs["id"]
    spec, record = Study("try").spec("ridge", WORLD, "official", {"seed": 0}), Ledger(outputs("try")).read(one)
    x, y = random.normal(size=(2, n))
    curve = pd.DataFrame({"step": [5, 10, 15], "spearman": [0.1, 0.5, 0.4], "validation_mse": [3.0, 1.0, 2.0]})
    predictions = pd.DataFrame({"id": list("abcd"), "score": [1.0, 2, 3, 4]}).assign(step_15=[1.0, 3, 2, 4])
    actions = pd.DataFrame({"video": ["a", "a", "b"], "label": "dive", "start": [0.0, 5, 1], "end": [2.0, 7, 3]})
    quantiles = np.sort(random.normal(size=(n, len(evaluation.calibration.LEVELS))), 1)
    part, table = splits.official(world), pd.DataFrame({"method": ["ridge", "svr"], "spearman": [0.5, 0.4]})
    known = dict(
        predicted=x, true=y, a=x, b=y, mean=x, variance=np.abs(y) + 0.1, spread=np.abs(x), low=x - 1, high=x + 1,
        quantiles=quantiles, levels=np.array(evaluation.calibration.LEVELS), level=0.9, error=np.abs(x), values=x,
        uncertainty=np.abs(y), shares=[0.5, 1.0], rhos=[0.1, 0.5, 0.9], ps=[0.01, 0.5], axis=0, minus=x + y, items=0,
        pairs=np.array([[0, 1], [2, 3]]), groups=np.array(list("aabbccddeeff")), curve=curve, curves=[curve, curve],
        predictions=predictions, selected=evaluation.selection.last(curve), measure="spearman", sd=1.0, n=12,
        power=0.8, alpha=0.05, difference=0.5, freedom=11, seed=0, resamples=50, method="ridge", data=world,
        ground_truth=actions, thresholds=[0.5], start=np.array([0.0]), end=np.array([2.0]), limits=(-5.0, 5.0),
        other_start=np.array([1.0]), other_end=np.array([3.0]), found=np.array([0, 0, 1, 1]), name="surrogate",
        options={"size": "quick"}, split=part, fraction=0.5, draw=0, how="stratified", drawn=part.train, share=0.25,
        kind="fold:two", runs=[{"seed": 0}], device="cpu", at_once=2, weights=True, workers=1, settings={"seed": 0},
        retry=False, checkpoint=0.0, record=record, id=one, ids=[one, two], prefix=one[:6], spec=spec, specs=[spec],
        states=("complete",), text="It is one.", figure=go.Figure(), table=table, surrogate=True, numbers=table,
        tested=3, together=("seed",), number=0, count=2, whole=part, compile=False, names=["r"], rule="last", run={},
    )  # fmt: skip
    labels, one_set = np.array([0, 0, 1, 1]), actions.assign(score=[0.5, 0.2, 0.9])
    folds = dataclasses.replace(world, table=world.table.assign(fold_two=np.arange(len(world)) % 2 + 1))
    ranked = dataclasses.replace(world, pairs=np.array([[0, 1], [2, 3], [40, 41]]))
    own = {
        "grid": {"settings": {"seed": [0, 1], "lr": [1e-3, 1e-2]}},
        "load": {"options": {k: v for k, v in WORLD.items() if k != "name"}},
        "mean_average_precision": {"predictions": one_set}, "tie_range": {"predictions": one_set, "options": {}},
        "bounds": {"measure": "spearman"}, "rows_differ": {"values": np.stack([x, y])},
        "spearman_rows": {"predicted": np.stack([x, y])},
        "two_level_bootstrap": {"method": "bca", "predicted": np.stack([x, y]),
        "minus": np.stack([y, x]), "groups": None}, "calibration.quantile_coverage": {"quantiles": quantiles},
        "calibration.discrete_crps": {"values": quantiles, "probabilities": None}, "crossed": {"resampled": None},
        "listed": {"data": folds, "name": "fold:two/1"}, "every": {"data": folds}, "get": {"name": "official"},
        "pairs": {"data": ranked}, "fingerprint": {"features": None},
        "tests_new_groups": {}, "restore": {}, 
        "predict": {"runs": [one]}, "train": {"runs": [{"seed": 5}]}, "Trained": {"method": get("ridge")},
    }  # fmt: skip
    own |= {f"clustering.{name}": {"true": labels} for name, _ in of_module(evaluation.clustering)}
    for name in ("spec", "specs", "train", "predict"):
        own[f"Study.{name}"] = {"data": WORLD, "split": "official", "runs": [one if name == "predict" else {"seed": 0}]}
    return known, own


def example(known, own, name, function):
    """{argument: a valid value} of a function."""
    found = {}
    for part in signature(function):
        mine = own.get(name) or own.get(name.split(".")[-1], {})
        if part.name in mine:
            found[part.name] = mine[part.name]
        elif part.name in known and not (part.name in FILES or part.kind is part.VAR_KEYWORD):
            found[part.name] = known[part.name]
        elif part.default is not part.empty:
            found[part.name] = part.default
        elif part.kind is not part.VAR_KEYWORD:
            found[part.name] = np.arange(6.0)
    return found


def call(function, given):
    """The function with its arguments, those that are passed on by name among them."""
    loose = [part.name for part in signature(function) if part.kind is part.VAR_KEYWORD]
    named = {name: value for name, value in given.items() if name not in loose}
    first = [part.name for part in signature(function) if part.kind is part.POSITIONAL_ONLY]
    ahead = [named.pop(name) for name in first]
    result = function(*ahead, **named, **(given[loose[0]] if loose and loose[0] in given else {}))
    if inspect.isgenerator(result):
        list(result)


def drawn(value, random, count=99):
    """One fault of each kind, of at most `count` kinds."""
    found = objects(value)
    for kind in sorted(random.permutation(sorted({kind for kind, *_ in found}))[:count]):
        alike = [fault for fault in found if fault[0] == kind]
        general = [alike[i] for i in random.permutation(len(alike))[:2]]  # of two of a kind, both
        yield from general


def cases(folder, seed):
    """(group, name, kind of fault, whether it must be refused, act); a valid one first of each function."""
    random, (known, own) = np.random.default_rng(seed), examples()
    for group, name, function in functions():
        full = name if group != "Study" else f"Study.{name}"
        given = example(known, own, full, function)
        yield "calls", f"{group}: {name}", "valid", False, functools.partial(call, function, given)
        for argument, value in given.items():
            if argument in FILES:
                continue
            loose = isinstance(value, dict) and argument in ("settings", "options") and name in ("grid", "load")
            for part, good in value.items() if loose else [(None, value)]:
                for kind, words, bad in drawn(good, random):
                    now = given | {argument: {**value, part: bad} if loose else bad}
                    title = f"{group}: {name}({part or argument} = {words})"
                    yield "calls", title, kind, False, functools.partial(call, function, now)
    yield from of_options(random, known)
    yield from of_set(random, folder)


def of_options(random, known):
    """Every option of every reader; a data set that lies elsewhere is refused before or after."""
    for name in data_sets.names():
        for option, setting in data_sets.reader(name).OPTIONS.items():
            for kind, words, bad in drawn(setting.default, random, 5):
                act = functools.partial(data_sets.load, name, **{option: bad})
                yield "options", f"load({name!r}, {option} = {words})", kind, False, act


def a_set():
    """A data set with every field filled."""
    world = data_sets.load(**WORLD)
    n, t = world.features.shape[:2]
    fields = {field.name: getattr(world, field.name) for field in dataclasses.fields(world)}
    seconds = np.stack([np.arange(t), np.arange(t) + 1.0], 1)[None].repeat(n, 0)
    actions = pd.DataFrame({"video": world.ids[:2], "label": "dive", "start": 0.0, "end": 1.0})
    return fields | {"lengths": np.full(n, t), "pairs": np.array([[0, 1], [2, 3]]), "seconds": seconds,
                     "actions": actions, "measure": "spearman", "views": {"flow": world.features}}  # fmt: skip


def used(folder, given):
    """Make a set and do with it what a study does, up to the training."""
    data = AssessmentSet(**given)
    path = data.save(folder / "set.safetensors")
    data = AssessmentSet.read(path)
    part = splits.official(data)
    splits.leak_free(data)
    splits.label_draw(data, 0.5, 0)
    data.view("flow")
    training.train("ridge", data, part, [{}])


def of_set(random, folder):
    """Every field of a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = a_set()
    yield "fields", "a data set", "valid", False, functools.partial(used, folder, fields)
    for field, value in fields.items():
        for kind, words, bad in drawn(value, random):
            act = functools.partial(used, folder, fields | {field: bad})
            yield "fields", f"{field} = {words}", kind, False, act
