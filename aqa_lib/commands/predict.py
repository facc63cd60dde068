"""`aqa predict RUN... --data FILE --csv OUT`: what trained runs say of every item of a set, in the judge's unit."""

from pathlib import Path

import numpy as np

from aqa_lib.commands.data import SET, option
from aqa_lib.commands.runs import ledger_of
from aqa_lib.errors import UserError

CSV = "the file to write: id, score, spread, variance (of the mixture, where all runs state one), and a column a run"


def configure(parser):
    """The arguments of `aqa predict`."""
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="ids of complete runs with weights, or their first digits; see aqa runs")
    add("--data", metavar="FILE", help="a data set as one file that AssessmentSet.save wrote")
    add("--name", help="or any other data set, by its name (see aqa data check), with --root and --set")
    add("--root", help="where that data set lies, if it is read from files")
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help=SET)
    add("--csv", required=True, metavar="OUT", help=CSV)
    add("--study", help="folder under outputs/; may be left out where there is only one")


def run(args):
    """Predict, write the table, and say where it is."""
    from aqa_lib.ledger.files import write
    from aqa_lib.ledger.record import to_csv
    from aqa_lib.study.study import Study

    out = Path(args.csv)
    if out.is_dir() or not out.parent.is_dir():  # before anything is computed
        raise UserError(f"--csv {out}: give the name of a file in a folder that is there")
    table = Study(ledger_of(args.study).folder.name).predict(args.runs, world(args))
    try:
        write(out, to_csv(table))
    except OSError as error:
        raise UserError(f"--csv {out} cannot be written ({error.strerror or error}): give another file") from error
    runs, score = len(table.columns[table.columns.str.startswith("run ")]), table["score"]
    print(
        f"{len(table)} items by {runs} {'runs' if runs > 1 else 'run'}, scores {score.min():.4g} to {score.max():.4g}"
    )
    if runs > 1:
        print(f"the runs' spread (standard deviation) is {np.median(table['spread']):.2g} for the median item")
    print(f"written to {out}")


def world(args):
    """The data set that is asked for, as Study takes it."""
    if (args.data is None) == (args.name is None):
        raise UserError("give either --data FILE, or --name NAME with --root ROOT and --set OPTION=VALUE")
    if args.data is None:
        root = {} if args.root is None else {"root": str(Path(args.root).resolve())}
        return {"name": args.name, **root, **dict(map(option, args.set))}
    if args.root is not None or args.set:
        raise UserError(f"--data {args.data} is the whole data set: --root and --set go with --name")
    return {"name": "file", "root": str(Path(args.data).resolve())}
