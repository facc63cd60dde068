"""DAE: each reading of its loss against float64 numpy by hand, the schedule's epochs, the derivation by Monte Carlo."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import losses_of, make_stack, noise_set
from judged_cases import eps_of, outputs, parts_by_hand

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.methods.dae import AutoEncoder, epochs, readings, weights
from aqa_lib.study.variants import by_name
from aqa_lib.training import train
from aqa_lib.training.packing import stacks

RUN = {"batch": 8, "fraction": 0.4, "steps": 40}


LOSSES = [
    ({"loss": "rec"}, lambda rec, sup, nll, e: rec),
    ({"loss": "sup"}, lambda rec, sup, nll, e: sup),
    ({"loss": "both", "alpha": 0.3, "beta": 2.0}, lambda rec, sup, nll, e: 0.3 * rec + 2 * sup),
    ({"loss": "likelihood"}, lambda rec, sup, nll, e: nll),
    ({}, lambda rec, sup, nll, e: np.where(e % 10 == 0, 0.6 * rec + 0.4 * sup, rec)),
    ({"period": 2, "alpha": 1.0}, lambda rec, sup, nll, e: np.where(e % 2 == 0, rec + 0.4 * sup, rec)),
]


@pytest.mark.parametrize("noise", ["deviation", "variance"])
def test_every_loss_by_hand_in_one_stack(noise):
    """18 labels and 8 a step: step 0 lies in epoch 0, step 3 in epoch 1, step 81 in epoch 36, step 4 in two."""
    runs = [{**RUN, **settings, "noise": noise, "seed": k} for k, (settings, _) in enumerate(LOSSES)]
    stack = make_stack("dae", noise_set(60, 5, 16), runs, dtype=torch.float64)
    assert list(map(len, [lab.train for lab in stack.labels])) == [18] * 6
    for step in (0, 3, 4, 81):
        batch, terms = stack.batch(step), losses_of(stack, step)
        e = (8 * step + np.arange(8)) // 18
        for k, (_, total) in enumerate(LOSSES):
            (mu,), (z,) = (part.T for part in outputs(stack, k, batch))
            rec, sup, nll = parts_by_hand(mu, z, batch.y[k].numpy(), eps_of(batch, k, 8), noise)
            assert terms["loss"][k].item() == pytest.approx(total(rec, sup, nll, e).mean(), rel=1e-10)
            for name, part in (("rec", rec), ("sup", sup), ("likelihood", nll)):
                assert terms[name][k].item() == pytest.approx(part.mean(), rel=1e-10)
            variance = np.exp(z) if noise == "deviation" else np.exp(2 * z)
            assert terms["variance"][k].item() == pytest.approx(variance.mean(), rel=1e-10)


def test_the_likelihood_takes_no_variance_below_its_least():
    mu, g, eps = torch.zeros(1, 1).double(), torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    for log_v in (-30.0, -10.0):
        nll = readings(mu, torch.full_like(mu, log_v), g, eps)[0, 0, 2]
        assert nll.item() == pytest.approx((np.exp(10) - 10) / 2, rel=1e-12)


def test_epochs_are_passes_over_the_labelled_videos_of_each_run():
    """9 and 36 labels, 8 a step: every video stands once in every epoch; epochs 0 and 3 count both parts."""
    runs = [{**RUN, "fraction": f, "period": 3} for f in (0.2, 0.8)]
    stack = make_stack("dae", noise_set(60, 5, 16), runs)
    seen = [{}, {}]
    for step in range(27):
        batch = stack.batch(step)
        share = weights(batch)
        for k in range(2):
            for i, e in enumerate(epochs(batch)[k].tolist()):
                seen[k].setdefault(e, []).append(batch.items[k, 0, i].item())
                assert share[k, i].tolist() == pytest.approx(
                    [0.6, 0.4, 0] if e in (0, 3, 6, 9, 12, 15, 18, 21) else [1, 0, 0]
                )
    for k, (labels, count) in enumerate(((9, 24), (36, 6))):
        assert len(stack.labels[k].train) == labels and list(seen[k]) == list(range(count))
        assert all(sorted(items) == sorted(stack.labels[k].train) for items in seen[k].values())
    first = [epochs(stack.batch(step))[0].tolist() for step in (0, 1, 2)]
    assert first == [[0] * 8, [0] + [1] * 7, [1] * 2 + [2] * 6]


@pytest.mark.parametrize("power", [1, 2])
def test_the_expected_loss_is_the_squared_error_and_the_variance(power):
    """E (y - g)^2 = (mu - g)^2 + sigma^2, and + sigma^4 as printed: over 200,000 draws, within five standard errors."""
    eps = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 200_000)))
    for mu, g, sigma in ((1.0, 1.5, 0.7), (3.0, 1.0, 1.4), (2.0, 2.0, 0.2)):
        log_variance = torch.full_like(eps, power * 2 * np.log(sigma))
        rec = readings(torch.full_like(eps, mu), log_variance, torch.tensor(g), eps)[..., 0]
        error = rec.std().item() / 200_000**0.5
        assert abs(rec.mean().item() - ((mu - g) ** 2 + sigma ** (2 * power))) < 5 * error


def test_the_variance_is_that_of_y():
    """With L_sup nothing moves with the noise: as printed, the stated variance is the square of the one as coded."""
    runs = [{**RUN, "loss": "sup", "noise": noise} for noise in ("deviation", "variance")]
    stack = make_stack("dae", noise_set(60, 5, 16), runs)
    out = stack.outputs(torch.arange(60)[None])
    assert torch.equal(*out["score"]) and out["variance"].std() > 0
    assert torch.allclose(out["variance"][0].square(), out["variance"][1], rtol=1e-5)


def test_rec_drives_the_variance_to_zero_and_the_likelihood_does_not():
    """Scores with noise of a known deviation, far above what the network can explain."""
    data = noise_set(600, 2, 16)
    data = dataclasses.replace(data, scores=data.scores + np.random.default_rng(1).normal(size=600) * 8)
    named = [("rec", {}), ("both", {}), ("schedule", {}), ("rec", {"noise": "variance"}), ("likelihood", {})]
    runs = [{"loss": n, "fraction": 1.0, "steps": 600, "lr": 2e-3, "batch": 32, **more} for n, more in named]
    found = train("dae", data, official(data), runs)
    ratio = [collapse(r.predictions) for r in found]
    assert all(r < 0.05 for r in ratio[:4]) and 0.5 < ratio[4] < 1.5, ratio
    curves = [r.curve["variance"].to_numpy() for r in found]
    assert all(c[-1] < 0.1 * c[0] for c in curves[:4])


def collapse(table):
    """Mean stated variance over mean squared error."""
    last = [c for c in table if c.startswith("step_")][-1]
    return (table["variance"] / ((table[last] - table["score"]) ** 2).mean()).mean()


def test_one_draw_is_a_function_of_seed_and_video():
    data = noise_set(800, 2, 16)
    runs = [{**RUN, "output": o, "seed": s, "every": 20} for o in ("mean", "draw") for s in (0, 1)]
    mean, _, draw, other = (r.predictions for r in train("dae", data, official(data), runs))
    eps = (draw["step_40"] - mean["step_40"]) / np.sqrt(mean["variance"])
    assert abs(eps.mean()) < 0.25 and 0.85 < eps.std() < 1.15 and len(eps) == 200
    assert mean["variance"].equals(draw["variance"]) and not draw["step_40"].equals(other["step_40"])
    out = {"score": np.zeros(3), "variance": np.ones(3)}
    settings = methods.get("dae").resolve({"output": "draw", "seed": 0})
    items = official(data).test[[5, 0, 7]]
    assert np.allclose(AutoEncoder().read(out, data, items, settings)["score"], eps[[5, 0, 7]], atol=2e-4)


def test_all_readings_train_as_one_stack_and_two_stand_in_tables():
    method = methods.get("dae")
    runs = [method.resolve({**RUN, **s, "seed": k}) for s in method.ablation.values() for k in range(2)]
    assert list(stacks(method, noise_set(60, 5, 16), runs, "cpu")) == [list(range(14))]
    assert list(by_name(["dae"], {"steps": 5})) == ["DAE", "DAE, likelihood"]
    assert {s.get("loss", "schedule") for s in method.ablation.values()} == {
        "schedule", "rec", "sup", "both", "likelihood",
    }  # fmt: skip
