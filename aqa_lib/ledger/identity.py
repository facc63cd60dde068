"""What a run is called, and which code and versions made it."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

from aqa_lib.errors import UserError
from aqa_lib.ledger.sources import content, digest

# Files as this process saw them when it first locked a run of their method: it goes on computing with what it imported,
# whatever is edited after that. An edit between the import and that lock is not seen.
AT_FIRST = functools.cache(content)


def canonical(value, where="spec"):
    """`value` as plain JSON, equal things spelt alike: 40.0 is 40, a tuple is a list, keys are sorted."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise UserError(f"{where}: a name in it must be text, not {type(name).__name__} {name!r}")
        return {name: canonical(value[name], f"{where}.{name}") for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{where} is {value}, which cannot name a run: give a finite number")
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, bool | int | str):
        return value
    kind = type(value).__name__
    raise UserError(f"{where} is a {kind}, which cannot name a run: give a number, text or a list")


def run_id(spec):
    """The name of a run: 16 hex digits of the sha256 of its canonical JSON."""
    try:
        text = json.dumps(canonical(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
    except UserError:
        raise
    except (RecursionError, ValueError) as error:  # inside itself, or a number of thousands of digits
        raise UserError(f"what a run is cannot be written down ({type(error).__name__}): give plain values") from None


def sources(code):
    """The part of a code version that tells other sources from the same in another commit."""
    return str(code).rpartition("src.")[2]


def code_version(spec):
    """The git commit, if there is one, and a hash of the sources that make this run's numbers; works without git.

    These are the files that its method, the trainer and the reader of its data set import, see sources.py.
    """
    data = spec.get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return "+".join(filter(None, [commit(), f"src.{_sources(str(spec.get('method')), str(name))}"]))


@functools.cache
def _sources(method, data):
    modules = [f"aqa_lib.methods.{method}", "aqa_lib.training", f"aqa_lib.data.readers.{data}"]
    return digest(modules, AT_FIRST)[:12]


@functools.cache
def commit():
    """The git commit that this package is checked out from; None where there is none, or no git."""
    package = Path(__file__).resolve().parents[1]
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        git(package, "ls-files", "--error-unmatch", __file__)  # not the repository of something around us
        return git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    return None


def git(folder, *words):
    """What git answers to these words in a folder."""
    done = subprocess.run(
        ["git", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=10
    )
    return done.stdout.decode().strip()


@functools.cache
def versions():
    """Versions of what computes, found without importing it."""
    found = {"python": sys.version.split()[0]}
    for name in ("torch", "numpy", "pandas"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
