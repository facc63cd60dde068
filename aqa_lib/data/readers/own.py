"""Videos of one's own: a folder of feature files or of videos, and one CSV that says what is known of them.

    root/items.csv               id, and as far as there are: score, group, split, further columns
    root/<id>.npy                features [T, D] of a video; or .npz, .h5, .mat, or features/<id>.csv
    root/<id>.mp4                or videos, whose features then come from a feature store (option `features`)

The CSV is `items.csv`, or the one that option `table` names, or the only one in `root`. An empty score is an unlabelled
item. `group` names what must not stand on both sides of a leak-free split; an empty one is a group by itself. `split`
is train or test. Files may also lie in root/features. Videos without features give a set of annotations alone.
"""

import numpy as np
import pandas as pd

from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.folder import content, csv_rows, folder, need, number, once
from aqa_lib.data.files.importers import LAYOUTS, READERS, read_array
from aqa_lib.data.files.store import joined
from aqa_lib.data.ragged import Ragged
from aqa_lib.errors import UserError, nearest
from aqa_lib.settings import Setting, resolve

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

OPTIONS = {
    "table": Setting(None, "name of the CSV in root, where it is not items.csv and not the only one", kind=str),
    "features": Setting(None, "path of a feature store, from root; None: feature files in root", kind=str),
    "modality": Setting(None, "of the store, where it has several", kind=str),
    "key": Setting(None, "name of the array in .npz, .h5 and .mat files that hold several", kind=str),
    "layout": Setting("TD", "axes of the feature files, see aqa_lib/data/files/importers.py", choices=LAYOUTS),
}
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
HOLDS = "items.csv and the features or videos"


def load(root, **options):
    """The items of the CSV with the features of their videos; videos of different length as a Ragged."""
    o = resolve("own", OPTIONS, options, "option")
    root = folder("own", root, HOLDS)
    path, table = _table(root, o["table"])
    if o["features"] is not None:
        store = joined(root / o["features"], table["id"], o["modality"])
        if store["features"].ndim != 3:
            axes = store["features"].ndim - 1
            raise UserError(f"{o['features']}: {o['modality']} has {axes} axes a video; [T, D] is needed")
    else:
        store = {"features": _features(root, path, table["id"], o)}
    return AssessmentSet(
        name=f"own {root.resolve().name}",
        scores=table["score"],
        ids=table["id"],
        table=table,
        groups=table["group"] if "group" in table else None,
        **store,
        meta={"options": o, "surrogate": False, "source": path.name},
    )


def fingerprint(root):
    root = folder("own", root, HOLDS)
    return content(root, [p for p in root.rglob("*") if p.is_file() and p.suffix in (*READERS, ".csv")])


def checks(root, **options):
    data = load(root, **options)
    table = data.table
    found = [("items", len(data), None), ("items with a score", int((~np.isnan(data.scores)).sum()), None)]
    if data.features is not None:
        found.append(("segments and features of the longest video", list(data.features.shape[1:]), None))
    if data.groups is not None:
        found.append(("groups", len(set(data.groups)), None))
    if "split" in table:
        found.append(("training and test items", [int((table["split"] == s).sum()) for s in ("train", "test")], None))
    return found


def _table(root, name):
    """(path, table) of the CSV, with a column score of numbers, NaN where there is none."""
    beside = sorted(root.glob("*.csv"))
    if name is not None:
        path = need(root / name)
    elif (root / "items.csv") in beside or len(beside) != 1:
        path = need(root / "items.csv", "it is to list the videos: id, and if known score, group, split")
    else:
        path = beside[0]
    (_, names), *rows = csv_rows(path) or [(1, [])]
    names = [n.lower() if n.lower() in ("id", "score", "group", "split") else n for n in names]
    once(names, f"the header of {path}")
    if "id" not in names:
        first = ",".join(names)[:60]
        raise UserError(f"{path} has no column id: it begins with {first!r}, but id,score,group,split is expected")
    if not rows:
        raise UserError(f"{path} lists no items: give a line a video")
    for i, row in rows:
        if len(row) != len(names):
            raise UserError(f"{path}, line {i}: {len(row)} fields, not the {len(names)} of the header")
        if not row[names.index("id")]:
            raise UserError(f"{path}, line {i}: no id; give the name of the video's file without its suffix")
    table = pd.DataFrame([row for _, row in rows], columns=names)
    once(list(table["id"]), str(path))
    cells = table["score"] if "score" in table else [""] * len(table)
    unknown = ("", "nan", "na")
    scores = [
        np.nan if c.lower() in unknown else number(c, f"{path}, line {i}: score of {v!r}")
        for (i, _), v, c in zip(rows, table["id"], cells, strict=True)
    ]
    table["score"] = np.array(scores, dtype=float)
    if "group" in table:
        table["group"] = np.where(table["group"] == "", table["id"], table["group"])
    if "split" in table and (table["split"] == "").all():
        table = table.drop(columns="split")
    for (i, _), word in zip(rows, table.get("split", []), strict=False):
        if word not in ("train", "test"):
            raise UserError(f"{path}, line {i}: unknown split {word!r}{nearest(word, ['train', 'test'])}")
    return path, table


def _features(root, table, ids, o):
    """The features of all items from files, a Ragged, or None where only videos are there."""
    files, videos = {}, set()
    for path in sorted(root.rglob("*")):
        base = root / "features" if root / "features" in path.parents else root
        video = path.relative_to(base).with_suffix("").as_posix()
        if path.suffix in READERS and path != table and not (path.suffix == ".csv" and path.parent == root):
            if video in files:
                raise UserError(f"{files[video]} and {path} are both features of {video!r}: take one away")
            files[video] = path
        elif path.suffix.lower() in VIDEOS:
            videos.add(video)
    if not files and not set(ids) - videos:
        return None
    here = set(ids) & (files.keys() or videos)
    missing = [v for v in ids if v not in here]
    if missing:
        what = f"features of {len(missing)}" if files else f"features or videos of {len(missing)}"
        near = nearest(missing[0], sorted(files or videos)[:8]) if files or videos else " (it holds none)"
        raise UserError(f"{root} lacks {what} of the {len(ids)} items, the first being {missing[0]!r}{near}")
    items = [read_array(files[v], o["key"], o["layout"]) for v in ids]
    for video, x in zip(ids, items, strict=True):
        if x.shape[1] != items[0].shape[1]:
            raise UserError(
                f"{files[video]} has {x.shape[1]} features a segment, but {files[ids.iloc[0]]} has "
                f"{items[0].shape[1]}: extract all videos with the same network"
            )
    return Ragged.of(items)
