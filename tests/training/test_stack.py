"""One run or many: the stack against ordinary modules in float64, and against itself alone."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import advance, make_stack, noise_set, scores

from aqa_lib import chance, methods
from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.tasks import SCORES
from aqa_lib.training import train
from aqa_lib.training.packing import stacks
from aqa_lib.training.stack import BLOCK, Queue, Stack
from benchmarks.plain.oracle import OracleS4AQA

S4AQA = methods.get("s4aqa")


VARIED = [
    {"seed": 3, "draw": 1, "lambda1": 40.0, "lambda2": 0.1, "lr": 5e-4, "fraction": 0.2},
    {"seed": 4, "draw": 2, "lambda1": 1.0, "lambda2": 1.0, "lr": 1e-3, "fraction": 0.4, "weight_decay": 1e-2},
    {"seed": 3, "draw": 1, "lambda1": 10.0, "lambda2": 0.5, "grl": 0.3, "fraction": 0.1},
    {"seed": 9, "draw": 0, "lambda1": 0.0, "lambda2": 0.0, "fraction": 0.2},
    *({"seed": s, "draw": s, "lr": 2e-4 * (s + 1)} for s in range(4)),
]


def same_state(stack, k, alone):
    """The largest difference between run k of a stack and a lone run, over weights and statistics."""
    a, b = stack.model.state(k), alone.model.state(0)
    return max(float(np.abs(a[n] - b[n]).max()) for n in a)


@pytest.mark.slow
@pytest.mark.parametrize(("D", "N", "B", "steps"), [(256, 200, 64, 50), (1024, 120, 32, 50)], ids=["middle", "paper"])
def test_a_run_of_a_stack_of_eight_has_the_bits_it_has_alone(D, N, B, steps):
    data = noise_set(N, 10, D)
    runs = [{**r, "batch": B, "fraction": max(r.get("fraction", 0.2), 0.1)} for r in VARIED]
    eight = make_stack("s4aqa", data, runs)
    advance(eight, steps)
    for k in range(8) if D == 256 else (6,):
        alone = make_stack("s4aqa", data, runs[k : k + 1])
        advance(alone, steps)
        assert same_state(eight, k, alone) == 0.0


def test_tiny_stacks_agree_with_lone_runs():
    data = noise_set(80, 10, 64)
    runs = [{**r, "batch": 16} for r in VARIED]
    eight = make_stack("s4aqa", data, runs)
    advance(eight, 50)
    for k in range(8):
        alone = make_stack("s4aqa", data, runs[k : k + 1])
        advance(alone, 50)
        assert same_state(eight, k, alone) <= 1e-6


def test_loss_terms_switched_on_and_off_share_a_stack_without_touching_each_other():
    data = noise_set(120, 10, 256)
    terms = [(False, False), (True, False), (False, True), (True, True)]
    runs = [{"seed": 5, "fraction": 0.3, "recover": r, "align": a} for r, a in terms]
    mixed = make_stack("s4aqa", data, runs)
    advance(mixed, 20)
    for k in range(4):
        alone = make_stack("s4aqa", data, runs[k : k + 1])
        advance(alone, 20)
        assert same_state(mixed, k, alone) == 0.0
    states = [mixed.model.state(k)["regressor.first.weight"] for k in range(4)]
    assert all(np.abs(states[i] - states[j]).max() > 0 for i in range(4) for j in range(i))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; the same is exact on a CPU")
def test_on_a_gpu_a_run_of_a_stack_agrees_within_the_stated_tolerance():
    """cuBLAS may choose another algorithm for another number of runs: relative 1e-3 after 50 steps in fp32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    data = noise_set(200, 10, 256)
    runs = [{**r, "batch": 64, "fraction": 0.4} for r in VARIED]
    eight = make_stack("s4aqa", data, runs, device="cuda")
    advance(eight, 50)
    for k in (1, 6):
        alone = make_stack("s4aqa", data, runs[k : k + 1], device="cuda")
        advance(alone, 50)
        a, b = eight.model.state(k), alone.model.state(0)
        assert all(np.linalg.norm(a[n] - b[n]) <= 1e-3 * max(np.linalg.norm(b[n]), 1e-3) for n in a)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_runs_that_leave_do_not_touch_the_others(optimiser):
    data = noise_set(120, 10, 64)
    runs = [{**r, "optimiser": optimiser, "momentum": 0.9} for r in VARIED]
    whole, sliced = make_stack("s4aqa", data, runs), make_stack("s4aqa", data, runs)
    advance(whole, 30)
    advance(sliced, 10)
    sliced.select([1, 4, 7])
    advance(sliced, 20, start=10)
    for i, k in enumerate([1, 4, 7]):
        a, b = whole.model.state(k), sliced.model.state(i)
        assert max(np.abs(a[n] - b[n]).max() for n in a) <= 1e-6


