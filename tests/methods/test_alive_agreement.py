"""Mechanisms of methods that agree with themselves or with a teacher: on at the study's settings, off without weight,
their exchange by hand in numpy, and controls that learn nothing of a video and change nobody beside them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import advance, make_stack, noise_set, stated, three_kinds
from scipy.stats import rankdata
from sklearn.neighbors import KNeighborsRegressor

from aqa_lib import chance, methods
from aqa_lib.data import load
from aqa_lib.data.splits import official
from aqa_lib.methods import _ranks
from aqa_lib.methods._order import seriate
from aqa_lib.methods.coreg import FOLDS, ROLLS
from aqa_lib.training import train
from aqa_lib.training.alive import look
from benchmarks.plain.coreg import Peer
from benchmarks.plain.rank_alignment import matched

STUDY = {  # settings beside those of configs/full.yaml, what switches the mechanisms off, and of three seeds at least
    # so many that are on or weak, for each mechanism
    "rankup": ({"align_ranks": True}, {"weight": 0, "align_weight": 0}, {"agreement": 3, "alignment": 3}),
    "rank_alignment": ({}, {"weight": 0}, {"alignment": 3}),
    "clss": ({}, {"feature_weight": 0, "prediction_weight": 0}, {"feature": 3, "prediction": 2}),
    "ucvme": ({}, {"weight": 0}, {"consistency": 1}),
    "trs": ({}, {"weight": 0}, {"imitation": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDY)
def test_on_at_the_stated_settings_off_without_weight_and_more_its_own_than_its_controls(name):
    """The control's index is of its own targets, of which the labels alone teach a part."""
    settings, off, living = STUDY[name]
    run, off, control = three_kinds(name, off, **settings)
    for mechanism, count in living.items():
        assert run[mechanism].state.isin(["on", "weak"]).sum() >= count
        assert (off[mechanism].state == "off").all() and (off[mechanism].share < 0.001).all()
        assert (control[mechanism].share > 0.01).all()  # felt, with nothing to learn of the video
        assert run[mechanism]["index"].mean() > control[mechanism]["index"].mean()
        if name not in ("ucvme", "trs"):  # what these two teach, labels teach as well
            assert run[mechanism]["index"].mean() > off[mechanism]["index"].mean()


def test_rankup_has_no_index_before_training():
    """So its t is not of growth: no pair of an untrained network is sure."""
    stack = make_stack("rankup", load("surrogate"), [{**stated("rankup"), "seed": k, "draw": k} for k in range(3)])
    for row in look(stack, 0, gradients=False):
        assert row["agreement"].index == row["agreement"].t() == row["agreement"].other.max() == 0


@pytest.mark.slow
def test_the_uncertainty_of_ucvme_says_nothing_of_its_errors():
    data = load("surrogate")
    runs = [{"fraction": 0.4, "steps": 250, "lr": 8e-3, "seed": k, "draw": k} for k in range(3)]
    stack = make_stack("ucvme", data, runs)
    advance(stack, 250)
    stack.model.eval()
    for k, labels in enumerate(stack.labels):
        x, _, _ = stack.videos(torch.from_numpy(labels.unlabelled)[None])
        with torch.no_grad():
            y, z = torch.stack([net(x.expand(3, -1, -1, -1, -1))[k, 0] for net in stack.model.nets]).mean(0).unbind(-1)
        error = (y.numpy() - data.scores[labels.unlabelled] * labels.scale) ** 2
        assert abs(np.corrcoef(z.numpy(), np.log(error))[0, 1]) < 0.25
        assert z.exp().mean() < 0.8 * error.mean(), "and it states too little"


