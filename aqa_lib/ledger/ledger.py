"""The ledger: one folder a run, its state read off the file system.

outputs/<study>/<id>/ holds run.json (everything that made the run), curve.csv, predictions.csv, held.csv (predictions
of labelled items, where a fold of them was held out), weights.safetensors on request and, written last by atomic
rename, metrics.json: present means complete. It holds the checksums of the others (checksums.py), which are checked
when they are read; damage.py says what is damaged.
a failed run has failed.json instead, which says why; a lock (locks.py) says who is at work. The id is a hash of what
the run is, so the same run asked for twice, by any process, is one folder and is trained once.
"""

import contextlib
import os
import re
import shutil
import uuid
import warnings
from pathlib import Path

import pandas as pd

from aqa_lib.errors import UserError, nearest, shown
from aqa_lib.kinds import mapping, takes, word, words
from aqa_lib.ledger.checksums import intact, unsealed
from aqa_lib.ledger.files import create, make_way, refused
from aqa_lib.ledger.identity import run_id
from aqa_lib.ledger.locks import EXPIRY, LEFT, Lock, alive, chain
from aqa_lib.ledger.record import COLUMNS, WEIGHTS, Record, flat, row
from aqa_lib.ledger.run_lock import FILES, OURS, RunLock

STATES = ("complete", "running", "failed", "stale")  # and "absent", which has no folder
ID, NAME = re.compile("[0-9a-f]{16}"), re.compile(r"[\w-]{1,64}")


def known(found):
    """Whether what a file says of a run has the form of that."""
    spec = found.get("spec")
    if not isinstance(spec, dict):
        return False
    parts = spec.get("data", {}), spec.get("settings", {}), found.get("metrics", {})
    return all(isinstance(part, dict) for part in parts)


