"""Looks at the mechanisms of a run: at whom, what they leave alone, their arithmetic, and where they must say what."""

import numpy as np
import pytest
import torch
from helpers import advance, make_stack, noise_set, three_kinds, world

from aqa_lib import methods
from aqa_lib.data import load
from aqa_lib.data.splits import official
from aqa_lib.methods._exchange import exchanged
from aqa_lib.training import Checkpoints, checkpoint, train
from aqa_lib.training.alive import Look, Looks, kept_aside, look, probes
from aqa_lib.training.restore import trained

S4AQA = methods.get("s4aqa")
LEARNING = [  # from unlabelled videos, by steps
    name
    for name in methods.names()
    if methods.get(name).gradient and methods.get(name).mechanisms(methods.get(name).resolve({}))
]
CASES = [*((name, {}) for name in LEARNING), ("s4aqa", {"balance": True}), ("s4aqa", {"alignment": "mmd_rbf"})]


def short(name, **settings):
    """A run of twelve steps, with what makes a method of another task or with rounds as quick."""
    made = {**methods.get(name).small, "fraction": 0.4, "batch": 8, "lr": 2e-3, "steps": 12, **settings}
    return {n: v for n, v in made.items() if n in methods.get(name).settings()}


@pytest.fixture(scope="module")
def small():
    return world(n_train=160, n_test=12)


# ---- who is looked at


def test_an_eighth_is_kept_aside_and_never_learnt_from(small):
    runs = [{"seed": k, "draw": k, "fraction": f, "batch": 8} for k, f in enumerate((0.1, 0.4, 0.7))]
    stack = make_stack("s4aqa", small, runs)
    split, drawn = official(small), [set() for _ in runs]
    for step in range(300):  # of two blocks
        for k, items in enumerate(stack.batch(step).items):
            drawn[k] |= set(items[1].tolist())
    items, counted = probes(stack, 2)
    items = items.numpy()
    for k, (lab, s) in enumerate(zip(stack.labels, stack.runs, strict=True)):
        aside, rest = kept_aside(lab.unlabelled, s)
        again = kept_aside(lab.unlabelled, s)[0]
        expected = {0: 18, 1: 12, 2: 0}[k]  # an eighth of 144, of 96 and of 48, where it would be six
        assert len(aside) == expected and np.array_equal(aside, again)
        assert set(aside) | set(rest) == set(lab.unlabelled) and not set(aside) & set(rest)
        assert set(aside) <= set(split.train) - set(lab.train) and not set(aside) & set(split.test)
        assert drawn[k] == set(rest)
        looked = set(items[:, k, 1][counted[:, k]].tolist())
        assert looked <= set(aside) if expected else looked <= set(lab.unlabelled)
        assert len(looked) == (expected or 48)
        assert set(items[:, k, 0].ravel()) <= set(lab.train)
    other = kept_aside(stack.labels[0].unlabelled, {**stack.runs[0], "seed": 5})[0]
    assert set(other) != set(kept_aside(stack.labels[0].unlabelled, stack.runs[0])[0])


def test_how_many_are_kept_aside():
    s = {"seed": 0, "aside": 0.125, "batch": 4}
    for n, count in ((63, 0), (64, 8), (100, 12), (1000, 125), (2000, 128)):
        assert len(kept_aside(np.arange(n), s)[0]) == count
    assert len(kept_aside(np.arange(1000), {**s, "aside": 0.0})[0]) == 0
    assert len(kept_aside(np.arange(100), {**s, "aside": 0.5, "batch": 32})[0]) == 50


def test_runs_without_mechanisms_keep_none_aside(small):
    stack = make_stack("s4aqa", small, [{"recover": False, "align": False, "fraction": 0.4}, {"fraction": 0.4}])
    lab = stack.labels[0]
    assert set(stack.queues[0][1].items) == set(lab.unlabelled)
    assert len(stack.queues[1][1].items) == len(lab.unlabelled) * 7 // 8


def test_few_videos_are_filled_up_and_those_are_not_counted(small):
    stack = make_stack("s4aqa", small, [{"fraction": 0.4, "batch": 32}])
    items, counted = probes(stack, 4)
    assert items.shape == (4, 1, 2, 32) and counted.sum(2).tolist() == [[12]] * 4  # of 96 unlabelled
    others = set(items[:, 0, 1].numpy()[~counted[:, 0]])
    assert others and not others & set(items[:, 0, 1].numpy()[counted[:, 0]])
    seen = look(stack, 0)[0]["recovery"]
    assert len(seen.own) == len(seen.other) == 12


