"""Layers whose weights carry a leading run dimension K: one set of layers trains one run or a thousand.

A tensor of activations is h [K, S, T, B, C]: run, set (labelled, unlabelled, masked ...), time, item, channel.
Each set is a slab of its own in every product and every statistic, so that what one set (or one run) computes
never depends on which others stand beside it: run k of a stack has the bits that it has alone.

Three layers have a hand-written backward, where autograd's would fill and add buffers of zeros: the temporal
convolution, its shared first application, and batch norm with the ReLU and dropout behind it. Measured forward and
backward on one AVX2 thread against autograd on the same formulas, at paper size, middle size and tiny K = 32: the
convolution 1.06, 1.2 and 1.2 times as fast, the norm 1.9, 1.4 and 1.5 times. The others are plain. Weights are made
by `Model.initialise` from (run seed, name of the layer), never from a global stream.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.autograd import Function

from aqa_lib import chance

# helpers


def signed(word):
    """A 64-bit word as the int64 that holds the same bits."""
    return word - (1 << 64) if word >= 1 << 63 else word


def hashed(keys, n):
    """`chance.words` on the device: keys [...] int64 -> [..., n] int64, the same bits on any device."""
    z = keys.unsqueeze(-1) + places(n, keys.device)
    z.bitwise_xor_((z >> 30).bitwise_and_((1 << 34) - 1)).mul_(signed(chance.MIX1))
    z.bitwise_xor_((z >> 27).bitwise_and_((1 << 37) - 1)).mul_(signed(chance.MIX2))
    return z.bitwise_xor_((z >> 31).bitwise_and_((1 << 33) - 1))


_places = {}


def places(n, device):
    """1..n times the golden ratio, kept: every step asks for the same few."""
    if (n, device) not in _places:
        _places[n, device] = torch.arange(1, n + 1, dtype=torch.int64, device=device) * signed(chance.GOLDEN)
    return _places[n, device]


def keep_bytes(keys, shape, p):
    """0/1 bytes [*keys.shape, *shape] that are 0 with probability p (in steps of 1/256)."""
    n = math.prod(shape)
    bits = hashed(keys, -(-n // 8)).view(torch.uint8)[..., :n]
    return bits.ge_(round(256 * p)).unflatten(-1, shape)


def product(out, a, b, precision, add=False):
    """out = a @ b, or out += a @ b, in place; a [K,M,C], b [K,C,O], out a view [K,M,O].

    With "bf16" operands and result are rounded to bfloat16, the sums inside are kept in fp32.
    """
    if precision == "bf16":
        if fast_bf16(a.device):
            ab = torch.bmm(a.bfloat16(), b.bfloat16())
            return out.add_(ab) if add else out.copy_(ab)
        ab = torch.bmm(a.bfloat16().to(a.dtype), b.bfloat16().to(b.dtype)).bfloat16()  # emulated in fp32
        return out.add_(ab) if add else out.copy_(ab)
    return out.baddbmm_(a, b) if add else torch.bmm(a, b, out=out)


def fast_bf16(device):
    """Whether bfloat16 products are computed by the hardware (elsewhere they are slower than fp32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def rows(h):
    """h [K,T,B,C] -> [K,TB,C], no copy."""
    return h.flatten(1, 2)


# functions with a backward of their own


class _Convolve(Function):
    """y_t = h_{t-1} W_0 + h_t W_1 + h_{t+1} W_2, zeros beyond the ends: three products, no unfolding.

    With `keeps` the last set comes out once for each of them: whole (None) or with its segments multiplied by
    keep [K,T,B] of 0 and 1. Masking is done on the products before they are summed, so that a video and its
    masked copy share them.
    """

    @staticmethod
    def forward(ctx, h, weight, keeps, precision):
        K, S, T, B, _ = h.shape
        plain = S - bool(keeps)
        y = h.new_empty(K, plain + len(keeps), T, B, weight.shape[-1])
        for s in range(plain):
            hs, ys = h[:, s], y[:, s]
            product(rows(ys), rows(hs), weight[:, 1], precision)
            product(rows(ys[:, 1:]), rows(hs[:, :-1]), weight[:, 0], precision, add=True)
            product(rows(ys[:, :-1]), rows(hs[:, 1:]), weight[:, 2], precision, add=True)
        if keeps:
            z = h.new_empty(3, K, T, B, weight.shape[-1])
            for d in range(3):
                product(rows(z[d]), rows(h[:, -1]), weight[:, d], precision)
            for out, keep in zip(y[:, plain:].unbind(1), keeps, strict=True):
                kept = z if keep is None else z * keep.unsqueeze(-1)
                out.copy_(kept[1])
                out[:, 1:] += kept[0, :, :-1]
                out[:, :-1] += kept[2, :, 1:]
        ctx.save_for_backward(h, weight)
        ctx.keeps, ctx.precision = keeps, precision
        return y

    @staticmethod
    def backward(ctx, g):
        h, weight = ctx.saved_tensors
        g, p, wt = g.contiguous(), ctx.precision, weight.mT
        plain = h.shape[1] - bool(ctx.keeps)
        dh = torch.empty_like(h) if ctx.needs_input_grad[0] else None
        dw = torch.empty_like(weight, memory_format=torch.contiguous_format)
        for s in range(plain):
            hs, gs = h[:, s], g[:, s]
            product(dw[:, 0], rows(hs[:, :-1]).mT, rows(gs[:, 1:]), p, add=s > 0)
            product(dw[:, 1], rows(hs).mT, rows(gs), p, add=s > 0)
            product(dw[:, 2], rows(hs[:, 1:]).mT, rows(gs[:, :-1]), p, add=s > 0)
            if dh is not None:
                ds = dh[:, s]
                product(rows(ds), rows(gs), wt[:, 1], p)
                product(rows(ds[:, :-1]), rows(gs[:, 1:]), wt[:, 0], p, add=True)
                product(rows(ds[:, 1:]), rows(gs[:, :-1]), wt[:, 2], p, add=True)
        if ctx.keeps:
            dz = _spread(g[:, plain:], ctx.keeps)  # [3,K,T,B,O]
            for d in range(3):
                product(dw[:, d], rows(h[:, -1]).mT, rows(dz[d]), p, add=plain > 0)
                if dh is not None:
                    product(rows(dh[:, -1]), rows(dz[d]), wt[:, d], p, add=d > 0)
        return dh, dw, None, None


def _spread(g, keeps):
    """The gradient of the three products [3,K,T,B,O] from those of the copies [K,len(keeps),T,B,O]."""
    dz = g.new_zeros(3, g.shape[0], *g.shape[2:])
    for gs, keep in zip(g.unbind(1), keeps, strict=True):
        one = g.new_ones(1, 1, 1, 1) if keep is None else keep.unsqueeze(-1)
        dz[0, :, :-1].addcmul_(gs[:, 1:], one[:, :-1] if keep is not None else one)
        dz[1].addcmul_(gs, one)
        dz[2, :, 1:].addcmul_(gs[:, :-1], one[:, 1:] if keep is not None else one)
    return dz


class _NormReluDrop(Function):
    """relu(x^ gamma + beta) * mask with x^ = (y - mean) / sqrt(var + eps), the statistics given or the batch's.

    y [K,S,R,C], gamma, beta [K,C], mask [K,S,R,C] of 0 and 1 or None. Returns the mean and variance used.
    """

    @staticmethod
    def forward(ctx, y, gamma, beta, mask, eps):
        n = y.shape[2]
        mean = y.sum(2, keepdim=True).div_(n)  # [K,S,1,C]
        xhat = y - mean
        var = (xhat * xhat).sum(2, keepdim=True).div_(n)
        rstd = (var + eps).rsqrt_()
        xhat *= rstd
        out = torch.addcmul(beta[:, None, None], xhat, gamma[:, None, None]).relu_()
        if mask is not None:
            out *= mask
        ctx.save_for_backward(xhat, rstd, gamma, out)
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    def backward(ctx, g, *_):
        xhat, rstd, gamma, out = ctx.saved_tensors
        g = torch.ops.aten.threshold_backward(g, out, 0)  # zero where the ReLU or the mask is zero
        n = g.shape[2]
        dbeta = g.sum(2, keepdim=True)  # [K,S,1,C]
        dgamma = (g * xhat).sum(2, keepdim=True)
        a = gamma[:, None, None] * rstd
        dy = g.mul_(a).addcmul_(xhat, a * dgamma / -n).add_(a * dbeta / -n)
        return dy, _over_sets(dgamma), _over_sets(dbeta), None, None


def _over_sets(d):
    """Sum [K,S,1,C] over sets one after another, so that an idle set's zeros change no bit of the others."""
    total = d[:, 0, 0]
    for s in range(1, d.shape[1]):
        total = total + d[:, s, 0]
    return total


# layers


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
        return _Product.apply(x, self.weight, self.precision) + self.bias[:, None]


class _Product(Function):
    """x W with rounded operands, in both directions."""

    @staticmethod
    def forward(ctx, x, weight, precision):
        ctx.save_for_backward(x, weight)
        ctx.precision = precision
        return product(x.new_empty(*x.shape[:2], weight.shape[-1]), x, weight, precision)

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        g = g.contiguous()
        dx = product(torch.empty_like(x), g, weight.mT, ctx.precision) if ctx.needs_input_grad[0] else None
        dw = x.new_empty(weight.shape)
        return dx, product(dw, x.mT, g, ctx.precision), None


class TemporalConv(RunLayer):
    """Convolution over time, kernel 3, zeros beyond the ends, no bias (a batch norm follows)."""

    def __init__(self, *, runs, inputs, outputs, precision="fp32"):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(runs, 3, inputs, outputs))
        self.fan_in, self.precision = 3 * inputs, precision

    def forward(self, h, keeps=()):  # h [K,S,T,B,in] -> [K, S, T, B, out], or S - 1 + len(keeps) sets
        return _Convolve.apply(h, self.weight, keeps, self.precision)


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

    def forward(self, y, keys=None):  # keys [K,S] int64: the place of this step's dropout bits
        if not self.training:
            a = self.gamma / (self.var + self.eps).sqrt()
            b = self.beta - self.mean * a
            return torch.addcmul(b[:, None, None, None], y, a[:, None, None, None]).relu_()
        shape, gamma, beta, mask = y.shape, self.gamma, self.beta, None
        if self.drop and keys is not None:
            mask = keep_bytes(keys, shape[2:], self.drop).to(y.dtype).flatten(2, 3)
            gamma, beta = gamma / (1 - self.drop), beta / (1 - self.drop)  # the survivors' scale
        out, mean, var = _NormReluDrop.apply(y.flatten(2, 3), gamma, beta, mask, self.eps)
        with torch.no_grad():
            n = shape[2] * shape[3]
            self.mean.lerp_(mean[:, 0, 0], self.momentum)
            self.var.lerp_(var[:, 0, 0] * (n / (n - 1)), self.momentum)
        return out.view(shape)


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


def reverse_gradient(x, coefficient):
    """x in the forward pass, -coefficient times the gradient in the backward; coefficient [K] or a number."""
    if torch.is_tensor(coefficient):
        coefficient = coefficient.view(-1, *[1] * (x.dim() - 1))
    return x.detach() + coefficient * (x.detach() - x)


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
        parameters = list(self.parameters())
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

    def select(self, keep):
        """Keep only these runs (indices): parameters and buffers are sliced, nothing is recomputed."""
        for layer in self.modules():
            for name, value in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(value.data[keep].clone()))
            for name, value in list(layer.named_buffers(recurse=False)):
                setattr(layer, name, value[keep].clone())
        return self.flatten()

    def state(self, k):
        """Run k's weights and statistics by name, as numpy arrays."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: value.detach()[k].cpu().numpy() for name, value in named}
