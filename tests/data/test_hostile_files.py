"""Files that would take the memory or the time of whoever opens them, or read what they should not: one sentence each.

They are opened in a process of its own that has 300 MB more than it starts with, and a few seconds for each.
"""

import gzip
import json
import os
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from safetensors.numpy import save_file

from aqa_lib import processes
from aqa_lib.data import AssessmentSet
from aqa_lib.data.files import limits
from aqa_lib.data.files.folder import csv_rows, text_of
from aqa_lib.data.files.importers import import_list, read_array
from aqa_lib.data.files.matlab import mat
from aqa_lib.data.files.shipped import unpacked
from aqa_lib.data.files.store import Store
from aqa_lib.data.ragged import Ragged
from aqa_lib.errors import UserError
from aqa_lib.training.checkpoint import Checkpoints

BOUNDED = """
import resource, sys, time, warnings
from pathlib import Path
import h5py, scipy.io
from aqa_lib.data import AssessmentSet
from aqa_lib.data.files import activitynet_json, folder, importers, shipped, store
from aqa_lib.errors import UserError
from aqa_lib.ledger import record

READ = {
    "array": importers.read_array, "list": lambda p: importers.import_list(p, p, p + ".out"),
    "link": lambda p: importers.read_array(p, "link"), "below": lambda p: importers.read_array(p, "link/x"),
    "set": AssessmentSet.read, "store": store.Store.read, "weights": record.unpacked, "shipped": shipped.unpacked,
    "rows": folder.csv_rows, "matrix": folder.matrix, "actions": lambda p: activitynet_json.read(p, "x", {}),
}
warnings.simplefilter("ignore")
with open("/proc/self/status") as lines:
    now = next(int(line.split()[1]) for line in lines if line.startswith("VmSize"))
most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (1024 * now + 300 * 2**20, most))
for line in sys.stdin:
    kind, path = line.split()
    start = time.process_time()
    try:
        READ[kind](path)
        said = "read"
    except UserError as error:
        said = "refused " + str(error)
    except BaseException as error:
        said = f"{type(error).__name__} {error}"
    seconds = round(time.process_time() - start, 1)
    print(kind, Path(path).name, seconds, said.replace(chr(10), " TWO LINES "), flush=True)
"""
ZEROS = 3 * 10**8  # bytes


