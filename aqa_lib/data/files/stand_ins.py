"""What a pickle may name and make: stand-ins that build arrays, text and containers from checked parts.

`NAMES` has a stand-in for each function that pickles of plain values name; unpickle.py lets them call nothing else.
"""

import math
import re
import reprlib

import numpy as np

ATOMS = (str, bytes, bool, int, float, complex, type(None), np.generic)
CODE = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|c8|c16|O8?|[US](0|[1-9]\d{0,5}))")  # no structures, no types of users
MOST_AXES = 32
MOST_BITS = 4096  # of an integer as a key: every look-up walks over all of them
LAST_CHARACTER = 0x10FFFF


def brief(value):
    """A short text of any value: a few tuples in tuples can have a text of any length."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__}"


class Refused(Exception):
    pass


class Ndarray:
    """Stands for the class numpy.ndarray, which pickles name and do not call."""

    __slots__ = ()
    name = "a class"


class Dtype:
    """A dtype under construction: its code, and the byte order that the state gives."""

    __slots__ = ("code", "order")
    name = "a dtype"

    def __init__(self, code):
        self.code, self.order = code, "="

    def set(self, state):
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("|", "<", ">", "=")):
            raise Refused("holds a dtype with a strange state")
        if any(part is not None for part in state[2:5]):
            raise Refused("holds a structured dtype")
        self.order = state[1]  # size and flags are those of the code, whatever the state says

    def dtype(self):
        return np.dtype(self.code).newbyteorder(self.order)


class Maker:
    """A function that a pickle may call. An instance without attributes, so that nothing can be set on it."""

    __slots__ = ()
    name = "a function"


class _MakeDtype(Maker):
    def __call__(self, code, *flags):
        if not isinstance(code, str) or not CODE.fullmatch(code):
            raise Refused(f"holds an array of type {brief(code)}")
        return Dtype(code)


class MakeArray(Maker):
    """numpy's _reconstruct: an empty array, which the state fills."""

    def __call__(self, kind, shape, code):
        if not isinstance(kind, Ndarray):
            raise Refused("asks for an array of another class than numpy.ndarray")
        return np.empty(0, np.uint8)


class _MakeScalar(Maker):
    def __call__(self, dtype, data=None):
        dtype, data = checked((), dtype, data)
        if dtype.kind == "O":
            raise Refused("holds a numpy scalar that is an object")
        return np.frombuffer(data, dtype)[0] if dtype.itemsize else dtype.type()  # S0 and U0 are empty text


class _FromBuffer(Maker):
    def __call__(self, data, dtype, shape, order):
        dtype, data = checked(shape, dtype, data)
        if dtype.kind == "O":
            raise Refused("holds objects in a buffer")
        return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if order == "F" else "C")


class _Encode(Maker):
    """How Python 2's protocols write bytes: text and the name of its encoding."""

    def __call__(self, text, encoding="latin1"):
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise Refused(f"asks for _codecs.encode with {brief(encoding)}")
        return text.encode("latin1")


class _MakeNoBytes(Maker):
    """How they write bytes of which there are none: bytes()."""

    def __call__(self):
        return b""


class MakeContainer(Maker):
    """A container from a list of what it is made of; `fill` puts keys into it as into any other."""

    def __call__(self, fill, items=()):
        if not isinstance(items, (list, tuple, set)):
            raise Refused("makes a container from something else than a list")
        return self.make(fill, list(items))


class _MakeDict(MakeContainer):
    def make(self, fill, items):
        pairs = [(key, value) for key, value in items]
        return fill({}, [key for key, _ in pairs], [value for _, value in pairs])


class _MakeSet(MakeContainer):
    def make(self, fill, items):
        return fill(set(), items)


class _MakeFrozenset(MakeContainer):
    def make(self, fill, items):
        return frozenset(fill(set(), items))


def checked(shape, dtype, data):
    """dtype and data that fill an array of this shape: bytes, as many as it takes, or a list of objects."""
    if not isinstance(dtype, Dtype):
        raise Refused("holds an array without a dtype")
    if (
        not isinstance(shape, tuple)
        or len(shape) > MOST_AXES
        or not all(type(n) is int and 0 <= n < 2**63 for n in shape)
    ):
        raise Refused("holds an array with a strange shape")
    size, dtype = math.prod(shape), dtype.dtype()
    if dtype.itemsize == 0 and shape != ():
        raise Refused("holds an array of items without size")
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != size:
            raise Refused("holds an array of objects that does not come as a list of them")
        return dtype, data
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(data, (bytes, bytearray)) or len(data) != size * dtype.itemsize:
        raise Refused("holds an array whose data does not have its size")
    if dtype.kind == "b" and data.translate(None, b"\0\1"):  # numpy counts on it when it takes items by a mask
        raise Refused("holds truth values that are neither true nor false")
    if dtype.kind == "U" and data and np.frombuffer(data, f"{dtype.byteorder}u4").max() > LAST_CHARACTER:
        raise Refused("holds text of characters that do not exist")
    return dtype, bytes(data)


def checked_key(key):
    """A key of atoms: hashing tuples in tuples takes time that doubles with every level."""
    flat = isinstance(key, tuple) and len(key) <= 64 and all(isinstance(part, ATOMS) for part in key)
    if not (flat or isinstance(key, ATOMS)):
        raise Refused(f"uses a {type(key).__name__} of more than names and numbers as a key")
    if any(isinstance(part, int) and part.bit_length() > MOST_BITS for part in (key if flat else (key,))):
        raise Refused(f"uses an integer of more than {MOST_BITS} bits as a key")
    return key


def plain(value):
    """`value`, if no stand-in is left in it, for example a dtype that belongs to no array."""
    seen, todo = set(), [value]
    while todo:
        part = todo.pop()
        if isinstance(part, (*ATOMS, bytearray)) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            todo += part.values()  # keys are plain already
        elif isinstance(part, (list, tuple)):
            todo += part
        elif isinstance(part, np.ndarray):
            todo += part.flat if part.dtype.kind == "O" else ()
        elif not isinstance(part, (set, frozenset)):  # whose members are plain already, too
            raise Refused(f"holds {part.name} by itself")
    return value


NAMES = {("numpy", "ndarray"): Ndarray(), ("numpy", "dtype"): _MakeDtype(), ("_codecs", "encode"): _Encode(),
         ("collections", "OrderedDict"): _MakeDict()}  # fmt: skip
for _core in ("numpy.core", "numpy._core"):
    NAMES[f"{_core}.multiarray", "_reconstruct"] = MakeArray()
    NAMES[f"{_core}.multiarray", "scalar"] = _MakeScalar()
    NAMES[f"{_core}.numeric", "_frombuffer"] = _FromBuffer()
for _builtins in ("builtins", "__builtin__"):
    NAMES[_builtins, "bytes"] = _MakeNoBytes()
    NAMES[_builtins, "set"], NAMES[_builtins, "frozenset"] = _MakeSet(), _MakeFrozenset()
