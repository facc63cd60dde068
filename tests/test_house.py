"""The house keeps its shape: rooms, pins, configs, and the files that a newcomer meets first."""

import ast
import importlib.metadata
import re
import shlex
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from aqa_lib import commands, data, methods
from aqa_lib.batch.plan import read_plan
from aqa_lib.errors import UserError

# top to bottom; a room imports from rooms below it and from itself
ROOMS = "__main__ commands report batch study ledger figures training methods models losses tasks evaluation".split()
ROOMS += "published video data kinds settings plain_yaml plain_json processes paths chance errors".split()
NEVER = {
    "evaluation": {"torch"},
    "data": {"torch"},
    "figures": {"torch", "aqa_lib.training"},
    "study": {"dask"},
}


def imports(path, package):
    """All modules that a file imports, wherever the statement stands: dotted names."""
    here = path.relative_to(package.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: len(here) - node.level], *filter(None, [node.module])])
            module = base if node.level else node.module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def wrong_imports(package):
    """(file, import) wherever one goes up the house, or to what the room does without."""
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for name in imports(path, package):
            parts = name.split(".")
            upwards = parts[0] == "aqa_lib" and parts[1] in ROOMS and ROOMS.index(parts[1]) < ROOMS.index(room)
            never = any(f"{name}.".startswith(f"{other}.") for other in NEVER.get(room, ()))
            if upwards or never:
                yield str(path.relative_to(package)), name


def test_a_room_imports_only_from_rooms_below_it(repository):
    package = repository / "aqa_lib"
    rooms = {p.name.removesuffix(".py") for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__"} <= set(ROOMS)
    assert list(wrong_imports(package)) == []


def test_the_check_of_rooms_sees_what_it_forbids(tmp_path):
    package = tmp_path / "aqa_lib"
    files = {
        "data/a.py": "def f():\n    import torch.nn",
        "losses.py": "from aqa_lib.models import x",
        "models/b.py": "from aqa_lib import training",
        "models/c.py": "from ..study import y\nfrom .b import z\nfrom aqa_lib import __version__",
        "figures/d.py": "from aqa_lib.training import train\nfrom aqa_lib.evaluation import spearman",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    assert {file for file, _ in wrong_imports(package)} == {*files}
    assert len(list(wrong_imports(package))) == len(files)


ROOMS_WITHOUT_NAMES = ("study", "ledger", "batch", "report", "training")
FIELD = "surrogate"  # of an answer, whether it was made from generated data: allowed as a key
ORDINARY = {"best"}  # a word before it was a data set


def named(text, names):
    """(line, literal) wherever a Python text has a string that is one of the names, the key FIELD aside."""
    tree = ast.parse(text)
    keys = {id(k) for node in ast.walk(tree) if isinstance(node, ast.Dict) for k in node.keys}
    keys |= {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names and not (node.value == FIELD and id(node) in keys):
            yield node.lineno, node.value


def test_rooms_that_serve_all_methods_and_data_sets_name_none(repository):
    names = {
        *methods.names(),
        *data.names(),
        *(t for n in methods.names() for t in methods.get(n).compared_as()),
    } - ORDINARY
    for room in ROOMS_WITHOUT_NAMES:
        for path in (repository / "aqa_lib" / room).rglob("*.py"):
            assert list(named(path.read_text(), names)) == [], path


def test_the_check_of_names_sees_what_it_forbids():
    text = 'x = {"surrogate": 1}["surrogate"]\nif name == "surrogate" or "svr" in {"ridge": 2}:\n    pass'
    assert sorted(named(text, {"surrogate", "svr", "ridge"})) == [(2, "ridge"), (2, "surrogate"), (2, "svr")]


def test_files_are_short_and_say_what_they_are(repository):
    for path in (repository / "aqa_lib").rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        assert ast.get_docstring(ast.parse(text)), path


# ---- what is installed


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)  # no path, no local suffix
    found = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(found) == len(lines)
    return found


def declared(project):
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    return [Requirement(text) for text in project["dependencies"] + extras]


def test_every_declared_dependency_is_pinned_within_its_bound(project, pins):
    for requirement in declared(project):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), (requirement, pin)
        lower = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        assert lower and Version(lower[0]) <= Version(pin), requirement
    assert pins["torch"] == "2.13.0"


def test_what_the_declared_ones_need_is_pinned_too(project, pins):
    seen, todo = set(), declared(project)
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, *requirement.extras) in seen:
            continue
        seen.add((name, *requirement.extras))
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            assert name in pins, name
            continue
        assert name in pins or name in ("setuptools", "pip"), name
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                todo.append(need)


