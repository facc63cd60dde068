"""Methods by name: `get("s4aqa")`. A file here that defines `METHOD` is a method; nothing else registers it."""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

from aqa_lib.errors import UserError, choose

asked = None  # the names that `every` gave in this process: who asked for them asked what methods there are


def names():
    """The names of all methods, to check or look up one of them: the files of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and m.name[0] != "_")


def every():
    """The names of all methods, to use each of them: a notebook that asks runs again when there are others."""
    global asked
    asked = names()
    return list(asked)


def guesses():
    """The names of the guesses without video: files that begin with `guess_`, so that no other need be imported."""
    return [name for name in names() if name.startswith("guess_")]


def get(name):
    """The method of that name, or a sentence with the nearest one."""
    return named(importlib.import_module(f"{__name__}.{choose('method', name, names())}"), name)


def path(which):
    """The file of a method, given by its name or by the path of the file itself, wherever that lies."""
    which = str(which)
    if not which.endswith(".py"):
        return Path(importlib.util.find_spec(f"{__name__}.{choose('method', which, names())}").origin)
    if not Path(which).is_file():
        raise UserError(f"there is no file {which}: give the path of a method's file, or the name of a method")
    return Path(which)


def fresh(which):
    """The method of a name or of a file as another process has it: the file is read anew, nothing is remembered."""
    file = path(which)
    name = f"aqa_method_{file.stem}"  # not the package's own, which stays as it is
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return named(module, file.stem)


def named(module, name):
    """The METHOD of a module, with its name."""
    method = getattr(module, "METHOD", None)
    if method is None:
        raise UserError(f"{module.__file__} defines no METHOD: end it with METHOD = YourClass()")
    if isinstance(method, type):
        raise UserError(f"{module.__file__}: METHOD is a class: write METHOD = {method.__name__}(), with brackets")
    method.name, method.title = name, method.title or name
    return method
