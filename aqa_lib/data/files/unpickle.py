"""Pickles of strangers: numpy arrays, numpy scalars and plain containers are read, anything else is refused.

A pickle is a program for a stack machine that may call any function it can name. Here it can name a few, all
of them stand-ins of this file that build an array, a string or a container from checked parts; the opcodes that set
attributes, fill containers or make keys are held to plain types, too. The machine is the standard library's in
Python, whose memo is a dict: the one in C makes room for whatever index a file of ten bytes mentions.

A file cannot take more memory or time than its size warrants, either: what is made of parts is together no larger than
twice the file, integers that are hashed or multiplied are short, and arrays do not stand in one another without end.
"""

import io
import math
import pickle
import re
import reprlib
import struct

import numpy as np

from aqa_lib.errors import UserError

ATOMS = (str, bytes, bool, int, float, complex, type(None), np.generic)
CODE = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|c8|c16|O8?|[US](0|[1-9]\d{0,5}))")  # no structures, no types of users
MOST_AXES = 32
MOST_BITS = 4096  # of an integer as a key: every look-up walks over all of them
MOST_NESTED = 16  # arrays of objects directly in one another: numpy frees them by recursion, which has an end
LAST_CHARACTER = 0x10FFFF


def load(path):
    """What the pickle at `path` holds; text of Python 2 is read as latin1."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return loads(content, path)


def loads(content, where="the pickle"):
    """What a pickle given as bytes holds; `where` names it in the sentence that refuses it."""
    try:
        return _plain(_Plain(content).load())
    except _Refused as error:
        raise UserError(f"{where} {error}: it is not opened; take the file from its official place") from None
    except Exception as error:  # a wrong program can end in any of them
        why = "".join(c if c.isprintable() else "?" for c in f"{type(error).__name__}: {error}"[:120])
        raise UserError(f"{where} is cut short or is no pickle ({why}): fetch it again") from error


def brief(value):
    """A short text of any value: a few tuples in tuples can have a text of any length."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__}"


class _Refused(Exception):
    pass


class _Ndarray:
    """Stands for the class numpy.ndarray, which pickles name and do not call."""

    __slots__ = ()
    name = "a class"


class _Dtype:
    """A dtype under construction: its code, and the byte order that the state gives."""

    __slots__ = ("code", "order")
    name = "a dtype"

    def __init__(self, code):
        self.code, self.order = code, "="

    def set(self, state):
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("|", "<", ">", "=")):
            raise _Refused("holds a dtype with a strange state")
        if any(part is not None for part in state[2:5]):
            raise _Refused("holds a structured dtype")
        self.order = state[1]  # size and flags are those of the code, whatever the state says

    def dtype(self):
        return np.dtype(self.code).newbyteorder(self.order)


class _Maker:
    """A function that a pickle may call. An instance without attributes, so that nothing can be set on it."""

    __slots__ = ()
    name = "a function"


class _MakeDtype(_Maker):
    def __call__(self, code, *flags):
        if not isinstance(code, str) or not CODE.fullmatch(code):
            raise _Refused(f"holds an array of type {brief(code)}")
        return _Dtype(code)


class _MakeArray(_Maker):
    """numpy's _reconstruct: an empty array, which the state fills."""

    def __call__(self, kind, shape, code):
        if not isinstance(kind, _Ndarray):
            raise _Refused("asks for an array of another class than numpy.ndarray")
        return np.empty(0, np.uint8)


class _MakeScalar(_Maker):
    def __call__(self, dtype, data=None):
        dtype, data = _checked((), dtype, data)
        if dtype.kind == "O":
            raise _Refused("holds a numpy scalar that is an object")
        return np.frombuffer(data, dtype)[0] if dtype.itemsize else dtype.type()  # S0 and U0 are empty text


class _FromBuffer(_Maker):
    def __call__(self, data, dtype, shape, order):
        dtype, data = _checked(shape, dtype, data)
        if dtype.kind == "O":
            raise _Refused("holds objects in a buffer")
        return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if order == "F" else "C")


class _Encode(_Maker):
    """How Python 2's protocols write bytes: text and the name of its encoding."""

    def __call__(self, text, encoding="latin1"):
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise _Refused(f"asks for _codecs.encode with {brief(encoding)}")
        return text.encode("latin1")


