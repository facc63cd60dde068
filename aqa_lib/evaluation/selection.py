"""Model selection: which evaluation of a run is reported. Five rules, each a function of the run's recorded curve.

    selected = validation(record.curve)
    recompute(selected, record.predictions)  # the same number, from the stored predictions

A curve has a row an evaluation: `step`, measures on the test items (`spearman`, ...) and, where labelled items were
held out, `validation_mse` and `validation_spearman`. Only `last`, `validation` and `mean_of_last` do without
the test labels; `best_consecutive` and `best_test` select on the test set, and so are biased upwards.

Where a number is a mean over folds, the rule looks at the curve averaged over them (`over_folds`), as USDL's and DAE's
rules on JIGSAWS do: the best evaluation of each fold by itself would be picked on its seven to ten trials.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation.metrics import spearman
from aqa_lib.kinds import SELECTED, TABLE, tables, takes, word

SMALLER = ("relative_l2", "mae", "mse", "validation_mse")  # measures of which less is better


class Selected(NamedTuple):
    value: float  # what the rule reports: the mean of the measure over `steps`
    steps: tuple  # the evaluations that it used


@takes(curve=TABLE, measure=word)
def last(curve, measure="spearman"):
    """The last evaluation."""
    return _report(curve, measure, slice(len(curve) - 1, None))


@takes(curve=TABLE, measure=word, by=word)
def validation(curve, measure="spearman", by="validation_mse"):
    """The evaluation that is best on labelled items held out from training; the earliest of equals."""
    at = _best(_column(curve, by), by)
    if at is None:
        raise UserError(f"every {by} of the curve is undefined; hold out more than one labelled item")
    return _report(curve, measure, slice(at, at + 1))


@takes(curve=TABLE, measure=word)
def mean_of_last(curve, measure="spearman", n=10):
    """Mean of the last n evaluations, of all where there are fewer (what MUSDL does on JIGSAWS)."""
    return _report(curve, measure, slice(max(0, len(curve) - _count(n)), None))


@takes(curve=TABLE, measure=word)
def best_consecutive(curve, measure="spearman", n=10):
    """The n consecutive evaluations of the best mean on the test items (DAE's rule); all where there are fewer."""
    values = _column(curve, measure)
    width = min(_count(n), len(values))
    means = np.lib.stride_tricks.sliding_window_view(values, width).mean(axis=1)  # NaN where one is undefined
    at = _best(means, measure)
    return _report(curve, measure, slice(len(means) - 1, None) if at is None else slice(at, at + width))


@takes(curve=TABLE, measure=word)
def best_test(curve, measure="spearman"):
    """The evaluation that is best on the test items: the "literature protocol", for comparison alone."""
    at = _best(_column(curve, measure), measure)
    return last(curve, measure) if at is None else _report(curve, measure, slice(at, at + 1))


RULES = {rule.__name__: rule for rule in (last, validation, mean_of_last, best_consecutive, best_test)}


@takes(curves=tables, rule=word, measure=word)
def over_folds(curves, rule="last", measure="spearman"):
    """[Selected] of a part's folds: the evaluations that the rule takes on their mean curve, each with its own value.

    An evaluation that is undefined in one of the folds is undefined in the mean, and so never chosen. `last` looks at
    nothing; the other rules look at the steps at which all folds were evaluated.
    """
    if rule == "last" or all(len(curve) == 1 for curve in curves):
        return [last(curve, measure) for curve in curves]
    aligned = common(curves)
    columns = [c for c in aligned[0] if c == measure or c.startswith("validation")]
    mean = sum(curve[columns] for curve in aligned) / len(aligned)
    steps = RULES[rule](mean.reset_index(), measure).steps
    return [Selected(float(curve.loc[list(steps), measure].mean(skipna=False)), steps) for curve in aligned]


@takes(curves=tables)
def common(curves):
    """The curves at the steps that all of them have, which become their index; a UserError where they share none."""
    aligned = pd.concat([curve.set_index("step") for curve in curves], axis=1, join="inner", keys=range(len(curves)))
    if not len(aligned):
        raise UserError("the folds of a part share no evaluation: give their runs the same steps and no patience")
    return [aligned[i].sort_index() for i in range(len(curves))]


@takes(selected=SELECTED, predictions=TABLE)
def recompute(selected, predictions):
    """The rank correlation that a rule reported, from a run's table of predictions (columns score, step_<n>)."""
    missing = [f"step_{step}" for step in selected.steps if f"step_{step}" not in predictions]
    if missing:
        raise UserError(f"the predictions lack the column {missing[0]!r}, which this curve's evaluation needs")
    return float(np.mean([spearman(predictions[f"step_{step}"], predictions["score"]) for step in selected.steps]))


def _report(curve, measure, rows):
    """NaN where any of the values that a rule takes is undefined: it is not left out, and it is not 0."""
    return Selected(
        float(_column(curve, measure)[rows].mean()), tuple(int(step) for step in _column(curve, "step")[rows])
    )


def _column(curve, name):
    if name.startswith("validation") and name not in curve:
        raise UserError(f"the curve has no {name!r}: this run held nothing out; set the share of labels for validation")
    choose("column of the curve", name, list(curve))
    if not len(curve):
        raise UserError("the curve has no row: this run was never evaluated")
    return np.asarray(curve[name], float)


def _best(values, measure):
    """Index of the best defined value, the earliest of equals; None where there is none."""
    values = -values if measure in SMALLER else values
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def _count(n):
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise UserError(f"a rule that averages evaluations needs a whole number n >= 1, but n is {n!r}")
    return n