def head(shape, dtype="<f4", pad=0):
    """The beginning of a .npy of format 2."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b" " * pad + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def zeros(file, size=ZEROS):
    for _ in range(size // 10**6):
        file.write(bytes(10**6))


def npz(path, *members, packed=zipfile.ZIP_DEFLATED):
    """A zip of (name, parts): bytes, or a number of zeros."""
    with zipfile.ZipFile(path, "w", packed) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that stands there twice
        for name, *parts in members:
            with file.open(name, "w") as member:
                for part in parts:
                    zeros(member, part) if isinstance(part, int) else member.write(part)


def deflated(size=ZEROS):
    pack = zlib.compressobj(1)
    return b"".join(pack.compress(bytes(10**6)) for _ in range(size // 10**6)) + pack.flush()


def hdf5(path, **options):
    """An HDF5 file of one array that says what `options` say."""
    with h5py.File(path, "w") as file:
        file.create_dataset("x", **({"dtype": "f4"} | options))


def inflating(path):
    """One part of 1,000 numbers that inflates to far more."""
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (1, 1000), "f4", chunks=(1, 1000), compression="gzip")
        x.id.write_direct_chunk((0, 0), deflated())


def filtered_twice(path):
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 4))
        plist.set_deflate(1)
        plist.set_deflate(1)
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((1, 4)), plist)


def virtual(path):
    other = path.with_name("other.h5")
    hdf5(other, data=np.ones((2, 3), "f4"))
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(str(other), "x", (2, 3))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)


def links(path):
    hdf5(path.with_name("other.h5"), data=np.ones((2, 3), "f4"))
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink(str(path.with_name("other.h5")), "/" if "below" in path.name else "/x")
        file["y"] = np.ones((2, 3))


def soft(path):
    with h5py.File(path, "w") as file:
        file["link"], file["y"] = h5py.SoftLink("/y"), np.ones((2, 3))


def deep(path, levels=3000):
    with h5py.File(path, "w", libver="latest") as file:
        group = file
        for _ in range(levels):
            group = group.create_group("g")
        group["x"] = np.ones((2, 3))


def matlab(path, shape=(1, 2)):
    """A matrix of version 5 whose numbers are many zeros, packed."""

    def part(kind, content):
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    about = part(6, struct.pack("<II", 6, 0)) + part(5, struct.pack("<ii", *shape)) + part(1, b"x")
    pack = zlib.compressobj(1)
    packed = pack.compress(struct.pack("<II", 14, len(about) + 8 + ZEROS) + about + struct.pack("<II", 9, ZEROS))
    packed += b"".join(pack.compress(bytes(10**6)) for _ in range(ZEROS // 10**6)) + pack.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)


def packed_text(path, line):
    with gzip.open(path, "wb", 1) as file:
        for _ in range(ZEROS // 10**6):
            file.write(line * (10**6 // len(line)))


def tensors(path, key, text, **arrays):
    save_file(arrays or {"scores": np.ones(1)}, path, metadata={key: text})


def of_ids(ids):
    strings = {"ids": ids, "table/id": ids}
    return json.dumps({"version": 2, "name": "x", "meta": {}, "strings": strings, "columns": ["id"]})


def with_external(path):
    """Another file of this machine, shown as numbers."""
    secret = path.with_name("secret")
    secret.write_bytes(np.arange(6, dtype="f4").tobytes())
    hdf5(path, shape=(2, 3), external=[(str(secret), 0, 24)])


NESTED = "[" * 500 + "]" * 500  # what json itself reads
FAR = "[" * 100_000 + "]" * 100_000
WORDS = ["x"] * 20_000 + ["y" * 100_000]
MADE = {  # kind and name of the file, what makes it, what is said
    "array zeros.npz": (lambda p: npz(p, ("x.npy", head((75, 10**6)), ZEROS)), "would fill"),
    "array header.npz": (lambda p: npz(p, ("x.npy", head((1, 2), pad=2 * 10**8), bytes(8))), "has a header of"),
    "array promises.npz": (lambda p: npz(p, ("x.npy", head((10**4, 10**3)), bytes(64))), "but the array has"),
    "array twice.npz": (
        lambda p: npz(p, ("x.npy", head((1, 2)), bytes(8)), ("x.npy", head((1, 2)), bytes(8))),
        "holds 'x.npy' twice",
    ),
    "array absolute.npz": (lambda p: npz(p, ("/etc/x.npy", head((1, 2)), bytes(8))), "a path out of it"),
    "array above.npz": (lambda p: npz(p, ("a/../../x.npy", head((1, 2)), bytes(8))), "a path out of it"),
    "array rare.npz": (
        lambda p: npz(p, ("x.npy", head((1, 2)), bytes(8)), packed=zipfile.ZIP_BZIP2),
        "packed in a rare way",
    ),
    "array promises.npy": (lambda p: p.write_bytes(head((10**4, 10**3)) + bytes(64)), "but it has"),
    "list promises.npy": (lambda p: p.write_bytes(head((10**4, 10**3)) + bytes(64)), "but it has"),
    "shipped zeros.npz": (
        lambda p: npz(
            p,
            ("ids.npy", head((1,), "<U1"), b"a\0\0\0"),
            ("frames.npy", head((1,), "<i4"), b"\1\0\0\0"),
            ("steps.npy", head((1, ZEROS // 2), "<i2"), ZEROS),
        ),
        "would fill",
    ),
    "array fill.h5": (lambda p: hdf5(p, shape=(3000, 250_000), chunks=(3000, 250_000)), "would fill"),
    "array chunk.h5": (lambda p: hdf5(p, shape=(1, 4), maxshape=(None, 4), chunks=(10**8, 4)), "would fill"),
    "array parts.h5": (lambda p: hdf5(p, shape=(3000, 3000), dtype="i1", chunks=(1, 1)), "no room for them"),
    "array inflating.h5": (inflating, "larger than it says"),
    "array again.h5": (filtered_twice, "packs /x in a rare way"),
    "array external.h5": (with_external, "keeps /x in other files"),
    "array virtual.h5": (virtual, "keeps /x in other files"),
    "link elsewhere.h5": (links, "is a link to elsewhere"),
    "below below.h5": (links, "is a link to elsewhere"),
    "link soft.h5": (soft, "is a link to elsewhere"),
    "array deep.h5": (deep, "groups in one another"),
    "array zeros.mat": (matlab, "has shape (1, 2), but 300000000 bytes"),
    "array more.mat": (lambda p: matlab(p, (ZEROS // 8, 1)), "would fill"),
    "array line.csv": (lambda p: p.write_bytes(b"1," * 10**7), "has a line of more than"),
    "rows zeros.csv.gz": (lambda p: packed_text(p, b"a,b\n"), "would fill"),
    "matrix zeros.txt.gz": (lambda p: packed_text(p, b"1 2\n"), "would fill"),
    "actions nested.json": (lambda p: p.write_text('{"database": {"v": ' + NESTED + "}}"), "nested more than"),
    "actions far.json": (lambda p: p.write_text('{"database": {"v": ' + FAR + "}}"), "nested more than"),
    "set nested.set": (lambda p: tensors(p, "aqa", '{"version": 2, "meta": ' + NESTED + "}"), "nested more than"),
    "store nested.store": (lambda p: tensors(p, "aqa_store", FAR), "nested more than"),
    "weights nested.weights": (lambda p: tensors(p, "aqa", '{"about": ' + NESTED + "}"), "nested more than"),
    "set words.set": (lambda p: tensors(p, "aqa", of_ids(WORDS), scores=np.ones(len(WORDS))), "a word of 100000"),
    "store words.store": (
        lambda p: tensors(p, "aqa_store", json.dumps({"version": 1, "ids": sorted(set(WORDS)) + NAMES})),
        "a word of 100000",
    ),
    "weights words.weights": (
        lambda p: tensors(p, "aqa", json.dumps({"about": {}, "words": {"w": WORDS}})),
        "a word of 100000",
    ),
}
NAMES = [f"v{i}" for i in range(20_000)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """kind and name -> (seconds, what was said), of all files, each in its turn."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("limits are those of Linux")
    folder, lines = tmp_path_factory.mktemp("hostile"), []
    for asked, (make, _) in MADE.items():
        kind, name = asked.split()
        path = folder / kind / name
        path.parent.mkdir(exist_ok=True)
        make(path)
        assert path.stat().st_size < 25e6
        lines.append(f"{kind} {path}\n")
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED], input="".join(lines), capture_output=True, text=True, timeout=300
    )
    said = (line.split(maxsplit=3) for line in done.stdout.splitlines())
    return {f"{kind} {name}": (float(seconds), words) for kind, name, seconds, words in said}


