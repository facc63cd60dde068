"""ACTION-NET: Zeng, Hong, Zheng, Yu, Zeng, Wang, Wu, "Hybrid dynamic-static context-aware attention network for action
assessment in long videos", ACM MM 2020; its dynamic branch alone, as in the comparison of S4AQA (TCSVT 2022).

    L = 1/n sum_i (y_i / top - g(x_i))^2,   g in (0, 1): aqa_lib/models/action_net.py

Stated: the branch and the sigmoid, scores divided by the highest that can be given (25), dropout 0.5 in the head, SGD
with rate 0.01 (the head five times as much), momentum 0.9 and weight decay 1e-4 for 300 to 500 epochs, batches of 32.
Chosen here: `top` is 1.1 times the largest labelled score, since others may be higher; g cannot go beyond it, nor below
0. The head takes the branch's own numbers, not those of the static branch beside them; initial values are those of the
other networks, not Xavier's; videos have one length, so none is cropped. The optimiser and its rate are those of the
other networks too: SGD as stated has learned next to nothing after the 600 steps that a run takes here (on surrogate
videos held out of training, a rank correlation of 0.1 against 0.6). optimiser = sgd, lr = 0.01, momentum = 0.9 and more
steps are what was published, but for the head's own rate. No unlabelled video is used.
"""

from aqa_lib import losses
from aqa_lib.methods.base import SCALE, Method, Setting
from aqa_lib.models.action_net import DynamicBranch


class ActionNet(Method):
    title = "ACTION-NET"
    SETTINGS = {
        "top": Setting(1.1, "the highest score that can be predicted, in largest labelled scores", low=0.01),
        "drop": Setting(0.5, "dropout of the head, in steps of 1/256", 0, 0.99),
    }
    PLACES = {"drop": 1}

    def build(self, runs, data):
        s, (_, segments, inputs) = runs[0], data.features.shape
        made = dict(segments=segments, inputs=inputs, drop=s["drop"], precision=s["precision"])
        model = DynamicBranch(runs=len(runs), **made)
        model.top = SCALE * s["top"]
        return model

    def losses(self, model, batch):
        """The loss of each run [K]."""
        share = model(batch.x[:, 0], batch.keys["drop"][:, 0])
        return {"loss": losses.squared_error(share, batch.y / model.top)}

    def predict(self, model, x):
        """x [K or 1,1,T,n,D] -> scores [K,n] without dropout."""
        return model.top * model(x[:, 0].expand(len(model.head.weight), -1, -1, -1))


METHOD = ActionNet()
