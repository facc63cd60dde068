"""What the layers are made of: chance on the device, products in place, and functions with their own backward.

Three functions have a hand-written backward, where autograd's would fill and add buffers of zeros: the temporal
convolution, its shared first application, and batch norm with the ReLU and dropout behind it. Measured forward and
backward on one AVX2 thread against autograd on the same formulas, at paper size, middle size and tiny K = 32: the
convolution 1.06, 1.2 and 1.2 times as fast, the norm 1.9, 1.4 and 1.5 times.
"""

import functools
import math
import time

import torch
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


def uniform(keys, shape):
    """Numbers in [0, 1) [*keys.shape, *shape], 24 bits each."""
    words = (hashed(keys, math.prod(shape)) >> 40).bitwise_and_((1 << 24) - 1)
    return words.to(torch.float32).mul_(2.0**-24).unflatten(-1, shape)


def normal(keys, shape):
    """Numbers of mean 0 and variance 1 [*keys.shape, *shape], each the sum of eight random bytes.

    Near enough to a normal distribution for noise (kurtosis 2.85 for 3), and the same bits on any device.
    """
    n = math.prod(shape)
    sums = hashed(keys, n).view(torch.uint8).unflatten(-1, (n, 8)).sum(-1, dtype=torch.int32)
    return sums.to(torch.float32).sub_(8 * 127.5).mul_((8 * (256**2 - 1) / 12) ** -0.5).unflatten(-1, shape)


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


@functools.cache
def fast_bf16(device):
    """Whether bfloat16 products are faster than fp32 ones, by the clock and asked once a process.

    A processor may name the feature and be slower with it; there products are emulated, with the same rounding.
    """
    a, b = (torch.ones(shape, device=device) for shape in ((1, 512, 256), (1, 256, 512)))  # nothing is drawn
    try:
        return least_seconds(a.bfloat16(), b.bfloat16()) < 0.9 * least_seconds(a, b)
    except RuntimeError:  # a device without such products
        return False


def least_seconds(a, b, rounds=5, count=4):
    """The least time of `count` products a @ b over some rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(count):
            torch.bmm(a, b)
        if a.is_cuda:
            torch.cuda.synchronize(a.device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


@functools.cache
def constant(values, dtype, device):
    """A tensor of these values (a tuple, or a tuple of tuples), made once: a step copies nothing to its device."""
    return torch.tensor(values, dtype=dtype, device=device)


def rows(h):
    """h [K,T,B,C] -> [K,TB,C], no copy."""
    return h.flatten(1, 2)


# functions with a backward of their own


class Convolve(Function):
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


class NormReluDropFunction(Function):
    """relu(x^ gamma + beta) * mask with x^ = (y - mean) / sqrt(var + eps), the statistics those of the batch.

    y [K,S,R,C], gamma, beta [K,C], mask [K,S,R,C] of 0 and 1 or None. `valid` [K,S,R,1] of 0 and 1 or None: rows with
    0 are beyond the end of a video, count in no statistic and come out as zeros. Returns the mean and variance used.
    """

    @staticmethod
    def forward(ctx, y, gamma, beta, mask, eps, valid=None):
        n = y.shape[2] if valid is None else valid.sum(2, keepdim=True)  # [K,S,1,1]
        mean = (y if valid is None else y * valid).sum(2, keepdim=True).div_(n)  # [K,S,1,C]
        xhat = y - mean
        if valid is not None:
            xhat *= valid
        var = (xhat * xhat).sum(2, keepdim=True).div_(n)
        rstd = (var + eps).rsqrt_()
        xhat *= rstd
        out = torch.addcmul(beta[:, None, None], xhat, gamma[:, None, None]).relu_()
        if mask is not None:
            out *= mask
        if valid is not None:
            out *= valid
        ctx.save_for_backward(xhat, rstd, gamma, out, valid)
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    def backward(ctx, g, *_):
        xhat, rstd, gamma, out, valid = ctx.saved_tensors
        g = torch.ops.aten.threshold_backward(g, out, 0)  # zero where the ReLU or a mask is zero
        n = g.shape[2] if valid is None else valid.sum(2, keepdim=True)
        dbeta = g.sum(2, keepdim=True)  # [K,S,1,C]
        dgamma = (g * xhat).sum(2, keepdim=True)
        a = gamma[:, None, None] * rstd
        dy = g.mul_(a).addcmul_(xhat, a * dgamma / -n).add_(a * dbeta / -n)
        if valid is not None:
            dy *= valid
        return dy, _over_sets(dgamma), _over_sets(dbeta), None, None, None


def _over_sets(d):
    """Sum [K,S,1,C] over sets one after another, so that an idle set's zeros change no bit of the others."""
    total = d[:, 0, 0]
    for s in range(1, d.shape[1]):
        total = total + d[:, s, 0]
    return total


class Product(Function):
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


def average(x, mask=None):
    """Mean over time of x [K,T,B,...] -> [K,B,...]; mask [K,T,B] is 0 beyond the end of a video."""
    if mask is None:
        return x.mean(1)
    mask = mask.view(*mask.shape, *[1] * (x.dim() - 3))
    return (x * mask).sum(1) / mask.sum(1)


def shares(length, count, longest):
    """The weights with which `count` equal shares of a video average its segments: length [...] -> [...,count,longest].

    Share p of a video of L segments covers the time from p L / count to (p + 1) L / count; a segment counts by its
    overlap with it. For L = count these are the segments themselves.
    """
    L = length.unsqueeze(-1).unsqueeze(-1)
    p = torch.arange(count, dtype=length.dtype, device=length.device).unsqueeze(-1)
    t = torch.arange(longest, dtype=length.dtype, device=length.device)
    overlap = torch.minimum((p + 1) * L / count, t + 1) - torch.maximum(p * L / count, t)
    return overlap.clamp(min=0) * (count / L)


def resampled(x, mask, count):
    """`count` equal shares of each video: x [...,T,B,C], mask [...,T,B] -> [...,count,B,C]."""
    weights = shares(mask.sum(-2), count, x.shape[-3])  # [...,B,count,T]
    return (weights @ x.transpose(-3, -2)).transpose(-3, -2)


def reverse_gradient(x, coefficient):
    """x in the forward pass, -coefficient times the gradient in the backward; coefficient [K] or a number."""
    if torch.is_tensor(coefficient):
        coefficient = coefficient.view(-1, *[1] * (x.dim() - 1))
    return x.detach() + coefficient * (x.detach() - x)