@pytest.mark.parametrize("name", MADE)
def test_it_is_refused_in_a_moment_and_within_little_memory(answers, name):
    seconds, said = answers[name]
    assert said.startswith("refused") and MADE[name][1] in said and name.split()[1] in said, said
    assert "TWO LINES" not in said and len(said) < 600
    assert seconds < 5


def refused(said, call, *arguments):
    with pytest.raises(UserError, match=said) as error:
        call(*arguments)
    assert "\n" not in str(error.value)


def one_of_each(folder):
    """Honest files, and what reads each of them."""
    x = np.arange(12, dtype="f4").reshape(3, 4)
    np.save(folder / "a.npy", x)
    np.savez(folder / "a.npz", x=x)
    hdf5(folder / "a.h5", data=x, compression="gzip", shuffle=True)
    scipy.io.savemat(folder / "a.mat", {"x": x}, do_compression=True)
    np.savetxt(folder / "a.csv", x, delimiter=",")
    (folder / "a.txt.gz").write_bytes(gzip.compress(b"a,b\n" * 10**5))
    AssessmentSet("s", features=x[:, None], ids=["a", "b", "c"]).save(folder / "a.set")
    store = Store.write(folder / "a.store", {"rgb": {"v": x}})
    reads = {f"a{end}": read_array for end in (".npy", ".npz", ".h5", ".mat", ".csv")}
    reads |= {"a.txt.gz": csv_rows, "a.set": AssessmentSet.read, "a.store": lambda p: Store.read(p).ragged(["v"])}
    assert store == folder / "a.store"
    return {folder / name: read for name, read in reads.items()}


