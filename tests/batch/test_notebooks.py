"""Committed notebooks are clean, and the comparison of their outputs can fail.

That they run is tested beside this file: pytest collects notebooks/ itself, see conftest.py.
"""

import ast
import os
import shutil
import subprocess
import sys
import tokenize
from io import StringIO
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from aqa_lib.batch.plan import parameters
from aqa_lib.errors import UserError

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def complaints(nb):
    """Everything that is wrong with a committed notebook, in words."""
    reference = nb.metadata.get("aqa", {}).get("reference") is True
    codes = [cell for cell in nb.cells if cell.cell_type == "code"]
    if nb.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not python3"
    for key in set(nb.metadata) - {"kernelspec", "language_info", "aqa"}:
        yield f"metadata.{key}"
    for cell in nb.cells:
        for key in set(cell.metadata) - {"tags"}:
            yield f"metadata of a cell: {key}"
    title = nb.cells[0].source.splitlines()[0] if nb.cells and nb.cells[0].source else ""
    if nb.cells[0].cell_type != "markdown" or not title.startswith("# ") or not title.rstrip().endswith("?"):
        yield "it does not begin with a heading that is a question"
    if nb.cells[-1].cell_type != "code" or not ends_in_answer(nb.cells[-1].source):
        yield "its last cell does not end in answer(...)"
    elif not {"numbers", "tested"} & {k.arg for k in ast.parse(nb.cells[-1].source).body[-1].value.keywords}:
        yield "its answer does not say how many scored test items stand behind it: give numbers= or tested="
    for cell in codes:
        yield from code_complaints(cell)
        if reference and cell.execution_count is None:
            yield "a cell of a reference notebook was not run, so that nothing would be compared"
        if reference and any(output.output_type == "error" for output in cell.outputs):
            yield "an error in a reference notebook"
        compared = reference or "nbval-check-output" in cell.metadata.get("tags", [])
        if not compared and (cell.outputs or cell.execution_count is not None):
            yield "outputs: run nbstripout"
        if compared and not reference and not (cell.outputs and cell.execution_count):
            yield "a cell to be compared that has no outputs"
    tagged = [cell for cell in codes if "parameters" in cell.metadata.get("tags", [])]
    yield from (parameter_complaints(nb, tagged[0]) if len(tagged) == 1 else ["not exactly one parameters cell"])


def ends_in_answer(source):
    """Whether the last statement is a call of answer."""
    try:
        last = ast.parse(source).body[-1]
    except (SyntaxError, IndexError):
        return False
    return isinstance(last, ast.Expr) and ast.unparse(last).startswith("answer(")


def code_complaints(cell):
    """What does not belong into a cell of a notebook."""
    most = 15 if "parameters" in cell.metadata.get("tags", []) else 12  # a parameter a line
    if len(cell.source.splitlines()) > most:
        yield f"a cell of more than {most} lines"
    for word in ("interact(", "interactive(", "Output(", "@interact"):
        if word in cell.source:
            yield f"{word}: it can hang a notebook that runs in batch"
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        yield "a cell that is not plain Python"
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield f"it defines {node.name}: that belongs into aqa_lib"
        if isinstance(node, (ast.For, ast.While)) and "epoch" in ast.unparse(node).splitlines()[0]:
            yield "a loop over epochs"


def parameter_complaints(nb, cell):
    """The parameters cell: typed literals, a comment each."""
    try:
        parameters(nb, "it")
    except UserError as error:
        yield str(error)
    for node in ast.parse(cell.source).body:
        if not isinstance(node, ast.AnnAssign):
            yield f"a parameter without a type: {ast.unparse(node)}"
    tokens = tokenize.generate_tokens(StringIO(cell.source + "\n").readline)
    commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    if missing := [n.lineno for n in ast.parse(cell.source).body if n.end_lineno not in commented]:
        yield f"parameters without a comment in lines {missing}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_clean(path):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) == (4, 5)
    assert list(complaints(nb)) == []


def test_nothing_but_notebooks_lies_in_their_folder():
    folder = Path(__file__).resolve().parents[2] / "notebooks"
    strange = [p.name for p in folder.iterdir() if p.suffix != ".ipynb" and p.name != ".ipynb_checkpoints"]
    assert strange == []  # a file types.py beside a notebook would shadow a module in every kernel


