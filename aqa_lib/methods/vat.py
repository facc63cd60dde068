"""Virtual adversarial training: Miyato, Maeda, Koyama, Ishii, "Virtual adversarial training: a regularization method
for supervised and semi-supervised learning", IEEE TPAMI 2019; as a baseline of S4AQA (Zhang et al., IEEE TCSVT 2022).

    L = 1/L sum_i (y_i - R(E(x_i)))^2 + w 1/U sum_u |q(x_u + r_u) - q(x_u)|^2
    r_u = eps g / |g|,   g = gradient in d of |q(x_u + xi d) - q(x_u)|^2 at a random d of norm 1

Stated in S4AQA: E and R are its own, the virtual label q is the output vector of the penultimate FC layer of R,
w = 1, |r| = 2.5 (the norm is over all segments of one video). Stated by Miyato et al.: one power iteration, running
statistics that do not follow perturbed passes. Chosen here: q before its ReLU, as the output of the layer itself;
the squared Euclidean distance (the KL divergence of Miyato et al. needs probabilities); the same dropout masks in the
clean and the perturbed passes, so that distance comes from the perturbation alone; batch statistics in each; d of
uniform, not normal, numbers; 32 + 32 videos a step. xi = 0.1: the released code's 1e-6 is lost in the rounding of fp32
(spread over 10^4 features it changes each by 1e-8), while 0.1 is still well below eps.

Miyato et al. stop the gradient at q(x_u). Here it flows, unless `stop` is set: vectors, unlike probabilities, have no
bound, and drawing q(x_u + r_u) towards a target that is held still can enlarge both without end. With `stop` the loss
ran away on an easy surrogate at learning rate 4e-3 (to 10^5, in six of eight runs) and began to grow in one of four at
5e-4; without it none did.

Exchange index: how far a random direction of the same norm moves q, against how far r_u does (distances, not their
squares, which a few videos decide). Control: r of another video of the batch in the place of r_u.
An adversary beats a lot in every network that is not constant: on the quick surrogate with 40 % of the labels (rate
8e-3, 800 steps, eps .625, three seeds) the index is .84 to .86 before training and .94 to .97 after it, with the term,
without it and in the control. So of VAT the share alone says whether it is on: .24 to .59, the control's .28 to .72.
"""

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded
from aqa_lib.methods._exchange import EXCHANGE, Exchange, another, exchanging
from aqa_lib.methods.base import Setting
from aqa_lib.models.functions import uniform


class VAT(Encoded):
    title = "VAT"
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(1.0, "weight of the adversarial loss", low=0, per_run=True),
        "eps": Setting(2.5, "norm of the adversarial perturbation of a video", low=0, per_run=True),
        "xi": Setting(0.1, "norm of the step that finds its direction", low=1e-6, per_run=True),
        "stop": Setting(False, "stop the gradient at the virtual labels, which may then run away"),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    PLACES = {"drop0": 2, "drop1": 2, "drop2": 2, "direction": 1, "another": 1}

    def mechanisms(self, settings):
        return ("adversarial",)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        f = self.encode(model, batch.x, batch, (LABELLED, UNLABELLED))
        label = model.regressor.first(f[:, UNLABELLED])  # q of the unlabelled [K,B,H]
        x = batch.x[:, UNLABELLED]
        with model.still():
            r = self.perturbation(model, x, label.detach(), batch)
            perturbed = self.virtual(model, x + r, batch)
        regression = losses.squared_error(model.scores(f[:, LABELLED]), batch.y)
        adversarial = distance(perturbed, label.detach() if batch.runs[0]["stop"] else label)
        loss = regression + batch.weight("weight") * adversarial
        return {"loss": loss, "regression": regression, "adversarial": adversarial}

    def alive(self, model, batch):
        """How far the random direction that the search begins with moves a virtual label, and how far its end does."""
        f = self.encode(model, batch.x, batch, (LABELLED, UNLABELLED))
        x, label = batch.x[:, UNLABELLED], model.regressor.first(f[:, UNLABELLED])
        with torch.enable_grad():
            r = self.perturbation(model, x, label, batch)
        lots = self.lot(batch) * batch.weight("eps").view(-1, 1, 1, 1)
        own, other = (distances(self.virtual(model, x + p, batch), label).sqrt() for p in (lots, r))
        return {"adversarial": Exchange(own, other, label.var(1, correction=0).sum(1).sqrt())}

    def perturbation(self, model, x, label, batch):
        """r [K,T,B,D] of each run: the adversary's; in a control that of another video, of the same norm."""
        r = self.adversary(model, x, label, batch)
        if exchanging(batch):
            others, mask = r.gather(2, another(batch)[:, None, :, None].expand_as(r)), batch.mask_of(UNLABELLED)
            if mask is not None:  # of longer videos nothing beyond this one's end
                others = direction(others * mask.unsqueeze(-1)) * batch.weight("eps").view(-1, 1, 1, 1)
            r = torch.where(batch.weight("exchange").view(-1, 1, 1, 1) > 0, others, r)
        return r

    @staticmethod
    def lot(batch):
        """A direction [K,T,B,D] of norm 1 for each unlabelled video, by lot."""
        x, mask = batch.x[:, UNLABELLED], batch.mask_of(UNLABELLED)
        d = uniform(batch.keys["direction"][:, 0], x.shape[1:]).to(x.dtype) - 0.5
        return direction(d if mask is None else d * mask.unsqueeze(-1))

    def adversary(self, model, x, label, batch):
        """The perturbations r [K,T,B,D] of x that move its virtual labels most; they have no gradient."""
        d = (self.lot(batch) * batch.weight("xi").view(-1, 1, 1, 1)).requires_grad_()
        (g,) = torch.autograd.grad(distance(self.virtual(model, x + d, batch), label).sum(), d)
        return direction(g) * batch.weight("eps").view(-1, 1, 1, 1)

    def virtual(self, model, x, batch):
        """q of unlabelled videos x [K,T,B,D], with the dropout of their clean pass -> [K,B,H]."""
        f = self.encode(model, x.unsqueeze(1), batch, (UNLABELLED,), first=UNLABELLED)
        return model.regressor.first(f[:, 0])


def distances(a, b):
    """Squared Euclidean distance of each item; [K,B,H] -> [K,B]."""
    return (a - b).square().sum(2)


def distance(a, b):
    """Its mean over items [K]."""
    return distances(a, b).mean(1)


def direction(d):
    """d [K,T,B,D] with norm 1 for each video (zero where d is zero)."""
    return d / d.square().sum((1, 3), keepdim=True).sqrt().clamp(min=torch.finfo(d.dtype).tiny)


METHOD = VAT()
