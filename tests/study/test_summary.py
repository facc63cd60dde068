"""The table of a comparison, its words and its figures, by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aqa_lib.evaluation import name_of
from aqa_lib.figures.compare import label_fractions, panels
from aqa_lib.published import read_off
from aqa_lib.published.tables import figures_published
from aqa_lib.study.summary import differences, practice, standing, summary, told
from aqa_lib.tasks import TASKS

# ---- the table and its words


def runs_of(variant, values, block="official", fraction=0.1, **more):
    n = len(values)
    found = {
        "data": "set",
        "block": block,
        "published": block == "official",
        "variant": variant,
        "fraction": fraction,
        "draw": range(n),
        "seed": range(n),
    }
    return pd.DataFrame(found | {"value": values, "parts": 1, "undefined": 0, "failed": 0} | more)


A, B = [0.60, 0.62, 0.64, 0.61, 0.65, 0.63], [0.50, 0.53, 0.51, 0.52, 0.54, 0.55]
C = [0.58, 0.66, 0.60, 0.66, 0.61, 0.66]


def found_of(block="official"):
    return pd.concat([runs_of("AA", B, block), runs_of("AA+MSFR", A, block), runs_of("S4AQA", C, block)])


def test_published_numbers_stand_beside_the_block_of_their_protocol_alone():
    table = summary(pd.concat([found_of(), found_of("leak-free")]), "AA", figures_published("ablation", "mtl_aqa"))
    table = table.set_index(["block", "variant"])["published"]
    assert table["official", "AA+MSFR"] == 0.661 and table["official", "AA"] == 0.618
    assert np.isnan(table["official", "S4AQA"]) and table["leak-free"].isna().all()
    assert figures_published("methods", "mtl_aqa")["S4AQA", 0.4] == {"": 0.746}
    assert figures_published("ablation", "jigsaws") == {} == figures_published("methods", "surrogate")
    assert "published" not in summary(found_of(), "AA")
    other = summary(found_of("one surgeon out"), "AA", figures_published("ablation", "mtl_aqa"))
    assert "published" not in other  # the first block, and no published protocol


def test_parts_have_their_mean_and_their_published_number():
    found = runs_of("S4AQA", A, fraction=0.5, Knot_Tying=C, Suturing=B)
    table = summary(found, "S4AQA", figures_published("methods", "jigsaws")).iloc[0]
    assert table["Knot_Tying"] == pytest.approx(np.mean(C)) and table["Knot_Tying, published"] == 0.813
    assert table["Suturing, published"] == 0.533 and table["published"] == 0.655


def test_p_is_corrected_within_each_block():
    table = summary(pd.concat([found_of(), found_of("leak-free")]), "AA").set_index(["block", "variant"])
    assert table["p (Holm)"]["official", "AA+MSFR"] == pytest.approx(2 * stats.ttest_rel(A, B).pvalue, abs=1e-6)
    assert table["p (Holm)"]["official"].equals(table["p (Holm)"]["leak-free"])


def test_the_words_follow_from_the_numbers():
    table = summary(pd.concat([found_of(), runs_of("AA", A, "leak-free"), runs_of("S4AQA", C, "leak-free")]), "AA")
    assert told(table, "AA+MSFR", "AA") == "AA+MSFR beats AA"
    assert told(table, "S4AQA", "AA") == "S4AQA beats AA (official), elsewhere cannot be told from it"
    assert told(summary(found_of(), "S4AQA"), "AA", "S4AQA") == "AA is worse than S4AQA"
    assert table["verdict"].tolist()[0] == "baseline"


def test_the_standing_names_who_beats_the_baseline():
    assert standing(summary(found_of(), "AA"), "AA") == "AA+MSFR and S4AQA beat AA."
    assert standing(summary(found_of(), "S4AQA"), "S4AQA") == "Nothing beats S4AQA."
    both = pd.concat([found_of(), runs_of("AA", A, "leak-free"), runs_of("S4AQA", C, "leak-free")])
    assert standing(summary(both, "AA"), "AA") == "AA+MSFR beats AA, S4AQA in part."
    assert standing(summary(both[both["variant"] != "AA+MSFR"], "AA"), "AA") == "S4AQA beats AA in part."
    name = "no video: difficulty"
    for values, words in ((A, "beats it"), (B, "cannot be told from it"), (np.subtract(B, 0.1), "does not reach it")):
        table = summary(pd.concat([found_of(), runs_of(name, np.add(values, [0, 0, 1e-3, -1e-3, 0, 0]))]), "AA")
        assert standing(table, "AA", [name]) == f"AA+MSFR and S4AQA beat AA; guessing without video {words}."
    nowhere = summary(pd.concat([found_of(), runs_of(name, [np.nan] * 6)]), "AA")
    assert standing(nowhere, "AA", [name]).endswith("; guessing without video is undefined here.")
    lost = pd.concat([runs_of("AA", [np.nan] * 6), runs_of("S4AQA", A)])
    assert standing(summary(lost, "AA"), "AA") == "Nothing can be compared with AA."
    crowd = pd.concat([found_of(), *(runs_of(f"a long title {i}", A) for i in range(9))])
    assert standing(summary(crowd, "AA"), "AA") == "Several methods beat AA."
    crowd = pd.concat([both, *(runs_of(f"a long title {i}", A) for i in range(9))])
    crowd = pd.concat([crowd, *(runs_of(f"a long title {i}", A, "leak-free") for i in range(9))])
    assert standing(summary(crowd, "AA"), "AA") == "AA+MSFR beats AA, several methods in part."


def test_the_mark_of_a_gain_is_that_of_the_weaker_run():
    found = pd.concat([
        runs_of("AA", B, states=""),
        runs_of("AA+MSFR", A, states=["recovery:on"] * 5 + ["recovery:off"]),
        runs_of("S4AQA", C, states="recovery:on alignment:weak"),
    ])  # fmt: skip
    gains = differences(found, {"of both": ("S4AQA", "AA+MSFR"), "of one": ("S4AQA", "AA")})
    table = summary(gains, "of one").set_index("variant")
    assert table["mechanism"]["of both"] == "PARTLY OFF: recovery off in 1 of 6; alignment weak"
    assert table["mechanism"]["of one"] == "recovery on; alignment weak"


def test_every_difference_stands_beside_that_from_a_second_variant():
    table = summary(found_of(), "AA", also="S4AQA").set_index("variant")
    direct = summary(found_of(), "S4AQA").set_index("variant")
    assert table["less S4AQA"].equals(direct["difference"].rename("less S4AQA"))
    assert table["p (Holm), less S4AQA"].equals(direct["p (Holm)"].rename("p (Holm), less S4AQA"))
    assert table["verdict, less S4AQA"].tolist() == direct["verdict"].tolist()
    assert "less AA+MSFR" in summary(found_of(), "AA", also=["S4AQA", "AA+MSFR"])


def test_differences_pair_runs():
    found = differences(found_of(), {"gain": ("AA+MSFR", "AA")})
    assert found["value"].tolist() == pytest.approx(np.subtract(A, B)) and set(found["variant"]) == {"gain"}
    assert summary(pd.concat([found, runs_of("none", [0.0] * 6)]), "none")["n"].tolist() == [6, 6]


def test_the_rule_of_published_tables_is_named():
    assert practice("jigsaws", "last").startswith("Each run counts at its last evaluation; on JIGSAWS USDL reports")
    assert practice("surrogate", "best_test") == "Each run counts by the rule best_test."


# ---- figures


def test_the_figures_show_the_tables_numbers():
    found = pd.concat([found_of(), found_of("leak-free")])
    table = summary(found, "AA", figures_published("ablation", "mtl_aqa"))
    figure = panels(table, surrogate=False)
    by = {trace.name: trace for trace in figure.data}
    assert list(by) == ["official", "leak-free", "published"]
    assert list(by["official"].x) == pytest.approx([np.mean(B), np.mean(A), np.mean(C)])
    ticks = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    assert {ticks[y]: x for x, y in zip(by["published"].x, by["published"].y, strict=True)} == {
        "AA": 0.618,
        "AA+MSFR": 0.661,
    }
    assert figure.layout.xaxis.title.text == "rank correlation"
    low = by["official"].x[0] - by["official"].error_x.arrayminus[0]
    assert low == pytest.approx(table["low"][0])


def test_published_curves_are_called_read_off():
    table = summary(pd.concat([runs_of("S4AQA", A), runs_of("S4AQA", C, fraction=0.4)]), "S4AQA")
    figure = label_fractions(table, read_off.LABEL_FRACTIONS, surrogate=False)
    assert figure.layout.yaxis.title.text == "rank correlation, 95 % interval"
    names = [trace.name for trace in figure.data if trace.name]
    assert names == ["S4AQA", "S4AQA, published (read off a plot)"]
    assert list(figure.data[-1].x) == [10, 20, 30, 40, 50] and figure.data[-1].y[0] == 0.676


def test_the_axes_say_what_is_measured():
    table = summary(found_of(), "AA")
    assert panels(table, "", "pairwise_accuracy").layout.xaxis.title.text == "pairwise accuracy"
    assert label_fractions(table, measure="average_mAP").layout.yaxis.title.text.startswith("mean average precision,")


def test_every_measure_of_a_task_has_a_name_in_words():
    assert len({name_of(task.measure) for task in TASKS.values()}) == len(TASKS)
    assert not any("_" in name_of(task.measure) for task in TASKS.values())
