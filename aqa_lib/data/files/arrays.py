"""Arrays in files of numpy, HDF5 and CSV (and MATLAB, matlab.py): opened by their headers, read when they fit.

    with npz(path, key) as x:     # nothing is unpacked yet
        x.shape, x.dtype
        x.read()

Nothing is unpickled, and nothing is read from another file than this one. What is no such file ends in an error of any
kind, what is one and is refused in a UserError.
"""

import array
import contextlib
import csv
import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from aqa_lib.data.files import limits
from aqa_lib.errors import UserError, choose

HEADER = 2000  # bytes of a .npy that say what it holds; 128 as a rule
LONGEST = 2**24  # characters of a line of numbers
DEEP = 32  # groups in groups of HDF5
DEFLATE, SHUFFLE, CHECKSUM, LZF = 1, 2, 3, 32000  # the filters of HDF5 that are read, each once
INFLATED = 1032  # times a byte at most, by deflate


@dataclass
class Header:
    """What a file says of an array in it, and how to read that."""

    shape: tuple
    dtype: np.dtype
    read: object


@contextlib.contextmanager
def npy(path, key=None):
    """The array of a .npy."""
    size = limits.held(path)
    with open(path, "rb") as file:
        shape, dtype, order, begin = npy_header(file.read(HEADER))
    count = math.prod(shape)
    if begin + count * dtype.itemsize > size and not dtype.hasobject:
        raise ValueError(f"its header says {dtype} of shape {shape}, but it has {size} bytes")
    yield Header(shape, dtype, lambda: np.fromfile(path, dtype, count, offset=begin).reshape(shape, order=order))


def npy_header(head):
    """(shape, dtype, order, where the numbers begin) of a .npy that begins with the bytes `head`."""
    if head[:1] == b"\x80":
        raise ValueError("it holds pickled objects, which are not opened")
    file, form = io.BytesIO(head), np.lib.format
    version = form.read_magic(file)
    read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}[version]
    size = int.from_bytes(head[8 : 10 if version == (1, 0) else 12], "little")
    if size > HEADER - 12:
        raise ValueError(f"it has a header of {size} bytes")
    shape, fortran, dtype = read(file, max_header_size=HEADER)
    if min(shape, default=1) < 0:
        raise ValueError(f"its header says shape {shape}")
    return shape, dtype, "F" if fortran else "C", file.tell()


@contextlib.contextmanager
def npz(path, key=None):
    """An array of a .npz."""
    with archive(path) as file:
        names = {name.removesuffix(".npy"): name for name in file.namelist() if name.endswith(".npy")}
        member = file.getinfo(names[chosen(path, key, list(names))])
        with file.open(member) as part:
            shape, dtype, _, begin = npy_header(part.read(HEADER))
        if begin + math.prod(shape) * dtype.itemsize > member.file_size and not dtype.hasobject:
            raise ValueError(f"a header says {dtype} of shape {shape}, but the array has {member.file_size} bytes")

        def read():
            with file.open(member) as part:
                return np.lib.format.read_array(part, allow_pickle=False)

        yield Header(shape, dtype, read)


