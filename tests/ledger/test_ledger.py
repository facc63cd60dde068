"""The ledger in one process: states, locks, what is written and read back, damage, the table, deleting."""

import errno
import json
import math
import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from ledger_cases import finish, spec, tables

from aqa_lib.errors import UserError
from aqa_lib.ledger.checksums import sealed
from aqa_lib.ledger.identity import code_version
from aqa_lib.ledger.ledger import STATES, Ledger, run_id


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "outputs" / "explore")


# ---- one run


def test_a_run_from_absent_to_complete(ledger):
    id = run_id(spec())
    assert ledger.state(id) == "absent" and ledger.ids() == [] and not ledger.folder.exists()
    lock = ledger.lock(spec())
    assert lock.id == id and ledger.state(id) == "running"
    assert ledger.lock(spec()) is None
    with pytest.raises(UserError, match=f"run {id} in .* is running, so it has no result"):
        ledger.read(id)
    assert finish(lock) is True
    assert ledger.state(id) == "complete" and ledger.lock(spec()) is None
    assert sorted(os.listdir(ledger.path(id))) == ["curve.csv", "metrics.json", "predictions.csv", "run.json"]
    assert finish(lock) is False  # once is enough


def test_what_is_written_reads_back_to_the_same_bits(ledger):
    weights = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "scale": np.float32(2)}
    curve, predictions = tables()
    lock = ledger.lock(spec(lr=np.float32(0.1), name="é"))
    metrics = {"spearman": np.float64(1 / 3), "n": np.int64(7), "nothing": math.nan, "nested": {"a": [1, 2]}}
    lock.complete(metrics, curve, predictions, weights=weights, record={"device": "cuda:0"})
    record = ledger.read(lock.id)
    assert record.metrics == {"spearman": 1 / 3, "n": 7, "nothing": None, "nested": {"a": [1, 2]}}
    assert record.spec["settings"]["lr"] == float(np.float32(0.1)) and run_id(record.spec) == lock.id
    pd.testing.assert_frame_equal(record.curve, curve, check_exact=True)
    pd.testing.assert_frame_equal(record.predictions, predictions, check_exact=True)
    kept = record.weights()
    assert all(np.array_equal(kept[name], w) for name, w in weights.items()) and len(kept) == 2
    made = {"device": "cuda:0", "pid": os.getpid(), "code": code_version(record.spec)}
    assert made.items() <= record.run.items() and record.run["versions"]["numpy"] == np.__version__
    assert record.run["started"] <= record.run["finished"]


def test_predictions_of_labels_that_were_held_out_stand_in_a_table_of_their_own(ledger):
    curve, predictions = tables()
    held = predictions.iloc[:2].reset_index(drop=True)
    bare, lock = ledger.lock(spec(1)), ledger.lock(spec(2))
    bare.complete({"rho": 0.5}, curve, predictions)
    lock.complete({"rho": 0.5}, curve, predictions, held=held)
    assert ledger.read(bare.id).held is None and not (ledger.path(bare.id) / "held.csv").exists()
    record = ledger.read(lock.id)
    pd.testing.assert_frame_equal(record.held, held, check_exact=True)
    pd.testing.assert_frame_equal(record.predictions, predictions, check_exact=True)
    (ledger.path(lock.id) / "held.csv").unlink()
    with pytest.raises(UserError, match="damaged"):
        ledger.read(lock.id)


def test_weights_are_kept_on_request_only(ledger):
    lock = ledger.lock(spec())
    finish(lock)
    with pytest.raises(UserError, match="kept no weights"):
        ledger.read(lock.id).weights()


def test_a_failed_run_says_why_and_is_tried_again_only_when_asked(ledger):
    lock = ledger.lock(spec())
    assert lock.fail("the loss is NaN at step 7")
    assert ledger.look(lock.id)[0] == "failed" and ledger.lock(spec()) is None
    with pytest.raises(UserError, match="is failed .the loss is NaN at step 7., so it has no result"):
        ledger.read(lock.id)
    again = ledger.lock(spec(), retry=True)
    assert ledger.state(again.id) == "running" and ledger.lock(spec(), retry=True) is None
    finish(again)
    assert ledger.state(again.id) == "complete" and ledger.lock(spec(), retry=True) is None


