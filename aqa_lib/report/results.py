"""The results of a study as files to commit: a page and the raw numbers of each notebook, and an index of all.

A config with `results: docs/results` has them written as soon as a notebook is done:

    docs/results/README.md                # question, answer, date and minutes of every page
    docs/results/<study>/<name>.md        # the answer, its table; command, commit, machine and minutes
    docs/results/<study>/<name>.csv       # the raw numbers, a row a run and measure; .csv.gz where they are many

They are made from outputs/<study>/notebooks alone, so that they can be written again without running anything. A
notebook that failed leaves what stood there before. A page ends in a comment with what the index says of it, so that
the index also knows the studies of other machines.
"""

import gzip
import json
import os
import re
import shlex
import time

from aqa_lib.batch import answers
from aqa_lib.batch.execute import place
from aqa_lib.batch.plan import first_sentence
from aqa_lib.errors import UserError
from aqa_lib.ledger.files import write
from aqa_lib.paths import outputs, relative, root
from aqa_lib.report.markdown import escaped, markdown_table
from aqa_lib.report.page import numeric
from aqa_lib.study.answer import words_only

MOST = 300_000  # bytes of raw numbers; above, they are compressed
BADGE = "**surrogate**: made from generated data whose truth is known, not from videos of athletes."
GZIP = b"\x1f\x8b"  # how a compressed file begins
FACTS = re.compile(r"<!-- aqa (\{.*\}) -->\s*\Z")


def publish(manifest, names=None):
    """Write the results of these notebooks, by default of all; returns the pages of those that have an answer.

    manifest: what the study consists of, as the runner noted it. An answer to other parameters is passed over.
    """
    study = manifest["study"]
    if not manifest.get("results"):
        raise UserError(
            f"study {study!r} has no results to write: its config needs a line `results: docs/results`, and "
            "`aqa study` must have run it without a --set that changes what the config states"
        )
    folder, pages = root() / manifest["results"], []
    try:
        (folder / study).mkdir(parents=True, exist_ok=True)
        for entry in manifest["notebooks"]:
            if names is None or entry["name"] in names:
                pages += written(entry, manifest["command"], place(study), folder / study)
        while changed(folder / "README.md", index(folder)):
            pass  # once more: another process may have added a page meanwhile
    except OSError as error:
        raise UserError(
            f"the results cannot be written to {relative(folder)} ({error.strerror or error}): free it, then write "
            f"them with `aqa report --study {study} --results`"
        ) from None
    return pages


