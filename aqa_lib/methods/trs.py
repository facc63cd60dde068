"""TRS: Yun, Qi, Peng, Ma, "Semi-supervised teacher-reference-student architecture for action quality assessment", ECCV
2024, on frozen segment features.

    student, teacher: video -> score s, variance v; the teacher follows the student's weights
    reference: (video x, labelled video r) -> how much better x is, d, and variance; y_r + d is a score of x
    L = N(student(x_l), y_l) + N(reference(x_l, x_r), y_l - y_r) + N(reference(x_r, x_l), y_r - y_l)
        + [after burn-in] w 1/U sum_u ((s_u - M^T_u)^2 + (s_u - M^R_u)^2) / 2
    N((s, v), y) = mean of ((s - y)^2 / v + log v) / 2

s_u: the student on a strong augmentation of an unlabelled video. M^T_u and M^R_u: the scores of teacher and reference
on weak ones, each the one of least variance that the video ever had (confidence memories). At test: the student alone.

Stated in the paper's abstract and figure, or in the released fragments of code: teacher, reference and student; a
burn-in on labelled videos; the teacher a moving average of the student; weak and strong augmentation; the mixer's
shape (aqa_lib/models/trs.py) with two outputs, score and confidence; cross-attention from the unlabelled to the
labelled video's segments, a relative score and its confidence, trained in both directions; memories that keep the most
confident output; both supervise the student; the student predicts. Released settings: Adam 2e-4, weight decay 1e-5,
batch 4, the backbone trained as well.

Not to be found, so inferred here: confidence is a variance learned by likelihood, softplus + 0.01 so that it cannot
collapse on few labels; the two pseudo-labels weigh the same, on the score alone, w = 1 without warm-up; burn-in is the
first quarter of the steps, in which the teacher already follows; its decay 0.99, less in the first steps; memories
start empty after burn-in; r is another labelled video of the batch, for an unlabelled video the labelled one of its
number; labelled videos are not augmented; the augmentations of aqa_lib/methods/_encoded.py; 32 + 32 videos a step; the
other methods' learning rate.

Mechanism: "imitation", after burn-in; other, and control: the memories' scores of another video. A look takes absolute
errors; a video kept aside is in no memory, so its scores are the outputs of the moment. The teacher starts as the
student, so an untrained network has an index of .08 to .13 (t 5 to 7, three seeds) and t is of its growth. What grows,
labels teach alone: on the quick surrogate with 40 % of them (rate 8e-3, 800 steps, one block) the index is .44 to .53
with the term and .33 to .47 without; it is on in two of three.
"""

import math

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, follow, strong, weak
from aqa_lib.methods._exchange import EXCHANGE, another, deviation, exchanged, exchanging, taken
from aqa_lib.methods._ranks import winner
from aqa_lib.methods.base import Method, Setting
from aqa_lib.models.functions import uniform
from aqa_lib.models.trs import TRS


