"""What a file may make of itself: no more than its size warrants, no more than fits into memory.

A few bytes of a packed file can stand for gigabytes, and a header can promise what is not there. So whoever reads a
file looks at the sizes in its header first, and asks here before it makes room.
"""

import math
import os
import stat

from aqa_lib import processes
from aqa_lib.errors import UserError

SMALL = 64 * 2**20  # bytes that any file may fill
TEXT = 25  # times its size that a text takes as lists of words, at worst
TIMES = 100  # above that, so many times its own size; features pack to a tenth at the very best


def held(path):
    """The bytes of a file; a UserError where it is none: a pipe or a device may never end."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"cannot read {path}: it is no file; give the path of one")
    return found.st_size


def check_fit(path, needed):
    """A UserError where what is in the file at `path` would fill more bytes than it warrants, or than there are."""
    size = held(path)
    if needed > max(SMALL, TIMES * size):
        raise UserError(
            f"{path} has {processes.size(size)}, but would fill {processes.size(needed)} or more, as only a damaged "
            "or hostile file does: fetch it from its official place, or save it anew without compression"
        )
    processes.check_memory(str(path), needed, "close other programs, or take a machine with more")


def tensors(path, file):
    """All arrays of an opened safetensors file, once they are known to fit into memory, as float32, too."""
    names = list(file.keys())
    size = {name: 4 * math.prod(file.get_slice(name).get_shape()) for name in names}
    check_fit(path, held(path) + sum(size[name] for name in names if file.get_slice(name).get_dtype() != "F32"))
    return {name: file.get_tensor(name) for name in names}


def check_words(words, where):
    """A list of texts, if an array of them is not far larger than they are: each takes the room of the longest."""
    words = list(words)
    longest = max((len(w) for w in words if isinstance(w, str)), default=0)
    total = sum(len(w) for w in words if isinstance(w, str))
    if 4 * longest * len(words) > max(SMALL, 4 * TIMES * total):
        raise UserError(f"{where} has a word of {longest} characters among {len(words)}: shorten it")
    return words


def reason(error):
    """Why something failed, as a part of a sentence: one line, printable and short."""
    text = str(error) or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text[:300])
