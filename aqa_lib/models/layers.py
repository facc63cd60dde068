"""Layers whose weights carry a leading run dimension K: one set of layers trains one run or a thousand.

A tensor of activations is h [K, S, T, B, C]: run, set (labelled, unlabelled, masked ...), time, item, channel.
Each set is a slab of its own in every product and every statistic, so that what one set (or one run) computes
never depends on which others stand beside it: run k of a stack has the bits that it has alone. Weights are made
by `Model.initialise` from (run seed, name of the layer), never from a global stream.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from aqa_lib import chance
from aqa_lib.models.functions import Convolve, NormReluDropFunction, Product, keep_bytes


class RunLayer(nn.Module):
    """A layer with a leading run dimension; `fan_in` bounds its uniform initial values as torch's layers do."""

    fan_in = None


class Linear(RunLayer):
    """y = x W + b for x [K, R, in]; an output of one number is a weighted sum, since a product of one column
    is computed differently for one run than for many."""

    def __init__(self, *, runs, inputs, outputs, precision="fp32"):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(runs, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(runs, outputs))
        self.fan_in, self.precision = inputs, precision

    def forward(self, x):
        if self.weight.shape[-1] == 1:
            return (x * self.weight.mT).sum(-1, keepdim=True) + self.bias[:, None]
        if self.precision == "fp32":
            return torch.baddbmm(self.bias[:, None], x, self.weight)
        return Product.apply(x, self.weight, self.precision) + self.bias[:, None]


class TemporalConv(RunLayer):
    """Convolution over time, kernel 3, zeros beyond the ends, no bias (a batch norm follows)."""

    def __init__(self, *, runs, inputs, outputs, precision="fp32"):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(runs, 3, inputs, outputs))
        self.fan_in, self.precision = 3 * inputs, precision

    def forward(self, h, keeps=()):  # h [K,S,T,B,in] -> [K, S, T, B, out], or S - 1 + len(keeps) sets
        return Convolve.apply(h, self.weight, keeps, self.precision)


class NormReluDrop(RunLayer):
    """Batch norm over time and items, ReLU, dropout: y [K,S,T,B,C] -> the same shape.

    In training each set is normalised by its own batch statistics, as separate calls of an encoder would;
    the running ones follow the first set (the labelled videos). In evaluation the running ones normalise.
    """

    def __init__(self, *, runs, channels, drop=0.0, momentum=0.1, eps=1e-5):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(runs, channels))
        self.beta = nn.Parameter(torch.zeros(runs, channels))
        self.register_buffer("mean", torch.zeros(runs, channels))
        self.register_buffer("var", torch.ones(runs, channels))
        self.drop, self.momentum, self.eps = round(256 * drop) / 256, momentum, eps
        self.track = True  # whether the running statistics follow; see `Model.still`

    def forward(self, y, keys=None, valid=None):
        """keys [K,S] int64: where this step's dropout bits begin; valid [K,S,T,B]: 0 beyond the end of a video."""
        if not self.training:
            a = self.gamma / (self.var + self.eps).sqrt()
            b = self.beta - self.mean * a
            out = torch.addcmul(b[:, None, None, None], y, a[:, None, None, None]).relu_()
            return out if valid is None else out * valid.unsqueeze(-1)  # in place the ReLU would lose its gradient
        shape, gamma, beta, mask = y.shape, self.gamma, self.beta, None
        if self.drop and keys is not None:
            mask = keep_bytes(keys, shape[2:], self.drop).to(y.dtype).flatten(2, 3)
            gamma, beta = gamma / (1 - self.drop), beta / (1 - self.drop)  # the survivors' scale
        rows = None if valid is None else valid.flatten(2, 3).unsqueeze(-1)  # [K,S,TB,1]
        out, mean, var = NormReluDropFunction.apply(y.flatten(2, 3), gamma, beta, mask, self.eps, rows)
        if not self.track:
            return out.view(shape)
        with torch.no_grad():
            n = shape[2] * shape[3] if rows is None else rows[:, 0].sum(1)  # [K,1]
            self.mean.lerp_(mean[:, 0, 0], self.momentum)
            self.var.lerp_(var[:, 0, 0] * (n / (n - 1)), self.momentum)
        return out.view(shape)


class Dropout(nn.Module):
    """Each number of x [K, ...] kept with probability 1 - p (in steps of 1/256) and scaled by its inverse."""

    def __init__(self, p):
        super().__init__()
        self.p = round(256 * p) / 256

    def forward(self, x, keys):  # keys [K] int64: the key of this step's bits
        if not (self.training and self.p):
            return x
        return x * keep_bytes(keys, x.shape[1:], self.p).to(x.dtype) / (1 - self.p)