def test_everybody_is_looked_at_as_often_and_one_batch_of_them_in_between(small):
    runs = [{"fraction": f, "batch": 8, "seed": k} for k, f in enumerate((0.1, 0.4))]
    stack = make_stack("s4aqa", small, runs)  # 18 and 12 videos: three batches and two
    items, counted = probes(stack, 4)
    assert items.shape == (12, 2, 2, 8)
    for k, n in enumerate((18, 12)):
        videos, times = np.unique(items[:, k, 1].numpy()[counted[:, k]], return_counts=True)
        assert len(videos) == n and set(times) == {4}
        alone = probes(make_stack("s4aqa", small, runs[k : k + 1]), 4)
        P = len(alone[0])
        assert torch.equal(items[:P, k], alone[0][:, 0]) and np.array_equal(counted[:P, k], alone[1][:, 0])
    items, counted = probes(stack, 0)
    assert items.shape == (1, 2, 2, 8) and counted.all()
    assert [len(row["recovery"].own) for row in look(stack, 0, rounds=0)] == [8, 8]


# ---- a look changes nothing


def bits(stack):
    named = [*stack.model.named_parameters(), *stack.model.named_buffers()]
    state = {n: v.detach().clone() for n, v in named} | {f"memory {n}": v.clone() for n, v in stack.memory.items()}
    state |= {"gradient": stack.model.flat_grad}
    return {n: v.clone().nan_to_num(nan=-7.0) for n, v in state.items()}  # unknown scores are NaN


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_a_look_changes_no_bit(name, settings, small):
    stack = make_stack(name, small, [short(name, **settings, seed=k, draw=k) for k in range(2)])
    advance(stack, 3)
    stack.method.before(stack, 3)
    before, memory, mode = bits(stack), stack.memory, stack.model.training
    first, again = look(stack, 3), look(stack, 3)
    after = bits(stack)
    assert stack.memory is memory and stack.model.training == mode
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
    assert all(norm.track for norm in stack.model.modules() if hasattr(norm, "track"))
    for a, b, run in zip(first, again, stack.runs, strict=True):
        assert set(a) == set(stack.method.mechanisms(run))
        for mechanism in a:
            assert np.array_equal(a[mechanism].own, b[mechanism].own) and a[mechanism].share == b[mechanism].share


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_a_run_with_many_looks_is_the_run_with_one(name, settings, small):
    often, once = (
        train(name, small, official(small), [short(name, **settings, every=e)], weights=True)[0] for e in (1, 12)
    )
    for part, value in once.weights.items():
        assert np.array_equal(often.weights[part], value), part
    for mechanism in methods.get(name).mechanisms(once.settings):
        assert often.curve[f"{mechanism}_t"].notna().sum() > once.curve[f"{mechanism}_t"].notna().sum() == 1
        assert often.metrics[f"{mechanism}_index"] == once.metrics[f"{mechanism}_index"]


# ---- alone, in a stack, and after a kill


def said(result):
    return {n: v for n, v in result.metrics.items() if n.endswith(("_index", "_t", "_share", "_state"))}


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_a_look_is_the_same_alone_and_in_a_stack(name, settings, small):
    runs = [
        short(name, **settings, seed=k, draw=k, steps=s, every=e) for k, s, e in ((0, 12, 3), (1, 5, 1), (2, 12, 4))
    ]
    runs[0]["fraction"] = 0.2  # more kept aside than of the others
    together = train(name, small, official(small), runs)
    for run, result in zip(runs[1:], together[1:], strict=True):
        alone, mine = said(train(name, small, official(small), [run])[0]), said(result)
        assert alone and alone.keys() == mine.keys()
        for n, value in alone.items():
            near = value if isinstance(value, str) else pytest.approx(value, rel=1e-3, abs=1e-4, nan_ok=True)
            assert mine[n] == near, n


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_states_after_a_kill_are_those_without(name, settings, small, tmp_path, monkeypatch):
    runs, save, count = [short(name, **settings, seed=k, draw=k, every=1) for k in range(2)], checkpoint.Writer.save, []
    whole = train(name, small, official(small), runs)

    class Killed(BaseException):
        pass

    def last(self, *args):
        save(self, *args)
        count.append(1)
        if len(count) == 8:  # after a look
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Writer, "save", last)
        with pytest.raises(Killed):
            train(name, small, official(small), runs, checkpoints=Checkpoints(tmp_path, ["a", "b"], seconds=0))
    again = train(name, small, official(small), runs, checkpoints=Checkpoints(tmp_path, ["a", "b"], seconds=1e9))
    for a, b in zip(whole, again, strict=True):
        assert said(a) and repr(said(a)) == repr(said(b))  # NaN included
        assert a.curve.equals(b.curve)


