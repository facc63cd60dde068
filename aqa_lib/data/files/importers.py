"""Features as others hand them out, a file a video, into one feature store.

    import_features("i3d/train/rgb", "data/ours.features", about={"rgb": {"fps": 25, "stride": 16, "window": 16}})

`.npy`, `.npz`, `.h5`, `.mat` and `.csv`; the video's id is the file's path without the suffix. Nothing is unpickled.
Public files come in some layouts, named by their axes: "TD", "DT", and with crops "CTD" or "TCD", which are averaged.
Files of RGB beside flow ([T, 2048], RGB first) are cut in two by modality="rgb+flow". `import_list` reads the other
public form, one .npy of all videos (an object array, which the restricted unpickler opens) beside one of names.
"""

import math
from pathlib import Path

import numpy as np

from aqa_lib.data.files import limits, unpickle
from aqa_lib.data.files.arrays import HEADER, hdf5, npy, npy_header, npz, table
from aqa_lib.data.files.folder import once
from aqa_lib.data.files.matlab import mat
from aqa_lib.data.files.store import Store
from aqa_lib.errors import UserError, choose

READERS = {".npy": npy, ".npz": npz, ".h5": hdf5, ".hdf5": hdf5, ".mat": mat, ".csv": table}
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
    try:
        limits.check_fit(path, limits.held(path))
        with open(path, "rb") as file:
            _, dtype, _, begin = npy_header(file.read(HEADER))
            if dtype.hasobject:
                file.seek(begin)
                return unpickle.loads(file.read(), path)
        with npy(path) as x:
            return np.array(x.read())
    except UserError:
        raise
    except Exception as error:  # of many kinds, in a damaged file
        why = limits.reason(error)
        raise UserError(f"{path} cannot be read as a .npy file ({why}): fetch it anew") from error


def read_array(path, key=None, layout="TD"):
    """The features [T, D] in one file."""
    path, layout = Path(path), choose("layout of features", layout, LAYOUTS)
    opened = READERS[choose(f"kind of file for {path}:", path.suffix, READERS)]
    if not path.is_file():
        raise UserError(f"there is no file {path}: give a file of features")
    try:
        with opened(path, key) as found:
            if found.dtype.hasobject and path.suffix in (".npy", ".npz"):
                raise ValueError("it holds pickled objects, which are not opened")
            shape = _shape(path, found, layout)
            limits.check_fit(path, math.prod(shape) * (found.dtype.itemsize + 4))
            x = found.read().reshape(shape)
            return _features(path, x, layout)
    except UserError:
        raise
    except Exception as error:  # a file that is cut off can end in any of them
        why = limits.reason(error)
        raise UserError(f"{path} cannot be read as features ({why}): save it anew as plain numbers [T, D]") from error


def _shape(path, found, layout):
    """The shape of an array without the axes of length 1 beyond those of the layout."""
    if found.dtype.kind not in "fiu":
        raise UserError(f"{path} holds {found.dtype}, not numbers: choose another array with key, or save it anew")
    shape = list(found.shape)
    while len(shape) > len(layout) and 1 in shape:  # [T, D, 1, 1] and [1, T, D] are common
        del shape[len(shape) - 1 - shape[::-1].index(1)]
    if len(shape) == 1 and layout == "TD":
        shape = [1, *shape]
    if len(shape) != len(layout) or 0 in shape:
        raise UserError(f"{path} has shape {tuple(shape)}, which is not [{', '.join(layout)}]: choose another layout")
    return tuple(shape)


def _features(path, x, layout):
    """[T, D] float32 of an array in some layout."""
    if x.dtype.kind not in "fiu":  # complex, where a header of MATLAB says double
        raise UserError(f"{path} holds {x.dtype}, not numbers: choose another array with key, or save it anew")
    if layout == "DT":
        x = x.T
    elif "C" in layout:
        x = x.mean(axis=layout.index("C"), dtype=float)
    with np.errstate(over="ignore"):  # what overflows is infinity
        x = np.array(x, dtype=np.float32, order="C")
    if not np.isfinite(x).all():
        raise UserError(f"{path} holds NaN or infinity: extract that video anew, or take the file away")
    return x
