"""The README's results: answers of notebooks, written between markers; the numbers behind them stand elsewhere."""

import platform

from aqa_lib.batch.execute import place
from aqa_lib.batch.plan import first_sentence
from aqa_lib.errors import UserError
from aqa_lib.ledger.files import write
from aqa_lib.ledger.identity import commit
from aqa_lib.report.markdown import escaped
from aqa_lib.report.page import card, read_manifest
from aqa_lib.report.results import answered
from aqa_lib.study.study import default_device, describe

KEPT = "docs/results"  # where configs of this study keep what they found


def update_readme(path, study):
    """Replace what stands between markers of the README: the answers of the study, and of every `STUDY:begin` those
    that stand in docs/results."""
    manifest = read_manifest(study)
    cards = [card(entry, manifest["command"], place(study)) for entry in manifest["notebooks"]]
    put(path, "results", results(cards, manifest))
    for folder in sorted(path for path in (path.parent / KEPT).glob("*") if path.is_dir()):
        if f"<!-- {folder.name}:begin -->" in path.read_text():
            put(path, folder.name, "\n".join(answered(folder, f"{KEPT}/{folder.name}")))


def put(path, what, lines):
    """Replace what stands between the lines <!-- WHAT:begin --> and <!-- WHAT:end --> of a page."""
    begin, end = f"<!-- {what}:begin -->", f"<!-- {what}:end -->"
    text = path.read_text() if path.exists() else ""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{path}: the {what} goes between the lines {begin} and {end}, each there once")
    head, rest = text.split(begin)
    write(path, f"{head}{begin}\n{lines}\n{end}{rest.split(end)[1]}")


def results(cards, manifest):
    """The answers as Markdown, a row a question; the numbers stand in the report."""
    lines = [f"Made by `{manifest['command']}` and `aqa report --study {manifest['study']} --readme`,"]
    lines += [made(), ""]
    lines += ["| notebook | question | answer |", "|---|---|---|"]
    for item in cards:
        words = first_sentence(item["text"]) if "text" in item else f"({item['state']})"
        mark = " *(surrogate)*" if item["surrogate"] else ""
        link = f"[{item['name']}](notebooks/{item['notebook']}.ipynb)"
        lines.append(f"| {link} | {escaped(item['question'])} | {escaped(words)}{mark} |")
    return "\n".join(lines)


def made():
    """At which commit, on what machine and with which torch: the last digits depend on all of them."""
    import torch

    code, device = f"commit {commit()}" if commit() else "no known commit", describe(default_device())
    kind = f"a processor {platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"
    if device["device"].startswith("cuda"):
        kind = f"a GPU, {device['device_name']}"
    return f"at {code} on {platform.system()}, {kind}, torch {torch.__version__}."
