"""The one training loop, for a run and for a thousand at once."""

from aqa_lib.training.checkpoint import Checkpoints
from aqa_lib.training.restore import Trained, restore
from aqa_lib.training.train import Result, train

__all__ = ["Checkpoints", "Result", "Trained", "restore", "train"]
