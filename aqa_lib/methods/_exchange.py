"""The exchange index: is there anything in a mechanism that belongs to the video at hand?

    a = 1 - L(own target) / L(another video's target)

Outputs are the same on both sides; only the pairing of videos and targets is broken, by rolls within the batch. A
mechanism that has learnt nothing of its video (a decoder that returns one constant) has a = 0, whatever its loss. The
same exchange, in training, makes the control of a method: its term is on and has nothing to learn.
"""

from dataclasses import dataclass, replace

import torch

from aqa_lib.models.functions import hashed
from aqa_lib.settings import Setting

ROLLS, DRAWS = 8, 4
EXCHANGE = Setting(False, "control: learn as much of another video, so that there is nothing to learn", per_run=True)


@dataclass
class Exchange:
    """What each video costs with its own target and with others', [K,B] each; `size` [K]: what the mechanism would
    cost if it knew nothing at all, where it has a natural size, to tell a collapsed one by."""

    own: torch.Tensor
    other: torch.Tensor
    size: torch.Tensor | None = None


def exchanged(cost, size=None, rolls=ROLLS):
    """Exchange of cost(r) [K,B], the cost of every video with the target that stands r places further on."""
    own = cost(0)
    rolls = range(1, min(rolls, own.shape[1] - 1) + 1)
    return Exchange(own, sum(cost(r) for r in rolls) / len(rolls), size)


def redrawn(batch, exchange, draws=DRAWS):
    """Mean of exchange(batch) over draws of the batch's keys: two views of a video differ mostly by their dropout, and
    one draw of it would hide what they share."""
    keys = {name: hashed(words, draws) for name, words in batch.keys.items()}
    found = [exchange(replace(batch, keys={name: word[..., i] for name, word in keys.items()})) for i in range(draws)]
    own, other = (sum(getattr(e, name) for e in found) / draws for name in ("own", "other"))
    return Exchange(own, other, found[0].size)


def spread(y):
    """Variance of each run's targets [K,B] -> [K]."""
    return y.var(1, correction=0)


def another(batch):
    """For each place of the batch another one [K,B] where a run is a control (setting `exchange`), else itself.

    All places of a step move on by one number, so that nobody meets its own target.
    """
    B = batch.items.shape[2]
    on = 1 + batch.keys["another"][:, :1].remainder(B - 1)  # Python's sign: never negative
    here = torch.arange(B, device=batch.x.device)
    return (here + on * (batch.weight("exchange") > 0).unsqueeze(1)) % B


def taken(target, place):
    """target [K,B,...] of other places [K,B]."""
    return target.gather(1, place.view(*place.shape, *[1] * (target.dim() - 2)).expand_as(target))
