"""What is said of gains and their controls, and their figure, against numbers worked by hand and scipy's tests."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aqa_lib import methods
from aqa_lib.errors import UserError
from aqa_lib.figures.effects import recovered, three_effects
from aqa_lib.study.comparison import check
from aqa_lib.study.effects import apart, credited, effects, over_controls, tally, with_controls
from aqa_lib.study.summary import joined, standing, summary
from aqa_lib.study.variants import by_name, common, labels_alone
from aqa_lib.study.words import BEATS, NONE, WORSE
from aqa_lib.study.words import SAME as UNTOLD

BASE = np.array([0.50, 0.52, 0.54, 0.51, 0.55, 0.53])
UP = np.array([0.10, 0.11, 0.09, 0.10, 0.12, 0.10])  # differences: t = 25
SAME = np.array([0.02, -0.02, 0.03, -0.03, 0.01, -0.02])
NEAR = np.array([0.08, 0.01, 0.03, 0.05, 0.07, 0.01])  # p of about .02, above zero in both halves
ON, OFF = "recovery:on", "recovery:off"


def found_of(block="official", fraction=0.4, state=ON, **gains):
    """AA and, by title, what it and its control have above AA; `state` of the mechanism of all but the controls."""
    rows = [("AA", BASE, "")]
    for title, (own, control) in gains.items():
        rows += [(title, BASE + own, state), (f"{title}, control", BASE + control, ON)]
    tables = [pd.DataFrame({"variant": v, "draw": range(6), "seed": range(6), "value": x, "states": s})
              for v, x, s in rows]  # fmt: skip
    more = {
        "data": "set",
        "published": True,
        "block": block,
        "fraction": fraction,
        "parts": 1,
        "undefined": 0,
        "failed": 0,
    }
    return pd.concat(tables, ignore_index=True).assign(**more)


BOTH = found_of(a=(UP, SAME), b=(UP, UP + SAME))


def test_the_gain_is_the_mechanism_and_the_second_task():
    table = effects(BOTH, "AA").set_index(["variant", "effect"])
    for title in ("a", "b"):
        gain, mechanism, task = (table.loc[(title, e), "difference"] for e in ("gain", "mechanism", "second task"))
        assert gain == pytest.approx(mechanism + task)
    p = [stats.ttest_1samp(d, 0).pvalue for d in (UP - SAME, -SAME)]
    assert table["p (Holm)"]["a", "mechanism"] == pytest.approx(2 * p[0])
    assert table["p (Holm)"]["b", "mechanism"] == pytest.approx(p[1])


def test_each_variant_may_have_a_baseline_of_its_own():
    table = effects(BOTH, {"a": "AA", "b": "a"}).set_index(["variant", "effect"])["difference"]
    assert table["a", "gain"] == pytest.approx(UP.mean()) and table["b", "gain"] == pytest.approx(0)
    assert table["b", "second task"] == pytest.approx(SAME.mean())
    assert table["b", "mechanism"] == pytest.approx(-SAME.mean())


def test_a_gain_is_credited_to_the_mechanism_only_over_the_control():
    table = effects(BOTH, "AA")
    names = {"a": "recovery", "b": "alignment"}
    first = "Recovery beats AA and its control; alignment beats AA but cannot be told from its control."
    assert credited(table, "AA", names) == first
    assert credited(table, "AA", {"b": "b"}) == "B beats AA but cannot be told from its control."
    none = effects(found_of(a=(SAME, 2 * SAME), b=(-UP, -UP - UP)), "AA")
    assert credited(none, "AA", {"a": "a"}) == "A cannot be told from AA or its control."
    assert credited(none, "AA", {"b": "b"}) == "B is worse than AA and beats its control."
    alike = effects(found_of(a=(UP, SAME), b=(UP, SAME)), "AA")
    assert credited(alike, "AA", names) == "Recovery and alignment beat AA and their controls."
    worse = effects(found_of(a=(-UP, SAME), b=(-UP, SAME)), "AA")
    assert credited(worse, "AA", names) == "Recovery and alignment are worse than AA and their controls."
    assert credited(table, "AA", {}) == "No variant has a control, so no gain is credited."
    with pytest.raises(UserError, match="variant of this table"):
        credited(table, "AA", {"c": "c"})


def test_nothing_is_credited_where_the_mechanism_was_off():
    table = effects(found_of(a=(UP, SAME), state=OFF), "AA")
    assert credited(table, "AA", {"a": "recovery"}) == "The mechanism of recovery was off."
    free = found_of("free", a=(UP, UP + SAME))
    assert credited(effects(pd.concat([found_of(a=(UP, SAME), state=OFF), free]), "AA"), "AA", {"a": "a"}) == (
        "A beats AA but cannot be told from its control (elsewhere off)."
    )
    assert over_controls(table) == ""


def test_places_where_verdicts_differ_are_named_while_there_is_room():
    two = pd.concat([BOTH, found_of("free", a=(SAME, UP), b=(UP, UP + SAME))])
    said = credited(effects(two, "AA"), "AA", {"a": "a"})
    gain = "beats AA (official), elsewhere cannot be told from it"
    assert said == f"A {gain}, and is worse than its control (free), elsewhere beats it."
    long = {"a": "a variant with a rather long title", "b": "another variant with a title that is longer"}
    said = credited(effects(two, "AA"), "AA", long)
    assert said == (
        "The variants beat AA in part; they beat their controls in part and are worse than their controls in part."
    )


def test_verdicts_together():
    assert tally({BEATS}, "AA") == "beats AA everywhere"
    assert tally({BEATS, UNTOLD}, "AA") == "beats AA in part"
    assert tally({WORSE, UNTOLD}, "AA") == "is worse than AA in part and nowhere beats it"
    assert tally({BEATS, WORSE}, "their controls", True) == (
        "beat their controls in part and are worse than their controls in part"
    )
    assert tally({WORSE, NONE}, "their controls", True) == (
        "are worse than their controls in part and nowhere beat them"
    )
    assert tally({UNTOLD}, "AA") == "cannot be told from AA everywhere"
    assert tally(set(), "AA") == "cannot be compared with AA"


def test_who_beats_its_control_closes_the_standing():
    table = effects(BOTH, "AA")
    assert over_controls(table) == "over their controls: a"
    assert over_controls(table[table["variant"] == "a"]) == "a beats its control"
    assert over_controls(table[table["variant"] == "b"]) == "b does not beat its control"
    assert (
        over_controls(effects(found_of(a=(SAME, SAME - SAME), b=(UP, UP - SAME)), "AA")) == "over their controls: none"
    )
    assert over_controls(effects(BOTH[BOTH["variant"] == "AA"], "AA")) == ""
    part = pd.concat([BOTH, found_of("free", a=(UP, UP), b=(UP, UP))])
    assert over_controls(effects(part, "AA")) == "over their controls: a in part"
    result = summary(BOTH, "AA")
    assert standing(result, "AA", close="over its control: a") == "A and b beat AA; over its control: a."


def test_a_method_that_was_off_everywhere_is_listed_once():
    live = pd.concat([found_of(a=(UP, SAME)), found_of("free", a=(UP, SAME))])
    dead = pd.concat([found_of(c=(UP, SAME), state=OFF), found_of("free", c=(UP, SAME), state=OFF)])
    table = summary(pd.concat([live, dead[dead["variant"] != "AA"]]), "AA")
    left, off = apart(table)
    assert set(left["variant"]) == {"AA", "a", "a, control"} and len(left) == 6
    assert off[["variant", "mechanism"]].to_numpy().tolist() == [["c", "OFF: recovery off"]]
    whole = with_controls(left, effects(live, "AA"), off)
    assert whole["variant"].tolist().count("c") == 1 and len(whole) == 7
    once = pd.concat([found_of(a=(UP, SAME), state=OFF), found_of("free", a=(UP, SAME))])
    assert apart(summary(once, "AA"))[1].empty  # off in one block alone
    plain = summary(BOTH.assign(states=""), "AA")
    assert apart(plain)[0]["variant"].tolist() == plain["variant"].tolist()


def test_the_difference_from_the_control_stands_in_the_row():
    found = found_of(fraction=1 / 3, a=(UP, SAME))
    row = with_controls(summary(found, "AA"), effects(found, "AA")).set_index("variant")
    assert row["less its control"]["a"] == pytest.approx((UP - SAME).mean(), abs=1e-6)
    assert row["verdict, less its control"]["a"] == "beats" and np.isnan(row["less its control"]["AA"])


def test_the_sentence_and_its_table_have_one_family():
    """One gain with p of about .02: among the five variants of its block Holm's p is above .05, among gains it is not.

    In a second table many gains are tested in many blocks, and the block alone would say more than the sentence.
    """
    p = stats.ttest_1samp(NEAR, 0).pvalue
    assert 0.05 / 4 < p < 0.05
    found = found_of(a=(NEAR, SAME))
    guesses = [found_of().assign(variant=f"guess {n}", value=BASE + SAME[::-1] * n) for n in (1, 2, 3)]
    found = pd.concat([found, *guesses])
    gains, result = effects(found, "AA"), summary(found, "AA")
    shown = with_controls(result, gains).set_index("variant")
    assert result.set_index("variant")["verdict"]["a"] == "cannot be told from"  # of five comparisons
    assert shown["verdict"]["a"] == "beats" and shown["why"]["a"] == ""
    assert shown["p (Holm)"]["a"] == pytest.approx(p, abs=1e-6)
    assert credited(gains, "AA", {"a": "a"}).startswith("A beats AA")
    assert standing(shown.reset_index(), "AA") == "A beats AA."
    others = result.set_index("variant").drop("a")["p (Holm)"]
    pd.testing.assert_series_equal(shown["p (Holm)"][others.index], others)  # of these there is no gain

    blocks = pd.concat([found_of(name, a=(NEAR, SAME)) for name in "uvw"])  # the other way about
    gains, result = effects(blocks, "AA"), summary(blocks, "AA")
    assert set(result.loc[result["variant"] == "a", "verdict"]) == {"beats"}
    shown = with_controls(result, gains)
    assert set(shown.loc[shown["variant"] == "a", "verdict"]) == {"cannot be told from"}
    assert credited(gains, "AA", {"a": "a"}).startswith("A cannot be told from AA")


def test_a_gain_on_a_second_baseline_has_the_verdict_of_the_gain():
    found = pd.concat([found_of(name, a=(NEAR, SAME)) for name in "uvw"])
    result, gains = summary(found, "a, control", also="AA"), effects(found, "AA")
    shown, before = (t[t["variant"] == "a"] for t in (with_controls(result, gains), result))
    assert set(before["verdict, less AA"]) == {"beats"} and set(shown["verdict, less AA"]) == {"cannot be told from"}
    p = gains.loc[gains["effect"] == "gain", "p (Holm)"].to_numpy()
    assert shown["p (Holm), less AA"].to_numpy() == pytest.approx(p, abs=1e-6)
    assert shown["verdict"].tolist() == before["verdict"].tolist()  # less the control: no gain


def test_sentences_are_joined_while_they_have_25_words():
    ten, twelve = " ".join(["one"] * 10), " ".join(["two"] * 12)
    assert joined(ten, twelve) == f"{ten} {twelve}"
    assert joined(ten, twelve, ten) == f"{ten} The rest stands in the table."
    assert joined(twelve, twelve, "three") == f"{twelve} {twelve} three"


# ---- variants


def test_gains_are_measured_from_the_variant_that_learns_from_labels_alone():
    variants = by_name(["ridge", "s4aqa"], {"steps": 5})
    assert labels_alone(variants, "s4aqa") == "AA"
    assert labels_alone(by_name(["ridge", "vat"], {}), "vat") == "VAT"  # none: the reference


def test_settings_of_one_variant_are_nobody_elses(monkeypatch):
    shared = {"steps": 5, "AA": {"steps": 9}, "AA+MSFR": {"steps": 7}, "vat": {"eps": 1.0}, "how": "random"}
    assert common(shared) == {"steps": 5, "how": "random"}
    asked, get = set(), methods.get
    monkeypatch.setattr(methods, "get", lambda name: asked.add(name) or get(name))
    found = by_name(["s4aqa"], shared)
    assert asked == {"s4aqa"}  # an answer depends on what it has imported
    assert found["AA"][1]["steps"] == 9 and found["S4AQA"][1]["steps"] == 5


def test_a_notebook_may_set_versions_apart_and_name_controls():
    given = {"data": "surrogate", "options": {"size": "quick"}, "blocks": {"a": {}}, "method": "s4aqa", "steps": 20}
    check(given | {"settings": {"mask 2 segments": {"steps": 9}}})  # `versions` knows these titles, in the notebook
    check(given | {"methods": ["ridge"], "controls": ["S4AQA"]})
    with pytest.raises(UserError, match="S4AQA"):
        check(given | {"methods": ["ridge"], "controls": ["S4AQ"]})


# ---- figures


def test_the_figure_shows_each_effect_and_opens_the_marks_of_what_was_off():
    free = found_of("free", a=(SAME, UP), b=(UP, SAME), state=OFF)
    table = effects(pd.concat([BOTH, free]), "AA")
    figure = three_effects(table, "title", surrogate=True)
    drawn = [t for t in figure.data if not t.showlegend and t.x[0] is not None]
    assert len(drawn) == 2 * 3 and [t.name for t in drawn[:3]] == ["gain", "mechanism", "second task"]
    assert [t.x[0] for t in drawn[:3]] == pytest.approx([UP.mean(), (UP - SAME).mean(), SAME.mean()])
    low = drawn[1].x[0] - drawn[1].error_x.arrayminus[0]
    assert low == pytest.approx(stats.ttest_1samp(UP - SAME, 0).confidence_interval().low)
    assert all("open" not in s for s in drawn[0].marker.symbol) and all("open" in s for s in drawn[3].marker.symbol)
    ticks = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    assert [ticks[round(y)] for y in drawn[1].y] == ["a", "b"]
    panels = [note.text for note in figure.layout.annotations]
    assert panels == ["40% of the labels, official", "40% of the labels, free", "surrogate"]
    legend = [t.name for t in figure.data if t.x[0] is None]
    assert legend == ["gain (less AA)", "mechanism (less its control)", "second task (the control less AA)"]
    assert not three_effects(table.iloc[:0]).data


def test_one_recovery_is_drawn_segment_by_segment():
    figure = recovered([0.1, 0.2], [0.3, np.nan], "a video", surrogate=False)
    own, other = figure.data
    assert list(own.x) == [1, 2] and list(own.y) == [0.1, 0.2] and other.y[0] == 0.3 and np.isnan(other.y[1])
