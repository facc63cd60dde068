"""Mean teacher for regression: Tarvainen, Valpola, "Mean teachers are better role models", NeurIPS 2017; its loss for
regression as in the public code of RankUp (Huang, Fu, Tsai, NeurIPS 2024).

    L = 1/L sum_i (y_i - g(x_i))^2 + w(t) 1/U sum_u (g(a2(x_u)) - sg g'(a1(x_u)))^2
    theta' <- d theta' + (1 - d) theta after each step

g = R after E with weights theta, g' the teacher; a1 is the weak and a2 the strong augmentation of an unlabelled video;
w grows linearly from 0 over the first 40 % of the steps. Stated: w = 0.1, the 40 %, d = 0.999 in trainings of hundreds
of thousands of steps. Chosen here: d = 0.99, a memory of 100 of the usual 600 steps, where 0.999 would still remember
the first; less in the first steps (aqa_lib/methods/_encoded.py, which has the augmentations too); the teacher has
dropout and batch statistics as the student has; its running statistics are the student's, which follow the labelled
videos; the student predicts, or the teacher (`predict_with`); E and R of S4AQA; 32 + 32 videos a step.

With the weight that is stated little comes of it: the weighted gradient at E is .13 to .29 of the regression's
(surrogate, 40 % of the labels, 250 steps at a learning rate of 3.2e-2), and most of what the two sides differ by is
dropout. The same 0.1 says more in RankUp's code, where it weighs squared years against an absolute error, so that two
views that are 5 years apart pull as much as a label does; here both are squares, of scores up to 5. Not tuned here.
Control: what the teacher says of another video of the batch.
"""

import torch

from aqa_lib import losses
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, follow, strong, teacher_of, weak
from aqa_lib.methods._exchange import EXCHANGE, another, exchanged, exchanging, spread, taken
from aqa_lib.methods.base import Setting


class MeanTeacher(Encoded):
    title = "Mean teacher"
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(0.1, "weight of the consistency loss", low=0, per_run=True),
        "warm_up": Setting(0.4, "share of the steps over which the weight grows from 0", 0, 1, per_run=True),
        "decay": Setting(0.99, "share of its weights that the teacher keeps at a step", 0, 1),
        "hide": Setting(0.15, "chance that an augmentation hides a segment", 0, 0.99),
        "noise": Setting(0.05, "noise of the strong augmentation, in root mean squares of the features", low=0),
        "predict_with": Setting("student", "which of the two predicts", choices=("student", "teacher")),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    from_the_start = ("consistency",)
    PLACES = {"drop0": 3, "drop1": 3, "drop2": 3, "hide": 2, "noise": 1, "another": 1}

    def mechanisms(self, settings):
        return ("consistency",)

    def build(self, runs, data):
        model = super().build(runs, data)
        model.teacher = teacher_of(model)
        model.predict_with = runs[0]["predict_with"]
        return model

    def begin(self, stack):
        follow(stack.model.teacher.encoder, stack.model.encoder, 0.0, 0)
        follow(stack.model.teacher.regressor, stack.model.regressor, 0.0, 0)

    def after(self, stack, step):
        model, decay = stack.model, stack.runs[0]["decay"]
        follow(model.teacher.encoder, model.encoder, decay, step)
        follow(model.teacher.regressor, model.regressor, decay, step)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        labelled, student, target = self.passes(model, batch)
        regression = losses.squared_error(labelled, batch.y)
        consistency = losses.squared_error(student, target)
        return {
            "loss": regression + self.ramp(batch) * batch.weight("weight") * consistency,
            "regression": regression,
            "consistency": consistency,
        }

    def alive(self, model, batch):
        """What the teacher says of another video."""
        _, student, target = self.passes(model, batch)
        cost = exchanged(lambda r: (student - target.roll(-r, 1)).abs(), spread(batch.y).sqrt())
        return {"consistency": cost}

    def passes(self, model, batch):
        """The student's scores [K,B] of labelled and unlabelled videos, and the teacher's: in a control of others."""
        s, x = batch.runs[0], batch.x
        first = weak(x[:, UNLABELLED], batch.keys["hide"][:, 0], s["hide"])
        second = weak(x[:, UNLABELLED], batch.keys["hide"][:, 1], s["hide"])
        second = strong(second, batch.keys["noise"][:, 0], s["noise"], batch.mask_of(UNLABELLED))
        f = self.encode(model, torch.stack([x[:, LABELLED], second], 1), batch, (LABELLED, UNLABELLED))
        with torch.no_grad(), model.teacher.still():
            f_teacher = self.encode(model.teacher, first.unsqueeze(1), batch, (UNLABELLED,), first=2)
            target = model.teacher.scores(f_teacher[:, 0])
        if exchanging(batch):
            target = taken(target, another(batch))
        return model.scores(f[:, 0]), model.scores(f[:, 1]), target

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> scores [K,n] with running statistics and no dropout."""
        return super().predict(model.teacher if model.predict_with == "teacher" else model, x, mask)


METHOD = MeanTeacher()
