"""Methods by name: `get("s4aqa")`. A file here that defines `METHOD` is a method; nothing else registers it."""

import importlib
import pkgutil

from aqa_lib.errors import choose


def names():
    """The names of all methods: the files of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and m.name[0] != "_")


def get(name):
    """The method of that name, or a sentence with the nearest one."""
    method = importlib.import_module(f"{__name__}.{choose('method', name, names())}").METHOD
    method.name, method.title = name, method.title or name
    return method
