"""The lock on one run: who holds it trains the run, and writes what comes of it, whole or not at all."""

import contextlib
import os
import re
from datetime import UTC, datetime

from aqa_lib.ledger.checksums import checksum, sealed
from aqa_lib.ledger.files import refused, sync_folder, write
from aqa_lib.ledger.identity import canonical, code_version, run_id, versions
from aqa_lib.ledger.locks import Lock, host
from aqa_lib.ledger.record import WEIGHTS, packed, to_csv, to_json, types

FILES = ("run.json", "curve.csv", "predictions.csv", "held.csv", WEIGHTS, "metrics.json", "failed.json")  # of a run
NAMES = "|".join(map(re.escape, FILES))
OURS = re.compile(rf"{NAMES}|\.({NAMES})\.[0-9a-f]+\.tmp")  # every file that a run can leave, its locks aside


def now():
    """The time in UTC, as ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RunLock(Lock):
    """The lock on one run, of the process that trains it; ended by `complete`, `fail` or `release`."""

    def __init__(self, ledger, spec):
        self.spec, self.id = canonical(spec), run_id(spec)
        super().__init__(ledger.path(self.id), ledger.expiry, spec=self.spec)
        self.ledger, self.started = ledger, now()
        self.code = code_version(self.spec)  # now, not at the end: the sources may be edited while a run is under way

    def complete(self, metrics, curve, predictions, weights=None, record=None, about=None, held=None):
        """Write the result, metrics.json last. False where another process took the run over meanwhile.

        `metrics` dict of numbers; `curve`, `predictions` and, where labels were held out, `held` tables (their index is
        not kept); `weights` dict of arrays, `about` what else is needed to use them; `record` further entries of
        run.json, such as the device.
        """
        brief = {"id": self.id, "spec": self.spec, "code": self.code}
        brief |= {"started": self.started, "finished": now()}
        run = {"device": "cpu", "versions": versions(), "host": host().split("/")[0], "pid": os.getpid()}
        tables = {"curve": curve, "predictions": predictions} | ({} if held is None else {"held": held})
        run |= dict(record or {}) | {"types": {name: types(table) for name, table in tables.items()}}
        with self._ending() as mine:
            if mine:
                files = {"run.json": to_json(brief | run)}
                files |= {f"{name}.csv": to_csv(table) for name, table in tables.items()}
                if weights is not None:
                    files[WEIGHTS] = packed(weights, about)
                for name, data in files.items():
                    self._write(name, data)
                sync_folder(self.folder)
                sums = {name: checksum(data) for name, data in files.items()}
                self._write("metrics.json", sealed(to_json(brief | {"metrics": metrics, "files": sums})))
                sync_folder(self.folder)
        return mine

    def fail(self, reason):
        """Note why the run has no result. False where another process took the run over meanwhile."""
        note = {"id": self.id, "spec": self.spec, "code": self.code, "reason": str(reason)}
        with self._ending() as mine:
            if mine:
                self._write("failed.json", sealed(to_json(note | {"started": self.started, "finished": now()})))
        return mine

    def _write(self, name, data):
        write(os.path.join(self.folder, name), data)

    @contextlib.contextmanager
    def _ending(self):
        """Around the writing of a result: whatever interrupts it, nothing partial stays and the lock is released."""
        try:
            with refused(self.folder, f"run {self.id} was not kept"):
                # a lock that was lost (outputs deleted, this machine asleep) is asked for again
                yield self.held() is not None or (self.ledger.ending(self.id) is None and self.acquire())
        except BaseException:
            if self.held() and self.ledger.ending(self.id) is None:
                with contextlib.suppress(OSError):
                    self.sweep()
            raise
        finally:
            self.release()

    def sweep(self):
        """Remove what an unfinished attempt left in the folder of a locked run, and nothing else that lies there."""
        self.clear()
        for name in filter(OURS.fullmatch, os.listdir(self.folder)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, name))
