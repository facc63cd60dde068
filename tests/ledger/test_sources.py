"""Which files a run computes with: the graph of imports, and what an edit of each file changes."""

import ast
import json
import shutil
import subprocess
import sys

import pytest

from aqa_lib import data, methods
from aqa_lib.ledger import identity, sources
from aqa_lib.ledger.identity import code_version

# ---- a package that shows every way to import

MADE = {
    "__init__.py": "from made.commands import start",
    "losses.py": "x = 1",
    "chance.py": "import math",
    "commands/__init__.py": "from made import losses",
    "models/net.py": "from made.models import parts\nimport made.losses as l",  # a package without __init__
    "models/parts.py": "class parts: pass",
    "methods/__init__.py": "NAMES = []",
    "methods/plain.py": "from .base import Method",
    "methods/base.py": "from ..chance import x\nfrom . import _help",
    "methods/_help.py": "def f():\n    if True:\n        from made.models.net import Net\n    import made.commands",
    "methods/loop.py": "from made.methods import pool",
    "methods/pool.py": "import made.methods.loop, json",
    "data/__init__.py": "from made.data.files import store\nfrom .set import Set",
    "data/set.py": "import numpy as np\nfrom made.data import missing",
    "data/files/__init__.py": "from ...losses import x",
    "data/files/store.py": "y = (",  # somebody is writing it
    "data/readers.py": "",
    "data/table.csv": "1",
    "data/readers.py~": "an editor's copy",
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    package = tmp_path / "made"
    for name, text in MADE.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(sources, "PACKAGE", package)
    return package


BASE = {"chance", "losses", "methods", "methods.base", "methods._help", "models.net", "models.parts"}


@pytest.mark.parametrize(
    "root, wanted",
    [
        ("losses", {"losses"}),
        ("models.net", {"losses", "models.net", "models.parts"}),
        ("methods.plain", BASE | {"methods.plain"}),  # relative, and in a function of a private file
        ("methods.loop", {"methods", "methods.loop", "methods.pool"}),  # round and round
        ("data.readers", {"data", "data.files", "data.files.store", "data.set", "data.readers", "losses"}),
        ("commands", set()),
        ("methods.no such.thing", {"methods"}),
        ("methods.../../losses", {"methods"}),
    ],
)
def test_what_a_module_computes_with(made, root, wanted):
    found = sources.closure([f"made.{root}"])
    assert {name.removeprefix("made.") for name in found} == wanted
    assert all(path.is_file() for path in found.values())


def test_other_packages_do_not_count(made):
    assert sources.closure(["numpy", "made", "aqa_lib.methods", ""]) == {}


def test_the_hash_follows_the_files_of_the_graph_and_no_others(made):
    def state():
        return sources.digest(["made.data.readers"])

    before = state()
    for name in (
        "chance.py",
        "commands/__init__.py",
        "__init__.py",
        "methods/new.py",
        "data/new.py",
        "data/readers.py~",
    ):
        (made / name).write_text("z = 26")
        assert state() == before, name
    for name in ("data/readers.py", "losses.py", "data/files/store.py", "data/table.csv", "data/missing.py"):
        (made / name).write_text("z = 26")
        assert state() != before, name
        before = state()
    (made / "data/set.py").unlink()
    assert state() != before
    assert sources.digest(["made.gone"]) == sources.digest([])


def test_a_snapshot_knows_what_stood_there(made):
    modules = ["made.methods.plain", "made.data"]
    read, before = sources.snapshot(), sources.digest(modules)
    (made / "methods/_help.py").write_text("import made.methods.loop")
    assert sources.digest(modules, read) == before != sources.digest(modules)
    (made / "methods/_help.py").write_text(MADE["methods/_help.py"])
    (made / "data/table.csv").write_text("22")
    assert sources.digest(modules, read) == before != sources.digest(modules)


# ---- the library


@pytest.mark.slow
def test_the_graph_holds_all_that_python_imports():
    """Against Python's own account: what lies in sys.modules after an import."""
    roots = ["aqa_lib.methods.trs", "aqa_lib.training", "aqa_lib.data.readers.jigsaws", "aqa_lib.study.summary"]
    code = f"import json, sys, {', '.join(roots)}\nprint(json.dumps([m for m in sys.modules if m[:8] == 'aqa_lib.']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = {name for name in json.loads(done.stdout) if name.split(".")[1] not in sources.DRIVERS}
    there = {name for name in there if name != "aqa_lib.models"}  # a folder without __init__ has no file
    assert {"aqa_lib.methods.trs", "aqa_lib.models.trs", "aqa_lib.losses"} < there <= set(sources.closure(roots))


def test_the_graph_is_found_without_importing_anything():
    code = "import sys; from aqa_lib.ledger.sources import closure\nfound = closure(['aqa_lib.study.study'])\n"
    code += "assert 'aqa_lib.training.train' in found\n"
    code += "assert not {'torch', 'numpy', 'aqa_lib.training', 'aqa_lib.study'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_trainer_knows_no_method():
    found = sources.closure(["aqa_lib.training", "aqa_lib.training.restore"])
    assert {n for n in found if n.startswith("aqa_lib.methods")} == {"aqa_lib.methods"}


def test_no_file_takes_from_the_entrance_what_is_no_module(repository):
    """What the package's own __init__ offers is not followed, so the library itself must not use it."""
    package = repository / "aqa_lib"
    parts = {path.name.removesuffix(".py") for path in package.iterdir()}
    assert parts >= sources.DRIVERS
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0].removesuffix(".py") in sources.DRIVERS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "aqa_lib":
                assert {alias.name for alias in node.names} <= parts, path


