"""ACTION-NET's dynamic branch in ordinary modules."""

import torch
from torch import nn

from benchmarks.plain.encoder import head, load_head, load_linear


class Peer(nn.Module):
    def __init__(self, data, top=1.1, drop=0.5):
        super().__init__()
        T, D = data.features.shape[1:]
        half, small = max(D // 4, 16), max(D // 8, 16)
        self.embed = head(D, max(D // 2, 32), half)
        self.graph = nn.ModuleList(nn.Linear(half, half) for _ in range(2))
        self.attention = head(2 * half, small, 1)
        self.head = nn.Sequential(nn.Linear(2 * half, small), nn.ReLU(), nn.Dropout(drop), nn.Linear(small, 1))
        A = torch.exp(-torch.tensor([[abs(i - j) for j in range(T)] for i in range(T)]).double())
        root = torch.diag(A.sum(1) ** -0.5)
        self.A, self.top = root @ A @ root, 5.0 * top

    def draw(self, x_l, x_u):
        return {}

    def forward(self, x, dropped=None):
        """x [B,T,D] -> scores [B]; dropped [B,C]: the head's dropout as factors, in place of its own."""
        A = self.A.to(x)
        h = torch.relu(self.embed(x))
        c = torch.relu(self.graph[1](A @ torch.relu(self.graph[0](A @ h))))
        z = torch.cat([h, c], 2)
        v = (torch.softmax(self.attention(z), 1) * z).sum(1)
        if dropped is None:
            return self.top * torch.sigmoid(self.head(v))[:, 0]
        return self.top * torch.sigmoid(self.head[3](dropped * self.head[:2](v)))[:, 0]

    def loss(self, x_l, y, x_u, dropped=None):
        return nn.functional.mse_loss(self(x_l, dropped) / self.top, y / self.top)

    def load(self, stack):
        model = stack.model
        load_head(self.embed, model.embed)
        load_head(self.attention, model.attention)
        for mine, theirs in zip(self.graph, (model.first, model.second), strict=True):
            load_linear(mine, theirs)
        load_linear(self.head[0], model.head)
        load_linear(self.head[3], model.last)
        return self
