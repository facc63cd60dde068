"""What makes the answer of a notebook outdated, shown on a copy of the library that the tests edit."""

import json
import os
import shutil

import pytest

from aqa_lib import methods
from aqa_lib.batch import execute
from aqa_lib.batch.plan import read_plan
from aqa_lib.ledger import sources

WORLD = '{"name": "surrogate", "n_train": 30, "n_test": 15, "D": 4}'
EVERY = f"""from aqa_lib import methods
from aqa_lib.study.study import Study
closed = [name for name in methods.every() if methods.get(name).video and not methods.get(name).gradient]
for name in closed:
    Study(study).train(name, {WORLD}, runs=[{{"fraction": 0.5}}])"""
ONE = f"""from aqa_lib.figures.compare import panels
from aqa_lib.study.variants import by_name
from aqa_lib.study.study import Study
shared = {{"fraction": 0.5, "steps": 20, "lr": 0.01, "vat": {{"eps": 1.0}}}}
((method, settings),) = by_name(["ridge"], shared).values()
Study(study).train(method, {WORLD}, runs=[settings])"""
EDITS = """import aqa_lib.figures.dive
with open(aqa_lib.figures.dive.__file__, "a") as file:
    file.write("# edited while the notebook runs")"""


@pytest.fixture
def package(house, repository, monkeypatch):
    """A copy of the library: the one of `aqa` and its kernels, and the one whose files this process looks at."""
    copy = house.folder / "copy" / "aqa_lib"
    shutil.copytree(repository / "aqa_lib", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    monkeypatch.setattr(methods, "__path__", [str(copy / "methods")])
    return copy


def outdated(house, config):
    """The notebooks that the next call would run."""
    return {job.name for job in read_plan(house.folder / config)[1] if not execute.finished(house.place, job)}


def edit(path):
    with open(path, "a") as file:
        file.write("\n# edited\n")


def trained(house):
    """{method: when its one run was written}."""
    files = (house.folder / "outputs/try").glob("*/metrics.json")
    runs = {json.loads(file.read_text())["spec"]["method"]: file.stat().st_mtime_ns for file in files}
    assert len(runs) == len([name for name in os.listdir(house.folder / "outputs/try") if len(name) == 16])
    return runs


@pytest.mark.slow
def test_a_change_of_the_library_outdates_what_uses_it(house, package):
    house.notebook("every", EVERY, 'answer(", ".join(closed))')
    house.notebook("one", ONE, 'answer("ridge")')
    house.notebook("plain", 'answer("nothing")')
    house.notebook("edits", EDITS, 'answer("edited")')
    config = house.config("every", "one", "plain", "edits")
    first = house.aqa("study", config, "--workers", "2")
    assert first.returncode == 0, first.err
    assert outdated(house, config) == {"edits"}  # what it computed with is no longer there
    kept = json.loads((house.place / "one.answer.json").read_text())
    used = {"aqa_lib.methods.ridge", "aqa_lib.data.readers.surrogate", "aqa_lib.figures.compare"}
    assert used <= set(kept["modules"])
    assert "aqa_lib.methods.svr" not in kept["modules"] and kept["methods"] is None
    before = trained(house)
    assert {"ridge", "svr"} <= set(before) and "zero" not in before

    for part in ("batch/runner.py", "report/page.py", "commands/runs.py", "processes.py", "__init__.py"):
        edit(package / part)
    (package / "data/readers/zero.py").write_text("OPTIONS = {}\n")
    assert outdated(house, config) == {"edits"}
    for part, those in [
        ("methods/vat.py", {"every"}),  # all methods were looked at there
        ("models/encoder.py", {"every"}),
        ("figures/compare.py", {"one"}),
        ("methods/ridge.py", {"every", "one"}),
        ("training/train.py", {"every", "one"}),  # imported in a function, perhaps in another process
        ("figures/style.py", {"every", "one", "plain"}),  # of every figure that is given to answer
        ("study/answer.py", {"every", "one", "plain"}),
    ]:
        text = (package / part).read_text()
        edit(package / part)
        assert outdated(house, config) == those | {"edits"}, part
        (package / part).write_text(text)
        assert outdated(house, config) == {"edits"}, part

    (package / "methods/zero.py").write_text((package / "methods/ridge.py").read_text())
    assert outdated(house, config) == {"edits", "every"}
    second = house.aqa("study", config, "--only", "every", "one", "plain")
    assert second.returncode == 0 and "other sources" not in second.err, second.err
    assert second.out.count("already done") == 2
    answered = json.loads((house.place / "every.answer.json").read_text())
    assert answered["text"].split(", ") == sorted([*before, "zero"]) and "zero" in answered["methods"]
    after = trained(house)
    assert set(after) == {*before, "zero"} and {name: after[name] for name in before} == before

    (package / "methods/zero.py").unlink()  # what it asked for is gone
    (package / "figures/compare.py").unlink()
    assert outdated(house, config) == {"edits", "every", "one"}
