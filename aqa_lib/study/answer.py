"""What a notebook calls to give its answer: shown where it is read, and kept for the report.

Figures stay in a notebook as plotly's JSON, which JupyterLab draws by itself and the report draws with its
own copy of plotly.js, so that neither asks another server for a script.
"""

import json
import math
import os
import re
import sys
from numbers import Integral

import numpy as np

from aqa_lib import methods
from aqa_lib.errors import UserError
from aqa_lib.ledger.files import write
from aqa_lib.ledger.record import to_csv
from aqa_lib.ledger.sources import loaded
from aqa_lib.study.parameters import check_notebook

# What begins a tag, code or a formula, escapes, closes a link, makes an address a link, or begins an entity.
MARKUP = re.compile(r"[<`$\\]|\](?=[\[(:])|:(?=//)|&(?=#?\w+;)")


def answer(text, figure=None, table=None, surrogate=True, numbers=None, tested=None):
    """End a notebook: show the answer in words, its figure and its table, and keep them for the report.

    text: one or two sentences; the README quotes the first. Of Markdown it takes emphasis alone, since names of a data
    set, whatever stands in them, are words here. figure: a plotly figure. table: a DataFrame. surrogate: whether any of
    it was made from surrogate data. numbers: what the table was made from, a long DataFrame with a row a run and
    measure; it is kept beside the answer and not shown.
    tested: how many scored test items stand behind the answer, a number or words; said by `numbers` where these are of
    a comparison (items.py).
    """
    check_notebook()
    from IPython.display import Markdown, display

    if not isinstance(text, str) or not text.strip():
        raise UserError("answer: the text is empty, say in a sentence what was found")
    if figure is not None and not hasattr(figure, "update_layout"):
        raise UserError(f"answer: figure takes a plotly figure, but got {type(figure).__name__}")
    if not isinstance(surrogate, (bool, np.bool_)):
        raise UserError(f"answer: surrogate takes True or False, but got {type(surrogate).__name__}")
    numbers = None if numbers is None else with_index(numbers, "numbers")
    behind = standing_behind(tested, numbers)
    if figure is not None:
        from aqa_lib.figures.style import style

        style(figure, surrogate=surrogate)  # the badge goes wherever the picture goes
    badge = " (surrogate)" if surrogate else ""
    display(Markdown(f"**Answer{badge}.** {words_only(text.strip())}"))
    if behind:
        print(f"Behind it: {behind}.")
    if table is not None:
        display(table)
    if figure is not None:
        figure.show()
    stem = os.environ.get("AQA_NOTEBOOK_OUT")  # set by the runner, absent when a person runs the notebook
    if stem:
        if figure is not None:
            write(f"{stem}.figure.json", figure.to_json())
        content = {"text": text.strip(), "surrogate": bool(surrogate), "figure": figure is not None}
        content["table"] = None if table is None else plain_table(table)
        if numbers is not None:
            write(f"{stem}.numbers.csv", to_csv(numbers.drop(columns="resampled", errors="ignore")))
        content["behind"] = behind
        content["numbers"] = None if numbers is None else len(numbers)
        content |= cost()
        content |= {"modules": loaded(), "methods": methods.asked}  # what the answer depends on, see execute.current
        write(f"{stem}.answer.json", json.dumps(content, indent=1))  # last: present means complete


def words_only(text):
    """A text as Markdown that shows its tags, links, code and formulas as they are written; emphasis stays.

    By entities, since an address that is written out swallows a backslash. A bracket stays where it closes no link.
    """
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)


def standing_behind(tested, numbers):
    """How many scored test items an answer rests on, in words; "" where neither of the two says so."""
    if isinstance(tested, str):
        return tested.strip().removesuffix(".")
    if tested is not None:
        if isinstance(tested, bool) or not isinstance(tested, Integral) or tested < 0:
            raise UserError(f"answer: tested takes a number of scored test items, or words, but got {tested!r}")
        tested = int(tested)
        return f"{tested} scored test item{'s' * (tested != 1)}" if tested else "no test item"
    if numbers is None:
        return ""
    from aqa_lib.study.items import told  # with the methods: only where there are numbers, whose notebook has them

    return told(numbers)


def plain_table(table):
    """A DataFrame as {"columns": [...], "rows": [[...]]} of numbers, words and None."""
    table = with_index(table, "table")
    columns = [" ".join(map(str, c)).strip() if isinstance(c, tuple) else str(c) for c in table.columns]
    return {"columns": columns, "rows": [[plain(v) for v in row] for row in table.itertuples(index=False)]}


def with_index(table, what):
    """A DataFrame, its index among its columns where it says something."""
    if not hasattr(table, "itertuples"):
        raise UserError(f"answer: {what} takes a DataFrame, but got {type(table).__name__}")
    if table.index.names != [None] or table.index.dtype == object or str(table.index.dtype) == "str":
        return table.reset_index()
    return table


def cost():
    """What the runs cost that this process has asked for: how many, how many it had to train, seconds of them all.

    An answer that is given again reads its runs, and its own minutes then say nothing about theirs.
    """
    study = sys.modules.get("aqa_lib.study.study")  # as long as nobody has imported it, nobody has asked for a run
    asked = list(study.ASKED.values()) if study else []
    trained, seconds = sum(fresh for fresh, _ in asked), round(sum(took for _, took in asked), 2)
    return {"runs": {"asked": len(asked), "trained": trained, "seconds": seconds}, "gpu": gpu(study) if asked else None}


def gpu(study):
    """The name of the GPU that runs are trained on by default; None where it is the processor."""
    import torch

    device = study.default_device()
    on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_available()
    return study.describe(device)["device_name"] if on_gpu else None


def plain(value):
    """A table's cell as JSON knows it: numpy's numbers as Python's, NaN as None."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
