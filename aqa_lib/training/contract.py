"""What every method must keep, as checks that anybody's file can be put to: `aqa check-method NAME-or-FILE`.

Each check is a function of a method's name, or of the path of its file, and raises an AssertionError or a UserError
whose one sentence says what is wrong and what to do. The docstring of a check says what is right.

    for words, complaint in findings("my_method.py"): print(words, complaint or "ok")
"""

import ast
import dataclasses
import json
import tempfile
import traceback
import warnings

import numpy as np

from aqa_lib import methods, tasks
from aqa_lib.errors import UserError
from aqa_lib.training.checkpoint import Checkpoints, Writer
from aqa_lib.training.restore import trained
from aqa_lib.training.train import train

LATE = 7  # the step at which a training is broken off
SHORT = {"steps": 12, "every": 4, "batch": 16, "lr": 4e-3}
WEIGHTS, SCORES = 2e-5, (1e-3, 1e-2)  # how far a run of a stack may be from the run alone: in weights; predictions


def findings(which):
    """Yield (what a check asks, what is wrong or ""), one check after another."""
    file = methods.path(which)
    for check in CHECKS:
        yield check.__doc__.splitlines()[0], complaint(check, file)


def complaint(check, file):
    """What a check finds wrong with a method's file, in a sentence; "" where nothing is."""
    try:
        check(file)
    except (AssertionError, UserError) as error:
        return str(error)
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f" in line {frames[-1].lineno} ({frames[-1].line})" if frames else ""
        return f"{type(error).__name__}: {error}{where}"
    return ""


def says_what_it_is(which):
    """its file opens with a docstring, and every setting says what it does"""
    file = methods.path(which)
    assert ast.get_docstring(ast.parse(file.read_text())), (
        "the file opens without a docstring: write the method's source and its equation into its first lines"
    )
    for name, setting in methods.fresh(which).settings().items():
        assert setting.help.strip(), f"setting {name} has no help: say what it does, Setting(default, 'what it does')"


def learns(which):
    """it learns an easy world, and predicts what it has learnt"""
    method = methods.fresh(which)
    task, world = tasks.get(method.task), tasks.get(method.task).easy()
    steps = {"steps": 250, "lr": 4e-3} if method.gradient else {}
    result = run(method, world, {**steps, **method.small, **world.settings})
    value = result.metrics[task.measure]
    assert value > world.least or not method.video, (  # one that sees no video is there to be beaten
        f"{task.measure} {value:.2f} in an easy world, where {world.least} is the least: look at the loss as it falls "
        "(notebooks/20_train), or set what it needs in `small`"
    )


def repeats(which):
    """trained again with the same seed it gives the same bits, and with another seed others"""
    method, world, settings = of(which)
    first, again, other = (run(method, world, {**settings, "seed": seed}) for seed in (1, 1, 2))
    assert same(first, again), (
        "the same run gives other numbers the second time: take random numbers from batch.keys or the layers' seeds, "
        "and keep nothing on the method or in its module (numbers belong into stack.memory)"
    )
    if method.gradient:
        assert not same(first, other), "runs of different seeds are the same: build the network with Model.initialise"


def sees_no_hidden_label(which):
    """what it may not see (scores of other videos, their judges, pairs) does not change a bit of what it does"""
    method, world, settings = of(which)
    labels = tasks.get(method.task).labels(world.data, world.split, method.resolve(settings))
    hidden = dataclasses.replace(world, data=tasks.get(method.task).hidden(world.data, labels))
    assert same(run(method, world, settings), run(methods.fresh(which), hidden, settings)), (
        "its predictions change when labels that were not drawn are replaced: learn from batch.y, batch.target and "
        "batch.better() alone, or in closed form from the `scores` of fit"
    )


def is_alone_in_a_stack(which):
    """a run of a stack is the run alone, whoever else is in the stack and leaves it"""
    method, world, settings = of(which)
    if not method.gradient:
        return
    both = [n for n in ("draw", "fraction") if n in method.settings()]
    varied = [{"seed": k, "draw": k, "fraction": 0.4 + 0.2 * k} for k in range(3)]
    runs = [{**settings, "seed": k, **{n: varied[k][n] for n in both}, "lr": 1e-3 * (k + 1)} for k in range(3)]
    runs[1]["steps"] = 4
    stack = train(method, world.data, world.split, runs, weights=True)
    for k, (stacked, asked) in enumerate(zip(stack, runs, strict=True)):
        alone = run(methods.fresh(which), world, asked)
        assert stacked.complete, f"run {k} of a stack of three fails, alone it does not: {stacked.reason}"
        where = f"run {k} of a stack of three is not the run alone"
        what = "something goes over the first axis [K] of a tensor, or into all runs: reduce over the other axes only"
        for name, value in alone.weights.items():
            far = np.abs(np.asarray(stacked.weights[name], dtype=float) - value).max(initial=0)
            assert far <= WEIGHTS, f"{where}, weights {name} differ by {far:.2g}: {what}"
        relative, absolute = SCORES
        assert len(stacked.predictions) == len(alone.predictions), f"{where}, it predicts other segments: {what}"
        for name in predicted(alone):
            a, b = (r.predictions[name].to_numpy(float) for r in (stacked, alone))
            assert np.allclose(a, b, rtol=relative, atol=absolute), f"{where}, predictions {name} differ: {what}"


