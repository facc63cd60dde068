"""The sizes that are measured, data of those sizes, and how a table is printed."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

SIZES = {  # N, T, D, labelled (and unlabelled) videos a step, steps a round of one run
    "tiny": SimpleNamespace(N=200, T=10, D=64, B=16, steps=30),
    "middle": SimpleNamespace(N=800, T=10, D=256, B=64, steps=8),
    "paper": SimpleNamespace(N=1059, T=10, D=1024, B=64, steps=3),
}
STACKS = {"tiny": (1, 8, 32), "middle": (1, 8, 32), "paper": (1, 8, 32)}
EPOCH = 15  # steps between evaluations of the whole grid, for both sides


def noise(z):
    """Features and scores of one size; for speed only, they mean nothing."""
    from aqa_lib.data import AssessmentSet

    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(z.N, z.T, z.D)), 0).astype(np.float32) * 0.3
    table = pd.DataFrame({"split": ["train"] * (z.N - z.N // 4) + ["test"] * (z.N // 4)})
    return AssessmentSet(name="noise", features=x, scores=rng.uniform(0, 100, z.N), ids=np.arange(z.N).astype(str),
                         table=table)  # fmt: skip


def where(device):
    """What it was measured on, in words."""
    import torch

    if device != "cpu":
        return f"on {torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    from aqa_lib.models.functions import fast_bf16

    fast = "with" if fast_bf16(torch.device("cpu")) else "without"
    kind = torch.backends.cpu.get_cpu_capability()
    return f"on one thread of a processor with {kind}, {fast} bf16 products, torch {torch.__version__}"


def markdown(table):
    """A table as GitHub shows it."""
    cells = [[("" if pd.isna(v) else str(v)) for v in row] for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
