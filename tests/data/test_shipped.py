"""Data sets that come with the project: as exact as stated, checked, and the same as their original files."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from aqa_lib import data
from aqa_lib.data.files import shipped as ships
from aqa_lib.data.files.shipped import FOLDER, main, packed, shipped, unpacked
from aqa_lib.errors import UserError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NAMES = {"ui_prmd": "ui_prmd.npz", "finger_tapping": "finger_tapping.csv.gz"}


def place(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    return SHARED / name


def test_every_recording_is_exact_to_half_a_hundredth():
    ids, recordings = unpacked(FOLDER / "ui_prmd.npz")
    files = {}
    for part in ("correct", "incorrect"):
        for path in (place("ui_prmd") / part).glob("*.txt.gz"):
            files[path.name.replace("_positions", "").removesuffix(".txt.gz")] = path
    assert len(ids) == len(set(ids)) == 2000 and set(ids) == set(files)
    for name, x in zip(ids, recordings, strict=True):
        with gzip.open(files[name], "rt") as file:
            original = np.loadtxt(file, delimiter=",")
        assert x.shape == original.shape
        assert np.abs(x - original).max() <= 0.005 + 1e-9, name


def test_without_a_root_the_set_is_that_of_the_original_files():
    ours, theirs = data.load("ui_prmd", kind="statistics"), data.load("ui_prmd", place("ui_prmd"), kind="statistics")
    assert ours.table.equals(theirs.table) and len(ours) == 2000
    np.testing.assert_array_equal(ours.pairs, theirs.pairs)
    np.testing.assert_allclose(ours.features, theirs.features, atol=0.0101)  # a step is that of two roundings
    assert data.fingerprint("ui_prmd") == data.fingerprint("ui_prmd") != data.fingerprint("ui_prmd", SHARED / "ui_prmd")
    ours, theirs = data.load("finger_tapping"), data.load("finger_tapping", place("finger_tapping"))
    assert ours.table.equals(theirs.table)
    for field in ("features", "scores", "judges", "ids", "groups"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_is_as_published_and_has_its_licence(name):
    found = data.reader(name).checks()
    assert [(what, value) for what, value, expected in found if expected not in (None, value)] == []
    assert data.ships(name) and not data.ships("mtl_aqa") and len(data.fingerprint(name)) == 16
    assert (FOLDER / f"{name}.LICENSE").read_text().startswith(NAMES[name])
    line = f"{hashlib.sha256((FOLDER / NAMES[name]).read_bytes()).hexdigest()}  {NAMES[name]}"
    assert line in (FOLDER / "SHA256SUMS").read_text().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_an_altered_or_absent_file_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ships, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=f"comes in .*{NAMES[name]}, which is not there: .*, or give root"):
        data.load(name)
    content = (FOLDER / NAMES[name]).read_bytes()
    (tmp_path / NAMES[name]).write_bytes(content)
    with pytest.raises(UserError, match="there is no file .*SHA256SUMS"):
        data.load(name)
    (tmp_path / "SHA256SUMS").write_text((FOLDER / "SHA256SUMS").read_text())
    assert len(data.load(name))
    for spoiled in (content[:-1], content + b"0", content[:99] + bytes([content[99] ^ 1]) + content[100:]):
        (tmp_path / NAMES[name]).write_bytes(spoiled)
        with pytest.raises(UserError, match="does not have the checksum that .*SHA256SUMS gives: check") as error:
            data.fingerprint(name)
        assert "\n" not in str(error.value)


def test_jumps_beyond_sixteen_bits_come_back(tmp_path):
    x = [np.array([[-327.67, 0.004], [327.67, -0.006]]), np.array([[-300, 1.0]]), np.array([[0, 2], [327.67, 3.14]])]
    ids, back = unpacked(packed(tmp_path / "x.npz", ["a", "b", "c"], x))
    assert ids == ["a", "b", "c"]
    for found, wanted in zip(
        back, [[[-327.67, 0], [327.67, -0.01]], [[-300, 1]], [[0, 2], [327.67, 3.14]]], strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    with pytest.raises(UserError, match="reach 327.68; at most 327.67"):
        packed(tmp_path / "x.npz", ["a"], [np.array([[327.68]])])


def test_nothing_in_a_file_is_executed(tmp_path):
    np.savez(tmp_path / "x.npz", ids=np.array([print], dtype=object), frames=np.ones(1, int), steps=np.ones((1, 1)))
    with pytest.raises(UserError, match="x.npz is not a file of packed recordings .*allow_pickle"):
        unpacked(tmp_path / "x.npz")
    for content in (b"", b"PK\x03\x04", b"text"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(UserError, match="x.npz is not a file of packed recordings"):
            unpacked(tmp_path / "x.npz")


def test_the_same_originals_give_the_same_file(tmp_path):
    for name, file in NAMES.items():
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir(exist_ok=True)
            main(name, place(name), folder)
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert shipped(name, file, tmp_path / "a").stat().st_size < 5e6
    assert (tmp_path / "a" / "SHA256SUMS").read_text() == (tmp_path / "b" / "SHA256SUMS").read_text()
    theirs = unpacked(FOLDER / "ui_prmd.npz")[1]
    for ours, x in zip(unpacked(tmp_path / "a" / "ui_prmd.npz")[1], theirs, strict=True):
        np.testing.assert_array_equal(ours, x)
    original = (SHARED / "finger_tapping" / "finger_tapping.csv").read_bytes()
    assert gzip.decompress((FOLDER / "finger_tapping.csv.gz").read_bytes()) == original
    with pytest.raises(UserError, match="data set that ships"):
        main("mtl_aqa", tmp_path, tmp_path)
