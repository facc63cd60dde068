"""Claims of other machines, of dead and of reused processes: who counts as living."""

import errno
import json
import os
import time

import pytest
from ledger_cases import finish, spec

from aqa_lib.ledger import locks as claims
from aqa_lib.ledger.ledger import Ledger, run_id
from aqa_lib.ledger.locks import Heartbeat


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "outputs" / "explore")


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
