"""Processes that work for another one."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def cores():
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent():
    """An initializer for pools: the worker ends when its parent has ended, however it did.

    Without it, a worker whose parent was killed waits for work for ever: it holds both ends of its queue.
    """
    parent = multiprocessing.parent_process()

    def watch():
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
