"""RankUp and the alignment of ranks: the losses against ordinary modules, the algorithms by hand, the gradients."""

import math

import numpy as np
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set
from scipy.stats import rankdata

from aqa_lib.methods import _ranks
from aqa_lib.methods._encoded import strong, weak
from aqa_lib.methods.rankup import disagreement, ranking
from benchmarks.plain.rank_alignment import Peer as AlignmentPeer
from benchmarks.plain.rankup import Peer as RankUpPeer

RUN = {"drop": 0.0, "batch": 8, "fraction": 0.4, "steps": 20, "confidence": 0.6, "weight": 0.7}
NAN = float("nan")


def drawn(batch, noise=True):
    """The masks and the noise of a step of run 0, as the plain implementation takes them."""
    ones = torch.ones_like(batch.x[:, 1])
    kept = [weak(ones, batch.keys["hide"][:, i])[0].transpose(0, 1)[..., :1] for i in range(1 + noise)]
    if not noise:
        return {"kept": kept[0]}
    return {"kept": kept, "noise": (strong(ones, batch.keys["noise"][:, 0], 1.0) - ones)[0].transpose(0, 1)}


def compare(stack, peer, steps, **kw):
    """The losses of the same steps, on weights that stay: only memories change. Returns whether an alignment acted."""
    acted = []
    for step in range(steps):
        batch, terms = stack.batch(step), losses_of(stack, step)
        x = batch.x[0].transpose(1, 2)  # [S,B,T,D]
        peer.before(step, stack.y[0])
        ramp = min(step / (0.4 * 20), 1.0)
        loss = peer.loss(x[0], batch.y[0], x[1], items=batch.items[0], **drawn(batch, **kw), ramp=ramp)
        assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-10)
        peer.zero_grad()
        loss.backward()
        stack.model.differentiate(terms["loss"])
        found = dict(zip((n for n, _ in stack.model.named_parameters()), stack.model.parts, strict=True))
        conv = found["encoder.convs.0.weight"][1][0].permute(2, 1, 0)
        assert torch.allclose(conv, peer.encoder.convs[0].weight.grad, rtol=1e-8, atol=1e-12)
        acted.append("alignment" in terms and terms["alignment"].item() > 0)
    return acted


def test_rank_alignment_is_that_of_ordinary_modules_and_numpy():
    """27 unlabelled videos, 8 a step, so a pass takes 4; aligned first at step 2, when 11 have not been met."""
    data = noise_set(60, 5, 16)
    run = {k: v for k, v in RUN.items() if k != "confidence"}
    stack = make_stack("rank_alignment", data, [run | {"refresh": 2}], dtype=torch.float64)
    peer = AlignmentPeer(data, drop=0.0, weight=0.7, refresh=2).double().load(stack)
    acted = compare(stack, peer, 9, noise=False)
    assert acted[:2] == [False, False] and all(acted[3:])


@pytest.mark.parametrize("align_ranks", [False, True])
def test_rankup_is_that_of_ordinary_modules(align_ranks):
    data = noise_set(60, 5, 16)
    run = {**RUN, "align_ranks": align_ranks, "refresh": 3}
    stack = make_stack("rankup", data, [run], dtype=torch.float64)
    settings = {k: run[k] for k in ("drop", "weight", "confidence", "align_ranks", "refresh")}
    peer = RankUpPeer(data, **settings).double().load(stack)
    assert any(compare(stack, peer, 7)) == align_ranks
    agreed = losses_of(stack, 7)["agreement"].item()
    assert 0 < agreed < math.log(2), "some pairs are sure and others are not"


