"""`aqa data check NAME ROOT`: what a data set on disk holds, beside what was published."""

import numpy as np

from aqa_lib import data
from aqa_lib.errors import UserError
from aqa_lib.settings import Word

SET = "an option of the data set; the answer to a wrong one, such as help=me, names those that there are"


def configure(parser):
    """The arguments of `aqa data`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check")
    text = "Count what a data set holds, beside what was published."
    check = verbs.add_parser("check", help=text, description=text, allow_abbrev=False)
    check.add_argument("name", metavar="NAME", help=f"data set: {', '.join(data.names())}")
    check.add_argument("root", metavar="ROOT", nargs="?", help="its folder (data/README.md says what lies in it)")
    check.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help=SET)


def run(args):
    """Print the counts; what differs from what was published is bad input."""
    options = data.resolve(args.name, dict(map(option, args.set)))
    module = data.reader(args.name)
    lines = module.checks(args.root, **options) if hasattr(module, "checks") else described(args, options)
    width = max(len(what) for what, *_ in lines)
    for what, found, expected in lines:
        verdict = "" if expected is None else "as published" if found == expected else f"published: {show(expected)}"
        print(f"{what:{width}}  {show(found):>8}  {verdict}".rstrip())
    wrong = [(what, found, expected) for what, found, expected in lines if expected not in (None, found)]
    if wrong:
        what, found, expected = wrong[0]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(
            f"data set {args.name!r} at {args.root} is not as published: {what} is {show(found)}, not {show(expected)}"
            f"{more}; fetch its files again (see data/README.md)"
        )


def option(text):
    """('routine', 'ball') of routine=ball."""
    name, sign, value = text.partition("=")
    if not sign:
        raise UserError(f"--set takes OPTION=VALUE, such as routine=ball, but got {text!r}")
    return name, Word(value)


def described(args, options):
    """What can be said of any data set."""
    loaded = data.load(args.name, args.root, **options)
    lines = [("items", len(loaded), None), ("with a score", int(np.isfinite(loaded.scores).sum()), None)]
    if "split" in loaded.table:
        lines += [(side, int((loaded.table["split"] == side).sum()), None) for side in ("train", "test")]
    if loaded.groups is not None:
        lines.append(("groups", len(np.unique(loaded.groups)), None))
    if loaded.judges is not None:
        lines.append(("judges", loaded.judges.shape[1], None))
    if loaded.pairs is not None:
        lines.append(("pairs", len(loaded.pairs), None))
    if loaded.actions is not None:
        lines.append(("actions", len(loaded.actions), None))
        lines.append(("labels of actions", loaded.actions["label"].nunique(), None))
    if loaded.features is not None:
        shape = range(1, loaded.features.ndim - 1)
        axes = ["N", "T", *(f"D{k}" if len(shape) > 1 else "D" for k in shape)]
        lines += [(f"features, {axis}", size, None) for axis, size in zip(axes, loaded.features.shape, strict=True)]
    if loaded.lengths is not None:
        n = loaded.lengths
        found = [int(n.min()), float(round(n.mean(), 1)), int(n.max())]
        lines.append(("segments, fewest, mean and most", found, None))
    return lines


def show(value):
    """A count or a measure as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)
