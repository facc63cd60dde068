"""DAE: Zhang, Chen, Wang, "Auto-encoding score distribution regression for action quality assessment", arXiv
2111.11029, 2021; Neural Computing and Applications, 2023.

    mu, log sigma^2 = MLP(mean segment feature),    y = mu + eps sigma,    eps ~ N(0, 1)
    L_rec = 1/n sum_i (y_i - g_i)^2,    L_sup = 1/n sum_i (mu_i - g_i)^2,    L = alpha L_rec + beta L_sup

`loss` is how the parts are used. "schedule": L in every tenth epoch, L_rec in the others, as the paper's experiments
have it (in no public code); "rec", "sup": one part; "both": L at every step (the code of 2023, with weights 1 and 1);
"likelihood": 1/n sum_i ((g_i - mu_i)^2 / v_i + log v_i) / 2, v the variance of y, as the later version has it. Since
E (y - g)^2 = (mu - g)^2 + sigma^2, L_rec drives the variance to zero whatever the errors are; only the likelihood has
its least value where v is the squared error.

Stated: the two losses, the schedule, the MLP 1024-256-128; alpha = 0.6 and beta = 0.4 only in code. `noise`: the code
adds the deviation; the paper prints y = mu + eps sigma^2, so that the variance of y is sigma^4. `output`: the code
reports one random draw y for each test video, not mu, and the best epoch ("draw" gives one draw a video and seed).
Chosen here: frozen features, the learning rate, batch and steps of the other networks (code: 1e-4 and 8, features tuned
along); means where the code has sums; the combined epochs are 0, 10, 20 ..., an epoch is a pass over the labelled
videos, and a video of a step counts to the pass that it is drawn in; in the likelihood log v is -10 at least, with
scores up to 5. Weight decay as in the code. The variance that is stated is that of y.
"""

import numpy as np
import torch
from scipy.special import ndtri

from aqa_lib import chance
from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.dae import ScoreEncoder
from aqa_lib.models.functions import average, normal

LEAST = -10.0  # log variance in the likelihood, of scores up to 5
POWER = {"deviation": 1.0, "variance": 2.0}  # of sigma in y = mu + eps sigma^power
READINGS = {
    "loss": Setting(
        "schedule", "how the parts are used", choices=("schedule", "rec", "sup", "both", "likelihood"), per_run=True
    ),
    "alpha": Setting(0.6, "weight of L_rec where both parts count", low=0, per_run=True),
    "beta": Setting(0.4, "weight of L_sup where both parts count", low=0, per_run=True),
    "period": Setting(10, "every so many epochs both parts count (schedule)", low=1, per_run=True),
    "noise": Setting("deviation", "what eps is multiplied by", choices=tuple(POWER), per_run=True),
    "weight_decay": Setting(1e-5, "L2 penalty, as torch's optimisers add it", low=0, per_run=True),
}


class AutoEncoder(Method):
    title = "DAE"
    masks = True
    SETTINGS = {
        **READINGS,
        "output": Setting("mean", "score that is predicted", choices=("mean", "draw"), per_run=True),
    }
    PLACES = {"noise": 1}
    variants = {"DAE": {}, "DAE, likelihood": {"loss": "likelihood"}}
    ablation = {
        "DAE": {},
        "DAE, L_rec": {"loss": "rec"},
        "DAE, L_sup": {"loss": "sup"},
        "DAE, both": {"loss": "both"},
        "DAE, likelihood": {"loss": "likelihood"},
        "DAE, noise as printed": {"noise": "variance"},
        "DAE, one draw": {"output": "draw"},
    }

    def build(self, runs, data):
        power = [POWER[s["noise"]] for s in runs]
        return ScoreEncoder(runs=len(runs), inputs=data.features.shape[2], power=power, precision=runs[0]["precision"])

    def begin(self, stack):
        count_labels(stack)

    def losses(self, model, batch):
        """The loss of each run, its parts and the mean variance of the labelled videos, [K] each."""
        mu, log_variance = (h.squeeze(-1) for h in model(average(batch.x[:, 0], batch.mask_of(0))))  # [K,B]
        parts = readings(mu, log_variance, batch.y, noise(batch, mu))
        loss = (weights(batch) * parts).sum(-1).mean(1)
        return {"loss": loss, **named(parts.mean(1)), "variance": log_variance.exp().mean(1)}

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> mean and variance [K,n] of y."""
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        mu, log_variance = model(v.expand(len(model.power), -1, -1))
        return {"score": mu.squeeze(-1), "variance": log_variance.exp().squeeze(-1)}

    def read(self, out, data, items, settings):
        """Where one draw is reported, the score is that of (seed, id), the same at every evaluation."""
        if settings["output"] == "mean":
            return out
        keys = [chance.key(settings["seed"], "draw", str(name)) for name in data.ids[items]]
        eps = ndtri(chance.uniform(np.array(keys, dtype=np.uint64), 1)[:, 0] + 2.0**-54)
        return out | {"score": out["score"] + eps * np.sqrt(out["variance"])}


def readings(mu, log_variance, g, eps):
    """What a video adds to L_rec, L_sup and the likelihood: tensors [K,B,...] -> [K,B,...,3]."""
    rec = (mu + eps * (log_variance / 2).exp() - g).square()
    sup = (mu - g).square()
    log_v = log_variance.clamp(min=LEAST)
    return torch.stack([rec, sup, (sup * (-log_v).exp() + log_v) / 2], -1)


def named(parts):
    """{name: [K]} of parts [K,3]."""
    return dict(zip(("rec", "sup", "likelihood"), parts.unbind(-1), strict=True))


def noise(batch, mu):
    """Normal numbers in the shape of mu [K,B,...], alike for a run in every company."""
    return normal(batch.keys["noise"][:, 0], mu.shape[1:]).to(mu.dtype)


def count_labels(stack):
    """Keep how many labelled videos each run has: an epoch of `weights`."""
    stack.memory["labels"] = torch.tensor([len(lab.train) for lab in stack.labels], device=stack.device)


def weights(batch):
    """Weights of L_rec, L_sup and the likelihood for each labelled video of a step, [K,B,3]."""
    table = batch.table(in_and_between, key="readings").view(len(batch.runs), 2, 3)
    combined = epochs(batch) % batch.weight("period").long()[:, None] == 0
    return torch.where(combined.unsqueeze(-1), table[:, None, 0], table[:, None, 1])


def in_and_between(s):
    """The three weights in the epochs in which both parts count, then those in the epochs between."""
    both = s["alpha"], s["beta"], 0.0
    rec, sup, likelihood = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    of = {"rec": [rec] * 2, "sup": [sup] * 2, "both": [both] * 2, "likelihood": [likelihood] * 2}
    return [w for part in (of | {"schedule": [both, rec]})[s["loss"]] for w in part]


def epochs(batch):
    """In which pass over the labelled videos of its run each of a step's videos is drawn, [K,B] from 0."""
    B = batch.items.shape[2]
    place = batch.step * B + torch.arange(B, device=batch.x.device)
    return place // batch.memory["labels"][:, None]


METHOD = AutoEncoder()
