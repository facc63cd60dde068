"""Actions in untrimmed videos: who does what from when to when, in seconds.

Not an AssessmentSet: nothing is scored. Readers of such sets (thumos14, activitynet12) return a GroundTruth, and
`mean_average_precision(truth.of("test").actions, predictions, thresholds)` takes it from there. Actions that end where
they start (ActivityNet 1.2 has nine) are kept and listed in meta["empty"]: what they count for is the metric's choice.
"""

import dataclasses
import json
import math
from collections import Counter

import pandas as pd

from aqa_lib.data.files.folder import need, number, text_of
from aqa_lib.errors import UserError, choose


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """Actions of a data set, and the videos that they stand in."""

    name: str
    actions: pd.DataFrame  # video, label, start, end (seconds)
    videos: pd.DataFrame  # video, subset, duration (seconds, NaN where it is not given)
    meta: dict = dataclasses.field(default_factory=dict)  # "empty": actions without extent

    def __len__(self):
        return len(self.videos)

    @property
    def labels(self):
        return sorted(set(self.actions["label"]))

    def of(self, subset):
        """The part of the set that is `subset`."""
        choose(f"subset of {self.name}", subset, sorted(set(self.videos["subset"])))
        videos = self.videos[self.videos["subset"] == subset].reset_index(drop=True)
        actions = self.actions[self.actions["video"].isin(videos["video"])].reset_index(drop=True)
        return dataclasses.replace(self, actions=actions, videos=videos)

    def layout(self, subset=None):
        """The set, or a subset, as the nested dictionary of ActivityNet: {"database": video -> annotations}."""
        part = self if subset is None else self.of(subset)
        rows = {v: [] for v in part.videos["video"]}
        for a in part.actions.itertuples():
            rows[a.video].append({"label": a.label, "segment": [a.start, a.end]})
        subsets = dict(zip(part.videos["video"], part.videos["subset"], strict=True))
        return {"database": {v: {"subset": subsets[v], "annotations": rows[v]} for v in rows}}


def read(path, name, lists=None, subsets=None):
    """The GroundTruth in a json of the ActivityNet layout.

    `lists` (subset -> videos) says who is used as what, the other videos being named in meta["unlisted"]; without
    lists the file does, in words that must be among `subsets`.
    """
    text = text_of(need(path))
    try:
        database = json.loads(text, object_pairs_hook=_unique)["database"]
        entries = list(database.items())
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not a json with a database of videos ({error}); is it cut off?") from error
    subset_of = {video: subset for subset, videos in (lists or {}).items() for video in videos}
    absent = sorted(subset_of.keys() - database.keys())
    if absent:
        raise UserError(f"{path} lacks {len(absent)} videos of the lists beside it, the first being {absent[0]!r}")
    videos, actions = [], []
    for video, entry in entries:
        if lists is not None and video not in subset_of:
            continue
        try:
            subset, duration, annotations = entry["subset"], entry.get("duration"), entry["annotations"]
            spans = [(a["label"], *a["segment"]) for a in annotations]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: video {video!r} lacks {error}, see data/README.md for what is expected") from None
        if lists is None and subsets is not None:
            choose(f"split of video {video!r} in {path}:", subset, subsets)
        duration = math.nan if duration is None else number(duration, f"{path}: the duration of video {video!r}")
        videos.append({"video": video, "subset": subset_of.get(video, subset), "duration": duration})
        for span in spans:
            where = f"{path}: an action of video {video!r}"
            if len(span) != 3:
                raise UserError(f"{where} has {len(span) - 1} times; a segment is [start, end]")
            start, end = number(span[1], where), number(span[2], where)
            if start > end or start < 0:
                raise UserError(f"{where} lasts from {start} to {end} seconds; give 0 <= start <= end")
            actions.append({"video": video, "label": str(span[0]), "start": start, "end": end})
    meta = {"empty": [a for a in actions if a["start"] == a["end"]], "surrogate": False}
    if lists is not None:
        meta["unlisted"] = [video for video in database if video not in subset_of]
    columns = ["video", "label", "start", "end"]
    return GroundTruth(name, pd.DataFrame(actions, columns=columns), pd.DataFrame(videos), meta)


def counts(truth, expected):
    """(what, found, expected) for each subset: videos, actions, labels, and actions without extent."""
    found = []
    for subset, numbers in expected.items():
        part = truth.of(subset)
        empty = int((part.actions["start"] == part.actions["end"]).sum())
        values = len(part), len(part.actions), len(part.labels), empty
        names = "videos", "actions", "labels", "actions without extent"
        found += [(f"{subset}: {n}", v, e) for n, v, e in zip(names, values, numbers, strict=True)]
    return found


def _unique(pairs):
    """A json object, no key of which stands there twice."""
    whole = dict(pairs)
    if len(whole) != len(pairs):
        twice = Counter(k for k, _ in pairs).most_common(1)[0][0]
        raise UserError(f"{twice!r} stands there twice; every video has one entry")
    return whole
