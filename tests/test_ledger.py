"""The ledger in one process: names of runs, states, what is written and read back, the table, `aqa runs`."""

import errno
import hashlib
import json
import math
import os
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aqa_lib.cli import main
from aqa_lib.errors import UserError
from aqa_lib.study import claims, identity
from aqa_lib.study.claims import Heartbeat
from aqa_lib.study.ledger import STATES, Ledger, code_version, run_id


def spec(seed=0, method="ridge", **more):
    return {
        "method": method,
        "data": {"name": "surrogate", "size": "quick"},
        "split": "official",
        "settings": {"seed": seed, "fraction": 0.4, **more},
    }


def tables(n=50):
    random = np.random.default_rng(n)
    curve = pd.DataFrame({"step": np.arange(5), "loss": random.random(5).astype(np.float32)})
    ids = [f"{i:03d}" for i in range(n - 2)] + ["NA", "a,b"]
    bits = random.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)  # any float32 there is
    predictions = pd.DataFrame({"id": ids, "predicted": bits, "score": random.normal(size=n) * 1e-7})
    predictions.loc[0, "predicted"] = np.float32("nan")
    return curve, predictions


def finish(claim, spearman=0.5, **more):
    return claim.complete({"spearman": spearman}, *tables(), **more)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "outputs" / "explore")


# ---- the name of a run


def test_id_is_the_hash_of_canonical_json():
    text = '{"a":[1,2.5,null,true],"b":{"x":40,"y":"\\u00e9"}}'
    same = {"b": {"y": "é", "x": 40.0}, "a": (np.int64(1), np.float64(2.5), None, True)}
    assert run_id(same) == hashlib.sha256(text.encode()).hexdigest()[:16]


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=4), max_leaves=8
)
specs = st.dictionaries(st.text(), values, max_size=5)


