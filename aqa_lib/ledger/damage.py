"""Which runs of a ledger are damaged, what they were, and how they are opened for training again.

Damaged is a run with a file that is not what was written. Its id is a hash of what it is, so any of its files that
still says so is to be believed if that hashes to the id.
"""

import contextlib
import os

from aqa_lib.ledger.checksums import intact
from aqa_lib.ledger.files import make_way, read_json, refused
from aqa_lib.ledger.identity import run_id
from aqa_lib.ledger.locks import Lock, chain
from aqa_lib.ledger.run_lock import FILES


def damage(ledger, id):
    """What is damaged of a run, in a few words; None where nothing is. It reads all files of the run."""
    folder = ledger.path(id)
    if not folder.is_dir():
        return "a file lies where its folder belongs"
    state, found = ledger.look(id)
    try:
        if state == "complete":
            for name, known in (found.get("files") or {}).items():
                intact(folder / name, known)
        elif state == "stale":
            name = "metrics.json"
            ledger.metrics(id)
            name = "failed.json"
            ledger.failed(id)
        elif state == "absent" and any((folder / name).exists() for name in FILES) and not chain(folder):
            return "metrics.json is missing"  # an attempt that was interrupted would have left its lock
    except ValueError as error:
        return str(error) if state == "complete" else f"{name} cannot be read ({error})"
    return None


def spec_of(ledger, id):
    """What a run is, as long as one of its files still says it; else None."""
    for name in ("metrics.json", "run.json", "failed.json"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            spec = read_json(ledger.path(id) / name)["spec"]
            if run_id(spec) == id:
                return spec
    return None


def reopen(ledger, id):
    """Open a damaged run for training again: it is not complete any more.

    Where nothing says what it was, its files go, and whoever asks for it trains it. Files that are none of a run's
    stay; a UserError where one of those, a folder, lies where a file belongs.
    """
    folder = ledger.path(id)
    with refused(folder, "it was not opened again"), Lock(folder, ledger.expiry) as lock:
        if not lock.acquire():  # somebody trains it
            return
        for name in FILES:
            make_way(folder / name)
        unknown, complete = spec_of(ledger, id) is None, ledger.look(id)[0] == "complete"
        for name in FILES if unknown else ["metrics.json"] * (complete and damage(ledger, id) is not None):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / name)


def damaged(ledger):
    """A line for each damaged run, with what to do."""
    for id in ledger.ids():
        if why := damage(ledger, id):
            do = f"aqa runs repair --study {ledger.folder.name}" if ledger.path(id).is_dir() else "move it away"
            yield f"run {id}: {why}; do: {do}"
