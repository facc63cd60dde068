"""Panels of judges: sums counted by hand, and the agreement measured on the annotations of MTL-AQA."""

from pathlib import Path

import numpy as np
import pytest

from aqa_lib.data import load
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.evaluation import fisher_mean, spearman
from aqa_lib.evaluation.judges import panels

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mtl_aqa"


def test_panels_by_hand():
    awards = np.array([[1, 2, 4, 8], [1, 10, 100, 1000]])
    a, b = panels(awards, size=2)
    pairs = {frozenset(pair) for pair in zip(a[:, 1], b[:, 1], strict=True)}
    assert pairs == {frozenset(p) for p in ((11, 1100), (101, 1010), (1001, 110))} and len(a) == 3
    assert (a[:, 0] + b[:, 0] == 15).all()
    a, b = panels(np.zeros((5, 7)))
    assert a.shape == b.shape == (70, 5)
    with pytest.raises(UserError, match="need 6 judges, but there are 5"):
        panels(np.zeros((2, 5)))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the annotations of MTL-AQA are not at {REAL}")
def test_two_panels_of_judges_of_dives():
    s = load("mtl_aqa", REAL, annotations="judges")
    test = official(s).test
    judges, difficulty = s.judges[test], s.difficulty[test]
    a, b = panels(judges)
    raw = [spearman(x, y) for x, y in zip(a, b, strict=True)]
    scored = [spearman(x * difficulty, y * difficulty) for x, y in zip(a, b, strict=True)]
    # over all 70 ways, averaged through Fisher's z as correlations are; the plain mean of the raw ones is .9734
    assert len(raw) == 70 and round(fisher_mean(raw), 3) == 0.974 and round(fisher_mean(scored), 3) == 0.984
    assert round(np.mean(raw), 4) == 0.9734
    one = [spearman(judges[:, j] * difficulty, s.scores[test]) for j in range(7)]
    assert min(one) > 0.975 and max(one) < 0.982
