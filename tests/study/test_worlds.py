"""Replicates that are worlds: each on a data set of its own; blocks crossed from axes."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from aqa_lib import Study
from aqa_lib import data as data_sets
from aqa_lib.data.splits import label_draw, official
from aqa_lib.errors import UserError
from aqa_lib.study.comparison import averaged, compare_variants
from aqa_lib.study.parts import crossed, parts_of

SMALL = {"name": "surrogate", "n_train": 40, "n_test": 20, "T": 4, "D": 8}
BLOCKS = {"worlds": {"split": "official", "worlds": {"seed": 31}}}


def test_each_replicate_is_a_world_with_its_own_labels_and_seed(monkeypatch, tmp_path):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    asked = []
    train = Study.train

    def seen(self, method, data, split, runs, **more):
        asked.append((data, runs))
        return train(self, method, data, split, runs, **more)

    monkeypatch.setattr(Study, "train", seen)
    table = compare_variants(Study("worlds"), SMALL, {"ridge": ("ridge", {})}, BLOCKS, [0.5], 3)
    ((worlds, runs),) = asked
    assert [w["seed"] for w in worlds] == [31, 32, 33]
    assert [(r["draw"], r["seed"]) for r in runs] == [(0, 0), (1, 1), (2, 2)]
    # the value of a replicate is that of a ridge fitted on its own world by hand
    found = averaged(table).set_index("draw")["value"]
    for d in range(3):
        by_hand = one_ridge(SMALL | {"seed": 31 + d}, d)
        assert found[d] == pytest.approx(by_hand, abs=1e-6)
    assert len(set(found)) == 3


def one_ridge(world, draw):
    """The rank correlation of a ridge on the mean features of one world, its alpha by leave-one-out error."""
    data = data_sets.load("surrogate", **{k: v for k, v in world.items() if k != "name"})
    split = official(data)
    labelled = label_draw(data, 0.5, draw, "stratified", split)
    x, y = data.features[labelled].mean(1), data.scores[labelled]  # [n,D], [n]
    mean, sd = x.mean(0), x.std(0)
    x = (x - mean) / sd

    def left_out(alpha):
        """The squared error of each video scored by the ridge of all others, which are fitted anew."""
        others = [np.arange(len(y)) != i for i in range(len(y))]
        return np.mean([(Ridge(alpha).fit(x[o], y[o]).predict(x[~o]) - y[~o]) ** 2 for o in others])

    model = Ridge(min(np.logspace(-2, 5, 15), key=left_out)).fit(x, y)
    test = (data.features[split.test].mean(1) - mean) / sd
    return spearmanr(model.predict(test), data.scores[split.test])[0]


def test_worlds_are_not_pooled():
    """Joined predictions are measured on the scores of one data set."""
    both = {"split": "official", "worlds": {"seed": 31}, "pool": True}
    with pytest.raises(UserError, match="block 'a': pool joins the folds of one data set, but with worlds"):
        parts_of(SMALL, {"a": both})
    assert parts_of(SMALL, {"a": {**both, "pool": False}}) and parts_of(SMALL, {"a": {**both, "worlds": {}}})


def test_worlds_count_on_from_a_whole_number():
    (part,) = parts_of(SMALL, BLOCKS)
    assert part.replicate(2)["seed"] == 33 and part.replicate(0)["seed"] == 31 and part.world["seed"] == 31
    with pytest.raises(UserError, match="worlds count on from a whole number"):
        parts_of(SMALL, {"worlds": {"split": "official", "worlds": {"seed": [1, 2]}}})


def test_blocks_are_crossed_from_axes():
    axes = {"rho": {"rho 0": {"rho": 0.0, "skill": 0.0}, "rho .9": {"rho": 0.9}}, "fast": {"fast 2": {"fast": 2.0}}}
    blocks, labels = crossed(axes, split="official", worlds={"seed": 5}, options={"classes": 1})
    assert list(blocks) == ["rho 0, fast 2", "rho .9, fast 2"]
    assert blocks["rho .9, fast 2"] == {
        "split": "official", "worlds": {"seed": 5}, "options": {"classes": 1, "rho": 0.9, "fast": 2.0}
    }  # fmt: skip
    assert labels.loc["rho 0, fast 2"].to_dict() == {"rho": "rho 0", "fast": "fast 2"}
