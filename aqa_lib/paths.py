"""Where things are, whatever the working directory: a notebook, a test and the command agree on it."""

import os
import re
import tempfile
from pathlib import Path

from aqa_lib.errors import UserError


def root():
    """The study's folder: AQA_ROOT, else aqa_lib's parent if it holds notebooks/, else the working one."""
    if os.environ.get("AQA_ROOT"):
        return Path(os.environ["AQA_ROOT"]).resolve()
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def outputs(study=None):
    """outputs/, or outputs/<study>; AQA_OUTPUTS names another folder for outputs/."""
    base = Path(os.environ.get("AQA_OUTPUTS") or root() / "outputs").resolve()
    return base if study is None else base / check_name("study", study)


def notebooks():
    """The folder of the committed notebooks."""
    return root() / "notebooks"


def relative(path):
    """A path as one would type it from the study's folder, where it lies in it."""
    path = Path(path).resolve()
    return str(path.relative_to(root())) if path.is_relative_to(root()) else str(path)


def check_name(kind, name):
    """A name that is safe as the name of a folder."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise UserError(f"{kind} {name!r}: a name is made of letters, digits, '_' and '-', such as 'explore'")
    return name


def writable(folder):
    """The folder, made if it is missing; a UserError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write to {folder} ({reason}): free it, or set AQA_OUTPUTS to another folder") from None
    return folder