def equal(a, b):
    """Whether two settings mean the same: numbers by value, but True is not 1, and a tuple is a list."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def shuffled(value, data):
    """The same with its dicts built in another order, whole numbers as floats, lists as tuples."""
    if isinstance(value, dict):
        return {k: shuffled(value[k], data) for k in data.draw(st.permutations(list(value)))}
    if isinstance(value, list):
        return tuple(shuffled(v, data) for v in value)
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    return value


@settings(max_examples=60, deadline=None)
@given(specs, st.data())
def test_order_and_spelling_do_not_change_the_id(run, data):
    assert run_id(shuffled(run, data)) == run_id(run) == run_id(json.loads(json.dumps(run)))


@settings(max_examples=200, deadline=None)
@given(specs, st.text(), leaves | st.sampled_from([1, True, 1.0, "1", None, 0, False, -0.0]), values)
def test_ids_are_equal_exactly_where_settings_are(run, name, a, b):
    one, other = run | {name: a}, run | {name: b}
    assert (run_id(one) == run_id(other)) == equal(one, other)


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_what_is_not_finite_cannot_name_a_run(value):
    with pytest.raises(UserError, match=r"spec\.settings\.lr\[1\] is (nan|inf)"):
        run_id({"settings": {"lr": [0.1, value]}})


def test_what_is_not_plain_cannot_name_a_run(tmp_path):
    with pytest.raises(UserError, match="spec.data.root is a PosixPath|WindowsPath"):
        run_id({"data": {"root": tmp_path}})
    with pytest.raises(UserError, match="spec.data: a name in it must be text, not int 3"):
        run_id({"data": {3: 1}})


def test_code_version_changes_with_the_sources_and_does_without_git(tmp_path, monkeypatch):
    package = tmp_path / "aqa_lib"
    (package / "study").mkdir(parents=True)
    source = package / "study" / "identity.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(identity, "__file__", str(source))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    fresh = code_version.__wrapped__
    first = fresh()
    assert first.startswith("src.") and fresh() == first
    source.write_text("x = 2\n")
    changed = fresh()
    assert changed != first
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert fresh() == changed


def test_code_version_names_the_commit(tmp_path, monkeypatch):
    package = tmp_path / "aqa_lib"
    package.mkdir()
    (package / "study").mkdir()
    source = package / "study" / "identity.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(identity, "__file__", str(source))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    try:
        for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
            identity._git(tmp_path, *words)
        commit = identity._git(tmp_path, "rev-parse", "HEAD")
    except OSError:
        pytest.skip("git is not installed")
    assert code_version.__wrapped__().split("+")[0] == commit[:12]
    source.write_text("x = 2\n")
    assert code_version.__wrapped__().split("+")[0] == commit[:12] + "-dirty"


# ---- one run


def test_a_run_from_absent_to_complete(ledger):
    id = run_id(spec())
    assert ledger.state(id) == "absent" and ledger.ids() == [] and not ledger.folder.exists()
    claim = ledger.claim(spec())
    assert claim.id == id and ledger.state(id) == "running"
    assert ledger.claim(spec()) is None
    with pytest.raises(UserError, match=f"run {id} in .* is running, so it has no result"):
        ledger.read(id)
    assert finish(claim) is True
    assert ledger.state(id) == "complete" and ledger.claim(spec()) is None
    assert sorted(os.listdir(ledger.path(id))) == ["curve.csv", "metrics.json", "predictions.csv", "run.json"]
    assert finish(claim) is False  # once is enough


def test_what_is_written_reads_back_to_the_same_bits(ledger):
    weights = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "scale": np.float32(2)}
    curve, predictions = tables()
    claim = ledger.claim(spec(lr=np.float32(0.1), name="é"))
    metrics = {"spearman": np.float64(1 / 3), "n": np.int64(7), "nothing": math.nan, "nested": {"a": [1, 2]}}
    claim.complete(metrics, curve, predictions, weights=weights, record={"device": "cuda:0"})
    record = ledger.read(claim.id)
    assert record.metrics == {"spearman": 1 / 3, "n": 7, "nothing": None, "nested": {"a": [1, 2]}}
    assert record.spec["settings"]["lr"] == float(np.float32(0.1)) and run_id(record.spec) == claim.id
    pd.testing.assert_frame_equal(record.curve, curve, check_exact=True)
    pd.testing.assert_frame_equal(record.predictions, predictions, check_exact=True)
    kept = record.weights()
    assert all(np.array_equal(kept[name], w) for name, w in weights.items()) and len(kept) == 2
    made = {"device": "cuda:0", "pid": os.getpid(), "code": code_version()}
    assert made.items() <= record.run.items() and record.run["versions"]["numpy"] == np.__version__
    assert record.run["started"] <= record.run["finished"]


def test_weights_are_kept_on_request_only(ledger):
    claim = ledger.claim(spec())
    finish(claim)
    with pytest.raises(UserError, match="kept no weights"):
        ledger.read(claim.id).weights()


def test_a_failed_run_says_why_and_is_tried_again_only_when_asked(ledger):
    claim = ledger.claim(spec())
    assert claim.fail("the loss is NaN at step 7")
    assert ledger.look(claim.id)[0] == "failed" and ledger.claim(spec()) is None
    with pytest.raises(UserError, match="is failed .the loss is NaN at step 7., so it has no result"):
        ledger.read(claim.id)
    again = ledger.claim(spec(), retry=True)
    assert ledger.state(again.id) == "running" and ledger.claim(spec(), retry=True) is None
    finish(again)
    assert ledger.state(again.id) == "complete" and ledger.claim(spec(), retry=True) is None


def test_a_retry_that_comes_after_another_retry_failed_does_not_train_again(ledger, monkeypatch):
    first = ledger.claim(spec())
    first.fail("one")
    late = Ledger(ledger.folder)
    seen = late.ending(first.id)
    ledger.claim(spec(), retry=True).fail("two")
    answers = iter([seen])  # what the late one saw before the other retry, then what is there
    real = Ledger.ending
    monkeypatch.setattr(late, "ending", lambda id: next(answers, None) or real(late, id))
    assert late.claim(spec(), retry=True) is None and ledger.look(first.id)[1]["reason"] == "two"


def test_a_run_completed_between_look_and_claim_is_not_trained_again(ledger, monkeypatch):
    finish(ledger.claim(spec()))
    late = Ledger(ledger.folder)
    answers = iter([None])
    monkeypatch.setattr(late, "ending", lambda id: next(answers, ("complete",)))
    assert late.claim(spec()) is None and ledger.state(run_id(spec())) == "complete"


def test_release_and_the_with_statement_leave_nothing(ledger):
    ledger.claim(spec()).release()
    with pytest.raises(ZeroDivisionError), ledger.claim(spec()):
        1 / 0  # noqa: B018
    assert ledger.state(run_id(spec())) == "absent" and ledger.ids() == []


def test_a_claim_whose_object_is_gone_does_not_block_its_own_process(ledger):
    ledger.claim(spec())  # as after an interrupted cell of a notebook
    assert ledger.state(run_id(spec())) == "stale" and finish(ledger.claim(spec()))


def test_claim_many_aligns_with_its_specs(ledger):
    finish(ledger.claim(spec(1)))
    got = ledger.claim_many([spec(0), spec(1), spec(2), spec(0)])
    assert [c and c.id for c in got] == [run_id(spec(0)), None, run_id(spec(2)), None]
    with pytest.raises(UserError):
        ledger.claim_many([spec(3), spec(math.nan)])
    assert ledger.state(run_id(spec(3))) == "absent"


def test_what_a_dead_attempt_left_is_swept(ledger):
    folder = ledger.path(run_id(spec()))
    folder.mkdir(parents=True)
    for name in ("run.json", ".metrics.json.123.tmp", "claim.123"):
        (folder / name).write_text("{")
    claim = ledger.claim(spec())
    assert os.listdir(folder) == ["claim"]
    finish(claim)
    assert ledger.state(claim.id) == "complete"


def test_outputs_deleted_under_a_running_run_cost_nothing_but_time(ledger):
    import shutil

    claim = ledger.claim(spec())
    shutil.rmtree(ledger.folder)
    assert finish(claim) and ledger.read(claim.id).metrics == {"spearman": 0.5}


# ---- other machines: the heartbeat


def elsewhere(monkeypatch):
    monkeypatch.setattr(claims, "host", lambda: "elsewhere")


def test_a_claim_of_another_machine_lives_as_long_as_its_heart_beats(ledger, monkeypatch):
    claim = ledger.claim(spec())
    with monkeypatch.context() as there:
        elsewhere(there)
        os.utime(claim.path, (time.time() - 100,) * 2)
        assert ledger.state(claim.id) == "running" and ledger.claim(spec()) is None
        os.utime(claim.path, (time.time() - 130,) * 2)
        assert ledger.state(claim.id) == "stale"
        assert Ledger(ledger.folder, expiry=200).state(claim.id) == "running"
    assert ledger.state(claim.id) == "running"  # on its own machine, its process decides


def test_heartbeat_touches_claims_and_releases_them(ledger):
    got = ledger.claim_many([spec(0), spec(1), spec(0)])
    with Heartbeat(got, every=0.02):
        finish(got[1])
        os.utime(got[0].path, (1, 1))
        deadline = time.monotonic() + 20
        while os.stat(got[0].path).st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - os.stat(got[0].path).st_mtime < 20
    assert [ledger.state(c.id) for c in got[:2]] == ["absent", "complete"]


def test_a_claimant_who_lost_its_claim_writes_nothing(ledger, monkeypatch):
    slept = ledger.claim(spec())
    os.utime(slept.path, (1, 1))
    with monkeypatch.context() as there:
        elsewhere(there)
        taker = ledger.claim(spec())
        before = os.stat(taker.path).st_mtime
        os.utime(taker.path, (2, 2))
        slept.beat()  # must not keep the other's claim alive
        assert os.stat(taker.path).st_mtime == 2
        os.utime(taker.path, (before, before))
    assert finish(slept, 0.1) is False and slept.fail("late") is False
    assert ledger.state(slept.id) == "running"
    assert finish(taker, 0.2) and ledger.read(taker.id).metrics == {"spearman": 0.2}


def test_claims_exclude_each_other_on_a_file_system_without_hard_links(ledger, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    claim = ledger.claim(spec())
    assert os.listdir(ledger.path(claim.id)) == ["claim"] and ledger.claim(spec()) is None
    assert finish(claim) and ledger.state(claim.id) == "complete"


def test_an_empty_claim_expires(ledger):
    folder = ledger.path(run_id(spec()))
    folder.mkdir(parents=True)
    (folder / "claim").touch()  # its claimant died between creating and writing it
    assert ledger.state(folder.name) == "running"
    os.utime(folder / "claim", (1, 1))
    assert ledger.state(folder.name) == "stale" and finish(ledger.claim(spec()))


def test_a_process_number_used_again_is_not_the_claimant(ledger):
    claim = ledger.claim(spec())
    owner = json.loads(open(claim.path).read())
    claim.release()
    claim.ledger.path(claim.id).mkdir()
    parent = os.getppid()
    begun = claims.process_start(parent)
    for start, state in ((begun, "running"), (begun - 1, "stale")):
        with open(claim.path, "w") as file:
            json.dump(owner | {"pid": parent, "start": start}, file)
        assert ledger.state(claim.id) == state


# ---- damage


def test_no_part_of_metrics_counts_as_complete(ledger):
    claim = ledger.claim(spec())
    finish(claim)
    path = ledger.path(claim.id) / "metrics.json"
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        assert ledger.state(claim.id) == "stale"
    for other in (b"[]", b"3", b'{"spec": {}}', b"\xff\xfe", b'{"spec": 1, "metrics": {}}'):
        path.write_bytes(other)
        assert ledger.state(claim.id) == "stale"


def test_damage_is_reported_and_the_table_goes_on(ledger):
    for seed in range(3):
        finish(ledger.claim(spec(seed)))
    id = run_id(spec(1))
    (ledger.path(id) / "metrics.json").write_text('{"id": "')
    with pytest.warns(UserWarning, match=f"run {id}: metrics.json cannot be read .* train it again"):
        assert len(ledger.table()) == 2
    row = ledger.table(STATES).set_index("id").loc[id]
    assert row["state"] == "stale" and "cannot be read" in row["reason"]
    with pytest.raises(UserError, match="is stale .metrics.json cannot be read"):
        ledger.read(id)
    finish(ledger.claim(spec(1)))
    assert len(ledger.table()) == 3


@pytest.mark.parametrize("name", ["run.json", "curve.csv", "predictions.csv"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_run_damaged_afterwards_is_said_in_a_sentence(ledger, name, how):
    claim = ledger.claim(spec())
    finish(claim)
    path = ledger.path(claim.id) / name
    path.unlink() if how == "missing" else path.write_bytes(b"")
    with pytest.raises(UserError, match="was damaged after it was written .*: delete it"):
        ledger.read(claim.id)


# ---- folders that cannot be written


def test_a_file_in_the_way_is_said_before_anything_is_trained(tmp_path):
    (tmp_path / "outputs").write_text("")
    ledger = Ledger(tmp_path / "outputs" / "explore")
    for act in (ledger.check_writable, lambda: ledger.claim(spec())):
        with pytest.raises(UserError, match="outputs/explore cannot be written .Not a directory."):
            act()
    assert ledger.ids() == [] and ledger.table().empty


def test_check_writable_leaves_nothing_but_the_folder(ledger):
    ledger.check_writable()
    assert os.listdir(ledger.folder) == []


# ---- the table


def test_table_flattens_settings_data_and_metrics(ledger):
    curve, predictions = tables()
    one = spec(0, "ridge", loss="mse", layers=[8, 4], optim={"name": "adam", "lr": 0.1})
    two = spec(1, "s4aqa", lambda1=None)
    ledger.claim(one).complete({"spearman": 0.25, "loss": 3.0, "bad": math.nan}, curve, predictions)
    ledger.claim(two).complete({"spearman": 0.75, "loss": 4.0}, curve, predictions)
    ledger.claim(spec(2)).fail("diverged")
    held = ledger.claim(spec(3))
    table = ledger.table()
    assert list(table["id"]) == sorted([run_id(one), run_id(two)])
    assert list(table)[:5] == ["id", "state", "method", "data", "split"] and list(table)[-2:] == [
        "code",
        "reason",
    ]
    row = table.set_index("id").loc[run_id(one)]
    want = {"data": "surrogate", "data.size": "quick", "seed": 0, "layers": "[8, 4]", "optim.lr": 0.1}
    want |= {
        "loss": "mse",
        "metrics.loss": 3.0,
        "spearman": 0.25,
        "state": "complete",
        "code": code_version(),
    }
    assert {k: row[k] for k in want} == want and math.isnan(row["bad"])
    assert table["spearman"].dtype == float and table["seed"].dtype == int
    assert set(table.attrs["settings"]) == {
        *("data.size", "seed", "fraction", "loss", "layers", "optim.name", "optim.lr", "lambda1")
    }
    states = ledger.table(STATES).set_index("id")["state"].to_dict()
    assert states[run_id(spec(2))] == "failed" and states[held.id] == "running" and len(states) == 4
    assert list(ledger.table(("running",))["seed"]) == [3]
    assert list(ledger.table(("failed",))["reason"]) == ["diverged"]


def test_ten_thousand_runs_in_five_seconds(ledger):
    claim = ledger.claim(spec(12345678, **{f"knob{i}": i / 10 for i in range(16)}))
    finish(claim)
    text = (ledger.path(claim.id) / "metrics.json").read_text()
    for seed in range(10_000):
        folder = ledger.folder / f"{seed:016x}"
        folder.mkdir()
        (folder / "metrics.json").write_text(text.replace("12345678", str(seed)))
    ledger.delete([claim.id])
    start = time.process_time()
    table = ledger.table()
    seconds = time.process_time() - start
    assert sorted(table["seed"]) == list(range(10_000)) and (table["spearman"] == 0.5).all()
    assert seconds < 5


# ---- deleting


def test_delete_refuses_running_runs_and_takes_the_rest(ledger, monkeypatch):
    finish(ledger.claim(spec(0)))
    ledger.claim(spec(1)).fail("no")
    held = ledger.claim(spec(2))
    with pytest.raises(UserError, match=f"run {held.id} is running .*nothing was deleted"):
        ledger.delete(ledger.ids())
    assert len(ledger.ids()) == 3
    ledger.delete([run_id(spec(0)), run_id(spec(1))])
    assert ledger.ids() == [held.id] and sorted(os.listdir(ledger.folder)) == [held.id]


def test_an_interrupted_delete_leaves_no_half_run(ledger, monkeypatch):
    import shutil

    finish(ledger.claim(spec(0)))
    finish(ledger.claim(spec(1)))
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(shutil, "rmtree", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        ledger.delete([run_id(spec(0))])
    assert ledger.ids() == [run_id(spec(1))]
    ledger.delete([run_id(spec(1))])
    assert os.listdir(ledger.folder) == []


def test_ids_may_be_abbreviated(ledger):
    for seed in range(40):
        ledger.claim(spec(seed)).fail("x")
    ids = ledger.ids()
    assert all(ledger.find(id[:n]) == id for id in ids for n in (6, 16))
    with pytest.raises(UserError, match="begins the ids of 40 runs"):
        ledger.find("")
    with pytest.raises(UserError, match="no run in .* begins with 'xyz'"):
        ledger.find("xyz")


# ---- aqa runs


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Four complete runs of each of two methods, a failed and a stale one; the values of s4aqa."""
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    ledger = Ledger(tmp_path / "explore")
    for seed in range(4):
        finish(ledger.claim(spec(seed, alpha=1)), 0.5 + seed / 100)
        finish(ledger.claim(spec(seed, "s4aqa", lambda1=0.5)), 0.7 + seed**2 / 100)
    ledger.claim(spec(9, "s4aqa")).fail("the loss is NaN")
    ledger.claim(spec(8))
    return ledger


