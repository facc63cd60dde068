"""Bad input, said in one sentence.

`UserError` carries a sentence that names what is wrong, where, and the remedy; the command `aqa` prints it
and exits with code 2. `choose` and `check_type` are the two checks that most rooms need.
"""

import difflib
import math


class UserError(ValueError):
    """Something that the user can mend; the message is the one sentence to show."""


def nearest(name, choices):
    """', did you mean x?' where a choice resembles `name`, and the choices in any case."""
    choices = [str(c) for c in choices]
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}(choices: {', '.join(choices)})"


def choose(kind, name, choices):
    """`name` if it is one of `choices`, otherwise a UserError with the nearest valid choice."""
    if name not in choices:
        raise UserError(f"unknown {kind} {name!r}: {nearest(name, choices)}")
    return name


def check_type(where, name, value, default):
    """`value` as the type of `default` (a default of None accepts anything); integers pass for floats."""
    wanted = type(default)
    if default is None:
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy number is a number
    if wanted is bool:
        ok = isinstance(value, bool)
    elif wanted is int:
        ok = isinstance(value, int) and not isinstance(value, bool)
    elif wanted is float:
        ok = isinstance(value, (int, float)) and not isinstance(value, bool)
        ok = ok and not math.isnan(float(value))
        value = float(value) if ok else value
    elif wanted in (tuple, list):
        ok = isinstance(value, (tuple, list))
        value = wanted(value) if ok else value
    else:
        ok = isinstance(value, wanted)
    if not ok:
        raise UserError(
            f"{where}: {name} takes {wanted.__name__} (default {default!r}), but got {type(value).__name__} {value!r}"
        )
    return value
