"""BEST (Bristol Everyday Skill Tasks): 100 videos of each of five tasks, ranked in pairs, 75 for training.

    root/BEST.csv                                         task, vid_id, start_seconds, end_seconds
    root/splits/<task>/{train,test}_vid_list.txt          videos
    root/splits/<task>/{train,test}.txt                   pairs: better worse

`pairs` of the set are the training and the test pairs; column split_1 of the table says which videos are held out, so
that splits.pairs(data, "division:1") gives the two lists. Here test pairs are between held-out videos. Nothing has a
score. Ids are <task>/<video>; features come from a feature store under those ids, if one is given.
"""

import pandas as pd

from aqa_lib.data import splits
from aqa_lib.data.files.folder import content, csv_rows, folder, need, number, once, text_of
from aqa_lib.data.files.listed import STORE, listed
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

COUNTS = {  # training and test pairs; videos are 75 and 25 everywhere
    "apply_eyeliner": (2115, 235),
    "braid_hair": (2179, 234),
    "origami": (1793, 212),
    "scrambled_eggs": (1134, 154),
    "tie_tie": (2176, 233),
}
OPTIONS = {
    "task": Setting("all", "which of the five tasks", choices=("all", *COUNTS)),
    **STORE,
}
HOLDS = "BEST.csv and the folder splits"


def load(root, **options):
    """The videos of a task and their ranked pairs."""
    o, root = resolve("best", OPTIONS, options, "option"), folder("best", root, HOLDS)
    spans = _spans(root)
    rows, pairs = [], []
    for task in COUNTS if o["task"] == "all" else (o["task"],):
        place = root / "splits" / task
        part_of = _videos(place, task, spans)
        first = len(rows)
        for video, part in part_of.items():
            start, end = spans[task, video]
            row = {"id": f"{task}/{video}", "task": task, "video": video, "start": start, "end": end, "split_1": part}
            rows.append(row)
        row_of = {video: first + i for i, video in enumerate(part_of)}
        pairs += [(row_of[better], row_of[worse]) for better, worse in _pairs(place, part_of)]
    return listed(f"best {o['task']}", root, o, pd.DataFrame(rows), "hazeld/rank-aware-attention-network", pairs=pairs)


def fingerprint(root):
    root = folder("best", root, HOLDS)
    return content(root, [need(root / "BEST.csv"), *(root / "splits").rglob("*.txt")])


def checks(root, task="all", **options):
    """(what, found, expected) of the tasks."""
    o, found = resolve("best", OPTIONS, options | {"task": task}, "option"), []
    for task in COUNTS if o["task"] == "all" else (o["task"],):
        data = load(root, **(o | {"task": task}))
        train, test = splits.pairs(data, "division:1")
        held = (data.table["split_1"] == "test").to_numpy()
        found.append((f"{task}: training and test videos", [int((~held).sum()), int(held.sum())], [75, 25]))
        found.append((f"{task}: training and test pairs", [len(train), len(test)], list(COUNTS[task])))
        found.append((f"{task}: test pairs with a training video", int((~held[test]).any(axis=1).sum()), None))
    return found


def _spans(root):
    """(task, video) -> start and end in seconds."""
    path, spans = need(root / "BEST.csv"), {}
    for i, row in csv_rows(path, header=("task", "vid_id", "start_seconds", "end_seconds")):
        if len(row) < 4:
            raise UserError(f"{path}, line {i}: {len(row)} fields, not 4; is the file cut off?")
        if (row[0], row[1]) in spans:
            raise UserError(f"{path}, line {i}: video {row[1]!r} stands there twice for {row[0]}")
        spans[row[0], row[1]] = tuple(number(v, f"{path}, line {i}") for v in row[2:4])
    return spans


def _videos(place, task, spans):
    """Video -> train or test."""
    part_of = {}
    for part in ("train", "test"):
        path = need(place / f"{part}_vid_list.txt")
        for video in once(text_of(path).split(), str(path)):
            if (task, video) not in spans:
                raise UserError(f"{path}: video {video!r} is not among those of {task} in BEST.csv")
            if video in part_of:
                raise UserError(f"{place}: video {video!r} is in both lists of videos, train and test")
            part_of[video] = part
    return part_of


def _pairs(place, part_of):
    """Pairs (better, worse) of videos, first those of training."""
    pairs, known = [], set()
    for part in ("train", "test"):
        path = need(place / f"{part}.txt")
        for i, line in enumerate(text_of(path).splitlines(), 1):
            pair = tuple(line.split())
            if not pair:
                continue
            if len(pair) != 2 or not set(pair) <= part_of.keys():
                raise UserError(f"{path}, line {i}: {line.strip()!r} is not two of the {len(part_of)} listed videos")
            if any(part_of[video] != part for video in pair):
                raise UserError(f"{path}, line {i}: a {part} pair with videos of the other part; fetch it anew")
            if frozenset(pair) in known:
                raise UserError(f"{path}, line {i}: the pair {line.strip()!r} stands there twice; fetch it anew")
            known.add(frozenset(pair))
            pairs.append(pair)
    return pairs
