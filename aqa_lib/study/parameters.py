"""The parameters of a notebook: lines of its cell tagged `parameters`, read by the plan and held to in the kernel.

    draws: int = 4  # label draws; at least 1
    fractions: list = [0.1, 0.4]  # shares of the labels, each above 0 and at most 1
    methods: list = ["ridge"]  # files of aqa_lib/methods; []: all

A line is `name: kind = literal  # what it means`. Bounds stand in the comment: at least, above, at most, below and a
number; those of a list hold for each item, and "2 numbers" is its length. A text or list may be empty where the default
is, or where the comment says what [] stands for, a mapping unless it says "not empty". A word that is a number (1e-3 in
YAML, "5" in quotes) is one.

`checked` is the check of all that is given, by a config or the command line before anything runs. Where a person runs
the notebook, in Lab or by papermill, `check_notebook` finds the cells that the kernel has executed and does the same:
it is called with each import from aqa_lib, by Study and by answer, so before anything is trained.
"""

import ast
import io
import re
import sys
import tokenize

from aqa_lib.errors import choose
from aqa_lib.paths import check_name
from aqa_lib.settings import Setting, from_yaml

KINDS = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
BOUND = re.compile(r"\b(at least|above|at most|below) (-?\d+(?:\.\d+)?(?:e-?\d+)?)")
LENGTH = re.compile(r"\b(\d+) numbers\b")
ENDS = {"at least": "low", "above": "above", "at most": "high", "below": "below"}
INJECTED = "# Parameters"  # how the cell begins that papermill puts behind the tagged one


def parameters(text):
    """{name: Setting} of a parameters cell; a ValueError where it holds anything but lines with a literal.

    The same as papermill's inspect_notebook, except that its pattern does not know `float | None`.
    """
    found = {}
    try:
        help_of = comments(text)
        for line in ast.parse(text).body:
            target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0]
            default = ast.literal_eval(line.value)
            kind, optional = annotation(getattr(line, "annotation", None), default)
            found[target.id] = setting(kind, default, optional, help_of.get(line.end_lineno, ""))
    except (SyntaxError, AttributeError, IndexError, TypeError, RecursionError, tokenize.TokenError) as error:
        raise ValueError(str(error)) from None
    return found


def setting(kind, default, optional, comment):
    """The Setting that a line declares."""
    bounds = {ENDS[word]: float(number) if "." in number or "e" in number else int(number)
              for word, number in BOUND.findall(comment)}  # fmt: skip
    if kind == "list" and (length := LENGTH.search(comment)):
        bounds["length"] = int(length[1])
    filled = {"str": bool(default), "list": bool(default) and "[]:" not in comment, "dict": "not empty" in comment}
    return Setting(default, comment, kind=KINDS[kind], optional=optional, filled=filled.get(kind, False), **bounds)


def comments(text):
    """{line: comment} of Python source."""
    tokens = tokenize.generate_tokens(io.StringIO(text + "\n").readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def annotation(node, default):
    """("float", True) for `float | None`; without an annotation the default's type."""
    if isinstance(node, ast.BinOp):
        sides = [node.left, node.right]
        named = [s for s in sides if not (isinstance(s, ast.Constant) and s.value is None)]
        return annotation(named[0], default)[0], len(named) < 2
    if isinstance(node, ast.Subscript):  # list[float]
        node = node.value
    kind = node.id if isinstance(node, ast.Name) else type(default).__name__
    if kind not in KINDS:
        raise ValueError(kind)
    return kind, default is None


def checked(where, notebook, known, given):
    """`given` in the parameters' kinds and bounds, or a UserError that names the one that cannot be."""
    for name in given:
        choose(f"parameter of {notebook}", name, known)
    found = {k: known[k].check(where, f"parameter {k!r}", from_yaml(known[k], v)) for k, v in given.items()}
    if "study" in found:
        check_name(f"{where}: study", found["study"])
    return found


# ---- in the kernel of a notebook


def check_notebook():
    """A UserError where the parameters that this kernel was given cannot be; words that are numbers become those."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    space = shell.user_ns
    known, given = executed(space.get("In") or [], space)
    for name, value in checked("this notebook", "this notebook", known, given).items():
        if name in space and space[name] == given[name] and type(space[name]) is type(given[name]):
            space[name] = value  # 0.001 for "1e-3"


def executed(cells, space):
    """({name: Setting}, {name: value}) of the last parameters cell among sources, and of what was injected after it."""
    for place, text in reversed(list(enumerate(cells))):
        if not typed(text):
            continue
        known = parameters(text)
        given = {name: own.default for name, own in known.items()}
        for later in cells[place + 1 :]:
            if later.lstrip().startswith(INJECTED):
                given |= assigned(later, space)
        return known, given
    return {}, {}


def typed(text):
    """Whether a cell holds nothing but typed lines `name: kind = literal`, as a parameters cell does."""
    try:
        lines = ast.parse(text).body
        return bool(lines and all(isinstance(line, ast.AnnAssign) for line in lines) and parameters(text))
    except (SyntaxError, ValueError):
        return False


def assigned(text, space):
    """{name: value} of an injected cell's lines `name = value`."""
    found = {}
    for line in ast.parse(text).body:
        name = line.targets[0].id if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) else None
        if name:
            try:
                found[name] = ast.literal_eval(line.value)
            except ValueError:  # float("nan")
                found[name] = space.get(name)
    return found
