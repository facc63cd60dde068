"""Pickles of strangers: what is plain comes out as it went in, whatever else is refused and nothing is called."""

import collections
import os
import pickle
import pickletools
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqa_lib.data.files import unpickle
from aqa_lib.errors import UserError

PLAIN = [
    {1: {(1, "a"): [2.5, b"x", None, True]}, "s": {1, 2}, 3.0: frozenset(["u"])},
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.array(["a", "bcd"]),
    np.array([b"a", b"bcd"]),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array([[1, "x"], [None, {"k": (2,)}]], dtype=object),
    np.asfortranarray(np.array([[1, "x"], [None, [3]]], dtype=object)),
    np.array(3.5),
    np.zeros((0, 4)),
    [np.float32(2), np.int64(-7), np.bool_(True), np.str_("ab"), np.str_(""), np.bytes_(b"")],
    2**80,
    "café ☃",
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=lambda v: repr(v)[:25])
def test_plain_values_come_back(value, protocol):
    back = unpickle.loads(pickle.dumps(value, protocol))
    assert type(back) is type(value)
    same = pickle.loads(pickle.dumps(value, protocol))  # the standard library's word
    assert repr(back) == repr(same)
    if isinstance(value, np.ndarray):
        assert back.shape == value.shape and back.tolist() == value.tolist()
        assert back.flags.writeable and back.flags.f_contiguous == same.flags.f_contiguous


atoms = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
keys = st.one_of(st.integers(), st.text(), st.tuples(st.integers(), st.text()))
values = st.recursive(atoms, lambda v: st.lists(v) | st.tuples(v, v) | st.dictionaries(keys, v), max_leaves=12)


@pytest.mark.slow
@given(values, st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=150, deadline=None)
def test_any_plain_value_comes_back(value, protocol):
    assert unpickle.loads(pickle.dumps(value, protocol)) == value


def test_an_ordered_dict_comes_back_as_a_dict_and_shared_parts_stay_shared():
    back = unpickle.loads(pickle.dumps(collections.OrderedDict([("b", 1), ("a", 2)])))
    assert type(back) is dict and list(back) == ["b", "a"]
    one = [1]
    back = unpickle.loads(pickle.dumps([one, one]))
    assert back[0] is back[1]
    array = np.arange(3)
    back = unpickle.loads(pickle.dumps([array, array]))
    assert back[0] is back[1] and back[0].tolist() == [0, 1, 2]
    one.append(one)
    back = unpickle.loads(pickle.dumps(one))
    assert back[1] is back


def test_text_and_arrays_of_python_2():
    # what Python 2 wrote for {'k': numpy.array([1.5]), u'é': 'caf\xe9'}: bytes of arrays are its str
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\ntcnumpy\ndtype\n(S'f8'\nI0\n"
        b"I1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'"
        + b"".join(b"\\x%02x" % b for b in struct.pack("<d", 1.5))
        + b"'\ntb"
    )
    back = unpickle.loads(b"(dS'k'\n" + array + b"sV\\u00e9\nS'caf\\xe9'\ns.")
    assert back["k"].tolist() == [1.5] and back["k"].dtype == np.float64 and back["é"] == "café"


class Calls:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def touch(path):
    return f"open({str(path)!r}, 'w').close()"


CORE = np._core.multiarray


