"""Matrices of numbers in MATLAB files of any version; cells, structs and text are named, but not read.

Version 5 is read here, from its documentation (MathWorks, MAT-File Format, 2019), since scipy's compiled reader trusts
what a file says of itself and crashes where that is wrong. An element is a tag (type, bytes) and its content, ended at
a multiple of 8 bytes; a matrix is an element of elements: flags, dimensions, name, numbers column by column; a packed
element holds one of these through zlib.
"""

import contextlib
import math
import struct
import zlib

import numpy as np

from aqa_lib.data.files.arrays import Header, chosen, hdf5
from aqa_lib.errors import UserError

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, PACKED = 14, 15
NUMBERS = range(6, 16)  # classes: double, single, integers; below them cells, structs, objects, text, sparse matrices
COMPLEX = 0x800
HEAD = 4096  # bytes of a matrix that say what it is


@contextlib.contextmanager
def mat(path, key=None):
    """A matrix of a MATLAB file."""
    import scipy.io

    version, _ = scipy.io.matlab.matfile_version(path, appendmat=False)
    if version == 2:  # 7.3 is HDF5, where axes stand in MATLAB's order, the last one first
        with hdf5(path, key) as x:
            yield Header(x.shape[::-1], x.dtype, lambda: np.transpose(x.read()))
        return
    found = matrices(path) if version == 1 else old(path)
    yield found[chosen(path, key, list(found))]


def old(path):
    """Name -> Header of a file of version 4."""
    import scipy.io

    def header(name, shape, kind):
        dtype = np.dtype(object if kind in ("char", "sparse") else float)
        return Header(shape, dtype, lambda: scipy.io.loadmat(path, appendmat=False, variable_names=[name])[name])

    return {name: header(name, shape, kind) for name, shape, kind in scipy.io.whosmat(path, appendmat=False)}


def matrices(path):
    """Name -> Header of a file of version 5."""
    found = {}
    with open(path, "rb") as file:
        order = "<" if file.read(128)[126:] == b"IM" else ">"
        while tag := file.read(8):
            kind, size = struct.unpack(order + "II", tag)
            begin, head = file.tell(), file.read(min(size, HEAD))
            if kind == PACKED:
                head = zlib.decompressobj().decompress(head, HEAD)
                inner, head = struct.unpack_from(order + "I", head)[0], head[8:]
            if MATRIX not in (kind, kind == PACKED and inner):
                raise ValueError(f"it has an element of type {kind}, which is no matrix")
            name, header = _matrix(path, head, order, begin, size, kind == PACKED)
            if name in found:
                raise UserError(f"{path} holds matrix {name[:80]!r} twice: save it anew")
            if name:  # one without is of MATLAB's own
                found[name] = header
            file.seek(begin + size)
    if not found:
        raise ValueError("it holds no matrix")
    return found


def _matrix(path, head, order, begin, size, packed):
    """(name, Header) of the matrix that begins with the bytes `head`; its element in the file, maybe packed."""
    _, at, _, after = _element(head, 0, order)
    (flags,) = struct.unpack_from(order + "I", head, at)
    _, at, length, after = _element(head, after, order)
    shape = struct.unpack_from(f"{order}{length // 4}i", head, at)
    _, at, length, after = _element(head, after, order)
    name = head[at : at + length].decode("latin1")
    if flags & 0xFF not in NUMBERS:
        return name, Header(shape, np.dtype(object), None)
    if flags & COMPLEX:
        return name, Header(shape, np.dtype(complex), None)
    kind, at, length, _ = _element(head, after, order)
    dtype = np.dtype(order + TYPES[kind])
    if min(shape, default=-1) < 0 or math.prod(shape) * dtype.itemsize != length:
        raise ValueError(f"matrix {name[:80]} has shape {shape}, but {length} bytes of {dtype}")

    def read():
        with open(path, "rb") as file:
            file.seek(begin)
            content = file.read(size)
        if packed:
            unpack = zlib.decompressobj()
            content, rest = unpack.decompress(content, 8 + at + length)[8:], unpack.unconsumed_tail
            unpack.decompress(rest, 8)  # to the end, where the checksum is looked at
        return np.frombuffer(content, dtype, math.prod(shape), at).reshape(shape, order="F")

    return name, Header(shape, dtype, read)


def _element(head, at, order):
    """(type, where its content begins, bytes, where the next one begins) of the element at this place."""
    kind, size = struct.unpack_from(order + "II", head, at)
    if kind >> 16:  # a small one: type and size share four bytes, and the content has the other four
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise ValueError(f"a small element has {size} bytes")
        return kind, at + 4, size, at + 8
    return kind, at + 8, size, at + 8 + size + -size % 8
