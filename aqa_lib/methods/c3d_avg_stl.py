"""C3D-AVG-STL: Parmar, Morris, "What and how well you performed? A multitask learning approach to action quality
assessment", CVPR 2019; the single-task network.

    L = 1/n sum_i (y_i - g(x_i))^2 + |y_i - g(x_i)|,   g = linear, after FC with ReLU, after the mean over segments

Stated: the mean of the clips, the FC layer, and the sum of the squared and the absolute error of the score divided by
17 (the highest score of MTL-AQA is then 6.1; here the largest labelled one is 5). Chosen here: frozen segment features,
as in S4AQA (TCSVT 2022), in place of C3D trained along; FC of width D/2 (4096 of 8192 there); the learning rate, batch
and steps of the other networks (there Adam, 1e-4, batches of 3). No unlabelled video is used.
"""

from aqa_lib.methods.base import Method
from aqa_lib.models.c3d_avg import Average


class SingleTask(Method):
    title = "C3D-AVG-STL"
    masks = True

    def build(self, runs, data):
        return Average(runs=len(runs), inputs=data.features.shape[2], precision=runs[0]["precision"])

    def losses(self, model, batch):
        """The loss of each run [K]."""
        return {"loss": score_error(model.scores(model(batch.x[:, 0], batch.mask_of(0))), batch.y)}

    def predict(self, model, x, mask=None):
        """x [K or 1,1,T,n,D] -> scores [K,n]."""
        K = len(model.fc.weight)
        return model.scores(
            model(x[:, 0].expand(K, -1, -1, -1), None if mask is None else mask[:, 0].expand(K, -1, -1))
        )


def score_error(predicted, true):
    """Squared plus absolute error [K], means over the items; [K,B] each."""
    d = predicted - true
    return (d.square() + d.abs()).sum(1) / true.shape[1]


METHOD = SingleTask()