def aqa(capsys, *words):
    code = main(["runs", *words])
    out, err = capsys.readouterr()
    assert (code == 0) == (err == "")
    return out if code == 0 else (code, err)


def test_list_filters_sorts_and_writes_json_and_csv(study, capsys):
    out = aqa(capsys, "list")
    assert (
        "10 runs: 8 complete, 1 failed, 1 stale" in out
        and "data.size=quick" in out.split("the same in all:")[1]
    )
    rows = json.loads(
        aqa(capsys, "list", "--where", "method=s4aqa", "--state", "complete", "--sort=-seed", "--json")
    )
    assert [row["seed"] for row in rows] == [3, 2, 1, 0] and rows[0]["spearman"] == 0.79
    out = aqa(
        capsys, "list", "--where", "seed=2.0", "--where", "lambda1=0.50", "--columns", "seed,method", "--csv"
    )
    assert out == "seed,method\n2,s4aqa\n"
    assert "the loss is NaN" in aqa(capsys, "list", "--study", "explore", "--state", "failed")
    assert "no run in" in aqa(capsys, "list", "--state", "running")


def test_compare_is_students_interval(study, capsys):
    (row,) = json.loads(aqa(capsys, "compare", "--where", "method=s4aqa", "--json"))
    values = np.array([0.70, 0.71, 0.74, 0.79])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    want = {
        "method": "s4aqa",
        "n": 4,
        "mean": values.mean(),
        "sd": values.std(ddof=1),
        "low": low,
        "high": high,
    }
    assert row == pytest.approx(want)
    out = aqa(capsys, "compare")
    assert out.index("s4aqa") < out.index("ridge") and "mixed" not in out
    assert "mixed within a group, choose with --where or --by: alpha, lambda1, method" in aqa(
        capsys, "compare", "--by", "fraction"
    )


