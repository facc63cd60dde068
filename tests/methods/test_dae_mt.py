"""DAE-MT: the judge rules by hand and against 1,412 dives, its loss in float64, and the distribution of the score."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import losses_of, make_stack, noise_set
from judged_cases import eps_of, judged, outputs, parts_by_hand
from scipy.stats import norm

from aqa_lib import methods
from aqa_lib.data import load
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.methods._judges import combined, draws, given_out, in_order, sampled
from aqa_lib.study.variants import contestants
from aqa_lib.training import train

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mtl_aqa"
RUN = {"batch": 8, "fraction": 0.4, "steps": 10}
DEVIATING = (  # dives whose score is not the middle three times the difficulty, within 0.06
    "01_070 02_001 04_008 04_116 05_020 05_023 05_025 05_029 05_033 05_042 05_059 05_063 05_085 07_053 07_057 09_045 "
    "09_058 09_060 10_023 13_004 14_034 17_098 18_017 18_043 18_069 22_011 26_039"
).split()


# ---- the rules


def test_the_rules_by_hand():
    awards = torch.tensor([[9.0, 6.0, 8.0, 7.0, 8.5, 7.5, 10.0], [0.0, 0.0, 3.0, 2.0, 10.0, 1.0, 4.0]])
    assert combined(awards, "middle").tolist() == [7.5 + 8 + 8.5, 1 + 2 + 3]
    assert combined(awards, "middle", torch.tensor([3.0, 1.5])).tolist() == [72, 9]
    assert combined(awards[:, :5], "middle").tolist() == [7 + 8 + 8.5, 0 + 2 + 3]
    assert combined(awards, "sum").tolist() == [56, 20]
    ratings = torch.tensor([[2.0, 1.0, 2.0, 1.0], [0.0, 1.0, 0.0, 0.0], [3.0, 2.0, 2.0, 3.0], [-1.0, 0.0, -1.0, 0.0]])
    mean = combined(ratings, "mean")
    assert mean.tolist() == [1.5, 0.25, 2.5, -0.5] and given_out(mean, "mean").tolist() == [2, 0, 3, 0]
    assert given_out(mean, "sum").tolist() == mean.tolist()
    ordered = in_order(torch.tensor([[3.0, 1.0, 2.0], [np.nan, 1.0, 0.0]]))
    assert ordered[0].tolist() == [1, 2, 3] and ordered[1].isnan().all()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the annotations of MTL-AQA are not at {REAL}")
def test_the_rule_of_diving_is_that_of_the_published_scores():
    data = load("mtl_aqa", REAL)
    score = combined(torch.tensor(data.judges), data.meta["judging"], torch.tensor(data.difficulty)).numpy()
    off = np.abs(score - data.scores)
    assert len(data) == 1412 and sorted(data.ids[off > 0.06]) == DEVIATING
    assert np.mean(off <= 0.06) == pytest.approx(0.981, abs=5e-4) and off.max() == pytest.approx(19.8)
    least, most, step = data.meta["awards"]
    assert data.judges.min() >= least and data.judges.max() <= most and not np.mod(data.judges, step).any()


def test_the_consensus_of_finger_tapping_is_the_rounded_mean_of_most_clips():
    data = load("finger_tapping")
    mean = combined(torch.from_numpy(data.judges), data.meta["judging"])
    assert np.mean(given_out(mean, "mean").numpy() == data.scores) == pytest.approx(0.826, abs=1e-3)
    assert np.mean(np.rint(mean.numpy()) == data.scores) == pytest.approx(0.785, abs=1e-3)


def test_the_surrogate_follows_its_rule():
    data = load("surrogate", n_train=40, n_test=10)
    score = combined(torch.tensor(data.judges), data.meta["judging"], torch.tensor(data.difficulty))
    assert np.allclose(score, data.scores, atol=5.1e-3)


# ---- the loss


@pytest.mark.parametrize(
    ("rule", "missing", "order"),
    [("middle", False, "sorted"), ("middle", True, "sorted"), ("middle", True, "seats"), ("mean", True, "sorted")],
)
def test_the_loss_by_hand(rule, missing, order):
    data = judged(rule=rule, missing=missing)
    runs = [{**RUN, "order": order, "loss": loss, "seed": k} for k, loss in enumerate(("schedule", "likelihood"))]
    stack = make_stack("dae_mt", data, runs, dtype=torch.float64)
    batch, terms = stack.batch(3), losses_of(stack, 3)
    for k in range(2):
        items, labels = batch.items[k, 0].numpy(), stack.labels[k].train
        awards = data.judges[items]
        if rule == "middle" and order == "sorted":
            awards = np.where(np.isnan(awards).any(1, keepdims=True), np.nan, np.sort(awards, 1))
        g = awards * 5 / np.nanmax(data.judges[labels])
        g = np.column_stack([g, data.difficulty[items]]) if rule == "middle" else g
        mu, z = outputs(stack, k, batch)
        rec, sup, nll = parts_by_hand(mu, z, g, eps_of(batch, k, g.shape), "deviation")
        e = (24 + np.arange(8))[:, None] // len(labels)
        each = nll if k else np.where(e % 10 == 0, 0.6 * rec + 0.4 * sup, rec)
        assert np.isnan(each).any() == missing and terms["loss"][k].item() == pytest.approx(np.nanmean(each), rel=1e-10)
        assert terms["sup"][k].item() == pytest.approx(np.nanmean(sup), rel=1e-10)


# ---- the distribution of the score


def test_draws_are_exact_for_weighted_sums():
    for heads in (4, 6, 8):
        eps = draws(heads)
        assert eps.shape == (256, heads) and np.allclose(eps[:128], -eps[128:], atol=1e-12)
        assert np.allclose(eps.T @ eps / 256, np.eye(heads), atol=1e-12)
        assert np.abs(np.quantile(eps, LEVELS) - norm.ppf(LEVELS)).max() < 0.1


def test_the_distribution_of_the_middle_three_is_that_of_fresh_panels():
    """Variance and quantiles of 256 draws against 100,000 of numpy's own."""
    rng = np.random.default_rng(0)
    mu, sd = rng.uniform(4, 9, (20, 8)), rng.uniform(0.2, 1.5, (20, 8))
    eps = draws(8)

    def draw(items):
        y = torch.from_numpy(mu[None, items, None] + eps * sd[None, items, None])
        return y[..., :7], y[..., 7]

    variance, quantiles = (v[0].numpy() for v in sampled(draw, 20, "middle"))
    y = mu + rng.normal(size=(100_000, 20, 8)) * sd
    total = np.sort(y[..., :7], -1)[..., 2:5].sum(-1) * y[..., 7]
    ratio = variance / total.var(0)
    assert abs(ratio.mean() - 1) < 0.1 and 0.75 < ratio.min() and ratio.max() < 1.3
    far = (quantiles - np.quantile(total, LEVELS, axis=0).T) / total.std(0)[:, None]
    assert np.abs(far).mean() < 0.06 and np.abs(far).max() < 0.35 and (np.diff(quantiles) >= 0).all()