def test_a_retry_that_comes_after_another_retry_failed_does_not_train_again(ledger, monkeypatch):
    first = ledger.lock(spec())
    first.fail("one")
    late = Ledger(ledger.folder)
    seen = late.ending(first.id)
    ledger.lock(spec(), retry=True).fail("two")
    answers = iter([seen])  # what the late one saw before the other retry, then what is there
    real = Ledger.ending
    monkeypatch.setattr(late, "ending", lambda id: next(answers, None) or real(late, id))
    assert late.lock(spec(), retry=True) is None and ledger.look(first.id)[1]["reason"] == "two"


def test_a_run_completed_between_look_and_lock_is_not_trained_again(ledger, monkeypatch):
    finish(ledger.lock(spec()))
    late = Ledger(ledger.folder)
    answers = iter([None])
    monkeypatch.setattr(late, "ending", lambda id: next(answers, ("complete",)))
    assert late.lock(spec()) is None and ledger.state(run_id(spec())) == "complete"


def test_release_and_the_with_statement_leave_nothing(ledger):
    ledger.lock(spec()).release()
    with pytest.raises(ZeroDivisionError), ledger.lock(spec()):
        1 / 0  # noqa: B018
    assert ledger.state(run_id(spec())) == "absent" and ledger.ids() == []


def test_a_lock_whose_object_is_gone_does_not_block_its_own_process(ledger):
    ledger.lock(spec())  # as after an interrupted cell of a notebook
    assert ledger.state(run_id(spec())) == "stale" and finish(ledger.lock(spec()))


def test_lock_many_aligns_with_its_specs(ledger):
    finish(ledger.lock(spec(1)))
    got = ledger.lock_many([spec(0), spec(1), spec(2), spec(0)])
    assert [c and c.id for c in got] == [run_id(spec(0)), None, run_id(spec(2)), None]
    with pytest.raises(UserError):
        ledger.lock_many([spec(3), spec(math.nan)])
    assert ledger.state(run_id(spec(3))) == "absent"


def test_what_a_dead_attempt_left_is_swept(ledger):
    folder = ledger.path(run_id(spec()))
    folder.mkdir(parents=True)
    for name in ("run.json", ".metrics.json.123.tmp", "lock.123"):
        (folder / name).write_text("{")
    lock = ledger.lock(spec())
    assert os.listdir(folder) == ["lock"]
    finish(lock)
    assert ledger.state(lock.id) == "complete"


def test_files_that_no_run_wrote_stay(ledger):
    folder = ledger.path(run_id(spec()))
    (folder / "figures").mkdir(parents=True)
    others = {"my_notes.txt", "curve.csv.old", "lock.txt", ".curve.csv.tmp", "run.json.bak", "figures"}
    for name in [*others - {"figures"}, "run.json", ".run.json.0123456789ab.tmp", "lock.0123abcd", ".lock.12.tmp"]:
        (folder / name).write_text("mine")
    lock = ledger.lock(spec())
    assert set(os.listdir(folder)) == others | {"lock"}
    assert finish(lock) and all((folder / name).read_text() == "mine" for name in others - {"figures"})
    with pytest.raises(UserError, match="is no file of a run, nothing was deleted: move it away"):
        ledger.delete([lock.id])
    assert others < set(os.listdir(folder)) and ledger.state(lock.id) == "complete"


def test_nothing_is_cleaned_or_deleted_through_a_link(ledger, tmp_path):
    thesis, folder = tmp_path / "thesis", ledger.path(run_id(spec()))
    thesis.mkdir()
    (thesis / "run.json").write_text("all of it")
    ledger.folder.mkdir(parents=True)
    folder.symlink_to(thesis)
    for act in (
        lambda: ledger.lock(spec()),
        lambda: ledger.check_writable([folder.name]),
        lambda: ledger.delete([folder.name]),
    ):
        with pytest.raises(UserError, match="is a link, and no run is written or deleted through one"):
            act()
    assert os.listdir(thesis) == ["run.json"] and folder.is_symlink()
    assert ledger.table(STATES).empty  # there is no run in it


def test_a_link_in_the_folder_of_a_run_is_replaced_and_not_followed(ledger, tmp_path):
    thesis, folder = tmp_path / "thesis.tex", ledger.path(run_id(spec()))
    thesis.write_text("all of it")
    folder.mkdir(parents=True)
    for name in ("curve.csv", "metrics.json", "failed.json"):
        (folder / name).symlink_to(thesis)
    lock = ledger.lock(spec(), retry=True)
    assert finish(lock) and ledger.state(lock.id) == "complete" and thesis.read_text() == "all of it"


