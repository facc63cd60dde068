"""`aqa check-method NAME-or-FILE`: put a method to the checks that hold for every method."""


def configure(parser):
    """The arguments of `aqa check-method`."""
    text = "a method's name, or the path of its file, which may lie anywhere (such as drafts/mine.py)"
    parser.add_argument("method", metavar="NAME-or-FILE", help=text)


def run(args):
    """Print a line a check as it ends; returns 1 where one has found something."""
    from aqa_lib import methods  # here: torch is slow to import, also for --help
    from aqa_lib.training.contract import findings

    file, wrong, count = methods.path(args.method), 0, 0
    print(f"method {file.stem}, {file}")
    for words, complaint in findings(file):
        print(
            f"  {'WRONG' if complaint else 'ok':5}  {words}" + (f"\n         {complaint}" if complaint else ""),
            flush=True,
        )
        wrong, count = wrong + bool(complaint), count + 1
    print(f"{count - wrong} of {count} checks passed")
    return 1 if wrong else 0