def test_only_methods_and_data_sets_are_imported_by_a_name_made_at_run_time(repository):
    package = repository / "aqa_lib"
    found = [path.relative_to(package) for path in package.rglob("*.py") if "import_module(" in path.read_text()]
    found = {path.as_posix() for path in found if path.parts[0].removesuffix(".py") not in sources.DRIVERS}
    assert found == {"methods/__init__.py", "data/__init__.py"}


# ---- runs


@pytest.fixture
def package(tmp_path, monkeypatch, repository):
    """A copy of the library whose files a test may edit."""
    copy = tmp_path / "aqa_lib"
    shutil.copytree(repository / "aqa_lib", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    forget()
    yield copy
    forget()


def forget():
    """What a new process would not know."""
    identity._sources.cache_clear()
    identity.AT_FIRST.cache_clear()


def code_versions():
    """The version of every method's runs on the surrogate, and of ridge's on every data set."""
    forget()
    made = {name: {"method": name, "data": {"name": "surrogate"}} for name in methods.names()}
    made |= {f"on {name}": {"method": "ridge", "data": {"name": name}} for name in data.names()}
    return {name: code_version(spec) for name, spec in made.items()}


@pytest.mark.slow
def test_an_edit_changes_the_version_of_those_runs_that_use_the_file(package):
    every, before = set(code_versions()), code_versions()
    assert len({before[name] for name in methods.names()}) == len(methods.names())
    named = {name for name in every if not name.startswith("on ")}
    for name, wanted in {
        "methods/new_one.py": set(),
        "data/readers/new_one.py": set(),
        "figures/compare.py": set(),
        "report/page.py": set(),
        "batch/runner.py": set(),
        "commands/runs.py": set(),
        "study/blocks.py": set(),
        "ledger/locks.py": set(),
        "models/trs.py": {"trs"},
        "methods/vat.py": {"vat"},
        "methods/_ranks.py": {"rank_alignment", "rankup", "trs"},
        "methods/c3d_avg_stl.py": {"c3d_avg_stl", "c3d_avg_mtl"},
        "models/c3d_avg.py": {"c3d_avg_stl", "c3d_avg_mtl"},
        "models/s4l.py": {"s4l"},
        "data/readers/mtl_aqa.py": {"c3d_avg_mtl", "on mtl_aqa"},  # that method reads its table
        "data/readers/surrogate.py": named | {"on surrogate"},
        "training/train.py": every,
        "methods/base.py": every,
        "data/splits.py": every,
        "chance.py": every,
    }.items():
        with open(package / name, "a") as file:
            file.write("\n# edited\n")
        after = code_versions()
        assert {run for run in every if after[run] != before[run]} == wanted, name
        before = after


def test_a_process_goes_on_with_what_it_saw_first(package):
    spec = {"method": "ridge", "data": {"name": "surrogate"}}
    before = code_version(spec)
    (package / "training/train.py").write_text("x = 1")
    assert code_version(spec) == before
    other = code_version({"method": "svr", "data": {"name": "surrogate"}})  # asked for later, trained by the same
    forget()
    assert code_version(spec) != before
    assert code_version({"method": "svr", "data": {"name": "surrogate"}}) != other


@pytest.mark.parametrize("spec", [{}, {"method": 3, "data": None}, {"method": "../x", "data": {"name": "a.b"}}])
def test_a_foreign_run_has_a_version_too(spec):
    assert "src." in code_version(spec)


def test_a_version_needs_no_git(monkeypatch):
    monkeypatch.setattr(identity, "commit", lambda: None)
    assert code_version({"method": "ridge"}).startswith("src.")
