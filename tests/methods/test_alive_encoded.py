"""VAT, pseudo-labels, mean teacher, Pi-model, MixMatch and S4L: their states at the study's settings, the exchange
by hand, and controls that learn nothing of a video and change nobody beside them."""

import numpy as np
import pytest
import torch
from helpers import advance, losses_of, make_stack, noise_set, three_kinds
from ragged_cases import uneven

from aqa_lib import methods
from benchmarks.plain.vat import Peer

LIVING = {  # at the settings of configs/full.yaml: of three seeds at least so many are on, or weak
    "vat": 3,
    "pseudo_labels": 3,
    "mean_teacher": 2,
    "pi_model": 1,
    "mixmatch": 3,
    "s4l": 3,
}
TARGET = {  # what the unlabelled videos are to be
    "pseudo_labels": lambda method, model, batch: method.pseudo(batch),
    "mean_teacher": lambda method, model, batch: method.passes(model, batch)[2],
    "pi_model": lambda method, model, batch: method.passes(model, batch)[2],
    "mixmatch": lambda method, model, batch: method.guessed(model, batch)[1],
}
RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "steps": 10}
B = RUN["batch"]


@pytest.fixture(scope="module")
def data():
    return noise_set(views=("rot90", "rot180", "rot270"))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVING)
def test_on_at_the_stated_settings_off_without_weight_and_more_its_own_than_its_controls(name):
    """The control's index is of its own targets: labels alone teach a part of it, the term the rest. An adversary
    moves every network more than a lot does, so VAT's index is alike in all three, and its share decides."""
    run, off, control = (kind[mechanism] for kind in three_kinds(name, {"weight": 0.0}) for mechanism in kind)
    assert run.state.isin(["on", "weak"]).sum() >= LIVING[name]
    assert (off.state == "off").all() and (off.share < 0.001).all()
    assert (control.share > 0.02).all()  # on, with nothing to learn of the video
    if name == "vat":
        assert min(kind["index"].min() for kind in (run, off, control)) > 0.9
    else:
        assert run["index"].mean() > control["index"].mean()


def by_hand(scores, target):
    """(own, other) [B] of |score - target|: of a table of all pairs, row and column means less the grand mean, the
    pairs of a video with itself left out."""
    cost = np.abs(scores[:, None] - target)  # [output, target]
    apart = np.ma.masked_array(cost, np.eye(len(cost)))
    return cost.diagonal(), (apart.mean(1) + apart.mean(0) - apart.mean()).data


def looked(stack):
    with torch.no_grad(), stack.model.still():
        (exchange,) = stack.method.alive(stack.model, stack.batch(0)).values()
    return exchange


def agree(exchange, own, other, size):
    assert exchange.own[0].numpy() == pytest.approx(np.array(own), rel=1e-9)
    assert exchange.other[0].numpy() == pytest.approx(np.array(other), rel=1e-9)
    assert exchange.size[0].item() == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize("name", ["pi_model", "mean_teacher"])
def test_the_exchange_of_views_by_hand(name, data, monkeypatch):
    stack = make_stack(name, data, [{**RUN, "batch": 12}], dtype=torch.float64)
    scores, target = np.random.default_rng(0).normal(size=(2, 12))
    passes = (None, torch.tensor(scores)[None], torch.tensor(target)[None])
    monkeypatch.setattr(type(stack.method), "passes", lambda *_: passes)
    agree(looked(stack), *by_hand(scores, target), stack.batch(0).y.std(correction=0).item())


@pytest.mark.parametrize("name", ["pseudo_labels", "mixmatch"])
def test_the_exchange_of_labels_by_hand(name, data, monkeypatch):
    """Scores come from the network as it is; with no segment hidden both of MixMatch's views are the video."""
    hide = {"hide": 0.0} if name == "mixmatch" else {}
    stack = make_stack(name, data, [{**RUN, **hide}], dtype=torch.float64)
    batch, target = stack.batch(0), np.random.default_rng(0).normal(size=B)
    with torch.no_grad(), stack.model.still():
        scores = stack.model.scores(stack.model.encoder(batch.x)[:, 1])[0].numpy()
    if name == "mixmatch":
        x = torch.cat([batch.x, batch.x[:, 1:]], 1)
        monkeypatch.setattr(type(stack.method), "guessed", lambda *_: (x, torch.tensor(target)[None]))
    else:
        pseudo = torch.full_like(stack.y, torch.nan)
        stack.memory["pseudo"] = pseudo.scatter(1, batch.items[:, 1], torch.tensor(target)[None])
    agree(looked(stack), *by_hand(scores, target), batch.y.std(correction=0).item())


def test_the_exchange_of_vat_is_that_of_ordinary_modules(data):
    stack = make_stack("vat", data, [RUN], dtype=torch.float64)
    batch, method = stack.batch(0), stack.method
    peer = Peer(data, drop=0.0).double().load(stack)
    x = batch.x[0, 1].transpose(0, 1)  # [B,T,D]
    q = peer.label(x, 0)
    moves = []
    adversary = method.adversary(stack.model, batch.x[:, 1], q[None].detach(), batch)
    for r in (2.5 * method.lot(batch), adversary):
        moves.append((peer.label(x + r[0].transpose(0, 1), 0) - q).norm(dim=1).detach().numpy())
    q = q.detach().numpy()
    agree(looked(stack), *moves, np.sqrt(((q - q.mean(0)) ** 2).sum(1).mean()))
    assert (moves[1] > moves[0]).mean() > 0.8