class _MakeNoBytes(_Maker):
    """How they write bytes of which there are none: bytes()."""

    def __call__(self):
        return b""


class _MakePlain(_Maker):
    """A container from what it is made of; keys are checked like those of any other."""

    def __call__(self, items=()):
        if not isinstance(items, (list, tuple, set)):
            raise _Refused("makes a container from something else than a list")
        return self.make(items)


class _MakeDict(_MakePlain):
    def make(self, items):
        return {_key(k): v for k, v in items}


class _MakeSet(_MakePlain):
    def make(self, items):
        return {_key(k) for k in items}


class _MakeFrozenset(_MakePlain):
    def make(self, items):
        return frozenset(_key(k) for k in items)


def _checked(shape, dtype, data):
    """dtype and data that fill an array of this shape: bytes, as many as it takes, or a list of objects."""
    if not isinstance(dtype, _Dtype):
        raise _Refused("holds an array without a dtype")
    if (
        not isinstance(shape, tuple)
        or len(shape) > MOST_AXES
        or not all(type(n) is int and 0 <= n < 2**63 for n in shape)
    ):
        raise _Refused("holds an array with a strange shape")
    size, dtype = math.prod(shape), dtype.dtype()
    if dtype.itemsize == 0 and shape != ():
        raise _Refused("holds an array of items without size")
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != size:
            raise _Refused("holds an array of objects that does not come as a list of them")
        return dtype, data
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(data, (bytes, bytearray)) or len(data) != size * dtype.itemsize:
        raise _Refused("holds an array whose data does not have its size")
    if dtype.kind == "b" and data.translate(None, b"\0\1"):  # numpy counts on it when it takes items by a mask
        raise _Refused("holds truth values that are neither true nor false")
    if dtype.kind == "U" and data and np.frombuffer(data, f"{dtype.byteorder}u4").max() > LAST_CHARACTER:
        raise _Refused("holds text of characters that do not exist")
    return dtype, bytes(data)


def _key(key):
    """A key of atoms: hashing tuples in tuples takes time that doubles with every level."""
    flat = isinstance(key, tuple) and len(key) <= 64 and all(isinstance(part, ATOMS) for part in key)
    if not (flat or isinstance(key, ATOMS)):
        raise _Refused(f"uses a {type(key).__name__} of more than names and numbers as a key")
    if any(isinstance(part, int) and part.bit_length() > MOST_BITS for part in (key if flat else (key,))):
        raise _Refused(f"uses an integer of more than {MOST_BITS} bits as a key")
    return key


def _plain(value):
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
            raise _Refused(f"holds {part.name} by itself")
    return value


NAMES = {("numpy", "ndarray"): _Ndarray(), ("numpy", "dtype"): _MakeDtype(), ("_codecs", "encode"): _Encode(),
         ("collections", "OrderedDict"): _MakeDict()}  # fmt: skip
for _core in ("numpy.core", "numpy._core"):
    NAMES[f"{_core}.multiarray", "_reconstruct"] = _MakeArray()
    NAMES[f"{_core}.multiarray", "scalar"] = _MakeScalar()
    NAMES[f"{_core}.numeric", "_frombuffer"] = _FromBuffer()
for _builtins in ("builtins", "__builtin__"):
    NAMES[_builtins, "bytes"] = _MakeNoBytes()
    NAMES[_builtins, "set"], NAMES[_builtins, "frozenset"] = _MakeSet(), _MakeFrozenset()


