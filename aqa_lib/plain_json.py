"""JSON of others: nested no deeper than what walks over it can go, and all of its text is text.

from_json('{"a": [1, 2]}')       # {"a": [1, 2]}
from_json("[" * 1000)            # ValueError
"""

import json

DEEP = 64  # levels of lists and objects


def from_json(text, **how):
    """What a JSON text, or its bytes, holds; ValueError where it is none, nested deep, or half of a character."""
    text = text.decode() if isinstance(text, bytes) else text
    try:
        value = json.loads(text, **how)
    except RecursionError:
        raise ValueError(f"nested more than {DEEP} deep") from None
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEP):
        if not level:
            break
        wholes = (whole.values() if isinstance(whole, dict) else whole for whole in level)
        level = [part for whole in wholes for part in whole if isinstance(part, (dict, list))]
    if level:
        raise ValueError(f"nested more than {DEEP} deep")
    if "\\u" in text:  # such as the first half of an emoji, which no file and no terminal takes
        json.dumps(value, ensure_ascii=False).encode()
    return value
