"""Damage to each file of a run, in every way: nothing damaged is read as a result, and it can be trained again."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from ledger_cases import finish, spec, tables

from aqa_lib import commands
from aqa_lib.errors import UserError
from aqa_lib.ledger.checksums import intact, sealed, unsealed
from aqa_lib.ledger.damage import damage, damaged, reopen, spec_of
from aqa_lib.ledger.ledger import STATES, Ledger, run_id
from aqa_lib.study.repair import repair
from aqa_lib.study.study import Study
from benchmarks.corruptions import ways

pytestmark = pytest.mark.filterwarnings("ignore:run .* metrics.json cannot be read")
WEIGHTS = [{"layer": np.arange(6, dtype=np.float32) + seed} for seed in range(3)]
BESIDE = ("run.json", "curve.csv", "predictions.csv", "weights.safetensors")
WORLD = {"name": "surrogate", "n_train": 30, "n_test": 15, "D": 4}
WAYS = list(ways(np.random.default_rng()))


@pytest.fixture
def ledger(tmp_path):
    """Three complete runs and two that failed."""
    made = Ledger(tmp_path / "explore")
    for seed in range(3):
        curve, predictions = tables(20 + seed)
        made.lock(spec(seed)).complete({"spearman": seed / 10}, curve, predictions, weights=WEIGHTS[seed])
    for seed in (3, 4):
        made.lock(spec(seed)).fail(f"the loss of {seed} is NaN")
    return made


def damaging(ledger, seed, name, way, other=2):
    """Damage a file of a run in one way; `other` is the run whose file may take its place."""
    random = np.random.default_rng(WAYS.index(way))
    path = ledger.path(run_id(spec(seed))) / name
    before = path.read_bytes()
    ways(random)[way](path, ledger.path(run_id(spec(other))) / name)
    assert not path.is_file() or path.read_bytes() != before
    return run_id(spec(seed))


@pytest.mark.parametrize("way", WAYS)
def test_damaged_metrics_are_no_complete_run_and_the_next_to_ask_trains_it(ledger, way):
    before = ledger.table().set_index("id").drop(run_id(spec(1)))
    id = damaging(ledger, 1, "metrics.json", way)
    rows = ledger.table(STATES).set_index("id")
    assert id not in rows.index if way == "missing" else rows.loc[id, "state"] == "stale"
    pd.testing.assert_frame_equal(ledger.table().set_index("id"), before)
    with pytest.raises(UserError, match="so it has no result"):
        ledger.read(id)
    assert damage(ledger, id).startswith("metrics.json") and spec_of(ledger, id) == spec(1)
    assert sum(line.startswith(f"run {id}: metrics.json") for line in damaged(ledger)) == 1
    if way == "a folder that holds something":
        with pytest.raises(UserError, match="metrics.json is a folder where a file belongs: move it away"):
            ledger.lock(spec(1))
        return
    assert finish(ledger.lock(spec(1)), 0.1) and ledger.read(id).metrics == {"spearman": 0.1}
    assert not list(damaged(ledger))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_metrics_is_read_as_it_was_written_or_not_at_all(ledger, name, way):
    id = damaging(ledger, 1, name, way)
    with pytest.raises(UserError, match=rf"was damaged after it was written .*{name}.*: `aqa runs repair --study exp"):
        ledger.read(id).weights()  # where only the weights are damaged, the rest can be read
    assert ledger.state(id) == "complete" and len(ledger.table()) == 3  # which read metrics.json alone
    assert ledger.has_weights(id) == (name != "weights.safetensors")
    assert list(damaged(ledger)) == [f"run {id}: {damage(ledger, id)}; do: aqa runs repair --study explore"]
    assert ledger.read(run_id(spec(2))).weights()["layer"].tobytes() == WEIGHTS[2]["layer"].tobytes()
    if way == "a folder that holds something":
        with pytest.raises(UserError, match="is a folder where a file belongs: move it away"):
            reopen(ledger, id)
        return
    reopen(ledger, id)
    assert ledger.state(id) == "absent" and finish(ledger.lock(spec(1)), 0.1, weights=WEIGHTS[1])
    assert ledger.read(id).metrics == {"spearman": 0.1} and not list(damaged(ledger))


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_failure_is_no_ending(ledger, way):
    id = damaging(ledger, 3, "failed.json", way, other=4)
    if "loss of 3" in str(ledger.look(id)[1]):  # the name of its checksum was hit, and nothing that anybody reads
        assert way.startswith("flipped") and not list(damaged(ledger))
        return
    assert ledger.ending(id) is None and ledger.state(id) in ("stale", "absent")
    assert len(list(damaged(ledger))) == (way != "missing")
    if way != "a folder that holds something":
        assert finish(ledger.lock(spec(3)), 0.3) and ledger.state(id) == "complete"


def test_a_run_copied_or_linked_under_another_id_is_not_that_one(ledger):
    mine, copy, link = (run_id(spec(seed)) for seed in (0, 7, 8))
    shutil.copytree(ledger.path(mine), ledger.path(copy))
    os.symlink(ledger.path(mine), ledger.path(link))
    assert sorted(ledger.table()["spearman"]) == [0, 0.1, 0.2]
    for id in (copy, link):
        assert "it is of another run" in ledger.look(id)[1]["reason"]
    assert finish(ledger.lock(spec(7)), 0.7) and ledger.read(copy).metrics == {"spearman": 0.7}


def test_every_bit_of_metrics_counts(ledger):
    path = ledger.path(run_id(spec(1))) / "metrics.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert ledger.ending(run_id(spec(1))) is None, place


def test_runs_from_before_there_were_checksums_are_read(ledger):
    path = ledger.path(run_id(spec(1))) / "metrics.json"
    found = {name: value for name, value in unsealed(path).items() if name != "files"}
    old = sealed(json.dumps(found)).decode().partition('",')[2]
    path.write_text("{" + old)
    record = ledger.read(run_id(spec(1)))
    assert record.metrics == {"spearman": 0.1} and record.weights()["layer"].shape == (6,)
    assert ledger.has_weights(run_id(spec(1))) and not list(damaged(ledger))
    path.write_text("{" + old.replace("0.1}", "NaN}"))
    assert ledger.state(run_id(spec(1))) == "stale"


def test_a_checksum_is_that_of_the_text_after_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(sealed('{"a": 1}'))
    assert unsealed(path) == {"a": 1} and unsealed(tmp_path / "b.json") is None
    path.write_bytes(path.read_bytes().replace(b" 1", b" 2"))
    with pytest.raises(ValueError, match="its checksum differs"):
        unsealed(path)
    with pytest.raises(ValueError, match="b.json is missing"):
        intact(tmp_path / "b.json")


# ---- aqa runs repair


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A study of four runs of which two kept their weights."""
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    study = Study("explore")
    study.train("ridge", WORLD, runs=[{"seed": 0}, {"seed": 1}], weights=True)
    study.train("ridge", [WORLD, WORLD | {"seed": 901}], runs=[{"seed": 2}, {"seed": 3, "fraction": 0.5}])
    return study