def test_outputs_deleted_under_a_running_run_cost_nothing_but_time(ledger):
    lock = ledger.lock(spec())
    shutil.rmtree(ledger.folder)
    assert finish(lock) and ledger.read(lock.id).metrics == {"spearman": 0.5}


# ---- damage


def test_no_part_of_metrics_counts_as_complete(ledger):
    lock = ledger.lock(spec())
    finish(lock)
    path = ledger.path(lock.id) / "metrics.json"
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        assert ledger.state(lock.id) == "stale"
    for other in (b"[]", b"3", b'{"spec": {}}', b"\xff\xfe", b'{"spec": 1, "metrics": {}}'):
        path.write_bytes(other)
        assert ledger.state(lock.id) == "stale"


def test_damage_is_reported_and_the_table_goes_on(ledger):
    for seed in range(3):
        finish(ledger.lock(spec(seed)))
    id = run_id(spec(1))
    (ledger.path(id) / "metrics.json").write_text('{"id": "')
    with pytest.warns(UserWarning, match=f"run {id}: metrics.json cannot be read .* train it again"):
        assert len(ledger.table()) == 2
    row = ledger.table(STATES).set_index("id").loc[id]
    assert row["state"] == "stale" and "cannot be read" in row["reason"]
    with pytest.raises(UserError, match="is stale .metrics.json cannot be read"):
        ledger.read(id)
    finish(ledger.lock(spec(1)))
    assert len(ledger.table()) == 3


def odd(path, how):
    """Put something in the place of a file."""
    path.unlink(missing_ok=True)
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "circle":
        path.symlink_to(path)
    else:
        path.write_text(how)


ODD = ["folder", "pipe", "circle", "[" * 100_000, "{", "[]", '{"spec": 3, "metrics": {}}', '{"spec": {"data": "x"}}']
ODD += ['{"spec": {"settings": [1]}, "metrics": {}}', '{"spec": {}, "metrics": [3]}', '{"spec": {"data": [[1]]}}']


