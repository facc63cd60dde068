"""A data set of one's own: one file that `AssessmentSet.save` wrote, given as `root`.

    AssessmentSet(name="ours", features=x, scores=y, ids=ids, table=table).save("data/ours.safetensors")
    load("file", "data/ours.safetensors")

`features` [N,T,D] segment features, `scores` [N] with NaN where a video has none, and in `table` a column
split of train and test.
"""

import functools
import hashlib
from pathlib import Path

from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.errors import UserError

OPTIONS = {}


def load(root, **options):
    return AssessmentSet.read(located(root))


def located(root):
    if root is None:
        raise UserError("data set 'file' needs root, the path of a file that AssessmentSet.save wrote")
    return Path(root)


def fingerprint(root):
    """The first 16 hex digits of the file's sha256, so that other content is another run."""
    path = located(root)
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"no data set at {path}: write one there with AssessmentSet.save") from error
    if not path.is_file():
        raise UserError(f"{path} is a folder: root is the path of one file that AssessmentSet.save wrote")
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _digest(path, mtime, size):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
