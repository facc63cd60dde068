"""Data sets that come with the project: one compact file each in data/, checked against data/SHA256SUMS.

    path = shipped("finger_tapping", "finger_tapping.csv.gz")     # the file, once its checksum is right
    ids, recordings = unpacked(shipped("ui_prmd", "ui_prmd.npz"))  # names, and an array [frames, channels] each

Recordings are kept in hundredths of their unit (16-bit integers), as differences from one frame to the next, channel
by channel; a difference beyond 16 bits wraps around, and so does the sum that undoes it. The files are written by

    python -m aqa_lib.data.files.shipped ui_prmd ROOT               # the same input gives the same bytes
    python -m aqa_lib.data.files.shipped finger_tapping ROOT
"""

import gzip
import hashlib
import math
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

from aqa_lib.data.files import limits
from aqa_lib.data.files.arrays import npz
from aqa_lib.data.files.folder import need
from aqa_lib.errors import UserError, choose

FOLDER = Path(__file__).resolve().parents[3] / "data"
SUMS = "SHA256SUMS"
UNIT = 100  # whole numbers of a unit of length


def shipped(name, file, folder=None):
    """The path of the file that data set `name` comes in; a UserError where it is absent or altered."""
    folder = Path(folder or FOLDER)
    path = folder / file
    if not path.is_file():
        raise UserError(
            f"data set {name!r} comes in {path}, which is not there: take a checkout of the project, or give root, the "
            "folder of the original files"
        )
    sums = dict(reversed(line.split()) for line in need(folder / SUMS).read_text().splitlines() if line.strip())
    if sums.get(file) != hashlib.sha256(path.read_bytes()).hexdigest():
        raise UserError(f"{path} does not have the checksum that {folder / SUMS} gives: check the file out again")
    return path


def packed(path, ids, recordings):
    """Write recordings [F_i, C] under their names, exact to half a hundredth."""
    x = np.rint(np.concatenate(recordings) * UNIT)
    if np.abs(x).max() > np.iinfo(np.int16).max:
        raise UserError(f"recordings for {path} reach {np.abs(x).max() / UNIT:g}; at most 327.67 fits into the file")
    x = x.astype(np.int16)
    steps = np.diff(x, axis=0, prepend=np.zeros_like(x[:1])).T  # [C, F], a channel after another
    frames = np.array([len(r) for r in recordings], dtype=np.int32)
    np.savez_compressed(path, ids=np.array(ids, dtype=str), frames=frames, steps=np.ascontiguousarray(steps))
    return path


def unpacked(path):
    """(ids, [array [F_i, C] float64 each]) of a file that `packed` wrote; nothing in it is executed."""
    try:
        ids, frames, steps = (_read(path, name) for name in ("ids", "frames", "steps"))
        x = np.cumsum(steps, axis=1, dtype=np.int16).T / UNIT  # [F, C]
        return ids.tolist(), np.split(x, np.cumsum(frames)[:-1])
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a file of packed recordings ({error}): check it out again") from error


def _read(path, name):
    with npz(path, name) as found:
        limits.check_fit(path, 5 * math.prod(found.shape) * found.dtype.itemsize)  # 16 bits become 64
        return found.read()


def zipped(path, content):
    """Write bytes with gzip; neither a time nor a name goes into the file."""
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
    return path


def main(name, root, folder=FOLDER):
    """Make the file of a data set from its original ones, and note its checksum."""
    from aqa_lib.data import reader

    module = reader(choose("data set that ships", name, ["finger_tapping", "ui_prmd"]))
    path = module.ship(root, Path(folder) / module.SHIPPED)
    sums = Path(folder) / SUMS
    lines = {line.split()[1]: line for line in sums.read_text().splitlines()} if sums.exists() else {}
    lines[path.name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
    sums.write_text("".join(f"{lines[file]}\n" for file in sorted(lines)))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