# ---- arithmetic


def test_what_rows_and_columns_cost_alone_is_taken_out():
    """C_ij = a_i + b_j says nothing of the pairing; with c on the diagonal every video has c."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(2, 9)), rng.normal(size=(2, 9)), rng.normal(size=(2, 9))

    def cost(r, kept=c):
        return torch.from_numpy(a + np.roll(b, -r, 1) - (kept if r == 0 else 0))

    seen = exchanged(cost)
    off = (a.sum(1) + b.sum(1)) / 9  # mean of others' costs
    assert np.allclose(seen.other.mean(1), off) and np.allclose(seen.own, a + b - c)
    d = (seen.other - seen.own).numpy()
    assert np.allclose(d - c, -((a + b) - off[:, None]) / 8)  # not more than an eighth of the rows' and columns' own
    row, column = (sum(np.roll(x, -k * r, 1) for r in range(1, 9)) / 8 for x, k in ((b, 1), (a, -1)))
    assert np.allclose(seen.other, a + row + column + b - off[:, None])


def test_index_t_and_collapse_by_hand():
    seen = Look(np.array([1.0, 2.0, 3.0, 2.0]), np.array([4.0, 4.0, 4.0, 4.0]), size=3.0, share=0.5)
    each = [0.75, 0.5, 0.25, 0.5]
    assert seen.each.tolist() == each and seen.index == 0.5
    assert seen.t() == pytest.approx(0.5 / (np.std(each, ddof=1) / 2))
    start = {2: 0.7, 3: 0.3, 5: 0.1, 7: 0.0, 11: 0.2}
    seen.videos = np.array([2, 5, 7, 11])  # not looked at this time: 3
    growth = np.array(each) - [0.7, 0.1, 0.0, 0.2]
    assert seen.t(start) == pytest.approx(growth.mean() / (np.std(growth, ddof=1) / 2))
    assert not seen.collapsed and not Look(seen.own, seen.other).collapsed
    assert Look(np.full(4, 1e-3), np.full(4, 2.9e-3), 3.0).collapsed
    assert not Look(np.full(4, 1e-3), np.full(4, 3.1e-3), 3.0).collapsed
    assert Look(np.ones(4), np.ones(4)).t() == 0.0 == Look(np.zeros(4), np.zeros(4)).index
    assert Look(np.array([1.0, np.nan]), np.ones(2)).t() == 0.0


class Two:
    """Two mechanisms, one of two views and one that may end at nothing."""

    from_the_start, transient, first = ("views",), ("adversary",), 0.0

    def unlabelled(self, settings):
        return True

    def mechanisms(self, settings):
        return ("plain", "views", "adversary")

    def working(self, settings):
        return self.first, 1.0


def seen(t, share=1.0, collapsed=False, n=16):
    """A Look of this t."""
    d = np.linspace(-1, 1, n)
    d = d / (d.std(ddof=1) / np.sqrt(n)) * 1e-3
    return Look(np.ones(n) - (1e-3 * t + d), np.ones(n), 2e3 if collapsed else None, share, np.arange(n))


def test_states_are_of_the_last_t_and_of_shares_in_the_later_half():
    looks = Looks(Two(), {"steps": 100})
    rows = [(10, 9.0, 9.0), (50, 1.0, 0.0), (60, 1.0, 0.0), (100, 4.0, 0.09)]
    for step, t, share in rows:
        adversary = seen(t if step < 100 else 0, share)
        looks.add(step, {"plain": seen(t, share), "views": seen(t, 1.0), "adversary": adversary})
    found = looks.states()
    assert found["plain_t"] == pytest.approx(4.0) and found["plain_share"] == pytest.approx(0.03)
    assert found["plain_state"] == "weak" and found["views_state"] == "on"  # the share of 9 came too early
    assert found["adversary_t"] == pytest.approx(9.0) and found["adversary_state"] == "weak"
    assert [row["step"] for row in looks.rows] == [10, 50, 60, 100]


@pytest.mark.parametrize(
    ("t", "share", "collapsed", "state"),
    [
        (3.1, 0.11, False, "on"),
        (3.1, 0.09, False, "weak"),
        (3.1, 0.021, False, "weak"),
        (3.1, 0.019, False, "off"),
        (2.9, 9.0, False, "off"),
        (-9.0, 9.0, False, "off"),
        (9.0, 9.0, True, "collapsed"),
        (9.0, np.nan, False, "on"),
    ],
)
def test_a_state_by_its_bounds(t, share, collapsed, state):
    looks = Looks(Two(), {"steps": 10})
    looks.add(10, {name: seen(t, share, collapsed) for name in looks.names})
    assert looks.states()["plain_state"] == state


def test_a_run_that_stops_early_is_looked_at_as_it_ends():
    data = noise_set(120)
    run = {"batch": 8, "fraction": 0.4, "validation": 0.3, "patience": 1, "lr": 0.5, "steps": 1000, "every": 4}
    calm = {**run, "patience": 0, "steps": 40, "lr": 1e-3}
    for runs in ([run], [run, calm]):
        result = train("s4aqa", data, official(data), runs)[0]
        assert result.metrics["steps_taken"] < 500 and result.metrics["recovery_share"] >= 0
        assert np.isfinite(result.curve["recovery_share"]).tolist() == [False] * (len(result.curve) - 1) + [True]


def test_growth_counts_where_both_sides_are_alike_before_training():
    looks = Looks(Two(), {"steps": 10})
    row = {name: seen(9.0) for name in looks.names}
    looks.start(row)
    assert looks.wants_start and set(looks.before) == {"views"}
    looks.add(10, row)
    assert looks.states()["views_state"] == "off" and looks.states()["plain_state"] == "on"


def looked(method, steps, evaluated):
    """At which of the steps of evaluation a run is looked at, and whether with all rounds."""
    looks, at = Looks(method, {"steps": steps}), []
    for step in evaluated:
        if looks.due(step):
            at.append((step, looks.final(step)))
            looks.add(step, {name: seen(1.0) for name in looks.names})
    return at


def test_looks_are_due_at_quarters_of_the_steps_at_which_mechanisms_work():
    method = Two()
    method.transient = ()
    assert looked(method, 40, range(1, 41)) == [(20, False), (30, False), (40, True)]
    assert looked(method, 40, range(7, 41, 11)) == [(29, False), (40, True)]
    method.first = 0.5  # a burn-in
    assert looked(method, 40, range(1, 41)) == [(30, False), (35, False), (40, True)]
    early = [(1, False), (10, False), (20, False), (30, False), (40, True)]  # of one that may end at nothing
    assert looked(Two(), 40, range(1, 41)) == early
    none = Looks(S4AQA, S4AQA.resolve({"recover": False, "align": False}))
    assert not none.due(600) and not none.wanting(600) and none.states() == {}
    trained_first = Looks(S4AQA, S4AQA.resolve({"pretrain": 0.5, "steps": 40}))
    assert trained_first.due(20) and trained_first.final(20)
    trained_first.add(20, {name: seen(1.0) for name in trained_first.names})
    assert not trained_first.due(40) and not trained_first.wanting(40)  # its recovery has ended


def test_a_share_is_that_of_the_gradients(small):
    run = {"fraction": 0.4, "batch": 16, "lambda1": 5.0, "lambda2": 0.3}
    stack = make_stack("s4aqa", small, [run, {**run, "seed": 1}], dtype=torch.float64)
    rows, items = look(stack, 0), probes(stack, 1)[0][0]
    count = sum(p[0].numel() for p in stack.model.encoder.parameters())
    norms = {}
    for name in ("regression", "recovery", "alignment"):
        stack.model.flat_grad.zero_()
        with stack.model.still():
            stack.model.differentiate(S4AQA.losses(stack.model, stack.probe(items, 0, 0))[name])
        norms[name] = stack.model.flat_grad[:, :count].norm(dim=1)
    for k, row in enumerate(rows):
        for name, weight in (("recovery", 5.0), ("alignment", 0.3)):
            assert row[name].share == pytest.approx((weight * norms[name] / norms["regression"])[k].item(), rel=1e-9)


def test_a_balanced_share_is_lambda(small):
    """Whatever the terms' own gradients: at the first step exactly, and then as far as norms are averages."""
    run = {"fraction": 0.4, "batch": 16, "balance": True, "lambda1": 1.0, "lambda2": 0.3}
    stack = make_stack("s4aqa", small, [run, {**run, "seed": 1, "lambda1": 0.2}], dtype=torch.float64)
    for row, lambda1 in zip(look(stack, 0), (1.0, 0.2), strict=True):
        assert row["recovery"].share == pytest.approx(lambda1, rel=1e-9)
        assert row["alignment"].share == pytest.approx(0.3, rel=1e-9)
    advance(stack, 5)
    for row, lambda1 in zip(look(stack, 5), (1.0, 0.2), strict=True):
        assert row["recovery"].share == pytest.approx(lambda1, rel=0.7)


