"""ActivityNet 1.2, temporal localisation: 4,441 training and 2,198 validation videos, 100 classes.

`activity_net.v1-2.min-missing-removed.json`, or the only .json in `root`. Its 2,268 testing videos have no
labels and are in neither part of the split; the validation videos are the test part, as in print. Nothing is scored:
`actions` of the set says who does what from when to when, `aqa_lib.data.actions` gives a subset's.
"""

from aqa_lib.data.actions import actions_of
from aqa_lib.data.files import activitynet_json
from aqa_lib.data.files.folder import content, folder, need

__all__ = ["OPTIONS", "checks", "fingerprint", "load"]

OPTIONS = {}
COUNTS = {  # videos, actions, labels, actions without extent
    "training": (4441, 6588, 100, 6),
    "validation": (2198, 3281, 100, 3),
    "testing": (2268, 0, 0, 0),
}
SPLITS = {"training": "train", "validation": "test", "testing": ""}
FILE = "activity_net.v1-2.min-missing-removed.json"


def load(root, **options):
    """The videos of the subsets `training`, `validation` and `testing`."""
    return activitynet_json.read(_file(root), "activitynet12", SPLITS)


def fingerprint(root):
    path = _file(root)
    return content(path.parent, [path])


def checks(root, **options):
    data = load(root)
    videos = actions_of(data, "training").groupby("label")["video"].nunique()
    found = activitynet_json.counts(data, COUNTS)
    return [*found, ("training videos of a label, fewest and most", [int(videos.min()), int(videos.max())], [29, 66])]


def _file(root):
    root = folder("activitynet12", root, FILE)
    others = sorted(root.glob("*.json"))
    return others[0] if len(others) == 1 else need(root / FILE)