def written(entry, command, source, target):
    """[page] of one notebook, after its raw numbers; [] where it has no answer to what is asked now."""
    name, command = entry["name"], repeating(command, entry["name"])
    try:
        answer = answers.read(source, name)
        if answer is None or answer["key"] != entry["key"]:
            return []
        numbers = answers.beside(source, name, answer, "numbers.csv") if answer["numbers"] is not None else []
        raw = raw_numbers(*numbers) if numbers else None
        file = None if raw is None else f"{name}.csv" + ".gz" * raw.startswith(GZIP)
        content = page(answer, command, file)
    except (ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{name}: its answer is damaged ({why}): `{command} --force` runs it again") from None
    for other in {f"{name}.csv", f"{name}.csv.gz"} - {file}:
        (target / other).unlink(missing_ok=True)
    if raw is not None:
        changed(target / file, raw)
    changed(target / f"{name}.md", content.encode())
    return [target / f"{name}.md"]


def raw_numbers(kept):
    """The bytes of the raw numbers as they are published, compressed where they are many."""
    raw = public(kept.decode()).encode()
    return gzip.compress(raw, mtime=0) if len(raw) > MOST else raw  # no date: equal numbers are equal bytes


def page(answer, command, file=None):
    """A notebook's results as Markdown; `file`: the name of its raw numbers."""
    date = time.strftime("%Y-%m-%d", time.gmtime(answer["finished"]))
    facts = {"question": answer["question"], "answer": first_sentence(answer["text"]), "date": date}
    facts |= {"minutes": round(answer["seconds"] / 60, 2), "surrogate": answer["surrogate"]}
    lines = [f"# {words_only(answer['question'])}", ""]
    lines += [BADGE, ""] if answer["surrogate"] else []
    lines += [words_only(answer["text"]), ""]
    lines += [f"Behind it: {escaped(answer['behind'])}.", ""] if answer.get("behind") else []
    if answer["table"]:
        lines += [*markdown_table(answer["table"], numeric(answer["table"])), ""]
    if file:
        count = answer["numbers"]
        lines += [f"The raw numbers: [{file}]({file}), {count} row{'s' * (count != 1)}, one a run and measure.", ""]
    lines += [f"Made on {date} by", "", f"    {command}", "", "| | |", "| --- | --- |"]
    lines += [f"| {what} | {escaped(words)} |" for what, words in circumstances(answer).items()]
    facts = json.dumps(facts, ensure_ascii=False).replace(">", "\\u003e")  # no end of a comment within it
    return public("\n".join([*lines, "", f"<!-- aqa {facts} -->", ""]))


def circumstances(answer):
    """{what: words}: at which commit, on what machine and in what time an answer was given."""
    made, runs = answer.get("origin") or {}, answer.get("runs") or {}
    commit = (
        f"{made['commit']}{', with changes not committed' * made['changed']}" if made.get("commit") else "not known"
    )
    machine = "not known"
    if made:
        versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
        cores = f"{made['cores']} core{'s' * (made['cores'] != 1)}"
        parts = [made["processor"], cores, answer.get("gpu"), made["system"], versions]
        machine = ", ".join(filter(None, parts))
    time = minutes(answer["seconds"])
    if runs.get("asked"):
        time += f"; {runs['trained']} of its {runs['asked']} runs were trained in it, the others read"
        time += f"; training them all takes {minutes(runs['seconds'])} of one process"
    return {"commit": commit, "machine": machine, "time": time}


def minutes(seconds):
    """90 as '1.5 minutes'."""
    return f"{seconds / 60:.1f} minutes" if seconds >= 6 else f"{seconds:.1f} seconds"


def index(folder):
    """The pages of a folder as bytes of Markdown, a table a study; made from the pages alone."""
    lines = [
        "# Results",
        "",
        "A page a notebook, with the command, commit and machine that made it and the raw numbers",
    ]
    lines += ["beside it. `aqa study` writes a page as soon as its notebook is done, and this index with it."]
    for study in sorted(path for path in folder.iterdir() if path.is_dir()):
        if found := sorted(study.glob("*.md")):
            total = sum(known["minutes"] for known in map(facts, found) if known)
            lines += ["", f"## {study.name}", "", f"{len(found)} pages, {total:.1f} minutes in all.", ""]
            lines += answered(study, study.name)
    return ("\n".join(lines) + "\n").encode()


def answered(study, place):
    """The table of a study's pages, which lie in `place` as seen from where the table stands."""
    rows = [row(f"{place}/{path.name}", facts(path)) for path in sorted(study.glob("*.md"))]
    return ["| question | answer | date | minutes |", "| --- | --- | --- | ---: |", *rows]


def facts(path):
    """What a page says of itself in its last line; None where it was cut off, or is none of ours."""
    try:
        known = json.loads(FACTS.search(path.read_text())[1])
        row("", known)  # it has all that the index says
        return known
    except (ValueError, TypeError, KeyError):
        return None


def row(link, known):
    """A page's row of the index."""
    if known is None:
        return f"| [{link}]({link}) | *(cannot be read)* | – | – |"
    mark = " *(surrogate)*" if known["surrogate"] else ""
    question, answer = escaped(known["question"]), escaped(known["answer"])
    question = question.replace("[", "&#91;").replace("]", "&#93;")  # it stands between brackets
    return f"| [{question}]({link}) | {answer}{mark} | {known['date']} | {known['minutes']:.1f} |"


def repeating(command, name):
    """The command that makes one notebook again, for anybody: where files lie on this machine is left to the reader."""
    words = [re.sub(r"=[/~].*", "=PATH", word, flags=re.S) for word in shlex.split(command)]
    return shlex.join([*words, "--only", name])


def public(text):
    """A text without folders of this machine: the study's own files as one types them there, home as ~."""
    for folder, name in ((outputs(), "outputs"), (root(), "."), (os.path.expanduser("~"), "~")):
        if len(str(folder)) > 1:
            text = re.sub(rf"(?<![\w.~-]){re.escape(str(folder))}(?![\w-])", name, text)
    return text


def changed(path, content):
    """Whether a file had other content, which is then replaced whole or not at all."""
    if path.exists() and path.read_bytes() == content:
        return False
    write(path, content)
    return True
