"""The README's results: the answers of the notebooks and the commands that make them, written between two markers."""

import platform

from aqa_lib.batch.execute import place
from aqa_lib.batch.plan import first_sentence
from aqa_lib.errors import UserError
from aqa_lib.ledger.files import write
from aqa_lib.ledger.identity import commit
from aqa_lib.report.page import card, read_manifest, shown
from aqa_lib.study.answer import words_only
from aqa_lib.study.study import default_device, describe


def update_readme(path, study):
    """Replace what stands between the two markers of the README by the results of the study."""
    manifest = read_manifest(study)
    cards = [card(entry, manifest["command"], place(study)) for entry in manifest["notebooks"]]
    put(path, "results", results(cards, manifest))


def put(path, what, lines):
    """Replace what stands between the lines <!-- WHAT:begin --> and <!-- WHAT:end --> of a page."""
    begin, end = f"<!-- {what}:begin -->", f"<!-- {what}:end -->"
    text = path.read_text() if path.exists() else ""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{path}: the {what} goes between the lines {begin} and {end}, each there once")
    head, rest = text.split(begin)
    write(path, f"{head}{begin}\n{lines}\n{end}{rest.split(end)[1]}")


def results(cards, manifest):
    """The results as Markdown: a row a question, then the numbers with the command that makes them."""
    lines = [f"Made by `{manifest['command']}` and `aqa report --study {manifest['study']} --readme`,"]
    lines += [made(), ""]
    lines += ["| notebook | question | answer |", "|---|---|---|"]
    for item in cards:
        words = first_sentence(item["text"]) if "text" in item else f"({item['state']})"
        mark = " *(surrogate)*" if item["surrogate"] else ""
        link = f"[{item['name']}](notebooks/{item['notebook']}.ipynb)"
        lines.append(f"| {link} | {escaped(item['question'])} | {escaped(words)}{mark} |")
    for item in cards:
        if item.get("table"):
            mark = " *(surrogate)*" if item["surrogate"] else ""
            lines += ["", f"**{words_only(item['question'])}**{mark} `{item['command'].removesuffix(' --force')}`", ""]
            lines += markdown_table(item["table"], item["numeric"])
    return "\n".join(lines)


def made():
    """At which commit, on what machine and with which torch: the last digits depend on all of them."""
    import torch

    code, device = f"commit {commit()}" if commit() else "no known commit", describe(default_device())
    kind = f"a processor {platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"
    if device["device"].startswith("cuda"):
        kind = f"a GPU, {device['device_name']}"
    return f"at {code} on {platform.system()}, {kind}, torch {torch.__version__}."


def markdown_table(table, right):
    """A plain table as lines of Markdown."""
    rule = ["---:" if number else "---" for number in right]
    rows = [table["columns"], rule] + [[shown(value) for value in row] for row in table["rows"]]
    return ["| " + " | ".join(map(escaped, row)) + " |" for row in rows]


def escaped(text):
    """Text for a cell of a Markdown table, its tags and links shown as they are written."""
    return " ".join(words_only(text).replace("|", "\\|").split())
