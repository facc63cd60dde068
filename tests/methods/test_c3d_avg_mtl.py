"""C3D-AVG-MTL: loss and gradients against ordinary modules in float64, its vocabulary by hand, and what it refuses."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import gradients, losses_of, make_stack, noise_set

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.methods.c3d_avg_mtl import encode
from aqa_lib.models.c3d_avg import Unroll
from aqa_lib.models.layers import GRUCell
from aqa_lib.training import train
from benchmarks.plain.c3d_avg_mtl import Peer

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mtl_aqa"
RUN = {"batch": 8, "fraction": 0.4, "steps": 10, "drop": 0.0}


def dives(n=60, T=5, D=16, seed=0):
    """Noise with attributes and captions; some have no caption."""
    data, rng = noise_set(n, T, D, seed), np.random.default_rng(seed)
    table = data.table.assign(
        position=rng.choice(["free", "pike", "tuck"], n),
        armstand=rng.random(n) < 0.3,
        rotation=rng.choice(["back", "forward", "inward", "reverse"], n),
        somersaults=rng.integers(0, 10, n),
        twists=rng.integers(0, 8, n),
        caption=[" ".join(rng.choice(list("abcdefgh"), 1 + i % 6)) if i % 5 else None for i in range(n)],
    )
    return dataclasses.replace(data, table=table)


@pytest.mark.parametrize("settings", [{}, {"attributes": 0.3, "captions": 2.0, "words": 6, "length": 4}])
def test_loss_and_gradients_are_those_of_ordinary_modules(settings):
    """Also with fewer ids than words, and captions that are cut."""
    data = dives()
    stack = make_stack("c3d_avg_mtl", data, [{**RUN, **settings}], dtype=torch.float64)
    batch, terms = stack.batch(0), losses_of(stack)
    targets = {name: batch.target(name)[0] for name in ("attributes", "words")}
    assert (targets["words"] < 0).all(1).any(), "a video without a caption is among them"
    peer = Peer(data, drop=0.0, **settings).double().load(stack)
    loss = peer.loss(batch.x[0, 0].transpose(0, 1), batch.y[0], None, targets=targets)
    assert terms["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    loss.backward()
    stack.model.differentiate(terms["loss"])
    mine = {
        name: view[0] for (name, _), (_, view) in zip(stack.model.named_parameters(), stack.model.parts, strict=True)
    }
    for name, theirs in {
        "fc.weight": peer.fc.weight,
        "caption.first.weight_x": peer.first.weight_ih_l0,
        "caption.first.weight_h": peer.first.weight_hh_l0,
        "caption.first.bias_x": peer.first.bias_ih_l0,
        "caption.first.bias_h": peer.first.bias_hh_l0,
        "caption.second.weight_x": peer.second.weight_ih_l0,
        "caption.second.weight_h": peer.second.weight_hh_l0,
        "caption.second.bias_h": peer.second.bias_hh_l0,
        "caption.last.weight": peer.last.weight,
    }.items():
        assert torch.allclose(mine[name], theirs.grad.T if theirs.dim() > 1 else theirs.grad, rtol=1e-9, atol=1e-13), (
            name
        )
    assert torch.allclose(mine["caption.vectors.weight"], peer.vectors.weight.grad, rtol=1e-9, atol=1e-13)
    wide = torch.stack(
        [torch.cat([h.weight.grad, h.weight.grad.new_zeros(10 - len(h.weight), 32)]) for h in peer.heads]
    )
    assert torch.allclose(mine["attributes.linear.weight"].T, wide.flatten(0, 1), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("masked", [False, True])
def test_the_unrolled_cell_is_the_cell(masked):
    """States from a start of their own, and their gradients, against the cell step by step; masked, a state stays."""
    torch.manual_seed(0)
    K, L, B, C, H = 2, 4, 3, 5, 6
    cell = GRUCell(runs=K, inputs=C, hidden=H).double()
    for p in cell.parameters():
        p.data = torch.randn(p.shape, dtype=torch.float64)
    x, start = (torch.randn(K, *s, dtype=torch.float64, requires_grad=True) for s in ((L, B, C), (B, H)))
    into = torch.baddbmm(cell.bias_x[:, None], x.flatten(1, 2), cell.weight_x).unflatten(1, (L, B))
    mask = (torch.rand(K, L, B) < 0.6).double() if masked else None
    mine, h, theirs = Unroll.apply(into, start, cell.weight_h, cell.bias_h, mask), start, []
    for t in range(L):
        after = cell(x[:, t], h)
        h = after if mask is None else torch.where(mask[:, t, :, None] == 1, after, h)
        theirs.append(h)
    theirs = torch.stack(theirs, 1)
    assert torch.allclose(mine, theirs, rtol=1e-12, atol=1e-14)
    g, inputs = torch.randn_like(mine), (x, start, *cell.parameters())
    for a, b in zip(torch.autograd.grad(mine, inputs, g), torch.autograd.grad(theirs, inputs, g), strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-13)


def test_a_vocabulary_by_hand():
    """Words 0 .. 3; of items 0 and 2, word 3 is said three times, 1 twice, 0 once; two of them become known."""
    words = np.array([[3, 1, 3, 0], [2, 2, 2, 2], [1, 3, -1, -1], [-1, -1, -1, -1]])
    ids, known = encode(words, np.array([0, 2, 3]), 4)
    assert known == 4
    assert ids.tolist() == [[2, 3, 2, 1, 0], [-1] * 5, [3, 2, 0, -1, -1], [-1] * 5]
    assert encode(words, np.array([3]), 4)[1] == 2  # nothing said


def test_captions_and_attributes_of_other_videos_have_no_effect():
    """All that is not a labelled video's is replaced; one new word more."""
    data = dives()
    run = {**RUN, "drop": 0.5, "steps": 4}
    (labels,) = make_stack("c3d_avg_mtl", data, [run]).labels
    other = np.setdiff1d(np.arange(len(data)), labels.train)
    table = data.table.copy()
    table.loc[other, "caption"] = "entirely other words that nobody has said and which are many more"
    table.loc[other, ["position", "somersaults"]] = ["free", 9]
    changed = dataclasses.replace(data, table=table)
    a, b = (train("c3d_avg_mtl", d, official(d), [run])[0].predictions for d in (data, changed))
    assert a.equals(b)


