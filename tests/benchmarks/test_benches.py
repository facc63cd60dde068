"""Every method with steps has a peer that trains by itself, and the bench's loop drives it."""

import numpy as np
import pytest

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.training.stack import Labels
from benchmarks.methods import steps_of_peer


@pytest.mark.parametrize("name", [n for n in methods.names() if methods.get(n).gradient])
def test_a_peer_of_every_method_takes_steps(name):
    data = data_sets.load("surrogate", n_train=60, n_test=10, T=4, D=16)
    method, split = methods.get(name), official(data)
    settings = method.resolve({"fraction": 0.4, "batch": 8})
    labels = Labels(data, split, settings)
    steps = steps_of_peer(name, method, data, split, settings, labels, "cpu")
    for _ in range(3):
        next(steps)
    assert np.isfinite(labels.scale)
