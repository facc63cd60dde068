"""Likelihoods: densities, moments and quantiles against scipy in float64, losses by hand, and the mixture."""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import advance, losses_of, make_stack, noise_set, uneven_noise
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.methods._distributions import LAWS
from aqa_lib.methods.likelihoods import KINDS, costs, mixture
from aqa_lib.training import train

RUN = {"batch": 8, "fraction": 0.4, "steps": 10}
TOP = 5.5


def softplus(z):
    return np.logaddexp(0, z)


def scipy_law(kind, z, top=TOP, unit=1.0):
    """The frozen distribution that scipy has for outputs z [...,4], scores counted in units of `unit`."""
    z0, z1, z2, z3 = np.moveaxis(np.asarray(z, dtype=float), -1, 0)
    scale = np.exp(5 * np.tanh(z1 / 10))  # the root of exp(10 tanh(z_1 / 10))
    if kind in ("gaussian", "beta_nll"):
        return stats.norm(z0 / unit, scale / unit)
    if kind == "student":
        return stats.t(2.1 + softplus(z2), z0 / unit, scale / unit)
    if kind == "beta":
        mean, precision = 0.001 + 0.998 * expit(z0), scale**2
        return stats.beta(mean * precision, (1 - mean) * precision, scale=top / unit)
    nu, alpha, beta = 0.01 + softplus(z1), 1.05 + softplus(z2), 1e-4 + softplus(z3)
    return stats.t(2 * alpha, z0 / unit, np.sqrt(beta * (1 + nu) / (nu * alpha)) / unit)


def outputs(n=200, seed=0):
    """z [n,4] and scores [n] inside 0 .. top."""
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(n, 4)), rng.uniform(0.01, TOP - 0.01, n)


def law(kind, z):
    return LAWS[kind](torch.as_tensor(z), TOP)


@pytest.mark.parametrize("kind", KINDS)
def test_density_and_moments_are_scipys(kind):
    z, y = outputs()
    mine, theirs = law(kind, z), scipy_law(kind, z)
    assert np.allclose(mine.nll(torch.as_tensor(y)), -theirs.logpdf(y), rtol=1e-10, atol=1e-10)
    assert np.allclose(mine.mean, theirs.mean(), rtol=1e-12) and np.allclose(mine.variance, theirs.var(), rtol=1e-9)


def test_the_evidential_density_is_the_integral_over_mean_and_variance():
    """By quadrature: mu given sigma^2 is normal about gamma with sigma^2 / nu, sigma^2 inverse gamma."""
    for z, y in zip(*outputs(5), strict=True):
        nu, alpha, beta = 0.01 + softplus(z[1]), 1.05 + softplus(z[2]), 1e-4 + softplus(z[3])
        prior = stats.invgamma(alpha, scale=beta)

        def joint(u, y=y, mean=z[0], nu=nu, prior=prior):  # u = log sigma^2; mu is integrated out by hand
            v = math.exp(u)
            return stats.norm.pdf(y, mean, math.sqrt(v + v / nu)) * prior.pdf(v) * v

        density, _ = quad(joint, -15, 25, limit=400)
        assert math.exp(-law("evidential", z).nll(torch.tensor(y))) == pytest.approx(density, rel=1e-6)


def test_the_evidential_likelihood_says_nothing_of_the_evidence():
    """Outputs of equal beta (1 + nu) / nu: the same likelihood and variance of y, another regulariser."""
    nu, alpha, beta = np.array([0.2, 1.0, 30.0]), 2.0, 0.7
    inverse = np.vectorize(lambda v: math.log(math.expm1(v)))
    z = np.stack([np.full(3, 1.5), inverse(nu - 0.01), inverse(np.full(3, alpha - 1.05)),
                  inverse(beta * nu / (1 + nu) - 1e-4)], -1)  # fmt: skip
    mine, y = law("evidential", z), torch.tensor(2.5).double()
    nll = mine.nll(y)
    assert np.allclose(nll, nll[0], rtol=1e-12) and np.allclose(mine.variance, beta / (alpha - 1), rtol=1e-12)
    whole = costs("evidential", mine, y, None, 0.3)
    assert np.allclose(whole - nll, 0.3 * 1.0 * (2 * nu + alpha), rtol=1e-12)


