"""MUSDL: its loss against torch's divergence in float64, and what it predicts by hand, by numpy and by enumeration."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from helpers import losses_of, make_stack
from judged_cases import judged

from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.evaluation.calibration import LEVELS
from aqa_lib.methods._judges import draws, sampled
from aqa_lib.methods.musdl import convolved, drawn_from, sums
from aqa_lib.models.usdl import point
from aqa_lib.training import train
from aqa_lib.training.packing import stacks

RUN = {"batch": 8, "fraction": 0.4, "steps": 10}


def logits_of(stack, k, x):
    """The network's output [n, outputs] of videos x [n,T,D]."""
    h = torch.from_numpy(x).double().mean(1)
    for i, layer in enumerate(stack.model.layers):
        h = h @ layer.weight[k].detach() + layer.bias[k].detach()
        h = h.relu() if i < 2 else h
    return h


def target(c, bins, sigma):
    t = np.exp(-((np.arange(bins) - c) ** 2) / (2 * sigma**2))
    return t / t.sum()


@pytest.mark.parametrize(
    ("data", "settings", "bins", "sigma"),
    [
        (judged(), {}, 21, 5.0),
        (judged(), {"sigma": 1.5, "order": "sorted"}, 21, 1.5),
        (judged(missing=True), {}, 21, 5.0),
        (judged(J=6, rule="sum", awards=[0, 10, 1]), {}, 11, 1.0),
        (judged(J=4, rule="mean", missing=True), {"least": -1, "most": 11, "step": 2}, 7, 1.0),
    ],
    ids=["diving", "sorted", "missing", "sum", "mean"],
)
def test_the_loss_is_torchs_divergence_summed_over_judges(data, settings, bins, sigma):
    """torch.nn.KLDivLoss with its default, the mean over items and bins, for each head and that of the difficulty."""
    stack = make_stack("musdl", data, [{**RUN, **settings, "seed": k} for k in range(2)], dtype=torch.float64)
    batch, terms, J = stack.batch(2), losses_of(stack, 2), data.judges.shape[1]
    least, step = settings.get("least", 0), settings.get("step", data.meta["awards"][2])
    kl = torch.nn.KLDivLoss()
    for k in range(2):
        items = batch.items[k, 0].numpy()
        z = logits_of(stack, k, data.features[items])
        awards = np.sort(data.judges[items], 1) if settings.get("order") else data.judges[items]
        total = 0
        for j in range(J):
            known = ~np.isnan(awards[:, j])
            t = np.stack([target((a - least) / step, bins, sigma) for a in awards[known, j]])
            with pytest.warns(UserWarning, match="reduction"):
                total += kl(z[known, bins * j : bins * (j + 1)].log_softmax(1), torch.from_numpy(t)).item()
        assert terms["awards"][k].item() == pytest.approx(total, rel=1e-10)
        if data.meta["judging"] == "middle":
            t = torch.from_numpy(np.stack([target(10 * d, 61, 2.0) for d in data.difficulty[items]]))
            with pytest.warns(UserWarning, match="reduction"):
                total += kl(z[:, bins * J :].log_softmax(1), t).item()
        assert terms["loss"][k].item() == pytest.approx(total, rel=1e-10)


def test_the_likeliest_award_or_the_mean_of_each_run():
    logits = torch.log(torch.tensor([[[0.2, 0.5, 0.3]], [[0.2, 0.5, 0.3]]]).double())
    found = point(logits, (1.0, 2.0, 4.0), torch.tensor([0.0, 1.0]))
    assert found[0, 0].item() == 2 and found[1, 0].item() == pytest.approx(0.2 + 1.0 + 1.2)


def test_what_is_predicted_is_the_rule_of_the_awards():
    """Arg-max and expectation of seven awards and the difficulty, the middle three times the difficulty."""
    data = judged()
    runs = [{**RUN, "output": output} for output in ("argmax", "expectation")]
    stack = make_stack("musdl", data, runs, dtype=torch.float64)
    stack.model.flat.mul_(3)  # far from even
    likeliest, mean = (out["score"] for out in stack.predict(np.arange(60)))
    z = logits_of(stack, 0, data.features).numpy()
    awards, d = z[:, : 21 * 7].reshape(60, 7, 21), z[:, 21 * 7 :]

    def middle(a, d):
        return np.sort(a, 1)[:, 2:5].sum(1) * d

    def softmax(z):
        p = np.exp(z - z.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True)

    assert np.allclose(likeliest, middle(awards.argmax(2) / 2, d.argmax(1) / 10), atol=1e-5)
    expected = middle(softmax(awards) @ np.arange(21) / 2, softmax(d) @ np.arange(61) / 10)
    assert np.allclose(mean, expected, atol=1e-5) and len(np.unique(mean)) == 60 > len(np.unique(likeliest))


