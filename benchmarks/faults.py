"""Every kind of fault in a valid example of everything that the library is given: what becomes of it.

    run(share=0.1, seed=0)     # a table, a row a case: group, name, fault, outcome, detail

The cases are found by introspection (fault_inputs.py: configs and notebooks; fault_calls.py: arguments of public
functions and fields of a data set; fault_files.py: files that readers and stores take), so that what is added later is
covered. Outcomes:

    said        a UserError of one sentence on one line, before anything is trained
    fine        it is valid: the call returns, or its training would begin
    traceback   any other exception, or a sentence that is none
    trained     training would begin, or the call returns, although the value can never be valid
    hang        more than LIMIT seconds of the processor, or the process dies

Cases run in a process of their own, in which training is replaced by an exception, and which is started again behind a
case that ends it.
"""

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError
from benchmarks import fault_calls, fault_files, fault_inputs

LIMIT, PATIENCE = 20, 300  # seconds of the processor of a case, and of the clock until its process is given up
MEMORY = 16 * 2**30  # address space of the process
LONGEST = 1000  # characters of a sentence
GOOD = ("said", "fine")
COLUMNS = ["group", "name", "fault", "outcome", "detail"]


class Reached(BaseException):
    """Training would begin here."""


class Hang(BaseException):
    """The case has used up its time."""


def reached(*_, **__):
    raise Reached


def late(*_):
    raise Hang


@contextlib.contextmanager
def setting(folder):
    """Outputs in a folder of one's own, no training, no pictures, no noise."""
    import aqa_lib.training  # noqa: F401

    train = sys.modules["aqa_lib.training.train"]
    quiet = {"AQA_OUTPUTS": str(folder / "outputs"), "PLOTLY_RENDERER": "json", "AQA_DEVICE": "cpu"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, quiet))
        found = {name: list(part.cases(folder / name, 0)) for name, part in PARTS.items()}
        stack.enter_context(mock.patch.object(train, "_fit", reached))
        stack.enter_context(mock.patch.object(train, "Stack", reached))
        stack.enter_context(mock.patch("aqa_lib.study.study.Study._share", reached))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGVTALRM, late)
        yield [case for part in found.values() for case in part]


PARTS = {"inputs": fault_inputs, "calls": fault_calls, "files": fault_files}


def outcome(must, act):
    """(outcome, detail) of one case."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
            try:
                act()
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except UserError as error:
        text = str(error)
        whole = text and text.isprintable() and len(text) <= LONGEST
        return ("said", text) if whole else ("traceback", f"a sentence of {len(text)} characters: {text[:200]!r}")
    except Reached:
        return ("trained", "training") if must else ("fine", "training")
    except Hang:
        return "hang", f"{LIMIT} s"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-6:]
        calls = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(where))
        return "traceback", f"{type(error).__name__}: {str(error)[:200]} ({calls})"
    return ("trained", "accepted") if must else ("fine", "")


def work(pipe, share, seed, start, folder):
    """The cases from `start` on, in this process; sends (number, group, name, fault) before and an outcome after."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with setting(Path(folder)) as all_cases:
        order = np.random.default_rng(seed).permutation(len(all_cases))
        chosen = sorted(order[: max(1, round(share * len(all_cases)))])
        for number, place in list(enumerate(chosen))[start:]:
            group, name, fault, must, act = all_cases[place]
            pipe.send((number, group, name, fault))
            pipe.send(outcome(must, act))
    pipe.send(None)


def run(share=1.0, seed=0):
    """A table of the cases, a row each, or of a `share` of them drawn by `seed`."""
    rows, start = [], 0
    while start is not None:
        with tempfile.TemporaryDirectory(prefix="aqa-faults-") as folder:
            mine, its = get_context("spawn").Pipe()
            process = get_context("spawn").Process(target=work, args=(its, share, seed, start, folder))
            process.start()
            its.close()
            start = received(mine, rows)
            process.kill()
            process.join()
    return pd.DataFrame(rows, columns=COLUMNS)


def received(pipe, rows):
    """Take down what a process sends; the number of the case to go on with, None where it has done all."""
    case = None
    while True:
        try:
            told = pipe.recv() if pipe.poll(PATIENCE) else None if case is None else ("hang", f"{PATIENCE} s")
            if told is None:
                return None
        except EOFError:
            if case is None:
                raise RuntimeError("the process of the faults ended before its first case") from None
            told = "hang", "the process died"
        if case is None:
            case = told
            continue
        rows.append((*case[1:], *told))
        if told[1] in (f"{PATIENCE} s", "the process died"):
            return case[0] + 1
        case = None


def counts(table):
    """Kinds of faults by outcomes."""
    return pd.crosstab(table["fault"], table["outcome"], margins=True, margins_name="all")


def bad(table):
    """The rows of what must not be."""
    return table[~table["outcome"].isin(GOOD)]
