"""Pseudo-labels by nearest neighbours, the baseline of S4AQA (Zhang, Pan, Gao, Zheng, IEEE TCSVT 2022).

    L = 1/L sum_i (y_i - R(E(x_i)))^2 + w 1/U sum_u (y~_u - R(E(x_u)))^2,   y~_u = mean of y_i over the k labelled
    videos whose f_i = E(x_i) are nearest to f_u

Stated: scores are passed from labelled to unlabelled videos by nearest neighbours in the embedding space; w = 0.5.
Not stated and chosen here: k = 5 with equal weights; Euclidean distance on the whole f (T x C numbers) of the encoder
in evaluation mode; new pseudo-labels after each pass over the training videos, the first before the first step, of the
untrained encoder; no warm-up; E and R of S4AQA; 32 + 32 videos a step; running statistics follow the labelled videos.
A run with fewer than k labels takes them all. Control: the pseudo-label of another video of the batch.
"""

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, for_all
from aqa_lib.methods._exchange import EXCHANGE, another, exchanged, exchanging, spread, taken
from aqa_lib.methods.base import Setting
from aqa_lib.models.functions import constant


class PseudoLabels(Encoded):
    title = "Pseudo-labels"
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(0.5, "weight of the loss on pseudo-labels", low=0, per_run=True),
        "k": Setting(5, "labelled neighbours whose scores a pseudo-label averages", low=1),
        "refresh": Setting(0, "steps between new pseudo-labels (0: a pass over the training videos)", low=0),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    PLACES = {"drop0": 2, "drop1": 2, "drop2": 2, "another": 1}

    def mechanisms(self, settings):
        return ("imitation",)

    def before(self, stack, step):
        """Every pass: new pseudo-labels [K,N] of the training videos, NaN elsewhere."""
        s, K = stack.runs[0], len(stack.runs)
        due = [step % (s["refresh"] or steps) == 0 for steps in stack.passes]
        if any(due):
            items = stack.train.expand(K, -1)
            known = stack.y.gather(1, items).masked_fill(~stack.trained, torch.nan)
            scores = nearest_scores(self.embed(stack), known, s["k"])
            fresh = torch.full_like(stack.y, torch.nan).scatter_(1, items, scores)
            if not all(due):  # runs on other splits end their passes at other steps
                due = constant(tuple(due), torch.bool, stack.device).unsqueeze(1)
                fresh = torch.where(due, fresh, stack.memory["pseudo"])
            stack.memory["pseudo"] = fresh

    @staticmethod
    @torch.no_grad()
    def embed(stack, segments=5120):
        """f [K,n,TC] of the training videos with running statistics and no dropout."""
        stack.model.eval()
        at_once = max(1, segments // stack.T)  # videos: long ones take as much memory as many short ones
        K, parts = len(stack.runs), (stack.videos(part)[:2] for part in stack.train.split(at_once, 1))
        f = [stack.model.encoder(*for_all(K, x, mask))[:, 0] for x, mask in parts]
        stack.model.train()
        return torch.cat(f, 1)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        f = self.encode(model, batch.x, batch, (LABELLED, UNLABELLED))
        regression = losses.squared_error(model.scores(f[:, LABELLED]), batch.y)
        imitation = losses.squared_error(model.scores(f[:, UNLABELLED]), self.pseudo(batch))
        loss = regression + batch.weight("weight") * imitation
        return {"loss": loss, "regression": regression, "imitation": imitation}

    @staticmethod
    def pseudo(batch):
        """The pseudo-labels [K,B] of the unlabelled videos; in a control those of others."""
        pseudo = batch.memory["pseudo"].gather(1, batch.items[:, UNLABELLED])
        return taken(pseudo, another(batch)) if exchanging(batch) else pseudo

    def alive(self, model, batch):
        """The pseudo-label of another video."""
        f = self.encode(model, batch.x, batch, (LABELLED, UNLABELLED))
        scores, pseudo = model.scores(f[:, UNLABELLED]), self.pseudo(batch)
        return {"imitation": exchanged(lambda r: (scores - pseudo.roll(-r, 1)).abs(), spread(batch.y).sqrt())}


def nearest_scores(f, y, k):
    """Mean score of the k nearest items with a score: f [K,n,C], y [K,n] with NaN where there is none -> [K,n].

    Runs have different labels and not always as many: distances to items without a score are infinite.
    """
    n = f.shape[1]
    distance = torch.cdist(f, f).masked_fill(y.isnan().unsqueeze(1), torch.inf)
    near, which = distance.topk(min(k, n), largest=False)  # [K,n,k]
    scores = y.nan_to_num().unsqueeze(1).expand(-1, n, -1).gather(2, which)
    counts = near.isfinite().to(y.dtype)
    return (scores * counts).sum(2) / counts.sum(2)


METHOD = PseudoLabels()
