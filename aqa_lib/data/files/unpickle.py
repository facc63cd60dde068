"""Pickles of strangers: numpy arrays, numpy scalars and plain containers are read, anything else is refused.

A pickle is a program for a stack machine that may call any function it can name. Here it can name a few, all
of them stand-ins (stand_ins.py) that build an array, a string or a container from checked parts; the opcodes that set
attributes, fill containers or make keys are held to plain types, too. The machine is the standard library's in
Python, whose memo is a dict: the one in C makes room for whatever index a file of ten bytes mentions.

A file cannot take more memory or time than its size warrants, either: what is made of parts is together no larger than
twice the file, integers that are hashed or multiplied are short, and arrays do not stand in one another without end.
Numbers can be chosen so that a dict looks at all of its keys to find one: filling dicts and sets is timed.
"""

import io
import pickle
import struct
import time

import numpy as np

from aqa_lib.data.files import limits
from aqa_lib.data.files.stand_ins import (
    NAMES,
    Dtype,
    MakeArray,
    MakeContainer,
    Maker,
    Refused,
    brief,
    checked,
    checked_key,
    plain,
)
from aqa_lib.errors import UserError

__all__ = ["brief", "load", "loads"]

MOST_NESTED = 16  # arrays of objects directly in one another: numpy frees them by recursion, which has an end
PART = 256  # keys that are put into a container between two looks at the clock
PATIENCE, EACH = 0.5, 5e-6  # seconds of work for all keys of a file, and for each: some fifty times what it takes


def load(path):
    """What the pickle at `path` holds; text of Python 2 is read as latin1."""
    try:
        limits.check_fit(path, 2 * limits.held(path))
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
        return plain(_Plain(content).load())
    except Refused as error:
        raise UserError(f"{where} {error}: it is not opened; take the file from its official place") from None
    except Exception as error:  # a wrong program can end in any of them
        why = limits.reason(f"{type(error).__name__}: {error}")
        raise UserError(f"{where} is cut short or is no pickle ({why}): fetch it again") from error


class _Memo(dict):
    """Index -> object, under the bytes of the index, whose hashes nobody can choose; a file can choose its indices."""

    def __setitem__(self, index, value):
        super().__setitem__(b"%d" % index, value)

    def __getitem__(self, index):
        return super().__getitem__(b"%d" % index)


def _size(made):
    """Bytes of an array or a scalar, items of an array of objects, characters of text; none of a dtype."""
    if isinstance(made, (np.ndarray, np.generic)):
        return made.size if made.dtype.kind == "O" else made.nbytes
    return 0 if isinstance(made, Dtype) else len(made)


