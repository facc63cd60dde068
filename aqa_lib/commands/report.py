"""`aqa report`: write the report of a study again, its results into the README or their folder."""

from aqa_lib.paths import relative, root
from aqa_lib.report.page import build, read_manifest
from aqa_lib.report.readme import update_readme
from aqa_lib.report.results import publish


def configure(parser):
    """The arguments of `aqa report`."""
    parser.add_argument("--study", default="study", help="the folder under outputs/ (default: study)")
    parser.add_argument("--readme", action="store_true", help="put the results into README.md, too")
    parser.add_argument(
        "--results", action="store_true", help="write the results that the config keeps in a folder again, too"
    )


def run(args):
    """Write the page and, if asked, the README's results and those of the config's folder."""
    page = build(args.study)
    print(f"the report: {relative(page)}")
    if args.readme:
        update_readme(root() / "README.md", args.study)
        print("README.md: results written")
    if args.results:
        for path in publish(read_manifest(args.study)):
            print(relative(path))