@pytest.mark.parametrize("name", STUDY)
def test_a_run_keeps_its_bits_beside_a_control(name):
    data = noise_set(60, 5, 16)
    run = {"fraction": 0.4, "batch": 8, "steps": 20, "lr": 1e-2}
    run |= {"trs": {"depth": 1, "burn_in": 0.1}, "rankup": {"align_ranks": True, "confidence": 0.55}}.get(name, {})
    run |= {"refresh": 1} if name.startswith("rank") else {}
    plain, mixed = [run, {**run, "seed": 1}], [run, {**run, "seed": 1, "exchange": True}]
    stacks = [make_stack(name, data, runs) for runs in (plain, mixed)]
    for stack in stacks:
        advance(stack, 6)
    a, b = (stack.model.flat.detach() for stack in stacks)
    assert torch.equal(a[0], b[0]) and not torch.equal(a[1], b[1])


def two_way(C):
    """(own, other) of costs C [B,B] of output i with target j."""
    B = len(C)
    own = np.diag(C)
    row, column = (C.sum(1) - own) / (B - 1), (C.sum(0) - own) / (B - 1)
    return own, row + column - row.mean()


def same(exchange, C):
    own, other = two_way(np.asarray(C))
    assert np.allclose(exchange.own[0].numpy(), own, rtol=1e-9)
    assert np.allclose(exchange.other[0].numpy(), other, rtol=1e-9)
    assert not np.allclose(own, other)


def by_hand(name, B=5, **fields):
    """(the method, a batch of one run's probe, a generator); items 2 ... B + 1 of B + 4."""
    rng = np.random.default_rng(3)
    y = torch.from_numpy(rng.gamma(2.0, size=(1, B)))
    settings = methods.get(name).resolve({})
    items = torch.arange(2 * B).view(1, 2, B) % (B + 2)
    batch = SimpleNamespace(runs=[settings], y=y, probe=True, own=True, items=items, memory={}, **fields)
    batch.weight = lambda name: torch.tensor([float(settings[name])], dtype=y.dtype)
    return methods.get(name), batch, rng


def aligned_by_hand(batch, rng, monkeypatch):
    """What the aligned labels of a look are: ranks among all that has been predicted."""
    n, B = 9, batch.y.shape[1]
    raw, labels, seen = rng.normal(size=n), rng.gamma(2.0, size=4), rng.normal(size=B)
    batch.items = torch.stack([torch.zeros(1, B, dtype=torch.int64), torch.arange(B)[None] + 4], 1)
    y = np.full(n, np.nan)
    y[:4] = labels
    raw[:4] = raw[4 : 4 + B] = np.nan  # no step predicts labelled videos as unlabelled, nor those kept aside
    batch.memory = {"raw": torch.from_numpy(raw.copy())[None], "aligned": torch.full((1, n), torch.nan).double()}
    batch.stack = SimpleNamespace(y=torch.from_numpy(y)[None])
    monkeypatch.setattr(_ranks, "once_more", lambda *_: torch.from_numpy(seen)[None])
    return matched(np.concatenate([seen, raw[np.isfinite(raw)]]), labels)[:B]


def test_exchanged_aligned_labels_by_hand(monkeypatch):
    method, batch, rng = by_hand("rank_alignment", B=4)
    q, p = aligned_by_hand(batch, rng, monkeypatch), rng.normal(size=4)
    monkeypatch.setattr(method, "encodings", lambda *_: torch.from_numpy(np.stack([p, p]))[None])
    model = SimpleNamespace(scores=lambda f: f)
    found = method.alive(model, batch)["alignment"]
    same(found, np.abs(p[:, None] - q))
    assert found.size.item() == pytest.approx((batch.y - batch.y.mean()).abs().mean().item())


