"""S4AQA as a researcher would write it: ordinary modules, one run, torch's own layers, loss and optimiser.

The independent reference of the tests (in float64) and what `aqa bench grid` compares with. It shares no code
with the library; `OracleS4AQA.load` copies one run's weights into it, and `step` takes the items and masks to use.
"""

import torch
from torch import nn
from torch.autograd import Function

from benchmarks.plain.encoder import head


class GradientReversal(Function):
    @staticmethod
    def forward(ctx, x, coefficient):
        ctx.coefficient = coefficient
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return -ctx.coefficient * g, None


class OracleS4AQA(nn.Module):
    """One run; x [B,T,D]. Dropout multiplies by masks that are handed in, or is torch's own.

    norm: whether decoder and discriminator have a LayerNorm on their hidden layer.
    """

    def __init__(self, T, D, widths=None, drop=0.5, norm=True):
        super().__init__()
        widths = widths or [max(D // 2, 16), max(D // 4, 16), max(D // 8, 16)]
        sizes = [D, *widths]
        self.convs = nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], kernel_size=3, padding=1, bias=False) for i in range(3)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(c) for c in widths)
        self.drop = drop
        F = T * widths[-1]
        self.regressor = head(F, max(D // 4, 32), 1)
        self.decoder = head(F, max(D // 2, 32), D, norm)
        self.discriminator = head(F, max(D // 8, 16), 1, norm)

    def encode(self, x, masks=None, track=True):
        """masks: one [B,T,C] of 0 and 1 a layer; track: whether the running statistics follow this batch."""
        h = x.transpose(1, 2)  # [B,D,T]
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            norm.momentum = 0.1 if track else 0.0
            h = norm(conv(h)).relu()
            if self.training and self.drop:
                if masks is None:
                    h = nn.functional.dropout(h, self.drop)
                else:
                    h = h * masks[layer].transpose(1, 2) / (1 - self.drop)
        return h.transpose(1, 2).flatten(1)  # [B, T*C]

    def loss(self, x_l, y, x_u, masked, lambda1=40.0, lambda2=0.1, grl=1.0, masks=(None, None, None), calls=3):
        """masked [B,n]: the hidden segments of each unlabelled video. `calls=1` encodes the three sets as one
        batch: faster, but then they share their batch statistics, which is another method."""
        hidden = x_u.clone()
        hidden[torch.arange(len(x_u), device=x_u.device)[:, None], masked] = 0
        if calls == 1:
            f_l, f_u, f_m = self.encode(torch.cat([x_l, x_u, hidden])).split([len(x_l), len(x_u), len(x_u)])
        else:
            f_l = self.encode(x_l, masks[0])
            f_u = self.encode(x_u, masks[1], track=False)
            f_m = self.encode(hidden, masks[2], track=False)
        regression = nn.functional.mse_loss(self.regressor(f_l)[:, 0], y)
        target = x_u[torch.arange(len(x_u), device=x_u.device)[:, None], masked].mean(1)
        recovery = nn.functional.l1_loss(self.decoder(f_m), target)
        bce, alignment = nn.functional.binary_cross_entropy_with_logits, 0
        for f, label, weight in ((f_l, 1.0, 1.0), (f_u, 0.0, 0.5), (f_m, 0.0, 0.5)):
            z = self.discriminator(GradientReversal.apply(f, grl))[:, 0]
            alignment = alignment + weight * bce(z, torch.full_like(z, label))
        return regression + lambda1 * recovery + lambda2 * alignment, (regression, recovery, alignment)

    def load(self, model, k):
        """Copy run k's weights of the library's stacked network."""
        with torch.no_grad():
            for layer in range(3):
                self.convs[layer].weight.copy_(model.encoder.convs[layer].weight[k].permute(2, 1, 0))
                self.norms[layer].weight.copy_(model.encoder.norms[layer].gamma[k])
                self.norms[layer].bias.copy_(model.encoder.norms[layer].beta[k])
            for name in ("regressor", "decoder", "discriminator"):
                stacked_head, own = getattr(model, name), getattr(self, name)
                for linear, stacked in ((own[0], stacked_head.first), (own[-1], stacked_head.last)):
                    linear.weight.copy_(stacked.weight[k].T)
                    linear.bias.copy_(stacked.bias[k])
        return self


class Segments(torch.utils.data.Dataset):
    """Items of one set, as a data loader wants them."""

    def __init__(self, x, y):
        self.x, self.y = torch.as_tensor(x), torch.as_tensor(y, dtype=torch.float32)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def train_with_loader(x_l, y, x_u, x_test, *, steps, batch, seed=0, lr=5e-4, weight_decay=1e-4, epoch=15):
    """The obvious loop: data loaders, three encoder calls, .item() a step, an evaluation an epoch; a generator
    that yields after every step, so that a benchmark can interleave it with others."""
    torch.manual_seed(seed)
    model = OracleS4AQA(*x_l.shape[1:])
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    load = torch.utils.data.DataLoader
    labelled = load(Segments(x_l, y), batch_size=batch, shuffle=True, drop_last=len(x_l) >= batch)
    unlabelled = load(Segments(x_u, [0.0] * len(x_u)), batch_size=batch, shuffle=True, drop_last=len(x_u) >= batch)
    step, next_l, next_u, x_test, curve = 0, iter(labelled), iter(unlabelled), torch.as_tensor(x_test), []
    while step < steps:
        try:
            a, t = next(next_l)
        except StopIteration:
            next_l = iter(labelled)
            a, t = next(next_l)
        try:
            u, _ = next(next_u)
        except StopIteration:
            next_u = iter(unlabelled)
            u, _ = next(next_u)
        curve.append(_update(model, optimiser, a, t, u))
        step += 1
        if step % epoch == 0 or step == steps:
            model.eval()
            with torch.no_grad():
                model.regressor(model.encode(x_test))
            model.train()
        yield model


def train_in_memory(x_l, y, x_u, x_test, *, steps, batch, seed=0, lr=5e-4, weight_decay=1e-4, epoch=15, calls=3,
                    device="cpu"):  # fmt: skip
    """The same without data loaders: tensors in memory and index_select."""
    torch.manual_seed(seed)
    model = OracleS4AQA(*x_l.shape[1:]).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    x_l, x_u, x_test = (torch.as_tensor(x, device=device) for x in (x_l, x_u, x_test))
    y = torch.as_tensor(y, dtype=torch.float32, device=device)
    for step in range(1, steps + 1):
        i, j = (torch.randint(len(x), (batch,), device=device) for x in (x_l, x_u))
        _update(model, optimiser, x_l.index_select(0, i), y.index_select(0, i), x_u.index_select(0, j), calls)
        if step % epoch == 0 or step == steps:
            model.eval()
            with torch.no_grad():
                model.regressor(model.encode(x_test))
            model.train()
        yield model


def _update(model, optimiser, x_l, y, x_u, calls=3):
    masked = torch.randint(x_u.shape[1], (len(x_u), 1), device=x_u.device)
    loss, _ = model.loss(x_l, y, x_u, masked, calls=calls)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()