class _Plain(pickle._Unpickler):
    """The standard library's machine in Python, with the opcodes below replaced."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, content):
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.memo = _Memo()
        # what may still be made: parts stand in the file once, but can be used at will; twice their size, since old
        # protocols make bytes of text before they make an array of the bytes
        self.room = 2 * len(content)
        self.keys, self.worked = 0, 0.0  # put into large containers so far, and the seconds that took
        self.clock = time.perf_counter  # the cheap one
        self.nested = {}  # id of a finished array -> the array, and how many arrays of objects stand in one another

    def find_class(self, module, name):
        found = NAMES.get((module, name))
        if found is None:
            asked = f"{module}.{name}"[:200]  # a name can be any text, of several lines or of a terminal's commands
            raise Refused("asks for " + "".join(c if c.isprintable() else "?" for c in asked))
        return found

    def persistent_load(self, pid):
        raise Refused("asks for an object by a persistent id")

    def of(self, kind):
        """What is on top of the stack, if it is of this type."""
        if type(self.stack[-1]) is not kind:
            raise Refused(f"fills a {type(self.stack[-1]).__name__} as if it were a {kind.__name__}")
        return self.stack[-1]

    def reduce(self):
        """Call one of the stand-ins; a name alone is no function, and neither is anything else here."""
        arguments, function = self.stack.pop(), self.stack[-1]
        if not isinstance(function, Maker) or type(arguments) is not tuple:
            raise Refused(f"calls a {type(function).__name__}")
        if isinstance(function, MakeContainer):
            self.stack[-1] = made = function(self.fill_anew, *arguments)
        else:
            self.stack[-1] = made = function(*arguments)
            self.spend(_size(made))
        if isinstance(made, np.ndarray) and not isinstance(function, MakeArray):
            self.nested[id(made)] = made, 0

    def build(self):
        """The state of an array, once, or of a dtype; nothing else has one."""
        state, item = self.stack.pop(), self.stack[-1]
        if isinstance(item, Dtype):
            item.set(state)
        elif isinstance(item, np.ndarray) and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, fortran, data = state
            dtype, data = checked(shape, dtype, data)
            inner = [x for x in data if isinstance(x, np.ndarray)] if dtype.kind == "O" else []
            if id(item) in self.nested or any(id(x) not in self.nested for x in inner):
                raise Refused("fills an array twice, or one in the other before it has an end")
            depth = max((self.nested[id(x)][1] for x in inner), default=0) + (dtype.kind == "O")
            if depth > MOST_NESTED:
                raise Refused(f"holds arrays of objects in one another, more than {MOST_NESTED} deep")
            item.__setstate__((1, shape, dtype, bool(fortran), data))
            self.spend(_size(item))
            self.nested[id(item)] = item, depth
        else:
            raise Refused(f"sets attributes of a {type(item).__name__}")

    def spend(self, size):
        """Count what is made, in bytes or in items, against the size of the file."""
        self.room -= size
        if self.room < 0:
            raise Refused("makes more than it holds")

    def fill_anew(self, container, keys, values=None):
        """`fill` from a list, which can be used at will: each use counts, whatever stands twice in it."""
        self.spend(len(keys))
        return self.fill(container, keys, values)

    def fill(self, container, keys, values=None):
        """The dict or the set with keys (and their values) put into it, part by part, against the clock."""
        for first in range(0, len(keys), PART):
            part = [checked_key(key) for key in keys[first : first + PART]]
            if values is not None:
                part = zip(part, values[first : first + PART], strict=True)
            if len(container) < PART:  # a small one is filled in no time, whatever its keys
                container.update(part)
                continue
            start = self.clock()
            container.update(part)
            self.worked += self.clock() - start
            self.keys += min(PART, len(keys) - first)
            if self.worked > PATIENCE + EACH * self.keys:
                if self.clock is time.thread_time:
                    raise Refused("uses keys that were chosen to be slow")
                self.worked, self.clock = 0.0, time.thread_time  # does this take long, or do other processes?
        return container

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
        self.fill(self.of(dict), (key,), (value,))

    def setitems(self):
        items = self.pop_mark()
        self.fill(self.of(dict), items[::2], items[1::2])

    def additems(self):
        items = self.pop_mark()
        self.fill(self.of(set), items)

    def dictionary(self):
        items = self.pop_mark()
        self.stack.append(self.fill({}, items[::2], items[1::2]))

    def frozen(self):
        items = self.pop_mark()
        self.stack.append(frozenset(self.fill(set(), items)))

    def refuse(self):
        raise Refused("makes an object of a class")


for _name, _do in {
    "REDUCE": _Plain.reduce, "BUILD": _Plain.build, "APPEND": _Plain.append, "APPENDS": _Plain.appends,
    "SETITEM": _Plain.setitem, "SETITEMS": _Plain.setitems, "ADDITEMS": _Plain.additems, "DICT": _Plain.dictionary,
    "FROZENSET": _Plain.frozen, "BYTEARRAY8": _Plain.bytearray, "INST": _Plain.instance,
}.items():  # fmt: skip
    _Plain.dispatch[getattr(pickle, _name)[0]] = _do
for _name in ("OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"):
    _Plain.dispatch[getattr(pickle, _name)[0]] = _Plain.refuse