def test_a_run_without_captions_beside_others_is_the_run_alone():
    data = dives()
    runs = [{**RUN, "captions": weight, "seed": i, "draw": i} for i, weight in enumerate((0.0, 0.5, 0.01))]
    together = train("c3d_avg_mtl", data, official(data), runs, weights=True)
    for run, result in zip(runs, together, strict=True):
        (alone,) = train("c3d_avg_mtl", data, official(data), [run], weights=True)
        for part, value in alone.weights.items():
            assert np.allclose(result.weights[part], value, rtol=0, atol=2e-5), part


def test_each_term_moves_its_own_heads():
    stack = make_stack("c3d_avg_mtl", dives(), [RUN])
    moved = {t: {p for p, size in gradients(stack, t).items() if size} for t in ("score", "attributes", "captions")}
    assert moved == {"score": {"fc", "score"}, "attributes": {"fc", "attributes"}, "captions": {"caption"}}
    assert losses_of(stack)["captions"].item() > 0


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the annotations of MTL-AQA are not at {REAL}")
def test_real_captions_are_coded():
    """MTL-AQA's own attributes and texts, without features of its videos."""
    data = data_sets.load("mtl_aqa", REAL)
    found = methods.get("c3d_avg_mtl").targets(data)
    assert found["attributes"].shape == (1412, 5) and found["attributes"].max(0).tolist() == [2, 1, 3, 9, 7]
    assert found["words"].min() == -1 and (found["words"] >= 0).any(1).all()


def test_a_set_without_attributes_is_one_sentence():
    method, data = methods.get("c3d_avg_mtl"), noise_set(60, 5, 16)
    with pytest.raises(UserError, match="no column position, armstand, rotation, somersaults, twists, caption; take"):
        train("c3d_avg_mtl", data, official(data), [RUN])
    table = dives().table.drop(columns="caption")
    silent = dataclasses.replace(data, table=table)
    with pytest.raises(UserError, match="no column caption; take"):
        train("c3d_avg_mtl", silent, official(data), [RUN])
    assert train("c3d_avg_mtl", silent, official(data), [{**RUN, "captions": 0.0}])[0].complete
    odd = dataclasses.replace(data, table=pd.concat([table.assign(caption="a", twists=11)], axis=1))
    with pytest.raises(UserError, match="column twists of data set 'noise' has 11, which is none of 0, 1"):
        method.check(method.resolve(RUN), odd)
