"""Encodings of a study: whose videos they are, what no training has touched, and numbers by hand."""

import numpy as np
import pytest

from aqa_lib.data import load, splits
from aqa_lib.errors import UserError
from aqa_lib.study.encodings import encodings, measured
from aqa_lib.study.study import Study
from aqa_lib.training import restore

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 20, "T": 4, "D": 12}
SHORT = {"steps": 4, "batch": 8}
VARIANTS = {"AA": ("s4aqa", {"recover": False, "align": False, **SHORT}), "full": ("s4aqa", SHORT)}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    return Study("seen")


def test_each_replicate_is_a_world_with_its_own_labels_and_networks(study):
    blocks = {"one": {"split": "official", "worlds": {"seed": 7}}}
    seen = encodings(study, WORLD, VARIANTS, blocks, 0.4, 2)
    assert [r.number for r in seen] == [0, 1]
    for number, r in enumerate(seen):
        data = load("surrogate", **{k: v for k, v in WORLD.items() if k != "name"}, seed=7 + number)
        assert np.array_equal(r.data.scores, data.scores)
        drawn = splits.label_draw(data, 0.4, number)
        assert set(r.training[r.kinds]) == set(drawn) and len(r.training) == 60
        assert set(r.hidden) == set(range(60)) - set(drawn)
        assert np.allclose(r.spaces["features"], data.features.mean(1))
        one = study.train("s4aqa", {**WORLD, "seed": 7 + number}, runs=[{**VARIANTS["full"][1], "fraction": 0.4,
                          "draw": number, "seed": number}], weights=True)  # fmt: skip
        trained = restore(study.read(one["id"][0]))
        assert np.array_equal(r.spaces["full"], trained.method.encode(trained.model, data.features))
        assert r.states["AA"] == "" and "recovery:" in r.states["full"]


def test_a_measure_sees_every_encoding_of_every_replicate(study):
    seen = encodings(study, WORLD, VARIANTS, {"a": {}, "b": {"options": {"shift": 2.0, "labelled": 5}}}, 0.4, 2)
    table = measured(seen, lambda r, f: float(f.shape[1] + len(r.hidden)))
    assert list(table["block"]) == ["a"] * 6 + ["b"] * 6
    assert list(table["variant"][:3]) == ["AA", "full", "features"] and list(table["draw"][:6]) == [0] * 3 + [1] * 3
    pooled = table[table["variant"] == "features"]
    assert (pooled.loc[pooled["block"] == "a", "value"] == 12 + 36).all()
    assert (pooled.loc[pooled["block"] == "b", "value"] > 12 + 36).all()  # a share of fewer that may be labelled
    assert (table.loc[table["variant"] == "features", "states"] == "").all()


def test_a_method_without_an_encoding_is_one_sentence(study):
    with pytest.raises(UserError, match="variant 'linear': method ridge has no encoding to look at; leave it out"):
        encodings(study, WORLD, {"linear": ("ridge", {})}, {"": {}}, 0.4, 1)