def test_what_the_library_imports_is_declared(project, repository):
    package, known = repository / "aqa_lib", {canonicalize_name(r.name) for r in declared(project)}
    known |= {"distributed"}  # comes with dask[distributed]
    owners = importlib.metadata.packages_distributions()
    for path in package.rglob("*.py"):
        for top in {name.split(".")[0] for name in imports(path, package)} - {
            "aqa_lib",
            *sys.stdlib_module_names,
        }:
            assert known & {canonicalize_name(name) for name in owners.get(top, [top])}, (path, top)


def test_the_conda_environment_installs_the_same(project, repository):
    environment = yaml.safe_load((repository / "environment.yml").read_text())
    python, pip, nested = environment["dependencies"]
    assert (pip, nested) == ("pip", {"pip": ["-c constraints.txt", "-e .[dev]"]})
    name, version = python.split("=")
    assert name == "python" and Requirement(f"x{project['requires-python']}").specifier.contains(version)


# ---- configs, and what a newcomer reads


def config_files(repository):
    return sorted((repository / "configs").glob("*.yaml"))


def strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_configs_are_valid_and_no_number_is_a_word(repository):
    assert repository / "configs" / "study.yaml" in config_files(repository)
    for path in config_files(repository):
        read_plan(path)
        for text in strings(yaml.safe_load(path.read_text())):
            with pytest.raises(ValueError):  # 1e-3 is a word in YAML 1.1: write 1.0e-3
                float(text)


def test_ci_runs_what_the_readme_says(repository):
    readme, ci = (repository / "README.md").read_text(), repository / ".ci" / "run"
    assert "make test" in ci.read_text().splitlines() and ci.stat().st_mode & 0o111
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^\s*(?:\$ )?make ([a-z]+)", code(readme), re.M))
    assert {"study", "test"} <= named <= targets


def code(text):
    """The code of a Markdown text, a line each: blocks and `spans`."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return "\n".join([*blocks, *spans]) + "\n"


def command_lines(text):
    """The arguments of every `aqa ...` in the code of a Markdown text."""
    pattern = r"^\s*(?:\$ )?(?:\S*/)?(?:aqa|python3? -m aqa_lib) +([a-z-][^\n]*)$"
    return [shlex.split(line, comments=True) for line in re.findall(pattern, code(text), re.M)]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_that_are_told_exist(repository, name):
    for argv in command_lines((repository / name).read_text()):
        try:
            _, args = commands.parse(argv)
        except SystemExit as end:  # --help
            assert end.code == 0
        else:
            config = getattr(args, "config", None)
            assert config is None or config.isupper() or (repository / config).is_file(), argv


def test_the_reading_of_commands_sees_wrong_ones():
    text = "Run `aqa stduy x` or\n```bash\n$ .venv/bin/aqa study a.yaml --wrokers 2  # two\n"
    text += "python -m aqa_lib doctor\n```\n"
    found = command_lines(text)
    assert sorted(found) == [["doctor"], ["stduy", "x"], ["study", "a.yaml", "--wrokers", "2"]]
    for argv in found:
        if argv != ["doctor"]:
            with pytest.raises(UserError, match="did you mean"):
                commands.parse(argv)


def test_licence_and_citation_are_complete(repository):
    licence = (repository / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert {"message", "title", "authors", "version"} <= set(citation)
    text = str(citation["references"])
    for sign in ("10.1109/TCSVT.2022.3143549", "2111.11029", "USDL", "1901.02579", "Co-Attention"):
        assert sign in text
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
