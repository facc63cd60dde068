"""What readers of folders share: the folder and its files, found or missed in one sentence; tables; a fingerprint."""

import csv
import difflib
import functools
import gzip
import hashlib
import io
import math
import zlib
from pathlib import Path

import numpy as np

from aqa_lib.data.files import limits
from aqa_lib.errors import UserError, nearest


def folder(name, root, holds):
    """`root` as a Path, which is to be the folder of data set `name`; `holds` says what lies in it."""
    if root is None:
        raise UserError(f"data set {name!r} needs root, the folder that holds {holds}")
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise UserError(f"data set {name!r}: root {root} {what}; give the folder that holds {holds}")
    return root


def need(path, remedy="see data/README.md for the tree that is expected"):
    """`path`, which must be a file; otherwise a sentence with the nearest name beside it."""
    path = Path(path)
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        beside = difflib.get_close_matches(path.name, sorted(beside), n=8, cutoff=0)  # nearest first
        there = nearest(path.name, beside, ";") if beside else ""
        raise UserError(f"there is no file {path}: {remedy}{there}")
    return path


def text_of(path, remedy="save it as plain UTF-8 text"):
    """The text of a file, unpacked where it ends in .gz."""
    try:
        size = limits.held(path)
        limits.check_fit(path, limits.TEXT * size)
        if Path(path).suffix != ".gz":
            return Path(path).read_bytes().decode("utf-8-sig")
        most = max(limits.SMALL, limits.TIMES * size) // 8  # a table packs to a tenth
        with gzip.open(path) as file:
            raw = file.read(most + 1)
        limits.check_fit(path, len(raw) * 8)
        return raw.decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): {remedy}, or fetch it anew") from error


def csv_rows(path, header=None):
    """The rows of a csv file as (line number, fields), stripped, empty lines left out; `header` must lead it."""
    reader = csv.reader(io.StringIO(text_of(path), newline=""))
    try:
        rows = [(reader.line_num, [c.strip() for c in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not a csv file ({error})") from error
    rows = [(i, row) for i, row in rows if any(row)]
    if header is not None:
        if not rows:
            raise UserError(f"{path} is empty: its first line should hold {','.join(header)}")
        if [c.lower() for c in rows[0][1][: len(header)]] != [c.lower() for c in header]:
            raise UserError(f"{path} begins with {','.join(rows[0][1])}, but {','.join(header)} is expected")
        rows = rows[1:]
    return rows


def matrix(path, columns=None, delimiter=None):
    """Numbers [rows, columns] of a text file; a short row or a word is named by its line. Empty gives [0, 0]."""
    text = text_of(path)
    lines = [(i, line.split(delimiter)) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        return np.zeros((0, 0))
    columns = columns or len(lines[0][1])
    for i, fields in lines:
        if len(fields) != columns:
            raise UserError(f"{path}, line {i}: {len(fields)} numbers, not {columns}; is the file cut off?")
    try:
        if "_" in text:
            raise ValueError
        values = np.array([fields for _, fields in lines], dtype=float)
    except ValueError:
        values = np.array([[number(f, f"{path}, line {i}") for f in fields] for i, fields in lines])
    if not np.isfinite(values).all():
        i = lines[np.flatnonzero(~np.isfinite(values).all(axis=1))[0]][0]
        raise UserError(f"{path}, line {i}: holds NaN or infinity; repair or drop that recording")
    return values


def number(text, where):
    """`text` as a finite number; 7_5 and True are none, though Python takes them."""
    try:
        if isinstance(text, bool) or isinstance(text, str) and "_" in text:
            raise ValueError
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {text!r} is not a number") from None
    if not math.isfinite(value):
        raise UserError(f"{where}: {text!r} is not a finite number; leave it empty where it is unknown")
    return value


def once(values, where):
    """`values`, none of them twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise UserError(f"{where}: {value!r} stands there twice; every item needs an id of its own")
        seen.add(value)
    return values


def content(root, paths):
    """First 16 hex digits of a sha256 over names and contents of files: other content, other fingerprint."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        stat = path.stat()
        name = str(path.relative_to(root)) if root in path.parents else path.name
        whole.update(f"{name}\0{_digest(path, stat.st_mtime_ns, stat.st_size)}\n".encode())
    return whole.hexdigest()[:16]


@functools.cache
def _digest(path, mtime, size):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