def test_the_exchange_of_rotations_by_hand(data, monkeypatch):
    stack = make_stack("s4l", data, [RUN], dtype=torch.float64)
    logits = np.random.default_rng(0).normal(size=(2, 4, B, 4))  # [set, rotation, video, of 4]
    turned = torch.arange(4).repeat_interleave(B).repeat(1, 2)
    passes = (None, torch.tensor(logits).view(1, -1, 4), turned)
    monkeypatch.setattr(type(stack.method), "passes", lambda *_: passes)
    cost = np.log(np.exp(logits[1]).sum(-1, keepdims=True)) - logits[1]  # [rotation, video, label]
    own = [np.mean([cost[r, i, r] for r in range(4)]) for i in range(B)]
    other = [np.mean([cost[r, i, s] for r in range(4) for s in range(4) if s != r]) for i in range(B)]
    exchange = looked(stack)
    assert exchange.own[0].numpy() == pytest.approx(np.array(own), rel=1e-12)
    assert exchange.other[0].numpy() == pytest.approx(np.array(other), rel=1e-12)


def test_s4l_counts_the_gradient_of_the_unlabelled_half_alone(data):
    stack = make_stack("s4l", data, [{**RUN, "weight": 0.7}], dtype=torch.float64)
    terms, batch = losses_of(stack), stack.batch(0)
    _, logits, turned = stack.method.passes(stack.model, batch)
    each = torch.nn.functional.cross_entropy(logits[0], turned[0], reduction="none").view(2, -1)
    mine = stack.method.auxiliary(batch, terms)["rotation"].item()
    assert mine == pytest.approx(0.7 * each[1].mean().item() / 2, rel=1e-12)
    labelled = (terms["loss"] - terms["regression"]).item() - mine
    assert labelled == pytest.approx(0.7 * each[0].mean().item() / 2, rel=1e-12)


@pytest.mark.parametrize("name", TARGET)
def test_a_control_has_the_targets_of_others(name, data):
    """Two runs of one seed: the control's targets are the other's, and none stands where it stood."""
    stack = make_stack(name, data, [RUN, {**RUN, "exchange": True}], dtype=torch.float64)
    if name in ("mean_teacher", "pi_model", "mixmatch"):
        advance(stack, 2)
        stack.model.flat.data[1] = stack.model.flat.data[0]
        stack.method.begin(stack)
    for step in (2, 3):
        stack.method.before(stack, 0)
        batch = stack.batch(step)
        with torch.no_grad():
            own, others = TARGET[name](stack.method, stack.model, batch).numpy()
        shift = 1 + int(batch.keys["another"][1, 0]) % (B - 1)
        assert np.allclose(others, np.roll(own, -shift)) and 1 <= shift < B
        assert len(set(batch.items[1, 1].tolist())) == B  # so that another place is another video


def test_a_control_of_vat_goes_where_anothers_adversary_goes(data):
    runs = [RUN, {**RUN, "exchange": True, "eps": 0.5}]
    stack = make_stack("vat", data, runs, dtype=torch.float64)
    batch = stack.batch(0)
    x = batch.x[:, 1]
    label = stack.method.virtual(stack.model, x, batch).detach()
    adversary = stack.method.adversary(stack.model, x, label, batch)
    r = stack.method.perturbation(stack.model, x, label, batch)
    assert torch.equal(r[0], adversary[0])
    norms = r[1].transpose(0, 1).flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.full((B,), 0.5, dtype=torch.float64))
    on = 1 + int(batch.keys["another"][1, 0]) % (B - 1)
    assert torch.equal(r[1], adversary[1].roll(-on, 1)) and not torch.equal(r[1], adversary[1])


def test_a_control_of_vat_ends_where_its_video_ends():
    stack = make_stack("vat", uneven(), [{**RUN, "exchange": True, "eps": 0.5}], dtype=torch.float64)
    batch = stack.batch(0)
    x = batch.x[:, 1]
    r = stack.method.perturbation(stack.model, x, stack.method.virtual(stack.model, x, batch).detach(), batch)
    beyond = batch.mask_of(1) == 0
    assert beyond.any() and (r[beyond] == 0).all()
    assert torch.allclose(r.transpose(1, 2).flatten(2).norm(dim=2), torch.full((1, B), 0.5, dtype=torch.float64))


def test_a_control_of_s4l_has_rotations_by_lot(data):
    """One turn for the four copies of an unlabelled video, each as often as the others; labelled ones stay."""
    stack = make_stack("s4l", data, [RUN, {**RUN, "exchange": True}])
    true, turns = torch.arange(4).repeat_interleave(B).view(4, B), []
    for step in range(60):
        plain, control = stack.method.passes(stack.model, stack.batch(step))[2].view(2, 2, 4, B)
        assert (plain == true).all() and (control[0] == true).all()
        turn = (control[1] - true) % 4
        assert (turn == turn[0]).all()
        turns.append(turn[0])
    shares = torch.cat(turns).bincount(minlength=4) / (60 * B)
    assert (shares - 0.25).abs().max() < 0.08  # four standard deviations of 480 draws


@pytest.mark.parametrize("name", LIVING)
def test_a_run_keeps_its_bits_beside_a_control(name, data):
    """And the control, whose term is on, is another run."""
    beside, control = {**RUN, "seed": 1, "drop": 0.5}, methods.get(name).control
    runs = [{**RUN, "drop": 0.5}, beside]
    stacks = [make_stack(name, data, [runs[0], {**runs[1], **more}]) for more in ({}, control)]
    for stack in stacks:
        advance(stack, 6)
    (a, b), (c, d) = ([stack.model.state(k) for k in range(2)] for stack in stacks)
    assert all(np.array_equal(a[n], c[n]) for n in a)
    assert any(not np.array_equal(b[n], d[n]) for n in b)
