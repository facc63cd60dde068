"""Rounds of clustering and attention, after Gong, Wang, Mu, Tian, "Learning temporal co-attention models for
unsupervised video action localization", CVPR 2020, cut down to what tests the training contract: pseudo-classes by
spectral clustering of attention-pooled two-stream videos, a network trained from scratch on them in every round, its
attention the next round's pooling. A run is finished when two rounds agree (NMI >= .98).
"""

import numpy as np
import pandas as pd
import torch
from sklearn.cluster import SpectralClustering
from sklearn.metrics import normalized_mutual_info_score
from torch import nn

from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.layers import Linear, Model, NormReluDrop, TemporalConv


class Stream(Model):
    """One stream: h [K,T,B,D] -> class scores [K,T,B,C] and attention [K,T,B] in (0, 1)."""

    def __init__(self, *, runs, inputs, classes, hidden=32):
        super().__init__()
        self.conv = TemporalConv(runs=runs, inputs=inputs, outputs=hidden)
        self.norm = NormReluDrop(runs=runs, channels=hidden)
        self.head = Linear(runs=runs, inputs=hidden, outputs=classes)
        self.gate = Linear(runs=runs, inputs=hidden, outputs=1)

    def forward(self, h, mask):
        h = h if mask is None else h * mask.unsqueeze(-1)
        h = self.norm(self.conv(h.unsqueeze(1)), None, None if mask is None else mask.unsqueeze(1))[:, 0]
        rows, shape = h.flatten(1, 2), h.shape[1:3]
        attention = self.gate(rows).unflatten(1, shape).squeeze(-1).sigmoid()
        return self.head(rows).unflatten(1, shape), attention if mask is None else attention * mask


class TwoStreams(Model):
    def __init__(self, *, runs, inputs, classes):
        super().__init__()
        self.rgb, self.flow = (Stream(runs=runs, inputs=n, classes=classes) for n in inputs)