class GRUCell(RunLayer):
    """h' = (1 - z) n + z h, gates as in torch.nn.GRUCell; x [K,B,in], h [K,B,hidden]."""

    def __init__(self, *, runs, inputs, hidden):
        super().__init__()
        self.weight_x = nn.Parameter(torch.empty(runs, inputs, 3 * hidden))
        self.weight_h = nn.Parameter(torch.empty(runs, hidden, 3 * hidden))
        self.bias_x = nn.Parameter(torch.empty(runs, 3 * hidden))
        self.bias_h = nn.Parameter(torch.empty(runs, 3 * hidden))
        self.fan_in = hidden

    def forward(self, x, h):
        r_x, z_x, n_x = torch.baddbmm(self.bias_x[:, None], x, self.weight_x).chunk(3, -1)
        r_h, z_h, n_h = torch.baddbmm(self.bias_h[:, None], h, self.weight_h).chunk(3, -1)
        z = torch.sigmoid(z_x + z_h)
        return torch.lerp(torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h), h, z)


class Attention(RunLayer):
    """Pooling over positions: a_i = softmax_i w tanh(x_i W + b), v = sum_i a_i x_i; x [K,B,I,C] -> v [K,B,C], a."""

    def __init__(self, *, runs, inputs, hidden):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(runs, inputs, hidden))
        self.bias = nn.Parameter(torch.empty(runs, hidden))
        self.score = nn.Parameter(torch.empty(runs, hidden))
        self.fan_in = inputs

    def forward(self, x):
        K, B, n, C = x.shape
        hidden = torch.baddbmm(self.bias[:, None], x.reshape(K, B * n, C), self.weight).tanh()
        a = (hidden * self.score[:, None]).sum(-1).view(K, B, n).softmax(-1)
        return (a.unsqueeze(-1) * x).sum(2), a


class Model(nn.Module):
    """Base of every network: K runs of it, in one flat buffer [K, P] that an optimiser updates as a whole."""

    def initialise(self, seeds):
        """Every weight from (run seed, its name), uniform in +-1/sqrt(fan_in); then flatten."""
        for name, layer in self.named_modules():
            if getattr(layer, "fan_in", None) is None:
                continue
            bound = layer.fan_in**-0.5
            for place, parameter in layer.named_parameters(recurse=False):
                n = parameter[0].numel()
                for k, seed in enumerate(seeds):
                    u = chance.uniform(chance.key(seed, "init", name, place), n)
                    value = torch.from_numpy(np.asarray(bound * (2 * u - 1))).view(parameter[k].shape)
                    parameter.data[k].copy_(value)
        return self.flatten()

    def flatten(self):
        """Move parameters and gradients into two buffers [K, P]; P a multiple of 16, so that no run of the
        optimiser's vector loop ends inside another run's tail."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        sizes = [p[0].numel() for p in parameters]
        K, P = parameters[0].shape[0], -(-sum(sizes) // 16) * 16
        self.flat = parameters[0].new_zeros(K, P)
        self.flat_grad = torch.zeros_like(self.flat)
        self.parts, start = [], 0
        for p, size in zip(parameters, sizes, strict=True):
            view = self.flat[:, start : start + size].view(p.shape)
            view.copy_(p.data)
            p.data = view
            self.parts.append((p, self.flat_grad[:, start : start + size].view(p.shape)))
            start += size
        return self

    def differentiate(self, loss):
        """The gradient of the sum of all runs' losses [K] into `flat_grad`; zero for what no loss has used."""
        parameters, views = zip(*self.parts, strict=True)
        gradients = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
        used = [(view, g) for view, g in zip(views, gradients, strict=True) if g is not None]
        torch._foreach_copy_(*map(list, zip(*used, strict=True)))
        if idle := [view for view, g in zip(views, gradients, strict=True) if g is None]:
            torch._foreach_zero_(idle)  # another step's loss may have used it

    def select(self, keep):
        """Keep only these runs (indices): parameters and buffers are sliced, nothing is recomputed."""
        for layer in self.modules():
            for name, value in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(value.data[keep].clone(), requires_grad=value.requires_grad))
            for name, value in list(layer.named_buffers(recurse=False)):
                setattr(layer, name, value[keep].clone())
        return self.flatten()

    @contextmanager
    def still(self):
        """Inside, training passes leave the running statistics alone: for perturbed or mixed copies."""
        norms = [layer for layer in self.modules() if isinstance(layer, NormReluDrop)]
        before = [norm.track for norm in norms]
        for norm in norms:
            norm.track = False
        try:
            yield
        finally:
            for norm, track in zip(norms, before, strict=True):
                norm.track = track

    def state(self, k):
        """Run k's weights and statistics by name, as numpy arrays."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: value.detach()[k].cpu().numpy() for name, value in named}
