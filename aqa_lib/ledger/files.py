"""Files that are there whole or not at all, and one sentence when a disk refuses them."""

import contextlib
import errno
import json
import os
import stat
import uuid

from aqa_lib.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def create(path, data, sync=False):
    """Write a file that must not be there yet: FileExistsError where it is, nothing left where it fails."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        try:
            rest = memoryview(data.encode() if isinstance(data, str) else data)
            while rest:  # a nearly full disk takes a part
                rest = rest[os.write(fd, rest) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def write(path, data):
    """Write a file whole or not at all: under a temporary name, to the disk, then an atomic rename.

    A temporary name begins with a dot and ends in .tmp; nothing reads such a file.
    """
    folder, name = os.path.split(os.fspath(path))
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        create(temporary, data, sync=True)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync_folder(path):
    """Ask that the names in a folder outlive a power cut, where the system can be asked that."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_json(path):
    """The object in a JSON file, None where there is no file, ValueError where it cannot be read as one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise ValueError("not a file")
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except RecursionError:
        raise ValueError("too deeply nested") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


@contextlib.contextmanager
def refused(folder, lost):
    """Turn an error of the disk under `folder` into one sentence; `lost` says what was not kept."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UserError(
                f"the disk under {folder} is full ({error.strerror}), {lost}: free some space, or set "
                "AQA_OUTPUTS to a folder on another disk, and start again (finished runs are kept)"
            ) from error
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}), {lost}: make it a folder that you "
            "may write to, or set AQA_OUTPUTS to another one"
        ) from error
