"""Bad input, said in one sentence.

`UserError` carries a sentence that names what is wrong, where, and the remedy; the command `aqa` prints it
and exits with code 2. `choose` is the check of a name among names; values are checked by settings.py.
"""

import difflib
from collections.abc import Hashable


class UserError(ValueError):
    """Something that the user can mend; the message is the one sentence to show, on one line whatever it quotes."""

    def __init__(self, message=""):
        lines = " ".join(line.strip() for line in str(message).splitlines())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in lines))


def shown(value, longest=200):
    """repr of a value in a message: short, on one line, and the name of its kind where there is none."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # nested too deep, a number of thousands of digits, or an object's own
        text = f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[: longest // 2]} ... (a {type(value).__name__})"


def nearest(name, choices, mark=":"):
    """The end of a sentence on an unknown name: ": did you mean x?" where a choice resembles it, and the choices."""
    choices = [str(c) for c in choices]
    if not choices:
        return f"{mark} there is none to choose from"
    close = difflib.get_close_matches(shown(name).strip("'"), choices, n=1, cutoff=0.5)
    hint = f"{mark} did you mean {close[0]!r}?" if close else ""
    return f"{hint} (choices: {', '.join(choices)})"


def choose(kind, name, choices):
    """`name` if it is one of `choices`, otherwise a UserError with the nearest valid choice."""
    if not isinstance(name, Hashable) or name not in choices:
        raise UserError(f"unknown {kind} {shown(name)}{nearest(name, choices)}")
    return name
