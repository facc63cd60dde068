"""The mechanism apart from a second task, against arithmetic by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aqa_lib.study.effects import GAIN, MECHANISM, TASK, controls, effects
from aqa_lib.study.words import BEATS, NONE, SAME

AA = np.array([0.50, 0.52, 0.49, 0.55, 0.51, 0.53])
GAINS = np.array([0.10, 0.12, 0.09, 0.11, 0.10, 0.13])
TASKS = np.array([0.02, -0.01, 0.00, 0.03, -0.02, 0.01])


def found(states="recovery:on", block="worlds", **columns):
    tables = []
    values = {"AA": AA, "AA+MSFR": AA + GAINS, "AA+MSFR, control": AA + TASKS, **columns}
    for variant, value in values.items():
        state = states if variant == "AA+MSFR" else ""
        more = {"block": block, "fraction": 0.4, "variant": variant, "states": state, "value": value}
        tables.append(pd.DataFrame({"draw": range(6), "seed": range(6)}).assign(**more))
    return pd.concat(tables, ignore_index=True)


def test_a_gain_is_the_mechanism_and_a_second_task():
    table = effects(found(), "AA").set_index("effect")
    for effect, d in {GAIN: GAINS, MECHANISM: GAINS - TASKS, TASK: TASKS}.items():
        row, half = table.loc[effect], stats.t.ppf(0.975, 5) * d.std(ddof=1) / 6**0.5
        assert row["difference"] == pytest.approx(d.mean())
        assert [row["difference low"], row["difference high"]] == pytest.approx([d.mean() - half, d.mean() + half])
        assert row["p (Holm)"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
        assert [row["half 1"], row["half 2"]] == pytest.approx([d[:3].mean(), d[3:].mean()])
    assert table["difference"][GAIN] == pytest.approx(table["difference"][[MECHANISM, TASK]].sum())
    assert table["verdict"].to_dict() == {GAIN: BEATS, MECHANISM: BEATS, TASK: SAME}


def test_holm_counts_all_rows_of_an_effect():
    both = pd.concat([found(), found(block="others", **{"AA+MSFR": AA + TASKS[::-1]})])
    table = effects(both, "AA")
    gains = table[table["effect"] == GAIN].set_index("block")
    alone = [stats.ttest_1samp(d, 0).pvalue for d in (GAINS, TASKS[::-1])]
    assert gains["p (Holm)"]["worlds"] == pytest.approx(2 * alone[0])
    assert gains["p (Holm)"]["others"] == pytest.approx(max(alone[1], 2 * alone[0]))


def test_nothing_is_said_of_a_mechanism_that_was_off():
    table = effects(found("recovery:off"), "AA")
    assert set(table["verdict"]) == {NONE} and set(table["why"]) == {"mechanism off"}


def test_a_control_stands_beside_what_has_a_mechanism():
    variants = {"AA": ("s4aqa", {"recover": False, "align": False}), "S4AQA": ("s4aqa", {}), "ridge": ("ridge", {})}
    assert controls(variants) == {"S4AQA, control": ("s4aqa", {"exchange": True})}
    assert controls(variants, of=["AA"]) == {}
