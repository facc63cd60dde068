"""Run the notebooks of a study that are not done yet.

Everything is checked before anything runs. Each notebook gets a process of its own through the interface of
concurrent.futures, which a pool of local processes and a dask cluster both offer. A worker that is killed (out of
memory, mostly) takes its pool with it: then a new one goes on with what was not done.
"""

import concurrent.futures as futures
import contextlib
import json
import multiprocessing
import os
import shlex
import signal
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from aqa_lib.batch.execute import execute, finished, place
from aqa_lib.batch.plan import check_root, first_sentence, read_config, read_plan, results_of
from aqa_lib.errors import UserError, choose
from aqa_lib.ledger.checksums import sealed, unsealed
from aqa_lib.ledger.files import write
from aqa_lib.paths import relative, writable
from aqa_lib.processes import cores, end_with_parent

KILLED = "its worker process was killed twice (out of memory?): try --workers 1"


def run(args, landed=lambda manifest, name: None):
    """Execute what is not done of a study: (its name, how many notebooks were asked for, the failures).

    `landed(manifest, name)` is called as soon as a notebook is done, and for each that was done before.
    """
    study, jobs = read_plan(args.config, args.settings)
    names = [job.name for job in jobs]
    only = [choose("notebook of --only", name, names) for name in args.only]
    chosen = [job for job in jobs if not only or job.name in only]
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers {args.workers}: it takes a number of processes, 1 or more")
    for job in chosen:
        check_root(job)
    folder = place(study)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    manifest = write_manifest(folder, study, jobs, args)
    missing = []
    for job in chosen:
        content = None if args.force else finished(folder, job)
        if content is None:
            missing.append(job)
            continue
        print(line(job, content | {"state": "already"}))
        landed(manifest, job.name)
    failures = []
    if missing:
        from aqa_lib.study.values import check_values  # here: it imports torch, and there may be nothing to run

        for job in missing:
            check_values(job)
        if takes := read_config(args.config).get("takes"):
            print(f"{study} takes {takes}", flush=True)
        writable(folder)
        with contextlib.closing(follow(args, missing, folder, len(chosen))) as outcomes:
            for outcome in outcomes:
                failures.append(outcome) if outcome["state"] == "failed" else landed(manifest, outcome["name"])
    return study, len(chosen), failures


def write_manifest(folder, study, jobs, args):
    """What the study consists of, for report and results: its notebooks in order, and how they were asked for."""
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in args.settings)
    entries = [
        {
            "name": j.name,
            "notebook": j.notebook,
            "question": j.question,
            "key": j.key,
            "parameters": j.parameters,
        }
        for j in jobs
    ]
    command = f"aqa study {shlex.quote(relative(args.config))}{settings}"
    manifest = {"study": study, "command": command, "results": results_of(args.config, args.settings)}
    manifest["notebooks"] = entries
    if not same(folder / "study.json", manifest):  # else nothing is written: the outputs may be read-only
        write(writable(folder) / "study.json", sealed(json.dumps(manifest, indent=1)))
    return manifest


def same(path, value):
    """Whether a sealed JSON file holds this already."""
    with contextlib.suppress(ValueError):
        return unsealed(path) == json.loads(json.dumps(value))
    return False


@contextlib.contextmanager
def executor(args, n):
    """A pool of processes on this machine, or the one of a dask cluster; an interrupt ends the local ones."""
    if args.scheduler:
        with dask_client(args.scheduler) as client:
            yield client.get_executor(pure=False)
        return
    context = multiprocessing.get_context("spawn")
    workers = min(args.workers or cores(), n)
    with futures.ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():  # their kernels end with them
                worker.terminate()
            raise


def dask_client(address):
    """A client of a running dask scheduler, or a sentence that says what is missing."""
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--scheduler needs dask: pip install -c constraints.txt -e '.[distributed]'") from None
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--scheduler {address}: no dask scheduler answers there ({type(error).__name__}); start one "
            "with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
        ) from None


