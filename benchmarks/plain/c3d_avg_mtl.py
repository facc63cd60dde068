"""C3D-AVG-MTL in ordinary modules: a linear layer an attribute, torch.nn.GRU, and a vocabulary counted from texts."""

from collections import Counter

import torch
from torch import nn

from benchmarks.plain.c3d_avg_stl import Peer as SingleTask
from benchmarks.plain.encoder import load_linear

CLASSES = [3, 2, 4, 10, 8]
ENDS, OTHER = 0, 1


class Peer(SingleTask):
    """The vocabulary is that of all training texts, or, once loaded, of the run's labelled ones."""

    def __init__(self, data, attributes=1.0, captions=0.01, words=256, length=100, drop=0.5):
        super().__init__(data)
        D, H = data.features.shape[2], max(data.features.shape[2] // 2, 32)
        self.weights, self.most, self.length, self.hidden = (attributes, captions), words, length, H
        self.texts = [t.split()[:length] if isinstance(t, str) else [] for t in data.table["caption"]]
        self.all_words = sorted({w for t in data.table["caption"] if isinstance(t, str) for w in t.split()})
        self.heads = nn.ModuleList(nn.Linear(H, classes) for classes in CLASSES)
        self.vectors = nn.Embedding(words, H)
        self.first, self.second = nn.GRU(D, H, batch_first=True), nn.GRU(2 * H, H, batch_first=True)
        self.drop, self.last = nn.Dropout(drop), nn.Linear(H, words)
        self.learn([i for i, part in enumerate(data.table["split"]) if part == "train"])

    def learn(self, items):
        counts = Counter(word for i in items for word in self.texts[i])
        known = sorted(counts, key=lambda word: (-counts[word], word))[: self.most - 2]
        self.ids = {word: 2 + i for i, word in enumerate(known)}
        self.n = 2 + len(known)

    def draw(self, x_l, x_u, targets=None):
        return {}

    def loss(self, x_l, y, x_u, *, targets):
        h = torch.relu(self.fc(x_l.mean(1)))
        predicted = self.score(h)[:, 0]
        loss = nn.functional.mse_loss(predicted, y) + nn.functional.l1_loss(predicted, y)
        for head, classes in zip(self.heads, targets["attributes"].T, strict=True):
            loss = loss + self.weights[0] * nn.functional.cross_entropy(head(h), classes)
        return loss + self.weights[1] * self.told(x_l, targets["words"])

    def told(self, x, words):
        """Negative log-likelihood of the captions, their words numbered over all texts: sum / videos."""
        texts = [[self.all_words[w] for w in row if w >= 0][: self.length] for row in words.tolist()]
        ids = [[self.ids.get(word, OTHER) for word in text] for text in texts]
        B, T, D = x.shape
        L, H = max(len(row) for row in ids) + 1, self.hidden
        before, after = torch.zeros(B, L, dtype=torch.long), torch.full((B, L), -1)
        for i, row in enumerate(ids):
            before[i, 1 : len(row) + 1] = torch.tensor(row, dtype=torch.long)
            if row:
                after[i, : len(row) + 1] = torch.tensor([*row, ENDS])
        before, after = before.to(x.device), after.to(x.device)
        a, _ = self.first(torch.cat([x, x.new_zeros(B, L, D)], 1))
        said = torch.cat([x.new_zeros(B, T, H), self.vectors(before)], 1)
        b, _ = self.second(torch.cat([a, said], 2))
        z = self.last(self.drop(b[:, T:]))[..., : self.n].flatten(0, 1)
        return nn.functional.cross_entropy(z, after.flatten(), ignore_index=-1, reduction="sum") / B

    @torch.no_grad()
    def load(self, stack):
        super().load(stack)
        model, caption = stack.model, stack.model.caption
        rows = model.attributes.linear.weight[0].T.unflatten(0, (5, 10))
        biases = model.attributes.linear.bias[0].unflatten(0, (5, 10))
        for head, weight, bias in zip(self.heads, rows, biases, strict=True):
            head.weight.copy_(weight[: len(head.weight)])
            head.bias.copy_(bias[: len(head.bias)])
        self.vectors.weight.copy_(caption.vectors.weight[0])
        for gru, cell in ((self.first, caption.first), (self.second, caption.second)):
            gru.weight_ih_l0.copy_(cell.weight_x[0].T)
            gru.weight_hh_l0.copy_(cell.weight_h[0].T)
            gru.bias_ih_l0.copy_(cell.bias_x[0])
            gru.bias_hh_l0.copy_(cell.bias_h[0])
        load_linear(self.last, caption.last)
        self.learn(stack.labels[0].train)
        return self
