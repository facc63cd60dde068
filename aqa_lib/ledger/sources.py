"""Which files a run or a notebook computes with: what its modules import, and a hash of that.

    digest(["aqa_lib.methods.ridge", "aqa_lib.training"])    # changes with the files that they import, and no others

The files are parsed, never imported. An import counts wherever it stands, also inside a function. What is imported
by a name made at run time (`methods.get`, `data.reader`) is not seen: whoever asks names such modules, too.
"""

import ast
import functools
import hashlib
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# Parts that start a study, show it or open the library to its users: no number and no answer changes with them.
DRIVERS = {"__init__", "__main__", "batch", "commands", "processes", "report"}
TABLES = {".csv", ".json", ".yaml"}  # files beside a package's __init__ that its code may read


def content(path):
    """(hash, imports) of a file as it stands; a file is parsed once as long as it stays the same."""
    known = path.stat()
    return _parsed(path, known.st_mtime_ns, known.st_size)


def snapshot():
    """A reader of what the package's files hold at this moment, for a digest that is asked for later."""
    read = functools.cache(content)
    for path in PACKAGE.rglob("*"):
        if path.suffix in {".py", *TABLES}:
            read(path)
    return read


@functools.cache
def _parsed(path, *mark):
    """(hash, imports) of a file, an import as (level, dotted name): `from ..a import b` is (2, "a.b")."""
    text, found = path.read_bytes(), []
    for node in ast.walk(tree(text)) if path.suffix == ".py" else ():
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # a name may be a module, or stand in one
            found += [(node.level, ".".join(filter(None, [node.module, alias.name]))) for alias in node.names]
    return hashlib.sha256(text).hexdigest(), tuple(found)


def tree(text):
    """A file's syntax tree; an empty one where somebody is writing it: it counts, what it imports is unknown."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def closure(modules, read=content):
    """{module: its file} of these modules, all that they import, and the packages around those; sorted.

    `read` says what a file holds: `content`, or a cache of it where what stood there earlier counts.
    """
    found, todo = {}, list(modules)
    while todo:
        parts = todo.pop().split(".")
        for n in range(2, len(parts) + 1):  # a package runs before what is in it
            name = ".".join(parts[:n])
            if name not in found and (path := file_of(name)):
                found[name] = path
                package = parts[:n] if path.name == "__init__.py" else parts[: n - 1]
                for level, imported in read(path)[1]:
                    above = package[: len(package) + 1 - level] if level else []
                    todo.append(".".join([*above, imported]))
    return dict(sorted(found.items()))


def digest(modules, read=content):
    """A hash of the names and contents of the files that these modules compute with.

    The tables that lie beside a package's `__init__` count with it. A module that has no file adds nothing.
    """
    total = hashlib.sha256()
    for path in closure(modules, read).values():
        beside = sorted(p for p in path.parent.iterdir() if p.suffix in TABLES) if path.name == "__init__.py" else []
        for file in (path, *beside):
            total.update(f"{file.relative_to(PACKAGE).as_posix()}\0{read(file)[0]}\0".encode())
    return total.hexdigest()


def loaded():
    """The modules of the package that this process has imported, as far as an answer can depend on them."""
    return sorted(name for name in sys.modules if file_of(name))


def file_of(module):
    """The file of a module of the package; None for a driver, another package, and what is no module."""
    first, *parts = module.split(".")
    if first != PACKAGE.name or not parts or parts[0] in DRIVERS or not all(map(str.isidentifier, parts)):
        return None
    path = PACKAGE.joinpath(*parts)
    return next((p for p in (path / "__init__.py", path.parent / f"{path.name}.py") if p.is_file()), None)
