"""Labelled segments of time, read from the ActivityNet layout or from a table, and checked."""

from collections.abc import Mapping
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError


class Segments(NamedTuple):
    video: list  # [N]
    label: list  # [N]
    start: np.ndarray  # [N] seconds
    end: np.ndarray  # [N]
    score: np.ndarray | None  # [N] of detections


def read_segments(given, what, *, scored=False, subset=None, allow_empty=False):
    """Segments of either layout; a UserError says which one is impossible. `what` names them in that sentence."""
    read = _rows if isinstance(given, pd.DataFrame) else _nested
    video, label, segment, score = read(given, what, scored, subset)
    for i, names in enumerate(zip(video, label, strict=True)):
        if not all(isinstance(name, (str, int, np.integer)) for name in names):
            raise UserError(f"{what}: {_described(video, label, i)} needs the name of a video and of a class; mend it")
    start, end = _times(segment, what, video, label)
    good = np.isfinite(start) & np.isfinite(end) & ((end > start) | (allow_empty & (end == start)))
    if not good.all():
        i = int(np.argmin(good))
        again = (
            "" if scored or end[i] != start[i] else ", or give allow_empty_instances=True to count it as never found"
        )
        raise UserError(
            f"{what}: {_described(video, label, i)} runs from {start[i]:g} to {end[i]:g} s, "
            f"but a segment ends after it starts; mend or remove it{again}"
        )
    if not scored:
        return Segments(video, label, start, end, None)
    try:
        score = np.array(score, float).reshape(len(video))
    except (TypeError, ValueError):
        raise _unreadable(
            score, (), f"{what}: {{}} has the score {{!r:.100}}, not a number; mend it", video, label
        ) from None
    if np.isnan(score).any():
        raise UserError(
            f"{what}: {_described(video, label, int(np.isnan(score).argmax()))} has the score NaN; give a number"
        )
    return Segments(video, label, start, end, score)


def _nested(given, what, scored, subset):
    """{"database": {video: {"annotations": [...]}}}, {"results": {video: [...]}}, or either without its outer key."""
    outer = "results" if scored else "database"
    videos = given.get(outer, given) if isinstance(given, Mapping) else None
    if not isinstance(videos, Mapping):
        raise UserError(
            f"{what}: expected a mapping of videos to lists of segments or a table, got {type(given).__name__}"
        )
    names, rows = [], []
    for name, found in videos.items():
        if isinstance(found, Mapping):
            if subset is not None and found.get("subset") != subset:
                continue
            found = found.get("annotations")
        if not isinstance(found, (list, tuple)):
            raise UserError(f"{what}: video {name!r} needs a list of segments, but has {type(found).__name__}")
        names += [name] * len(found)
        rows += found
    needs = ("label", "segment", "score") if scored else ("label", "segment")
    try:
        columns = zip(*map(itemgetter(*needs), rows), strict=True) if rows else [()] * len(needs)
        return names, *columns, *([] if scored else [None])
    except (KeyError, TypeError):
        bad = (i for i, row in enumerate(rows) if not (isinstance(row, Mapping) and all(n in row for n in needs)))
        i = next(bad)
        raise UserError(
            f"{what}: a segment of video {names[i]!r} needs {', '.join(needs)}, but is {rows[i]!r:.200}"
        ) from None


def _rows(given, what, scored, subset):
    """A table with a row a segment."""
    needs = ["video", "label", "start", "end", *(["score"] if scored else []), *(["subset"] if subset else [])]
    missing = [name for name in needs if name not in given]
    if missing:
        raise UserError(f"{what}: the table lacks the column {missing[0]!r}; it needs {', '.join(needs)}")
    if "id" in given and given["id"].duplicated().any():
        twice = given["id"][given["id"].duplicated()].iloc[0]
        raise UserError(f"{what}: the id {twice!r} stands in two rows; give each segment its own")
    if subset is not None:
        given = given[given["subset"] == subset]
    segment = list(zip(given["start"], given["end"], strict=True))
    return given["video"].tolist(), given["label"].tolist(), segment, given["score"].tolist() if scored else None


def _times(segments, what, video, label):
    """Starts and ends in seconds; numbers written as strings count as numbers."""
    try:
        start, end = zip(*segments, strict=True) if segments else ((), ())
        return np.array(start, float), np.array(end, float)
    except (TypeError, ValueError):
        sentence = f"{what}: {{}} has the segment {{!r:.100}}, not two times in seconds; mend it"
        raise _unreadable(segments, (2,), sentence, video, label) from None


def _unreadable(values, shape, sentence, video, label):
    """The sentence about the first value that is not numbers of that shape."""
    for i, value in enumerate(values):
        try:
            if np.array(value, float).shape == shape:
                continue
        except (TypeError, ValueError):
            pass
        return UserError(sentence.format(_described(video, label, i), value))


def _described(video, label, i):
    return f"segment {video[: i + 1].count(video[i])} of video {video[i]!r} ({label[i]!r})"