def test_show_takes_the_beginning_of_an_id(study, capsys):
    id = run_id(spec(1, "s4aqa", lambda1=0.5))
    out = aqa(capsys, "show", id[:8])
    assert id in out and "spearman: 0.71" in out and "lambda1: 0.5" in out and "predictions.csv" in out
    assert "the loss is NaN" in aqa(capsys, "show", run_id(spec(9, "s4aqa")))


def test_delete_asks_for_yes(study, capsys):
    assert "1 runs would be deleted for good: add --yes" in aqa(capsys, "delete", "--state", "failed")
    assert len(study.ids()) == 10
    aqa(capsys, "delete", "--state", "failed", "--yes")
    aqa(capsys, "delete", "--state", "stale", "--yes")
    aqa(capsys, "delete", run_id(spec(1, alpha=1))[:10], "--yes")
    assert len(study.ids()) == 7 and run_id(spec(1, alpha=1)) not in study.ids()
    held = study.claim(spec(7))
    code, sentence = aqa(capsys, "delete", held.id, "--yes")
    assert code == 2 and "is running, nothing was deleted" in sentence
    aqa(capsys, "delete", "--where", "method=ridge", "--yes")
    assert study.state(held.id) == "running" and len(study.ids()) == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "--where", "metod=ridge"), "unknown column 'metod': did you mean 'method'?"),
        (("list", "--where", "method=rigde"), "no run has it, did you mean 'ridge'?"),
        (("list", "--where", "method"), "write COLUMN=VALUE"),
        (("list", "--study", "explor"), "unknown study 'explor': did you mean 'explore'? (choices: explore)"),
        (("list", "--sort", "spearmn"), "unknown column 'spearmn': did you mean 'spearman'?"),
        (("compare", "--metric", "spearmn"), "unknown metric 'spearmn': did you mean 'spearman'?"),
        (("show", "zzz"), "has an id that begins with 'zzz'"),
        (("delete",), "say which runs"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(study, capsys, words, sentence):
    code, said = aqa(capsys, *words)
    assert code == 2 and sentence in said.replace("Say", "say") and said.count("\n") == 1


def test_no_runs_yet_and_several_studies(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "new"))
    assert "there are no runs in" in aqa(capsys, "list")[1]
    for name in ("a", "b"):
        Ledger(tmp_path / "new" / name).claim(spec()).fail("x")
    assert "say which with --study (choices: a, b)" in aqa(capsys, "list")[1]
    assert "is complete, nothing can be compared" in aqa(capsys, "compare", "--study", "b")[1]
