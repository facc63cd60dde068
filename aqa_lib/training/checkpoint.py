"""Checkpoints: a stack saves its state every few minutes, and after a kill its runs go on from there.

A checkpoint is one file that holds the names of its runs and everything that the loop changes, so that what goes on
has the bits that it would have had. It appears whole or not at all, and goes when its runs have ended.
"""

import contextlib
import hashlib
import os
import time
import warnings
from pathlib import Path

import torch

from aqa_lib.data.files import limits
from aqa_lib.data.files.arrays import archive
from aqa_lib.kinds import number, takes, words

SECONDS = 180.0  # between two checkpoints of a stack


class Checkpoints:
    """The checkpoints in a folder; `names` are the runs of a call of `train`, one each, `code` what they depend on: one
    for all, or a list with one a run. `ended(name)` says whether a run needs no state any more."""

    @takes(names=words, seconds=number)
    def __init__(self, folder, names, code="", seconds=SECONDS, ended=lambda name: False):
        self.folder, self.names, self.seconds, self.ended = Path(folder), list(names), seconds, ended
        codes = code if isinstance(code, list) else [code] * len(self.names)
        self.code = dict(zip(self.names, codes, strict=True))
        self.known = {}  # path -> the names that were seen there; a stack only ever loses runs

    def found(self, runs):
        """(state, which runs of the state, the same runs' numbers among `names`) of `runs` that can go on, a file at a
        time and read when its turn comes: others may have gone on from it meanwhile. The newest file comes first: an
        older one may hold an earlier state of a run, for as long as another run has no later one."""
        left = set(runs)
        number = {self.names[i]: i for i in runs}
        for path in sorted(self.folder.glob("*.checkpoint"), key=written, reverse=True):
            if path in self.known and not self.known[path] & set(number):
                continue
            state = self.read(path)
            if state is None or "codes" not in state:  # of an earlier format
                continue
            self.known[path] = set(state["names"])
            runs_of = enumerate(zip(state["names"], state["codes"], strict=True))
            here = [(k, number[n]) for k, (n, code) in runs_of if number.get(n) in left and self.code[n] == code]
            if here:
                state["path"] = path
                left -= {i for _, i in here}
                yield state, [k for k, _ in here], [i for _, i in here]
        self.clear()

    @staticmethod
    def read(path):
        """The state in a file; None, with a warning, where it is damaged: its runs begin again."""
        try:
            with archive(path) as parts:  # torch packs nothing, and looks at no checksum
                limits.check_fit(path, sum(member.file_size for member in parts.infolist()))
                if strange := parts.testzip():
                    raise ValueError(f"the checksum of its {strange} differs")
            state = torch.load(path, map_location="cpu", weights_only=True)
            return state if isinstance(state, dict) else None
        except FileNotFoundError:  # its runs have just ended
            return None
        except Exception as error:  # of many kinds, in a file that was cut or overwritten
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"checkpoint {path} cannot be read ({why}): its runs begin again", stacklevel=2)
            return None

    def clear(self):
        """Remove the files that were seen here and all of whose runs have ended."""
        for path, names in self.known.items():
            if all(map(self.ended, names)):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def writer(self, places):
        """A Writer for the stack of the runs with these numbers."""
        return Writer(self, [self.names[i] for i in places])


class Writer:
    """Saves the state of one stack when it is time."""

    def __init__(self, checkpoints, names):
        self.all = checkpoints
        stem = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        self.path = checkpoints.folder / f"{stem}.checkpoint"
        self.saved = time.monotonic()
        self.before = None  # the file from which the stack alone goes on, of no use once there is a later state

    @property
    def due(self):
        return time.monotonic() - self.saved >= self.all.seconds

    def save(self, state, places):
        """Write the state of the runs with these numbers, in a moment: the old file or the new one, never a part."""
        names = [self.all.names[i] for i in places]
        state = {"names": names, "codes": [self.all.code[name] for name in names], **state}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            torch.save(state, part)
            os.replace(part, self.path)
            self.forget()
        except OSError as error:  # a full disk costs the checkpoint, not the training
            warnings.warn(f"checkpoint {self.path} was not written ({error.strerror or error})", stacklevel=2)
        finally:
            part.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def end(self):
        """All runs of the stack have ended."""
        with contextlib.suppress(OSError):  # a folder of that name is none of ours
            self.path.unlink(missing_ok=True)
        self.forget()
        self.all.clear()

    def forget(self):
        if self.before and self.before != self.path:
            with contextlib.suppress(OSError):
                self.before.unlink(missing_ok=True)


def written(path):
    """When a file was last written, in ns; 0 where it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
