"""Where an answer comes from: the commit of the library, and the machine; noted as a notebook begins.

The commit is looked up each time and not once a process: a study runs for hours, and its worker outlives a commit.
"""

import contextlib
import platform
import subprocess
from pathlib import Path

from aqa_lib.ledger.identity import git, versions
from aqa_lib.processes import cores

CHECKOUT = Path(__file__).resolve().parents[2]
COMPUTES = ("aqa_lib", "notebooks", "configs")  # whose changes count; results that have just been written do not


def origin():
    """Commit and machine as plain values; commit is None where there is none, or no git."""
    return commit_of(CHECKOUT) | {
        "system": platform.system(),
        "processor": processor(),
        "cores": cores(),
        "versions": versions(),
    }


def commit_of(folder):
    """The commit of a checkout of the library, and whether what computes in it differs from that commit."""
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        git(folder, "ls-files", "--error-unmatch", "aqa_lib/__init__.py")  # not the repository of something around us
        changes = git(folder, "--no-optional-locks", "status", "--porcelain", "--", *COMPUTES)
        return {"commit": git(folder, "rev-parse", "--short=12", "HEAD"), "changed": bool(changes)}
    return {"commit": None, "changed": False}


def processor():
    """The processor's name as Linux tells it, elsewhere as Python does."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
