"""The dynamic branch of ACTION-NET: Zeng, Hong, Zheng, Yu, Zeng, Wang, Wu, "Hybrid dynamic-static context-aware
attention network for action assessment in long videos", ACM MM 2020.

Every segment's feature passes two FC layers with ReLU: h_t. Two graph layers over the segments,
c = relu(A relu(A h W_1) W_2), have the fixed adjacency A_ij = exp(-|i - j|), normalised by the roots of its row sums.
Attention over the segments, by FC-ReLU-FC and softmax of z_t = [h_t; c_t], pools them, v = sum_t a_t z_t, and a head
FC-ReLU-dropout-FC-sigmoid ends it. All this is as in the authors' code, whose sizes for features of 1024 numbers are
kept as shares of D: D/2 and D/4 of h, D/4 of c, D/8 of the attention and of the head, at least 32, 16 and 16.
"""

import torch

from aqa_lib.models.encoder import Head
from aqa_lib.models.functions import constant
from aqa_lib.models.layers import Dropout, Linear, Model


class DynamicBranch(Model):
    """x [K,T,B,D] -> [K,B] in (0, 1)."""

    def __init__(self, *, runs, segments, inputs, drop=0.5, precision="fp32"):
        super().__init__()
        wide, half, small = max(inputs // 2, 32), max(inputs // 4, 16), max(inputs // 8, 16)
        made = dict(runs=runs, precision=precision)
        self.embed = Head(inputs=inputs, hidden=wide, outputs=half, **made)
        self.first = Linear(inputs=half, outputs=half, **made)
        self.second = Linear(inputs=half, outputs=half, **made)
        self.attention = Head(inputs=2 * half, hidden=small, outputs=1, **made)
        self.head = Linear(inputs=2 * half, outputs=small, **made)
        self.drop = Dropout(drop)
        self.last = Linear(inputs=small, outputs=1, **made)
        self.adjacency = tuple(map(tuple, adjacency(segments).tolist()))

    def forward(self, x, keys=None):  # keys [K]: the key of this step's dropout bits
        K, T, B, _ = x.shape
        A = constant(self.adjacency, x.dtype, x.device).expand(K, T, T)

        def spread(h):  # every segment gets what its neighbours have
            return torch.bmm(A, h.view(K, T, -1)).view(K, T * B, -1)

        h = self.embed(x.flatten(1, 2)).relu()  # [K,TB,C]
        c = self.second(spread(self.first(spread(h)).relu())).relu()
        z = torch.cat([h, c], -1)
        a = self.attention(z).view(K, T, B, 1).softmax(1)
        v = (a * z.view(K, T, B, -1)).sum(1)  # [K,B,2C]
        return self.last(self.drop(self.head(v).relu(), keys)).squeeze(-1).sigmoid()


def adjacency(n):
    """D^-1/2 A D^-1/2 of A_ij = exp(-|i - j|), D the diagonal of its row sums; [n,n] float64."""
    place = torch.arange(n, dtype=torch.float64, device="cpu")
    A = torch.exp(-(place[:, None] - place).abs())
    scale = A.sum(1).rsqrt()
    return scale[:, None] * A * scale
