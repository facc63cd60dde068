"""`aqa doctor`: what works on this machine, a line each, and what to do about the rest."""

import importlib.util
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from aqa_lib.errors import UserError
from aqa_lib.paths import notebooks, outputs, relative, writable

NEEDED = ("torch", "numpy", "scipy", "pandas", "plotly", "papermill", "nbclient", "jupyterlab", "ipykernel")
INSTALL = "pip install -c constraints.txt -e '.[dev]'"


def configure(parser):
    """The one argument of `aqa doctor`."""
    parser.add_argument("--outputs", action="store_true", help="read all runs and answers, and list the damaged ones")


def run(args):
    """Print the checks; 1 where something that the study needs is missing or damaged, else 0."""
    if args.outputs:
        return damaged()
    failed = False
    for check in (python, packages, device, cores, kernel, notebook_folder, output_folder, pictures, dask):
        state, text = check()
        print(f"{state:4}  {text}")
        failed |= state == "FAIL"
    return int(failed)


def python():
    return "ok", f"Python {platform.python_version()} at {sys.executable}"


def packages():
    found, missing = [], []
    for name in NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return "FAIL", f"not installed: {', '.join(missing)}; do: {INSTALL}"
    return "ok", ", ".join(found)


def device():
    try:
        import torch
    except Exception as error:  # a broken install fails in many ways
        return "FAIL", f"torch cannot be imported ({error}); do: {INSTALL}"
    if torch.cuda.is_available():
        return "ok", f"GPU: {torch.cuda.get_device_name()}"
    return "ok", "no GPU, the study runs on the CPU"


def cores():
    from aqa_lib.processes import cores as usable

    threads = os.environ.get("OMP_NUM_THREADS")
    told = f"OMP_NUM_THREADS={threads}" if threads else "OMP_NUM_THREADS is not set (the study sets it to 1)"
    if threads and threads != "1":
        return "note", f"{usable()} cores; {told}: with several notebooks at a time, 1 is faster"
    return "ok", f"{usable()} cores; {told}"


def kernel():
    from jupyter_client.kernelspec import KernelSpecManager

    specs = KernelSpecManager().find_kernel_specs()
    if "python3" not in specs:
        return "FAIL", "no Jupyter kernel `python3`; do: python -m ipykernel install --sys-prefix"
    return "ok", f"Jupyter kernel python3 at {specs['python3']}"


def notebook_folder():
    found = len(list(notebooks().glob("*.ipynb")))
    if not found:
        return "FAIL", f"no notebooks in {notebooks()}; run in the study's folder, or set AQA_ROOT to it"
    return "ok", f"{found} notebooks in {notebooks()}"


def output_folder():
    try:
        return "ok", f"{relative(writable(outputs()))} can be written"
    except UserError as error:
        return "FAIL", str(error)


def pictures():
    from aqa_lib.figures.static import browser, has_kaleido

    if not has_kaleido():
        return (
            "note",
            "no PNG beside the figures: kaleido is missing; do: pip install -c constraints.txt kaleido",
        )
    if browser() is None:
        return (
            "note",
            "no PNG beside the figures: no browser found; install Chromium or Chrome, or set BROWSER_PATH",
        )
    return "ok", f"PNG beside the figures, drawn by {browser()}"


def dask():
    if importlib.util.find_spec("distributed") is None:
        return (
            "note",
            "no --scheduler: dask is missing; do: pip install -c constraints.txt -e '.[distributed]'",
        )
    return "ok", f"dask {version('distributed')} for --scheduler"


def damaged():
    """`aqa doctor --outputs`: a line for all that is damaged, with what to do; 1 where there is any."""
    from aqa_lib.batch import answers
    from aqa_lib.ledger import damage
    from aqa_lib.ledger.ledger import Ledger

    base, found = outputs(), 0
    for study in sorted(entry.name for entry in os.scandir(base) if entry.is_dir()) if base.is_dir() else ():
        ledger = Ledger(base / study)
        lines = [*damage.damaged(ledger), *answers.damaged(ledger.folder / "notebooks")]
        for line in lines:
            print(f"FAIL  {study}: {line}")
        found += len(lines)
    print(f"{'FAIL' if found else 'ok':4}  {found or 'nothing'} in {relative(base)} is damaged")
    return int(found > 0)
