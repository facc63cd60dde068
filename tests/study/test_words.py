"""Verdicts, marks and sentences, against numbers worked by hand and scipy's tests."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aqa_lib.errors import UserError
from aqa_lib.study.summary import summary
from aqa_lib.study.tables import compare, label_runs, shows
from aqa_lib.study.words import listed, marked, mechanism, sentence, states, verdict, weakest

BASE = [0.50, 0.52, 0.54, 0.51, 0.55, 0.53]
SURE = [0.10, 0.11, 0.09, 0.10, 0.12, 0.10]  # differences: t = 25
NONE = [0.02, -0.02, 0.03, -0.03, 0.01, -0.02]
STEPS = [0.03, 0.01, 0.05, -0.01, 0.04, 0.03]  # mean .025, sd .0217: t = 2.82, p = .037 alone, .074 for two


def runs_of(variant, differences, base=BASE, **more):
    n = len(differences)
    found = {"variant": variant, "draw": range(n), "seed": range(n)}
    return pd.DataFrame(found | {"spearman": np.add(base[:n], differences)} | more)


def against(**variants):
    """The table of these variants, given by their differences from AA."""
    tables = [runs_of("AA", [0.0] * len(next(iter(variants.values()))))]
    return compare(pd.concat(tables + [runs_of(n, d) for n, d in variants.items()]), "variant", "AA")


# ---- verdicts


def test_the_four_verdicts():
    table = against(up=SURE, down=np.negative(SURE), same=NONE, gone=[np.nan] * 6)
    assert table["verdict"].to_dict() == {"AA": "baseline", "up": "beats", "down": "is worse than",
                                          "same": "cannot be told from", "gone": "cannot be compared with"}  # fmt: skip
    assert table["why"].tolist() == ["", "", "", "interval holds zero", "no pair"]
    assert verdict(table.loc["up"]) == "beats" and table.loc["up", "half 1"] == pytest.approx(0.1)
    assert table.loc["up", "half 2"] == pytest.approx(0.32 / 3)


def test_an_interval_beside_zero_is_not_enough_where_holm_objects():
    p = stats.ttest_1samp(STEPS, 0).pvalue
    assert 0.025 < p < 0.05
    assert against(a=STEPS).loc["a", "verdict"] == "beats"
    two = against(a=STEPS, b=NONE).loc["a"]
    assert two["difference low"] > 0 and two["p (Holm)"] == pytest.approx(2 * p)
    assert (two["verdict"], two["why"]) == ("cannot be told from", "not after Holm")


def test_both_halves_have_the_sign():
    """Mean .0485, sd .0590, n = 12: p = .016, but the first six draws have mean -.003."""
    d = [-0.01, 0.00, -0.01, 0.01, -0.01, 0.002] + [0.09, 0.10, 0.11, 0.09, 0.11, 0.10]
    tables = [runs_of("AA", [0.0] * 12, BASE * 2), runs_of("a", d, BASE * 2).iloc[::-1]]
    row = compare(pd.concat(tables), "variant", "AA").loc["a"]
    assert row["p (Holm)"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue) and row["p (Holm)"] < 0.05
    assert row["difference low"] > 0 and row["half 1"] == pytest.approx(-0.003)
    assert row["half 2"] == pytest.approx(0.1)
    assert (row["verdict"], row["why"]) == ("cannot be told from", "halves differ")


def test_halves_are_of_the_pairs_that_are_left():
    three = against(a=[0.10, 0.10, 0.11]).loc["a"]
    assert three["difference low"] > 0 and three["p (Holm)"] < 0.05 and np.isnan(three["half 1"])
    assert (three["verdict"], three["why"]) == ("cannot be told from", "fewer than 4 pairs")
    five = against(a=[0.1, np.nan, 0.3, 0.2, 0.4, 0.6]).loc["a"]
    assert (five["n"], five["half 1"], five["half 2"]) == pytest.approx((5, 0.2, 0.4))


def test_six_pairs_can_show_something_among_eight():
    """Wilcoxon's p of six pairs is 2 / 2^6 = .031 at least, times eight .25."""
    table = against(a=SURE, **{f"n{i}": NONE for i in range(7)})
    assert stats.wilcoxon(SURE).pvalue == pytest.approx(2 / 64)
    assert table.loc["a", "verdict"] == "beats"


