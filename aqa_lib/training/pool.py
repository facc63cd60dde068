"""The data sets of a stack's runs on the device, once: rows of segments, item after item, and who has which.

Runs may be on one data set or on several of one shape (folds, tasks, worlds). Item i of a set is item offset + i of
the pool. A last row of zeros is what indices beyond the end of a video point to.
"""

from functools import cached_property

import numpy as np
import torch


class Pool:
    """Rows [R+1, *shape] of the features and of each view; start [N] and length [N] of every item's rows."""

    def __init__(self, method, sets, views, device, dtype, ragged=False):
        """`ragged`: make masks also where all videos have one length, for a network of videos of unequal length."""
        self.method, self.device, self.dtype = method, torch.device(device), dtype
        self.sets = list({id(data): data for data in sets}.values())
        sizes = np.cumsum([0, *map(len, self.sets)])
        self.offset = {id(data): int(n) for data, n in zip(self.sets, sizes[:-1], strict=True)}
        self.size, first = int(sizes[-1]), self.sets[0]
        self.T, self.ragged = first.features.shape[1], first.ragged or ragged
        lengths = [data.lengths if data.ragged else np.full(len(data), self.T) for data in self.sets]
        lengths = np.concatenate(lengths)
        self.start = self.put(np.cumsum(lengths) - lengths)
        self.length = self.put(lengths)
        self.x = self.rows([data.features for data in self.sets])
        self.views = {name: self.rows([data.view(name) for data in self.sets]) for name in views}
        self.given = self.columns(method.given)

    @cached_property
    def targets(self):
        """What only training needs of items: a set that is predicted alone may lack it."""
        return self.columns(self.method.targets)

    def put(self, array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def rows(self, features):
        """[R+1, *shape] of a list of features, [N,T,*shape] or ragged."""
        parts = [x.rows if hasattr(x, "rows") else x.reshape(-1, *x.shape[2:]) for x in features]
        count = sum(map(len, parts))
        out = torch.zeros(count + 1, *parts[0].shape[1:], dtype=self.dtype, device=self.device)
        start = 0
        for part in parts:
            out[start : start + len(part)].copy_(torch.from_numpy(part))
            start += len(part)
        return out

    def columns(self, of):
        """{name: [N, ...]} of what is known of items, set after set; shorter last axes are filled up with -1."""
        tables = [of(data) for data in self.sets]
        return {name: self.put(_joined([table[name] for table in tables])) for name in tables[0]}

    def times(self, items, t=None):
        """(rows [K,S,T,B], mask [K,S,T,B] or None) of segments t of items [K,S,B]; t None: all of the longest."""
        if t is None:
            t = torch.arange(self.T, device=self.device)[:, None]
        rows = self.start[items].unsqueeze(2) + t
        if not self.ragged:
            return rows, None
        valid = t < self.length[items].unsqueeze(2)
        return rows.masked_fill(~valid, len(self.x) - 1), valid.to(self.dtype)

    @staticmethod
    def gather(x, rows):
        """x [R+1, *shape], rows [K,S,T,B] -> [K,S,T,B,*shape]."""
        return x.index_select(0, rows.flatten()).view(*rows.shape, *x.shape[1:])


def _joined(values):
    """Arrays [N_i, ..., L_i] under one another; shorter last axes are filled up with -1."""
    if len({v.shape[1:] for v in values}) > 1:
        most = max(v.shape[-1] for v in values)
        values = [np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, most - v.shape[-1])], constant_values=-1) for v in values]
    return np.concatenate(values)
