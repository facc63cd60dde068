"""A method that is given the difficulty of every video, at test as well: a linear function of both; here a method file
that tests the training contract.

    s_i = w . mean segment feature + v d_i + b
"""

from aqa_lib import losses
from aqa_lib.errors import UserError
from aqa_lib.methods.base import Method
from aqa_lib.models.functions import average
from aqa_lib.models.layers import Linear, Model


class WithDifficulty(Model):
    def __init__(self, *, runs, inputs):
        super().__init__()
        self.of_features = Linear(runs=runs, inputs=inputs, outputs=1)
        self.of_difficulty = Linear(runs=runs, inputs=1, outputs=1)

    def forward(self, v, d):  # v [K,B,D], d [K,B]
        return (self.of_features(v) + self.of_difficulty(d.unsqueeze(-1))).squeeze(-1)


class Given(Method):
    title = "Linear, with difficulty"
    small = {"lr": 3e-2}

    def given(self, data):
        if data.difficulty is None:
            raise UserError(f"data set {data.name!r} has no difficulty to be given: fill in that field")
        return {"difficulty": data.difficulty.astype("float32")}

    def build(self, runs, data):
        return WithDifficulty(runs=len(runs), inputs=data.features.shape[2])

    def losses(self, model, batch):
        d = batch.given("difficulty")[:, 0]
        return {"loss": losses.squared_error(model(average(batch.x[:, 0], batch.mask_of(0)), d), batch.y)}

    def predict(self, model, x, difficulty, mask=None):
        K = model.flat.shape[0]
        v = average(x[:, 0], None if mask is None else mask[:, 0])
        return model(v.expand(K, -1, -1), difficulty.expand(K, -1))


METHOD = Given()
