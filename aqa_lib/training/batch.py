"""What a method sees of one step: videos, scores, keys, and the settings of the runs as tensors."""

from dataclasses import dataclass, field
from functools import cached_property

import torch


@dataclass
class Batch:
    """What a method sees of one step; sets are labelled, then unlabelled where a run of the stack uses them."""

    runs: list  # K settings
    x: torch.Tensor  # [K,S,T,B,*shape]
    y: torch.Tensor  # [K,B] scaled scores of the labelled
    keys: dict  # stream -> [K,n] int64
    step: int
    stack: object
    items: torch.Tensor | None = None  # [K,S,B] which of the pool's N items they are
    mask: torch.Tensor | None = None  # [K,S,T,B] 1 up to the end of each video, 0 beyond; None: all are of one length
    rows: torch.Tensor | None = None  # [K,S,T,B] where their segments stand in the pool
    probe: bool = False  # of a look at the mechanisms: videos that no step draws
    own: bool = False  # every video has its own target, in a control as well
    made: dict = field(default_factory=dict)

    @property
    def memory(self):
        """What the method keeps between steps: name -> [K, ...]."""
        return self.stack.memory

    @cached_property
    def length(self):
        """How many segments each video has in this batch [K,S,B]."""
        if self.mask is None:
            return torch.full_like(self.items, self.x.shape[2])
        return self.mask.sum(2).long()

    def view(self, name):
        """Features [K,S,T,B,*shape'] of the same segments in another view (flow, still, ...)."""
        return self.stack.pool.gather(self.stack.pool.views[name], self.rows)

    def target(self, name):
        """What else is known of the labelled items: the method's `targets` of that name, [K,B,...]."""
        return self.stack.pool.targets[name][self.items[:, 0]]

    def given(self, name):
        """What is known of all items: the method's `given` of that name, [K,S,B,...]."""
        return self.stack.pool.given[name][self.items]

    def better(self):
        """Ranked pairs among the labelled items [K,B,B]: 1 where item i is known to be better than item j."""
        return self.stack.better(self.items[:, 0])

    def masked(self, sets):
        """The mask [K,len(sets),T,B] of sets of videos, by the set of the batch that each of them stems from."""
        return None if self.mask is None else self.mask[:, list(sets)]

    def mask_of(self, s):
        """The mask [K,T,B] of one set."""
        return None if self.mask is None else self.mask[:, s]

    def progress(self):
        """Share of its steps that each run has taken [K]."""
        return self.step / self.weight("steps")

    def weight(self, name, switch=None):
        """A setting of every run [K]; zero where its switch is off."""
        return self.table(lambda s: [s[name] * s.get(switch, True)], key=(name, switch))[:, 0]

    def table(self, row, key=None):
        """row(settings) of every run as a tensor [K, n], made once a stack."""
        made = self.stack.tables
        key = key or row
        if key not in made:
            made[key] = self.x.new_tensor([row(s) for s in self.runs])
        return made[key]
