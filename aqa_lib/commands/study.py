"""`aqa study CONFIG`: run the notebooks of a study that are not done yet, then write its report."""

import sys

from aqa_lib.batch.execute import place
from aqa_lib.batch.runner import account
from aqa_lib.batch.runner import run as run_notebooks
from aqa_lib.paths import relative


def configure(parser):
    """The arguments of `aqa study`."""
    add = parser.add_argument
    add("config", metavar="CONFIG", help="a YAML file such as configs/study.yaml")
    settings = "a parameter of a notebook; data.root=PATH and data.name=NAME set the data set of all"
    add("--set", dest="settings", action="append", default=[], metavar="NOTEBOOK.PARAMETER=VALUE", help=settings)
    add(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="these notebooks of the config only",
    )
    add("--workers", type=int, metavar="N", help="notebooks at a time (default: one a core)")
    add("--force", action="store_true", help="run what is done, too")
    add("--scheduler", metavar="ADDRESS", help="a dask scheduler, tcp://HOST:8786, instead of local processes")


def run(args):
    """Execute a study; returns 0, 1 where a notebook failed, 2 where only bad input made them fail."""
    study, asked, failures = run_notebooks(args)
    from aqa_lib.report.page import build  # here: it imports what a study that stops earlier does not need

    page = build(study)
    for outcome in failures:
        print(account(outcome, place(study)), file=sys.stderr)
    print(f"{asked - len(failures)} of {asked} notebooks done; the report: {relative(page)}")
    bad_input = all(outcome["error"].startswith("UserError") for outcome in failures)
    return 0 if not failures else 2 if bad_input else 1