def test_exchanged_orders_and_labels_of_rankup_by_hand(monkeypatch):
    method, batch, rng = by_hand("rankup", B=4)
    batch.runs[0] |= {"align_ranks": True}
    q = aligned_by_hand(batch, rng, monkeypatch)
    z, z_weak = 3 * rng.normal(size=(2, 4))
    found = torch.from_numpy(np.stack([z, z]))[None], torch.from_numpy(z_weak)[None]
    monkeypatch.setattr(method, "encodings", lambda *_: found)
    model = SimpleNamespace(scores=lambda f: f, pairs=lambda f: f.unsqueeze(1) - f.unsqueeze(2))
    found = method.alive(model, batch)
    same(found["alignment"], np.abs(z_weak[:, None] - q))
    C = np.zeros((4, 4))
    for r in range(4):
        wrong = np.zeros((4, 4))
        for i in range(4):
            for j in range(4):
                weak = z_weak[(j + r) % 4] - z_weak[(i + r) % 4]
                wrong[i, j] = 1 / (1 + np.exp(-abs(weak))) >= 0.95 and weak * (z[j] - z[i]) < 0
        rows = wrong.mean(1)
        C[np.arange(4), (np.arange(4) + r) % 4] = 2 * rows - rows.mean()
    same(found["agreement"], C)


def test_exchanged_places_of_clss_by_hand(monkeypatch):
    method, batch, rng = by_hand("clss")
    f, w = np.abs(rng.normal(size=(5, 3))), rng.normal(size=3)
    batch.x = None
    monkeypatch.setattr(method, "encode", lambda *_: torch.from_numpy(np.stack([f, f]))[None])
    model = SimpleNamespace(scores=lambda f: f @ torch.from_numpy(w))
    found = method.alive(model, batch)
    z, g = f / np.linalg.norm(f, axis=1, keepdims=True), f @ w
    near = {"feature": z @ z.T, "prediction": -np.abs(g[:, None] - g)}
    order = (5 * seriate(torch.from_numpy(near["feature"])[None])[0].numpy()).round()
    target = rankdata(np.abs(order[:, None] - order), axis=1) / 5
    for name, similarity in near.items():
        ranks, C = rankdata(-similarity, axis=1) / 5, np.zeros((5, 5))
        for r in range(5):
            on = (np.arange(5) + r) % 5
            rows = ((ranks - target[on][:, on]) ** 2).mean(1)
            C[np.arange(5), on] = 2 * rows - rows.mean()
        same(found[name], C)


def test_exchanged_targets_of_ucvme_by_hand(monkeypatch):
    method, batch, rng = by_hand("ucvme")
    y, z = rng.normal(size=(2, 1, 2, 2, 5))  # [K,m,S,B]
    targets = rng.normal(size=(2, 5))
    monkeypatch.setattr(method, "outputs", lambda *_: (torch.from_numpy(y), torch.from_numpy(z)))
    monkeypatch.setattr(method, "ensemble", lambda *_: [torch.from_numpy(t)[None] for t in targets])
    found = method.alive(None, batch)
    for name, output, target in zip(("consistency", "uncertainty"), (y, z), targets, strict=True):
        same(found[name], sum(np.abs(output[0, m, 1][:, None] - target) for m in range(2)) / 2)


def test_exchanged_memories_of_trs_by_hand():
    """Videos kept aside have nothing in memory; the last one here, of those that fill a batch up, has."""
    method, batch, rng = by_hand("trs")
    s, t, r, y = rng.normal(size=(4, 5))
    batch.x, batch.y = torch.ones(1, 2, 3, 5, 4).double(), torch.from_numpy(y)[None]
    batch.keys = {name: torch.zeros(1, n, dtype=torch.int64) for name, n in method.PLACES.items()}
    batch.items = torch.arange(10).view(1, 2, 5)
    for who in ("teacher", "reference"):
        batch.memory[who] = torch.full((1, 10), 7.0).double()
        batch.memory[f"{who}_variance"] = torch.full((1, 10), torch.inf).double()
    batch.memory["teacher_variance"][0, 9] = 0.1
    given = {who: torch.from_numpy(v)[None] for who, v in (("student", s), ("teacher", t), ("reference", r))}
    model = SimpleNamespace(**{who: lambda *_, v=v: (v, torch.ones_like(v)) for who, v in given.items()})
    found = method.alive(model, batch)["imitation"]
    t[4] = 7.0
    same(found, (np.abs(s[:, None] - t) + np.abs(s[:, None] - (y + r))) / 2)


