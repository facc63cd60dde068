"""EPIC-Skills 2018: videos of seven tasks, ranked in pairs, with four divisions into training and test.

    root/<Task>/<task>_gt.csv                     Vid1, Vid2, Better: all pairs on which the annotators agreed
    root/<Task>/splits/<task>_{train,val}_k.csv   Better, Worse, k = 1..4

`pairs` of the set are all pairs; the table says in columns split_1 .. split_4 which videos are held out. In the
published divisions a test pair has at least one held-out video, *and its other video may be one that was trained on*
(about four in five of them): aqa_lib.data.splits.pairs gives them so, and the loader verifies it against the lists.
Nothing has a score. Ids are <Task>/<video>; features come from a feature store under those ids, if one is given.
"""

from collections import Counter

import pandas as pd

from aqa_lib.data import splits
from aqa_lib.data.files.folder import content, csv_rows, folder, need
from aqa_lib.data.files.listed import STORE, listed
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting, resolve

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

COUNTS = {  # videos, pairs
    "Chopstick_Using": (40, 536),
    "Dough_Rolling": (33, 181),
    "Hand_Drawing": (20, 129),
    "Sonic_Drawing": (20, 118),
    "Knot_Tying": (36, 596),
    "Needle_Passing": (28, 362),
    "Suturing": (39, 701),
}
POOLED = {"Drawing": (40, 247), "Surgery": (103, 1659)}
MEMBERS = {task: (task,) for task in COUNTS} | {
    "Drawing": ("Hand_Drawing", "Sonic_Drawing"),
    "Surgery": ("Knot_Tying", "Needle_Passing", "Suturing"),
    "all": tuple(COUNTS),
}
OPTIONS = {
    "task": Setting("all", "one of the seven tasks, or Drawing, Surgery: pooled as in print", choices=tuple(MEMBERS)),
    **STORE,
}
DIVISIONS = (1, 2, 3, 4)
HOLDS = f"the folders {', '.join(COUNTS)}"


def load(root, **options):
    """The videos of a task and their ranked pairs."""
    o, root = resolve("epic_skills", OPTIONS, options, "option"), folder("epic_skills", root, HOLDS)
    tables, pairs, published = [], [], {}
    for task in MEMBERS[o["task"]]:
        better_worse, lists = _annotations(root, task)
        published[task] = lists
        videos = sorted({v for pair in better_worse for v in pair})
        row = {v: i + sum(map(len, tables)) for i, v in enumerate(videos)}
        table = pd.DataFrame({"id": [f"{task}/{v}" for v in videos], "task": task, "video": videos})
        for k in DIVISIONS:
            trained = {v for pair in lists["train", k] for v in pair}
            table[f"split_{k}"] = ["train" if v in trained else "test" for v in videos]
        tables.append(table)
        pairs += [(row[a], row[b]) for a, b in better_worse]
    table = pd.concat(tables, ignore_index=True)
    data = listed(f"epic_skills {o['task']}", root, o, table, "hazeld/EPIC-Skills2018", pairs=pairs)
    _verify(data, published, root)
    return data


def fingerprint(root):
    root = folder("epic_skills", root, HOLDS)
    return content(root, [p for task in COUNTS for p in (root / task).rglob("*.csv")])


def checks(root, task="all", **options):
    """(what, found, expected) of the tasks and of their divisions."""
    o, found = resolve("epic_skills", OPTIONS, options | {"task": task}, "option"), []
    for name, (videos, pairs) in (COUNTS | POOLED).items():
        if not set(MEMBERS[name]) <= set(MEMBERS[task]):
            continue
        data = load(root, **(o | {"task": name}))
        found.append((f"{name}: videos and pairs", [len(data), len(data.pairs)], [videos, pairs]))
        for k in DIVISIONS if name in COUNTS else ():
            train, test = splits.pairs(data, f"division:{k}")
            held = (data.table[f"split_{k}"] == "test").to_numpy()
            mixed = int((~held[test]).any(axis=1).sum())
            given = [314, 222, 10] if (name, k) == ("Chopstick_Using", 1) else None
            what = f"{name} {k}: training pairs, test pairs, held-out videos"
            found.append((what, [len(train), len(test), int(held.sum())], given))
            found.append((f"{name} {k}: test pairs with a video that is trained on", mixed, None))
    return found


def _annotations(root, task):
    """All pairs (better, worse) of a task, and the published lists (part, k) -> pairs."""
    path, name = root / task, task.lower()
    ranked = []
    for i, row in csv_rows(need(path / f"{name}_gt.csv"), header=("Vid1", "Vid2")):
        if len(row) < 3 or row[2] not in row[:2] or row[0] == row[1]:
            raise UserError(f"{path / f'{name}_gt.csv'}, line {i}: the better one must be one of two different videos")
        ranked.append((row[2], row[1] if row[2] == row[0] else row[0]))
    lists = {}
    for part in ("train", "val"):
        for k in DIVISIONS:
            file = need(path / "splits" / f"{name}_{part}_{k}.csv")
            rows = csv_rows(file, header=("Better", "Worse"))
            if short := [i for i, row in rows if len(row) < 2]:
                raise UserError(f"{file}, line {short[0]}: one video, not two; is the file cut off?")
            lists[part, k] = [tuple(row[:2]) for _, row in rows]
    return ranked, lists


def _verify(data, published, root):
    """Every published list must be what `splits.pairs` makes of the divided videos."""
    for task, lists in published.items():
        video, of = data.table["video"].to_numpy(), (data.table["task"] == task).to_numpy()
        for k in DIVISIONS:
            for part, ours in zip(("train", "val"), splits.pairs(data, f"division:{k}"), strict=True):
                made = Counter((video[a], video[b]) for a, b in ours if of[a])
                if made != Counter(lists[part, k]):
                    odd = next(iter((made - Counter(lists[part, k])) + (Counter(lists[part, k]) - made)))
                    raise UserError(
                        f"{root / task / 'splits' / f'{task.lower()}_{part}_{k}.csv'}: the list is not what its "
                        f"held-out videos and the ranked pairs make, for example {odd[0]},{odd[1]}; fetch it anew"
                    )
