"""Pseudo-labels: neighbours by hand and by scikit-learn, the loss against ordinary modules in float64, its gradient."""

import numpy as np
import pytest
import torch
from helpers import advance, gradients, losses_of, make_stack, noise_set
from sklearn.neighbors import KNeighborsRegressor

from aqa_lib import methods
from aqa_lib.methods.pseudo_labels import nearest_scores
from benchmarks.plain.pseudo_labels import Peer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "k": 3}
nan = float("nan")


def test_neighbours_by_hand():
    """Five items on a line for two runs with other labels, the second with fewer than k."""
    f = torch.tensor([0.0, 1.0, 3.0, 7.0, 15.0]).view(1, 5, 1).expand(2, -1, -1)
    y = torch.tensor([[2.0, nan, 4.0, 9.0, nan], [nan, nan, nan, 6.0, nan]])
    expected = [[3.0, 3.0, 3.0, 6.5, 6.5], [6.0] * 5]
    assert nearest_scores(f, y, 2).tolist() == expected
    assert nearest_scores(f, y, 1)[0].tolist() == [2.0, 2.0, 4.0, 9.0, 9.0]
    assert nearest_scores(f, y, 50)[0].tolist() == [5.0] * 5  # more than there are: all of them


def test_the_pseudo_labels_are_scikit_learns():
    """Each of two runs from its own encoder (moved by a few steps) and its own labels."""
    stack = make_stack("pseudo_labels", noise_set(), [RUN, {**RUN, "seed": 1, "draw": 1, "fraction": 0.2}])
    advance(stack, 3)
    stack.memory.clear()
    stack.method.before(stack, 0)
    f, (train,) = stack.method.embed(stack).numpy(), stack.train.numpy()
    for k in range(2):
        y = stack.y[k, train].numpy()
        known = np.isfinite(y)
        assert known.sum() == len(stack.labels[k].train) < len(train)
        knn = KNeighborsRegressor(3, algorithm="brute").fit(f[k][known], y[known])
        assert np.allclose(stack.memory["pseudo"][k, train], knn.predict(f[k]), atol=1e-5)
    tested = np.setdiff1d(np.arange(stack.y.shape[1]), train)
    assert stack.memory["pseudo"][:, tested].isnan().all()


def test_the_loss_is_that_of_ordinary_modules():
    """At first and after steps, when weights and running statistics have moved and pseudo-labels are new."""
    data = noise_set()
    stack = make_stack("pseudo_labels", data, [{**RUN, "refresh": 4}], dtype=torch.float64)
    for step in (0, 4):
        peer = Peer(data, drop=0.0, k=3, refresh=4, labelled=stack.labels[0].train).double().load(stack)
        peer.before(step)
        terms, batch = losses_of(stack, step), stack.batch(step)
        x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
        loss = peer.loss(x[0], batch.y[0], x[1], items=batch.items[0])
        assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
        advance(stack, 4)


def test_pseudo_labels_are_made_once_a_pass():
    stack = make_stack("pseudo_labels", noise_set(), [RUN])  # 45 training videos, 8 a step: every 6 steps
    made = []
    for step in range(13):
        advance(stack, 1, step)
        made.append(stack.memory["pseudo"])
    new = [step for step in range(1, 13) if made[step] is not made[step - 1]]
    assert new == [6, 12]
    assert not torch.equal(made[5].nan_to_num(), made[6].nan_to_num())
    assert methods.get("pseudo_labels").shape({**stack.runs[0], "k": 4}) != stack.method.shape(stack.runs[0])


def test_gradients():
    """Pseudo-labels are numbers: their loss reaches E and R; making them leaves network and mode as they were."""
    stack = make_stack("pseudo_labels", noise_set(), [RUN])
    before = {name: value.clone() for name, value in stack.model.state_dict().items()}
    stack.method.before(stack, 0)
    assert stack.model.training and not stack.memory["pseudo"].requires_grad
    assert all(torch.equal(value, before[name]) for name, value in stack.model.state_dict().items())
    parts = gradients(stack, "imitation")
    assert parts["encoder"] > 0 < parts["regressor"]
