"""The json of the ActivityNet layout, {"database": video -> subset, duration, annotations}, as an AssessmentSet.

Nothing is scored: a set has `actions`, and its table says of each video the `subset` in the file's own words, the
`split` that it stands for (train, test, "" for neither) and its `duration` in seconds. Actions that end where they
start (ActivityNet 1.2 has nine) are kept and listed in meta["empty"]: what they count for is the metric's choice.
"""

import math
from collections import Counter

import pandas as pd

from aqa_lib.data.actions import COLUMNS, actions_of
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.folder import need, number, text_of
from aqa_lib.data.files.limits import reason
from aqa_lib.errors import UserError, choose
from aqa_lib.plain_json import from_json


def read(path, name, splits, lists=None):
    """The AssessmentSet in a json of the ActivityNet layout.

    `splits` (subset -> split) names the subsets that there are. `lists` (subset -> videos) says who is used as what,
    the other videos being named in meta["unlisted"]; without lists the file does.
    """
    text = text_of(need(path))
    try:
        database = from_json(text, object_pairs_hook=_unique)["database"]
        entries = list(database.items())
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a json with a database of videos ({reason(error)}); is it cut off?") from error
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
        if lists is None:
            choose(f"split of video {video!r} in {path}:", subset, list(splits))
        duration = math.nan if duration is None else number(duration, f"{path}: the duration of video {video!r}")
        subset = subset_of.get(video, subset)
        videos.append({"id": video, "subset": subset, "split": splits[subset], "duration": duration})
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
    if not videos:
        raise UserError(f"{path} holds no videos; is it cut off?")
    table = pd.DataFrame(videos)
    actions = pd.DataFrame(actions, columns=list(COLUMNS))
    return AssessmentSet(name=name, ids=table["id"], table=table, actions=actions, meta=meta)


def counts(data, expected):
    """(what, found, expected) for each subset: videos, actions, labels, and actions without extent."""
    found = []
    for subset, numbers in expected.items():
        actions = actions_of(data, subset)
        empty = int((actions["start"] == actions["end"]).sum())
        values = int((data.table["subset"] == subset).sum()), len(actions), actions["label"].nunique(), empty
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
