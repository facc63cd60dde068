"""THUMOS14, temporal localisation: 200 training ("validation") and 210 test videos, 20 classes.

`gt.json` in the ActivityNet layout (its times are strings) with the lists `split_train.txt` and `split_test.txt`.
Nothing is scored: `actions` of the set says who does what from when to when, `aqa_lib.data.actions` gives a subset's.
"""

from aqa_lib.data.files import activitynet_json
from aqa_lib.data.files.folder import content, folder, need, once, text_of

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

OPTIONS = {}
COUNTS = {"train": (200, 3007, 20, 0), "test": (210, 3311, 20, 0)}  # videos, actions, labels, without extent
HOLDS = "gt.json, split_train.txt and split_test.txt"


def load(root, **options):
    """The videos of both lists, `train` and `test`; other videos of gt.json are named in meta["unlisted"]."""
    root, lists = folder("thumos14", root, HOLDS), {}
    for subset in ("train", "test"):
        path = need(root / f"split_{subset}.txt")
        lists[subset] = once(text_of(path).split(), str(path))
    once(lists["train"] + lists["test"], f"split_train.txt and split_test.txt of {root}")
    return activitynet_json.read(root / "gt.json", "thumos14", {"train": "train", "test": "test"}, lists)


def fingerprint(root):
    root = folder("thumos14", root, HOLDS)
    return content(root, [need(root / name) for name in ("gt.json", "split_train.txt", "split_test.txt")])


def checks(root, **options):
    data = load(root)
    median = float((data.actions["end"] - data.actions["start"]).median().round(0))
    unlisted = ("videos in neither list", ", ".join(data.meta["unlisted"][:8]) or "none", "none")
    return [unlisted, *activitynet_json.counts(data, COUNTS), ("median seconds of an action, rounded", median, 3.0)]