class Rounds(Method):
    title = "Rounds"
    task = "actions"
    masks = True
    small = {"round": 40, "batch": 16}
    SETTINGS = {
        "round": Setting(60, "steps of a round", low=1, per_run=True),
        "clusters": Setting(4, "pseudo-classes", low=2),
        "threshold": Setting(0.5, "share of its largest attention above which a segment is an action", 0, 1),
        "window": Setting(0, "segments of a training window (0: whole videos)", low=0),
    }

    def views(self, settings):
        return ("flow",)

    def build(self, runs, data):
        inputs = data.features.shape[2], data.view("flow").shape[2]
        return TwoStreams(runs=len(runs), inputs=inputs, classes=runs[0]["clusters"])

    def begin(self, stack):
        K, N = len(stack.runs), stack.pool.size
        stack.memory["cluster"] = torch.full((K, N), -1, device=stack.device)
        stack.memory["next"] = stack.memory["cluster"].clone()
        stack.memory["agreed"] = torch.zeros(K, device=stack.device)
        self.cluster(stack, range(K), attention=False)
        stack.memory["cluster"] = stack.memory["next"].clone()

    def before(self, stack, step):
        again = [k for k, s in enumerate(stack.runs) if step and step % s["round"] == 0]
        stack.memory["cluster"][again] = stack.memory["next"][again]
        for round_number in {step // stack.runs[k]["round"] for k in again}:
            stack.restart([k for k in again if step // stack.runs[k]["round"] == round_number], round_number)

    def times(self, stack, items, step):
        """A window from a random segment of each video on, the same bits in any company."""
        window = stack.runs[0]["window"]
        if not window:
            return None
        from aqa_lib.chance import key, words

        keys = np.array([key(s["seed"], "window", step) for s in stack.runs], dtype=np.uint64)
        random = torch.from_numpy((words(keys, items[0].numel()) >> np.uint64(11)).astype(np.float64) * 2.0**-53)
        room = (stack.pool.length[items] - window + 1).clamp(min=1)  # [K,S,B]
        first = (random.view(items.shape).to(stack.device) * room).long()
        return first.unsqueeze(2) + torch.arange(window, device=stack.device).view(1, 1, -1, 1)

    def losses(self, model, batch):
        mask, label = batch.mask_of(0), batch.memory["cluster"].gather(1, batch.items[:, 0])
        total = 0
        for stream, x in ((model.rgb, batch.x), (model.flow, batch.view("flow"))):
            scores, attention = stream(x[:, 0], mask)
            weight = attention / attention.sum(1, keepdim=True).clamp(min=1e-6)
            logits = (scores * weight.unsqueeze(-1)).sum(1)  # [K,B,C]
            sparse = attention.sum(1) / (batch.length[:, 0] if mask is not None else x.shape[2])
            total = total + nn.functional.cross_entropy(logits.mT, label, reduction="none").mean(1)
            total = total + 0.1 * sparse.mean(1)
        return {"loss": total}

    def after(self, stack, step):
        """At a round's end: new clusters from the attention that it trained, and whether they are the old ones."""
        ended = [k for k, s in enumerate(stack.runs) if step % s["round"] == 0]
        if ended:
            self.cluster(stack, ended, attention=True)
            for k in ended:
                both = (stack.memory[name][k][stack.items_trained(k)] for name in ("cluster", "next"))
                old, new = (c.cpu().numpy() for c in both)
                stack.memory["agreed"][k] = normalized_mutual_info_score(old, new)

    def finished(self, stack, step):
        ended = torch.tensor([step % s["round"] == 0 for s in stack.runs], device=stack.device)
        return ended & (stack.memory["agreed"] >= 0.98)

    @torch.no_grad()
    def cluster(self, stack, runs, attention):
        stack.model.eval()
        x, mask, rows = stack.videos(stack.train)
        flow = stack.pool.gather(stack.pool.views["flow"], rows)
        pooled = []
        for stream, seen in ((stack.model.rgb, x), (stack.model.flow, flow)):
            K = len(stack.runs)
            seen, m = seen[:, 0].expand(K, -1, -1, -1), mask[:, 0].expand(K, -1, -1)
            a = stream(seen, m)[1] if attention else m
            v = (seen * a.unsqueeze(-1)).sum(1) / a.sum(1).clamp(min=1e-6).unsqueeze(-1)
            pooled.append(nn.functional.normalize(v, dim=-1))
        f = torch.cat(pooled, -1).double().cpu().numpy()  # [K,n,2D]
        stack.model.train()
        for k in runs:
            mine = stack.items_trained(k)
            g = f[k][: len(mine)]
            d = np.linalg.norm(g[:, None] - g[None], axis=-1)
            w = np.exp(-np.square(d) / (2 * d.mean() ** 2))
            fit = SpectralClustering(stack.runs[k]["clusters"], affinity="precomputed", random_state=0)
            stack.memory["next"][k, mine] = torch.as_tensor(fit.fit_predict(w), device=stack.device).long()

    def found(self, stack):
        return {"cluster": stack.memory["cluster"]}

    def predict(self, model, x, flow, mask=None):
        K, outs = model.flat.shape[0], []
        mask = None if mask is None else mask[:, 0].expand(K, -1, -1)
        for stream, seen in ((model.rgb, x), (model.flow, flow)):
            outs.append(stream(seen[:, 0].expand(K, -1, -1, -1), mask))
        scores = (outs[0][0] + outs[1][0]) / 2
        attention = (outs[0][1] + outs[1][1]) / 2
        return {"attention": attention.mT, "classes": scores.transpose(1, 2)}  # [K,n,T], [K,n,T,C]

    def read(self, out, data, items, settings):
        """Runs of segments whose attention is large, with the class that their video has by its attention."""
        rows = []
        for i, item in enumerate(items):
            times = data.seconds[item]
            a = out["attention"][i][: len(times)]
            share = a / max(a.sum(), 1e-9)
            c = int((out["classes"][i][: len(times)] * share[:, None]).sum(0).argmax())
            on = np.concatenate([[0], a > settings["threshold"] * a.max(), [0]]).astype(int)
            starts, ends = np.flatnonzero(np.diff(on) == 1), np.flatnonzero(np.diff(on) == -1)
            rows += [
                (data.ids[item], c, times[s, 0], times[e - 1, 1], float(a[s:e].mean()))
                for s, e in zip(starts, ends, strict=True)
            ]
        return {"segments": pd.DataFrame(rows, columns=["video", "cluster", "start", "end", "score"])}


METHOD = Rounds()