@pytest.mark.parametrize("name", LEARNING)
def test_a_look_at_a_control_is_of_its_own_targets(name, small):
    """A run and a control of one state are looked at alike; their gradients are those of what each learns."""
    run = short(name, seed=1, **({"confidence": 0.5} if name == "rankup" else {}))  # so early no pair is as sure
    stack = make_stack(name, small, [run, {**run, **methods.get(name).control}])
    advance(stack, 4)
    for part in (*stack.model.parameters(), *stack.model.buffers(), *stack.memory.values()):
        part.data[1] = part.data[0]
    stack.method.before(stack, 4)
    plain, control = look(stack, 4)
    for mechanism in plain:
        assert np.array_equal(plain[mechanism].own, control[mechanism].own)
        assert np.array_equal(plain[mechanism].other, control[mechanism].other)
    assert any(plain[mechanism].share != control[mechanism].share for mechanism in plain)


# ---- where they must say what


def on(data, runs, fraction=0.4, **settings):
    """States of the recovery of S4AQA without alignment, and the results."""
    runs = [{"align": False, "fraction": fraction, "seed": k, "draw": k, **settings} for k in range(runs)]
    results = train("s4aqa", data, official(data), runs, weights=True)
    return [r.metrics["recovery_state"] for r in results], results


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"head": "plain", "lr": 3.2e-2, "steps": 250}, "off"),  # all of its units are dead
        ({"head": "plain", "lr": 4e-3, "steps": 600}, "on"),
        ({"head": "norm", "lr": 3.2e-2, "steps": 250}, "on"),
        ({"head": "norm", "lr": 3.2e-2, "steps": 250, "lambda1": 0.0}, "off"),  # nobody feels it
    ],
    ids=str,
)
def test_the_recovery_of_the_default_surrogate(settings, state):
    states, _ = on(load("surrogate"), 3, **settings)
    assert states == [state] * 3


