"""What the methods share that differ from the labelled-only network AA in their losses alone: its encoder E and
regressor R (aqa_lib/models/encoder.py), the two augmentations of segment features, and a teacher that follows.

Augmentations of frozen segment features, as BASL's public code has them: weak hides each segment with chance 0.15,
strong adds Gaussian noise of 0.05 (here: times the root mean square of the batch's features, so that it does not
depend on their scale).
"""

import copy

import torch

from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.encoder import Regression
from aqa_lib.models.functions import normal, uniform

LABELLED, UNLABELLED = range(2)


class Encoded(Method):
    """E and R of K runs; a subclass defines losses(model, batch) and lists in PLACES what it draws.

    PLACES has "drop0", "drop1", "drop2": one key for each set that a step encodes.
    """

    SETTINGS = {"drop": Setting(0.5, "dropout of the encoder, in steps of 1/256", 0, 0.99)}
    PLACES = {"drop0": 4, "drop1": 4, "drop2": 4}

    def build(self, runs, data):
        s, (_, segments, inputs) = runs[0], data.features.shape
        made = dict(segments=segments, inputs=inputs, drop=s["drop"], precision=s["precision"])
        return Regression(runs=len(runs), **made)

    def unlabelled(self, settings):
        return True

    @staticmethod
    def encode(model, x, batch, first=0):
        """x [K,S,T,B,D] -> f [K,S,B,TC]; set s takes the dropout of place `first` + s."""
        sets = slice(first, first + x.shape[1])
        return model.encoder(x, (), [batch.keys[f"drop{layer}"][:, sets] for layer in range(3)])

    @staticmethod
    def ramp(batch):
        """From 0 to 1 over the setting `warm_up`, a share of each run's steps, then 1; [K]."""
        return (batch.progress() / batch.weight("warm_up").clamp(min=1e-9)).clamp(max=1)

    def predict(self, model, x):
        """x [1,1,T,N,D] -> scores [K,N] with running statistics and no dropout."""
        K = model.regressor.last.bias.shape[0]
        f = model.encoder(x.expand(K, -1, -1, -1, -1))
        return model.scores(f[:, 0])


def weak(x, keys, hide=0.15):
    """x [K,T,B,D] with each segment of each video hidden with chance `hide`; keys [K]."""
    K, T, B, _ = x.shape
    return x * (uniform(keys, (T, B)) >= hide).to(x.dtype).unsqueeze(-1)


def strong(x, keys, noise=0.05):
    """x [K,T,B,D] with Gaussian noise of `noise` times the root mean square of each run's features; keys [K]."""
    size = x.square().flatten(1).mean(1).sqrt().view(-1, 1, 1, 1)
    return x + noise * size * normal(keys, x.shape[1:]).to(x.dtype)


def teacher_of(model):
    """A copy of a network that no optimiser moves, in evaluation or training as it is set."""
    teacher = copy.deepcopy(model)
    for p in teacher.parameters():
        p.requires_grad_(False)
    return teacher


@torch.no_grad()
def follow(teacher, student, decay, step):
    """Weights of the teacher <- decay teacher + (1 - decay) student, faster in the first steps; statistics copied.

    As usual the effective decay is min(decay, 1 - 1 / (step + 1)), so that the first weights are soon forgotten.
    """
    decay = min(decay, 1 - 1 / (step + 1))
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)
    for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        mine.copy_(theirs)
