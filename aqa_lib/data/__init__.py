"""Data sets: `load(name, root, **options)` gives an AssessmentSet.

A reader is a file of readers/ with `OPTIONS` (name -> Setting) and `load(root, **options)`; being there registers it.
It may add `check(options)`, which holds options against one another and returns all of them resolved;
`fingerprint(root)` where it reads files; and `SHIPPED`, the file in data/ that it reads where no root is given.
"""

import importlib
import pkgutil
from pathlib import Path

from aqa_lib import settings
from aqa_lib.data import readers
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.folder import content
from aqa_lib.errors import choose

__all__ = ["AssessmentSet", "fingerprint", "load", "names", "reader", "resolve", "ships"]


def names():
    """The data sets at hand: every file of readers/."""
    return sorted(m.name for m in pkgutil.iter_modules(readers.__path__) if m.name[0] != "_")


def reader(name):
    """The module that reads data set `name`."""
    return importlib.import_module(f"{readers.__name__}.{choose('data set', name, names())}")


def resolve(name, options=None):
    """All options of data set `name`, defaults filled in, checked: what a run's identity records."""
    module = reader(name)
    full = settings.resolve(f"data set {name!r}", module.OPTIONS, options or {}, "option")
    return module.check(full) if hasattr(module, "check") else full


def load(name, root=None, **options):
    """The data set `name`, an AssessmentSet; `root` is its folder where it is read from files and does not ship."""
    options = resolve(name, options)
    return reader(name).load(root, **options)


def ships(name):
    """Whether the data set `name` comes with the project, so that it needs no root."""
    return hasattr(reader(name), "SHIPPED")


def fingerprint(name, root=None, features=None):
    """What tells one content of a data set that is read from files from another; None for a generated one.

    `features` is the option of that name, the path of a feature store from root: its content counts, too.
    """
    module = reader(name)
    if not hasattr(module, "fingerprint"):
        return None
    mark = module.fingerprint(root)
    if features is not None and (store := Path(root) / features).is_file():
        mark += "-" + content(store, [store])
    return mark
