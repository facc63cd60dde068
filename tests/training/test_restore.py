"""A run restored from its weights and their description predicts what it recorded; misfits are refused."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import of_scores, world

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.models.layers import Model
from aqa_lib.study.study import Study
from aqa_lib.training import restore, train
from aqa_lib.training.restore import trained

WORLD = {"n_train": 40, "n_test": 20, "T": 4, "D": 16}
SMALL = {"steps": 12, "batch": 4, "lr": 4e-3}
CASES = [
    *((name, {}) for name in of_scores()),
    ("mean_teacher", {"predict_with": "teacher"}),
    ("s4aqa", {"modality": "flow"}),
    ("s4aqa", {"modality": "rgb+flow"}),
    ("s4aqa", {"pretext": "still"}),
    ("ridge", {"modality": "rgb+flow"}),
    ("ridge", {"modality": "turned"}),
]


def small(**options):
    return world(**WORLD | options)


def run_of(name, **settings):
    """A small run of a method."""
    steps = SMALL if methods.get(name).gradient else {}
    return {"fraction": 0.4, **methods.get(name).small, **steps, **settings}


def kept(name, **settings):
    """What a file keeps of a run on the small world: its weights, and their description as text and back."""
    data = small()
    (result,) = train(name, data, official(data), [run_of(name, **settings)], weights=True)
    return result.weights, json.loads(json.dumps(result.about))


def recorded(result):
    """The last predictions of a run's record."""
    return result.predictions[[c for c in result.predictions if c.startswith("step_")][-1]].to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_a_run_of_every_method_predicts_what_it_recorded(name, settings):
    data = small()
    test = official(data).test
    unscored = dataclasses.replace(small(seed=1, n_train=30, n_test=7), scores=np.full(37, np.nan))  # never seen
    if methods.get(name).video:  # what is seen of a video is enough
        unscored = dataclasses.replace(unscored, table=pd.DataFrame({"split": unscored.table["split"]}))
    runs = [run_of(name, seed=seed, draw=seed, **settings) for seed in (3, 5)]
    for result in train(name, data, official(data), runs, weights=True):  # a stack of two: the second is not its first
        run = trained(result.weights, json.loads(json.dumps(result.about)))
        scores = run.predict(data, test)["score"]
        np.testing.assert_allclose(scores, recorded(result), rtol=1e-5)
        assert np.ptp(scores) > 1e-3 or name == "guess_training_mean"  # not one number for all
        assert run.method.name == name and run.settings == result.settings
        assert run.model is None or not run.model.training
        other = run.predict(unscored)["score"]
        assert other.shape == (37,) and np.isfinite(other).all()