def test_the_loss_of_a_stack_of_all_is_that_of_scipy():
    """Runs of each likelihood in mixed order, with weights of their own; mean over a batch, scaled scores."""
    runs = [{**RUN, "likelihood": k, "seed": i, "evidence": 0.1 * i, "power": 0.1 * i} for i, k in enumerate(KINDS * 2)]
    runs = runs[::3] + runs[1::3] + runs[2::3]
    stack = make_stack("likelihoods", noise_set(), runs[:8], dtype=torch.float64)
    batch, loss = stack.batch(0), losses_of(stack)["loss"]
    z, y = stack.model(batch.x[:, 0].mean(1)).detach().numpy(), batch.y.numpy()
    assert len(loss) == 8 and {s["likelihood"] for s in stack.runs} == set(KINDS)
    for k, s in enumerate(stack.runs):
        theirs = scipy_law(s["likelihood"], z[k])
        expected = -theirs.logpdf(np.clip(y[k], 0.001 * TOP, 0.999 * TOP) if s["likelihood"] == "beta" else y[k])
        if s["likelihood"] == "beta_nll":
            expected = expected * theirs.var() ** s["power"]
        if s["likelihood"] == "evidential":
            evidence = 2 * (0.01 + softplus(z[k, :, 1])) + 1.05 + softplus(z[k, :, 2])
            expected = expected + s["evidence"] * np.abs(y[k] - z[k, :, 0]) * evidence
        assert loss[k].item() == pytest.approx(expected.mean(), rel=1e-10)


def test_a_score_beyond_the_ends_counts_as_just_inside():
    z = torch.zeros(1, 4).double()
    z[0, 1] = 3.0
    beta = law("beta", z)
    inside = [beta.nll(torch.tensor(v)).item() for v in (0.001 * TOP, 0.999 * TOP)]
    assert [beta.nll(torch.tensor(v)).item() for v in (-3.0, 9.0)] == inside
    assert beta.nll(torch.tensor(0.01 * TOP)).item() < inside[0]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overflows_whatever_the_outputs_are(kind):
    """fp32, as in training: losses, gradients, moments and quantiles."""
    ends = torch.tensor(list(itertools.product([-1e4, -30.0, 0.0, 30.0, 1e4], repeat=4)))
    ends[:, 0] = ends[:, 0].clamp(-5, 5) if kind != "beta" else ends[:, 0]  # others have their mean there
    for y in (-5.0, 0.0, 2.5, 5.0, 5.5):
        z = ends.clone().requires_grad_()
        cost = costs(kind, LAWS[kind](z, TOP), torch.tensor(y), torch.tensor(0.5), torch.tensor(0.01))
        (g,) = torch.autograd.grad(cost.sum(), z)
        assert cost.isfinite().all() and g.isfinite().all()
    found = LAWS[kind](ends.double(), TOP)
    mean, variance, shape = (v.float().double().numpy() for v in (found.mean, found.variance, found.shape))
    assert np.isfinite(mean).all() and np.isfinite(variance).all() and (variance > 0).all()
    if kind in ("student", "beta", "evidential"):
        q = found.quantiles(mean, variance, shape)
        assert np.isfinite(q).all() and (np.diff(q) >= 0).all()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_gradient_of_beta_nll_is_that_of_nll_times_the_variance_to_the_power(power):
    z, y = outputs()
    z, y = torch.as_tensor(z).requires_grad_(), torch.as_tensor(y)
    gaussian = LAWS["gaussian"](z, TOP)
    (plain,) = torch.autograd.grad(gaussian.nll(y).sum(), z)
    (weighed,) = torch.autograd.grad(costs("beta_nll", LAWS["beta_nll"](z, TOP), y, power, None).sum(), z)
    sigma = torch.exp(5 * torch.tanh(z[:, 1:].detach() / 10))[:, :1]
    assert torch.allclose(weighed, plain * sigma ** (2 * power), rtol=1e-10)
    if power == 1.0:  # then the mean follows the plain error
        assert torch.allclose(weighed[:, 0], (gaussian.mean - y).detach(), rtol=1e-10)


def test_predictions_are_scipys_in_the_datas_units():
    """Mean, variance and quantiles of untrained networks, by the outputs of these and the largest labelled score."""
    data, runs = noise_set(), [{**RUN, "likelihood": k, "seed": i} for i, k in enumerate(KINDS)]
    stack = make_stack("likelihoods", data, runs, dtype=torch.float64)
    x = torch.as_tensor(data.features).double().mean(1)
    z = stack.model(x.expand(len(runs), -1, -1)).detach().numpy()
    for k, (s, out) in enumerate(zip(stack.runs, stack.predict(np.arange(60)), strict=True)):
        unit = 5 / np.nanmax(stack.labels[k].scores)
        read, theirs = stack.method.read(out, data, np.arange(60), s), scipy_law(s["likelihood"], z[k], unit=unit)
        assert 0.05 < unit < 0.2 and np.allclose(read["score"], theirs.mean(), rtol=1e-9)
        assert np.allclose(read["variance"], theirs.var(), rtol=1e-8)
        if s["likelihood"] in ("gaussian", "beta_nll"):
            assert read.keys() == {"score", "variance"}
        else:
            assert read["quantiles"].shape == (60, 19)
            expected = np.stack([theirs.ppf(p) for p in LEVELS], 1)
            assert np.allclose(read["quantiles"], expected, rtol=1e-7, atol=1e-7)


