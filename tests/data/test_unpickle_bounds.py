"""Pickles that would take the memory, the time or the stack of whoever opens them, in a process that has little."""

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aqa_lib.data.files import unpickle

BOUNDED = """
import resource, sys, time
from aqa_lib.data.files import unpickle
from aqa_lib.errors import UserError

most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (2**30, most))
resource.setrlimit(resource.RLIMIT_CPU, (40, 41))
def peak():  # kilobytes; getrusage would count the memory of the process that forked this one
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
for line in sys.stdin:
    name, content = line.split()
    start = time.process_time()
    try:
        print(name, "read", type(unpickle.loads(bytes.fromhex(content))).__name__)
    except UserError as error:
        print(name, "refused", error)
    print(name + "_MB", peak() // 1024)
    print(name + "_s", time.process_time() - start)
"""
HEAD = (  # 0 _reconstruct, 1 ndarray, 2 dtype("O"), 3 (0,), 4 (1,), 5 "b"
    b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n\x940cnumpy\nndarray\n\x940cnumpy\ndtype\n\x8c\x01O\x85R\x940"
    b"K\x00\x85\x940K\x01\x85\x940\x8c\x01b\x940"
)
OPEN, CLOSE = b"h\x00h\x01h\x03h\x05\x87R(K\x01h\x04h\x02\x89]", b"atb"  # an array of one object, which stands between
PRIME = 2**61 - 1  # Python's hash of an integer is its rest by this one
COLLIDING = [b"\x8a\x0a" + (i * PRIME).to_bytes(10, "little") for i in range(1, 43_000)]  # with values 559 kB
LONG = b"\x8b" + struct.pack("<i", 10**6) + b"\x01" * 10**6  # an integer of eight million bits


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits and peaks are those of Linux")
def test_bombs_neither_hang_nor_take_the_memory():
    """In a process with 1 GiB and 40 s, of which it needs little."""
    tuples = b")\x94" + b"".join(b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
    bombs = {
        "memo": (b"\x80\x02]r\xff\xff\xff\x7f.", "read list"),  # one list, at index 2^31 - 1
        "tuples": (b"\x80\x04" + tuples + b".", "read tuple"),  # 2^60 leaves that nobody walks
        "key": (b"\x80\x04" + tuples + b"0}h" + bytes([60]) + b"K\x01s.", "refused"),
        "member": (b"\x80\x04" + tuples + b"0\x8f(h" + bytes([60]) + b"\x90.", "refused"),
        "dtype": (b"\x80\x04cnumpy\ndtype\n" + tuples + b"\x85R.", "refused"),  # whose text one might want to show
        "codec": (b"\x80\x04c_codecs\nencode\n\x8c\x01x" + tuples + b"\x86R.", "refused"),
        "bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.", "refused"),
        "frame": (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"K\x01.", "read int"),  # it ends with the file
        "array": (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1000000000000L\ntS'b'\ntR(I1\n"
            b"(L1000000000000L\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS''\ntb.",
            "refused",
        ),
        "bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 2**29) + b"abc.", "refused"),
        "codecs": (
            b"\x80\x04c_codecs\nencode\n\x940X"
            + struct.pack("<I", 10**7)
            + b"a" * 10**7
            + b"\x85\x940]("
            + b"h\x00h\x01R" * 40
            + b"e.",
            "refused",
        ),
        "members": (
            b"\x80\x04c__builtin__\nset\n\x940](" + b"".join(b"M" + struct.pack("<H", i) for i in range(60000)) + b"e"
            b"\x85\x940](" + b"h\x00h\x01R" * 400 + b"e.",
            "refused",
        ),
        "shape": (HEAD + LONG + b"\x940(" + b"h\x06" * 32 + b"t\x940" + OPEN[:-6] + b"h\x07h\x02\x89]tb.", "refused"),
        "integer": (b"\x80\x04" + LONG + b"\x940}(" + b"h\x00N" * 20_000 + b"u.", "refused"),
        "nested": (HEAD + OPEN * 100_000 + b"N" + CLOSE * 100_000 + b".", "refused"),
        "mixed": (HEAD + (OPEN + b"]") * 30_000 + b"N" + (b"a" + CLOSE) * 30_000 + b".", "read ndarray"),
        "collide": (b"\x80\x04}(" + b"N".join(COLLIDING) + b"Nu.", "refused"),
        "onebyone": (b"\x80\x04}" + b"Ns".join(COLLIDING) + b"Ns.", "refused"),
        "colliders": (b"\x80\x04\x8f(" + b"".join(COLLIDING) + b"\x90.", "refused"),
        "pairs": (b"\x80\x04(" + b"".join(key + b"K\x01\x86" for key in COLLIDING) + b"\x91.", "refused"),
        "called": (b"\x80\x04c__builtin__\nset\n](" + b"".join(COLLIDING) + b"e\x85R.", "refused"),
        "again": (
            b"\x80\x04c__builtin__\nset\n\x940]("
            + b"K\x01" * 20_000
            + b"e\x85\x940]("
            + b"h\x00h\x01R" * 20_000
            + b"e.",
            "refused",
        ),
        "indices": (b"\x80\x02N" + b"".join(b"p%d\n" % (i * PRIME) for i in range(1, 40_000)) + b".", "read NoneType"),
        "depth": (b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "read list"),
    }
    lines = "".join(f"{name} {content.hex()}\n" for name, (content, _) in bombs.items())
    done = subprocess.run([sys.executable, "-c", BOUNDED], input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    for name, (_, expected) in bombs.items():
        assert said[name].startswith(expected), said[name]
    assert "as a key" in said["key"] and "as a key" in said["member"]
    assert max(int(megabytes) for name, megabytes in said.items() if name.endswith("_MB")) < 300
    assert "makes more than it holds" in said["codecs"] and "makes more than it holds" in said["members"]
    for name in ("collide", "onebyone", "colliders", "pairs", "called"):
        assert "keys that were chosen to be slow" in said[name], said[name]
        assert float(said[name + "_s"]) < 5
    assert "makes more than it holds" in said["again"]
    assert "4096 bits" in said["integer"] and "strange shape" in said["shape"] and "16 deep" in said["nested"]
    assert "of type" in said["dtype"] and "_codecs.encode" in said["codec"] and "its size" in said["array"]


@given(
    st.lists(
        arrays.arrays(
            st.sampled_from(["f4", ">f8", "i1", "u8", "?", "c8", "S3", "U4"]),
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
        ),
        max_size=4,
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
@settings(max_examples=150, deadline=None)
def test_no_honest_pickle_makes_more_than_it_holds(values, protocol):
    """Arrays, their scalars, sets, empty bytes and arrays of objects, in every protocol."""
    scalars = [x for a in values for x in a.ravel()[:5]]
    ragged = np.empty(len(values), dtype=object)
    ragged[:] = values
    whole = [values, scalars, ragged, np.array([None] * 50), {1, 2}, frozenset("abc"), b"", b"x"]
    back = unpickle.loads(pickle.dumps(whole, protocol))
    for a, b, c in zip(values, back[0], back[2], strict=True):
        for other in (b, c):
            assert other.dtype.newbyteorder("=") == a.dtype.newbyteorder("=") and other.shape == a.shape
            np.testing.assert_array_equal(other, a)
    assert [type(x) for x in back[1]] == [type(x) for x in scalars] and back[4:] == whole[4:]


@pytest.mark.parametrize("protocol", range(6))
def test_an_array_of_zeros_is_read_in_every_protocol(protocol):
    """Of 100 and 125 numbers: protocols 0 to 2 write a zero byte as one character, and decode it first."""
    for shape in ((4, 5, 5), (5, 5, 5)):
        back = unpickle.loads(pickle.dumps([np.zeros(shape)], protocol))
        assert back[0].shape == shape and not back[0].any()


@pytest.mark.parametrize("depth, read", [(unpickle.MOST_NESTED, True), (unpickle.MOST_NESTED + 1, False)])
def test_arrays_of_arrays_are_read_as_deep_as_anyone_writes_them(depth, read):
    value = np.arange(2)
    for _ in range(depth):
        value, inner = np.empty(1, dtype=object), value
        value[0] = inner
    if read:
        back = unpickle.loads(pickle.dumps(value))
        for _ in range(depth):
            back = back[0]
        assert back.tolist() == [0, 1]
    else:
        with pytest.raises(ValueError, match="in one another, more than"):
            unpickle.loads(pickle.dumps(value))


@pytest.mark.slow
def test_large_honest_dicts_are_read():
    """Keys that resemble one another, too: steps of a power of two, whole numbers as floats, short tuples."""
    for keys in (
        range(50_000),
        [i << 40 for i in range(50_000)],
        [float(i) for i in range(50_000)],
        [(i // 100, i % 100) for i in range(50_000)],
        [np.int64(i * 2**32) for i in range(10_000)],
        [f"video {i}" for i in range(50_000)],
    ):
        for protocol in (0, 4):
            value = dict.fromkeys(keys, 1)
            assert unpickle.loads(pickle.dumps(value, protocol)) == value
