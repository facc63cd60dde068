"""Checksums: what is read back is what was written, or is called damaged.

A record (metrics.json of a run, answer.json of a notebook) is JSON whose first entry is the sha256 of the text after
it, and which holds under `files` the sha256 of each file beside it. So any bit that changes in one of them is found
when that file is read, and a table of a thousand runs reads their records alone. Records written before there were
checksums have neither entry; they are read without.
"""

import hashlib

from aqa_lib.ledger.files import content, parsed

HEAD, DIGITS = b'{"sha256": "', 64


def checksum(data):
    """The sha256 of text or bytes, in hex digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def sealed(text):
    """The text of a JSON object as bytes with its own checksum in front."""
    rest = b'",' + text.encode().removeprefix(b"{")
    return HEAD + checksum(rest).encode() + rest


def unsealed(path):
    """The object of a sealed file, None where there is no file, ValueError where it is not what was written."""
    data = content(path)
    if data is None:
        return None
    found = parsed(data)
    if "sha256" in found or "files" in found:
        known, rest = data[len(HEAD) :][:DIGITS], data[len(HEAD) + DIGITS :]
        if not data.startswith(HEAD) or known != checksum(rest).encode():
            raise ValueError("its checksum differs")
        del found["sha256"]
    return found


def intact(path, known=None):
    """The bytes of a file beside a record, ValueError where they are not those of its checksum (None: not known)."""
    try:
        data = content(path)
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    if data is None:
        raise ValueError(f"{path.name} is missing")
    if known is not None and checksum(data) != known:
        raise ValueError(f"the checksum of {path.name} differs")
    return data
