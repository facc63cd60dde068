"""Videos of unequal length: a stack with masks against plain loops over videos, each at its own length, in float64;
and what padding, company, windows and lengths never seen in training may not change."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import advance, losses_of, make_stack
from ragged_cases import Run, even, padded, ragged_set, runs_of, stack_of, uneven, with_more

from aqa_lib import methods
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.ragged import Ragged, means
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.models.layers import NormReluDrop
from aqa_lib.training import train
from aqa_lib.training.pool import Pool
from aqa_lib.training.restore import trained
from benchmarks.methods import plain as written_out
from benchmarks.plain import ragged as plain

PEERS = [name for name in methods.names() if written_out(name).exists()]  # those that benchmarks/plain has
MASKED = [name for name in PEERS if methods.get(name).masks and methods.get(name).gradient]
AA = {"recover": False, "align": False}
PLAIN = [  # every one that takes masks and has steps
    ("s4aqa", AA),
    ("s4aqa", {"lambda1": 7.0, "lambda2": 0.3, "grl": 0.8}),
    ("s4aqa", {"masks": 2, "recover_labelled": True}),
    ("s4aqa", {"pretext": "still", "recover_labelled": True}),
    *((name, {}) for name in MASKED if name not in ("s4aqa", "usdl", "rankup", "rank_alignment", "pseudo_labels")),
    ("usdl", {"output": "expectation"}),  # the likeliest bin would hide small differences
    ("rankup", {"align_ranks": True, "refresh": 2, "confidence": 0.55}),
    ("rank_alignment", {"refresh": 2}),
    ("pseudo_labels", {"refresh": 3}),
]
MORE = [("s4aqa", {"modality": "rgb+flow"}), ("s4aqa", {"alignment": "mmd_rbf"})]


@pytest.fixture(scope="module")
def data():
    return uneven()


def gradients_of(stack, terms):
    """{name: [K,...]} of the parameters that the optimiser moves."""
    stack.model.differentiate(terms["loss"])
    names = [n for n, p in stack.model.named_parameters() if p.requires_grad]
    return {n: view.clone() for n, (_, view) in zip(names, stack.model.parts, strict=True)}


def apart(stack, name, step=3):
    """The largest difference of each kind between a stack and the plain loops of its runs."""
    stack.method.before(stack, step)
    runs = [Run(stack, k, step) for k in range(len(stack.runs))]
    terms = losses_of(stack, step)
    found = gradients_of(stack, terms)
    statistics = dict(stack.model.named_buffers())
    out = {"loss": 0.0, "gradient": 0.0, "statistics": 0.0, "prediction": 0.0}

    def far(kind, mine, theirs):
        assert torch.isfinite(mine).all() and torch.isfinite(theirs).all()
        mine, theirs = mine.detach(), theirs.detach()
        size = max(1.0, float(theirs.abs().max()))
        out[kind] = max(out[kind], float((mine - theirs).abs().max()) / size)

    for k, run in enumerate(runs):
        expected = getattr(plain, name)(run)
        assert expected.keys() == terms.keys()
        for term, value in expected.items():
            assert float(value.detach()) != 0, term
            far("loss", terms[term][k], value)
        leaves = {n: run.w[n] for n in found}
        g = torch.autograd.grad(expected["loss"], list(leaves.values()), allow_unused=True)
        for (n, leaf), theirs in zip(leaves.items(), g, strict=True):
            far("gradient", found[n][k], torch.zeros_like(leaf) if theirs is None else theirs)
        for norm, (mean, var) in run.statistics.items():
            far("statistics", statistics[f"{norm}.mean"][k], mean)
            far("statistics", statistics[f"{norm}.var"][k], var)
    for k, mine in enumerate(stack.predict(np.arange(len(stack.data[0])))):
        run = Run(stack, k, step)
        with torch.no_grad():
            theirs = plain.predict(run, name, [run.video(stack.data[k], i) for i in range(len(stack.data[k]))])
        far("prediction", torch.from_numpy(mine["score"]) * stack.labels[k].scale, theirs)
    return out


@pytest.mark.parametrize(("name", "settings"), PLAIN, ids=str)
def test_a_stack_with_masks_is_a_loop_over_videos(name, settings, data):
    """Every loss, the gradient of every parameter, running statistics and predictions, with dropout."""
    stack = stack_of(name, data, settings)
    batch = stack.batch(3)
    lengths = torch.from_numpy(data.lengths)[batch.items]
    assert torch.equal(batch.length, lengths) and len(lengths.unique()) > 4
    found = apart(stack, name)
    assert max(found.values()) < 1e-9, found


def test_the_library_has_a_plain_loop_of_thirteen_methods_with_masks():
    assert len(MASKED) == 13


def one_step_more(monkeypatch):
    honest = Pool.times

    def times(self, items, t=None):
        rows, mask = honest(self, items, t)
        more = torch.arange(mask.shape[2])[:, None] <= self.length[items].unsqueeze(2)
        return rows, more.to(mask.dtype)

    monkeypatch.setattr(Pool, "times", times)


def statistics_over_all(monkeypatch):
    honest = NormReluDrop.forward

    def forward(self, y, keys=None, valid=None):
        out = honest(self, y, keys)
        return out if valid is None else out * valid.unsqueeze(-1)

    monkeypatch.setattr(NormReluDrop, "forward", forward)


def no_mask_before_the_second_convolution(monkeypatch):
    """What the first layer makes of the segments beyond the end is left to the second."""
    honest = NormReluDrop.forward

    def forward(self, y, keys=None, valid=None):
        out = honest(self, y, keys, valid)
        if valid is None or not self.first:
            return out
        return out + self.beta.relu()[:, None, None, None] * (1 - valid).unsqueeze(-1)

    monkeypatch.setattr(NormReluDrop, "forward", forward)


@pytest.mark.parametrize("mutant", [one_step_more, statistics_over_all, no_mask_before_the_second_convolution])
def test_the_loops_see_a_mask_that_is_wrong(mutant, data, monkeypatch):
    stack = stack_of("s4aqa", data, AA)
    for layer, norm in enumerate(stack.model.encoder.norms):
        norm.first = layer == 0
        norm.beta.data += 0.1
    assert max(apart(stack, "s4aqa").values()) < 1e-9
    mutant(monkeypatch)
    found = apart(stack, "s4aqa")
    assert found["loss"] > 1e-6 and found["gradient"] > 1e-6, found


# padding


@pytest.mark.parametrize(("name", "settings"), [*PLAIN, *MORE], ids=str)
def test_longer_padding_changes_no_prediction_and_no_loss(name, settings, data):
    """Batches as long as before, five segments longer, and 300 longer by a video that is in no split."""
    for dtype in (torch.float32, torch.float64):
        stacks = [stack_of(name, d, settings, 0, dtype=dtype) for d in (data, data, with_more(data, 309))]
        stacks[1].T = stacks[1].pool.T = 14
        advance(stacks[0], 2)
        for stack in stacks[1:]:  # the weights of the first, so that no rounding of earlier steps is compared
            for (_, mine), (_, theirs) in zip(stack.parts(), stacks[0].parts(), strict=True):
                mine.data.copy_(theirs.data)
            stack.memory = {n: padded(v, stack.memory.get(n, v)) for n, v in stacks[0].memory.items()}
        assert [s.batch(2).x.shape[2] for s in stacks] == [9, 14, 309]
        scores = [np.stack([out["score"] for out in s.predict(np.arange(60))]) for s in stacks]
        assert np.ptp(scores[0], axis=1).min() > 0
        assert np.array_equal(scores[1], scores[0]) and np.array_equal(scores[2], scores[0])
        if dtype == torch.float64:
            terms = [losses_of(s, 2) for s in stacks]
            grads = [gradients_of(s, t) for s, t in zip(stacks, terms, strict=True)]
            for other, grad in zip(terms[1:], grads[1:], strict=True):
                for n, value in terms[0].items():
                    assert torch.allclose(other[n], value, rtol=1e-12, atol=0), n
                assert max(float((grad[n] - g).abs().max()) for n, g in grads[0].items()) < 1e-9


def test_given_padding_changes_nothing_at_all(data):
    """From the array with lengths to the trained predictions: ten more segments of zeros, or of anything."""
    x, rng = data.features.padded(), np.random.default_rng(3)
    zeros, noise = np.zeros((60, 10, 16), "f4"), rng.random((60, 10, 16), dtype="f4")
    beyond = np.where(np.arange(9)[:, None] < data.lengths[:, None, None], x, rng.random(x.shape, dtype="f4"))
    arrays = [x, np.concatenate([x, zeros], 1), np.concatenate([beyond, noise], 1)]
    sets = [dataclasses.replace(data, features=a, lengths=data.lengths, views={}) for a in arrays]
    found = [train("s4aqa", d, official(d), runs_of("s4aqa", {})) for d in sets]
    for k in range(2):
        assert found[0][k].complete and np.isfinite(found[0][k].predictions.iloc[:, 1:]).all(axis=None)
        assert all(found[0][k].predictions.equals(f[k].predictions) for f in found[1:])
        assert all(found[0][k].curve.equals(f[k].curve) for f in found[1:])


# equal lengths


@pytest.mark.parametrize(("name", "settings"), [*PLAIN, *MORE], ids=str)
def test_equal_lengths_are_the_special_case(name, settings):
    """Ragged videos of one length have no mask and the bits of the array; masks of ones give the same numbers."""
    array = even()
    same = {n: Ragged(x.reshape(-1, 16), np.full(60, 6)) for n, x in [("rgb", array.features), *array.views.items()]}
    ragged = dataclasses.replace(array, features=same.pop("rgb"), views=same)
    a, b, forced = (stack_of(name, d, settings, 0) for d in (array, ragged, array))
    forced.pool.ragged = True
    for stack in (a, b, forced):
        advance(stack, 2)
    assert a.batch(2).mask is None and b.batch(2).mask is None and (forced.batch(2).mask == 1).all()
    assert torch.equal(a.batch(2).length, forced.batch(2).length)
    assert torch.equal(a.model.flat, b.model.flat)
    x, y, z = ([out["score"] for out in s.predict(np.arange(60))] for s in (a, b, forced))
    assert np.array_equal(x, y) and np.allclose(x, z, rtol=1e-12, atol=0)
    terms = [losses_of(s, 2) for s in (a, b, forced)]
    for n, value in terms[0].items():
        assert torch.equal(value, terms[1][n]) and torch.allclose(value, terms[2][n], rtol=1e-11, atol=1e-12), n


# lengths that training has not seen


@pytest.mark.parametrize("name", ["s4aqa", "mean_teacher", "ucvme", "usdl", "c3d_avg_stl", "c3d_avg_mtl"])
def test_lengths_never_trained_on_are_scored(name):
    """Of the tested videos some have 1, 2, 14 and 30 segments; the trained ones have 3 to 9."""
    lengths = uneven().lengths.copy()
    lengths[-4:] = 1, 2, 14, 30
    settings = {"output": "expectation"} if name == "usdl" else {}
    found = apart(stack_of(name, ragged_set(lengths), settings), name)
    assert found["prediction"] < 1e-9 and found["loss"] < 1e-9


@pytest.mark.parametrize("name", ["s4aqa", "usdl"])
def test_a_trained_run_scores_any_length_also_where_all_have_one(name, data):
    settings = {"output": "expectation"} if name == "usdl" else {}
    (run,) = train(name, data, official(data), runs_of(name, settings, 1), weights=True)
    run = trained(run.weights, run.about)
    for T in (1, 2, 4, 9, 25):  # 4: as many as shares
        x = np.random.default_rng(T).random((3, T, 16), dtype="f4")
        alike = AssessmentSet(name="alike", features=x, ids=np.arange(3))
        mixed = AssessmentSet(name="mixed", features=Ragged.of([*x, np.ones((T + 3, 16))]), ids=np.arange(4))
        score = run.predict(alike)["score"]
        assert not alike.ragged and mixed.ragged and np.isfinite(score).all()
        assert np.allclose(score, run.predict(mixed)["score"][:3], rtol=1e-6)


def test_recovery_needs_more_segments_than_it_masks():
    short = ragged_set([2, *uneven().lengths[1:]])
    s4aqa = methods.get("s4aqa")
    with pytest.raises(UserError, match="masks = 2 leaves nothing of the 2 segments of the shortest video") as error:
        s4aqa.fits(s4aqa.resolve({"masks": 2}), short)
    assert "\n" not in str(error.value) and "recover = false" in str(error.value)
    for run in ({"masks": 1}, {"masks": 2, "recover": False}, {"masks": 2, "pretext": "still"}):
        s4aqa.fits(s4aqa.resolve(run), short)


# encodings and recovery errors


def test_encodings_and_recovery_errors_of_unequal_lengths_are_those_of_each_video():
    """Each at its own length by the plain loop, also of lengths never trained on; NaN beyond the end."""
    s4aqa, stack = methods.get("s4aqa"), stack_of("s4aqa", uneven())
    videos = [torch.rand(t, 16).double() for t in (1, 2, 7, 14)]
    x = Ragged.of([v.numpy() for v in videos])
    stack.model.eval()
    run = Run(stack, 0, 3)
    f, errors = s4aqa.encode(stack.model, x), s4aqa.recovery_error(stack.model, x)
    assert f.shape == (4, 4 * 16) and errors.shape == (4, 14)
    with torch.no_grad():
        assert np.allclose(f, plain.encode(run, videos), rtol=0, atol=1e-12)
        for n, v in enumerate(videos):
            assert np.isnan(errors[n, len(v) :]).all()
            for t in range(len(v)):
                kept = v.clone()
                kept[t] = 0
                by_hand = (plain.head(run, "decoder", plain.encode(run, [kept]), norm=True)[0] - v[t]).abs().mean()
                assert errors[n, t] == pytest.approx(float(by_hand), abs=1e-12)
        same = s4aqa.encode(stack.model, videos[3][None])  # an array of one length goes through its masks, too
        assert np.allclose(same, f[3:], rtol=0, atol=1e-12)
    with pytest.raises(UserError, match="have 1 to 14 segments, but the network was trained on 6 each"):
        s4aqa.encode(stack_of("s4aqa", even()).model, x)
    with pytest.raises(UserError, match="have 7 segments"):
        s4aqa.recovery_error(stack_of("s4aqa", even()).model, torch.ones(2, 7, 16))


def test_recovery_errors_against_another_video_end_where_either_does():
    stack = stack_of("s4aqa", uneven())
    stack.model.eval()
    x = Ragged.of([np.random.default_rng(t).random((t, 16)) for t in (1, 2, 7, 14)])
    errors = methods.get("s4aqa").recovery_error(stack.model, x, other=1)  # of 1 against 2, ... of 14 against 1
    assert np.isfinite(errors).sum(1).tolist() == [1, 2, 7, 1] and np.isnan(errors[3, 1:]).all()


# methods without masks, and without steps


@pytest.mark.parametrize("name", ["ridge", "svr", "coreg"])
def test_closed_forms_see_the_mean_segment(name):
    """Whole numbers and lengths of powers of two, so that a mean is exact and the results are equal to the bit."""
    rng = np.random.default_rng(5)
    videos = [rng.integers(0, 16, (2 ** rng.integers(1, 4), 16)).astype("f4") for _ in range(60)]
    base = uneven()
    data = dataclasses.replace(base, features=Ragged.of(videos), lengths=None, views={})
    by_hand = np.stack([sum(v.astype("f8")) / len(v) for v in videos])
    assert np.array_equal(means(data.features), by_hand)
    flat = dataclasses.replace(base, features=by_hand[:, None], lengths=None, views={})
    a, b = (train(name, d, official(d), [{"fraction": 0.5}])[0].predictions for d in (data, flat))
    assert data.ragged and a.equals(b) and np.ptp(a.iloc[:, -1]) > 0


@pytest.mark.parametrize("name", ["action_net", "s4l", "trs"])
def test_methods_without_masks_refuse_unequal_lengths(name, data):
    with pytest.raises(UserError) as error:
        train(name, data, official(data), [{}])
    words = str(error.value)
    assert "\n" not in words and all(w in words for w in (name, "3 to 9", "cut them into equally many", "masks"))


# company


@pytest.mark.parametrize(("name", "settings"), [*PLAIN, *MORE], ids=str)
def test_a_run_on_unequal_lengths_is_the_run_alone_also_when_others_leave(name, settings, data):
    stack = stack_of(name, data, settings, 3, count=3)
    stack.select([0, 2])
    advance(stack, 3, start=3)
    predicted = stack.predict(np.arange(60))
    for place, k in enumerate([0, 2]):
        alone = make_stack(name, data, runs_of(name, settings, 3)[k : k + 1], dtype=torch.float64)
        advance(alone, 6)
        mine, theirs = stack.model.state(place), alone.model.state(0)
        assert max(np.abs(mine[n] - theirs[n]).max() for n in mine) < 1e-6
        assert np.allclose(predicted[place]["score"], alone.predict(np.arange(60))[0]["score"], rtol=1e-6)


def test_a_run_of_a_stack_has_the_bits_it_has_alone():
    """In fp32 at the sizes at which it has them on equal lengths."""
    data = uneven(120, most=10, D=256)
    runs = [{**r, "batch": 64, "fraction": 0.4} for r in runs_of("s4aqa", {}, 3)]
    three = make_stack("s4aqa", data, runs)
    advance(three, 8)
    for k in (0, 2):
        alone = make_stack("s4aqa", data, runs[k : k + 1])
        advance(alone, 8)
        mine, theirs = three.model.state(k), alone.model.state(0)
        assert all(np.array_equal(mine[n], theirs[n]) for n in mine)


@pytest.mark.parametrize("make", [uneven, even])
def test_a_run_goes_on_where_those_with_unlabelled_videos_have_left(make):
    data, (run, other) = make(), runs_of("s4aqa", {"steps": 12})
    together = train("s4aqa", data, official(data), [{**run, **AA}, {**other, "steps": 5}])
    (alone,) = train("s4aqa", data, official(data), [{**run, **AA}])
    assert all(r.complete for r in together)
    assert np.allclose(together[0].predictions.iloc[:, 1:], alone.predictions.iloc[:, 1:], rtol=1e-5)


# windows


def four(stack, items, step):
    """A random segment of each quarter of a video, in order; of a shorter one all segments."""
    place, length = torch.arange(4)[:, None], stack.pool.length[items].unsqueeze(2)
    draw = torch.rand((*items.shape[:2], 4, items.shape[2]), generator=torch.Generator().manual_seed(step))
    return torch.where(length < 4, place, ((place + draw) * length / 4).long())


def test_a_batch_of_windows(data, monkeypatch):
    """Rows, views, mask and length follow the window, and the loss is that of the loop over windows."""
    monkeypatch.setattr(methods.get("s4aqa"), "times", four, raising=False)
    stack, flow = stack_of("s4aqa", data), stack_of("s4aqa", data, {"modality": "rgb+flow"})
    batch, seen = stack.batch(3), flow.batch(3).view("flow")
    t = four(stack, batch.items, 3)
    assert batch.x.shape[2] == 4 and (data.lengths[batch.items] == 3).any()
    runs = [Run(stack, k, 3) for k in range(2)]
    for k, s, b in np.ndindex(batch.items.shape):
        item = int(batch.items[k, s, b])
        inside = t[k, s, :, b][t[k, s, :, b] < data.lengths[item]]
        n = len(inside)
        assert n == min(4, data.lengths[item]) == batch.length[k, s, b]
        assert batch.mask[k, s, :, b].tolist() == [1.0] * n + [0.0] * (4 - n)
        for mine, theirs in ((batch.x, data.features), (seen, data.view("flow"))):
            assert np.array_equal(mine[k, s, :n, b], theirs[item][inside]) and not mine[k, s, n:, b].any()
        (runs[k].labelled, runs[k].unlabelled)[s][b] = torch.from_numpy(data.features[item][inside]).double()
    loss = losses_of(stack, 3)["loss"]
    for k, run in enumerate(runs):
        assert loss[k].item() == pytest.approx(plain.s4aqa(run)["loss"].item(), rel=1e-10)
    for result in train("s4aqa", data, official(data), runs_of("s4aqa", {})):
        assert result.complete and np.isfinite(result.predictions.iloc[:, 1:]).all(axis=None)