def test_what_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    reads = one_of_each(tmp_path)
    for path, read in reads.items():
        read(path)
    monkeypatch.setattr(processes, "memory", lambda: 40)
    for path, read in reads.items():
        refused(f"{path.name} takes about .* of memory are free", read, path)


def test_a_file_with_holes_is_as_large_as_it_says(tmp_path):
    """A disk keeps no zeros: 2 TB take no room there."""
    path = tmp_path / "a.npy"
    path.write_bytes(head((5, 10**11)))
    os.truncate(path, 2 * 10**12 + path.stat().st_size)
    refused("takes about .* TB", read_array, path)
    refused("takes about .* TB", import_list, path, path, tmp_path / "s")


@pytest.mark.parametrize("read", [AssessmentSet.read, Store.read, text_of])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a")
    refused("it is no file", read, tmp_path / "a")


def test_what_packs_well_and_is_honest_is_read(tmp_path):
    """Zeros are the best that can be packed: a video of them is, too, as one that nobody could be found in."""
    x = np.zeros((1000, 2048), "f4")
    np.savez_compressed(tmp_path / "a.npz", x=x)
    hdf5(tmp_path / "a.h5", data=x, compression="gzip")
    scipy.io.savemat(tmp_path / "a.mat", {"x": x}, do_compression=True)
    for path in sorted(tmp_path.iterdir()):
        assert path.stat().st_size < 1e5
        assert read_array(path).shape == (1000, 2048)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 10**6))
    assert len(csv_rows(tmp_path / "a.csv.gz")) == 10**6


def test_checksums_are_looked_at(tmp_path):
    npz(tmp_path / "a.npz", ("x.npy", head((1, 64)), bytes(range(256))), packed=zipfile.ZIP_STORED)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(bytes(range(256))) + 8] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    refused("a.npz cannot be read as features .*CRC", read_array, tmp_path / "a.npz")
    refused("a.npz is not a file of packed recordings", unpacked, tmp_path / "a.npz")


def store_of(path, starts, ids=("a", "b"), values=None, **known):
    text = {"version": 1, "ids": list(ids), "modalities": {"rgb": known}}
    arrays = {"values/rgb": np.ones((4, 2), "f4") if values is None else values, "starts/rgb": starts}
    tensors(path, "aqa_store", json.dumps(text), **arrays)
    return path


@pytest.mark.parametrize(
    "starts, more",
    [
        (np.array([0, 2**63 - 1, 4]), {}),  # the second difference wraps around
        (np.array([0, 7, 4], dtype=np.uint64), {}),  # differences without sign are never below 0
        (np.array([0.0, np.nan, 4.0]), {}),
        (np.array([[0], [2], [4]]), {}),
        (np.array([0, 2, 4]), {"ids": [1, 2]}),
        (np.array([0, 2, 4]), {"values": np.ones((4, 2), bool)}),
        (np.array([0, 2, 4]), {"values": np.ones(4, "f4")}),
        (np.array([0, 2, 4]), {"fps": "fast"}),
        (np.array([0, 2, 4]), {"window": 2**70}),
        (np.array([0, 2, 4]), {"fps": 25, "sound": 1}),
    ],
)
def test_a_store_that_contradicts_itself(tmp_path, starts, more):
    assert Store.read(store_of(tmp_path / "right", np.array([0, 2, 4]), fps=25)).get("b").shape == (2, 2)
    refused("is not a feature store", Store.read, store_of(tmp_path / "s", starts, **more))


def test_lengths_whose_sum_wraps_around():
    refused("but there are 5 rows", Ragged, np.ones((5, 2)), np.array([2**62] * 4 + [5]))


