"""No video: a straight line in how long the clip or trial is.

    s_i = m + a (t_i - t),   a = sum_j (t_j - t)(y_j - m) / sum_j (t_j - t)^2   over the labelled items j,

ordinary least squares; t and m are the means of their durations and scores. Chosen here: the duration is the first of
the columns `duration`, `seconds` and `frames` that the set's table has, in its own unit; another set is scored by that
same column.
"""

import numpy as np

from aqa_lib.errors import UserError
from aqa_lib.methods._guesses import Guess, labelled, line, numbers, on_line

COLUMNS = ("duration", "seconds", "frames")


class DurationLine(Guess):
    title = "no video: duration"

    def check(self, settings, data):
        if not set(COLUMNS).intersection(data.table):
            raise UserError(f"data set {data.name!r} has no duration: its table has none of {', '.join(COLUMNS)}")

    def fit(self, data, items, scores, settings):
        column = next(c for c in COLUMNS if c in data.table)
        items, y = labelled(items, scores)
        return {"column": np.array([column]), **line(numbers(data, column, data.table[column], items), y)}

    def guess(self, arrays, data, items):
        column = str(arrays["column"][0])
        if column not in data.table:
            raise UserError(
                f"data set {data.name!r} has no column {column!r} in its table, from which this was learnt: add it"
            )
        return on_line(arrays, numbers(data, column, data.table[column], items))


METHOD = DurationLine()
