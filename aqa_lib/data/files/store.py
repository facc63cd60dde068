"""A feature store: the features of all videos of a data set in one file, opened memory-mapped, nothing executed.

    Store.write("data/dives.features", {"rgb": {"v1": x1, "v2": x2}}, {"rgb": {"fps": 25.0, "stride": 16}})
    store = Store.read("data/dives.features")
    store.get("v1")                            # [T, D] float32, read from disk here, not before
    store.ragged(["v2", "v1"], "rgb+flow")     # Ragged of both, in the order asked for
    store.stack(["v2", "v1"], "rgb+flow")      # [N, T, D], ending in zeros, and lengths [N]

The file is safetensors: for each modality `values/<m>` [sum of T, ...] with the videos one after another and
`starts/<m>` [N + 1]; ids and what is known of each modality stand as JSON in its metadata. T may differ between
videos and between modalities; a video without a modality has T = 0 there. Modalities are named freely: `rgb`, `flow`,
`still` (frames repeated into a clip), `rotations` ([T, 4, D], one for each quarter turn). Of each modality is known

    fps       frames a second of the video, as it was decoded for the network
    stride    frames from the start of one segment to the start of the next; None where it is not constant
    window    frames that the network saw for a segment
    backbone  name of the network, for example "i3d"
    weights   sha256 of the file of its weights
"""

import json
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

from aqa_lib import processes
from aqa_lib.data.files import limits
from aqa_lib.data.files.folder import once
from aqa_lib.data.ragged import Ragged
from aqa_lib.errors import UserError, choose
from aqa_lib.plain_json import from_json

VERSION = 1
LARGEST = 1e9  # of fps, stride and window
KNOWN = ("fps", "stride", "window", "backbone", "weights")


class Store:
    """Features of N videos in one or more modalities, read from disk when they are asked for."""

    def __init__(self, path, file, text):
        self.path, self._file = Path(path), file
        if not all(isinstance(video, str) for video in text["ids"]):
            raise ValueError("an id is no text")
        self.ids = np.array(limits.check_words(text["ids"], "the list of ids"), dtype=str)
        self.about = {m: _known(m, known) for m, known in text["modalities"].items()}
        self._row = {video: i for i, video in enumerate(text["ids"])}
        if len(self._row) != len(self.ids):
            raise ValueError("an id stands there twice")
        self._starts = {m: file.get_tensor(f"starts/{m}") for m in self.about}
        self._values = {m: file.get_slice(f"values/{m}") for m in self.about}
        for m, starts in self._starts.items():
            rows, *shape = self._values[m].get_shape()
            if self._values[m].get_dtype() not in ("F16", "F32", "F64") or not shape or 0 in shape:
                raise ValueError(f"the features of modality {m} are no numbers [T, D]")
            whole = starts.dtype == np.int64 and starts.shape == (len(self.ids) + 1,)
            if not whole or starts[0] != 0 or starts[-1] != rows or (starts[1:] < starts[:-1]).any():
                raise ValueError(f"the lengths of modality {m} do not fit its {rows} rows")

    @classmethod
    def read(cls, path):
        """The store in the file that `write` wrote; features stay on disk until they are asked for."""
        try:
            limits.held(path)
            file = safetensors.safe_open(path, framework="numpy")
            text = from_json(file.metadata()["aqa_store"])
            if text["version"] == VERSION:
                return cls(path, file, text)
        except FileNotFoundError:
            raise UserError(f"no feature store at {path}: write one there with Store.write") from None
        except Exception as error:  # of many kinds, in a file that something else wrote
            why = limits.reason(error)
            raise UserError(f"{path} is not a feature store written by Store.write ({why}): write it anew") from error
        raise UserError(f"{path} has format {text['version']}, but {VERSION} is read: write it anew")

    @staticmethod
    def write(path, features, about=None):
        """Write `features`, modality -> id -> [T, ...], as one file that appears whole or not at all.

        `about` says of each modality what is known of it (see KNOWN); what is left out is recorded as unknown.
        """
        path, about = Path(path), dict(about or {})
        for modality in about:
            choose(f"modality in the description of {path}", modality, features)
        ids = list(dict.fromkeys(video for videos in features.values() for video in videos))
        once([str(i) for i in ids], f"features for {path}")  # 1 and "1" are two keys, but one id
        if not ids:
            raise UserError(f"there are no features to write to {path}: give modality -> id -> array [T, D]")
        arrays = {}
        for modality, videos in features.items():
            if not modality or set(modality) & set("+/"):
                raise UserError(f"a modality cannot be named {modality!r}: take letters, without + and /")
            parts = [_checked(videos[video], modality, video) for video in ids if video in videos]
            if not parts:
                raise UserError(f"modality {modality!r} has no videos: leave it out")
            for video, part in zip((v for v in ids if v in videos), parts, strict=True):
                if part.shape[1:] != parts[0].shape[1:]:
                    raise UserError(
                        f"{modality} features of {video!r} have shape {part.shape}, but those of the first video "
                        f"{parts[0].shape}: all but T must agree"
                    )
            length = [len(videos[video]) if video in videos else 0 for video in ids]
            arrays[f"values/{modality}"] = np.concatenate(parts)
            arrays[f"starts/{modality}"] = np.concatenate([[0], np.cumsum(length)]).astype("int64")
        text = {"version": VERSION, "ids": [str(i) for i in ids]}
        text["modalities"] = {m: _known(m, about.get(m) or {}) for m in features}
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(arrays, part, metadata={"aqa_store": json.dumps(text)})
            os.replace(part, path)
        except OSError as error:
            raise UserError(f"cannot write the feature store to {path}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
        return path

    def __len__(self):
        return len(self.ids)

    def __contains__(self, video):
        return video in self._row

    @property
    def modalities(self):
        return list(self.about)

    def lengths(self, modality):
        """T of every video [N], in the order of `ids`; 0 where a video has no such features."""
        return np.diff(self._starts[choose(f"modality of {self.path}", modality, self.about)])

    def get(self, video, modality=None):
        """Features [T, ...] of one video; the modality may be left out where there is one only."""
        modality = self._only(modality)
        row = self._row[choose(f"video in {self.path}", str(video), self._row)]
        start, end = self._starts[modality][row : row + 2]
        if start == end:
            raise UserError(f"video {video!r} has no {modality} features in {self.path}: extract them, or drop it")
        return self._values[modality][int(start) : int(end)]

    def seconds(self, video, modality=None):
        """Start and end of every segment [T, 2] in seconds: stride i / fps and (stride i + window) / fps."""
        modality = self._only(modality)
        known = self.about[modality]
        for field in ("fps", "stride", "window"):
            if known[field] is None:
                raise UserError(f"{self.path} does not say the {field} of {modality}: write it with {field}")
        return _seconds(known, np.arange(len(self.get(video, modality))))

    def stack(self, ids, modality=None, segments=None):
        """Features [N, T, ...] and lengths [N] of videos `ids`; short ones end in zeros."""
        x = self.ragged(ids, modality, segments)
        return x.padded(), x.length

    def ragged(self, ids, modality=None, segments=None):
        """Features of videos `ids`, a Ragged.

        "rgb+flow" sets the modalities side by side. With `segments`, every video must have that many.
        """
        modalities = str(modality).split("+") if modality else [self._only(None)]
        missing = [str(i) for i in ids if str(i) not in self._row]
        if missing:
            raise UserError(
                f"{self.path} lacks {len(missing)} of {len(ids)} videos, the first being {missing[0]!r}: "
                f"extract them, or match the names (it holds {len(self)}, the first being {str(self.ids[0])!r})"
            )
        rows = [self._row[str(video)] for video in ids]
        size = sum(4 * self.lengths(m)[rows].sum() * math.prod(self._values[m].get_shape()[1:]) for m in modalities)
        processes.check_memory(str(self.path), size, "ask for fewer videos or modalities, or take a larger machine")
        items = []
        for video in ids:
            parts = [self.get(video, m) for m in modalities]
            for m, x in zip(modalities, parts, strict=True):
                if len(x) != (segments or len(parts[0])):
                    of = f"{segments} are asked for" if segments else f"{len(parts[0])} of {modalities[0]}"
                    raise UserError(f"video {video!r} has {len(x)} {m} segments in {self.path}, but {of}")
            items.append(np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0])
        return Ragged.of(items)

    def _only(self, modality):
        if modality is None and len(self.about) > 1:
            raise UserError(f"{self.path} holds several modalities, choose one of {', '.join(self.about)}")
        return choose(f"modality of {self.path}", modality or next(iter(self.about)), self.about)