@pytest.mark.parametrize("how", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", ["metrics.json", "failed.json", "lock"])
def test_an_odd_file_is_said_in_the_row_of_its_run_and_the_others_stand(ledger, name, how):
    for seed in range(3):
        finish(ledger.lock(spec(seed))) if seed != 1 or name == "metrics.json" else ledger.lock(spec(seed)).fail("x")
    id = run_id(spec(1))
    if name == "lock":
        (ledger.path(id) / "failed.json").unlink()
    odd(ledger.path(id) / name, how)
    table = ledger.table(STATES).set_index("id")
    row = table.loc[id]
    said = {
        "metrics.json": "metrics.json cannot be read",
        "failed.json": "failed.json",
        "lock": "lock is no lock of ours",
    }
    assert said[name] in row["reason"] and row["state"] != "complete"
    assert (table["state"] == "complete").sum() == 2 and (table["spearman"] == 0.5).sum() == 2
    assert ledger.look(id)[0] == row["state"] and ledger.ending(id) != ("complete",)
    with pytest.raises(UserError, match=f"run {id} in .* is {row['state']}"):
        ledger.read(id)


def test_a_lock_that_notes_nonsense_is_a_running_run_without_settings(ledger):
    lock = ledger.lock(spec())
    owner = json.loads(open(lock.path).read())
    for nonsense in (3, [], {"data": "x"}, {"settings": [1]}):
        with open(lock.path, "w") as file:
            json.dump(owner | {"spec": nonsense, "metrics": 3, "reason": {}}, file)
        assert ledger.table(STATES)["state"].tolist() == ["running"]


def test_a_folder_that_cannot_be_read_is_said_in_its_row(ledger, monkeypatch):
    for seed in range(3):
        finish(ledger.lock(spec(seed)))
    id, real = run_id(spec(1)), {name: getattr(os, name) for name in ("stat", "lstat")}

    def refuse(name):
        def call(path, *args, **kwargs):
            if id in str(path) and not str(path).endswith(id):
                raise PermissionError(errno.EACCES, "Permission denied")
            return real[name](path, *args, **kwargs)

        return call

    for name in real:
        monkeypatch.setattr(os, name, refuse(name))
    table = ledger.table(STATES).set_index("id")
    assert table["state"].value_counts().to_dict() == {"complete": 2, "stale": 1}
    assert table["reason"][id] == "its folder cannot be read (Permission denied)" and ledger.ending(id) is None


@pytest.mark.parametrize("name", ["run.json", "curve.csv", "predictions.csv"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_run_damaged_afterwards_is_said_in_a_sentence(ledger, name, how):
    lock = ledger.lock(spec())
    finish(lock)
    path = ledger.path(lock.id) / name
    path.unlink() if how == "missing" else path.write_bytes(b"")
    with pytest.raises(UserError, match=f"was damaged .*{name}.*: `aqa runs repair --study explore` trains"):
        ledger.read(lock.id)


# ---- folders that cannot be written


def test_a_file_in_the_way_is_said_before_anything_is_trained(tmp_path):
    (tmp_path / "outputs").write_text("")
    ledger = Ledger(tmp_path / "outputs" / "explore")
    for act in (ledger.check_writable, lambda: ledger.lock(spec())):
        with pytest.raises(UserError, match="outputs/explore cannot be written .Not a directory."):
            act()
    assert ledger.ids() == [] and ledger.table().empty


def test_a_file_where_the_run_belongs_is_said(ledger):
    ledger.folder.mkdir(parents=True)
    ledger.path(run_id(spec())).write_text("")
    with pytest.raises(UserError, match="cannot be written .File exists., run .* was not started"):
        ledger.lock(spec())


def test_check_writable_leaves_nothing_but_the_folder(ledger):
    ledger.check_writable()
    assert os.listdir(ledger.folder) == []


# ---- the table


def test_table_flattens_settings_data_and_metrics(ledger):
    curve, predictions = tables()
    one = spec(0, "ridge", loss="mse", layers=[8, 4], optim={"name": "adam", "lr": 0.1})
    two = spec(1, "s4aqa", lambda1=None)
    ledger.lock(one).complete({"spearman": 0.25, "loss": 3.0, "bad": math.nan}, curve, predictions)
    ledger.lock(two).complete({"spearman": 0.75, "loss": 4.0}, curve, predictions)
    ledger.lock(spec(2)).fail("diverged")
    held = ledger.lock(spec(3))
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
        "code": code_version(one),
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


@pytest.mark.slow
def test_ten_thousand_runs_in_five_seconds(ledger):
    options = {f"option{i}": i / 10 for i in range(16)}
    finish(ledger.lock(spec(0, **options)))
    found = ledger.metrics(run_id(spec(0, **options)))
    for seed in range(1, 10_000):
        mine = spec(seed, **options)
        folder = ledger.path(run_id(mine))
        folder.mkdir()
        (folder / "metrics.json").write_bytes(sealed(json.dumps(found | {"id": folder.name, "spec": mine})))
    start = time.process_time()
    table = ledger.table()
    seconds = time.process_time() - start
    assert sorted(table["seed"]) == list(range(10_000)) and (table["spearman"] == 0.5).all()
    assert seconds < 5, seconds


# ---- deleting


def test_delete_refuses_running_runs_and_takes_the_rest(ledger, monkeypatch):
    finish(ledger.lock(spec(0)))
    ledger.lock(spec(1)).fail("no")
    held = ledger.lock(spec(2))
    with pytest.raises(UserError, match=f"run {held.id} is running .*nothing was deleted"):
        ledger.delete(ledger.ids())
    assert len(ledger.ids()) == 3
    ledger.delete([run_id(spec(0)), run_id(spec(1))])
    assert ledger.ids() == [held.id] and sorted(os.listdir(ledger.folder)) == [held.id]


def test_an_interrupted_delete_leaves_no_half_run(ledger, monkeypatch):
    finish(ledger.lock(spec(0)))
    finish(ledger.lock(spec(1)))
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(shutil, "rmtree", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        ledger.delete([run_id(spec(0))])
    assert ledger.ids() == [run_id(spec(1))]
    ledger.delete([run_id(spec(1))])
    assert os.listdir(ledger.folder) == []


def test_ids_may_be_abbreviated(ledger):
    for seed in range(40):
        ledger.lock(spec(seed)).fail("x")
    ids = ledger.ids()
    assert all(ledger.find(id[:n]) == id for id in ids for n in (6, 16))
    with pytest.raises(UserError, match="begins the ids of 40 runs"):
        ledger.find("")
    with pytest.raises(UserError, match="no run in .* begins with 'xyz'"):
        ledger.find("xyz")
