"""`aqa study CONFIG`: run the notebooks of a study that are not done yet, then write its report.

Where the config names a folder for `results`, each notebook's page and raw numbers go there as soon as it is done.
"""

import os
import sys

from aqa_lib.batch.execute import place
from aqa_lib.batch.plan import results_of
from aqa_lib.batch.runner import account
from aqa_lib.batch.runner import run as run_notebooks
from aqa_lib.errors import UserError
from aqa_lib.paths import outputs, relative, root


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
    results, problems = results_of(args.config, args.settings), []

    def landed(manifest, name):
        """Publish what is done at once; a folder that cannot be written stops no other notebook."""
        from aqa_lib.report.results import publish

        try:
            publish(manifest, [name])
        except UserError as error:
            problems.append(str(error))
            print(f"aqa: {error}", file=sys.stderr)

    study, asked, failures = run_notebooks(args, landed if results else lambda *_: None)
    from aqa_lib.report.page import build  # here: it imports what a study that stops earlier does not need

    page = outputs(study) / "report" / "index.html"
    if not page.is_file() or os.access(page.parent, os.W_OK):  # in read-only outputs it stays as it is
        page = build(study)
    for outcome in failures:
        print(account(outcome, place(study)), file=sys.stderr)
    print(f"{asked - len(failures)} of {asked} notebooks done; the report: {relative(page)}")
    if results:
        print(f"the results: {relative(root() / results / 'README.md')}")
    elif results_of(args.config):
        print(f"no results were written to {results_of(args.config)}, since --set changes what {args.config} states")
    bad_input = all(outcome["error"].startswith("UserError") for outcome in failures)
    return (1 if problems else 0) if not failures else 2 if bad_input else 1
