"""The variants of S4AQA, each against the same thing written out for one run in ordinary modules and float64."""

import math

import numpy as np
import pytest
import torch
from helpers import advance, gradients, losses_of, make_stack, noise_set, scores
from ragged_cases import uneven

from aqa_lib import losses, methods
from aqa_lib.errors import UserError
from aqa_lib.models.encoder import Head
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
]


@pytest.fixture(scope="module")
def data():
    return noise_set(60, 5, 16, views=("flow", "still"))


def parts(stack, name="encoder", decoder="decoder", k=0):
    """Run k's encoder and decoder as ordinary modules in float64."""
    model = stack.model
    T, D = stack.T, getattr(model, name).convs[0].weight.shape[2]
    encoder = Encoder(T, D, 0.0).double()
    encoder.load(getattr(model, name), k)
    out, norm = getattr(model, decoder).last.bias.shape[1], stack.runs[0]["head"] == "norm"
    dec = head(encoder.outputs, max(D // 2, 32), out, norm).double()
    load_head(dec, getattr(model, decoder), k)
    return encoder, dec


def sets(batch, x=None, k=0):
    """Labelled and unlabelled [B,T,D] of run k."""
    x = batch.x if x is None else x
    return x[k].transpose(1, 2)


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


def kernel_by_hand(items, kernel):
    """k(x, y) and a^T K a of [(x, a)], each pair by itself."""

    def distance(x, y):
        return float(((x - y) ** 2).sum() if kernel == "rbf" else np.abs(x - y).sum())

    pairs = [(abs(a * b), distance(x, y)) for i, (x, a) in enumerate(items) for j, (y, b) in enumerate(items) if i != j]
    mean = sum(w * d for w, d in pairs) / sum(w for w, _ in pairs)

    def k(x, y):
        return np.mean([math.exp(-distance(x, y) / (mean * s)) for s in (0.25, 0.5, 1, 2, 4)])

    return k, sum(a * b * k(x, y) for x, a in items for y, b in items)


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_mmd_by_hand(kernel):
    """Every pair of items by itself; two runs, unequal weights of two unlabelled sets."""
    rng = np.random.default_rng(0)
    f = [rng.normal(size=(2, 3, 4)) + s for s in range(3)]
    weight, keeps = np.array([[1.0, -0.5, -0.5], [1.0, -1.0, 0.0]]), np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    made = [torch.tensor(x) for x in f], torch.tensor(weight), kernel
    out, swapped, parts = losses.mmd(*made), losses.mmd(*made, torch.tensor(keeps)), losses.mmd_parts(*made)
    for k in range(2):
        items = [(x, weight[k, s] / 3) for s in range(3) for x in f[s][k]]
        value, total = kernel_by_hand(items, kernel)
        assert out[k].item() == pytest.approx(total, rel=1e-10)
        for i in range(3):  # the items of a place, one of each set
            part = sum(a * b * value(x, y) for x, a in items[i::3] for y, b in items)
            assert parts[k, i].item() == pytest.approx(part, rel=1e-10)
        moved = [(x, weight[k, s] * keeps[k, i] / 3) for s in range(3) for i, x in enumerate(f[s][k])]
        assert swapped[k].item() == pytest.approx(kernel_by_hand(moved, kernel)[1], rel=1e-10)
    same = torch.tensor(f[0])
    assert losses.mmd([same, same], torch.tensor([[1.0, -1.0]] * 2).double(), kernel).abs().max() < 1e-12


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_alignment_by_mmd_is_that_of_labelled_against_unlabelled_encodings(kernel, recover, data):
    """Labelled items weigh 1 / B, unlabelled ones as much with the other sign, halved where each comes twice."""
    run = {**RUN, "recover": recover, "alignment": f"mmd_{kernel}"}
    stack = make_stack("s4aqa", data, [run, {**run, "exchange": True}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)["alignment"]
    for k in range(2):
        encoder, x = parts(stack, k=k)[0], sets(batch, k=k)
        f = [encoder(x[0]), encoder(x[1])]
        if recover:
            f.append(encoder(x[1] * S4AQA.keep(batch)[k].T[..., None]))
        lot = S4AQA.lot(batch)[k].tolist() if k else [1.0] * 8
        assert k == 0 or -1.0 in lot and 1.0 in lot  # the control: some places are of the other domain
        weight = [1.0, -0.5, -0.5] if recover else [1.0, -1.0]
        f = zip((s.detach().numpy() for s in f), weight, strict=True)
        items = [(v, w * a / 8) for s, w in f for v, a in zip(s, lot, strict=True)]
        assert terms[k].item() == pytest.approx(kernel_by_hand(items, kernel)[1], rel=1e-9)


@pytest.mark.parametrize("kind", ["norm", "plain"])
def test_heads_by_hand(kind, data):
    """Decoder and discriminator with and without the norm; of a control their targets are another video's."""
    run = {**RUN, "head": kind, "lambda1": 3.0}
    stack = make_stack("s4aqa", data, [run, {**run, "exchange": True}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    for k in range(2):
        encoder, decoder = parts(stack, k=k)
        discriminator = head(encoder.outputs, 16, 1, kind == "norm").double()
        load_head(discriminator, stack.model.discriminator, k)
        (x, u), keep = sets(batch, k=k), S4AQA.keep(batch)[k].T[..., None]
        on = 1 + batch.keys["another"][k].item() % 7 if k else 0
        f = [encoder(x), encoder(u), encoder(u * keep)]
        hidden = torch.stack([(u[(i + on) % 8] * (1 - keep[i])).sum(0) for i in range(8)])
        assert terms["recovery"][k].item() == pytest.approx((decoder(f[2]) - hidden).abs().mean().item(), rel=1e-12)
        signs, bce, alignment = S4AQA.lot(batch)[k] if k else torch.ones(8), torch.nn.functional.softplus, 0
        for z, sign, weight in zip(map(discriminator, f), (-1, 1, 1), (1.0, 0.5, 0.5), strict=True):
            alignment = alignment + weight * bce(sign * signs * z[:, 0]).mean()
        assert terms["alignment"][k].item() == pytest.approx(alignment.item(), rel=1e-12)
        total = terms["regression"][k] + 3.0 * terms["recovery"][k] + 0.1 * terms["alignment"][k]
        assert terms["loss"][k].item() == pytest.approx(total.item(), rel=1e-12)


def test_the_norm_changes_decoder_and_discriminator_alone():
    h = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0)).double() * 5 + 2
    made = dict(runs=2, inputs=12, hidden=8, outputs=4, precision="fp32")
    norm, plain = Head(**made, norm=True).double(), Head(**made).double()
    norm.initialise([1, 2])
    plain.load_state_dict(norm.state_dict())  # no parameters of its own
    hidden = h @ norm.first.weight.view(2, 12, 8) + norm.first.bias.view(2, 1, 8)
    deviation = ((hidden - hidden.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
    normed = (hidden - hidden.mean(-1, keepdim=True)) / (deviation + 1e-5) ** 0.5
    for made, seen in ((norm, normed), (plain, hidden)):
        by_hand = seen.clamp(min=0) @ made.last.weight.view(2, 8, 4) + made.last.bias.view(2, 1, 4)
        assert torch.allclose(made(h), by_hand, rtol=1e-12, atol=1e-12)
    for kind in ("norm", "plain"):
        model = S4AQA.build([S4AQA.resolve({"head": kind})], noise_set())
        assert [part.norm for part in (model.regressor, model.decoder, model.discriminator)] == [False] + [
            kind == "norm"
        ] * 2


def test_runs_beside_a_control_keep_what_they_have_alone(data):
    runs = [{**RUN, "seed": 3}, {**RUN, "seed": 3, "exchange": True}]
    both, alone = (make_stack("s4aqa", data, r, dtype=torch.float64) for r in (runs, runs[:1]))
    advance(both, 6)
    advance(alone, 6)
    mine, control, theirs = both.model.state(0), both.model.state(1), alone.model.state(0)
    assert max(np.abs(mine[n] - theirs[n]).max() for n in mine) < 1e-12
    assert np.abs(mine["decoder.last.weight"] - control["decoder.last.weight"]).max() > 1e-3


# what a look sees


@pytest.mark.parametrize("variant", [{}, {"masks": 2}, {"modality": "rgb+flow"}, {"pretext": "still"}], ids=str)
def test_a_look_exchanges_targets_of_one_place(variant, data):
    """own: what the run of training minimises; other: what rows and columns of all pairs cost beside the diagonal."""
    stack = make_stack("s4aqa", data, [{**RUN, **variant}], dtype=torch.float64)
    batch = stack.batch(0)
    seen = S4AQA.alive(stack.model, batch)["recovery"]
    cost, size = np.zeros((8, 8)), []
    views = variant.get("modality", "rgb").split("+")
    for view in views:
        end = "_flow" if view == "flow" else ""
        encoder, decoder = parts(stack, f"encoder{end}", f"decoder{end}")
        x = sets(batch, batch.x if view == "rgb" else batch.view(view))[1]
        if "pretext" in variant:
            out, target = decoder(encoder(sets(batch, batch.view("still"))[1])), x.flatten(1)
        else:
            keep = S4AQA.keep_alike(batch)[0].T[..., None]  # [B,T,1]
            masks = variant.get("masks", 1)
            assert (keep == keep[:1]).all() and keep[0].sum() == 5 - masks
            out, target = decoder(encoder(x * keep)), (x * (1 - keep)).sum(1) / masks
        cost += (out[:, None] - target).abs().mean(-1).detach().numpy() / len(views)
        size.append((target - target.mean(0)).abs().mean().item())
    off = cost - np.diag(np.diag(cost))
    other = (off.sum(1) + off.sum(0) - off.sum() / 8) / 7
    assert np.allclose(seen.own[0].detach(), np.diag(cost), rtol=1e-12)
    assert np.allclose(seen.other[0].detach(), other, rtol=1e-12)
    assert seen.size[0].item() == pytest.approx(size[0], rel=1e-12)


def test_a_look_at_videos_of_unequal_length_hides_what_all_have():
    data = uneven()
    stack = make_stack("s4aqa", data, [{**RUN, "masks": 2}])
    batch, shares = stack.batch(0), []
    keep, length = S4AQA.keep_alike(batch)[0], batch.length[0, -1]
    for b in range(8):
        (hidden,) = np.nonzero(keep[:, b].numpy() == 0)
        assert len(hidden) == 2 == hidden[1] - hidden[0] + 1 and hidden[1] < length[b]
        shares.append((hidden[0] / (length[b].item() - 1), (hidden[0] + 1) / (length[b].item() - 1)))
    assert max(low for low, _ in shares) < min(high for _, high in shares)  # one share is that of all


def test_a_look_at_the_alignment_exchanges_the_domains(data):
    stack = make_stack("s4aqa", data, [RUN], dtype=torch.float64)
    batch = stack.batch(0)
    seen, encoder = S4AQA.alive(stack.model, batch)["alignment"], parts(stack)[0]
    discriminator = head(encoder.outputs, 16, 1, True).double()
    load_head(discriminator, stack.model.discriminator)
    x, u = sets(batch)
    f = [encoder(x), encoder(u), encoder(u * S4AQA.keep_alike(batch)[0].T[..., None])]
    p = [torch.sigmoid(discriminator(v)[:, 0]) for v in f]  # of being labelled
    own = -p[0].log() - 0.5 * (1 - p[1]).log() - 0.5 * (1 - p[2]).log()
    other = -(1 - p[0]).log() - 0.5 * p[1].log() - 0.5 * p[2].log()
    assert torch.allclose(seen.own[0], own, rtol=1e-12) and torch.allclose(seen.other[0], other, rtol=1e-12)


def test_a_look_at_mmd_draws_the_domains_by_lot(data):
    stack = make_stack("s4aqa", data, [{**RUN, "recover": False, "alignment": "mmd_rbf"}], dtype=torch.float64)
    batch = stack.batch(0)
    seen, encoder = S4AQA.alive(stack.model, batch)["alignment"], parts(stack)[0]
    f = [encoder(x).detach().numpy() for x in sets(batch)]

    def by_hand(lot):
        items = [(v, sign * a / 8) for s, sign in zip(f, (1, -1), strict=True) for v, a in zip(s, lot, strict=True)]
        return kernel_by_hand(items, "rbf")[1]

    lots = [S4AQA.lot(batch, r)[0].tolist() for r in range(8)]
    assert len(set(map(tuple, lots))) == 8
    assert seen.other[0].sum().item() == pytest.approx(by_hand([1.0] * 8), rel=1e-10)
    assert seen.own[0].sum().item() == pytest.approx(np.mean([by_hand(lot) for lot in lots]), rel=1e-10)


def test_recorded_norms_are_those_of_the_gradients(data):
    stack = make_stack("s4aqa", data, [{**RUN, "balance": True, "lambda1": 3.0}], dtype=torch.float64)
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
