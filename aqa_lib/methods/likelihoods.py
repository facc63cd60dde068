"""A network that states a distribution of the score, fitted by its likelihood: five ways, alone or as a deep ensemble.

    L = 1/B sum_i l_i,   with p_i the distribution of methods/_distributions.py by the outputs z_0 .. z_3 for video i

    gaussian    l = -log N(y; mu, sigma^2)                                       of z_0, z_1
    beta_nll    l = [sigma^(2 beta)] (-log N(y; mu, sigma^2))                    of z_0, z_1; no gradient through [ ]
    student     l = -log t(y; mu, s^2, d), degrees of freedom learnt             of z_0, z_1, z_2
    beta        l = -log Beta(y / top; a, b) / top                               of z_0, z_1
    evidential  l = -log t(y; gamma, s^2, 2 alpha) + lambda |y - gamma| (2 nu + alpha)    of z_0 .. z_3

beta_nll: Seitzer, Tavakoli, Antic, Martius, "On the pitfalls of heteroscedastic uncertainty estimation with
probabilistic neural networks", ICLR 2022. evidential: Amini, Schwarting, Soleimany, Rus, "Deep evidential regression",
NeurIPS 2020. members: Lakshminarayanan, Pritzel, Blundell, "Simple and scalable predictive uncertainty estimation using
deep ensembles", NeurIPS 2017: M networks, each by its own loss; their mixture has the mean mu* = 1/M sum_m mu_m and the
variance 1/M sum_m (sigma_m^2 + mu_m^2) - mu*^2, and is taken for a Gaussian with these.

Predicted are mean and variance of the distribution; its quantiles where it is no Gaussian. No unlabelled video is used.

Stated: the losses, beta = 0.5 for beta-NLL; lambda is 0.01 in the authors' example (their hello_world.py); M networks
that differ in initial weights and in the order of the items (adversarial training is an option there and absent here).
Chosen here: one network on the mean segment feature for all five, whose other outputs are idle, so that they train as
one stack; members see the same batches and differ in their initial weights alone; the links and floors of
methods/_distributions.py; `top` as in USDL, 1.1 times the largest labelled score; scores outside 0 .. top count as
just inside. The likelihood of the evidential distribution depends on nu and beta by beta (1 + nu) / nu alone, so it
says nothing of nu, the evidence: only the term with lambda does (Meinert, Gawlikowski, Lavin, "The unreasonable
effectiveness of deep evidential regression", AAAI 2023). The variance here is that of y, which needs no such division.
"""

import torch

from aqa_lib.errors import UserError
from aqa_lib.methods._distributions import LAWS
from aqa_lib.methods.base import SCALE, Method, Setting
from aqa_lib.models.functions import average
from aqa_lib.models.mlp import Perceptron

KINDS = tuple(LAWS)


class Likelihoods(Method):
    title = "Likelihoods"
    masks = True
    SETTINGS = {
        "likelihood": Setting("gaussian", "distribution that is stated, and its loss", choices=KINDS, per_run=True),
        "power": Setting(0.5, "beta of beta-NLL: items weigh as their variance to this power", 0, 1, per_run=True),
        "evidence": Setting(0.01, "lambda: what evidence costs where it is wrong (evidential)", low=0, per_run=True),
        "top": Setting(1.1, "upper end of a beta distribution, in largest labelled scores", low=0.01),
        "members": Setting(0, "networks of an ensemble (0: one network, no ensemble)", low=0),
    }
    variants = {
        "Gaussian": {},
        "Student-t": {"likelihood": "student"},
        "Beta": {"likelihood": "beta"},
        "beta-NLL": {"likelihood": "beta_nll"},
        "Evidential": {"likelihood": "evidential"},
        "Ensemble of ten": {"members": 10},
    }

    def check(self, settings, data):
        if settings["members"] and settings["precision"] == "bf16":
            raise UserError(
                f"method {self.name}: members = {settings['members']} have no products in bf16: take precision = fp32"
            )

    def build(self, runs, data):
        s, inputs = runs[0], data.features.shape[2]
        made = {"members": s["members"]} if s["members"] else {"precision": s["precision"]}
        net = Perceptron(runs=len(runs), inputs=inputs, outputs=4, **made)
        net.register_buffer("kind", torch.tensor([[KINDS.index(run["likelihood"])] for run in runs]))
        net.top = SCALE * s["top"]
        return net

    def losses(self, model, batch):
        """The loss of each run [K], summed over its members."""
        z = by_member(model(average(batch.x[:, 0], batch.mask_of(0))))  # [K,M,B,4]
        loss = z.new_zeros(len(z))
        for kind, rows in grouped([s["likelihood"] for s in batch.runs]):
            weight = {name: batch.weight(name)[rows][:, None, None] for name in ("power", "evidence")}
            cost = costs(kind, LAWS[kind](z[rows], model.top), batch.y[rows].unsqueeze(1), **weight)
            loss[rows] = cost.mean(2).sum(1)
        return {"loss": loss}

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> mean and variance [K,n] and, of one network, the distribution's shape [K,n,2]."""
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        out = model(v.expand(len(model.kind), -1, -1))
        z = by_member(out)
        K, _, n, _ = z.shape
        score, variance, shape = z.new_zeros(K, n), z.new_zeros(K, n), z.new_zeros(K, n, 2)
        for kind, rows in grouped([KINDS[i] for i in model.kind[:, 0].tolist()]):
            law = LAWS[kind](z[rows], model.top)
            score[rows], variance[rows] = mixture(law.mean, law.variance)
            shape[rows] = law.shape[:, 0]
        return {"score": score, "variance": variance} | ({"shape": shape} if out.dim() == 3 else {})

    def read(self, out, data, items, settings):
        """Mean and variance of one run, and quantiles [n,19] of one network that is no Gaussian."""
        found = {name: out[name] for name in ("score", "variance")}
        quantiles = LAWS[settings["likelihood"]].quantiles
        if settings["members"] or quantiles is None:
            return found
        return found | {"quantiles": quantiles(*found.values(), out["shape"])}


def costs(kind, law, y, power, evidence):
    """What each video costs [K,M,B]; y [K,1,B], power and evidence [K,1,1]."""
    if kind == "beta_nll":
        return law.variance.detach() ** power * law.nll(y)
    if kind == "evidential":
        return law.nll(y) + evidence * (y - law.mean).abs() * law.evidence
    return law.nll(y)


def mixture(mean, variance):
    """Mean and variance [K,n] of a mixture of members [K,M,n] in equal parts."""
    return mean.mean(1), variance.mean(1) + mean.var(1, correction=0)


def by_member(z):
    """Outputs [K,M,n,4] of a network, which is its only member, or of several."""
    return z if z.dim() == 4 else z.unsqueeze(1)


def grouped(kinds):
    """Yield (kind, the runs that are of it): only what a run needs is computed for it."""
    for kind in dict.fromkeys(kinds):
        yield kind, [k for k, other in enumerate(kinds) if other == kind]


METHOD = Likelihoods()