def test_nbstripout_would_change_nothing():
    stripped = [p for p in NOTEBOOKS if nbformat.read(p, 4).metadata.get("aqa", {}).get("reference") is not True]
    keys = "metadata.papermill metadata.widgets cell.metadata.papermill cell.metadata.execution"
    command = [sys.executable, "-m", "nbstripout", "--verify", "--keep-id", "--keep-count", "--extra-keys", keys]
    done = subprocess.run([*command, *stripped], input="", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def clean():
    """A notebook without a fault."""
    first = v4.new_code_cell("n: int = 1  # how many\nx: float | None = None  # a bound")
    first.metadata["tags"] = ["parameters"]
    nb = v4.new_notebook(
        cells=[v4.new_markdown_cell("# Is it so?"), first, v4.new_code_cell('answer("yes", tested=0)')]
    )
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nb


FAULTS = {
    "its kernel": lambda nb: nb.metadata.kernelspec.update(name="conda-env-aqa-py"),
    "metadata.papermill": lambda nb: nb.metadata.update(papermill={}),
    "metadata.widgets": lambda nb: nb.metadata.update(widgets={}),
    "metadata of a cell": lambda nb: nb.cells[1].metadata.update(execution={}),
    "a question": lambda nb: nb.cells[0].update(source="# It is so"),
    "does not end in answer": lambda nb: nb.cells.append(v4.new_code_cell("1")),
    "scored test items stand behind it": lambda nb: nb.cells[2].update(source='answer("yes", surrogate=True)'),
    "exactly one parameters": lambda nb: nb.cells[1].metadata.update(tags=[]),
    "without a type": lambda nb: nb.cells[1].update(source="n = 1  # how many"),
    "without a comment": lambda nb: nb.cells[1].update(source="n: int = 1\nm: str = '#'"),
    "with a literal": lambda nb: nb.cells[1].update(source="n: int = 2 * m  # twice"),
    "more than 15 lines": lambda nb: nb.cells[1].update(source="\n".join(f"n{i}: int = 1  # n" for i in range(16))),
    "more than 12 lines": lambda nb: nb.cells.insert(2, v4.new_code_cell("\n".join(["1"] * 13))),
    "interact(": lambda nb: nb.cells.insert(2, v4.new_code_cell("interact(f)")),
    "Output(": lambda nb: nb.cells.insert(2, v4.new_code_cell("widgets.Output()")),
    "it defines f": lambda nb: nb.cells.insert(2, v4.new_code_cell("def f():\n    pass")),
    "it defines C": lambda nb: nb.cells.insert(2, v4.new_code_cell("class C:\n    pass")),
    "over epochs": lambda nb: nb.cells.insert(2, v4.new_code_cell("for epoch in range(3):\n    step()")),
    "not plain Python": lambda nb: nb.cells.insert(2, v4.new_code_cell("%matplotlib inline")),
    "run nbstripout": lambda nb: nb.cells[2].update(execution_count=1),
    "to be compared that has no": lambda nb: nb.cells[2].metadata.update(tags=["nbval-check-output"]),
    "was not run": lambda nb: nb.metadata.update(aqa={"reference": True}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_seen(fault):
    nb = clean()
    assert list(complaints(nb)) == []
    FAULTS[fault](nb)
    assert any(fault in text for text in complaints(nb))


@pytest.mark.slow
def test_only_reference_notebooks_are_compared_everywhere(tmp_path, repository):
    """Committed outputs that the code does not give fail in a reference notebook, and in a tagged cell."""

    def write(name, printed, reference=False, tags=()):
        nb = clean()
        stream = v4.new_output("stream", name="stdout", text=printed)
        nb.cells = [v4.new_code_cell("print('0.25 after 1.5 s')", outputs=[stream], execution_count=1)]
        nb.cells[0].metadata["tags"] = list(tags)
        nb.metadata["aqa"] = {"reference": reference}
        nbformat.write(nb, tmp_path / f"{name}.ipynb")

    write("plain", "0.75 after 1.5 s\n")
    write("tagged", "0.75 after 1.5 s\n", tags=["nbval-check-output"])
    write("wrong", "0.75 after 1.5 s\n", reference=True)
    write("right", "0.25 after 9.9 s\n", reference=True)  # times are none of its business
    shutil.copy(repository / "conftest.py", tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        tmp_path,
        "-p",
        "no:cacheprovider",
    ]
    command += [
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-sanitize-with",
        repository / "tests/sanitize.cfg",
    ]
    done = subprocess.run([*command, "-rA", tmp_path], capture_output=True, text=True, cwd=tmp_path)
    verdicts = {
        line.split("::")[0].split()[1]: line.split()[0] for line in done.stdout.splitlines() if "::Cell 0" in line
    }
    wanted = {"plain": "PASSED", "tagged": "FAILED", "wrong": "FAILED", "right": "PASSED"}
    assert verdicts == {f"{name}.ipynb": verdict for name, verdict in wanted.items()}, done.stdout
