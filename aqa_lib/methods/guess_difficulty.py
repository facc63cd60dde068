"""No video: a straight line in the difficulty that is announced before a dive or a routine.

    s_i = m + a (d_i - d),   a = sum_j (d_j - d)(y_j - m) / sum_j (d_j - d)^2   over the labelled items j,

ordinary least squares; d and m are the means of their difficulties and scores. Chosen here: where all labelled items
have one difficulty, a = 0, and every item gets m.
"""

from aqa_lib.errors import UserError
from aqa_lib.methods._guesses import Guess, labelled, line, numbers, on_line


class DifficultyLine(Guess):
    title = "no video: difficulty"

    def check(self, settings, data):
        if data.difficulty is None:
            raise UserError(f"data set {data.name!r} has no difficulty: fill in its field difficulty")

    def fit(self, data, items, scores, settings):
        items, y = labelled(items, scores)
        return line(numbers(data, "difficulty", data.difficulty, items), y)

    def guess(self, arrays, data, items):
        return on_line(arrays, numbers(data, "difficulty", data.difficulty, items))


METHOD = DifficultyLine()
