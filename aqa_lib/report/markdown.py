"""Tables in Markdown, whose cells show what they are given and obey none of it."""

from aqa_lib.report.page import shown
from aqa_lib.study.answer import words_only


def markdown_table(table, right):
    """A plain table as lines of Markdown."""
    rule = ["---:" if number else "---" for number in right]
    rows = [table["columns"], rule] + [[shown(value) for value in row] for row in table["rows"]]
    return ["| " + " | ".join(map(escaped, row)) + " |" for row in rows]


def escaped(text):
    """Text for a cell of a Markdown table, its tags and links shown as they are written."""
    return " ".join(words_only(text).replace("|", "\\|").split())