@pytest.mark.parametrize("masks", [1, 2])
def test_the_stack_of_one_equals_ordinary_modules_in_float64(masks):
    """50 steps of Adam with dropout: losses at each step and the weights at the end, to 1e-12."""
    torch.manual_seed(0)
    data = noise_set(90, 6, 32)
    run = {"seed": 7, "fraction": 0.4, "batch": 8, "masks": masks, "lambda1": 7.0, "lambda2": 0.3, "grl": 0.8}
    stack = make_stack("s4aqa", data, [run], dtype=torch.float64)
    oracle = OracleS4AQA(6, 32).double().load(stack.model, 0)
    optimiser = torch.optim.Adam(oracle.parameters(), lr=5e-4, weight_decay=1e-4)
    widths = [c.weight.shape[-1] for c in stack.model.encoder.convs]
    for step in range(50):
        batch = stack.batch(step)
        terms = S4AQA.losses(stack.model, batch)
        keep = S4AQA.keep(batch)[0]  # [T,B]
        masked = torch.stack([torch.nonzero(keep[:, i] == 0).flatten() for i in range(8)])
        assert masked.shape == (8, masks)
        drop = [[mask_by_hand(batch.keys[f"drop{i}"][0, s], (6, 8, c)) for i, c in enumerate(widths)] for s in range(3)]
        x_l, x_u = batch.x[0, 0].transpose(0, 1), batch.x[0, 1].transpose(0, 1)
        loss, parts = oracle.loss(x_l, batch.y[0], x_u, masked, 7.0, 0.3, 0.8, drop)
        for mine, theirs in zip(list(terms.values()), [loss, *parts], strict=True):
            assert abs(mine.item() - theirs.item()) <= 1e-12 * max(1, abs(theirs.item()))
        stack.model.differentiate(terms["loss"])
        stack.optimiser.step()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    copy = OracleS4AQA(6, 32).double().load(stack.model, 0)
    for mine, theirs in zip(copy.parameters(), oracle.parameters(), strict=True):
        assert (mine - theirs).norm() <= 1e-12 * theirs.norm()
    for layer, norm in enumerate(oracle.norms):
        mine = stack.model.encoder.norms[layer]
        assert torch.allclose(mine.mean[0], norm.running_mean, atol=1e-12)
        assert torch.allclose(mine.var[0], norm.running_var, rtol=1e-12)
    oracle.eval()
    expected = oracle.regressor(oracle.encode(torch.as_tensor(data.features, dtype=torch.float64)))[:, 0]
    predicted = scores(stack, np.arange(90))[0] * stack.labels[0].scale
    assert np.abs(predicted - expected.detach().numpy()).max() < 1e-11


