"""One step of S4AQA: microseconds, ratios to what a researcher would write, share of the machine's ceiling."""

import itertools
import statistics
import time

from benchmarks.plain import oracle
from benchmarks.sizes import SIZES, STACKS, noise


def measure(size, args):
    """Rows of one size: each variant's microseconds a model-step and its ratio to (b) and (a)."""
    z, device = SIZES[size], args.device
    data = noise(z)
    import torch

    from aqa_lib.data.splits import official
    from aqa_lib.methods import get
    from aqa_lib.models.functions import fast_bf16
    from aqa_lib.tasks import SCORES

    method, split = get("s4aqa"), official(data)
    runs = [
        method.resolve({"seed": i, "draw": i, "batch": z.B, "fraction": 0.2, "lambda1": 1.0 + i}) for i in range(64)
    ]
    labels = [SCORES.labels(data, split, s) for s in runs]
    x, own = data.features, labels[0]
    plain = (x[own.train], data.scores[own.train] * own.scale, x[own.unlabelled], x[split.test])
    options = dict(steps=10**9, batch=z.B, epoch=10**9)  # evaluations are left out, for all alike
    variants = {}
    if device == "cpu":
        variants["(a) data loaders"] = (oracle.train_with_loader(*plain, **options), 1, "fp32")
    variants["(b) in memory"] = (oracle.train_in_memory(*plain, **options, device=device), 1, "fp32")
    variants["(b) one encoder call"] = (
        oracle.train_in_memory(*plain, **options, calls=1, device=device),
        1,
        "fp32",
    )
    stacks = STACKS[size] if device == "cpu" else (1, 8, 64)
    kinds = ["fp32", "bf16"] if device == "cpu" else ["fp32", "tf32", "bf16"]
    for K, kind in itertools.product(stacks, kinds):
        if kind == "bf16" and device == "cpu" and (size, K) != ("paper", 1):
            continue
        stacked = [{**s, "precision": kind} for s in runs[:K]]
        slow = " emulated" if kind == "bf16" and not fast_bf16(torch.device(device)) else ""
        name = f"(c) K = {K}" + ("" if kind == "fp32" else f", {kind}{slow}")
        variants[name] = (steps_of(method, data, split, stacked, labels[:K], device), K, kind)
    for generator, _, _ in variants.values():
        advance(generator, 2, device)
    seconds = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, (generator, stacked, _) in variants.items():
            count = max(1, round(z.steps * min(1, 8 / stacked)))  # a similar time for each
            seconds[name].append(advance(generator, count, device) / count / stacked)
    peak = matmul_rate(device)
    flops = flops_of(z)
    rows = []
    for name, (_, _, kind) in variants.items():
        took = statistics.median(seconds[name])
        row = {"size": size, "variant": name, "us a model-step": round(took * 1e6)}
        for letter, peer in (("b", "(b) in memory"), ("a", "(a) data loaders")):
            if peer in seconds:
                ratios = [p / s for p, s in zip(seconds[peer], seconds[name], strict=True)]
                row[f"times ({letter})"] = round(statistics.median(ratios), 2)
        row["share of matmul peak"] = round(flops / took / peak[kind], 2) if name.startswith("(c)") else None
        rows.append(row)
    return rows


def steps_of(method, data, split, runs, labels, device):
    """A generator that takes one step of a stack a turn."""
    import torch

    from aqa_lib.training.stack import Stack

    stack = Stack(method, data, split, runs, labels, device)
    for step in itertools.count():
        torch.backends.cuda.matmul.allow_tf32 = runs[0]["precision"] == "tf32"
        method.before(stack, step)
        stack.model.differentiate(method.losses(stack.model, stack.batch(step))["loss"])
        stack.optimiser.step()
        method.after(stack, step + 1)
        yield


def advance(generator, count, device):
    """Seconds of `count` turns: processor time on a CPU, wall time on a GPU that has finished."""
    clock, wait = time.process_time, lambda: None
    if device != "cpu":
        import torch

        clock, wait = time.perf_counter, torch.cuda.synchronize
    wait()
    start = clock()
    for _ in range(count):
        next(generator)
    wait()
    return clock() - start


def flops_of(z):
    """Operations of one step of one run: products only, forward and backward, first layer shared."""
    widths = [max(z.D // 2**i, 16) for i in (1, 2, 3)]
    taps = 2 * (3 * z.T - 2) * z.B  # each multiply-add counts two; the ends have two taps
    conv = taps * (2 * 2 * z.D * widths[0] + 3 * 3 * (widths[0] * widths[1] + widths[1] * widths[2]))
    encoded = z.T * widths[2]
    heads = 3 * 2 * z.B * sum(
        sets * hidden * (encoded + out)
        for sets, hidden, out in [(1, max(z.D // 4, 32), 1), (1, max(z.D // 2, 32), z.D), (3, max(z.D // 8, 16), 1)]
    )  # fmt: skip
    return conv + heads


def matmul_rate(device, n=None):
    """The machine's own ceiling: operations a second of a large matrix product, by precision."""
    import torch

    n = n or (1024 if device == "cpu" else 8192)
    rates = {}
    for kind, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        if device == "cpu" and kind != "fp32":
            rates[kind] = rates["fp32"]  # against what the processor does in fp32
            continue
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        a = torch.randn(n, n, device=device, dtype=dtype)
        turns = iter(lambda a=a: a @ a, None)
        advance(turns, 2, device)
        rates[kind] = 2 * n**3 / min(advance(turns, 1, device) for _ in range(5))
    return rates