class TeacherReferenceStudent(Method):
    title = "TRS"
    small = {"depth": 2}
    SETTINGS = {
        "depth": Setting(8, "blocks of the mixer", 1, 100),
        "weight": Setting(1.0, "weight of the unlabelled videos' loss", low=0, per_run=True),
        "burn_in": Setting(0.25, "share of the steps that learn from labelled videos alone", 0, 1, per_run=True),
        "decay": Setting(0.99, "share of its weights that the teacher keeps at a step", 0, 1),
        "hide": Setting(0.15, "chance that an augmentation hides a segment", 0, 0.99),
        "noise": Setting(0.05, "noise of the strong augmentation, in root mean squares of the features", low=0),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    from_the_start = ("imitation",)
    PLACES = {"another": 1, "hide": 2, "noise": 1, "other": 1}

    def build(self, runs, data):
        s, (_, segments, inputs) = runs[0], data.features.shape
        return TRS(runs=len(runs), segments=segments, inputs=inputs, depth=s["depth"], precision=s["precision"])

    def unlabelled(self, settings):
        return True

    def begin(self, stack):
        follow(stack.model.teacher, stack.model.student, 0.0, 0)
        for who in ("teacher", "reference"):
            stack.memory[who] = torch.zeros_like(stack.y)
            stack.memory[f"{who}_variance"] = torch.full_like(stack.y, torch.inf)

    def after(self, stack, step):
        follow(stack.model.teacher, stack.model.student, stack.runs[0]["decay"], step)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        x, y = batch.x[:, LABELLED], batch.y
        learning = batch.step >= batch.table(self.start)[:, 0]  # [K]
        imitating = any(batch.step >= self.start(s)[0] for s in batch.runs)
        seen = x if not imitating else torch.cat([x, self.strongly(batch)], 2)
        score, variance = (part.split(x.shape[2], 1) for part in model.student(seen))

        other = partner(batch.keys["other"][:, 0], x.shape[2])
        x_r, y_r = x.gather(2, other[:, None, :, None].expand_as(x)), y.gather(1, other)
        better = model.reference(torch.cat([x, x_r], 2), torch.cat([x_r, x], 2))
        terms = {
            "regression": likelihood(score[0], variance[0], y),
            "reference": 2 * likelihood(*better, torch.cat([y - y_r, y_r - y], 1)),  # the sum of both directions
        }
        terms["imitation"] = torch.zeros_like(terms["regression"])
        if imitating:
            labels = self.pseudo(model, batch, learning)
            terms["imitation"] = sum(losses.squared_error(score[1], label) for label in labels) / 2 * learning
        loss = terms["regression"] + terms["reference"] + batch.weight("weight") * terms["imitation"]
        return {"loss": loss, **terms}

    def mechanisms(self, settings):
        return ("imitation",) * (settings["burn_in"] < 1)

    def working(self, settings):
        return settings["burn_in"], 1.0

    def auxiliary(self, batch, terms):
        """The reference learns from labelled videos: it is no part."""
        return {"imitation": batch.weight("weight") * terms["imitation"]}

    def encoding(self, model):
        """The student up to its last layer."""
        return [p for part in (model.student.blocks, model.student.norm) for p in part.parameters()]

    def alive(self, model, batch):
        """The memories' scores of another video; of a video that no step draws they are the outputs of the moment."""
        score, _ = model.student(self.strongly(batch))
        labels = self.pseudo(model, batch, torch.ones_like(batch.y[:, 0], dtype=torch.bool))

        def cost(r):
            return sum((score - label.roll(-r, 1)).abs() for label in labels) / 2

        return {"imitation": exchanged(cost, deviation(batch.y))}

    @staticmethod
    def start(settings):
        """The first step after burn-in."""
        return [math.ceil(settings["burn_in"] * settings["steps"])]

    @staticmethod
    def strongly(batch):
        s = batch.runs[0]
        x = weak(batch.x[:, UNLABELLED], batch.keys["hide"][:, 1], s["hide"])
        return strong(x, batch.keys["noise"][:, 0], s["noise"])

    @staticmethod
    @torch.no_grad()
    def pseudo(model, batch, learning):
        """The memories' scores [K,B] of the unlabelled videos, by teacher and by reference, brought up to date; in a
        control those of others."""
        x = weak(batch.x[:, UNLABELLED], batch.keys["hide"][:, 0], batch.runs[0]["hide"])
        better, variance = model.reference(x, batch.x[:, LABELLED])
        found = {"teacher": model.teacher(x), "reference": (batch.y + better, variance)}
        labels = [remember(batch, who, *output, learning) for who, output in found.items()]
        if exchanging(batch):
            labels = [taken(label, another(batch)) for label in labels]
        return labels

    def predict(self, model, x, at_once=64):
        """x [K or 1,1,T,n,D] -> the student's scores [K,n]."""
        K = model.student.last.bias.shape[0]
        parts = x[:, 0].split(at_once, 2)  # the mixer's inner activations are large
        return torch.cat([model.student(part.expand(K, -1, -1, -1))[0] for part in parts], 1)


def remember(batch, who, score, variance, learning):
    """Keep the more confident of what a memory has and what is new, [K,B] each; return the memory's scores.

    Runs in burn-in keep nothing.
    """
    items, scores, variances = batch.items[:, 1], batch.memory[who], batch.memory[f"{who}_variance"]
    best = winner(items, variance)
    score, variance = score.gather(1, best), variance.gather(1, best)
    new = (variance < variances.gather(1, items)) & learning.unsqueeze(1)
    score = torch.where(new, score, scores.gather(1, items))
    scores.scatter_(1, items, score)
    variances.scatter_(1, items, torch.where(new, variance, variances.gather(1, items)))
    return score


def partner(keys, B):
    """For each index another index of the batch, the same number further on; keys [K] -> [K,B]."""
    on = 1 + (uniform(keys, (1,)) * (B - 1)).long()
    return (torch.arange(B, device=keys.device) + on) % B


def likelihood(score, variance, y):
    """Negative logarithm of a normal density, less its constant; [K,B] -> [K]."""
    return ((score - y).square() / variance + variance.log()).mean(1) / 2


METHOD = TeacherReferenceStudent()
