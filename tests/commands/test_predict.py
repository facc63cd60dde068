"""`aqa predict`: the scores that runs recorded, for scored and unscored items, and a sentence for what cannot be."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.commands import main
from aqa_lib.study.asked import grid
from aqa_lib.study.study import Study
from aqa_lib.training.restore import restore

WORLD = {"name": "surrogate", "n_train": 40, "n_test": 20, "T": 4, "D": 16}
RUN = {"steps": 8, "every": 8, "batch": 4, "fraction": 0.4, "lr": 4e-3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of outputs, ids of three runs with weights, the id of one without, the data set's file)."""
    folder = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AQA_OUTPUTS", str(folder))
        study = Study("own")
        kept = study.train(
            "pi_model", WORLD, runs=grid(seed=range(3), **{n: [v] for n, v in RUN.items()}), weights=True
        )
        bare = study.train("ridge", WORLD, runs=[{"fraction": 0.4}])
    data = data_sets.load(**WORLD)
    scores = data.scores.copy()
    scores[::2] = np.nan
    path = dataclasses.replace(data, name="ours", scores=scores).save(folder / "ours.safetensors")
    return folder, list(kept["id"]), bare["id"][0], path


@pytest.fixture
def aqa(trained, monkeypatch, capsys):
    """`aqa predict ...` in the study of these runs: (exit code, what it said)."""
    monkeypatch.setenv("AQA_OUTPUTS", str(trained[0]))

    def call(*words):
        code = main(["predict", *map(str, words)])
        return code, "".join(capsys.readouterr())

    return call


def test_scores_are_those_that_the_runs_recorded(aqa, trained, tmp_path):
    folder, ids, _, path = trained
    code, told = aqa(*(id[:9] for id in ids), "--data", path, "--csv", tmp_path / "scores.csv")
    assert code == 0 and "60 items by 3 runs" in told and "scores.csv" in told
    table = pd.read_csv(tmp_path / "scores.csv", dtype={"id": str}).set_index("id")
    assert list(table) == ["score", "spread", *(f"run {id}" for id in ids)]
    for id in ids:
        recorded = Study("own").read(id).predictions.set_index("id")["step_8"]
        assert len(recorded) == 20
        np.testing.assert_allclose(table.loc[recorded.index, f"run {id}"], recorded, rtol=1e-5)
    each = table[[f"run {id}" for id in ids]].to_numpy()
    np.testing.assert_allclose(table["score"], each.mean(1), rtol=1e-12)
    np.testing.assert_allclose(table["spread"], each.std(1, ddof=1), rtol=1e-9)
    assert table.notna().all(axis=None) and len(table) == len(data_sets.load("file", path))  # scored or not


def test_a_named_set_and_one_run(aqa, trained, tmp_path):
    folder, ids, _, path = trained
    options = [word for name in ("n_train", "n_test", "T", "D") for word in ("--set", f"{name}={WORLD[name]}")]
    code, told = aqa(ids[1], ids[1][:8], "--name", "surrogate", *options, "--study", "own", "--csv", tmp_path / "a.csv")
    assert code == 0 and "60 items by 1 run," in told and "spread" not in told
    assert aqa(ids[1], "--data", path, "--csv", tmp_path / "b.csv")[0] == 0
    one, other = (pd.read_csv(tmp_path / f"{name}.csv") for name in "ab")
    assert one["spread"].isna().all() and one["score"].equals(other["score"])
    assert one["score"].equals(one[f"run {ids[1]}"])


def test_what_cannot_be_predicted_is_one_sentence_and_no_file(aqa, trained, tmp_path):
    folder, ids, bare, path = trained
    (tmp_path / "broken.safetensors").write_bytes(b"12345678" * 9)
    wide = data_sets.load(**(WORLD | {"D": 17})).save(tmp_path / "wide.safetensors")
    long = data_sets.load(**(WORLD | {"T": 5})).save(tmp_path / "long.safetensors")
    out = ("--csv", tmp_path / "out.csv")
    for words, told in [
        ((bare, "--data", path, *out), "kept no weights: ask for it again with Study.train(..., weights=True)"),
        (("f" * 16, "--data", path, *out), "no run in"),
        ((ids[0], "--data", tmp_path / "none.safetensors", *out), "no data set at"),
        ((ids[0], "--data", tmp_path / "broken.safetensors", *out), "is not a data set written by AssessmentSet.save"),
        ((ids[0], "--data", wide, *out), "segment features of shape (17,)"),
        ((ids[0], "--data", long, *out), "5 segments a video"),
        ((ids[0], "--name", "surrogtae", *out), "did you mean 'surrogate'"),
        ((ids[0], *out), "give either --data FILE, or --name NAME"),
        ((ids[0], "--data", path, "--name", "surrogate", *out), "give either --data FILE, or --name NAME"),
        ((ids[0], "--data", path, "--set", "T=4", *out), "--set go with --name"),
        ((ids[0], "--data", path, "--study", "onw", *out), "did you mean 'own'"),
        ((ids[0], "--data", path, "--csv", tmp_path / "nowhere" / "out.csv"), "a folder that is there"),
        ((ids[0], "--data", path, "--csv", tmp_path), "a folder that is there"),
    ]:
        code, said = aqa(*words)
        assert code == 2 and told in said and said.count("\n") == 1, said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.safetensors", "long.safetensors", "wide.safetensors"]


def test_a_file_that_stands_there_stays_whole_where_writing_fails(aqa, trained, tmp_path, monkeypatch):
    _, ids, _, path = trained
    (tmp_path / "out.csv").write_text("old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    code, said = aqa(ids[0], "--data", path, "--csv", tmp_path / "out.csv")
    monkeypatch.undo()
    assert code == 2 and "No space left" in said
    assert (tmp_path / "out.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_the_variance_of_several_runs_is_that_of_their_mixture(tmp_path, monkeypatch):
    """Second moment less square of the first, of equally many normal distributions a run."""
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(Path(__file__).parents[1] / "contract")])
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    try:
        study, data = Study("own"), data_sets.load(**WORLD)
        runs = study.train("dae", WORLD, runs=grid(seed=range(2), **{n: [v] for n, v in RUN.items()}), weights=True)
        table = study.predict(runs, data)
        each = [restore(study.read(id)).predict(data) for id in runs["id"]]
    finally:
        sys.modules.pop("aqa_lib.methods.dae", None)
    second = sum(out["variance"] + out["score"] ** 2 for out in each) / 2
    np.testing.assert_allclose(table["variance"], second - table["score"] ** 2, rtol=1e-6)
    assert (table["variance"] > sum(out["variance"] for out in each) / 2).all()
