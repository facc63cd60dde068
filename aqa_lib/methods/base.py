"""What a method is: a task, settings, a network, its losses on a batch, and how it predicts.

A method with gradients computes losses for K runs at once; `training` owns the loop. A closed-form method
(`fit` and `apply` instead of `losses` and `predict`) is fitted one run after another by the same `training.train`.
"""

import numpy as np

from aqa_lib import tasks
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve
from aqa_lib.tasks import SCALE

__all__ = ["SCALE", "Method", "Setting"]

LARGEST, LONGEST = 1e30, 2**63 - 1  # float32 ends at 3e38, and whole numbers have 64 bits
SEED = {"seed": Setting(0, "seed of weights, batches, masks and dropout", low=0, per_run=True)}
LOOP = {  # the training loop of methods with gradients
    "steps": Setting(600, "optimiser steps", 1, 10**8, per_run=True),
    "every": Setting(0, "steps between evaluations (0: a tenth of the steps)", low=0, per_run=True),
    "batch": Setting(32, "labelled, and as many unlabelled, videos a step", 2, 65536),
    "optimiser": Setting("adam", "optimiser", choices=("adam", "sgd")),
    "lr": Setting(5e-4, "learning rate", above=0, high=LARGEST, per_run=True),
    "weight_decay": Setting(1e-4, "L2 penalty, as torch's optimisers add it", low=0, per_run=True),
    "momentum": Setting(0.0, "momentum of SGD", 0, 1),
    "aside": Setting(
        0.125,
        "share of the unlabelled videos that is kept aside, to see whether mechanisms are on",
        0,
        0.5,
        per_run=True,
    ),
    "precision": Setting("fp32", "of matrix products", choices=("fp32", "tf32", "bf16")),
}