@pytest.mark.parametrize("name", ["s4aqa", "ridge"])
def test_a_run_of_a_study_comes_back_from_its_folder(name, tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    study = Study("restored")
    table = study.train(name, {"name": "surrogate", **WORLD}, runs=[run_of(name)], weights=True)
    record, data = study.read(table["id"][0]), small()
    predicted = restore(record).predict(data, official(data).test)["score"]
    np.testing.assert_allclose(predicted, recorded(record), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"), [("s4aqa", {"modality": "rgb+flow"}), ("usdl", {}), ("ridge", {"modality": "rgb+flow"})]
)
def test_data_of_another_shape_is_refused_in_a_sentence(name, settings):
    run = trained(*kept(name, **settings))
    with pytest.raises(UserError, match=r"shape \(8,\), but the run was trained on 'surrogate' with \(16,\): give"):
        run.predict(small(D=8))
    with pytest.raises(UserError, match="has 5 segments a video, but .* with 4 each: cut its videos into 4 segments"):
        run.predict(small(T=5))
    if settings:
        data = small()
        narrow = dataclasses.replace(data, views=data.views | {"flow": data.view("flow")[..., :5]})
        with pytest.raises(UserError, match=r"flow features of shape \(5,\), but .* with \(16,\)"):
            run.predict(narrow)
        with pytest.raises(UserError, match="no flow features"):
            run.predict(dataclasses.replace(data, views={}))
        assert run.predict(data, [2, 0])["score"].shape == (2,)


def test_weights_of_another_run_are_refused_in_a_sentence():
    (weights, about), (linear, of_linear) = kept("s4aqa"), kept("ridge")
    for shape, where in ((about["shape"][0] + 1, 0), (about["shape"][1] + 4, 1)):
        wrong = [shape if i == where else n for i, n in enumerate(about["shape"])]
        with pytest.raises(UserError, match=r"has shape .* among the weights, but .* by their description"):
            trained(weights, about | {"shape": wrong})
    with pytest.raises(UserError, match="decoder.last.bias is not among the weights"):
        trained({name: value for name, value in weights.items() if name != "decoder.last.bias"}, about)
    with pytest.raises(UserError, match="is unknown to the method"):
        trained(weights, kept("pi_model")[1])
    with pytest.raises(UserError, match="method ridge: b is not among the weights"):
        trained(weights, of_linear)
    with pytest.raises(UserError, match="method coreg: b is unknown"):
        trained(linear, kept("coreg")[1])
    with pytest.raises(UserError, match=r"method ridge: w has shape \(32,\) among the weights, but \(16,\)"):
        trained(kept("ridge", modality="rgb+flow")[0], of_linear)


def test_encodings_and_recovery_errors_are_those_of_the_restored_run():
    """encode and recovery_error against the network's own parts, applied to one video at a time."""
    run, x = trained(*kept("s4aqa", seed=1)), small().features[:3]
    model, method = run.model, run.method
    f, errors = method.encode(model, x), method.recovery_error(model, x)
    assert f.shape[0] == 3 and errors.shape == x.shape[:2]
    with torch.no_grad():
        for i, video in enumerate(x):
            whole = model.encoder(torch.from_numpy(video)[None, None, :, None])[0, 0]
            np.testing.assert_allclose(f[i], whole[0], rtol=1e-4, atol=1e-6)
            for t in range(x.shape[1]):
                hidden = video.copy()
                hidden[t] = 0
                recovered = model.decoder(model.encoder(torch.from_numpy(hidden)[None, None, :, None])[:, 0])[0, 0]
                assert errors[i, t] == pytest.approx(np.abs(recovered.numpy() - video[t]).mean(), rel=1e-4)


def test_weights_that_were_not_kept_are_trained_for_once(monkeypatch, tmp_path):
    monkeypatch.setenv("AQA_ROOT", str(tmp_path))
    about, run = {"name": "surrogate", **WORLD}, run_of("s4aqa", seed=1)
    study = Study("try")
    (bare,) = study.train("s4aqa", about, runs=[run])["id"]
    assert not study.ledger.has_weights(bare)
    before = study.read(bare).predictions
    (kept,) = study.train("s4aqa", about, runs=[run], weights=True)["id"]
    assert kept == bare and study.ledger.has_weights(kept) and study.read(kept).predictions.equals(before)
    written = (study.ledger.path(kept) / "metrics.json").stat().st_mtime_ns
    study.train("s4aqa", about, runs=[run], weights=True)
    assert (study.ledger.path(kept) / "metrics.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "field, value",
    [
        ("format", 2),
        ("method", ["s4aqa"]),
        ("settings", [1]),
        ("scale", "5"),
        ("scale", float("nan")),
        ("data", None),
        ("shape", [4, -1]),
        ("shape", [4, 2.5]),
        ("shape", "46"),
        ("ragged", 3),
        ("views", {"flow": 3}),
        ("arrays", []),
        ("arrays", {"w": 1.5}),
    ],
)
def test_a_description_that_is_none_is_refused_by_its_field(field, value):
    weights, about = kept("pi_model")
    with pytest.raises(UserError, match=f"for its {field}") as error:
        trained(weights, about | {field: value})
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="says nothing for its shape"):
        trained(weights, {name: v for name, v in about.items() if name != "shape"})
    with pytest.raises(UserError, match="no description"):
        trained(weights, [about])


def test_a_network_that_its_weights_do_not_fill_takes_no_memory(monkeypatch):
    """Room is made, but nothing is written to it; a description can ask for any number of features."""
    weights, about = kept("pi_model")
    monkeypatch.setattr(Model, "initialise", lambda *_: pytest.fail("it was filled"))
    for features, said in ((2000, "has shape"), (2**31 - 1, "no room for its network")):
        with pytest.raises(UserError, match=said) as error:
            trained(weights, about | {"shape": [about["shape"][0], features], "views": {}})
        assert "\n" not in str(error.value)