TURNS = ("rot90", "rot180", "rot270")  # the views of the modality "rotations", after its first, the unturned one


def joined(features, ids, modality=None):
    """Fields features, seconds and views of an AssessmentSet of videos `ids`, from the store at path `features`.

    Seconds are given where the store knows the fps, stride and window of the modality. Views are the store's other
    modalities, read when asked for.
    """
    if features is None:
        return {}
    store = Store.read(features)
    x = store.ragged(ids, modality)
    fields = {"features": x, "views": {}}
    known = store.about[str(modality).split("+")[0] if modality else store.modalities[0]]
    if None not in (known["fps"], known["stride"], known["window"]):
        fields["seconds"] = Ragged(_seconds(known, np.arange(len(x.rows)) - np.repeat(x.start, x.length)), x.length)
    for m in store.modalities:
        if m == "rotations":
            fields["views"] |= {turn: partial(_turned, store, ids, k) for k, turn in enumerate(TURNS, 1)}
        elif m != modality:
            fields["views"][m] = partial(store.ragged, ids, m)
    return fields


def _seconds(known, t):
    """Start and end [..., 2] of segments number `t` in seconds."""
    start = known["stride"] * t
    return np.stack([start, start + known["window"]], axis=-1) / known["fps"]


def _turned(store, ids, k):
    x = store.ragged(ids, "rotations")
    if x.ndim != 4 or x.shape[2] != 1 + len(TURNS):
        raise UserError(f"{store.path}: rotations must be [T, 4, D] a video, one a quarter turn, but are {x.shape[1:]}")
    return Ragged(x.rows[:, k], x.length)


def _checked(x, modality, video):
    x = np.asarray(x)
    if x.dtype.kind not in "fiu" or x.ndim < 2 or 0 in x.shape:
        raise UserError(
            f"{modality} features of {video!r} must be numbers [T, D] with no empty axis, but are {x.dtype} {x.shape}"
        )
    x = x if x.dtype in (np.float16, np.float32) else x.astype(np.float32)
    if not np.isfinite(x).all():
        raise UserError(f"{modality} features of {video!r} hold NaN or infinity: extract them anew, or drop the video")
    return x


def _known(modality, about):
    """The description of a modality with every field of KNOWN, checked."""
    for field, value in about.items():
        choose(f"field in the description of modality {modality!r}", field, KNOWN)
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and field in ("fps", "stride", "window") and not (numeric and 0 < value < LARGEST):
            raise UserError(
                f"{field} of modality {modality!r} must be a number above 0 and below {LARGEST:g}, but is {value!r}"
            )
        if value is not None and field in ("backbone", "weights") and not isinstance(value, str):
            raise UserError(f"{field} of modality {modality!r} must be a word, but is {value!r}")
    return {field: about.get(field) for field in KNOWN}
