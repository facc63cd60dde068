"""A network restored from kept weights predicts what its run recorded, and misfits are refused."""

import numpy as np
import pytest
import torch
from helpers import noise_set

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.study.study import Study
from aqa_lib.training import train
from aqa_lib.training.restore import network, restored
from aqa_lib.training.stack import Labels

DATA = noise_set(T=4, D=16)
SMALL = {"steps": 12, "batch": 4, "fraction": 0.4, "lr": 4e-3}


def predictions(method, model, data, settings):
    """Scores of the test items in the data's units, by the method's own predict."""
    split, method = official(data), methods.get(method)
    x = torch.from_numpy(data.features[split.test]).transpose(0, 1)[None, None]
    with torch.no_grad():
        scaled = method.predict(model, x)[0].numpy()
    return scaled / Labels(data, split, method.resolve(settings)).scale


@pytest.mark.parametrize("method", ["s4aqa", "pi_model"])
def test_predictions_are_the_recorded_ones(method):
    runs = [{**SMALL, "seed": seed, "draw": seed} for seed in (3, 5)]  # a stack of two: the second is not its first
    for run, result in zip(runs, train(method, DATA, official(DATA), runs, weights=True), strict=True):
        model = network(method, DATA, run, result.weights)
        recorded = result.predictions["step_12"].to_numpy()
        np.testing.assert_allclose(predictions(method, model, DATA, run), recorded, rtol=1e-5)
        assert np.ptp(recorded) > 1e-3  # not one number for all
        assert not model.training


def test_a_run_of_a_study_comes_back_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    from aqa_lib import data as sets

    world = {"name": "surrogate", "n_train": 40, "n_test": 20, "T": 4, "D": 16}
    study = Study("restored")
    table = study.train("s4aqa", world, runs=[SMALL], weights=True)
    record, data = study.read(table["id"][0]), sets.load(**world)
    model = restored(record, data)
    recorded = record.predictions["step_12"].to_numpy()
    np.testing.assert_allclose(predictions("s4aqa", model, data, SMALL), recorded, rtol=1e-5)


def test_what_does_not_fit_is_refused_in_a_sentence():
    weights = train("s4aqa", DATA, official(DATA), [SMALL], weights=True)[0].weights
    with pytest.raises(UserError, match=r"has shape .* among the weights, but .* data set 'noise'; give the data"):
        network("s4aqa", noise_set(T=5, D=16), SMALL, weights)
    few = {name: value for name, value in weights.items() if name != "decoder.last.bias"}
    with pytest.raises(UserError, match="decoder.last.bias is not among the weights"):
        network("s4aqa", DATA, SMALL, few)
    with pytest.raises(UserError, match="is unknown to the network"):
        network("pi_model", DATA, SMALL, weights)
    with pytest.raises(UserError, match="ridge is fitted in closed form"):
        network("ridge", DATA, {}, weights)


def test_encodings_and_recovery_errors_are_those_of_the_restored_run():
    """encode and recovery_error against the network's own parts, applied to one video at a time."""
    run = {**SMALL, "seed": 1}
    weights = train("s4aqa", DATA, official(DATA), [run], weights=True)[0].weights
    model, method = network("s4aqa", DATA, run, weights), methods.get("s4aqa")
    x = DATA.features[:3]
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
    world, run = {"name": "surrogate", "n_train": 40, "n_test": 10, "T": 4, "D": 16}, {**SMALL, "seed": 1}
    study = Study("try")
    (bare,) = study.train("s4aqa", world, runs=[run])["id"]
    assert not study.ledger.has_weights(bare)
    before = study.read(bare).predictions
    (kept,) = study.train("s4aqa", world, runs=[run], weights=True)["id"]
    assert kept == bare and study.ledger.has_weights(kept) and study.read(kept).predictions.equals(before)
    written = (study.ledger.path(kept) / "metrics.json").stat().st_mtime_ns
    study.train("s4aqa", world, runs=[run], weights=True)
    assert (study.ledger.path(kept) / "metrics.json").stat().st_mtime_ns == written