def goes_on_from_a_checkpoint(which):
    """killed in the middle, it goes on from a checkpoint to the same bits"""
    method, world, settings = of(which)
    if not method.gradient:
        return
    whole = run(method, world, settings)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(methods.fresh(which), world, settings, checkpoints=Breaking(folder, ["run"]))
        except Broken:
            pass
        kept = Checkpoints(folder, ["run"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kept.found([0])
        assert found, "its checkpoint cannot be read again: keep tensors and plain numbers in stack.memory and facts"
        resumed = run(methods.fresh(which), world, settings, checkpoints=kept)
    assert same(whole, resumed), (
        f"killed after {LATE} of {settings['steps']} steps it goes on to other numbers: what it remembers between "
        "steps belongs into stack.memory (tensors [K, ...]) or into the network as buffers"
    )


def comes_back_from_its_weights(which):
    """restored from its weights file it predicts what the run predicted"""
    method, world, settings = of(which)
    result = run(method, world, settings)
    about = json.loads(json.dumps(result.about))
    items = tasks.get(method.task).tested(world.data, world.split)
    out = trained(result.weights, about, methods.fresh(which)).predict(world.data, items)
    out, table = method.read(out, world.data, items, result.settings), result.predictions
    if "segments" in out:  # of the last evaluation
        back = out["segments"]["score"].to_numpy(float)
        recorded = table["score"][table["step"] == table["step"].max()].to_numpy(float)
        assert len(back) == len(recorded), f"a restored network finds {len(back)} segments, the run {len(recorded)}"
    else:
        back, recorded = out["score"], table[predicted(result)[-1]].to_numpy(float)
    assert np.allclose(back, recorded, rtol=1e-3, atol=1e-4 * np.abs(recorded).max()), (
        f"a restored network predicts {back[0]:.4g} for a video for which the run has {recorded[0]:.4g}: what "
        "`predict` needs must be among parameters and buffers, or follow from the settings"
    )


def takes_unequal_lengths_or_says_so(which):
    """it trains on videos of unequal length, or refuses them in a sentence"""
    method, world, settings = of(which)
    if world.data.ragged:
        return
    lengths = np.arange(len(world.data)) % 3 + world.data.features.shape[1] - 2
    ragged = dataclasses.replace(world, data=dataclasses.replace(world.data, lengths=lengths))
    try:
        method.fits(method.resolve(settings), ragged.data)
    except UserError:
        return
    run(method, ragged, settings)


def can_be_looked_at(which):
    """where it declares mechanisms, looks at them give numbers, and its control learns something else"""
    method, world, settings = of(which)
    full = method.resolve(settings)
    if not method.mechanisms(full):
        return
    result = run(method, world, settings)
    for name in method.mechanisms(full):
        assert np.isfinite(result.metrics.get(f"{name}_t", np.nan)), (
            f"looks at its mechanism {name} give no numbers: let `alive` return an Exchange of finite costs under that "
            "name (methods/_exchange.py)"
        )
        share = result.metrics.get(f"{name}_share", 0.0)
        assert np.isfinite(share), (
            f"the gradient of its mechanism {name} is no number: let `losses` return `regression` beside `loss`, and "
            "`auxiliary` the weighted part of the loss that is the mechanism's"
        )
    if method.control:
        assert not same(result, run(method, world, {**settings, **method.control})), (
            f"its control {method.control} learns what the method itself learns: give each unlabelled video another "
            "one's target there (`another` in methods/_exchange.py)"
        )


CHECKS = (
    says_what_it_is,
    learns,
    repeats,
    sees_no_hidden_label,
    is_alone_in_a_stack,
    goes_on_from_a_checkpoint,
    comes_back_from_its_weights,
    takes_unequal_lengths_or_says_so,
    can_be_looked_at,
)


def of(which):
    """(the method, its task's easy world of short videos, settings of a short run)."""
    method = methods.fresh(which)
    world = tasks.get(method.task).easy()
    settings = {**(SHORT if method.gradient else {}), **method.small, **world.settings}
    if method.gradient:
        settings |= {"steps": SHORT["steps"], "every": SHORT["every"]}
    if world.data.ragged:
        return method, world, settings
    short = {
        name: v[:, :4]
        for name, v in [("rgb", world.data.features), *((v, world.data.view(v)) for v in world.data.views)]
    }
    data = dataclasses.replace(world.data, features=short.pop("rgb"), views=short)
    return method, dataclasses.replace(world, data=data), settings


def run(method, world, settings, **options):
    """The Result of one run, which must come to its end."""
    (result,) = train(method, world.data, world.split, [settings], weights=True, **options)
    assert result.complete, f"a run fails: {result.reason}"
    return result


def predicted(result):
    """The columns of a run's predictions that hold its scores, the last evaluation last, or those of its segments."""
    scores = [name for name in result.predictions if name.startswith("step_")]
    return scores or list(result.predictions.select_dtypes("number"))


def same(a, b):
    """Whether two runs have the same weights and predictions to the bit."""
    alike = a.weights.keys() == b.weights.keys() and all(np.array_equal(a.weights[n], b.weights[n]) for n in a.weights)
    return alike and all(a.predictions[n].equals(b.predictions[n]) for n in predicted(a))


class Broken(Exception):
    """A training that was broken off."""


class Breaking(Checkpoints):
    """Checkpoints of a training that is killed after step LATE."""

    def writer(self, places):
        return BreakingWriter(self, [self.names[i] for i in places])


class BreakingWriter(Writer):
    looks = 0

    @property
    def due(self):
        self.looks += 1
        return self.looks == LATE

    def save(self, state, places):
        super().save(state, places)
        raise Broken