def test_the_detectable_difference_is_found_with_its_chance():
    """Against the noncentral t distribution, at the first step of Holm's correction for two comparisons."""
    table = against(a=STEPS, b=NONE)
    for name, d in (("a", STEPS), ("b", NONE)):
        shift = table.loc[name, "detectable"] / np.std(d, ddof=1) * np.sqrt(6)
        edge = stats.t.ppf(1 - 0.025 / 2, 5)
        assert stats.nct.sf(edge, 5, shift) + stats.nct.cdf(-edge, 5, shift) == pytest.approx(0.8, abs=1e-6)
    low, high = sorted(f"{v:.3f}"[1:] for v in table["detectable"].dropna())
    assert shows(table) == f"With 6 pairs a difference of {low} to {high} is found with a chance of 80 %."
    assert shows(against(a=[0.1])).startswith("These runs can show no difference")
    assert np.isnan(against(a=[0.0] * 6).loc["a", "detectable"])


# ---- mechanisms


def with_states(*found, variant="AA+MSFR", **more):
    return pd.DataFrame(
        {"variant": variant, "recovery_state": found, "recovery_index": 0.5, "state": "complete"} | more
    )


@pytest.mark.parametrize(
    "n, off, is_marked", [(1, 1, True), (10, 0, False), (10, 1, True), (11, 1, False), (11, 2, True), (20, 2, False)]
)
def test_a_row_is_marked_by_how_often_its_mechanism_was_off(n, off, is_marked):
    rows = with_states(*["off"] * off, *["on"] * (n - off))
    assert marked(rows) == is_marked
    assert marked(rows.replace("off", "collapsed")) == is_marked and not marked(rows.replace("off", "weak"))
    assert not marked(rows.assign(control=True)) and mechanism(rows.assign(control=True)) == "control"


def test_what_a_mechanism_did_in_words():
    assert mechanism(with_states("on", "on")) == "recovery on"
    assert mechanism(with_states("weak", "weak")) == "recovery weak"
    three = with_states(*["off"] * 3, *["on"] * 8, "weak", alignment_state="on")
    assert mechanism(three) == "recovery off in 3 of 12, weak in 1 of 12; alignment on"
    assert mechanism(with_states(np.nan, np.nan)) == "" and not marked(with_states(np.nan, np.nan))
    failed = with_states("on", np.nan, "off")  # a run that failed has no state
    assert mechanism(failed) == "recovery off in 1 of 2"
    for title in ("S4AQA, control", "S4AQA, control, segments 8"):
        assert mechanism(with_states("off", variant=title)) == "control"
    assert mechanism(with_states("off", variant="control")) == "recovery off"


def test_a_mechanism_counts_in_every_run_of_a_row():
    """Eleven runs in six rows, as those of two worlds and one that failed; and as one run a row."""
    text = with_states("off", alignment_state="on").apply(states, axis=1).item()
    assert text == "recovery:off alignment:on"
    rows = pd.DataFrame(
        {"states": ["recovery:off; recovery:on"] + ["recovery:on; recovery:on"] * 4 + ["; recovery:on"]}
    )
    assert mechanism(rows) == "recovery off in 1 of 11" and not marked(rows)
    rows.loc[5, "states"] = "recovery:collapsed; "
    assert mechanism(rows) == "recovery collapsed in 1 of 11, off in 1 of 11" and marked(rows)
    assert weakest("a:on b:weak; a:off", "a:off; c:on") == "a:off b:weak; a:off c:on"


def test_a_marked_row_has_no_verdict_and_nothing_is_said_against_it():
    on, off = ["on"] * 6, ["on"] * 5 + ["off"]
    tables = {"AA": runs_of("", [0.0] * 6), "AA+MSFR": runs_of("", SURE, recovery_state=off)}
    table = compare(label_runs(tables), "variant", "AA")
    assert table.loc["AA+MSFR", "mechanism"] == "OFF: recovery off in 1 of 6"
    assert table.loc["AA+MSFR", ["verdict", "why"]].tolist() == ["cannot be compared with", "mechanism off"]
    assert sentence(table, "AA+MSFR", "AA") == "AA+MSFR's mechanism was off, so nothing follows for it."
    tables["S4AQA"] = runs_of("", np.add(SURE, STEPS), recovery_state=on)
    table = compare(label_runs(tables), "variant", "AA+MSFR")
    assert table["why"].to_dict()["S4AQA"] == "mechanism of the baseline off"
    assert sentence(table, "S4AQA", "AA+MSFR") == "The mechanism of AA+MSFR was off, so nothing follows for S4AQA."
    tables["AA+MSFR"]["recovery_state"] = on
    table = compare(label_runs(tables), "variant", "AA")
    assert table.loc["AA+MSFR", ["verdict", "mechanism"]].tolist() == ["beats", "recovery on"]
    assert "mechanism" not in against(a=SURE)