@pytest.mark.slow
def test_recovery_is_learnt_from_its_own_term_alone():
    """Neither labels nor another video's segments teach it."""
    run, off, control = (kind["recovery"] for kind in three_kinds("s4aqa", {"lambda1": 0.0}, align=False))
    assert run.state.isin(["on", "weak"]).all() and (control.share > 0.005).all()
    assert run["index"].min() > 0.15 > 0.02 > max(off["index"].abs().max(), control["index"].abs().max())
    assert run.t.min() > 3 > max(off.t.max(), control.t.max())


@pytest.mark.slow
@pytest.mark.parametrize("head", ["norm", "plain"])
def test_a_recovery_that_is_on_though_worse_than_the_median(head):
    """Execution is recovered (the index tells), but nothing of it is nearer than the median of the place."""
    data = load("surrogate", n_train=1059, classes=1, nuisance=0, fast=2, rho=0.9, execution=3, seed=2)
    states, results = on(data, 2, 11 / 1059, lr=4e-3, steps=600, head=head)
    split = official(data)
    x, known = data.features[split.test], data.features[split.train]
    constant = np.abs(x - np.median(known, 0)).mean()
    for result in results:
        error = S4AQA.recovery_error(trained(result.weights, result.about).model, x).mean()
        assert error > constant
    assert states == ["on", "on"]


@pytest.mark.slow
def test_a_recovery_of_nothing_is_off_though_its_gradient_is_large():
    """Execution does not show, and nothing else goes on from segment to segment."""
    data = load("surrogate", n_train=1059, classes=1, nuisance=0, fast=2, rho=0.9, execution=0.5)
    states, results = on(data, 2, 32 / 1059, lr=4e-3, steps=600, drop=0.2)
    assert states == ["off"] * 2
    assert min(r.metrics["recovery_share"] for r in results) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("options", "off"), [({"labelled": 5, "shift": 2}, False), ({}, True)], ids=str)
def test_an_alignment_is_on_where_there_is_a_mismatch(options, off):
    """The adversary of unlabelled videos of other competitions, with another camera, and of the same ones."""
    data = load("surrogate", **options)
    made = {"recover": False, "fraction": 0.4, "lr": 8e-3, "steps": 500}
    for result in train("s4aqa", data, official(data), [{**made, "seed": k, "draw": k} for k in (1, 2)]):
        assert (result.metrics["alignment_state"] == "off") == off


def test_a_method_that_declares_no_mechanism_is_called_unseen():
    class Silent(Two):
        def mechanisms(self, settings):
            return ()

    class Supervised(Silent):
        def unlabelled(self, settings):
            return False

    assert Looks(Silent(), {"steps": 100}).states() == {"mechanism_state": "unseen"}
    assert Looks(Supervised(), {"steps": 100}).states() == {}