def prepare_worker():
    """In a new worker: leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def follow(args, jobs, folder, total):
    """Submit the jobs and tell of each as it ends; yields their outcomes.

    Where a worker was killed, what may have been under way is run once more, each alone, so that only the one fails
    that kills its worker again; what had not begun goes on in a new pool.
    """
    batches, again = [sorted(jobs, key=lambda job: not job.first)], set()
    form = "{l_bar}{bar}| {n_fmt}/{total_fmt} notebooks [{elapsed}{postfix}]"
    with tqdm(total=total, initial=total - len(jobs), bar_format=form, disable=None, dynamic_ncols=True) as bar:

        def told(job, outcome):
            bar.write(line(job, outcome))
            bar.update()
            return {"name": job.name} | outcome

        while batches:
            batch = batches.pop(0)
            undone = {job.name: job for job in batch}
            with executor(args, len(batch)) as pool:
                at_once = getattr(pool, "_max_workers", len(batch))
                for job, outcome in ended(pool, batch, folder, args.force, bar):
                    del undone[job.name]
                    yield told(job, outcome)
            undone = list(undone.values())  # in the order in which they began
            for job in undone[:at_once]:
                if job.name in again:
                    yield told(job, {"state": "failed", "error": KILLED})
                    continue
                again.add(job.name)
                batches.append([job])
                bar.write(f"{job.name}  a worker process was killed: it is run once more")
            if undone[at_once:]:
                batches.insert(0, undone[at_once:])


def ended(pool, jobs, folder, force, bar):
    """(job, its outcome) of each job as it ends; none of those that are lost with a broken pool."""
    waiting, told = {}, {}
    with contextlib.suppress(BrokenProcessPool):  # already while the jobs are submitted
        for job in jobs:
            waiting[pool.submit(execute, job, folder, force)] = job
    at_once = getattr(pool, "_max_workers", len(jobs))  # a pool calls one more of them running: its next
    while waiting:
        under_way = [job.name for future, job in waiting.items() if future.running()]
        for name in under_way:
            for text in said(folder, name, told):
                bar.write(f"{name}  {text}")
        bar.set_postfix_str(", ".join(under_way[:at_once]))
        for future in futures.wait(waiting, timeout=1, return_when=futures.FIRST_COMPLETED).done:
            job = waiting.pop(future)
            with contextlib.suppress(BrokenProcessPool):
                yield job, result(future)


def said(folder, name, told):
    """What a notebook under way has said since the last look, such as how long it will take; `told` remembers."""
    for path in (folder / ".stage").glob(f"{name}-????????/out.said"):
        with contextlib.suppress(OSError):  # it has just ended
            lines = path.read_text().splitlines()
            yield from lines[told.get(path, 0) :]
            told[path] = len(lines)


def result(future):
    """A future's outcome; an error of the worker itself is one more way to fail, unless the worker was killed."""
    try:
        return future.result()
    except UserError as error:
        return {"state": "failed", "error": str(error)}
    except BrokenProcessPool:
        raise
    except Exception as error:
        return {"state": "failed", "error": f"{type(error).__name__}: {error}"}


def line(job, outcome):
    """A notebook's line: what it asks, how long it took, what it found."""
    if outcome["state"] == "failed":
        return f"{job.name}  FAILED  {job.question}  {outcome['error']}"
    took = "already done" if outcome["state"] == "already" else f"{outcome['seconds']:.1f} s"
    return f"{job.name}  {took}  {job.question}  {first_sentence(outcome['text'])}"


def account(outcome, folder):
    """What to read about a failure: the cell, its source, the end of the traceback, where the notebook is."""
    if outcome["error"].startswith("UserError: "):  # a sentence for the user, not a traceback
        return f"aqa: {outcome['name']}: {outcome['error'].removeprefix('UserError: ')}"
    where = f" in In[{outcome['cell']}]" if outcome.get("cell") else ""
    lines = ["", f"{outcome['name']} failed{where}"]
    lines += [f"    {text}" for text in outcome.get("source", "").splitlines()]
    lines += outcome.get("traceback", [])[-12:] or [outcome["error"]]
    notebook = folder / f"{outcome['name']}.ipynb"
    return "\n".join(lines + ([f"the executed notebook: {relative(notebook)}"] if notebook.exists() else []))
