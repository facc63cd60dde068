"""The plain implementations train by themselves, one run each, and the bench's loop drives them."""

import ast

import numpy as np
import pytest

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.tasks import SCORES
from benchmarks.methods import plain, steps_of_peer

PEERS = [name for name in methods.names() if plain(name).exists()]


def test_every_peer_is_of_a_method():
    files = {path.stem for path in plain("svr").parent.glob("*.py") if "class Peer" in path.read_text()}
    assert len(PEERS) > 10 and files == set(PEERS)


@pytest.mark.parametrize("name", PEERS)
def test_what_is_measured_says_where_it_comes_from(name):
    assert len(ast.get_docstring(ast.parse(methods.path(name).read_text()))) > 200, "its source and its equation"


@pytest.mark.parametrize("name", [name for name in PEERS if methods.get(name).gradient])
def test_a_peer_takes_steps(name):
    data = data_sets.load("surrogate", n_train=60, n_test=10, T=4, D=16)
    method, split = methods.get(name), official(data)
    settings = method.resolve({"fraction": 0.4, "batch": 8})
    labels = SCORES.labels(data, split, settings)
    steps = steps_of_peer(name, method, data, split, settings, labels, "cpu")
    for _ in range(3):
        next(steps)
    assert np.isfinite(labels.scale)
