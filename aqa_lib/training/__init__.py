"""The one training loop, for a run and for a thousand at once."""

from aqa_lib.training.train import Result, capacity, stacks, train

__all__ = ["Result", "capacity", "stacks", "train"]