def of(study, id):
    """A run's files as they are, and when they were written."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in study.ledger.path(id).iterdir()}


def test_repair_trains_the_damaged_runs_and_no_other(trained, capsys):
    table = trained.ledger.table().set_index("seed")
    ids, before = table["id"], {id: of(trained, id) for id in table["id"]}
    records = {id: trained.read(id) for id in ids}
    path = trained.ledger.path
    (path(ids[0]) / "weights.safetensors").write_bytes(b"")
    (path(ids[2]) / "metrics.json").write_text("{")
    (path(ids[3]) / "curve.csv").unlink()
    assert commands.main(["doctor", "--outputs"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and all(f"run {ids[seed]}" in "".join(said) for seed in (0, 2, 3))
    assert all(line.endswith("do: aqa runs repair --study explore") for line in said[:3])
    assert commands.main(["runs", "repair"]) == 0
    assert "3 runs of" in capsys.readouterr().out
    assert of(trained, ids[1]) == before[ids[1]]
    for id in ids:
        assert of(trained, id)["predictions.csv"][0] == before[id]["predictions.csv"][0]
        assert damage(trained.ledger, id) is None
        assert trained.read(id).metrics["spearman"] == records[id].metrics["spearman"]
    assert [trained.ledger.has_weights(ids[seed]) for seed in range(4)] == [True, True, False, False]
    assert trained.read(ids[0]).weights().keys() == records[ids[1]].weights().keys()
    assert commands.main(["doctor", "--outputs"]) == 0 and commands.main(["runs", "repair"]) == 0
    assert "no run of" in capsys.readouterr().out


def test_a_run_that_nothing_names_any_more_is_removed_and_asked_for_again(trained, capsys):
    table = trained.ledger.table().set_index("seed")
    folder = trained.ledger.path(table.loc[2, "id"])
    for name in ("metrics.json", "run.json"):
        (folder / name).write_text("{")
    assert commands.main(["runs", "repair"]) == 0
    assert "was removed" in capsys.readouterr().out and not folder.exists()
    trained.train("ridge", WORLD, runs=[{"seed": 2}])
    assert trained.ledger.table().set_index("seed")["spearman"].equals(table["spearman"])


def test_a_run_whose_data_set_is_elsewhere_is_left_as_it_is(trained, monkeypatch, capsys):
    id = trained.ledger.table()["id"][0]
    (trained.ledger.path(id) / "curve.csv").write_text("")
    before = of(trained, id)
    monkeypatch.setattr("aqa_lib.study.repair.world", lambda spec: WORLD | {"seed": 1})
    trained_again, removed, left = repair(trained)
    assert not trained_again and not removed and "name the folder of that one with --root" in left[id]
    assert commands.main(["runs", "repair"]) == 1 and of(trained, id) == before


def test_damaged_weights_are_trained_again_by_who_asks_for_them(trained):
    id = trained.ledger.table().set_index("seed").loc[0, "id"]
    path = trained.ledger.path(id) / "weights.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(UserError, match="was damaged after it was written .*weights.safetensors differs"):
        trained.read(id).weights()
    trained.train("ridge", WORLD, runs=[{"seed": 0}, {"seed": 1}], weights=True)
    assert path.read_bytes() == before
