"""What the methods share that differ from the labelled-only network AA in their losses alone: its encoder E and
regressor R (aqa_lib/models/encoder.py), the two augmentations of segment features, and a teacher that follows.

Augmentations of frozen segment features, as BASL's public code has them: weak hides each segment with chance 0.15,
strong adds Gaussian noise of 0.05 (here: times the root mean square of the batch's features, so that it does not
depend on their scale).
"""

import copy

import torch

from aqa_lib.methods.base import SHARES, Method, Setting
from aqa_lib.models.encoder import Regression
from aqa_lib.models.functions import normal, uniform

LABELLED, UNLABELLED = range(2)


class Encoded(Method):
    """E and R of K runs; a subclass defines losses(model, batch) and lists in PLACES what it draws.

    PLACES has "drop0", "drop1", "drop2": one key for each set that a step encodes.
    """

    SETTINGS = {"drop": Setting(0.5, "dropout of the encoder, in steps of 1/256", 0, 0.99), "shares": SHARES}
    PLACES = {"drop0": 4, "drop1": 4, "drop2": 4}
    masks = True

    def build(self, runs, data):
        return Regression(runs=len(runs), **self.made(runs, data))

    def made(self, runs, data):
        """What networks with this encoder are built from."""
        s, inputs = runs[0], data.features.shape[2]
        return dict(segments=self.segments(s, data), inputs=inputs, drop=s["drop"], precision=s["precision"])

    def unlabelled(self, settings):
        return True

    @staticmethod
    def encode(model, x, batch, sets, first=0):
        """x [K,S,T,B,D] -> f [K,S,B,TC]; `sets`: of which set of the batch each of the S is a copy (LABELLED or
        UNLABELLED); set s takes the dropout keys of number `first` + s."""
        keys = slice(first, first + x.shape[1])
        drop = [batch.keys[f"drop{layer}"][:, keys] for layer in range(3)]
        return model.encoder(x, (), drop, batch.masked(sets))

    @staticmethod
    def ramp(batch):
        """From 0 to 1 over the setting `warm_up`, a share of each run's steps, then 1; [K]."""
        return (batch.progress() / batch.weight("warm_up").clamp(min=1e-9)).clamp(max=1)

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> scores [K,n] with running statistics and no dropout."""
        K = model.regressor.last.bias.shape[0]
        return model.scores(model.encoder(*for_all(K, x, mask))[:, 0])


def for_all(K, x, mask=None):
    """The arguments of an encoder in evaluation: x [K or 1,S,T,n,D] and its mask, for each of K runs."""
    seen = x.expand(K, -1, -1, -1, -1)
    return (seen,) if mask is None else (seen, (), None, mask.expand(K, -1, -1, -1))


def weak(x, keys, hide=0.15):
    """x [K,T,B,D] with each segment of each video hidden with chance `hide`; keys [K]."""
    K, T, B, _ = x.shape
    return x * (uniform(keys, (T, B)) >= hide).to(x.dtype).unsqueeze(-1)


def strong(x, keys, noise=0.05, mask=None):
    """x [K,T,B,D] with Gaussian noise of `noise` times the root mean square of each run's features; keys [K].

    What lies beyond the end of a video (mask [K,T,B]) does not count; the encoder takes it out again.
    """
    size = x.square().flatten(1).mean(1)
    if mask is not None:
        size = size * mask[0].numel() / mask.flatten(1).sum(1)
    return x + noise * size.sqrt().view(-1, 1, 1, 1) * normal(keys, x.shape[1:]).to(x.dtype)


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