def test_a_sum_is_numpys_convolution():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=(3, 6))  # [3 videos, 6 judges, awards 1..5]
    found = convolved(torch.from_numpy(p)).numpy()
    for mine, heads in zip(found, p, strict=True):
        total = np.ones(1)
        for head in heads:
            total = np.convolve(total, head)
        assert np.allclose(mine, total, atol=1e-15)
    assert sums((1, 2, 3, 4, 5), 6, "sum") == tuple(range(6, 31))
    assert np.allclose(sums((0, 1, 2, 3, 4), 4, "mean"), np.arange(17) / 4)


def test_the_distribution_of_a_sum_and_of_a_mean():
    """Variances of independent awards add; the quantiles are those of the convolution."""
    for rule in ("sum", "mean"):
        data = judged(J=4, rule=rule, awards=[0, 10, 1])
        stack = make_stack("musdl", data, [RUN], dtype=torch.float64)
        stack.model.flat.mul_(3)
        (out,), z = stack.predict(np.arange(60)), logits_of(stack, 0, data.features)
        p = z.view(60, 4, 11).softmax(-1).numpy()
        mean = p @ np.arange(11)
        variance = (p @ np.arange(11) ** 2 - mean**2).sum(1) / (16 if rule == "mean" else 1)
        assert np.allclose(out["variance"], variance, rtol=1e-6)
        likeliest = p.argmax(2).sum(1)
        assert np.allclose(out["score"], np.floor(likeliest / 4 + 0.5) if rule == "mean" else likeliest, atol=1e-5)
        total = np.stack([np.convolve(np.convolve(a, b), np.convolve(c, d)) for a, b, c, d in p])
        at = np.arange(41) / (4 if rule == "mean" else 1)
        by_hand = [[at[np.argmax(np.cumsum(row) >= level)] for level in LEVELS] for row in total]
        assert np.allclose(out["quantiles"], by_hand, atol=1e-5)


def test_values_are_drawn_by_their_levels():
    p, u = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([0.1, 0.19, 0.21, 0.69, 0.71, 0.999]).double()
    assert drawn_from(p, (1.0, 2.0, 4.0), u).tolist() == [1, 1, 2, 2, 4, 4]


def test_the_distribution_of_the_middle_three_by_enumeration():
    """Five judges and three awards: all 243 panels, with their probabilities."""
    from scipy.special import ndtr

    p = np.random.default_rng(3).dirichlet(np.ones(3), size=(12, 5))
    panels = np.array(list(itertools.product(range(3), repeat=5)))
    total, u = np.sort(panels, 1)[:, 1:4].sum(1), torch.from_numpy(ndtr(draws(5))).T
    variance, quantiles = sampled(
        lambda items: (drawn_from(torch.from_numpy(p)[None, items], (0.0, 1.0, 2.0), u).mT, None), 12, "middle"
    )
    for i, heads in enumerate(p):
        chances = np.prod([heads[j, panels[:, j]] for j in range(5)], axis=0)
        exact = chances @ total**2 - (chances @ total) ** 2
        assert variance[0, i].item() == pytest.approx(exact, rel=0.3)
        order = np.argsort(total, kind="stable")
        median = total[order][np.argmax(np.cumsum(chances[order]) >= 0.5)]
        assert abs(quantiles[0, i, 9].item() - median) <= 1
    exact = [np.prod([h[j, panels[:, j]] for j in range(5)], axis=0) for h in p]
    exact = np.mean([c @ total**2 - (c @ total) ** 2 for c in exact])
    assert variance.mean().item() == pytest.approx(exact, rel=0.07)


def test_both_outputs_and_other_deviations_train_as_one_stack():
    method = methods.get("musdl")
    runs = [method.resolve({**RUN, **s, "sigma": w}) for s in method.variants.values() for w in (None, 1.0)]
    assert list(stacks(method, judged(), runs, "cpu")) == [[0, 1, 2, 3]]
    data = judged()
    results = train("musdl", data, official(data), [{**RUN, **s} for s in method.variants.values()], weights=True)
    likeliest, mean = (r.weights["layers.0.weight"] for r in results)
    assert np.array_equal(likeliest, mean)  # they differ in what is read of the network alone


def test_what_its_bins_cannot_hold_is_a_sentence():
    method = methods.get("musdl")
    wrong = [
        (dataclasses.replace(judged(), meta={"judging": "middle"}), {}, "does not say which awards can be given"),
        (judged(), {"least": 3, "most": 3}, "with least below most"),
        (judged(), {"most": 5}, r"awards .* lie in 0 \.\. 10, beyond its bins 0 \.\. 5"),
        (dataclasses.replace(judged(), difficulty=np.full(60, 30.0)), {}, "difficulty 30 .* is beyond its bins"),
    ]
    for data, settings, words in wrong:
        with pytest.raises(UserError, match=words) as error:
            method.fits(method.resolve({**RUN, **settings}), data)
        assert "\n" not in str(error.value)
