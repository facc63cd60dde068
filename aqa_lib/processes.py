"""Processes that work for another one, and what they may use: cores, memory."""

import contextlib
import multiprocessing
import os
import threading
from multiprocessing.connection import wait
from pathlib import Path

from aqa_lib.errors import UserError

# of a container: what it may take, what it has taken, and how its list calls files kept in memory, which can go
LIMITS = [
    ("memory.max", "memory.current", "memory.stat", "file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_cache"),
]


def cores():
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(control="/sys/fs/cgroup", system="/proc/meminfo"):
    """Bytes that this process may still take: what is available, and what its container allows; None: unknown."""
    found, folder = [], Path(control)
    with contextlib.suppress(OSError, ValueError, LookupError):
        found.append(1024 * int(listed(Path(system))["MemAvailable:"]))
    for most, taken, stat, files in LIMITS:
        with contextlib.suppress(OSError, ValueError, LookupError):  # "max": none
            free = int((folder / most).read_text()) - int((folder / taken).read_text())
            found.append(free + int(listed(folder / stat)[files]))
    return max(0, min(found)) if found else None


def listed(path):
    """{name: value} of the first two words of each line."""
    return {words[0]: words[1] for words in map(str.split, path.read_text().splitlines()) if len(words) > 1}


def check_memory(what, needed, remedy, there=None):
    """A UserError where something needs more bytes than there are (`there`, else here), before any of them is taken."""
    there = memory() if there is None else there
    if there is not None and needed > there:
        raise UserError(f"{what} takes about {size(needed)}, but {size(there)} of memory are free: {remedy}")


def size(count):
    """Bytes as one reads them: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.0f} TB" if count >= 1000 else f"{count:.3g} TB"


def end_with_parent():
    """An initializer for pools: the worker ends when its parent has ended, however it did.

    Without it, a worker whose parent was killed waits for work for ever: it holds both ends of its queue.
    """
    parent = multiprocessing.parent_process()

    def watch():
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
