"""The networks of C3D-AVG-STL and -MTL: Parmar, Morris, "What and how well you performed? A multitask learning approach
to action quality assessment", CVPR 2019.

Stated there: the mean of the clips' features, an FC layer with ReLU (half as wide as the features) and linear heads for
the score and five attributes of the dive; a caption head that reads the clips one after another, of the kind of S2VT
(Venugopalan et al., "Sequence to sequence: video to text", ICCV 2015): two stacked recurrent layers run over the clips
and on over the words; the first gets the clips, then zeros; the second the first's state beside zeros, then beside the
word before; its state gives the next word. Chosen here: GRUs of one layer each, word vectors and states of width D/2.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function

from aqa_lib.models.functions import average, constant
from aqa_lib.models.layers import Dropout, GRUCell, Linear, Model, RunLayer


class Average(Model):
    """x [K,T,B,D] -> features h [K,B,H] with the heads `score`, `attributes` and `caption` on them or on x."""

    def __init__(self, *, runs, inputs, classes=(), words=0, drop=0.0, precision="fp32"):
        super().__init__()
        hidden = max(inputs // 2, 32)
        self.fc = Linear(runs=runs, inputs=inputs, outputs=hidden, precision=precision)
        self.score = Linear(runs=runs, inputs=hidden, outputs=1, precision=precision)
        if classes:
            self.attributes = Attributes(runs=runs, inputs=hidden, classes=classes, precision=precision)
            self.caption = Caption(runs=runs, inputs=inputs, hidden=hidden, words=words, drop=drop)

    def forward(self, x, mask=None):  # mask [K,T,B]: 0 beyond the end of a video
        return self.fc(average(x, mask)).relu()

    def scores(self, h):
        """h [K,B,H] -> predicted scores [K,B]."""
        return self.score(h).squeeze(-1)


class Attributes(nn.Module):
    """Linear heads of `classes` outputs each, in one product: h [K,B,H] -> [K,B,heads,most], -inf where none is."""

    def __init__(self, *, runs, inputs, classes, precision):
        super().__init__()
        self.heads, self.most, self.classes = len(classes), max(classes), classes
        self.linear = Linear(runs=runs, inputs=inputs, outputs=self.heads * self.most, precision=precision)

    def forward(self, h):
        logits = self.linear(h).unflatten(-1, (self.heads, self.most))
        absent = (
            torch.arange(self.most, device=h.device) >= constant(tuple(self.classes), torch.int64, h.device)[:, None]
        )
        return logits.masked_fill(absent, float("-inf"))


class WordVectors(RunLayer):
    """A vector for each of `words` words: ids [K,R] -> [K,R,C]."""

    def __init__(self, *, runs, words, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(runs, words, channels))
        self.fan_in = channels

    def forward(self, ids):
        K, V, _ = self.weight.shape
        return F.embedding(ids + V * torch.arange(K, device=ids.device)[:, None], self.weight.flatten(0, 1))


class Caption(nn.Module):
    """Segments x [K,T,B,D] and the words before [K,L,B] (ids) -> logits of the next words [K,L*B,n], the first n."""

    def __init__(self, *, runs, inputs, hidden, words, drop):
        super().__init__()
        self.vectors = WordVectors(runs=runs, words=words, channels=hidden)
        self.first = GRUCell(runs=runs, inputs=inputs, hidden=hidden)
        self.second = GRUCell(runs=runs, inputs=2 * hidden, hidden=hidden)
        self.drop = Dropout(drop)
        self.last = Linear(runs=runs, inputs=hidden, outputs=words)

    def forward(self, x, before, n, keys, mask=None):
        """keys [K]: where this step's dropout bits begin, of the states from which words are told; mask [K,T,B]: a
        state stays as it is beyond the end of a video."""
        (K, T, B, _), L, H, f, g = x.shape, before.shape[1], self.vectors.weight.shape[-1], self.first, self.second
        start = x.new_zeros(K, B, H)
        a = unroll(f, products(f.bias_x, x.flatten(1, 2), f.weight_x), start, T, mask)
        b = unroll(g, products(g.bias_x, a.flatten(1, 2), g.weight_x[:, :H]), start, T, mask)
        a = unroll(f, f.bias_x[:, None].expand(-1, L * B, -1), a[:, -1], L)  # zeros as input
        into = products(g.bias_x, a.flatten(1, 2), g.weight_x[:, :H])
        into = torch.baddbmm(into, self.vectors(before.flatten(1)), g.weight_x[:, H:])
        b = self.drop(unroll(g, into, b[:, -1], L).flatten(1, 2), keys)
        return products(self.last.bias[:, :n], b, self.last.weight[..., :n])


def products(bias, x, weight):
    return torch.baddbmm(bias[:, None], x, weight)


def unroll(cell, into, start, steps, mask=None):
    """States [K,L,B,H] of a GRU cell from `start` [K,B,H] on; `into` [K,LB,3H]: the products of all its inputs.

    Where mask [K,L,B] is 0 the state stays as it is.
    """
    return Unroll.apply(into.unflatten(1, (steps, -1)), start, cell.weight_h, cell.bias_h, mask)


class Unroll(Function):
    """The recurrent products of a GRU one after another; backwards, one product for the weights of all steps.

    h' = (1 - z) n + z h, n = tanh(x_n + r u), with u the third part of h W + b; r, z, n and u are kept.
    """

    @staticmethod
    def forward(ctx, into, start, weight, bias, mask):
        (K, L, B, _), H = into.shape, start.shape[-1]
        states, gates = into.new_empty(K, L + 1, B, H), into.new_empty(K, L, B, 4 * H)
        states[:, 0] = start
        for t in range(L):
            x, h, (r, z, n, u) = into[:, t], states[:, t], gates[:, t].chunk(4, -1)
            y = torch.baddbmm(bias[:, None], h, weight)
            torch.add(x[..., : 2 * H], y[..., : 2 * H], out=gates[:, t, :, : 2 * H]).sigmoid_()
            if mask is not None:
                z.masked_fill_(mask[:, t, :, None] == 0, 1)  # h' = h, and no gradient to any gate
            u.copy_(y[..., 2 * H :])
            torch.addcmul(x[..., 2 * H :], r, u, out=n).tanh_()
            torch.lerp(n, h, z, out=states[:, t + 1])
        ctx.save_for_backward(weight, states, gates)
        return states[:, 1:]

    @staticmethod
    def backward(ctx, g):
        weight, states, gates = ctx.saved_tensors
        (K, L, B, H), wt = g.shape, weight.mT
        dx, dy = g.new_empty(K, L, B, 3 * H), g.new_empty(K, L, B, 3 * H)  # of the input's and the state's products
        dh = torch.zeros_like(states[:, 0])
        for t in range(L - 1, -1, -1):
            (r, z, n, u), (dr, dz, du), dn = gates[:, t].chunk(4, -1), dy[:, t].chunk(3, -1), dx[:, t, :, 2 * H :]
            dh = g[:, t] + dh
            kept = torch.addcmul(dh, dh, z, value=-1)  # dh (1 - z)
            torch.mul(states[:, t] - n, z, out=dz).mul_(kept)
            torch.addcmul(kept, kept * n, n, value=-1, out=dn)
            torch.mul(dn, r, out=du)
            through = du * u
            torch.addcmul(through, through, r, value=-1, out=dr)
            dh = torch.bmm(dy[:, t], wt).addcmul_(dh, z)
        dx[..., : 2 * H] = dy[..., : 2 * H]
        dy = dy.flatten(1, 2)
        return dx, dh, torch.bmm(states[:, :-1].flatten(1, 2).mT, dy), dy.sum(1), None