@pytest.mark.parametrize("rule", ["sum", "mean"])
def test_score_and_variance_of_a_sum_and_of_a_mean_are_exact(rule):
    """Sum of the means and of the variances; a mean is rounded, its variance is not."""
    data = judged(J=6, rule=rule, missing=True)
    stack = make_stack("dae_mt", data, [{**RUN, "seed": 4}], dtype=torch.float64)
    stack.model.eval()
    (out,) = stack.predict(np.arange(60))
    mu, z = network(stack, data)
    unit = 5 / np.nanmax(data.judges[stack.labels[0].train])
    score, variance = mu.sum(1) / unit, np.exp(z).sum(1) / unit**2
    if rule == "mean":
        score, variance = np.floor(score / 6 + 0.5), variance / 36
    assert np.allclose(out["score"], score, atol=1e-9) and np.allclose(out["variance"], variance, rtol=1e-9)
    assert out["quantiles"].shape == (60, 19)


def network(stack, data):
    """mu and z [N, heads] of all videos, in numpy."""
    h = data.features.mean(1, dtype=np.float64)
    for i, layer in enumerate(stack.model.layers):
        h = h @ layer.weight[0].detach().numpy() + layer.bias[0].detach().numpy()
        h = np.maximum(h, 0) if i < 2 else h
    return np.split(h, 2, axis=1)