class Ledger:
    """The runs of one study: `Ledger(outputs("explore"))`. The folder is made when something is written."""

    def __init__(self, folder, expiry=EXPIRY):
        self.folder, self.expiry = Path(folder), expiry

    def path(self, id):
        """The folder of a run."""
        if not (isinstance(id, str) and NAME.fullmatch(id)):
            raise UserError(f"the id of a run is a word of 16 hex digits, but got {shown(id)}: `aqa runs` lists them")
        return self.folder / id

    @takes(ids=words)
    def check_writable(self, ids=()):
        """A UserError, before anything is trained, where results could not be written, of these runs neither."""
        for id in ids:
            self._no_link(id)
        probe = self.folder / f".probe.{uuid.uuid4().hex}"
        with refused(self.folder, "nothing was started"):
            self.folder.mkdir(parents=True, exist_ok=True)
            create(probe, bytes(4096), sync=True)
            probe.unlink()

    # ---- states

    def ids(self):
        """The ids of all runs that have a folder, sorted."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(entry.name for entry in entries if ID.fullmatch(entry.name) and entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _no_link(self, id):
        """The folder of a run in which files may be removed; a UserError where it is a link to somebody's folder."""
        folder = self.path(id)
        if folder.is_symlink():
            raise UserError(f"{folder} is a link, and no run is written or deleted through one: remove the link")
        return folder

    def metrics(self, id):
        """metrics.json, None where there is none, ValueError where it is damaged or another run's."""
        return self._own(id, "metrics.json", "metrics", dict)

    def failed(self, id):
        """failed.json, None where there is none, ValueError where it is damaged or another run's."""
        return self._own(id, "failed.json", "reason", str)

    def _own(self, id, name, part, kind):
        found = unsealed(f"{self.path(id)}/{name}")
        if found is None:
            return None
        if not (known(found) and isinstance(found.get(part), kind) and found[part]):
            raise ValueError(f"it holds no {part} of a run")
        if run_id(found["spec"]) != id:
            raise ValueError("it is of another run")
        return found

    def ending(self, id):
        """How a run has ended: ("complete",), ("failed", when in ns), or None while it has not."""
        with contextlib.suppress(ValueError):
            if self.metrics(id) is not None:
                return ("complete",)
        with contextlib.suppress(ValueError, OSError):
            if self.failed(id) is not None:
                return "failed", os.stat(self.path(id) / "failed.json").st_mtime_ns
        return None

    def look(self, id):
        """(state, what is known of the run: spec, metrics, code, reason), read off its folder."""
        broken = None
        try:
            links = chain(self.path(id))  # before metrics.json: its writer removes the lock after it
            if (found := self.metrics(id)) is not None:
                return "complete", found
        except OSError as error:
            return "stale", {"reason": f"its folder cannot be read ({error.strerror or error})"}
        except ValueError as error:
            broken = f"metrics.json cannot be read ({error}): the run is not done, train it again"
        if links and alive(links[-1], self.expiry):
            return "running", self._owner(links[-1])
        try:
            if (found := self.failed(id)) is not None:
                return "failed", found
        except ValueError as error:
            broken = broken or f"failed.json cannot be read ({error}): the run is not done, train it again"
        if links:
            owner = self._owner(links[-1])
            ended = f"process {owner.get('pid', '?')} on {owner.get('host', '?')} ended without a result"
            return "stale", {"reason": ended} | owner | ({"reason": broken} if broken else {})
        return ("stale", {"reason": broken}) if broken else ("absent", {})

    @staticmethod
    def _owner(link):
        """What a lock tells of its owner, and of the run if it is one's."""
        if not link.owner:
            return {"reason": f"{link.path} is no lock of ours: remove it if nobody trains this run"}
        told = {"pid": link.owner["pid"], "host": link.owner["host"].split("/")[0]}
        return told | ({"spec": link.owner["spec"]} if known(link.owner) else {})

    def state(self, id):
        """absent, running, stale (its process died: as good as absent), complete or failed."""
        return self.look(id)[0]

    def has_weights(self, id):
        """Whether a run kept its weights, and they are what was written."""
        path = self.path(id) / WEIGHTS
        with contextlib.suppress(ValueError):
            sums = (self.metrics(id) or {}).get("files")
            return path.is_file() if sums is None else WEIGHTS in sums and bool(intact(path, sums[WEIGHTS]))
        return False

    # ---- locking

    @takes(spec=mapping)
    def lock(self, spec, retry=False):
        """The lock on this run; None where it is complete, another process trains it, or it failed (and no retry)."""
        lock = RunLock(self, spec)
        self._no_link(lock.id)
        seen = self.ending(lock.id)
        if seen and not (retry and seen[0] == "failed"):
            return None
        try:
            with refused(self.folder, f"run {lock.id} was not started"):
                if lock.acquire():
                    if self.ending(lock.id) == seen:  # else another ended it between our look and our lock
                        for name in FILES:  # now, not after the training
                            make_way(os.path.join(lock.folder, name))
                        lock.sweep()
                        return lock
                    lock.release()
        except BaseException:
            lock.release()
            raise
        return None

    def lock_many(self, specs, retry=False):
        """A list as long as `specs`: a RunLock, or None for each run that is not to be trained here."""
        locks = []
        try:
            for spec in specs:
                locks.append(self.lock(spec, retry=retry))
        except BaseException:
            for lock in filter(None, locks):
                lock.release()
            raise
        return locks

    # ---- reading

    @takes(prefix=word)
    def find(self, prefix):
        """The id that begins with `prefix`; a UserError where none or several do."""
        ids = self.ids()
        found = [id for id in ids if id.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if found:
            few = ", ".join(found[:3])
            raise UserError(f"{prefix!r} begins the ids of {len(found)} runs ({few} ...): give more digits")
        raise UserError(f"no run in {self.folder} has an id that begins with {prefix!r}{nearest(prefix, ids[:9])}")

    def read(self, id):
        """A complete run as a Record; a UserError that says how far it is where it is not complete."""
        state, found = self.look(id)
        if state != "complete":
            why = f" ({found['reason']})" if "reason" in found else ""
            raise UserError(f"run {id} in {self.folder} is {state}{why}, so it has no result: train it first")
        return Record.of(self.path(id), found)

    @takes(states=words)
    def table(self, states=("complete",)):
        """A row a run: id, state, method, data, split, settings, metrics, code, reason; in order of id.

        Settings and metrics stand under their own names, the options of the data as data.<name>. A metric
        that is called like a setting stands as metrics.<name>. attrs["settings"] names what is no metric.
        """
        looks, taken = [], set(COLUMNS)
        for id in self.ids():
            state, found = self._quick(id) if tuple(states) == ("complete",) else self.look(id)
            if state in states:
                looks.append((id, state, found))
                taken |= flat((found.get("spec") or {}).get("settings") or {}).keys()
        table = pd.DataFrame([row(*look, taken) for look in looks], columns=None if looks else COLUMNS)
        what = [c for c in table if c in taken - set(COLUMNS) or c.startswith(("data.", "settings."))]
        table = table[COLUMNS[:5] + what + [c for c in table if c not in COLUMNS + what] + COLUMNS[5:]]
        table.attrs["settings"] = what
        return table

    def _quick(self, id):
        """As `look`, for a reader of complete runs only: one file a run."""
        try:
            found = self.metrics(id)
            return ("complete", found) if found else ("absent", {})
        except ValueError:
            state, found = self.look(id)
            warnings.warn(f"run {id}: {found.get('reason', state)}", stacklevel=3)
            return state, found

    @takes(ids=words)
    def delete(self, ids):
        """Remove runs; refuses those under way. A run goes whole or not at all: a rename, then its files.

        Nothing goes where a folder holds something that no run has written, or is a link.
        """
        looks = {id: self.look(id) for id in ids}
        for id, (state, found) in looks.items():
            if state == "running":
                where = f"process {found.get('pid', '?')} on {found.get('host', '?')}"
                gone = f"or, where that one is long gone, remove {self.path(id)}/lock"
                raise UserError(f"run {id} is running ({where}), nothing was deleted: stop it first, {gone}")
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for name in os.listdir(self._no_link(id)):
                    if not OURS.fullmatch(name) and not LEFT.fullmatch(name):
                        other = self.path(id) / name
                        raise UserError(f"{other} is no file of a run, nothing was deleted: move it away")
        with refused(self.folder, "not all was deleted"):
            for id, (state, _) in looks.items():
                with Lock(self.path(id), self.expiry) as lock:
                    if state != "complete" and not lock.acquire():
                        raise UserError(f"run {id} was started just now, it was not deleted: stop it first")
                    with contextlib.suppress(FileNotFoundError):  # another deleted it as well
                        os.rename(self.path(id), self.folder / f".deleted.{uuid.uuid4().hex}")
            for name in os.listdir(self.folder):  # with those that an earlier, killed call left
                if name.startswith(".deleted."):
                    shutil.rmtree(self.folder / name, ignore_errors=True)
