"""The exchange index: is there anything in a mechanism that belongs to the video at hand?

    a = 1 - L(own target) / L(another video's target)

Outputs are the same on both sides; only the pairing of videos and targets is broken, by rolls within the batch. A
mechanism that has learnt nothing of its video (a decoder that returns one constant) has a = 0, whatever its loss. The
same exchange, in training, makes the control of a method: its term is on and has nothing to learn. A look at a control
is of its own targets all the same: what it knows of them, it has from elsewhere.
"""

from dataclasses import dataclass

import torch

from aqa_lib.settings import Setting

EXCHANGE = Setting(False, "control: learn as much of another video, so that there is nothing to learn", per_run=True)


@dataclass
class Exchange:
    """What each video costs with its own target and with others', [K,B] each; `size` [K]: what the mechanism would
    cost if it knew nothing at all, where it has a natural size, to tell a collapsed one by."""

    own: torch.Tensor
    other: torch.Tensor
    size: torch.Tensor | None = None


def exchanged(cost, size=None):
    """Exchange of cost(r) [K,B], the cost of every video's output with the target that stands r places further on:
    `target.roll(-r, 1)`.

    A video's `other` is the mean of its output with others' targets, plus that of others' outputs with its target, less
    the mean of all: so a target that is hard for everyone, or an output that is off for all, is not taken for a
    difference between own and other (the interaction of a two-way table is what is left).
    """
    own = cost(0)
    each = [cost(r) for r in range(1, own.shape[1])]
    row = sum(each) / len(each)
    column = sum(c.roll(r, 1) for r, c in enumerate(each, 1)) / len(each)
    return Exchange(own, row + column - row.mean(1, keepdim=True), size)


def by_video(pairs):
    """Costs of pairs [K,B,B] as costs of videos [K,B]: twice the mean of a row, less the mean of all.

    Each video is in the rows of all others, too; so the plain means of rows differ half as much as they ought to, if
    their spread is to be that of a mean over pairs (Hoeffding).
    """
    rows = pairs.mean(2)
    return 2 * rows - rows.mean(1, keepdim=True)


def spread(y):
    """Variance of each run's targets [K,B] -> [K]."""
    return y.var(1, correction=0)


def deviation(y):
    """Mean absolute deviation of each run's targets [K,B] -> [K]: the size of costs that are absolute errors."""
    return (y - y.mean(1, keepdim=True)).abs().mean(1)


def exchanging(batch):
    """Whether any run of the batch has another video's target: a control in training, never in a look at it."""
    return not batch.own and any(s["exchange"] for s in batch.runs)


def another(batch):
    """For each place of the batch another one [K,B] where a run is a control (setting `exchange`), else itself.

    All places of a step move on by one number. Where fewer videos than a batch holds are unlabelled, a batch repeats
    them, and a video now and then meets its own target.
    """
    B = batch.items.shape[2]
    on = 1 + batch.keys["another"][:, :1].remainder(B - 1)  # Python's sign: never negative
    here = torch.arange(B, device=batch.x.device)
    return (here + on * (batch.weight("exchange") > 0).unsqueeze(1)) % B


def taken(target, place):
    """target [K,B,...] of other places [K,B]."""
    return target.gather(1, place.view(*place.shape, *[1] * (target.dim() - 2)).expand_as(target))
