"""The bench of kills: its account of the work lost, by hand, and a small study that is killed for real."""

import os

import pytest

from benchmarks.kills import kills, work

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")


def life(begun, ended, ids="a", saved=(), done=()):
    """A stack that took a step a second; all steps and times are given as (step, time)."""
    return {"ids": list(ids), "begun": begun, "ended": ended, "saved": list(saved), "done": dict(done)}


def test_what_is_done_twice_is_lost():
    first = life((0, 10.0), (7, 17.0), "ab", saved=[(3, 13.0), (5, 15.0)])
    rest = (
        life((5, 20.0), (9, 24.0), "a", done={"a": (9, 24.0)}),
        life((5, 30.0), (9, 34.0), "b", done={"b": (9, 34.0)}),
    )
    trained, losses, faults = work([first, *rest])
    assert trained == 2 * 7 + 4 + 4 and not faults
    assert losses == [{"steps": 2, "seconds": 2.0, "time": 17.0}] * 2


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (life((4, 20.0), (9, 25.0)), "though 5 was saved"),
        (life((5, 16.0), (9, 25.0)), "by two processes at once"),
        (life((0, 20.0), (9, 29.0), "b"), None),
        (life((5, 20.0), (9, 29.0), "b"), "began at step 5"),
    ],
)
def test_what_must_not_be_is_a_fault(second, fault):
    faults = work([life((0, 10.0), (7, 17.0), saved=[(5, 15.0)]), second])[2]
    assert len(faults) == (fault is not None) and all(fault in text for text in faults)


def test_a_run_that_is_trained_again_is_a_fault():
    lives = [life((0, start), (9, start + 9), done={"a": (9, start + 9)}) for start in (10.0, 30.0)]
    assert work(lives)[2] == ["run a was trained twice"]


@pytest.mark.slow
def test_a_study_that_is_killed_ends_in_the_undisturbed_tables(tmp_path):
    report = kills(tmp_path, n=5, notebooks={"10": [("usdl", 600, range(2))]})
    assert len(report["kills"]) == 5 and report["runs"] == 2 and report["starts"] > 1
    assert report["faults"] == [] and report["trained"] >= report["needed"] > 0
