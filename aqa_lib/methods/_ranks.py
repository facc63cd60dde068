"""Rank-matched pseudo-labels: what RankUp's paper calls regression distribution alignment (Huang, Fu, Tsai,
"RankUp: Boosting semi-supervised regression with an auxiliary ranking classifier", NeurIPS 2024).

The raw predictions of all unlabelled videos are kept; every `refresh` steps the video at rank r of n gets the
quantile r / (n - 1) of the labelled scores, interpolated linearly between neighbours, as its pseudo-label. So the
order is the network's and the distribution is that of the labels. (S4AQA's RDA, which aligns the *encodings* of
labelled and unlabelled videos by an adversary, is another thing: aqa_lib/methods/s4aqa.py.)

A look at the mechanism is taken on videos that no step draws, so nothing is kept of them: each is ranked at once, by
what the network predicts of one more weak view, among the last predictions of the others.
"""

import torch

from aqa_lib.methods._encoded import UNLABELLED, weak
from aqa_lib.methods._exchange import another, exchanging, taken
from aqa_lib.methods.base import Setting
from aqa_lib.models.functions import constant

SETTINGS = {
    "refresh": Setting(0, "steps between alignments of ranks (0: one pass over the training videos)", low=0),
    "warm_up": Setting(
        0.4, "share of the steps over which the aligned labels' weight grows from 0", 0, 1, per_run=True
    ),
}


def align(raw, labelled):
    """raw [K,N], labelled [K,N], NaN where there is none -> the quantile of the labelled at each raw one's rank."""
    known, n, m = raw.isfinite(), raw.isfinite().sum(1, keepdim=True), labelled.isfinite().sum(1, keepdim=True)
    order = raw.masked_fill(~known, torch.inf).argsort(dim=1, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(raw.shape[1], device=raw.device).expand_as(order))
    place = rank.minimum(n - 1).clamp(min=0).double() * (m - 1) / (n - 1).clamp(min=1)
    low = place.long()
    y = labelled.masked_fill(~labelled.isfinite(), torch.inf).sort(dim=1).values
    below, above = y.gather(1, low), y.gather(1, (low + 1).minimum(m - 1))
    return torch.lerp(below, above, (place - low).to(y.dtype)).masked_fill(~known, torch.nan)


def begin(stack):
    """Nothing is known of any video."""
    for name in ("raw", "aligned"):
        stack.memory[name] = torch.full_like(stack.y, torch.nan)


def refresh(stack, step):
    """Align the runs whose pass over their training videos ends here."""
    due = [step > 0 and step % (stack.runs[0]["refresh"] or steps) == 0 for steps in stack.passes]
    if any(due):
        fresh = align(stack.memory["raw"], stack.y)
        if not all(due):  # runs on other splits end their passes at other steps
            now = constant(tuple(due), torch.bool, stack.device).unsqueeze(1)
            fresh = torch.where(now, fresh, stack.memory["aligned"])
        stack.memory["aligned"] = fresh


@torch.no_grad()
def pseudo(method, model, batch, predicted):
    """Keep predictions [K,B] of a step's unlabelled videos; return their aligned labels, or themselves before those.

    In a control they are the aligned labels of other videos.
    """
    items, memory = batch.items[:, 1], batch.memory
    latest = winner(items, -torch.arange(items.shape[1], device=items.device).expand_as(items))
    seen = once_more(method, model, batch) if batch.probe else predicted
    memory["raw"].scatter_(1, items, seen.gather(1, latest))
    aligned = align(memory["raw"], batch.stack.y) if batch.probe else memory["aligned"]
    aligned = aligned.gather(1, items)
    if exchanging(batch):
        aligned = taken(aligned, another(batch))
    return torch.where(aligned.isfinite(), aligned, predicted)


def once_more(method, model, batch):
    """Predictions [K,B] of another weak view of the unlabelled videos, with the last key of each stream."""
    x = weak(batch.x[:, UNLABELLED], batch.keys["hide"][:, -1], batch.runs[0]["hide"])
    with model.still():
        f = method.encode(model, x.unsqueeze(1), batch, (UNLABELLED,), first=method.PLACES["drop0"] - 1)
    return model.scores(f[:, 0])


def winner(items, cost):
    """items [K,B], cost [K,B] -> for each index, the index of least cost that holds the same item.

    What is written to an item that a batch has twice is then the same from both indices, in whatever order.
    """
    same = items.unsqueeze(2) == items.unsqueeze(1)
    return torch.where(same, cost.double().unsqueeze(1), torch.inf).argmin(2)
