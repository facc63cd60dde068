"""TRS in ordinary modules: mixer, reference, a teacher as a copy, and memories as dicts."""

import copy
import math

import torch
from torch import nn

from benchmarks.plain.encoder import load_linear


def outputs(h):
    return h[:, 0], nn.functional.softplus(h[:, 1]) + 0.01


class Block(nn.Module):
    def __init__(self, T, D):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(2))
        hidden = max(D // 2, 16)
        self.tokens = nn.Sequential(nn.Linear(T, hidden), nn.GELU(), nn.Linear(hidden, T, bias=False))
        self.channels = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))

    def forward(self, x):
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Mixer(nn.Module):
    def __init__(self, T, D, depth):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(T, D) for _ in range(depth)))
        self.norm, self.last = nn.LayerNorm(D), nn.Linear(D, 2)

    def forward(self, x):
        return outputs(self.last(self.norm(self.blocks(x)).mean(1)))


class Reference(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.norm, self.after = nn.LayerNorm(D), nn.LayerNorm(D)
        self.query, self.key, self.value = (nn.Linear(D, D, bias=False) for _ in range(3))
        self.out = nn.Linear(D, D)
        a, b = max(D // 4, 16), max(D // 8, 16)
        self.layers = nn.Sequential(nn.Linear(D, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 2))

    def forward(self, x, other):
        q, k, v = self.query(self.norm(x)), self.key(self.norm(other)), self.value(self.norm(other))
        h = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v))
        return outputs(self.layers(self.after(h).mean(1)))


def likelihood(output, y):
    score, variance = output
    return nn.functional.gaussian_nll_loss(score, y, variance, eps=1e-12)


def remember(memory, items, output):
    """The score of least variance that each item ever had."""
    for item, score, variance in zip(items.tolist(), *(part.tolist() for part in output), strict=True):
        if item not in memory or variance < memory[item][1]:
            memory[item] = score, variance
    return output[0].new_tensor([memory[item][0] for item in items.tolist()])


class Peer(nn.Module):
    def __init__(self, data, depth=8, weight=1.0, burn_in=0.25, decay=0.99, hide=0.15, noise=0.05, steps=600):
        super().__init__()
        T, D = data.features.shape[1:]
        self.student, self.reference = Mixer(T, D, depth), Reference(D)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.weight, self.start, self.decay = weight, math.ceil(burn_in * steps), decay
        self.hide, self.noise, self.memories = hide, noise, ({}, {})

    def before(self, step, y):
        self.learning = step >= self.start

    def after(self, step):
        decay = min(self.decay, 1 - 1 / (step + 1))
        with torch.no_grad():
            for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                mine.mul_(decay).add_((1 - decay) * theirs)

    def draw(self, x_l, x_u, **_):
        B, T, _ = x_u.shape
        return {
            "kept": [torch.rand(B, T, 1, device=x_u.device) >= self.hide for _ in range(2)],
            "noise": torch.randn_like(x_u),
            "on": int(torch.randint(1, len(x_l), ())),
        }

    def loss(self, x_l, y, x_u, *, items, kept, noise, on):
        x_r, y_r = x_l.roll(-on, 0), y.roll(-on)
        loss = likelihood(self.student(x_l), y)
        loss = loss + likelihood(self.reference(x_l, x_r), y - y_r) + likelihood(self.reference(x_r, x_l), y_r - y)
        if not self.learning:
            return loss
        weak, other = (x_u * k for k in kept)
        strong = other + self.noise * other.square().mean().sqrt() * noise
        with torch.no_grad():
            better, variance = self.reference(weak, x_l)
            outputs = self.teacher(weak), (y + better, variance)
        score = self.student(strong)[0]
        for memory, output in zip(self.memories, outputs, strict=True):
            label = remember(memory, items[1], output)
            loss = loss + self.weight / 2 * nn.functional.mse_loss(score, label)
        return loss

    def load(self, stack):
        ours = stack.model
        for mine, theirs in ((self.student, ours.student), (self.teacher, ours.teacher)):
            load_norm(mine.norm, theirs.norm)
            load_linear(mine.last, theirs.last)
            for block, stacked in zip(mine.blocks, theirs.blocks, strict=True):
                load_norm(block.norms[0], stacked.norm1)
                load_norm(block.norms[1], stacked.norm2)
                load_linear(block.tokens[0], stacked.token1)
                load_matrix(block.tokens[2], stacked.token2.weight[0])
                load_linear(block.channels[0], stacked.channel1)
                load_linear(block.channels[2], stacked.channel2)
        mine, theirs = self.reference, ours.reference
        load_norm(mine.norm, theirs.norm)
        load_norm(mine.after, theirs.after)
        load_matrix(mine.query, theirs.query.weight[0])
        key, value = theirs.pair.weight[0].chunk(2, 1)
        load_matrix(mine.key, key)
        load_matrix(mine.value, value)
        load_linear(mine.out, theirs.out)
        for layer, stacked in zip(mine.layers[::2], theirs.layers, strict=True):
            load_linear(layer, stacked)
        return self


def load_norm(norm, stacked):
    with torch.no_grad():
        norm.weight.copy_(stacked.gamma[0])
        norm.bias.copy_(stacked.beta[0])


def load_matrix(linear, weight):
    with torch.no_grad():
        linear.weight.copy_(weight.T)