def test_the_score_of_a_dive_is_the_rule_of_its_heads():
    """With a head of the difficulty, and with the true one, which only the score of that video follows."""
    data = judged()
    for name, heads in (("dae_mt", 8), ("dae_mt_difficulty", 7)):
        stack = make_stack(name, data, [RUN], dtype=torch.float64)
        (out,), (mu, _) = stack.predict(np.arange(60)), network(stack, data)
        assert mu.shape == (60, heads)
        middle = np.sort(mu[:, :7] / stack.model.unit.item(), 1)[:, 2:5].sum(1)
        d = mu[:, 7] if heads == 8 else data.difficulty
        assert np.allclose(out["score"], middle * d, rtol=1e-6)
    twice = dataclasses.replace(data, difficulty=np.where(np.arange(60) == 50, 2, 1) * data.difficulty)
    run = {**RUN, "steps": 2}
    one, other = (train("dae_mt_difficulty", d, official(d), [run])[0].predictions for d in (data, twice))
    same = one["id"] != "50"
    assert np.array_equal(one["step_2"][same], other["step_2"][same])
    assert np.allclose(2 * one["step_2"][~same], other["step_2"][~same])
    assert np.allclose(4 * one["variance"][~same], other["variance"][~same], rtol=1e-5)


# ---- what fits, and what is compared


def test_what_a_data_set_lacks_is_a_sentence():
    whole = judged()
    wrong = [
        ("dae_mt", noise_set(), {}, "has no judges"),
        ("musdl", noise_set(), {}, "has no judges"),
        ("dae_mt", dataclasses.replace(whole, meta={}), {}, "does not say how its judges make a score"),
        ("dae_mt", judged(J=6), {}, "6 judges have no middle three"),
        ("dae_mt_difficulty", judged(difficulty=False), {}, "has no difficulty to be given"),
        ("dae_mt", judged(J=3, rule="sum"), {"rule": "middel"}, "did you mean 'middle'"),
    ]
    for name, data, settings, words in wrong:
        method = methods.get(name)
        with pytest.raises(UserError, match=words) as error:
            method.fits(method.resolve({**RUN, **settings}), data)
        assert "\n" not in str(error.value)
    nobody = dataclasses.replace(whole, judges=np.full((60, 7), np.nan))
    with pytest.raises(UserError, match="none of the labelled items .* has an award"):
        make_stack("dae_mt", nobody, [RUN])
    told = make_stack("dae_mt", dataclasses.replace(whole, meta={}), [{**RUN, "rule": "mean"}])
    assert (told.model.rule, told.model.seats, told.model.guesses) == ("mean", 7, False)


def test_known_difficulty_stands_in_no_table_of_all_methods():
    world = {"name": "surrogate", "n_train": 40, "n_test": 10, "T": 4, "D": 16}
    titles = contestants(world, {"a": {}}, [], {"steps": 5})[0]
    assert {"DAE-MT", "DAE-MT, likelihood", "MUSDL", "USDL, expectation", "DAE"} <= set(titles)
    assert not any("with difficulty" in title for title in titles)
    asked = contestants(world, {"a": {}}, ["dae_mt_difficulty"], {"steps": 5})[0]
    assert "DAE-MT, with difficulty" in asked and "DAE-MT" not in asked


def test_runs_of_other_units_stand_in_one_stack():
    """The largest labelled award and score differ between two draws; each run predicts as it does alone."""
    data = judged()
    runs = [{**RUN, "fraction": f, "draw": k, "seed": k, "steps": 6} for k, f in enumerate((0.1, 0.5))]
    both = train("dae_mt", data, official(data), runs, weights=True)
    assert both[0].weights["scale"] != both[1].weights["scale"]
    for run, mine in zip(runs, both, strict=True):
        (alone,) = train("dae_mt", data, official(data), [run])
        assert np.allclose(mine.predictions["step_6"], alone.predictions["step_6"], rtol=1e-4)
        assert np.allclose(mine.predictions["variance"], alone.predictions["variance"], rtol=1e-4)
