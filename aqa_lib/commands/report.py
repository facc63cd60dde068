"""`aqa report`: write the report of a study again, and its results into the README."""

from aqa_lib.paths import relative, root
from aqa_lib.report.page import build
from aqa_lib.report.readme import update_readme


def configure(parser):
    """The arguments of `aqa report`."""
    parser.add_argument("--study", default="study", help="the folder under outputs/ (default: study)")
    parser.add_argument("--readme", action="store_true", help="put the results into README.md, too")


def run(args):
    """Write the page and, if asked, the README's results."""
    page = build(args.study)
    print(f"the report: {relative(page)}")
    if args.readme:
        update_readme(root() / "README.md", args.study)
        print("README.md: results written")
