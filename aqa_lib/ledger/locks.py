"""Locks on folders: one process at a time works in a folder, and the lock of a dead process is free.

The file `lock` can be created once, so one process gets it, by atomic creation. It is never overwritten. Where its
owner has died, the next one creates `lock.<token of the dead lock>`, which again one process can, and so on: the last
link of the chain that starts at `lock` holds the folder. Tokens are never used twice, so a process that comes late
finds the link created, or finds that its own link follows a lock that is gone, and withdraws. No lock of the file
system, no renaming, no moment at which the folder is nobody's; so it works on a shared file system, too.
"""

import contextlib
import errno
import functools
import json
import os
import platform
import threading
import time
import uuid
import weakref
from typing import NamedTuple

from aqa_lib.ledger.files import create

EXPIRY = 120.0  # seconds without a heartbeat after which an owner on another machine counts as dead
LINKLESS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # from file systems without hard links
HELD = weakref.WeakValueDictionary()  # token -> Lock of this process; a lock ends with its object


class Link(NamedTuple):
    path: str
    token: str
    owner: dict  # host, pid, start, time, token, and what the owner noted
    beat: float  # time of the last heartbeat


@functools.cache
def host():
    """This machine since its last boot, as its process numbers see it (a container has its own)."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def process_start(pid):
    """When process `pid` of this machine began, in clock ticks; None where it is gone, 0 where unknown."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # someone else's, but there
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()  # the name before ")" may hold anything
    except OSError:
        return 0
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended


def alive(link, expiry=EXPIRY):
    """Whether the owner of a lock still lives: its process if it is of this machine, else its heartbeat."""
    owner = link.owner
    if os.name == "posix" and owner.get("host") == host():
        start = process_start(owner["pid"])
        if start is None or start != owner["start"]:  # gone, or its number has gone to another process
            return False
        return owner["pid"] != os.getpid() or link.token in HELD
    return time.time() - link.beat <= expiry


def chain(folder):
    """The links of the lock on a folder, oldest first; the last one holds it. Empty: it is unlocked."""
    links, name = [], "lock"
    while True:
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                data, stat = file.read(), os.fstat(file.fileno())
        except (FileNotFoundError, NotADirectoryError):
            return links
        try:
            owner = json.loads(data)
            token = owner["token"]
        except (ValueError, TypeError, KeyError):  # see `publish`
            owner, token = {}, f"{stat.st_ino:x}-{stat.st_mtime_ns:x}"
        links.append(Link(path, token, owner, stat.st_mtime))
        name = f"lock.{token}"


def publish(path, text):
    """Create a file that must not be there yet, whole from its first moment: FileExistsError where it is.

    A hard link appears with its content. Where the file system has none, O_EXCL does, and a process that is
    killed between creating and writing leaves an empty lock that expires by its age.
    """
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        create(draft, text)
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno not in LINKLESS:
                raise
            create(path, text)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)


class Lock:
    """A lock on a folder by this process; `note` is written beside the owner for others to read."""

    def __init__(self, folder, expiry=EXPIRY, **note):
        self.folder, self.expiry, self.note = os.fspath(folder), expiry, note
        self.token = self.path = None

    def acquire(self):
        """Lock the folder, without waiting; False where a living owner holds it."""
        pid = os.getpid()
        owner = {"host": host(), "pid": pid, "start": process_start(pid), "time": time.time()}
        for turn in range(1000):  # each turn but the last means that another process got on
            try:
                os.makedirs(self.folder, exist_ok=True)
                links = chain(self.folder)
                if links and alive(links[-1], self.expiry):
                    return links[-1].token == self.token
                self.path = os.path.join(self.folder, f"lock.{links[-1].token}" if links else "lock")
                self.token = uuid.uuid4().hex
                HELD[self.token] = self
                publish(self.path, json.dumps(owner | {"token": self.token} | self.note))
            except (FileExistsError, FileNotFoundError):  # another was faster, or took the folder away
                if turn == 999:
                    raise
                continue
            if self.held():
                return True
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # the dead lock was removed meanwhile: this link follows nothing
        return False

    def held(self):
        """Whether this lock holds the folder (not so any more if it has expired and another took over)."""
        links = chain(self.folder)
        return bool(links) and links[-1].token == self.token

    def beat(self):
        """Show others that the owner lives."""
        if self.token is not None:
            with contextlib.suppress(OSError):
                if self.held():
                    os.utime(self.path)

    def release(self):
        """Unlock the folder; safe to call twice. The first link goes first: without it, no other counts."""
        token, self.token = self.token, None
        links = chain(self.folder) if token else []
        if links and links[-1].token == token:
            for link in links:
                with contextlib.suppress(OSError):
                    os.unlink(link.path)
        if token:
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)  # goes only if nothing is left in it

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()


class Heartbeat:
    """Keeps locks alive from a thread while their owner trains; at the end releases those still held.

    `with Heartbeat(locks): ...`. Machines that share a folder need it, and clocks that agree to a minute.
    """

    def __init__(self, locks, every=10.0):
        self.locks = [lock for lock in locks if lock is not None]
        self.every = every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def _run(self):
        while not self._end.wait(self.every):
            for lock in self.locks:
                lock.beat()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._end.set()
        self._thread.join()
        for lock in self.locks:
            lock.release()
