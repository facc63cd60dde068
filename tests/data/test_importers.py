"""The importers, against arrays as they were and files written by other libraries; nothing is executed."""

import os
import pickle
import struct

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from aqa_lib.data.files.importers import import_features, import_list, read_array
from aqa_lib.data.files.store import Store
from aqa_lib.errors import UserError

RNG = np.random.default_rng(0)
ABOUT = {"fps": 25.0, "stride": 16, "window": 16, "backbone": "i3d", "weights": "ab" * 32}
X = RNG.random((5, 6)).astype(np.float32)


def files(folder, x=X):
    """x as a file of every kind that this machine can write."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "a.npy", x)
    np.savez(folder / "b.npz", feature=x)
    scipy.io.savemat(folder / "c.mat", {"feat": x})
    np.savetxt(folder / "d.csv", x, delimiter=",", fmt="%.9g")
    lines = (folder / "d.csv").read_text()
    (folder / "e.csv").write_text(",".join(f"f{i}" for i in range(x.shape[1])) + "\n" + lines)
    pd.DataFrame(x).to_csv(folder / "f.csv")  # with numbers of columns and of rows
    pd.DataFrame(x).to_csv(folder / "g.csv", index=False)
    return sorted(folder.iterdir())


def test_every_kind_of_file_gives_the_same(tmp_path):
    for path in files(tmp_path / "f"):
        np.testing.assert_array_equal(read_array(path), X)


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["video/rgb"] = X
        file["video/flow"] = X + 1
        file["link"] = h5py.SoftLink("/video/rgb")
        file["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/x")  # only arrays of this file are offered
    np.testing.assert_array_equal(read_array(tmp_path / "a.h5", key="video/flow"), X + 1)
    np.testing.assert_array_equal(read_array(tmp_path / "a.h5", key="/video/rgb"), X)
    with pytest.raises(UserError, match=r"holds 2 arrays \(video/flow, video/rgb\): choose one with key"):
        read_array(tmp_path / "a.h5")
    with pytest.raises(UserError, match="unknown array in .*a.h5 'video/rgp': did you mean 'video/rgb'"):
        read_array(tmp_path / "a.h5", key="video/rgp")


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "f2"},
        {"dtype": ">f8"},
        {"dtype": "i4"},
        {"chunks": (2, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"maxshape": (None, 6), "chunks": True},
    ],
)
def test_hdf5_of_any_layout(tmp_path, options):
    x = np.round(100 * X)  # whole numbers, which every type holds
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("features", data=x, **options)
    back = read_array(tmp_path / "a.hdf5")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, x)


def test_hdf5_that_holds_no_features(tmp_path):
    def refused(said, **content):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name, value in content.items():
                file[name] = value
        with pytest.raises(UserError, match=said) as error:
            read_array(tmp_path / "a.h5")
        assert "\n" not in str(error.value)

    refused("holds 0 arrays")
    refused("holds object, not numbers", names=["a", "b"])
    refused(r"has shape \(2, 3, 4\)", x=np.ones((2, 3, 4)))
    refused("holds NaN", x=np.full((2, 3), np.nan))
    refused("holds .*, not numbers", x=np.zeros(2, dtype=[("a", "f4")]))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = RNG.random((50, 40))
    whole = (tmp_path / "a.h5").read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.h5").write_bytes(whole[:length])
        with pytest.raises(UserError, match="a.h5 cannot be read as features") as error:
            read_array(tmp_path / "a.h5")
        assert "\n" not in str(error.value)


def test_hdf5_files_become_a_store(tmp_path):
    (tmp_path / "i3d" / "train").mkdir(parents=True)
    x = {"a": RNG.random((3, 2), np.float32), "train/b": RNG.random((5, 2), np.float32)}
    for video, value in x.items():
        with h5py.File(tmp_path / "i3d" / f"{video}.h5", "w") as file:
            file["rgb"] = value
    store = Store.read(import_features(tmp_path / "i3d", tmp_path / "s"))
    assert sorted(store.ids) == sorted(x)
    for video, value in x.items():
        np.testing.assert_array_equal(store.get(video), value)


def test_a_matrix_of_matlab_is_the_same_in_both_versions(tmp_path):
    """Version 7.3 is HDF5 after 512 bytes of header, and has the axes of an array in reverse."""
    scipy.io.savemat(tmp_path / "old.mat", {"feat": X})
    with h5py.File(tmp_path / "new.mat", "w", userblock_size=512) as file:
        file["feat"] = X.T
        file["#refs#/a"] = np.ones(3)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    with open(tmp_path / "new.mat", "r+b") as file:
        file.write(header)
    for name in ("old.mat", "new.mat"):
        np.testing.assert_array_equal(read_array(tmp_path / name), X)


def test_hdf5_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r"needs the package h5py: install it \(pip install h5py\)"):
        read_array(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "shape, layout, wanted",
    [
        ((5, 6), "TD", lambda x: x),
        ((6, 5), "DT", lambda x: x.T),
        ((5, 6, 1, 1), "TD", lambda x: x[..., 0, 0]),
        ((1, 5, 6), "TD", lambda x: x[0]),
        ((6,), "TD", lambda x: x[None]),
        ((10, 5, 6), "CTD", lambda x: x.mean(axis=0)),
        ((5, 10, 6), "TCD", lambda x: x.mean(axis=1)),
    ],
)
def test_layouts(tmp_path, shape, layout, wanted):
    x = RNG.random(shape)
    np.save(tmp_path / "a.npy", x)
    np.testing.assert_allclose(read_array(tmp_path / "a.npy", layout=layout), wanted(x), rtol=1e-6)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = np.array([Evil()], dtype=object)
    np.save("a.npy", hostile)
    np.savez("b.npz", x=hostile)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(UserError, match="pickled objects, which are not opened"):
            read_array(tmp_path / name)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read as features"),
        ("a.npz", b"PK\x03\x04", "cannot be read as features"),
        ("a.mat", b"MATLAB 5.0 MAT-file", "cannot be read as features"),
        ("a.csv", b"1,2,3\n4,5\n", "row 2 is not 3 numbers"),
        ("a.csv", b"1,2,3\n4,x,5\n", "row 2 is not 3 numbers"),
        ("a.csv", b"1,2,3\n4,5_6,7\n", "row 2 is not 3 numbers"),
        ("a.csv", b"", "has shape"),
        ("a.csv", b"1,nan\n", "NaN or infinity"),
        ("a.pkl", b"", "unknown kind of file"),
    ],
)
def test_files_that_are_no_features(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_array(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_folder_becomes_a_store(tmp_path):
    folder = tmp_path / "i3d"
    (folder / "train").mkdir(parents=True)
    both = RNG.random((7, 8)).astype(np.float32)
    np.save(folder / "train" / "video_1.npy", both)
    np.save(folder / "video.2.npy", both[:4])
    store = Store.read(import_features(folder, tmp_path / "s", "rgb+flow", about={"rgb": ABOUT}))
    assert sorted(store.ids) == ["train/video_1", "video.2"] and store.about["rgb"]["stride"] == 16
    np.testing.assert_array_equal(store.get("train/video_1", "rgb"), both[:, :4])
    np.testing.assert_array_equal(store.get("video.2", "flow"), both[:4, 4:])


def test_a_folder_that_is_unclear(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        import_features(tmp_path / "nothing", tmp_path / "s")
    with pytest.raises(UserError, match="holds no feature files"):
        import_features(tmp_path, tmp_path / "s")
    files(tmp_path / "f")
    with pytest.raises(UserError, match="holds .csv and .mat and .npy and .npz files: choose one with suffix"):
        import_features(tmp_path / "f", tmp_path / "s")
    assert list(Store.read(import_features(tmp_path / "f", tmp_path / "s", suffix=".csv")).ids) == ["d", "e", "f", "g"]
    np.savez(tmp_path / "f" / "b.npz", one=X, two=X)
    with pytest.raises(UserError, match="holds 2 arrays \\(one, two\\)"):
        import_features(tmp_path / "f", tmp_path / "s", suffix=".npz")
    store = Store.read(import_features(tmp_path / "f", tmp_path / "s", suffix=".npz", key="two"))
    np.testing.assert_array_equal(store.get("b"), X)


def test_a_list_of_all_videos(tmp_path, monkeypatch):
    """One object array beside one of names, as weakly supervised localisation hands them out."""
    monkeypatch.chdir(tmp_path)
    both = np.empty(2, dtype=object)
    both[:] = [RNG.random((3, 4)).astype(np.float32), RNG.random((5, 4)).astype(np.float32)]
    np.save("x.npy", both)
    np.save("names.npy", np.array([b"v1", b"v2"]))
    store = Store.read(import_list("x.npy", "names.npy", tmp_path / "s"))
    np.testing.assert_array_equal(store.get("v2", "flow"), both[1][:, 2:])
    assert list(store.lengths("rgb")) == [3, 5]
    np.save("three.npy", np.array(["v1", "v2", "v3"]))
    with pytest.raises(UserError, match="holds 2 videos, but three.npy 3 names"):
        import_list("x.npy", "three.npy", tmp_path / "s")
    np.save("twice.npy", np.array(["v1", "v1"]))
    with pytest.raises(UserError, match="'v1' stands there twice"):
        import_list("x.npy", "twice.npy", tmp_path / "s")
    np.save("evil.npy", np.array([Evil()], dtype=object))
    with pytest.raises(UserError, match="not opened"):
        import_list("evil.npy", "names.npy", tmp_path / "s")
    assert not (tmp_path / "evil").exists()
    (tmp_path / "cut.npy").write_bytes((tmp_path / "names.npy").read_bytes()[:-1])
    with pytest.raises(UserError, match="cannot be read as a .npy file"):
        import_list("x.npy", "cut.npy", tmp_path / "s")
    np.save("dict.npy", {"v1": both[0]})  # one dictionary of all videos is another form
    with pytest.raises(UserError, match="dict.npy does not hold a list of videos"):
        import_list("dict.npy", "names.npy", tmp_path / "s")
    ragged = np.empty(2, dtype=object)
    ragged[:] = [[[1.0, 2.0], [3.0]], both[1]]
    np.save("ragged.npy", ragged)
    with pytest.raises(UserError, match="v1: features of shape .* do not divide into rgb"):
        import_list("ragged.npy", "names.npy", tmp_path / "s")


def test_a_header_that_promises_more_than_there_is(tmp_path):
    for shape in ("(1000000000000000,)", "(1000000000000000000000000,)"):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"12345678")
        with pytest.raises(UserError, match="a.npy cannot be read as features"):
            read_array(tmp_path / "a.npy")
        with pytest.raises(UserError, match="a.npy cannot be read as a .npy file"):
            import_list(tmp_path / "a.npy", tmp_path / "a.npy", tmp_path / "s")
