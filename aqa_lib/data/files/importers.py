"""Features as others hand them out, a file a video, into one feature store.

    import_features("i3d/train/rgb", "data/ours.features", about={"rgb": {"fps": 25, "stride": 16, "window": 16}})

`.npy`, `.npz`, `.h5`, `.mat` and `.csv`; the video's id is the file's path without the suffix. Nothing is unpickled.
Public files come in some layouts, named by their axes: "TD", "DT", and with crops "CTD" or "TCD", which are averaged.
Files of RGB beside flow ([T, 2048], RGB first) are cut in two by modality="rgb+flow". `import_list` reads the other
public form, one .npy of all videos (an object array, which the restricted unpickler opens) beside one of names.
"""

import csv
from pathlib import Path

import numpy as np

from aqa_lib.data.files import unpickle
from aqa_lib.data.files.folder import once
from aqa_lib.data.files.store import Store
from aqa_lib.errors import UserError, choose

LAYOUTS = ("TD", "DT", "CTD", "TCD")


def import_features(folder, path, modality="rgb", suffix=None, key=None, layout="TD", about=None):
    """Write the files of features below `folder` into the store at `path`.

    `suffix` chooses among kinds of files; `key` names the array within .npz, .h5 and .mat where there are several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give the folder that holds a file of features a video")
    if suffix is not None:
        choose("kind of feature file", suffix, READERS)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in READERS)
    kinds = sorted({p.suffix for p in files})
    files = [p for p in files if suffix in (None, p.suffix)]
    if not files:
        raise UserError(f"{folder} holds no {suffix or 'feature'} files: {', '.join(READERS)} can be read")
    if suffix is None and len(kinds) > 1:
        raise UserError(f"{folder} holds {' and '.join(kinds)} files: choose one with suffix={kinds[0]!r}")
    items = ((f.relative_to(folder).with_suffix("").as_posix(), read_array(f, key, layout)) for f in files)
    return Store.write(path, _parted(items, modality), about)


def import_list(features, names, path, modality="rgb+flow", about=None):
    """Write a .npy of the features [T, D] of all videos, with a .npy of their names, into the store at `path`."""
    videos = [v.decode() if isinstance(v, bytes) else str(v) for v in np.ravel(_list(names))]
    arrays = _list(features)
    if not isinstance(arrays, (np.ndarray, list)) or np.ndim(_array(arrays)) == 0:
        raise UserError(f"{features} does not hold a list of videos: take the file that has one array a video")
    if len(arrays) != len(videos):
        raise UserError(
            f"{features} holds {len(arrays)} videos, but {names} {len(videos)} names: take files of one set"
        )
    return Store.write(path, _parted(zip(once(videos, str(names)), arrays, strict=True), modality), about)


def _parted(items, modality):
    """modality -> id -> features, from (id, features [T, D]) with the modalities side by side."""
    modalities = modality.split("+")
    features = {m: {} for m in modalities}
    for video, x in items:
        x = _array(x)
        if x.ndim != 2 or x.shape[1] % len(modalities):
            raise UserError(f"{video}: features of shape {x.shape} do not divide into {modality}")
        for m, part in zip(modalities, np.split(x, len(modalities), axis=1), strict=True):
            features[m][video] = part
    return features


def _array(x):
    """x as an array; lists of different length are an array of lists, which is no features."""
    try:
        return np.asarray(x)
    except ValueError:
        return np.array([None])


def _list(path):
    """The array in a .npy file, one of objects, too, as far as they are arrays and plain containers."""
    form = np.lib.format
    try:
        with open(path, "rb") as file:
            version = form.read_magic(file)
            read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
            dtype = read(file)[2]
            rest = file.read() if dtype.hasobject else None
        return np.load(path, allow_pickle=False) if rest is None else unpickle.loads(rest, path)
    except UserError:
        raise
    except Exception as error:  # of many kinds, in a damaged file; too large a shape ends in a MemoryError
        raise UserError(f"{path} cannot be read as a .npy file ({error}): fetch it anew") from error


def read_array(path, key=None, layout="TD"):
    """The features [T, D] in one file."""
    path, layout = Path(path), choose("layout of features", layout, LAYOUTS)
    read = READERS[choose(f"kind of file for {path}:", path.suffix, READERS)]
    if not path.is_file():
        raise UserError(f"there is no file {path}: give a file of features")
    try:
        x = read(path, key)
    except UserError:
        raise
    except Exception as error:  # a file that is cut off can end in any of them
        why = "it holds pickled objects, which are not opened" if "pickle" in str(error) else str(error)
        raise UserError(f"{path} cannot be read as features ({why}): save it anew as plain numbers [T, D]") from error
    x = np.asarray(x)
    if x.dtype.kind not in "fiu":
        raise UserError(f"{path} holds {x.dtype}, not numbers: choose another array with key, or save it anew")
    while x.ndim > len(layout) and 1 in x.shape:  # [T, D, 1, 1] and [1, T, D] are common
        x = x.squeeze(axis=len(x.shape) - 1 - x.shape[::-1].index(1))
    if x.ndim == 1 and layout == "TD":
        x = x[None]
    if x.ndim != len(layout) or 0 in x.shape:
        raise UserError(f"{path} has shape {x.shape}, which is not [{', '.join(layout)}]: choose another layout")
    if layout == "DT":
        x = x.T
    elif "C" in layout:
        x = x.mean(axis=layout.index("C"), dtype=float)
    x = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(x).all():
        raise UserError(f"{path} holds NaN or infinity: extract that video anew, or take the file away")
    return x


def _npy(path, key):
    return np.load(path, allow_pickle=False)


def _npz(path, key):
    with np.load(path, allow_pickle=False) as file:
        return file[_chosen(path, key, file.files)]


def _mat(path, key):
    import scipy.io

    try:
        names = [name for name, _, _ in scipy.io.whosmat(path)]
    except NotImplementedError:  # version 7.3 is HDF5, where axes stand in MATLAB's order, the last one first
        return np.transpose(_h5(path, key))
    return scipy.io.loadmat(path)[_chosen(path, key, names)]


def _h5(path, key):
    try:
        import h5py
    except ImportError:
        remedy = "install it (pip install h5py), or save the file as .npy"
        raise UserError(f"{path} is HDF5, which needs the package h5py: {remedy}") from None
    with h5py.File(path, "r") as file:
        names = []
        file.visititems(lambda name, x: names.append(name) if isinstance(x, h5py.Dataset) else None)
        names = [name for name in names if not name.startswith("#")]  # what MATLAB keeps for itself
        return file[_chosen(path, key and key.strip("/"), names)][()]


def _csv(path, key):
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if any(c.strip() for c in row)]
    if rows and (not _numeric(rows[0]) or rows[0] == [str(i) for i in range(len(rows[0]))]):
        named = rows[0][0].strip() != ""  # pandas writes 0,1,2,... over columns without names, and may number the rows
        rows = [row if named else row[1:] for row in rows[1:]]
    for i, row in enumerate(rows, 1):
        if len(row) != len(rows[0]) or not _numeric(row):
            raise UserError(f"{path}: row {i} is not {len(rows[0])} numbers; is the file cut off?")
    return np.array(rows, dtype=float) if rows else np.zeros((0, 0))


def _numeric(row):
    try:
        return bool([float(c) for c in row]) and "_" not in "".join(row)  # 1_0 is ten to Python
    except ValueError:
        return False


def _chosen(path, key, names):
    """`key`, or the only name that there is."""
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise UserError(f"{path} holds {len(names)} arrays ({', '.join(names[:8])}): choose one with key")
    return choose(f"array in {path}", key, names)


READERS = {".npy": _npy, ".npz": _npz, ".h5": _h5, ".hdf5": _h5, ".mat": _mat, ".csv": _csv}