def test_each_run_of_a_stack_of_all_is_the_run_alone():
    """Weights, scores, variances and quantiles, when one of them leaves early."""
    data = noise_set()
    runs = [{**RUN, "batch": 32, "every": 5, "likelihood": k, "seed": i, "lr": 4e-3} for i, k in enumerate(KINDS)]
    runs[1]["steps"] = 5
    together = train("likelihoods", data, official(data), runs, weights=True)
    for one, run in zip(together, runs, strict=True):
        (alone,) = train("likelihoods", data, official(data), [run], weights=True)
        assert one.complete and all(np.array_equal(one.weights[n], v) for n, v in alone.weights.items())
        assert one.predictions.equals(alone.predictions)
        assert ("quantile_18" in one.predictions) == (run["likelihood"] in ("student", "beta", "evidential"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_stated_deviation_follows_the_planted_one(kind):
    data, sd = uneven_noise()
    run = {"fraction": 1.0, "how": "random", "steps": 500, "lr": 4e-3, "likelihood": kind}
    (result,) = train("likelihoods", data, official(data), [run])
    stated = np.sqrt(result.predictions["variance"])
    assert np.corrcoef(stated, sd[official(data).test])[0, 1] > 0.5
    assert np.median(stated / sd[official(data).test]) == pytest.approx(1, abs=0.35)


# ensembles


def test_the_mixtures_moments_against_monte_carlo():
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=(1, 4, 3)), rng.uniform(0.2, 2, (1, 4, 3))
    found = mixture(torch.as_tensor(mean), torch.as_tensor(variance))
    member = rng.integers(4, size=10**6)
    for i in range(3):
        y = rng.normal(mean[0, member, i], np.sqrt(variance[0, member, i]))
        assert found[0][0, i].item() == pytest.approx(y.mean(), abs=0.01)
        assert found[1][0, i].item() == pytest.approx(y.var(), rel=0.01)


@pytest.mark.parametrize("kind", ["gaussian", "student"])
def test_an_ensemble_of_one_is_the_network(kind):
    data, run = noise_set(), {**RUN, "lr": 4e-3, "likelihood": kind}
    one, none = train("likelihoods", data, official(data), [{**run, "members": m} for m in (1, 0)], weights=True)
    for name, value in none.weights.items():
        assert np.allclose(one.weights[name].reshape(value.shape), value, rtol=1e-5, atol=1e-7), name
    for name in ("step_10", "variance"):
        assert np.allclose(one.predictions[name], none.predictions[name], rtol=1e-5)
    assert "quantile_0" not in one.predictions  # the mixture is taken for a Gaussian


def test_each_member_learns_as_if_it_were_alone_from_weights_of_its_own():
    run = {**RUN, "seed": 3, "lr": 4e-3}
    many = make_stack("likelihoods", noise_set(), [{**run, "members": 3}], dtype=torch.float64)
    singles = [make_stack("likelihoods", noise_set(), [run], dtype=torch.float64) for _ in range(3)]
    for m, single in enumerate(singles):
        for name, value in single.model.named_parameters():
            value.data.copy_(many.model.get_parameter(name)[:, m])
    first = [single.model.layers[0].weight.clone() for single in singles]
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])
    total = sum(losses_of(single)["loss"].item() for single in singles)
    assert losses_of(many)["loss"].item() == pytest.approx(total, rel=1e-12)
    for stack in (many, *singles):
        advance(stack, 5)
    for m, single in enumerate(singles):
        for name, value in single.model.named_parameters():
            assert torch.allclose(value, many.model.get_parameter(name)[:, m], rtol=1e-9, atol=1e-12), name
    (out,), alone = many.predict(np.arange(60)), [single.predict(np.arange(60))[0] for single in singles]
    mean, variance = (np.stack([a[name] for a in alone]) for name in ("score", "variance"))
    assert np.allclose(out["score"], mean.mean(0)) and "shape" not in out
    assert np.allclose(out["variance"], variance.mean(0) + mean.var(0), rtol=1e-9)


def test_an_ensemble_refuses_products_that_it_does_not_have():
    data, method = noise_set(), methods.get("likelihoods")
    with pytest.raises(UserError, match="members = 10 have no products in bf16"):
        method.fits(method.resolve({"members": 10, "precision": "bf16"}), data)
    method.fits(method.resolve({"members": 10}), data)
