"""Files that would take the memory or the time of whoever opens them, or read what they should not: one sentence each.

They are opened in a process of its own that has 300 MB more than it starts with, and a few seconds for each.
"""

import gzip
import json
import os
import struct
import subprocess
import sys
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
    print(kind, Path(path).name, round(time.process_time() - start, 1), said.replace(chr(10), " TWO LINES "), flush=True)
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
    with zipfile.ZipFile(path, "w", packed) as file:
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


def matlab(path):
    packed = deflated()
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
    "array header.npz": (lambda p: npz(p, ("x.npy", head((1, 2), pad=2 * 10**8), bytes(8))), "cannot be read"),
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
    "array zeros.mat": (matlab, "would fill"),
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
