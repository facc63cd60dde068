"""`aqa bench`: run the benches of a checkout's `benchmarks/` (they compare with plain code that no user needs)."""

import importlib
import sys

from aqa_lib.errors import UserError
from aqa_lib.paths import root

SIZES = ("tiny", "middle", "paper")


def configure(parser):
    parser.add_argument("what", choices=["grid", "precision", "methods", "folds", "kills"], help="which measurement")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="which sizes")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--no-end-to-end", action="store_true", help="leave out the whole grids")
    parser.add_argument("--readme", action="store_true", help="put the result into README.md")
    parser.add_argument("--methods", nargs="+", help="methods: which (default: all that have steps)")
    parser.add_argument("--seeds", type=int, default=10, help="precision: paired seeds")
    parser.add_argument("--kills", type=int, default=100, help="kills: how many")
    parser.add_argument("--seed", type=int, default=0, help="kills: of which processes and when")
    parser.add_argument("--steps", type=int, default=600, help="precision: steps of each run")


def run(args):
    if not (root() / "benchmarks" / "run.py").is_file():
        raise UserError(f"aqa bench needs a checkout with benchmarks/, there is none in {root()}: set AQA_ROOT to one")
    if str(root()) not in sys.path:
        sys.path.insert(0, str(root()))
    return importlib.import_module("benchmarks.run").run(args)
