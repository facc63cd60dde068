"""One notebook of a study, executed by a worker process: lock it, run it aside, publish it whole.

Done is the file <name>.answer.json with the key of what was asked, put in place last. Nothing else says it:
papermill marks every cell of a notebook as completed even when its kernel was killed. It notes the modules of the
library that the notebook imported and a hash of their sources, so that an edited file asks for a new run of those
notebooks that use it.
"""

import contextlib
import logging
import os
import re
import shutil
import threading
import time
import uuid
from pathlib import Path

from aqa_lib import methods
from aqa_lib.batch import answers
from aqa_lib.batch.origin import origin
from aqa_lib.ledger import sources
from aqa_lib.ledger.files import make_way, read_json, write
from aqa_lib.ledger.locks import Heartbeat, Lock
from aqa_lib.paths import outputs

TURN = threading.Lock()  # papermill changes the folder and the environment of the whole process: one at a time
START_ERRORS = (
    "Kernel died before replying",
    "Kernel didn't respond in",
)  # a port taken by another kernel, mostly
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def place(study):
    """The folder of a study's executed notebooks."""
    return outputs(study) / "notebooks"


def finished(folder, job):
    """The answer of a job that is done as it is asked for now, else None."""
    with contextlib.suppress(OSError, ValueError):
        content = answers.read(folder, job.name)
        if content and current(content, job.key):
            answers.beside(folder, job.name, content)  # what is damaged is not done
            return content
    return None


def current(content, key):
    """Whether an answer was given to this key, by the sources as they stand, and on the methods that there are.

    Which methods there are counts only where the notebook asked for all of them (`methods.every`).
    """
    if content.get("key") != key or content.get("digest") != sources.digest(content.get("modules") or ()):
        return False
    return content.get("methods") in (None, methods.names())


def execute(job, folder, force=False):
    """Run a job unless it is done; where another process has it, wait for that one. Returns a plain dict."""
    folder = Path(folder)
    before = finished(folder, job) if force else None
    lock = Lock(folder / ".locks" / job.name)
    while not lock.acquire():
        time.sleep(0.5)
    with Heartbeat([lock]):
        content = finished(folder, job)
        if content and content != before:  # another process did it meanwhile
            return {"name": job.name, "state": "already"} | content
        stage = folder / ".stage" / f"{job.name}-{uuid.uuid4().hex[:8]}"
        try:
            sweep(folder, job.name)
            stage.mkdir(parents=True)
            with TURN:
                return run(job, folder, stage)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def sweep(folder, name):
    """Remove what a killed process left of this notebook; we hold the lock, so nobody works there."""
    for left in (folder / ".stage").glob(f"{name}-????????"):
        shutil.rmtree(left, ignore_errors=True)


def run(job, folder, stage):
    """Execute in `stage`, then publish: the notebook, its figure and its raw numbers first, the answer last."""
    began, log = time.time(), folder / f"{job.name}.log"
    variables = {"AQA_NOTEBOOK_OUT": stage / "out", "AQA_OUTPUTS": folder.parents[1], "OMP_NUM_THREADS": 1}
    variables |= {"AQA_ROOT": job.source.parents[1]}  # a kernel on another machine finds the same folders
    for suffix in ("ipynb", "figure.json", "numbers.csv", "log", "answer.json", "failed.json"):
        make_way(folder / f"{job.name}.{suffix}")
        if suffix.startswith(("answer", "failed")):
            (folder / f"{job.name}.{suffix}").unlink(missing_ok=True)
    made = origin()
    failure, before = None, sources.snapshot()  # a file that is edited meanwhile makes the answer outdated
    try:
        with open(log, "w") as stream, environment(**variables):
            papermill_twice(job, stage / "run.ipynb", stream)
    except Exception as error:  # whatever stops one notebook is told at the end, and the others go on
        failure = describe(error, stage / "run.ipynb")
    content = read_json(stage / "out.answer.json")
    if failure is None and content is None:
        failure = {"error": "the notebook ended without calling answer(...) in its last cell"}
    with contextlib.suppress(FileNotFoundError):
        os.replace(stage / "run.ipynb", folder / f"{job.name}.ipynb")
    record = {
        "notebook": job.notebook,
        "question": job.question,
        "parameters": job.parameters,
        "key": job.key,
        "origin": made,
    }
    record |= {"seconds": round(time.time() - began, 2), "finished": time.time()}
    if failure:
        write(folder / f"{job.name}.failed.json", answers.record(folder, job.name, record | failure, ["ipynb"]))
        return {"name": job.name, "state": "failed"} | record | failure
    record["digest"] = sources.digest(content["modules"], before)
    for kind, there in (("figure.json", content["figure"]), ("numbers.csv", content["numbers"] is not None)):
        path = folder / f"{job.name}.{kind}"
        os.replace(stage / f"out.{kind}", path) if there else path.unlink(missing_ok=True)
    write(folder / f"{job.name}.answer.json", answers.record(folder, job.name, record | content))
    return {"name": job.name, "state": "done"} | record | content


def papermill_twice(job, target, stream):
    """papermill with our kernel manager; a kernel that did not come up is started once more."""
    import papermill

    from aqa_lib.batch.kernel import BatchKernelManager

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what failed is told once, by us
    for last in (False, True):
        try:
            return papermill.execute_notebook(
                job.source,
                target,
                parameters=job.given,
                cwd=job.source.parent,
                progress_bar=False,
                kernel_manager_class=BatchKernelManager,
                stdout_file=stream,
                stderr_file=stream,
                log_output=True,
            )
        except RuntimeError as error:
            if last or not any(text in str(error) for text in START_ERRORS):
                raise


@contextlib.contextmanager
def environment(**values):
    """Variables for the kernel, which inherits them from this process."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def describe(error, notebook):
    """What to show of an error: the failing cell, its source, the error's last line and a short traceback."""
    found = {"error": f"{type(error).__name__}: {str(error).strip() or 'no message'}"}
    if hasattr(error, "exec_count"):  # papermill's: an exception in a cell
        lines = str(error.evalue).strip().splitlines()
        found = {"error": f"{error.ename}: {lines[-1] if lines else ''}".rstrip(": ")}
        found |= {"cell": error.exec_count, "source": error.source}
        text = COLOURS.sub("", "\n".join(error.traceback))
        found["traceback"] = [line.rstrip() for line in text.splitlines()][-25:]
    elif type(error).__name__ == "DeadKernelError":
        found = {"error": "DeadKernelError: the kernel died (killed, or out of memory?)"} | last_cell(notebook)
    return found


def last_cell(path):
    """The last code cell that was begun, as far as the saved notebook tells."""
    with contextlib.suppress(OSError, ValueError):
        cells = [cell for cell in read_json(path)["cells"] if cell["cell_type"] == "code"]
        begun = [cell for cell in cells if cell["metadata"].get("papermill", {}).get("start_time")]
        if begun:
            return {"cell": len(begun), "source": "".join(begun[-1]["source"])}
    return {}
