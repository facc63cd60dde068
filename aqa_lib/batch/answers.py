"""What an executed notebook leaves beside it, read back only where it is what was written.

<name>.answer.json (or <name>.failed.json) is sealed and holds the checksums of the notebook, the figure and the raw
numbers, see ledger/checksums.py. What is damaged counts as not done: the command that asked for it runs it again.
"""

from aqa_lib.ledger.checksums import checksum, intact, sealed, unsealed
from aqa_lib.ledger.files import parsed
from aqa_lib.ledger.record import to_json

NUMBER = (int, float)
NEEDED = {  # {record: {what it always holds: its type}}
    "answer": {"text": str, "key": str, "surrogate": bool, "seconds": NUMBER, "finished": NUMBER},
    "failed": {"error": str},
}
MORE = {  # what it may hold
    "answer": {"figure": bool, "table": (dict, type(None)), "numbers": (int, type(None)), "question": str}
    | {"parameters": dict, "modules": list},
    "failed": {"cell": (int, type(None)), "source": str, "traceback": list, "seconds": NUMBER},
}


def read(folder, name, kind="answer"):
    """The answer of a notebook, or why it has none ("failed"); None where there is no such file, ValueError where it
    is damaged or another notebook's. The files beside it are not looked at."""
    found = unsealed(folder / f"{name}.{kind}.json")
    if found is None:
        return None
    if strange := [n for n in NEEDED[kind] if n not in found]:
        raise ValueError(f"its {kind}.json holds no {strange[0]}")
    for what, kinds in (NEEDED[kind] | MORE[kind]).items():
        if what in found and not isinstance(found[what], kinds):
            raise ValueError(f"its {kind}.json holds {what} = {found[what]!r:.40}")
    if found.get("name", name) != name:
        raise ValueError(f"its {kind}.json is that of {found['name']!r:.40}")
    if table := found.get("table"):
        columns, rows = table.get("columns"), table.get("rows")
        whole = isinstance(columns, list) and isinstance(rows, list)
        if not whole or any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
            raise ValueError("its table is none")
    return {"figure": False, "table": None, "numbers": None} | found if kind == "answer" else found


def beside(folder, name, found, *suffixes):
    """[bytes] of the files beside an answer, by default of all it has; ValueError where one is missing or damaged."""
    every = ["ipynb"] + ["figure.json"] * bool(found.get("figure"))
    every += ["numbers.csv"] * (found.get("numbers") is not None)
    sums, out = found.get("files") or {}, []
    for suffix in suffixes or every:
        out.append(intact(folder / f"{name}.{suffix}", sums.get(suffix)))
        if suffix not in sums and suffix != "numbers.csv":  # from before there were checksums: it can be read, at least
            what = "cells" if suffix == "ipynb" else "data"
            if not isinstance(parsed(out[-1]).get(what), list):
                raise ValueError(f"{name}.{suffix} holds no {what}")
    return out


def manifest(path):
    """What the study consists of, as the runner noted it; None where there is none, ValueError where it is damaged."""
    found = unsealed(path)
    if found is None:
        return None
    entries, words = found.get("notebooks"), [found.get("study"), found.get("command")]
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not isinstance(entry.get("parameters"), dict):
            raise ValueError("it holds no notebooks")
        words += [entry.get(what) for what in ("name", "notebook", "question", "key")]
    if not all(isinstance(word, str) for word in words):
        raise ValueError("a name is missing in it")
    return found


def record(folder, name, content, suffixes=("ipynb", "figure.json", "numbers.csv")):
    """A record as bytes: its own checksum and name, and the checksums of those files beside it that are there."""
    paths = {suffix: folder / f"{name}.{suffix}" for suffix in suffixes}
    sums = {suffix: checksum(path.read_bytes()) for suffix, path in paths.items() if path.is_file()}
    return sealed(to_json({"name": name} | content | {"files": sums}))


def whole(folder, name):
    """(its answer, why it has none) as far as either is there, with all files beside it; ValueError where damaged."""
    if (answer := read(folder, name)) is not None:
        beside(folder, name, answer)
        return answer, None
    if (failed := read(folder, name, "failed")) is not None and "ipynb" in (failed.get("files") or {}):
        beside(folder, name, failed, "ipynb")
    return None, failed


def damaged(folder):
    """A line for each notebook of a folder whose files are damaged, with what to do."""
    made, again = None, "aqa study CONFIG, with the config that made it"
    try:
        made = manifest(folder / "study.json")
    except ValueError as error:
        yield f"notebooks/study.json cannot be read ({error}); do: {again}"
    asked = {entry["name"]: f"{made['command']} --only {entry['name']}" for entry in made["notebooks"]} if made else {}
    kinds = [f".{kind}.json" for kind in NEEDED]
    there = {path.name.removesuffix(kind) for kind in kinds for path in folder.glob(f"*{kind}")}
    if there and not (folder / "study.json").exists():
        yield f"notebooks/study.json is missing; do: {again}"
    for name in sorted(asked.keys() | there):
        try:
            whole(folder, name)
        except ValueError as error:
            yield f"notebook {name}: {error}; do: {asked.get(name, again)}"