class Method:
    """Base of all methods. `SETTINGS` are its own; `PLACES` names its random streams and how many keys each needs.

    A method with gradients defines build(runs, data), the network of K runs; losses(model, batch), a dict of [K]
    tensors of which "loss" is minimised; predict(model, x [K or 1,1,T,n,D], **views, **given), named tensors
    [K,n,...], or one that is the score; `mask` [.,1,T,n] is among the keywords where videos differ in length. It may
    keep tensors [K, ...] in `stack.memory` and change them in `before` and `after` a step.

    A closed-form method defines fit(data, items, scores, settings) -> arrays by name, from the training items and
    their scores (NaN where there is no label), and apply(arrays, data, items, settings) -> named predictions [n,...].

    The order of a step: before | sample | losses, optimiser | after | finished | evaluation | runs leave.
    """

    SETTINGS: dict = {}
    PLACES: dict = {}
    task = "scores"  # what it learns from: scores, pairs or actions
    gradient = True  # has build, losses and predict; else it has fit and apply
    masks = False  # takes videos of unequal length
    windows = False  # trains on parts of videos (`times`): has masks and shares also where all have one length
    axes = 1  # axes of a segment's features that it takes; None: any number
    video = True  # False: predicts without looking at the video
    name = ""  # that of its file, which `methods.get` gives it
    title = ""  # as tables and papers call it; its name where empty
    small: dict = {}  # settings for a laptop, where the published size takes minutes a run
    variants: dict = {}  # {name in tables: settings}, what it is compared as; {title: {}} where empty
    ablation: dict = {}  # {name in tables: settings}: its parts switched on one after another
    beside: dict = {}  # {name in tables: (method, settings)}: what stands beside it, given the same and no network
    control: dict = {}  # settings that leave its mechanisms on and nothing in them to learn of the unlabelled
    from_the_start: tuple = ()  # mechanisms whose two sides are alike before training: views of one video
    transient: tuple = ()  # mechanisms that work where they end at nothing: an adversary that has lost
    compared = True  # whether a comparison of all methods has it

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

    def given(self, data):
        """What is known of every video, at test as well, name -> [N, ...], for `batch.given` and `predict`."""
        return {}

    def check(self, settings, data):
        """Raise a UserError where settings and data do not fit."""

    def begin(self, stack):
        """After a stack's network is initialised: make what the method keeps in `stack.memory`."""

    def before(self, stack, step):
        """Before a step: refresh what the method keeps, or begin a new round (`stack.restart`)."""

    def sample(self, stack, step):
        """The items [K,S,B] of a step, or None: each stream in a random order of its own."""

    def times(self, stack, items, step):
        """Which segments of items [K,S,B] a training batch holds [K,S,T',B], or None: all of each video.

        Each video's own segments, one at least, then places beyond its end, which the mask takes out.
        """

    def after(self, stack, step):
        """After `step` optimiser steps: follow the weights, end a round."""

    def finished(self, stack, step):
        """Which runs [K] are done before their last step, or None."""

    def mechanisms(self, settings):
        """Names of the terms by which a run learns from unlabelled videos."""
        return ()

    def working(self, settings):
        """The first and the last share of a run's steps in which its mechanisms are to work."""
        return 0.0, 1.0

    def auxiliary(self, batch, terms):
        """{mechanism: its weighted part of the loss [K]} of what `losses` gave; by default all but the regression."""
        names = dict.fromkeys(name for s in batch.runs for name in self.mechanisms(s))
        return dict.fromkeys(names, terms["loss"] - terms["regression"])

    def encoding(self, model):
        """The parameters at which gradients of the terms are compared: those of the encoder."""
        return [p for name, p in model.named_parameters() if name.startswith("encoder") and p.requires_grad]

    def alive(self, model, batch):
        """{mechanism: Exchange}: what each unlabelled video costs with its own target, and with another video's.

        Of a closed-form method: alive(arrays, data, items, scores, settings), [n] each.
        """
        return {}

    def found(self, stack):
        """What training itself has made of items, name -> [K,N] (clusters, pseudo-labels): only to be measured."""
        return {}

    def read(self, out, data, items, settings):
        """One run's predictions as its task measures them; early stopping and a restored run do without."""
        return out

    def ragged(self, data):
        """Whether its network takes the videos of a data set by masks and shares."""
        return self.windows or data.ragged

    def segments(self, settings, data):
        """Of how many parts in time a network's heads read a video: its segments, or with masks `shares` equal shares
        of each, so that a length that was never trained on is scored, too."""
        return settings["shares"] if self.ragged(data) else data.features.shape[1]

    def settings(self):
        task = tasks.get(self.task)
        mine = {**LOOP, **task.watch} if self.gradient else {}
        return {**SEED, **task.choice, **mine, **self.SETTINGS}

    def compared_as(self):
        """{name in tables: settings} of its variants, the published one first."""
        return self.variants or {self.title: {}}

    def resolve(self, run):
        """Every setting of a run, checked: {name: value}; an unknown or impossible one is one sentence."""
        where = f"method {self.name}"
        if not isinstance(run, dict):
            raise UserError(f"{where}: the settings of a run are a mapping such as {{'seed': 0}}, but got {run!r}")
        full = resolve(where, self.settings(), run)
        for name, others in tasks.get(self.task).spare.items():
            if not full[name]:
                if given := [n for n in others if n in run]:
                    raise UserError(f"{where}: {given[0]} means nothing with {name} = 0: give {name}, or leave it out")
                full = {n: v for n, v in full.items() if n not in (name, *others)}
        for name, value in full.items():
            if isinstance(value, float) and not abs(value) <= LARGEST:
                raise UserError(f"{where}: {name} = {value} is beyond {LARGEST:g}, where numbers of a network end")
            if isinstance(value, int) and not abs(value) <= LONGEST:
                raise UserError(f"{where}: {name} is beyond {LONGEST}, the largest whole number of 64 bits")
        if full.get("fraction", 1) <= 0:
            raise UserError(f"{where}: fraction = 0 leaves no labels; give a share in (0, 1]")
        if self.gradient:
            full["every"] = full["every"] or full.get("round", 0) or max(1, full["steps"] // 10)
            if full.get("patience") and not full["validation"]:
                raise UserError(f"{where}: patience = {full['patience']} needs validation > 0 to watch")
        return full

    def shape(self, settings):
        """What must be equal in a stack: every setting that is not a run's own."""
        return tuple((n, settings[n]) for n, s in self.settings().items() if not s.per_run)

    def fits(self, settings, data):
        """Raise a UserError where the method cannot be trained on a data set: one sentence, before anything runs."""
        tasks.get(self.task).check(data)
        if self.video:
            x, where = data.need_features(), f"method {self.name}"
            if self.windows and not self.masks:
                raise UserError(f"{where} trains on windows: let `predict` take a mask and set masks = True as well")
            if data.ragged and not self.masks:
                least, most = data.lengths.min(), data.lengths.max()
                raise UserError(
                    f"{where} takes videos of one length, but those of data set {data.name!r} have {least} to {most} "
                    "segments: cut them into equally many, or take a method with masks"
                )
            if self.axes is not None and len(x.shape) != 2 + self.axes:
                raise UserError(
                    f"{where} takes segment features with {self.axes} axes, but those of data set {data.name!r} have "
                    f"the shape {tuple(x.shape[2:])}: pool them first, or take another method"
                )
        self.check(settings, data)
        self.targets(data)
        views = self.views(settings)
        for view in views:
            data.view(view)
        for name, value in self.given(data).items():
            if name in (*views, "mask", "x"):
                raise UserError(
                    f"method {self.name}: what is given cannot be called {name!r}, as other input is: rename it"
                )
            unknown = np.isnan(np.asarray(value, dtype=float).reshape(len(data), -1)).any(1)
            if unknown.any():
                who = f"{str(data.ids[unknown.argmax()])!r} of data set {data.name!r}"
                raise UserError(f"method {self.name} is given {name}, which is not known of {who}: fill it in there")


SHARES = Setting(10, "equal shares that heads read of a video where videos differ in length", 1, 10_000)


def linear(mean, scale, coefficients, intercept):
    """A linear regression on standardised features as one on the features themselves: {"w": [D], "b": [1]}."""
    w = np.asarray(coefficients, dtype=np.float64) / scale
    return {"w": w, "b": np.atleast_1d(intercept - mean @ w)}
