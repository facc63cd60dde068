"""What a method is: settings, a network, its losses on a batch, and how it predicts.

A method with gradients computes losses for K runs at once; `training` owns the loop. A closed-form method
(`fit` instead of `losses`) is fitted one run after another by the same `training.train`.
"""

from dataclasses import dataclass

from aqa_lib.errors import UserError, check_type, nearest


@dataclass(frozen=True)
class Setting:
    """A setting's default, its bounds, and whether runs that differ in it may train as one stack."""

    default: object
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple = ()
    per_run: bool = False

    def check(self, where, name, value):
        value = check_type(where, name, value, self.default)
        if self.choices and value not in self.choices:
            raise UserError(f"{where}: unknown {name} {value!r}: {nearest(value, self.choices)}")
        if self.low is not None and value is not None and value < self.low:
            raise UserError(f"{where}: {name} = {value} is below {self.low}, its least value ({self.help})")
        if self.high is not None and value is not None and value > self.high:
            raise UserError(f"{where}: {name} = {value} is above {self.high}, its greatest value ({self.help})")
        return value


SCALE = 5.0  # the largest labelled score of a run becomes this, in its batches
CHOICE = {  # which videos have labels, and the seed: every method has these
    "seed": Setting(0, "seed of weights, batches, masks and dropout", low=0, per_run=True),
    "fraction": Setting(0.1, "share of the training videos whose scores are used", 0, 1, per_run=True),
    "draw": Setting(0, "which label draw", low=0, per_run=True),
    "how": Setting("stratified", "how labels are drawn", choices=("stratified", "random"), per_run=True),
}
LOOP = {  # the training loop of methods with gradients
    "steps": Setting(600, "optimiser steps", low=1, per_run=True),
    "every": Setting(0, "steps between evaluations (0: a tenth of the steps)", low=0, per_run=True),
    "batch": Setting(32, "labelled, and as many unlabelled, videos a step", low=2),
    "optimiser": Setting("adam", "optimiser", choices=("adam", "sgd")),
    "lr": Setting(5e-4, "learning rate", low=0, per_run=True),
    "weight_decay": Setting(1e-4, "L2 penalty, as torch's optimisers add it", low=0, per_run=True),
    "momentum": Setting(0.0, "momentum of SGD", 0, 1),
    "validation": Setting(0.0, "share of the labelled videos held out to watch", 0, 0.9, per_run=True),
    "patience": Setting(
        0, "evaluations without a better validation error before a stop (0: never)", low=0, per_run=True
    ),
    "precision": Setting("fp32", "of matrix products", choices=("fp32", "tf32", "bf16")),
}


class Method:
    """Base of all methods. `SETTINGS` are its own; `PLACES` names its random places and their number.

    A method with gradients defines build(runs, data), the network of K runs; losses(model, batch), a dict of [K]
    tensors of which "loss" is minimised; predict(model, x [1,1,T,N,D], **views), scores [K,N]. It may keep tensors
    [K, ...] in `stack.memory` and change them in `before` and `after` a step. A closed-form method defines
    fit(x [N,T,D], y [N] with NaN where there is no label, settings, **views) -> a function of (x, **views).
    """

    SETTINGS: dict = {}
    PLACES: dict = {}
    gradient = True  # has build, losses and predict; else it has fit
    title = ""  # as tables and papers call it; its name where empty
    small: dict = {}  # settings for a laptop, where the published size takes minutes a run

    def uses(self, settings):
        """The sets of videos that a run encodes, beside the labelled: what its switched-on terms need."""
        return ()

    def unlabelled(self, settings):
        """Whether a run draws unlabelled videos: `batch.x` then has them as its second set."""
        return False

    def views(self, settings):
        """Names of the other views of the videos that `batch.view` is to give (flow, still, rot90 ...)."""
        return ()

    def targets(self, data):
        """What else is known of labelled videos, name -> [N, ...], for `batch.target`: attributes, words."""
        return {}

    def check(self, settings, data):
        """Raise a UserError where settings and data do not fit."""

    def begin(self, stack):
        """After a stack's network is initialised: make what the method keeps in `stack.memory`."""

    def before(self, stack, step):
        """Before a step: refresh what the method keeps."""

    def after(self, stack, step):
        """After `step` optimiser steps: follow the weights."""

    def settings(self):
        return {**CHOICE, **(LOOP if self.gradient else {}), **self.SETTINGS}

    def resolve(self, run):
        """Every setting of a run, checked: {name: value}; an unknown or impossible one is one sentence."""
        known, where = self.settings(), f"method {self.name}"
        for name in run:
            if name not in known:
                raise UserError(f"{where}: unknown setting {name!r}: {nearest(name, known)}")
        full = {name: s.check(where, name, run.get(name, s.default)) for name, s in known.items()}
        if full["fraction"] <= 0:
            raise UserError(f"{where}: fraction = 0 leaves no labels; give a share in (0, 1]")
        if self.gradient:
            full["every"] = full["every"] or max(1, full["steps"] // 10)
            if full["patience"] and not full["validation"]:
                raise UserError(f"{where}: patience = {full['patience']} needs validation > 0 to watch")
        return full

    def shape(self, settings):
        """What must be equal in a stack: every setting that is not a run's own."""
        return tuple((n, settings[n]) for n, s in self.settings().items() if not s.per_run)