def hostile(mark):
    """name -> (pickle, the global that it asks for or what else is said); each would leave the file `mark`."""
    import builtins
    import importlib

    python = [sys.executable, "-c", touch(mark)]
    shell = f"touch '{mark}'"
    d = pickle.dumps
    reconstruct = CORE._reconstruct
    text = f'cos\nsystem\n(S"{shell}"\ntR.'.encode()
    return {
        "os.system": (d(Calls(os.system, shell)), "posix.system"),
        "os.system in text": (text, "os.system"),
        "os.system by INST": (f'(S"{shell}"\nios\nsystem\n.'.encode(), "os.system"),
        "os.system by OBJ": (f'(cos\nsystem\nS"{shell}"\no.'.encode(), "os.system"),
        "eval": (d(Calls(eval, touch(mark))), "builtins.eval"),
        "eval of Python 2": (d(Calls(eval, touch(mark)), 0), "__builtin__.eval"),
        "exec": (d(Calls(exec, touch(mark))), "builtins.exec"),
        "open": (d(Calls(open, str(mark), "w")), "open"),
        "subprocess": (d(Calls(subprocess.call, python)), "subprocess.call"),
        "Popen": (d(Calls(subprocess.Popen, python)), "subprocess.Popen"),
        "getattr": (d(Calls(builtins.getattr, [], "append")), "builtins.getattr"),
        "dotted name": (b"\x80\x04\x8c\x02os\x8c\x06system\x93" + d(shell, 4)[2:-1] + b"\x85R.", "os.system"),
        "dotted in numpy": (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "numpy.ndarray.tofile"),
        "a name of two lines": (b"\x80\x04\x8c\x08os\n\x1b[31m\x8c\x06system\x93.", "asks for os??[31m.system:"),
        "import": (d(Calls(importlib.import_module, "antigravity")), "importlib.import_module"),
        "numpy runstring": (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.", "utils.runstring"),
        "numpy.load": (d(Calls(np.load, str(mark))), "numpy.load"),
        "numpy.fromfile": (b"cnumpy\nfromfile\n(S'/etc/passwd'\ntR.", "numpy.fromfile"),
        "numpy.memmap": (b"cnumpy\nmemmap\n(S'x'\ntR.", "numpy.memmap"),
        "in an object array": (d(np.array([Calls(os.system, shell)], dtype=object)), "posix.system"),
        "in a dict of arrays": (d({"a": np.arange(3), "b": Calls(eval, touch(mark))}), "builtins.eval"),
        "as a dtype": (d(Calls(reconstruct, np.ndarray, (0,), b"b", state=(1, (1,), Calls(eval, "1"), False, b"x"))),
                       "builtins.eval"),
        "subclass": (d(Calls(reconstruct, np.matrix, (0,), b"b")), "matrix"),
        "chain": (d(Calls(getattr, Calls(importlib.import_module, "os"), "system")), "getattr"),
        "copyreg": (b"ccopyreg\n_reconstructor\n(cbuiltins\nlist\ncbuiltins\nlist\nNtR.", "copyreg._reconstructor"),
        "a class": (d(Calls), "Calls"),
        "a class of Python": (d(slice(1)), "builtins.slice"),
        "code of marshal": (b"cmarshal\nloads\n(S'x'\ntR.", "marshal.loads"),
        "types": (b"ctypes\nCodeType\n.", "types.CodeType"),
        "extension": (b"\x80\x02\x82\x01.", "makes an object of a class"),
        "persistent id": (b"Pevil\n.", "persistent id"),
        "binary persistent id": (b"\x80\x02X\x04\x00\x00\x00evilQ.", "persistent id"),
        "out of band": (b"\x80\x05\x97.", "makes an object of a class"),
    }  # fmt: skip


def refused(content):
    with pytest.raises(UserError) as error:
        unpickle.loads(content, "stranger.pkl")
    assert "\n" not in str(error.value) and str(error.value).startswith("stranger.pkl ")
    return str(error.value)


@pytest.mark.parametrize("name", hostile("mark"))
def test_hostile_pickles_are_refused_by_the_name_they_ask_for(name, tmp_path):
    mark = tmp_path / "mark"
    content, asked = hostile(mark)[name]
    said = refused(content)
    assert asked in said, said
    assert not mark.exists()


def test_the_hostile_pickles_do_harm_where_they_are_loaded_carelessly(tmp_path):
    """So that the test above can fail: the same bytes, given to the standard library, leave the mark."""
    for name in ("os.system", "os.system in text", "os.system by INST", "eval", "exec", "subprocess"):
        mark = tmp_path / name.replace(" ", "_")
        pickle.loads(hostile(mark)[name][0])
        assert mark.exists(), name


CORRUPT = {
    # flags of a dtype that say that pointers come as raw bytes
    "pointers as bytes": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\nt"
    b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'AAAAAAAA'\ntb.",
    "scalar of pointers": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'AAAAAAAA'\ntR.",
    "structured dtype": b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.",
    "fields": b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'|'\nN(S'x'\nt(dI8\nI1\nI16\ntb.",
    "dtype from a dict": b"cnumpy\ndtype\n((dtR.",
    "too few bytes": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I9\nt"
    b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS'AAAAAAAA'\ntb.",
    "negative shape": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I-1\nt"
    b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS''\ntb.",
    "attributes of a stand-in": b"cnumpy\ndtype\n}S'code'\nI1\nsb.",
    "attributes of a list": b"]}S'x'\nI1\nsb.",
    "slots of a stand-in": b"cnumpy\ndtype\n(N}S'set'\nI1\nstb.",
    "call of a class that is no function": b"cnumpy\nndarray\n(I3\ntR.",
    "call of text": b"S'os.system'\n(tR.",
    "call of a dtype": b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(tR.",
    "arguments that are no tuple": b"cnumpy\ndtype\nS'f8'\nR.",
    "items of an array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRI0\nI1\ns.",
    "append to an array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRI0\na.",
    "encoding by another codec": b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
    "new object": b"\x80\x02cnumpy\nndarray\n(I3\nt\x81.",
    "bytes from a number": b"c__builtin__\nbytes\n(I1000000000\ntR.",
    "call by INST": b"(S'f8'\nI0\nI1\ninumpy\ndtype\n.",
    "truth that is neither": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\nt"
    b"cnumpy\ndtype\n(S'b1'\ntRI00\nS'\\x02'\ntb.",
    "characters that do not exist": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'U1'\ntR"
    b"S'\\xff\\xff\\xff\\x7f'\ntR.",
    "items without size": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I999999999\nt"
    b"cnumpy\ndtype\n(S'S0'\ntRI00\nS''\ntb.",
    "a dtype by itself": pickle.dumps({"a": [np.dtype("f8")]}),
    "a class by itself": pickle.dumps(np.array([np.ndarray, 1], dtype=object)),
    "a function by itself": b"cnumpy\ndtype\n.",
    "an array in itself": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRp0\n(I1\n(I1\nt"
    b"cnumpy\ndtype\n(S'O'\ntRI00\n(g0\nltb.",
    "an array filled twice": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    + 2 * b"(I1\n(I1\ntcnumpy\ndtype\n(S'O'\ntRI00\n(Nltb"
    + b".",
    "a buffer filled again": pickle.dumps(np.arange(3.0), 5)[:-1]
    + b"(K\x01K\x01\x85cnumpy\ndtype\n(S'O'\ntR\x89(Nltb.",
}


@pytest.mark.parametrize("name", CORRUPT)
def test_tricks_with_permitted_names_are_refused(name):
    refused(CORRUPT[name])


def test_what_a_pickle_does_stays_within_it():
    """No stand-in can be changed for the next pickle."""
    before = pickle.dumps(np.arange(3))
    for content in CORRUPT.values():
        refused(content)
    assert unpickle.loads(before).tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04", b"(", b"\x80\x09.", b"I1\n", b"\x80\x04]a."])
def test_what_is_no_pickle_is_one_sentence(content):
    assert "cut short or is no pickle" in refused(content)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_read_or_refused(content):
    try:
        unpickle.loads(content)
    except UserError as error:
        assert "\n" not in str(error)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_pickle_is_read_or_refused(data):
    whole = bytearray(pickle.dumps({(1, 2): np.arange(4.0), "k": [1, "x", np.float32(2)]}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpickle.loads(bytes(whole))
    except UserError as error:
        assert "\n" not in str(error)


def test_a_truncated_pickle_is_refused_at_every_length():
    whole = pickle.dumps({"a": np.arange(5), "b": "text"})
    for length in range(len(whole)):
        refused(whole[:length])


def test_files(tmp_path):
    path = tmp_path / "a.pkl"
    with pytest.raises(UserError, match="no file"):
        unpickle.load(path)
    with pytest.raises(UserError, match="cannot read"):
        unpickle.load(tmp_path)
    path.write_bytes(pickle.dumps([1, 2]))
    assert unpickle.load(path) == [1, 2]
    path.write_bytes(pickle.dumps(Calls(eval, "1")))
    with pytest.raises(UserError, match="a.pkl asks for builtins.eval: it is not opened"):
        unpickle.load(path)


def test_every_opcode_is_decided_upon():
    """A new protocol brings opcodes; those of today are either harmless, replaced, or refused."""
    assert {op.code.encode("latin1")[0] for op in pickletools.opcodes} == set(unpickle._Plain.dispatch)
