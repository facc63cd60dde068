"""Every method with gradients: microseconds of a step alone, in a stack, and as one would write it for one run.

The last are the ordinary modules of benchmarks/plain, a file a method, trained with tensors in memory, torch's Adam
and `loss.item()` a step; what their losses need beside features and scores (views, targets, numbers of items) is handed
over by name.
"""

import importlib
import inspect
import itertools
import statistics

from aqa_lib.errors import UserError
from aqa_lib.paths import root
from benchmarks.step import advance, steps_of

SIZE, FRACTION, STACK = "quick", 0.4, 32


def table(args):
    """Rows of `aqa bench methods`: one a method, medians over rounds that take turns."""
    from aqa_lib import data as data_sets
    from aqa_lib import methods
    from aqa_lib.data.splits import official
    from aqa_lib.tasks import SCORES

    data = data_sets.load("surrogate", size=SIZE)
    split, rows = official(data), []
    for name in args.methods or [n for n in methods.names() if methods.get(n).gradient and plain(n).exists()]:
        method = methods.get(name)
        if not method.gradient:
            raise UserError(f"aqa bench methods: {name} has no steps to measure; it is fitted in closed form")
        runs = [method.resolve({"seed": k, "draw": k, "fraction": FRACTION, "steps": 10**6}) for k in range(STACK)]
        labels = [SCORES.labels(data, split, s) for s in runs]
        alone = steps_of(method, data, split, runs[:1], labels[:1], args.device)
        stack = steps_of(method, data, split, runs, labels, args.device)
        peer = steps_of_peer(name, method, data, split, runs[0], labels[0], args.device)
        variants = {"obvious": (peer, 6, 1), "alone": (alone, 6, 1), "stack": (stack, 2, STACK)}
        for generator, count, _ in variants.values():
            advance(generator, count, args.device)
        seconds = {v: [] for v in variants}
        for _ in range(args.rounds):
            for v, (generator, count, stacked) in variants.items():
                seconds[v].append(advance(generator, count, args.device) / count / stacked)
        row = {"method": method.title}
        for v, words in (("obvious", "as one would write it"), ("alone", "alone"), ("stack", f"in a stack of {STACK}")):
            row[f"us a step, {words}"] = round(statistics.median(seconds[v]) * 1e6)
        for v in ("alone", "stack"):
            ratios = [p / s for p, s in zip(seconds["obvious"], seconds[v], strict=True)]
            row[f"times, {v}"] = round(statistics.median(ratios), 2)
        rows.append(row)
    return rows


def plain(name):
    """The file of a method as one would write it for one run; a method may do without."""
    return root() / "benchmarks" / "plain" / f"{name}.py"


def peer_of(name):
    """The class Peer of that file."""
    if not plain(name).exists():
        raise UserError(f"aqa bench methods compares with {plain(name)}, which is not there: leave {name} out")
    return importlib.import_module(f"benchmarks.plain.{name}").Peer


def steps_of_peer(name, method, data, split, settings, labels, device):
    """A generator that takes one step of the plain implementation a turn: draw, loss, backward, Adam, `.item()`."""
    import torch

    torch.manual_seed(0)
    parts = [torch.as_tensor(i, device=device) for i in (labels.train, labels.unlabelled)]
    peer = call(peer_of(name), {"labelled": parts[0]}, data).to(device)
    optimiser = torch.optim.Adam([p for p in peer.parameters() if p.requires_grad], lr=5e-4, weight_decay=1e-4)
    x = torch.as_tensor(data.features, device=device)
    y = torch.as_tensor(labels.scores * labels.scale, dtype=torch.float32, device=device)  # NaN where unlabelled
    views = {v: torch.as_tensor(data.view(v), device=device) for v in method.views(settings)}
    targets = {n: torch.as_tensor(t, device=device) for n, t in method.targets(data).items()}
    B = settings["batch"]
    for step in itertools.count():
        i, j = (part[torch.randint(len(part), (B,), device=device)] for part in parts)
        extra = {
            "views": {v: (u[i], u[j]) for v, u in views.items()},
            "targets": {n: t[i] for n, t in targets.items()},
            "items": (i, j),
        }
        call(getattr(peer, "before", nothing), {"y": y}, step)
        drawn = call(peer.draw, extra, x[i], x[j])
        loss = call(peer.loss, {**extra, **drawn}, x[i], y[i], x[j])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        call(getattr(peer, "after", nothing), {}, step + 1)
        yield


def nothing(step):
    """What a plain implementation without state does before and after a step."""


def call(function, extra, *args):
    """`function` with those of the extras that it takes."""
    known = inspect.signature(function).parameters
    return function(*args, **{name: value for name, value in extra.items() if name in known})
