"""A house of its own for tests that run notebooks: a folder with notebooks/, configs/ and outputs/."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
import yaml

PARAMETERS = """study: str = "explore"  # folder under outputs/
n: int = 2  # how many
rate: float = 1.0e-2  # a rate
bound: float | None = None  # optional
sizes: list = [1, 2]  # some sizes
fast: bool = True  # a switch"""


class House:
    """A study's folder that a test fills."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("notebooks", "configs"):
            (folder / name).mkdir(parents=True)

    def notebook(self, name, *cells, question="Does it work?", parameters=PARAMETERS):
        """Write notebooks/<name>.ipynb; `answer` is imported before the given cells."""
        first = v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        imports = v4.new_code_cell("from aqa_lib.study.answer import answer")
        nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"# {question}"), first, imports])
        nb.cells += [v4.new_code_cell(cell) for cell in cells]
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nb, self.folder / "notebooks" / f"{name}.ipynb")

    def config(self, *entries, name="study.yaml", text=None):
        """Write configs/<name>: entries are names of notebooks or whole mappings."""
        entries = [{"notebook": entry} if isinstance(entry, str) else entry for entry in entries]
        path = self.folder / "configs" / name
        path.write_text(text if text is not None else yaml.safe_dump({"study": "try", "notebooks": entries}))
        return f"configs/{name}"

    @property
    def place(self):
        return self.folder / "outputs" / "try" / "notebooks"

    @property
    def environment(self):
        return os.environ | {"AQA_ROOT": str(self.folder), "AQA_OUTPUTS": str(self.folder / "outputs")}

    def start(self, *args):
        """`aqa ...` as a process under way."""
        command = [sys.executable, "-m", "aqa_lib", *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)

    def aqa(self, *args):
        """`aqa ...` to its end."""
        process = self.start(*args)
        process.out, process.err = process.communicate(timeout=180)
        return process


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A fresh house that this process, too, takes for the study's folder."""
    made = House(tmp_path / "house")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("AQA_ROOT", str(made.folder))
    monkeypatch.setenv("AQA_OUTPUTS", str(made.folder / "outputs"))
    return made


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory):
    """A house for the tests of one file."""
    return House(tmp_path_factory.mktemp("shared") / "house")


@pytest.fixture(scope="session")
def repository():
    """The checkout."""
    return Path(__file__).resolve().parents[1]
