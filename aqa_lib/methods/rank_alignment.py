"""Rank-matched distribution alignment alone: the baseline "RDA" of Huang, Fu, Tsai, "RankUp: Boosting semi-supervised
regression with an auxiliary ranking classifier", NeurIPS 2024. It is not S4AQA's RDA, the adversarial alignment of
encodings, which is a part of aqa_lib/methods/s4aqa.py.

    L = 1/L sum_i (y_i - g(x_i))^2 + w(t) 1/U sum_u (g(a(x_u)) - q_u)^2

g = R after E, a the weak augmentation. q_u: of all n unlabelled videos' last predictions, the one at rank r has the
quantile r / (n - 1) of the labelled scores (aqa_lib/methods/_ranks.py); renewed every `refresh` steps.

Stated there: the quantiles, interpolated; w = 1 after a linear warm-up over 40 % of the steps; no loss before the
first alignment. In the released code an alignment comes every 1024 of 262144 steps and videos not yet met count as
predicted 1. Chosen here: E and R of S4AQA; squared error on the labelled (theirs: absolute); an alignment once a pass
over the training videos; videos not yet met take no part; 32 + 32 videos a step (theirs: 32 + 224); a hides segments.

Mechanism: "alignment"; other, and control: the aligned label of another video. A look takes absolute errors, for a few
videos at the ends of the scale decide a mean of squares.
"""

import torch

from aqa_lib import losses
from aqa_lib.methods import _ranks
from aqa_lib.methods._encoded import LABELLED, UNLABELLED, Encoded, weak
from aqa_lib.methods._exchange import EXCHANGE, deviation, exchanged
from aqa_lib.methods.base import Setting


class RankAlignment(Encoded):
    title = "RDA of RankUp"
    SETTINGS = {
        **Encoded.SETTINGS,
        "weight": Setting(1.0, "weight of the error to the aligned labels", low=0, per_run=True),
        **_ranks.SETTINGS,
        "hide": Setting(0.15, "chance that the augmentation hides a segment", 0, 0.99),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}
    PLACES = {"another": 1, "drop0": 3, "drop1": 3, "drop2": 3, "hide": 2}  # the last ones are a look's

    def begin(self, stack):
        _ranks.begin(stack)

    def before(self, stack, step):
        _ranks.refresh(stack, step)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        f = self.encodings(model, batch)
        regression = losses.squared_error(model.scores(f[:, 0]), batch.y)
        predicted = model.scores(f[:, 1])
        alignment = losses.squared_error(predicted, _ranks.pseudo(self, model, batch, predicted))
        return {
            "loss": regression + self.ramp(batch) * batch.weight("weight") * alignment,
            "regression": regression,
            "alignment": alignment,
        }

    def encodings(self, model, batch):
        """f [K,2,B,TC] of the labelled videos and of the weak views of the unlabelled."""
        x = batch.x
        seen = weak(x[:, UNLABELLED], batch.keys["hide"][:, 0], batch.runs[0]["hide"])
        return self.encode(model, torch.stack([x[:, LABELLED], seen], 1), batch, (LABELLED, UNLABELLED))

    def mechanisms(self, settings):
        return ("alignment",)

    def alive(self, model, batch):
        """The aligned label of another video."""
        predicted = model.scores(self.encodings(model, batch)[:, 1])
        aligned = _ranks.pseudo(self, model, batch, predicted)
        return {"alignment": exchanged(lambda r: (predicted - aligned.roll(-r, 1)).abs(), deviation(batch.y))}


METHOD = RankAlignment()
