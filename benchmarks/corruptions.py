"""Damage done to the files of a small study, one at a time: what readers then see, and whether it is mended.

    for name, outcome in corruptions(folder): ...      # outcome is one of GOOD, or says what went wrong

A study of three closed-form runs, a failed run, two notebooks that answer and one that fails is made once. Each case
damages one file of a copy of its outputs and holds the library to this:

* no command ends in a traceback, and a refusal is one sentence;
* a run, a table, a page or a card is shown as it was, or is called damaged, or is not shown;
* `aqa doctor --outputs` names what is damaged, unless nobody sees a difference;
* `aqa runs repair` brings a run back and touches no other; the command that made a notebook brings that back.

Notebooks are executed in this process, so that hundreds of cases take minutes.
"""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import traceback
import warnings
from concurrent import futures
from pathlib import Path
from unittest import mock

import nbformat.v4 as v4
import numpy as np

from aqa_lib import commands
from aqa_lib.batch import answers, execute, runner
from aqa_lib.batch.plan import read_notebook, source
from aqa_lib.errors import UserError
from aqa_lib.figures import static
from aqa_lib.ledger.ledger import Ledger
from aqa_lib.report import page
from aqa_lib.study.study import Study

GOOD = ("mended", "said", "same")  # brought back; refused in a sentence that says what to do; nobody sees a difference
WORLD = {"name": "surrogate", "n_train": 30, "n_test": 15, "D": 4}
RUNS = [{"fraction": 0.5, "seed": seed, "draw": seed} for seed in range(3)]
FAILED = {"fraction": 0.5, "seed": 9}
WRONG = {"a list": b"[]", "a number": b"3", "a word": b'"text"', "null": b"null", "nothing in it": b"{}"}
NOTEBOOKS = ("00_one", "10_two", "20_fails")
TIMES = re.compile(r'<span class="soft">[^<]*</span>')  # how long a notebook took
PARAMETERS = 'study: str = "try"  # folder under outputs/'
ANSWER = f"""import pandas as pd, plotly.graph_objects as go
from aqa_lib.study.answer import answer
from aqa_lib.study.study import Study
runs = Study(study).train("ridge", {WORLD}, runs={RUNS}, weights=True)
table = runs[["seed", "spearman"]]
figure = go.Figure(go.Bar(x=table["seed"], y=table["spearman"]))"""


class Fault(Exception):
    """What must not be, in a few words."""


class Here(futures.Executor):
    """An executor that runs what is submitted at once, in this process."""

    def __init__(self, *_, **__):
        pass

    def submit(self, act, *arguments):
        future = futures.Future()
        try:
            future.set_result(act(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def run_here(job, target, stream):
    """A notebook executed in this process, in the place of papermill."""
    nb, names = read_notebook(job.source), {}
    try:
        for cell in nb["cells"]:
            if cell["cell_type"] == "code":
                exec(compile(source(cell), job.name, "exec"), names)
                if "parameters" in cell["metadata"].get("tags", ()):
                    names |= job.given
        figure = {"data": {"application/vnd.plotly.v1+json": json.loads(names["figure"].to_json())}}
        nb["cells"][-1]["outputs"] = [{"output_type": "display_data", "metadata": {}} | figure]
    finally:
        target.write_text(json.dumps(nb))


@contextlib.contextmanager
def house(folder):
    """The folder of a study, its notebooks in this process; yields its outputs."""
    for name in ("notebooks", "configs", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    last = 'answer("It is {}.", figure=figure, table=table, numbers=runs[["id", "spearman"]])'
    for name, cell in zip(NOTEBOOKS, (last.format("one"), last.format("two"), "nothing['here']"), strict=True):
        first = v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"# Is it {name}?"), first])
        nb.cells += [v4.new_code_cell(ANSWER), v4.new_code_cell(cell)]
        (folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(nb))
    entries = "".join(f"  - notebook: {name}\n" for name in NOTEBOOKS)
    (folder / "configs/study.yaml").write_text(f"study: try\nresults: docs/results\nnotebooks:\n{entries}")
    quiet = {"AQA_ROOT": str(folder), "AQA_OUTPUTS": str(folder / "outputs"), "PLOTLY_RENDERER": "json"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, quiet))
        stack.enter_context(mock.patch.object(execute, "papermill_twice", run_here))
        stack.enter_context(mock.patch.object(runner.futures, "ProcessPoolExecutor", Here))
        stack.enter_context(mock.patch.object(static, "save_pngs", lambda figures: []))
        stack.enter_context(mock.patch.object(page, "environment", functools.cache(page.environment)))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield folder / "outputs"


