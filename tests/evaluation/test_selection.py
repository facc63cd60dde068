"""Rules of model selection on curves worked by hand, and recomputed from stored predictions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqa_lib.errors import UserError
from aqa_lib.evaluation import spearman, spearman_rows
from aqa_lib.evaluation.selection import (
    RULES,
    best_consecutive,
    best_test,
    last,
    mean_of_last,
    over_folds,
    recompute,
    validation,
)

CURVE = pd.DataFrame(
    {
        "step": [10, 20, 30, 40, 50],
        "spearman": [0.1, 0.9, 0.4, 0.6, 0.5],
        "relative_l2": [5.0, 3.0, 2.0, 2.0, 4.0],
        "validation_mse": [9.0, 4.0, 3.0, 3.0, 8.0],
        "validation_spearman": [0.2, 0.7, 0.3, 0.1, 0.7],
    }
)


def test_each_rule_by_hand():
    assert last(CURVE) == (0.5, (50,))
    assert validation(CURVE) == (0.4, (30,))  # the earliest of two equals
    assert validation(CURVE, by="validation_spearman") == (0.9, (20,))
    assert mean_of_last(CURVE, n=2) == (pytest.approx(0.55), (40, 50))
    assert best_consecutive(CURVE, n=2) == (pytest.approx(0.65), (20, 30))
    assert best_consecutive(CURVE, n=3) == (pytest.approx(1.9 / 3), (20, 30, 40))
    assert best_test(CURVE) == (0.9, (20,))


def test_less_relative_l2_is_better():
    assert best_test(CURVE, "relative_l2") == (2.0, (30,))
    assert best_consecutive(CURVE, "relative_l2", n=2) == (2.0, (30, 40))
    assert validation(CURVE, "relative_l2") == (2.0, (30,))


def test_a_short_curve_uses_what_there_is():
    assert mean_of_last(CURVE)[1] == best_consecutive(CURVE)[1] == (10, 20, 30, 40, 50)
    one = pd.DataFrame({"step": [0], "spearman": [0.7]})
    assert all(rule(one) == (0.7, (0,)) for name, rule in RULES.items() if name != "validation")


def test_an_undefined_evaluation_shows_and_is_never_chosen():
    curve = CURVE.assign(spearman=[0.1, np.nan, 0.4, 0.6, np.nan])
    assert np.isnan(last(curve).value) and np.isnan(mean_of_last(curve, n=2).value)
    assert best_test(curve) == (0.6, (40,)) and best_consecutive(curve, n=2) == (0.5, (30, 40))
    none = CURVE.assign(spearman=np.nan)
    assert all(np.isnan(rule(none).value) for rule in RULES.values())


def test_what_cannot_be_selected_is_said():
    bare = CURVE[["step", "spearman"]]
    with pytest.raises(UserError, match="held nothing out"):
        validation(bare)
    with pytest.raises(UserError, match="unknown column of the curve 'spaerman': did you mean 'spearman'"):
        last(CURVE, "spaerman")
    with pytest.raises(UserError, match="never evaluated"):
        best_test(CURVE[:0])
    with pytest.raises(UserError, match="validation_spearman of the curve is undefined"):
        validation(CURVE.assign(validation_spearman=np.nan), by="validation_spearman")
    for bad in (0, 2.5, True):
        with pytest.raises(UserError, match=f"whole number n >= 1, but n is {bad}"):
            mean_of_last(CURVE, n=bad)


@given(st.integers(0, 10_000), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_rules_are_recomputed_from_predictions_and_ordered(seed, evaluations):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=12)
    predicted = (true + rng.normal(size=(evaluations, 12))).astype(np.float32)
    steps = 25 * np.arange(1, evaluations + 1)
    curve = pd.DataFrame({"step": steps, "spearman": spearman_rows(predicted, true)})
    curve["validation_mse"] = rng.random(evaluations)
    table = pd.DataFrame(
        {"id": range(12), "score": true} | {f"step_{s}": p for s, p in zip(steps, predicted, strict=True)}
    )
    found = {name: rule(curve) for name, rule in RULES.items()}
    for selected in found.values():
        assert recompute(selected, table) == pytest.approx(selected.value, abs=1e-12)
    # what each rule may choose from orders what it reports
    best = found["best_test"].value
    assert all(selected.value <= best + 1e-12 for selected in found.values())
    assert found["mean_of_last"].value <= found["best_consecutive"].value + 1e-12
    assert found["last"].value == spearman(predicted[-1], true)


def test_recompute_wants_the_column():
    with pytest.raises(UserError, match="'step_20'"):
        recompute(best_test(CURVE), pd.DataFrame({"score": [1.0, 2.0], "step_10": [1.0, 2.0]}))


def test_over_folds_the_rule_looks_at_the_mean_curve():
    """Fold b is best at step 10 by itself; the mean of both is best at 20, where each reports its own value."""
    a = pd.DataFrame({"step": [10, 20, 30], "spearman": [0.1, 0.8, 0.3], "validation_mse": [3.0, 2.0, 1.0]})
    b = pd.DataFrame({"step": [10, 20, 30], "spearman": [0.6, 0.4, 0.5], "validation_mse": [1.0, 5.0, 2.0]})
    assert over_folds([a, b], "best_test") == [(0.8, (20,)), (0.4, (20,))]  # means .35 .6 .4
    assert [s.value for s in (best_test(a), best_test(b))] == [0.8, 0.6]  # fold by fold
    assert over_folds([a, b], "validation") == [(0.3, (30,)), (0.5, (30,))]  # means 2 3.5 1.5
    assert over_folds([a, b]) == [(0.3, (30,)), (0.5, (30,))] and over_folds([b], "best_test") == [best_test(b)]
    assert over_folds([a, b], "mean_of_last")[0] == (pytest.approx(0.4), (10, 20, 30))


def test_over_folds_of_unequal_evaluations():
    """Only steps that all folds have are compared; an evaluation that is undefined in one fold is never chosen."""
    a = pd.DataFrame({"step": [10, 20], "spearman": [0.1, 0.2]})
    b = pd.DataFrame({"step": [10, 20, 30], "spearman": [0.4, np.nan, 0.9]})
    assert over_folds([a, b], "best_test") == [(0.1, (10,)), (0.4, (10,))]
    assert over_folds([a, b], "last") == [(0.2, (20,)), (0.9, (30,))]
    one = pd.DataFrame({"step": [0], "spearman": [0.7]})
    assert over_folds([one, one], "best_test") == [(0.7, (0,))] * 2
    with pytest.raises(UserError, match="share no evaluation"):
        over_folds([a, b.assign(step=[1, 2, 3])], "best_test")