@pytest.mark.parametrize("change", [{"name": ["x"]}, {"meta": [1]}, {"columns": 3}, {"version": []}, {"strings": None}])
def test_a_set_of_other_texts(tmp_path, change):
    ids = ["a", "b"]
    text = json.loads(of_ids(ids))
    tensors(tmp_path / "right", "aqa", json.dumps(text), scores=np.ones(2))
    assert AssessmentSet.read(tmp_path / "right").ids.tolist() == ids
    tensors(tmp_path / "s", "aqa", json.dumps(text | change), scores=np.ones(2))
    refused("/s ", AssessmentSet.read, tmp_path / "s")


def test_half_of_a_character_is_no_text(tmp_path):
    tensors(tmp_path / "s", "aqa", of_ids(["a", "\ud83d"]), scores=np.ones(2))
    refused("/s is not a data set .*surrogates", AssessmentSet.read, tmp_path / "s")
    tensors(tmp_path / "s", "aqa", of_ids(["a", "\U0001f3c5"]), scores=np.ones(2))
    assert AssessmentSet.read(tmp_path / "s").ids[1] == "\U0001f3c5"


def test_a_checkpoint_that_is_packed(tmp_path):
    """torch writes its numbers as they are; a packed file could be a thousand times larger."""
    torch.save({"x": torch.zeros(20 * 10**6)}, tmp_path / "a.checkpoint")
    with zipfile.ZipFile(tmp_path / "a.checkpoint") as file, zipfile.ZipFile(tmp_path / "b.checkpoint", "w", 8) as bomb:
        for member in file.infolist():
            bomb.writestr(member.filename, file.read(member))
    assert Checkpoints.read(tmp_path / "a.checkpoint")["x"].shape == (20 * 10**6,)
    with pytest.warns(UserWarning, match="b.checkpoint cannot be read .*would fill"):
        assert Checkpoints.read(tmp_path / "b.checkpoint") is None


def test_two_sizes_say_what_a_file_may_fill(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10**6))
    limits.check_fit(tmp_path / "a", limits.TIMES * 10**6)
    refused("has 1 MB, but would fill 100 MB or more", limits.check_fit, tmp_path / "a", limits.TIMES * 10**6 + 1)
    (tmp_path / "b").write_bytes(b"")
    limits.check_fit(tmp_path / "b", limits.SMALL)
    refused("has 0 B, but would fill", limits.check_fit, tmp_path / "b", limits.SMALL + 1)


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_matrix_is_read_or_refused(tmp_path, packed):
    """scipy's reader ends the process at some of these."""
    rng, x = np.random.default_rng(0), np.arange(60.0).reshape(6, 10)
    scipy.io.savemat(tmp_path / "a.mat", {"x": x, "other": np.ones((2, 2)), "cell": np.array([1, "a"], dtype=object)},
                     do_compression=packed)  # fmt: skip
    whole = (tmp_path / "a.mat").read_bytes()
    np.testing.assert_array_equal(read_array(tmp_path / "a.mat", "x"), x)
    refused("holds object, not numbers", read_array, tmp_path / "a.mat", "cell")
    for _ in range(400):
        content = bytearray(whole)
        content[rng.integers(124, len(whole))] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        (tmp_path / "b.mat").write_bytes(content)
        try:
            assert read_array(tmp_path / "b.mat", "x").size <= 60
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
def test_matrices_of_every_type_are_those_that_scipy_reads(tmp_path, dtype):
    x = (np.arange(60) % 2 if dtype == "?" else np.arange(60)).reshape(3, 4, 5).astype(dtype)
    for packed in (False, True):
        scipy.io.savemat(tmp_path / "a.mat", {"x": x[:, :, 0], "three": x}, do_compression=packed)
        for name in ("x", "three"):
            with mat(tmp_path / "a.mat", name) as found:
                theirs = scipy.io.loadmat(tmp_path / "a.mat")[name]
                np.testing.assert_array_equal(found.read(), theirs)
                assert found.shape == theirs.shape and found.dtype == theirs.dtype
    scipy.io.savemat(tmp_path / "a.mat", {"x": x * 1j})
    refused("holds complex128, not numbers", read_array, tmp_path / "a.mat", "x")
