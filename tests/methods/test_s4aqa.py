"""The variants of S4AQA, each against the same thing written out for one run in ordinary modules and float64."""

import math

import numpy as np
import pytest
import torch
from helpers import advance, gradients, losses_of, make_stack, noise_set, scores

from aqa_lib import losses, methods
from aqa_lib.errors import UserError
from benchmarks.plain.encoder import Encoder, head, load_head

S4AQA = methods.get("s4aqa")
RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "steps": 10}
VARIANTS = [
    {"masks": 3},
    {"alignment": "mmd_rbf"},
    {"alignment": "mmd_laplacian", "recover": False},
    {"recover_labelled": True},
    {"pretrain": 0.5},
    {"pretext": "still"},
    {"modality": "flow"},
    {"modality": "rgb+flow"},
    {"modality": "rgb+flow", "recover_labelled": True, "masks": 2},
    {"ramp": True},
    {"balance": True},
    {"watch": True},
]


@pytest.fixture(scope="module")
def data():
    return noise_set(60, 5, 16, views=("flow", "still"))


def parts(stack, name="encoder", decoder="decoder"):
    """Run 0's encoder and decoder as ordinary modules in float64."""
    model = stack.model
    T, D = stack.T, getattr(model, name).convs[0].weight.shape[2]
    encoder = Encoder(T, D, 0.0).double()
    encoder.load(getattr(model, name))
    out = getattr(model, decoder).last.bias.shape[1]
    dec = head(encoder.outputs, max(D // 2, 32), out).double()
    load_head(dec, getattr(model, decoder))
    return encoder, dec


def sets(batch, x=None):
    """Labelled and unlabelled [B,T,D] of run 0."""
    x = batch.x if x is None else x
    return x[0].transpose(1, 2)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_variant_in_a_stack_is_the_variant_alone(variant, data):
    runs = [
        {**RUN, "drop": 0.5, "seed": k, "draw": k, "lambda1": 1.0 + k, "lr": 1e-3 * (k + 1), **variant}
        for k in range(3)
    ]
    three = make_stack("s4aqa", data, runs)
    advance(three, 8)
    alone = make_stack("s4aqa", data, runs[2:])
    advance(alone, 8)
    a, b = three.model.state(2), alone.model.state(0)
    assert max(np.abs(a[n] - b[n]).max() for n in a) < 2e-5
    assert np.allclose(scores(three, [50, 51])[2], scores(alone, [50, 51])[0], atol=1e-3)


def test_switches_of_one_stack_do_not_touch_each_other(data):
    """Per-run switches: pretraining, recovery on labelled and the ramp ride with a plain run, which stays as it is."""
    runs = [RUN, {**RUN, "pretrain": 0.5}, {**RUN, "recover_labelled": True}, {**RUN, "ramp": True, "grl": 2.0}]
    four = make_stack("s4aqa", data, runs)
    advance(four, 6)
    for k, run in enumerate(runs):
        alone = make_stack("s4aqa", data, [run])
        advance(alone, 6)
        a, b = four.model.state(k), alone.model.state(0)
        assert max(np.abs(a[n] - b[n]).max() for n in a) < 2e-5, run


def test_recovery_of_several_segments_and_of_labelled_videos(data):
    run = {**RUN, "masks": 2, "recover_labelled": True, "align": False}
    stack = make_stack("s4aqa", data, [run], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    encoder, decoder = parts(stack)
    by_hand = []
    for x, place in zip(sets(batch), (1, 0), strict=True):  # labelled masks come from the second key
        keep = S4AQA.keep(batch, place)[0].T  # [B,T]
        assert (keep.sum(1) == 3).all()
        hidden = x * keep[..., None]
        target = torch.stack([x[i][keep[i] == 0].mean(0) for i in range(8)])
        by_hand.append((decoder(encoder(hidden)) - target).abs().mean())
    assert not torch.equal(S4AQA.keep(batch, 0), S4AQA.keep(batch, 1))
    assert terms["recovery"].item() == pytest.approx(((by_hand[0] + by_hand[1]) / 2).item(), rel=1e-12)


def test_still_frames_predict_all_segments(data):
    stack = make_stack("s4aqa", data, [{**RUN, "pretext": "still"}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    encoder, decoder = parts(stack)
    still, x = sets(batch, batch.view("still"))[1], sets(batch)[1]
    by_hand = (decoder(encoder(still)).unflatten(1, (5, 16)) - x).abs().mean()
    assert terms["recovery"].item() == pytest.approx(by_hand.item(), rel=1e-12)


def test_two_modalities_have_an_encoder_and_a_decoder_each(data):
    stack = make_stack("s4aqa", data, [{**RUN, "modality": "rgb+flow"}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    keep = S4AQA.keep(batch)[0].T.unsqueeze(-1)
    f, errors = [], []
    for name, x in (("", batch.x), ("_flow", batch.view("flow"))):
        encoder, decoder = parts(stack, f"encoder{name}", f"decoder{name}")
        x = sets(batch, x)
        target = (x[1] * (1 - keep)).sum(1)
        errors.append((decoder(encoder(x[1] * keep)) - target).abs().mean())
        f.append(encoder(x[0]))
    assert terms["recovery"].item() == pytest.approx((sum(errors) / 2).item(), rel=1e-12)
    regressor = head(160, 32, 1).double()
    load_head(regressor, stack.model.regressor)
    predicted = regressor(torch.cat(f, 1))[:, 0]
    assert terms["regression"].item() == pytest.approx((predicted - batch.y[0]).square().mean().item(), rel=1e-12)


def test_vanilla_pretraining_has_two_phases(data):
    run = {**RUN, "pretrain": 0.5}  # alignment is on by default, and has no part in either phase
    first, second = (gradients(make_stack("s4aqa", data, [run]), step=step) for step in (4, 5))
    assert first["regressor"] == 0 < first["decoder"] and first["encoder"] > 0
    assert second["decoder"] == 0 < second["regressor"] and second["encoder"] > 0
    assert first["discriminator"] == 0 == second["discriminator"]


def test_the_ramp_is_that_of_dann(data):
    """The reversed gradient at the encoder grows as 2 / (1 + exp(-10 p)) - 1; the discriminator's does not change."""
    run = {**RUN, "recover": False, "steps": 100}
    for step in (0, 7, 30):
        plain = gradients(make_stack("s4aqa", data, [run]), "alignment", step)
        ramped = gradients(make_stack("s4aqa", data, [{**run, "ramp": True}]), "alignment", step)
        expected = 2 / (1 + math.exp(-10 * step / 100)) - 1
        assert ramped["encoder"] == pytest.approx(expected * plain["encoder"], rel=1e-4, abs=1e-9)
        assert ramped["discriminator"] == pytest.approx(plain["discriminator"], rel=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_mmd_by_hand(kernel):
    """Every pair of items by itself; two runs, unequal weights of two unlabelled sets."""
    rng = np.random.default_rng(0)
    f = [rng.normal(size=(2, 3, 4)) + s for s in range(3)]
    weight = np.array([[1.0, -0.5, -0.5], [1.0, -1.0, 0.0]])
    out = losses.mmd([torch.tensor(x) for x in f], torch.tensor(weight), kernel)
    for k in range(2):
        items = [(x, weight[k, s] / 3) for s in range(3) for x in f[s][k]]
        distance = {
            "rbf": lambda x, y: float(((x - y) ** 2).sum()),
            "laplacian": lambda x, y: float(np.abs(x - y).sum()),
        }[kernel]
        pairs = [
            (abs(a * b), distance(x, y)) for i, (x, a) in enumerate(items) for j, (y, b) in enumerate(items) if i != j
        ]
        mean = sum(w * d for w, d in pairs) / sum(w for w, _ in pairs)
        total = 0
        for x, a in items:
            for y, b in items:
                total += a * b * np.mean([math.exp(-distance(x, y) / (mean * s)) for s in (0.25, 0.5, 1, 2, 4)])
        assert out[k].item() == pytest.approx(total, rel=1e-10)
    same = torch.tensor(f[0])
    assert losses.mmd([same, same], torch.tensor([[1.0, -1.0]] * 2).double(), kernel).abs().max() < 1e-12


def test_watched_norms_are_those_of_the_gradients(data):
    stack = make_stack("s4aqa", data, [{**RUN, "watch": True, "lambda1": 3.0}], dtype=torch.float64)
    terms = losses_of(stack)
    for name in ("regression", "recovery", "alignment"):
        stack.model.differentiate(losses_of(stack)[name])
        n = sum(p[0].numel() for p in stack.model.encoder.parameters())
        names = [n for n, _ in stack.model.named_parameters()]
        assert all(x.startswith("encoder.") for x in names[: len(list(stack.model.encoder.parameters()))])
        assert terms[f"gradient {name}"].item() == pytest.approx(stack.model.flat_grad[0, :n].norm().item(), rel=1e-10)
        stack.model.flat_grad.zero_()


def test_balanced_gradients_have_the_norm_of_the_regressions(data):
    """At the first step, lambda times the regression's norm each, whatever the losses' own scales are."""
    run = {**RUN, "balance": True, "lambda1": 1.0, "lambda2": 0.5}
    stack = make_stack("s4aqa", data, [run], dtype=torch.float64)
    terms = losses_of(stack)
    g = {name: terms[f"gradient {name}"].item() for name in ("regression", "recovery", "alignment")}
    by_hand = terms["regression"] + g["regression"] / g["recovery"] * terms["recovery"]
    by_hand = by_hand + 0.5 * g["regression"] / g["alignment"] * terms["alignment"]
    assert terms["loss"].item() == pytest.approx(by_hand.item(), rel=1e-10)
    assert gradients(stack)["decoder"] > 0


def test_encodings_and_recovery_errors_of_a_trained_network(data):
    stack = make_stack("s4aqa", data, [RUN], dtype=torch.float64)
    advance(stack, 5)
    stack.model.eval()
    encoder, decoder = parts(stack)
    for layer in range(3):
        encoder.norms[layer].running_mean.copy_(stack.model.encoder.norms[layer].mean[0])
        encoder.norms[layer].running_var.copy_(stack.model.encoder.norms[layer].var[0])
    encoder.eval()
    x = torch.tensor(data.features[:3]).double()
    assert np.allclose(S4AQA.encode(stack.model, x), encoder(x).detach(), atol=1e-12)
    hidden = x.clone()
    hidden[:, 2] = 0
    by_hand = (decoder(encoder(hidden)) - x[:, 2]).abs().mean(1).detach()
    assert np.allclose(S4AQA.recovery_error(stack.model, x)[:, 2], by_hand, atol=1e-12)


def test_recovery_errors_against_the_segment_of_another_video(data):
    stack = make_stack("s4aqa", data, [RUN], dtype=torch.float64)
    stack.model.eval()
    x = torch.tensor(data.features[:3]).double()
    of = [x.clone().index_fill_(1, torch.tensor([2]), 0)[None, None].transpose(2, 3)]  # [1,1,T,3,D], segment 2 hidden
    said = stack.model.decoder(stack.model.encoder(*of)[:, 0])[0].detach()  # [3,D]
    for other, targets in ((0, x[:, 2]), (1, x[[1, 2, 0], 2]), (2, x[[2, 0, 1], 2])):
        error = S4AQA.recovery_error(stack.model, x, other=other)[:, 2]
        assert np.allclose(error, (said - targets).abs().mean(1), atol=1e-12)


def test_what_does_not_go_together_is_refused(data):
    for run, words in [
        ({"pretext": "still", "modality": "flow"}, "still frames"),
        ({"recover": False, "pretrain": 0.5}, "pretrain"),
        ({"recover": False, "recover_labelled": True}, "recover_labelled"),
        ({"masks": 5}, "masks = 5"),
    ]:
        with pytest.raises(UserError, match=words):
            S4AQA.check(S4AQA.resolve(run), data)
    with pytest.raises(UserError, match="no flow features"):
        make_stack("s4aqa", noise_set(), [{**RUN, "modality": "flow"}])
