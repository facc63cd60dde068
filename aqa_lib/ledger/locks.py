"""Locks on folders: one process at a time works in a folder, and the lock of a dead process is free.

The file `lock` can be created once, so one process gets it, by atomic creation. It is never overwritten. Where its
owner has died, the next one creates `lock.<token of the dead lock>`, which again one process can, and so on: the last
link of the chain that starts at `lock` holds the folder. Tokens are never used twice, so a process that comes late
finds the link created, or finds that its own link follows a lock that is gone, and withdraws. Whoever has taken over
renames its link to `lock`, in place of the first dead one, and removes the others: the chain is itself alone again,
and those that read it before come late. No lock of the file system, no moment at which the folder is nobody's; so it
works on a shared file system, too.

No clock is compared with another machine's: an owner elsewhere lives as long as its heartbeat changes while we watch.
"""

import contextlib
import errno
import functools
import json
import os
import platform
import re
import stat
import threading
import time
import uuid
import weakref
from typing import NamedTuple

from aqa_lib.ledger.files import create

EXPIRY = 120.0  # seconds that we watch a heartbeat stand still before its owner on another machine counts as dead
LINKLESS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # from file systems without hard links
HELD = weakref.WeakValueDictionary()  # token -> Lock of this process; a lock ends with its object
SEEN = {}  # (folder, token) of a lock elsewhere -> (its heartbeat, since when this process sees that one)
TOKEN = re.compile("[0-9a-f]{32}")
LEFT = re.compile(r"lock(\.[0-9a-f-]+)?|\.lock(\.[0-9a-f-]+)*\.tmp")  # every file that a lock can leave in a folder
LONGEST = 2**20  # bytes of a lock


class Link(NamedTuple):
    path: str
    token: str
    owner: dict  # host, pid, start, token, and what the owner noted; empty where the file is no lock of ours
    beat: int  # changes with every heartbeat


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
    now, key = time.monotonic(), (os.path.dirname(link.path), link.token)
    beat, since = SEEN.get(key, (None, now))
    if beat != link.beat:  # never seen before, or it has beaten since
        SEEN[key] = link.beat, now
        return True
    return now - since <= expiry


def chain(folder):
    """The links of the lock on a folder, oldest first; the last one holds it. Empty: it is unlocked."""
    links, name = [], "lock"
    while True:
        link = read_link(os.path.join(folder, name), {link.token for link in links})
        if link is None:
            return links
        links.append(link)
        name = f"lock.{link.token}"


def read_link(path, tokens=()):
    """The link in a file, None where there is no file. What is no lock of ours counts by its heartbeat alone.

    `tokens` are those of the links before it: none comes twice.
    """
    try:
        found, data = os.lstat(path), b""
        if stat.S_ISREG(found.st_mode):
            with contextlib.suppress(PermissionError), open(path, "rb") as file:
                data, found = file.read(LONGEST), os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        owner = json.loads(data)
        token = owner["token"]
        if token in tokens or not TOKEN.fullmatch(token) or not is_process(owner):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):  # see `publish`; or somebody else's file
        owner, token = {}, f"{found.st_ino:x}-{found.st_mtime_ns:x}"
    return Link(path, token, owner, found.st_mtime_ns)


def is_process(owner):
    """Whether an owner is named as `Lock.acquire` names it."""
    numbers = owner["pid"], owner["start"]
    return isinstance(owner["host"], str) and all(type(n) is int for n in numbers) and 0 < owner["pid"] < 2**31


def publish(path, text):
    """Create a file that must not be there yet, whole from its first moment: FileExistsError where it is.

    A hard link appears with its content. Where the file system has none, O_EXCL does, and a process that is
    killed between creating and writing leaves an empty lock, whose heartbeat stands still.
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
        owner = {"host": host(), "pid": pid, "start": process_start(pid)}
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
                return not links or self._move_up()
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # the dead lock was removed meanwhile: this link follows nothing
        return False

    def _move_up(self):
        """Take the place of the dead locks that this one follows. False where it was lost meanwhile.

        A process that was taken for dead may wake up in here and move its own link. Once `clear` has removed that link,
        it cannot; where it was faster, the last look tells.
        """
        first = os.path.join(self.folder, "lock")
        with contextlib.suppress(OSError):  # where a link cannot be moved, the chain stays, which is as good
            os.replace(self.path, first)
            self.path = first
        self.clear()
        return self.held() is not None

    def held(self):
        """The link by which this lock holds the folder; None where it does not (another took over an expired one)."""
        links = chain(self.folder)
        return links[-1] if links and links[-1].token == self.token else None

    def clear(self):
        """Remove locks that count no more, and what processes left that were killed while locking."""
        with contextlib.suppress(OSError):
            names = os.listdir(self.folder)  # before the chain, which may grow
            count = {os.path.basename(link.path) for link in chain(self.folder)}
            for name in set(filter(LEFT.fullmatch, names)) - count:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.folder, name))

    def beat(self):
        """Show others that the owner lives."""
        if self.token is not None:
            with contextlib.suppress(OSError):
                if link := self.held():
                    os.utime(link.path)

    def release(self):
        """Unlock the folder; safe to call twice. The first link goes first: without it, no other counts."""
        if self.token is None:
            return
        with contextlib.suppress(OSError):
            if self.held():
                self.clear()
                for link in chain(self.folder):
                    with contextlib.suppress(OSError):
                        os.unlink(link.path)
        self.token = None
        with contextlib.suppress(OSError):
            os.rmdir(self.folder)  # goes only if nothing is left in it

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()


class Heartbeat:
    """Keeps locks alive from a thread while their owner trains; at the end releases those still held.

    `with Heartbeat(locks) as beat: ...; beat.add(more)`. Machines that share a folder need it.
    """

    def __init__(self, locks=(), every=10.0):
        self.locks, self.every = [], every
        self.add(locks)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def add(self, locks):
        """Keep these alive as well; None stands for no lock, and those that were released are dropped."""
        self.locks = [lock for lock in [*self.locks, *locks] if lock is not None and lock.token is not None]

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
