"""Which runs train together: equal shapes and, where that is worth it, equal sets of videos; as many as fit."""

import numpy as np
import torch

from aqa_lib.processes import check_memory
from aqa_lib.settings import Setting

AT_ONCE = Setting(None, "how many runs a stack may hold; None: by the memory at hand", 1, 100_000, kind=int)
TAKEN = {}  # {(method, its shape, the videos'): bytes of a run}, as this process has found them
FEW = 4  # fewer runs than this are not worth a stack of their own


def stacks(method, data, runs, device, at_once=None, places=None):
    """Indices of `runs` that train together: equal shapes, as many as fit.

    A stack computes every set of videos that one of its runs uses. So runs that use the same sets (the same loss
    terms switched on) come together; where a stack of their own would be small, they ride along with others.
    """
    data = data if isinstance(data, list) else [data] * len(runs)
    shapes, views = {}, {}
    for i in range(len(runs)) if places is None else places:
        seen = id(data[i]), *method.views(runs[i])
        if seen not in views:
            views[seen] = [data[i].view(view).shape[2:] for view in seen[1:]]
        shape = method.shape(runs[i]), data[i].features.shape[1:], data[i].ragged, *views[seen]
        shapes.setdefault(shape, {}).setdefault(method.uses(runs[i]), []).append(i)
    for groups in shapes.values():
        few = [places for places in groups.values() if len(places) < FEW]
        many = [places for places in groups.values() if len(places) >= FEW]
        if few:
            many.append(sorted(sum(few, [])))
        for places in many:
            most = at_once or capacity(method, data[places[0]], runs[places[0]], device)
            parts = -(-len(places) // most)
            yield from (list(part) for part in np.array_split(places, parts))


def capacity(method, data, settings, device):
    """How many runs fit in a stack: on a GPU by its free memory, on a CPU by what stays near its caches."""
    one = takes(method, data, settings)
    if torch.device(device).type == "cuda":
        return int(max(1, min(128, 0.5 * torch.cuda.mem_get_info(device)[0] // one)))
    return int(max(1, min(32, 2**26 // one)))


def takes(method, data, settings):
    """About how many bytes a run takes in a stack."""
    size = int(np.prod(data.features.shape[1:]))
    with torch.device("meta"):  # shapes without numbers
        weights = sum(p.numel() for p in method.build([settings], data).parameters() if p.requires_grad)
    return 4 * 3 * settings["batch"] * size * 9 + 4 * 4 * weights  # activations; weights, gradients, moments


def check_fits(method, data, runs, device="cpu", at_once=None):
    """A UserError where not even one run, or not the stack that is asked for, has room in memory."""
    n = min(AT_ONCE.check("train", "at_once", at_once) or 1, len(runs))
    for i, settings in enumerate(runs if method.gradient else ()):
        one = data[i] if isinstance(data, list) else data
        shape = method.name, method.shape(settings), one.features.shape[1:]
        if shape not in TAKEN:
            TAKEN[shape] = takes(method, one, settings)
        what = f"method {method.name}: {f'a stack of {n} runs' if n > 1 else 'a run'}"
        free = torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else None
        check_memory(what, n * TAKEN[shape], "take a smaller batch, network or stack", free)
