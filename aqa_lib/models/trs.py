"""TRS's networks on segment features: Yun, Qi, Peng, Ma, "Semi-supervised teacher-reference-student architecture for
action quality assessment", ECCV 2024.

Student and teacher are MLP-Mixers over segments (Tolstikhin et al., "MLP-Mixer: An all-MLP architecture for vision",
NeurIPS 2021): blocks of a network over segments and one over channels, each behind a layer norm and beside a residual
path; then layer norm, mean over segments, one linear layer of two outputs. In the released code depth 8 and hidden
widths 512 over segments and 2048 over channels for D = 1024, here D/2 and 2D. The reference's code is not released:
here one head of cross-attention from a video's segments to another's, added to the former, layer norm, mean over
segments, and layers D/4 and D/8 (the code has such an evaluator, 1024-256-128). Biases that nothing can depend on are
left out, since they would drift by rounding: those of keys, and of the second layer over segments, a constant over
channels that every later layer norm removes. Activations are h [K,T,B,D], segments
first, so that both networks of a block are one product a layer.
"""

import torch
import torch.nn.functional as F
from torch import nn

from aqa_lib.models.functions import Product
from aqa_lib.models.layers import Linear, Model, RunLayer

LEAST = 0.01  # variance that an output cannot go below, on scores of at most about 5


class LayerNorm(RunLayer):
    """Mean 0 and variance 1 over channels, then scale and shift of each run: h [K, ..., C] -> the same shape."""

    def __init__(self, *, runs, channels, eps=1e-5):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(runs, channels))
        self.beta = nn.Parameter(torch.zeros(runs, channels))
        self.eps = eps

    def forward(self, h):
        rows = F.layer_norm(h, h.shape[-1:], eps=self.eps).flatten(1, -2)  # [K,R,C], so that sums are as a Linear's
        return torch.addcmul(self.beta.unsqueeze(1), rows, self.gamma.unsqueeze(1)).view(h.shape)


class Projection(Linear):
    """y = x W, without the bias: x [K,R,in] -> [K,R,out]."""

    def __init__(self, **made):
        super().__init__(**made)
        self.bias = None

    def forward(self, x):
        return torch.bmm(x, self.weight) if self.precision == "fp32" else Product.apply(x, self.weight, self.precision)


class Columns(Linear):
    """y = W^T x + b: a linear layer over the first of two dimensions, x [K,in,M] -> [K,out,M], always in fp32."""

    def __init__(self, *, bias=True, **made):
        super().__init__(**made)
        self.bias = self.bias if bias else None

    def forward(self, x):
        if self.bias is None:
            return torch.bmm(self.weight.mT, x)
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight.mT, x)


class Block(nn.Module):
    """h + tokens(norm h), then h + channels(norm h), each network linear-GELU-linear; h [K,T,B,D]."""

    def __init__(self, *, runs, segments, inputs, tokens, channels, precision):
        super().__init__()
        self.norm1, self.norm2 = (LayerNorm(runs=runs, channels=inputs) for _ in range(2))
        self.token1 = Columns(runs=runs, inputs=segments, outputs=tokens)
        self.token2 = Columns(runs=runs, inputs=tokens, outputs=segments, bias=False)  # every norm would remove it
        self.channel1 = Linear(runs=runs, inputs=inputs, outputs=channels, precision=precision)
        self.channel2 = Linear(runs=runs, inputs=channels, outputs=inputs, precision=precision)

    def forward(self, h):
        h = h + self.token2(F.gelu(self.token1(self.norm1(h).flatten(2)))).view(h.shape)
        return h + self.channel2(F.gelu(self.channel1(self.norm2(h).flatten(1, 2)))).view(h.shape)


class Mixer(Model):
    """x [K,T,B,D] -> score and variance, [K,B] each."""

    def __init__(self, *, runs, segments, inputs, depth, precision="fp32"):
        super().__init__()
        made = dict(runs=runs, segments=segments, inputs=inputs, tokens=max(inputs // 2, 16), channels=2 * inputs)
        self.blocks = nn.ModuleList(Block(**made, precision=precision) for _ in range(depth))
        self.norm = LayerNorm(runs=runs, channels=inputs)
        self.last = Linear(runs=runs, inputs=inputs, outputs=2, precision=precision)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return outputs(self.last(self.norm(x).mean(1)))


class Reference(Model):
    """x, other [K,T,B,D] -> how much better x is than the other video, and the variance of that, [K,B] each."""

    def __init__(self, *, runs, inputs, precision="fp32"):
        super().__init__()
        made = dict(runs=runs, precision=precision)
        self.norm, self.after = (LayerNorm(runs=runs, channels=inputs) for _ in range(2))
        self.query = Projection(inputs=inputs, outputs=inputs, **made)
        self.pair = Projection(inputs=inputs, outputs=2 * inputs, **made)  # keys and values
        self.out = Linear(inputs=inputs, outputs=inputs, **made)
        widths = [inputs, max(inputs // 4, 16), max(inputs // 8, 16), 2]
        self.layers = nn.ModuleList(
            Linear(inputs=a, outputs=b, **made) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, x, other):
        T, B, D = x.shape[1:]
        query = videos(self.query(self.norm(x).flatten(1, 2)), T, B)
        key, value = (videos(part, T, B) for part in self.pair(self.norm(other).flatten(1, 2)).chunk(2, -1))
        attended = F.softmax(query @ key.mT / D**0.5, -1) @ value  # [K,B,T,D]
        h = x + self.out(attended.transpose(1, 2).flatten(1, 2)).view(x.shape)
        h = self.after(h).mean(1)
        for layer in self.layers[:-1]:
            h = layer(h).relu()
        return outputs(self.layers[-1](h))


def videos(rows, T, B):
    """[K,TB,C] -> [K,B,T,C], copied: products of a view are computed differently for one run than for many."""
    return rows.unflatten(1, (T, B)).transpose(1, 2).contiguous()


def outputs(h):
    """Two outputs [K,B,2] -> a score and a variance above LEAST, [K,B] each."""
    return h[..., 0], F.softplus(h[..., 1]) + LEAST


class TRS(Model):
    """Student, teacher and reference of K runs; the teacher is moved by no optimiser."""

    def __init__(self, *, runs, segments, inputs, depth=8, precision="fp32"):
        super().__init__()
        made = dict(runs=runs, inputs=inputs, precision=precision)
        self.student = Mixer(segments=segments, depth=depth, **made)
        self.reference = Reference(**made)
        self.teacher = Mixer(segments=segments, depth=depth, **made).requires_grad_(False)