def test_an_alignment_by_hand():
    """Five predictions, three labels 1, 2, 6: quantiles 1, 1.5, 2, 4, 6. A second run of two and four."""
    raw = torch.tensor([[0.3, NAN, 9.0, -1.0, 0.4, 0.2], [NAN, 5.0, NAN, 4.0, NAN, NAN]])
    labelled = torch.tensor([[6.0, 1.0, NAN, 2.0, NAN, NAN], [1.0, 2.0, 3.0, 4.0, NAN, NAN]])
    expected = torch.tensor([[2.0, NAN, 6.0, 1.0, 4.0, 1.5], [NAN, 4.0, NAN, 1.0, NAN, NAN]])
    assert torch.allclose(_ranks.align(raw, labelled), expected, equal_nan=True)
    one = _ranks.align(torch.tensor([[NAN, 3.0]]), torch.tensor([[5.0, NAN]]))
    assert one[0, 1] == 5.0 and one[0, 0].isnan()
    assert _ranks.align(torch.full((1, 2), NAN), torch.tensor([[5.0, NAN]])).isnan().all()


def test_an_alignment_keeps_the_order_and_takes_the_labels_distribution():
    rng = np.random.default_rng(0)
    raw, labels = rng.normal(size=101), rng.gamma(2.0, size=101)
    aligned = _ranks.align(torch.tensor(raw)[None], torch.tensor(labels)[None])[0].numpy()
    assert np.array_equal(rankdata(aligned), rankdata(raw))
    assert np.allclose(np.sort(aligned), np.sort(labels))


def test_the_winner_of_an_item_that_comes_twice():
    items = torch.tensor([[4, 7, 4, 9, 4]])
    assert _ranks.winner(items, torch.tensor([[3.0, 0.0, 1.0, 5.0, 2.0]])).tolist() == [[2, 1, 2, 3, 2]]


def test_pairs_by_hand():
    """Two videos and a tie: d_ij is the logit that j is better than i."""
    d = torch.tensor([[[0.0, 2.0], [-2.0, 0.0]]])
    tied, ordered = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    half = (math.log1p(math.exp(2)) + math.log1p(math.exp(-2))) / 2
    assert ranking(d, tied).item() == pytest.approx((2 * math.log(2) + 2 * half) / 4)
    assert ranking(d, ordered).item() == pytest.approx((2 * math.log(2) + 2 * math.log1p(math.exp(-2))) / 4)
    confidence = torch.tensor([0.85])  # sigmoid(2) = 0.88 is sure enough, a video with itself never
    assert disagreement(-d, d, confidence).mean().item() == pytest.approx(2 * math.log1p(math.exp(2)) / 4)
    assert disagreement(-d, d, torch.tensor([0.9])).mean().item() == 0


def test_the_weak_view_teaches_and_learns_only_by_alignment():
    data = noise_set(60, 5, 16)
    same = {**RUN, "hide": 0.0, "noise": 0.0}
    stack = make_stack("rankup", data, [same])
    moved = gradients(stack, "agreement")
    assert moved["encoder"] > 0 < moved["ranker"] and moved["regressor"] == 0
    assert gradients(stack, "ranking")["regressor"] == 0 == gradients(stack, "regression")["ranker"]
    aligned = make_stack("rankup", data, [{**same, "align_ranks": True, "refresh": 1}])
    for step in range(6):
        losses_of(aligned, step)
    moved = gradients(aligned, "alignment", step=6)
    assert moved["encoder"] > 0 < moved["regressor"] and moved["ranker"] == 0


def test_runs_with_and_without_alignment_share_a_stack():
    data = noise_set(60, 5, 16)
    runs = [{**RUN, "align_ranks": on, "refresh": 1} for on in (False, True)]
    mixed, alone = make_stack("rankup", data, runs), make_stack("rankup", data, runs[:1])
    for step in range(7):
        a, b = losses_of(mixed, step)["loss"], losses_of(alone, step)["loss"]
    assert a[0].item() == pytest.approx(b[0].item(), rel=1e-6) and a[1] > a[0]


def test_running_statistics_follow_the_labelled_videos_alone():
    data = noise_set(60, 5, 16)
    stack, plain = (make_stack(name, data, [{"drop": 0.0, "batch": 8}]) for name in ("rankup", "pi_model"))
    for s in (stack, plain):
        losses_of(s)
    for ours, theirs in zip(stack.model.encoder.norms[:1], plain.model.encoder.norms[:1], strict=True):
        assert torch.allclose(ours.mean, theirs.mean) and torch.allclose(ours.var, theirs.var)