# ---- sentences


def worlds(**blocks):
    """A comparison's rows: {block: {variant: differences from AA}}, the states of a variant after a bar."""
    tables = []
    for block, variants in blocks.items():
        for fraction in (0.1, 0.4):
            for name, values in ({"AA": [0.0] * 6} | variants).items():
                values = values.get(fraction) if isinstance(values, dict) else values
                values, state = values if isinstance(values, tuple) else (values, "")
                where = {"data": "set", "block": block, "fraction": fraction, "states": state}
                counts = {"parts": 1, "undefined": 0, "failed": 0, "published": False}
                tables.append(runs_of(name, values).rename(columns={"spearman": "value"}).assign(**where, **counts))
    return pd.concat(tables, ignore_index=True)


def test_a_sentence_names_whom_a_variant_beats():
    variants = {"AA+MSFR": SURE, "AA+MSFR, control": np.add(SURE, NONE), "AA+RDA": np.negative(SURE)}
    table = summary(worlds(official=variants), "AA", also=["AA+MSFR, control", "AA+RDA"])
    said = sentence(table, "AA+MSFR", ["AA", "AA+MSFR, control"])
    assert said == "AA+MSFR beats AA and cannot be told from AA+MSFR, control."
    assert sentence(table, "AA+MSFR", ["AA", "AA+RDA"]) == "AA+MSFR beats AA and AA+RDA."
    assert sentence(table, "AA+RDA", "AA") == "AA+RDA is worse than AA."
    with pytest.raises(UserError, match="variant of this table"):
        sentence(table, "MSFR", "AA")
    with pytest.raises(UserError, match="baseline of this table"):
        sentence(table, "AA", "AA+MSFR")


def test_the_rarer_verdict_names_its_places():
    table = summary(worlds(official={"a": SURE}, free={"a": NONE}, new={"a": NONE}), "AA")
    assert sentence(table, "a", "AA") == "a beats AA (official), elsewhere cannot be told from it."
    shares = {0.1: NONE, 0.4: SURE}
    table = summary(worlds(official={"a": shares}, free={"a": shares}), "AA")
    assert sentence(table, "a", "AA") == "a beats AA (40% of labels), elsewhere cannot be told from it."
    table = summary(worlds(official={"a": shares}, free={"a": NONE}), "AA")
    assert sentence(table, "a", "AA") == "a beats AA (official, 40% of labels), elsewhere cannot be told from it."


def test_no_sentence_has_more_than_25_words():
    shares = {0.1: NONE, 0.4: SURE}
    title = "one variant that has a long title"
    blocks = {f"a block of many words {i}": {title: shares if i < 4 else NONE} for i in range(7)}
    table = summary(worlds(**blocks), "AA")
    said = sentence(table, title, "AA")
    assert said == f"{title} beats AA (in part), elsewhere cannot be told from it." and len(said.split()) <= 25
    many = {f"another that has a long title {i}": np.negative(SURE) for i in range(5)}
    table = summary(worlds(official={"a": SURE} | many), "AA", also=list(many))
    assert sentence(table, "a", ["AA", *many]) == "What a beats stands in the table."


def test_where_a_mechanism_was_off_a_sentence_says_only_that():
    off, on = "recovery:off", "recovery:on"
    table = summary(worlds(official={"a": (SURE, on)}, free={"a": (SURE, off)}), "AA")
    assert sentence(table, "a", "AA") == "a beats AA; elsewhere its mechanism was off."
    blocks = {name: {"a": (SURE, on), "b": (NONE, state)} for name, state in (("official", off), ("free", on))}
    table = summary(worlds(**blocks), "b", also="AA")
    assert sentence(table, "a", "b") == "a beats b; elsewhere the mechanism of b was off."
    assert sentence(table, "b", "AA") == "b cannot be told from AA; elsewhere its mechanism was off."
    variants = {"a": (SURE, on), "b": (NONE, off), "c": ([-x for x in SURE], "")}
    table = summary(worlds(official=variants), "AA", also=["b", "c"])
    assert sentence(table, "a", ["AA", "b", "c"]) == "a beats AA and c; the mechanism of b was off."


def test_names_are_joined():
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"], ["a", "b, control"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a and b, control",
    ]