@contextlib.contextmanager
def archive(path):
    """A zip whose members are plain: each name once, inside of it, packed by deflate or not at all."""
    with zipfile.ZipFile(path) as file:
        seen = set()
        for member in file.infolist():
            name, parts = member.filename, PurePosixPath(member.filename.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts:
                raise UserError(f"{path} holds {name[:80]!r}, a path out of it: fetch it from its official place")
            if name in seen:
                raise UserError(f"{path} holds {name[:80]!r} twice: fetch it from its official place")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise UserError(f"{path} is encrypted or packed in a rare way: save it anew with numpy.savez")
            seen.add(name)
        yield file


@contextlib.contextmanager
def hdf5(path, key=None):
    """A data set of an HDF5 file, of those that it holds itself."""
    try:
        import h5py
    except ImportError:
        remedy = "install it (pip install h5py), or save the file as .npy"
        raise UserError(f"{path} is HDF5, which needs the package h5py: {remedy}") from None
    with h5py.File(path, "r") as file:
        names = sorted(name for name in own_arrays(path, file) if not name.startswith("#"))  # MATLAB's own
        key = key and key.strip("/")
        if key is not None and key not in names:
            check_links(path, file, key)
        found = file[chosen(path, key, names)]
        check_hdf5(path, found)
        yield Header(found.shape or (), found.dtype, lambda: found[()])


def own_arrays(path, file):
    """The names of all data sets that groups of the file itself hold; no link is followed."""
    import h5py

    todo, seen = [("", file, 0)], {h5py.h5o.get_info(file.id).addr}
    while todo:
        prefix, group, depth = todo.pop()
        if depth > DEEP:
            raise UserError(f"{path} has groups in one another, more than {DEEP} deep: save its arrays in one group")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:  # under two names
                continue
            seen.add(place)
            if isinstance(item, h5py.Dataset):
                yield prefix + name
            elif isinstance(item, h5py.Group):
                todo.append((f"{prefix}{name}/", item, depth + 1))


def check_links(path, file, key):
    """A UserError where the way to `key` is a link, not a group of the file."""
    import h5py

    for name in key.split("/")[:DEEP]:
        link = file.get(name, getlink=True) if isinstance(file, h5py.Group) else None
        if link is None:
            return
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{path}: {key} is a link to elsewhere, which is not followed: name the array itself")
        file = file[name]


def check_hdf5(path, found):
    """Refuse a data set whose numbers stand in other files, or which takes more to read than the file warrants."""
    if found.external or found.is_virtual:
        raise UserError(
            f"{path} keeps {found.name} in other files, which are not read: save it with its numbers in the same file"
        )
    if found.chunks is None:
        return
    plist = found.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if [f for f in filters if f not in (SHUFFLE, CHECKSUM)] not in ([], [DEFLATE], [LZF]) or filters.count(SHUFFLE) > 1:
        raise UserError(f"{path} packs {found.name} in a rare way: save it with gzip, or as .npy")
    size = math.prod(found.chunks) * found.dtype.itemsize
    limits.check_fit(path, size)
    chunks = math.prod(-(-n // c) for n, c in zip(found.shape, found.chunks, strict=True))
    if chunks > 1000 + limits.held(path) // 8:  # each takes a place in the file's index
        raise UserError(f"{path}: {found.name} has {chunks} parts, but no room for them: fetch it anew")
    if DEFLATE in filters:
        check_inflated(path, found, size, filters.index(DEFLATE))


def check_inflated(path, found, size, place):
    """Refuse parts that are larger than they say: HDF5 goes on inflating, however much comes."""

    def look(part):
        if part.filter_mask >> place & 1 or part.size * INFLATED < limits.SMALL:
            return
        raw = found.id.read_direct_chunk(part.chunk_offset)[1]
        if len(zlib.decompressobj().decompress(raw, size + 64)) > size + 4:  # with a checksum
            wrong.append(part.chunk_offset)

    wrong = []
    found.id.chunk_iter(look)
    if wrong:
        raise UserError(f"{path}: part {wrong[0]} of {found.name} is larger than it says: fetch the file anew")


@contextlib.contextmanager
def table(path, key=None):
    """The numbers of a CSV, row by row, with or without names of the columns and numbers of the rows."""
    limits.check_fit(path, 4 * limits.held(path))
    values, width, first, rows = array.array("d"), None, None, 0
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(_lines(path, file)):
            if not any(c.strip() for c in row):
                continue
            if first is None:
                names = not _numeric(row) or row == [str(i) for i in range(len(row))]
                first = int(names and row[0].strip() == "")  # pandas writes 0,1,2,... over columns, and numbers rows
                if names:
                    continue
            rows, row = rows + 1, row[first:]
            width = width or len(row)
            if len(row) != width or not _numeric(row):
                raise UserError(f"{path}: row {rows} is not {width} numbers; is the file cut off?")
            values.extend(map(float, row))
    x = np.array(values).reshape(rows, width or 0)
    yield Header(x.shape, x.dtype, lambda: x)


def _lines(path, file):
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise UserError(f"{path} has a line of more than {LONGEST} characters: give a line a segment")
        yield line


def _numeric(row):
    try:
        return bool([float(c) for c in row]) and "_" not in "".join(row)  # 1_0 is ten to Python
    except ValueError:
        return False


def chosen(path, key, names):
    """`key`, or the only name that there is."""
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise UserError(f"{path} holds {len(names)} arrays ({', '.join(names[:8])}): choose one with key")
    return choose(f"array in {path}", key, names)