def mask_by_hand(key, shape):
    """Dropout's bits [B,T,C] from `chance.words` in numpy: byte by byte, half of them dropped."""
    n = int(np.prod(shape))
    words = chance.words(np.uint64(key.item() % 2**64), -(-n // 8))
    kept = words.astype("<u8").view(np.uint8)[:n] >= 128
    return torch.from_numpy(kept.reshape(shape)).double().transpose(0, 1)


def test_queue_visits_every_item_once_an_order_and_depends_on_its_place_alone():
    queue = Queue(np.arange(10, 17), 3, "labelled")
    items = queue(0, 70).reshape(10, 7)
    assert (np.sort(items, 1) == np.arange(10, 17)).all()
    assert len({tuple(order) for order in items}) > 5
    assert (queue(25, 13) == queue(0, 70)[25:38]).all()
    assert (Queue(np.arange(10, 17), 4, "labelled")(0, 70) != queue(0, 70)).any()


def test_a_block_boundary_changes_nothing():
    stack = make_stack("s4aqa", noise_set(), [{"batch": 4, "fraction": 0.3}])
    late = make_stack("s4aqa", noise_set(), [{"batch": 4, "fraction": 0.3}])
    for step in (BLOCK - 1, BLOCK, BLOCK + 1):
        stack.batch(step - 1)
        assert torch.equal(stack.batch(step).x, late.batch(step).x)


# the loop


def small(**kw):
    return {"steps": 40, "batch": 8, "fraction": 0.3, **kw}


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_numbers_are_items_of_all_runs_and_lists_of_numbers_one_a_run(kind):
    stack = make_stack("s4aqa", noise_set(60, 4), [{"seed": 0}, {"seed": 1}])  # two runs, two items
    for_all, own = stack.predict(kind([3, 7])), stack.predict([kind([3, 7]), [5]])
    assert [len(out["score"]) for out in for_all] == [2, 2] and [len(out["score"]) for out in own] == [2, 1]
    assert np.array_equal(for_all[0]["score"], own[0]["score"])
    assert np.allclose(stack.predict([5])[1]["score"], own[1]["score"])


def test_train_gives_a_lone_run_and_a_stacked_one_the_same_result():
    data = noise_set()
    runs = [small(seed=i, draw=i) for i in range(3)] + [
        small(seed=0, steps=25),
        small(recover=False, align=False),
    ]
    together = train("s4aqa", data, official(data), runs)
    for k, run in enumerate(runs):
        (alone,) = train("s4aqa", data, official(data), [run])
        pd.testing.assert_frame_equal(alone.predictions, together[k].predictions, rtol=1e-5, atol=1e-5)
        assert together[k].complete and together[k].metrics["steps_taken"] == run["steps"]
    again = train("s4aqa", data, official(data), runs)
    assert all(a.predictions.equals(b.predictions) for a, b in zip(again, together, strict=True))
    assert list(together[0].curve["step"]) == list(range(4, 41, 4))


def test_a_run_without_unlabelled_videos_rides_along():
    data = noise_set()
    runs = [small(fraction=1.0, recover=False, align=False), small()]
    together = train("s4aqa", data, official(data), runs)
    (alone,) = train("s4aqa", data, official(data), runs[:1])
    pd.testing.assert_frame_equal(alone.predictions, together[0].predictions, rtol=1e-5, atol=1e-5)


def test_a_diverging_run_leaves_alone_and_says_why():
    data = noise_set()
    runs = [small(seed=1), small(seed=1, lr=1e12), small(seed=2)]
    ended = []
    results = train("s4aqa", data, official(data), runs, on_result=lambda place, r: ended.append(place))
    assert not results[1].complete and "diverged" in results[1].reason and "lr" in results[1].reason
    assert sorted(ended) == [0, 1, 2] and ended[0] == 1
    calm = train("s4aqa", data, official(data), [runs[0], runs[2]])
    for k, c in ((0, 0), (2, 1)):
        pd.testing.assert_frame_equal(results[k].predictions, calm[c].predictions, rtol=1e-5, atol=1e-5)


def test_divergence_is_seen_in_the_last_step_and_whoever_else_is_in_the_stack():
    data = noise_set()
    (result,) = train("s4aqa", data, official(data), [small(steps=1, lr=1e30)])
    assert not result.complete and "prediction is not finite" in result.reason
    wild = small(seed=1, lr=1e12)
    (alone,) = train("s4aqa", data, official(data), [wild])
    _, company = train("s4aqa", data, official(data), [small(seed=1, every=3), wild])
    assert alone.reason == company.reason


def test_what_does_not_fit_is_refused_before_the_first_run():
    data, ended = noise_set(), []
    with pytest.raises(UserError, match="masks = 50"):
        train("s4aqa", data, official(data), [small(), small(masks=50)], on_result=lambda *r: ended.append(r))
    assert not ended


def test_patience_stops_a_run_and_only_that():
    data = noise_set(120)
    runs = [
        small(fraction=0.6, validation=0.3, patience=1, lr=0.5, steps=100),
        small(fraction=0.6, steps=100),
    ]
    hasty, patient = train("s4aqa", data, official(data), runs)
    assert hasty.metrics["steps_taken"] < 100 == patient.metrics["steps_taken"]
    errors = hasty.curve["validation_mse"].to_numpy()
    assert errors[-1] >= errors[:-1].min()


def test_no_score_of_an_unlabelled_or_test_video_reaches_a_run():
    data = noise_set()
    split = official(data)
    s = S4AQA.resolve(small(how="random"))
    labels = SCORES.labels(data, split, s)
    hidden = np.setdiff1d(np.arange(len(data)), labels.train)
    assert np.isnan(labels.scores[hidden]).all() and np.isfinite(labels.scores[labels.train]).all()
    stack = Stack(S4AQA, data, split, [s], [labels], "cpu")
    assert torch.isnan(stack.y[0, torch.as_tensor(hidden)]).all()
    scores = data.scores.copy()
    scores[hidden] = np.arange(len(hidden)) - 1e6  # `random` draws look at no score, so nothing a run does may change
    other = dataclasses.replace(data, scores=scores)
    a, b = (train("s4aqa", d, split, [small(how="random")])[0] for d in (data, other))
    assert np.array_equal(a.predictions["step_40"], b.predictions["step_40"])


def test_stacks_are_of_equal_shape_and_of_equal_sets():
    data = noise_set()
    runs = [S4AQA.resolve(r) for r in [{}, {"batch": 8}, {"lambda1": 3.0}, {"recover": False}, {"seed": 5}]]
    assert sorted(map(sorted, stacks(S4AQA, data, runs, "cpu"))) == [[0, 2, 3, 4], [1]]
    many = 4 * [runs[0]] + 4 * [runs[3]] + [S4AQA.resolve({"align": False})]
    assert sorted(map(sorted, stacks(S4AQA, data, many, "cpu"))) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert sorted(map(len, stacks(S4AQA, data, [runs[0]] * 7, "cpu", at_once=3))) == [2, 2, 3]


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"lamda1": 1.0}, ["lamda1", "lambda1"]),
        ({"lambda1": -1.0}, ["lambda1", "-1.0", "0"]),
        ({"lambda1": "40"}, ["lambda1", "float"]),
        ({"steps": 2.5}, ["steps", "int"]),
        ({"fraction": 0.02}, ["0.02", "labels"]),
        ({"fraction": 0.0}, ["fraction", "(0, 1]"]),
        ({"optimiser": "adma"}, ["adma", "adam"]),
        ({"masks": 5}, ["masks", "5"]),
        ({"fraction": 1.0}, ["fraction", "unlabelled"]),
        ({"patience": 2}, ["patience", "validation"]),
        ({"validation": 0.9, "fraction": 0.3}, ["validation", "labels"]),
    ],
)
def test_bad_settings_are_one_sentence_before_anything_is_trained(run, words):
    data = noise_set()
    with pytest.raises(UserError) as error:
        train("s4aqa", data, official(data), [run])
    assert all(w in str(error.value) for w in words) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="s4aqa"):
        methods.get("s4aaq")