def line(seed=0, n=240, labelled=16):
    """Videos on a line and scores that bend along it: what lies between two labels is seen from those around."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(0, 1, n)
    x = np.stack([u, u**2], 1).astype("f4")[:, None].repeat(3, 1)
    y = 10 * np.sin(5 * u) + 0.1 * rng.normal(size=n)
    y[rng.permutation(n)[labelled:]] = np.nan
    return x, y


def test_exchanged_guesses_of_coreg_are_those_of_the_words():
    """Every fold's regressors by the word-for-word version, their guesses rolled by hand, with scikit-learn's."""
    method, rng = methods.get("coreg"), np.random.default_rng(0)
    x = rng.gamma(2.0, size=(60, 3, 4)).astype("f4")
    y = 50 + 10 * x.mean(1) @ rng.normal(size=4) + rng.normal(size=60)
    y[rng.permutation(60)[20:]] = np.nan
    full = method.resolve({"pool": 10, "iterations": 8})
    data = SimpleNamespace(features=x)
    own, other = method.alive({}, data, np.arange(60), y, full)["guesses"]
    known, unknown = np.flatnonzero(np.isfinite(y)), np.flatnonzero(np.isnan(y))
    order = unknown[chance.permutation(chance.key(0, "coreg", "pool"), 40)]
    fold = chance.permutation(chance.key(0, "coreg", "folds"), 20) % FOLDS
    v = x.mean(1, dtype="f8")
    for f in range(FOLDS):
        hidden, seen = known[fold == f], known[fold != f]
        peer, part = Peer(k=3, p1=2, p2=5, iterations=8, pool=10), np.full(60, np.nan)
        part[seen] = y[seen]
        peer.fit(x, part, order)
        errors = []
        for r in range(ROLLS + 1):
            scores = []
            for j, p in enumerate((2, 5)):
                picked = [(u, label) for _, by, u, label in peer.picked if by == 1 - j]
                who, labels = (np.array(column) for column in zip(*picked, strict=True))
                at = np.concatenate([seen, who])
                knn = KNeighborsRegressor(3, p=p).fit(v[at], np.concatenate([y[seen], np.roll(labels, r)]))
                scores.append(knn.predict(v[hidden]))
            errors.append((np.mean(scores, 0) - y[hidden]) ** 2)
        assert np.allclose(own[fold == f], errors[0], rtol=1e-9)
        assert np.allclose(other[fold == f], np.mean(errors[1:], 0), rtol=1e-9)


def test_guesses_of_coreg_are_on_where_they_help_and_off_on_the_surrogate():
    """The rule is the same for a method without gradients; on the quick surrogate its guesses are worth nothing."""
    data = load("surrogate")
    x, y = line(n=len(data), labelled=len(data))
    clear = type(data)(name="line", features=x, scores=y, ids=data.ids, table=data.table)
    runs = [{"fraction": 0.4}, {"fraction": 0.4, "exchange": True}]
    on, control = (r.metrics for r in train("coreg", clear, official(clear), runs))
    assert on["guesses_state"] == "on" and on["guesses_index"] > 0.3
    assert control["guesses_state"] == "off" and control["guesses_t"] < 3
    off = train("coreg", data, official(data), runs[:1])[0].metrics
    assert off["guesses_state"] == "off" and abs(off["guesses_t"]) < 2


def test_a_control_of_coreg_picks_as_well_and_joins_with_another_guess():
    method, (x, y) = methods.get("coreg"), line()
    data = SimpleNamespace(features=x)
    found = [
        method.fit(data, np.arange(240), y, method.resolve({"exchange": e, "iterations": 1})) for e in (False, True)
    ]
    for i in (1, 2):
        plain, control = (fit[f"y{i}"] for fit in found)
        assert np.array_equal(found[0][f"x{i}"], found[1][f"x{i}"]) and len(plain) == 17
        assert np.array_equal(plain[:16], control[:16]) and plain[16] != control[16]
