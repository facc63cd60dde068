"""Files that are there whole or not at all, and one sentence when a disk refuses them."""

import contextlib
import errno
import os
import stat
import uuid

from aqa_lib.errors import UserError
from aqa_lib.plain_json import from_json

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
        make_way(path)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def make_way(path):
    """Remove an empty folder that lies where a file belongs; a UserError where it holds something."""
    if os.path.isdir(path) and not os.path.islink(path):
        try:
            os.rmdir(path)
        except OSError:
            raise UserError(f"{path} is a folder where a file belongs: move it away, and start again") from None


def sync_folder(path):
    """Ask that the names in a folder outlive a power cut, where the system can be asked that."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_json(path):
    """The object in a JSON file, None where there is no file, ValueError where it is not one object."""
    data = content(path)
    return None if data is None else parsed(data)


def content(path):
    """The bytes of a file, None where there is no file, ValueError where it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise ValueError("not a file")
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a folder in its place, no permission, a bad sector
        raise ValueError(error.strerror or str(error)) from error


def parsed(data):
    """The JSON object in these bytes, ValueError where they hold none; NaN is no JSON, and nothing here writes it."""

    def refuse(word):
        raise ValueError(f"it holds {word}")

    value = from_json(data, parse_constant=refuse)
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