class _Plain(pickle._Unpickler):
    """The standard library's machine in Python, with the opcodes below replaced."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, content):
        super().__init__(io.BytesIO(content), encoding="latin1")
        # what may still be made: parts stand in the file once, but can be used at will; twice their size, since old
        # protocols make bytes of text before they make an array of the bytes
        self.room = 2 * len(content)
        self.nested = {}  # id of a finished array -> the array, and how many arrays of objects stand in one another

    def find_class(self, module, name):
        found = NAMES.get((module, name))
        if found is None:
            asked = f"{module}.{name}"[:200]  # a name can be any text, of several lines or of a terminal's commands
            raise _Refused("asks for " + "".join(c if c.isprintable() else "?" for c in asked))
        return found

    def persistent_load(self, pid):
        raise _Refused("asks for an object by a persistent id")

    def of(self, kind):
        """What is on top of the stack, if it is of this type."""
        if type(self.stack[-1]) is not kind:
            raise _Refused(f"fills a {type(self.stack[-1]).__name__} as if it were a {kind.__name__}")
        return self.stack[-1]

    def reduce(self):
        """Call one of the stand-ins; a name alone is no function, and neither is anything else here."""
        arguments, function = self.stack.pop(), self.stack[-1]
        if not isinstance(function, _Maker) or type(arguments) is not tuple:
            raise _Refused(f"calls a {type(function).__name__}")
        self.stack[-1] = made = function(*arguments)
        self.spend(made)
        if isinstance(made, np.ndarray) and not isinstance(function, _MakeArray):
            self.nested[id(made)] = made, 0

    def build(self):
        """The state of an array, once, or of a dtype; nothing else has one."""
        state, item = self.stack.pop(), self.stack[-1]
        if isinstance(item, _Dtype):
            item.set(state)
        elif isinstance(item, np.ndarray) and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, fortran, data = state
            dtype, data = _checked(shape, dtype, data)
            inner = [x for x in data if isinstance(x, np.ndarray)] if dtype.kind == "O" else []
            if id(item) in self.nested or any(id(x) not in self.nested for x in inner):
                raise _Refused("fills an array twice, or one in the other before it has an end")
            depth = max((self.nested[id(x)][1] for x in inner), default=0) + (dtype.kind == "O")
            if depth > MOST_NESTED:
                raise _Refused(f"holds arrays of objects in one another, more than {MOST_NESTED} deep")
            item.__setstate__((1, shape, dtype, bool(fortran), data))
            self.spend(item)
            self.nested[id(item)] = item, depth
        else:
            raise _Refused(f"sets attributes of a {type(item).__name__}")

    def spend(self, made):
        """Count what is made, in bytes or in items, against the size of the file."""
        if isinstance(made, (np.ndarray, np.generic)):
            self.room -= made.size if made.dtype.kind == "O" else made.nbytes
        elif not isinstance(made, _Dtype):
            self.room -= len(made)
        if self.room < 0:
            raise _Refused("makes more than it holds")

    def bytearray(self):
        """BYTEARRAY8, of which the standard library makes room for all before it looks for one."""
        (size,) = struct.unpack("<Q", self.read(8))
        data = self.read(size)
        if len(data) < size:
            raise EOFError("a bytearray is cut off")
        self.stack.append(bytearray(data))

    def instance(self):
        """INST names what it calls, so the sentence can name it."""
        self.find_class(*(self.readline()[:-1].decode("utf-8") for _ in range(2)))
        self.refuse()

    def append(self):
        value = self.stack.pop()
        self.of(list).append(value)

    def appends(self):
        values = self.pop_mark()
        self.of(list).extend(values)

    def setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self.of(dict)[_key(key)] = value

    def setitems(self):
        items = self.pop_mark()
        self.of(dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def additems(self):
        items = self.pop_mark()
        self.of(set).update(map(_key, items))

    def dictionary(self):
        items = self.pop_mark()
        self.stack.append(dict(zip(map(_key, items[::2]), items[1::2], strict=True)))

    def frozen(self):
        items = self.pop_mark()
        self.stack.append(frozenset(map(_key, items)))

    def refuse(self):
        raise _Refused("makes an object of a class")


for _name, _do in {
    "REDUCE": _Plain.reduce, "BUILD": _Plain.build, "APPEND": _Plain.append, "APPENDS": _Plain.appends,
    "SETITEM": _Plain.setitem, "SETITEMS": _Plain.setitems, "ADDITEMS": _Plain.additems, "DICT": _Plain.dictionary,
    "FROZENSET": _Plain.frozen, "BYTEARRAY8": _Plain.bytearray, "INST": _Plain.instance,
}.items():  # fmt: skip
    _Plain.dispatch[getattr(pickle, _name)[0]] = _do
for _name in ("OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"):
    _Plain.dispatch[getattr(pickle, _name)[0]] = _Plain.refuse
