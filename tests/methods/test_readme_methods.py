"""The methods that README.md shows are files that pass every check as they stand."""

import os
import re
import subprocess
import sys

import pytest

from aqa_lib import methods
from aqa_lib.study.study import Study
from aqa_lib.training import contract

TRAINING = ["checkpoint", "gpu", "restore", "splits_in_one_stack"]  # what they test they test of every method


@pytest.fixture(scope="module")
def blocks(repository):
    """The Python blocks of the section on a method of one's own."""
    section = re.search(r"^## A method of your own\n(.*?)^## ", (repository / "README.md").read_text(), re.M | re.S)
    return re.findall(r"^```python\n(.*?)^```", section[1], re.M | re.S)


def files(blocks):
    """{name of a method: its text} of the blocks that are files."""
    return {re.match(r"# aqa_lib/methods/(\w+)\.py\n", b)[1]: b for b in blocks if "METHOD" in b}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recurrent", "agreement"])
def test_a_method_of_the_readme_passes_every_check(name, blocks, tmp_path):
    assert files(blocks).keys() == {"recurrent", "agreement"}
    text = files(blocks)[name]
    assert len(text.splitlines()) < 50
    (tmp_path / f"{name}.py").write_text(text)
    found = {words: complaint for words, complaint in contract.findings(tmp_path / f"{name}.py") if complaint}
    assert found == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "instead", "words"),
    [
        ("taken(other.detach(), another(batch))", "other.detach()", "its control .* learns what the method itself"),
        ('return {"agreement": exchanged', 'return {"agrement": exchanged', "agreement"),
        ('"regression": regression, ', "", "regression"),
    ],
)
def test_a_mechanism_that_cannot_be_looked_at_is_found(text, instead, words, blocks, tmp_path):
    file = tmp_path / "agreement.py"
    good = files(blocks)["agreement"]
    assert good.count(text) == 1
    file.write_text(good.replace(text, instead))
    assert re.search(words, contract.complaint(contract.can_be_looked_at, methods.path(str(file))))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recurrent", "margin", "rounds"])
def test_in_the_package_it_passes_what_tests_ask_of_every_method(name, blocks, tmp_path, repository):
    """In a pytest of its own, whose plugin says that the file lies beside the others; also of another task."""
    other = repository / "tests" / "contract" / f"{name}.py"
    text = other.read_text() if other.exists() else files(blocks)[name]
    (tmp_path / f"added_{name}.py").write_text(text)
    plugin = f"from aqa_lib import methods\n\nmethods.__path__.append({str(tmp_path)!r})\n"
    (tmp_path / "_beside.py").write_text(plugin)
    asked = ["tests/methods/test_methods.py", "tests/data/test_splits.py::test_a_draw_is_the_same_for_every_method"]
    asked += ["tests/study/test_variants.py::test_contestants_are_all_that_the_data_set_suits"]
    asked += [f"tests/training/test_{name}.py" for name in TRAINING]
    options = ["-p", "_beside", "-p", "no:cacheprovider", "-k", "added_ or a_draw_is or contestants"]
    command = [sys.executable, "-m", "pytest", *options, *asked]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env["PYTHONPATH"] = os.pathsep.join([str(repository), str(tmp_path)])
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > len(contract.CHECKS)


def test_the_runs_of_the_readme_can_be_asked_for(blocks, tmp_path, monkeypatch):
    for name, text in files(blocks).items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    asked = []
    monkeypatch.setattr(Study, "train", lambda self, *args, **options: asked.append((args, options)))
    try:
        (code,) = [block for block in blocks if "METHOD" not in block]
        exec(code, {})
        ((name, world), options) = asked[0]
        monkeypatch.undo()
        monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
        specs = Study("mine").specs(name, [world] * 20, ["official"] * 20, options["runs"])
        assert len({str(spec) for spec in specs}) == 20
    finally:
        for name in files(blocks):
            sys.modules.pop(f"aqa_lib.methods.{name}", None)