def aqa(*words):
    """(exit code, all that it said) of a command; a Fault where it refuses in more than a sentence."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = commands.main(list(words))
    if code == 2 and not re.fullmatch(r"(aqa: [^\n]+\n)+", err.getvalue()):
        raise Fault(f"aqa {' '.join(words)} said {err.getvalue()[-300:]!r}")
    return code, out.getvalue() + err.getvalue()


def study(runs=(*RUNS, FAILED)):
    """The commands that made the study, its runs and its notebooks: (exit code, all that they said)."""
    try:
        Study("try").train("ridge", WORLD, runs=runs, weights=True)
    except UserError as error:
        return 2, str(error)
    return aqa("study", f"{os.environ['AQA_ROOT']}/configs/study.yaml", "--workers", "1")


def repair():
    """The command that brings back damaged runs."""
    return aqa("runs", "repair", "--study", "try")


# ---- what is seen


def plain(table):
    """A table as text, without what differs between two trainings of one run."""
    return table.drop(columns=[c for c in ("seconds", "code", "reason") if c in table]).to_csv(index=False)


def seen(outputs):
    """{what: its content} of all that a reader can see; what is refused in a sentence is not there."""
    ledger, found = Ledger(outputs / "try"), {}
    for _, row in ledger.table(("failed",)).iterrows():
        found["reason", row["id"]] = row["reason"]
    for _, row in ledger.table().iterrows():
        found["row", row["id"]] = plain(row.to_frame().T)
    for id in ledger.ids():
        with contextlib.suppress(UserError):
            record = ledger.read(id)
            found["curve", id], found["predictions", id] = plain(record.curve), plain(record.predictions)
            found["spec", id] = json.dumps([record.spec, record.run["types"]])
            found["weights", id] = {name: value.tobytes() for name, value in record.weights().items()}
    for name in NOTEBOOKS:
        with contextlib.suppress(ValueError):
            answer, failed = answers.whole(outputs / "try/notebooks", name)
            if known := answer or failed:
                found["answer", name] = {n: known.get(n) for n in ("text", "table", "files", "error")}
    return found


def cards(outputs):
    """{("card", name): it} of the report, without those that say that they are damaged or missing."""
    if aqa("report", "--study", "try")[0] == 2:
        return {}
    page = (outputs / "try/report/index.html").read_text()
    for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S):
        json.loads(text)  # one that is cut would blank the figures after it
    found = dict(re.findall(r'<article class="card" id="(.*?)">(.*?)</article>', page, re.S))
    if sorted(found) != sorted(NOTEBOOKS):
        raise Fault(f"WRONG: the report shows {sorted(found)}")
    return {("card", n): TIMES.sub("", t) for n, t in found.items() if not re.search("badge (damaged|missing)", t)}


def results(folder):
    """{file: its bytes} of the results to be committed."""
    return {p.name: p.read_bytes() for p in (folder / "docs").rglob("*.*")}


def compared(before, after):
    """A Fault where something is shown otherwise than it was."""
    for what, value in after.items():
        if before.get(what) != value:
            raise Fault(f"WRONG: {' '.join(what)} is shown otherwise")


# ---- damage


def ways(random):
    """{name: what it does to (path, other)}, `other` being the same file of another run or notebook."""

    def put(change):
        def act(path, other):
            data = path.read_bytes()
            path.write_bytes(change(data))

        return act

    def flipped(data):
        place = random.integers(len(data))
        return data[:place] + bytes([data[place] ^ 1 << random.integers(8)]) + data[place + 1 :]

    def nan(data):
        return re.sub(rb"(?<=[,: ])-?\d+(\.\d+)?(e-?\d+)?(?=[,\s}\]])", b"NaN", data, count=1)

    def folder(path, other, inside=None):
        path.unlink()
        path.mkdir()
        if inside:
            (path / inside).write_text("somebody's")

    found = {f"cut at {part:.0%}": put(lambda d, part=part: d[: int(len(d) * part)]) for part in (0.1, 0.5, 0.9)}
    found |= {"cut by a byte": put(lambda d: d[:-1]), "emptied": put(lambda d: b""), "not a number": put(nan)}
    found |= {f"flipped bit {i}": put(flipped) for i in range(4)}
    found |= {"noise": put(lambda d: random.bytes(len(d))), "no JSON": put(lambda d: b"{"), "zeros": put(bytes_of_zero)}
    found |= {"nested deeply": put(lambda d: b"[" * 100_000)}
    found |= {what: put(lambda d, text=text: text) for what, text in WRONG.items()}
    found |= {"missing": lambda path, other: path.unlink(), "a folder": folder}
    found |= {"a folder that holds something": lambda path, other: folder(path, other, "notes.txt")}
    found |= {"another's": lambda path, other: shutil.copyfile(other, path)}
    return found


def bytes_of_zero(data):
    """As many zeros, as some file systems leave them after a power cut."""
    return bytes(len(data))


def files(outputs):
    """{path: the same file of another run or notebook} of all that is damaged, from the folder of outputs on."""
    ledger = Ledger(outputs / "try")
    table = ledger.table(("complete", "failed")).sort_values("seed")
    one, other, _ = table["id"][table["state"] == "complete"]
    names = ("metrics.json", "run.json", "curve.csv", "predictions.csv", "weights.safetensors")
    pairs = {f"try/{one}/{name}": f"try/{other}/{name}" for name in names}
    (failed,) = table["id"][table["state"] == "failed"]
    pairs[f"try/{failed}/failed.json"] = "try/notebooks/20_fails.failed.json"
    for suffix in ("answer.json", "ipynb", "figure.json", "numbers.csv"):
        pairs[f"try/notebooks/00_one.{suffix}"] = f"try/notebooks/10_two.{suffix}"
    pairs |= {f"try/notebooks/20_fails.{s}": f"try/{failed}/failed.json" for s in ("failed.json", "ipynb")}
    return pairs | {"try/notebooks/study.json": "try/notebooks/10_two.answer.json"}


def corruptions(folder, share=1.0, seed=0):
    """(name, outcome) of each case, or of a `share` of them drawn by `seed`; `folder` is to be an empty one."""
    folder, random = Path(folder).resolve(), np.random.default_rng(seed)
    with house(folder) as outputs:
        if (told := study(RUNS))[0] != 1:  # one of the notebooks fails
            raise Fault(f"the study ended with {told}")
        spec = Study("try").spec("ridge", WORLD, "official", FAILED)
        Ledger(outputs / "try").lock(spec).fail("the loss is NaN")
        before = seen(outputs) | cards(outputs)
        for name in ("outputs", "docs"):
            shutil.copytree(folder / name, folder / "kept" / name)
        pairs = files(outputs)
        cases = [(path, way) for path in pairs for way in ways(random)]
        for i in sorted(random.permutation(len(cases))[: max(1, round(share * len(cases)))]):
            path, way = cases[i]
            restore(folder, "kept")
            damaged, kept = outputs / path, folder / "kept/outputs"
            ways(random)[way](damaged, kept / pairs[path])
            if damaged.is_file() and damaged.read_bytes() == (kept / path).read_bytes():
                continue  # it holds nothing of that kind
            restore(folder, ".", "damaged")
            yield f"{re.sub('[0-9a-f]{16}', 'RUN', path)}: {way}", outcome(folder, outputs, path, way, before)


def restore(folder, source, target="."):
    """Outputs and results of the study as they were kept."""
    for name in ("outputs", "docs"):
        shutil.rmtree(folder / target / name, ignore_errors=True)
        shutil.copytree(folder / source / name, folder / target / name)


def outcome(folder, outputs, path, way, before):
    """What becomes of one damage: one of GOOD, or what went wrong."""
    run = None if "notebooks" in path else path.split("/")[1]
    try:
        same, listed = looked(folder, outputs, path, run, before)
        if not same and not listed and way != "missing":  # without an answer, a notebook has not been run yet
            raise Fault("NOT LISTED: doctor sees no damage, but less is shown")
        if not run:
            found = [mended(folder, outputs, path, run, before, study)]
        else:
            found = [mended(folder, outputs, path, run, before, act) for act in (repair, study)]
        if same and "said" not in found:
            return "same"
        return "said" if "said" in found else found[0]
    except Fault as fault:
        return str(fault)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"TRACEBACK: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"


def looked(folder, outputs, path, run, before):
    """Read everything that is damaged: (whether all is shown as it was, whether doctor lists it)."""
    shown = seen(outputs) | cards(outputs)
    compared(before, shown)
    aqa("report", "--study", "try", "--results")
    if results(folder) != results(folder / "kept"):
        raise Fault("WRONG: the results to be committed differ")
    for words in (["list"], ["show", run], ["compare"]) if run else ():
        aqa("runs", *words, "--study", "try")
    code, said = aqa("doctor", "--outputs")
    name = f"run {run}" if run else path.split("/")[-1].split(".")[0]
    if code and (name not in said or said.count("FAIL") != 2):  # the one that is damaged, and the sum
        raise Fault(f"NOT LISTED ALONE: {said}")
    return shown == before, bool(code)


def mended(folder, outputs, path, run, before, act):
    """What a command makes of the damage."""
    restore(folder, "damaged")
    others = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in outputs.glob("try/*/*.*") if other(p, run)}
    code, said = act()
    if "move it away" in said and code:
        return "said"
    if any(not p.is_file() or (p.read_bytes(), p.stat().st_mtime_ns) != kept for p, kept in others.items()):
        raise Fault(f"WRONG: {act.__name__} touched another run")
    after = seen(outputs) | (cards(outputs) if act is study else {})
    if ("reason", run) in before:  # the failed run has been tried again, and ended otherwise
        before, after = ({what: v for what, v in these.items() if what[1] != run} for these in (before, after))
    compared(before, after)
    if act is study and path.endswith(("run.json", ".csv")) and run:
        return "mended"  # seen only by those who read it, who are told of `aqa runs repair`
    if lost := {what for what in before.keys() - after.keys() if act is study or what[0] != "card"}:
        raise Fault(f"NOT MENDED by {act.__name__}: {sorted(lost)[0]}: {said[-300:]}")
    if (said := aqa("doctor", "--outputs"))[0]:
        raise Fault(f"NOT MENDED by {act.__name__}: {said[1]}")
    return "mended"


def other(path, run):
    """Whether a file is that of a run that is not damaged."""
    return path.is_file() and path.parent.name not in (run, "notebooks", "report")
