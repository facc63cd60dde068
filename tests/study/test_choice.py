"""Rate, weights and steps are chosen on held-out labels: hand-made curves, what lives, and no test value."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data as data_sets
from aqa_lib import tasks
from aqa_lib.data import splits
from aqa_lib.errors import UserError
from aqa_lib.figures.rates import steps as figure_of
from aqa_lib.study import study as study_module
from aqa_lib.study.choice import best, curves, each, pooled, rate, settled, tried, weights
from aqa_lib.study.study import Study

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
BLOCKS = {"development": {"worlds": {"seed": 900}}}
QUICK = {"steps": 20, "batch": 8, "lr": 8e-3}
RATES = {"AA": {"lr": [2e-3, 8e-3]}}
WANTED = {"AA+MSFR": {"lambda1": [0, 10, 40]}, "mean_teacher": {"weight": [0, 0.1]}}


def made(errors, fraction=0.4, steps=(50, 100, 150), lives=(), dead=()):
    """The table of `curves` of {variant: errors [replicates, steps]}; a mechanism of those in `lives` or `dead`."""
    rows = []
    for variant, replicates in errors.items():
        state = "on" if variant in lives else "off" if variant in dead else None
        for draw, curve in enumerate(replicates):
            about = {"variant": variant, "fraction": fraction, "part": "all", "draw": draw}
            about |= {"lives": variant not in dead, "recovery_state": state}
            rows += [{**about, "step": step, "error": e} for step, e in zip(steps, curve, strict=True)]
    return pd.DataFrame(rows)


# ---- hand-made curves


def test_errors_are_pooled_over_worlds_as_geometric_means():
    table = made({"A": [[4.0, 1.0, 2.0], [16.0, 9.0, 2.0]]})
    assert pooled(table)["error"].tolist() == pytest.approx([8**0.5, 3**0.5, 2**0.5])
    row = best(table).iloc[0]
    assert (row["step"], row["replicates"]) == (150, 2) and row["error"] == pytest.approx(2**0.5)
    logs = np.log([4.0, 16.0])
    assert pooled(table)["se"][0] == pytest.approx(8**0.5 / 2 * logs.std(ddof=1) / 2**0.5)


def test_no_single_world_decides():
    """Two worlds are best at 100; in units a thousand times larger the third one's wish for 150 counts no more."""
    few = [[2.0, 1.0, 1.5], [2.0, 1.0, 1.5], [2.0, 1.5, 1.2]]
    for scale in (1.0, 1e3):
        table = made({"A": [*few[:2], [scale * e for e in few[2]]]})
        assert best(table)["step"].tolist() == [100]
    table = table.assign(error=np.where(table["draw"] == 2, table["error"], 1e-3 * table["error"]))
    assert table.groupby("step")["error"].mean().idxmin() == 150  # where an arithmetic mean would go


def test_within_is_paired():
    """The worlds differ by far more than the steps do, but all of them by the same share from step to step."""
    table = made({"A": [[1.2, 1.1, 1.0], [120.0, 110.0, 100.0]], "B": [[1.2, 0.8, 1.0], [1.2, 1.3, 1.0]]})
    assert best(table)["step"].tolist() == [150, 150] and best(table)["within"].tolist() == [150, 100]


def test_a_run_that_diverged_is_never_best():
    table = made({"A": [[np.inf, 1.0, 2.0], [1e-9, 1.0, 2.0]], "B": [[np.inf] * 3, [1.0] * 3]})
    found = best(table)
    assert found["step"][0] == 100 and pd.isna(found["step"][1]) and found["error"][1] == np.inf
    table = made({"A, lr 0.1": [[np.inf] * 3], "A, lr 0.2": [[3.0, 2.0, 4.0]], "A, lr 0.3": [[9.0] * 3]})
    chosen, rows = rate(table, {"A": {"lr": [0.1, 0.2, 0.3]}})
    assert chosen == 0.2 and rows["choice"].tolist() == ["", "chosen", ""]
    assert rows["pooled"].tolist() == pytest.approx([np.inf, 2**0.5, 3.0])


def test_one_rate_for_all_shares_and_an_edge_is_named():
    few = made({"A, lr 1": [[4.0] * 3], "A, lr 2": [[5.0] * 3]}, fraction=0.1)
    many = made({"A, lr 1": [[2.0] * 3], "A, lr 2": [[1.0] * 3]}, fraction=0.4)
    chosen, rows = rate(pd.concat([few, many]), {"A": {"lr": [1, 2]}})  # 4 x 2 against 5 x 1
    assert chosen == 2.0 and rows["choice"].tolist() == ["", "chosen, at the edge"]
    assert rows.loc[0, ["error at 0.1", "error at 0.4"]].tolist() == pytest.approx([2.0, 2**0.5])


def test_of_rates_that_cannot_be_told_apart_the_least_is_chosen():
    """Rate 1 is worse than 2 in both worlds alike; 2 and 3 differ by less than the worlds do."""
    wanted, curves = {"A": {"lr": [1, 2, 3]}}, {"A, lr 1": [4.0, 8.0], "A, lr 2": [2.0, 4.1], "A, lr 3": [2.1, 3.8]}
    chosen, rows = rate(made({title: [[v] * 3 for v in values] for title, values in curves.items()}), wanted)
    d = np.log([2.0 / 2.1, 4.1 / 3.8]) / 2  # of the roots
    assert rows["pooled"].idxmin() == 2 and chosen == 2.0
    assert rows.loc[1, ["more", "unsure"]].tolist() == pytest.approx([d.mean(), d.std(ddof=1) / 2**0.5])
    assert rows["choice"].tolist() == ["", "chosen", ""]


# ---- weights


CURVES = {"M, w 0": [[4.0, 2.0, 2.0]] * 2, "M, w 1": [[4.0, 3.0, 5.0]] * 2, "M, w 9": [[9.0, 1.0, 5.0]] * 2}
OF_M = {"M": {"w": [0, 1, 9]}}


def test_a_candidate_that_does_not_live_is_shown_and_not_chosen():
    table = made(CURVES, lives={"M, w 1"}, dead={"M, w 0", "M, w 9"})
    rows = weights(table, OF_M).set_index("candidate")
    assert rows["choice"].to_dict() == {"w 0": "off", "w 1": "chosen", "w 9": "does not live"}  # though 9 is best
    assert rows["states"].to_dict() == {"w 0": "recovery: 2 off", "w 1": "recovery: 2 on", "w 9": "recovery: 2 off"}
    use = settled(table, OF_M).iloc[0]
    assert (use["use"], use["steps"], use["off"], use["off is as good"]) == ("w 1", 100, "w 0", "yes")
    assert use["more"] == pytest.approx(np.log(3 / 2) / 2) and use["se"] == pytest.approx(0)
    alive = made(CURVES, lives={"M, w 1", "M, w 9"}, dead={"M, w 0"})
    use = settled(alive, OF_M).iloc[0]
    assert (use["use"], use["off is as good"]) == ("w 9", "no")


def test_off_is_as_good_unless_the_chosen_one_is_better_by_more_than_a_standard_error():
    of, flat = {"M": {"w": [0, 1]}}, [1.0, 1.0, 1.0]
    for errors, answer in [((0.9, 0.9, 1.1), "yes"), ((0.8, 0.9, 0.95), "no"), ((1.1, 1.2, 1.3), "yes"), ((0.8,), "-")]:
        table = made({"M, w 0": [flat] * len(errors), "M, w 1": [[e] * 3 for e in errors]}, lives={"M, w 1"})
        half = np.log(errors) / 2  # of the roots
        use = settled(table, of).iloc[0]
        assert use["more"] == pytest.approx(half.mean()) and use["off is as good"] == answer
        if len(errors) > 1:
            assert use["se"] == pytest.approx(half.std(ddof=1) / 3**0.5)
            assert (half.mean() >= -half.std(ddof=1) / 3**0.5) == (answer == "yes")
    assert settled(made({"M, w 1": [flat] * 2}, lives={"M, w 1"}), of).iloc[0]["off is as good"] == "-"


def test_where_none_lives_it_is_said():
    use = settled(made(CURVES, dead=set(CURVES)), OF_M).iloc[0]
    assert use["use"] == "none lives" and pd.isna(use["steps"]) and use["off is as good"] == "-"


def test_it_lives_in_most_worlds():
    table = made({"M, w 1": [[1.0] * 3] * 4}, lives={"M, w 1"})
    for dead, choice in [(1, "chosen"), (2, "does not live")]:
        some = table.assign(lives=table["draw"] >= dead)
        assert weights(some, {"M": {"w": [1]}})["choice"].tolist() == [choice]


def test_a_method_without_weights_has_its_steps_chosen():
    table = pd.concat([made({"M": [[3.0, 1.0, 2.0]]}, 0.4), made({"M": [[3.0, 2.0, 1.0]]}, 0.1)])
    use = settled(table, {"M": {}})
    assert use["use"].tolist() == ["-", "-"] and use["steps"].tolist() == [100, 150]


def test_the_figure_has_a_line_a_candidate_and_a_ring_at_the_choice():
    table = made(CURVES, lives={"M, w 1"}, dead={"M, w 9"})
    figure = figure_of(pooled(table), weights(table, OF_M))
    assert [t.line.dash for t in figure.data if t.mode == "lines+text"] == ["dash", "solid", "dot"]
    rings = [(t.x[0], t.y[0]) for t in figure.data if t.mode == "markers"]
    assert rings == [(100, pytest.approx(3**0.5))]


# ---- candidates


def test_candidates_are_variants_of_comparisons_and_ablations():
    variants = tried({**WANTED, "s4aqa": {}}, {"lr": 1e-3, "mean_teacher": {"drop": 0.2}})
    assert list(variants) == [*(t for t in each(WANTED)), "s4aqa"] and "AA+MSFR, lambda1 10" in variants
    own = {"lr": 1e-3, "recover": True, "align": False, "lambda1": 10}
    assert variants["AA+MSFR, lambda1 10"] == ("s4aqa", own) and variants["s4aqa"] == ("s4aqa", {"lr": 1e-3})
    assert variants["mean_teacher, weight 0.1"] == ("mean_teacher", {"lr": 1e-3, "drop": 0.2, "weight": 0.1})
    with pytest.raises(UserError, match="AA\\+MSFR"):
        tried({"AA+MSFRR": {}}, {})
    with pytest.raises(UserError, match="did you mean"):
        tried(WANTED, {"stepss": 3})


def test_what_cannot_be_chosen_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    with pytest.raises(UserError, match="held out"):
        curves(Study("try"), WORLD, tried(RATES, QUICK), BLOCKS, [0.4], 2, held=0.0)
    with pytest.raises(UserError, match="closed form"):
        curves(Study("try"), WORLD, tried({"ridge": {}}, {}), BLOCKS, [0.4], 2)


# ---- the runs, and that no test value enters


def choices(folder, monkeypatch, study=Study, world=WORLD):
    """(curves, rate, candidates, what is used) of small runs in a folder of their own."""
    monkeypatch.setenv("AQA_OUTPUTS", str(folder))
    monkeypatch.setattr(study_module, "LOADED", OrderedDict())
    aa = curves(study("try"), world, tried(RATES, QUICK), BLOCKS, [0.4], 2, every=5)
    lr, rates = rate(aa, RATES)
    table = curves(study("try"), world, tried(WANTED, {**QUICK, "lr": lr}), BLOCKS, [0.4], 2, every=5)
    return pd.concat([aa, table]), rates, weights(table, WANTED), settled(table, WANTED)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def strange_tests(load):
    """data.load, but test items have each other's scores, a thousandfold, and every third has none."""

    def loaded(name, root=None, **options):
        data = load(name, root, **options)
        items, scores = np.flatnonzero(data.table["split"] == "test"), data.scores.copy()
        scores[items] = 1e3 * np.random.default_rng(0).permutation(scores[items])
        scores[items[::3]] = np.nan
        return replace(data, scores=scores, judges=None, table=data.table.assign(score=scores))

    return loaded


class Strange(Study):
    """A study of which everything that its runs have measured on test videos is noise."""

    def corrupted(self, table):
        tests = ("spearman", "relative_l2", "pairwise_accuracy", "nll", "crps", "coverage_90", "ece")
        noise = np.random.default_rng(0)
        return table.assign(**{name: noise.normal(size=len(table)) for name in tests})

    def train(self, *args, **kw):
        return self.corrupted(super().train(*args, **kw))

    def read(self, id):
        record = super().read(id)
        nothing = record.predictions.assign(score=np.nan)
        return replace(record, curve=self.corrupted(record.curve), predictions=nothing, metrics={})


def test_every_replicate_is_a_world_and_errors_are_those_of_its_held_out_labels(tmp_path, monkeypatch):
    table, rates, rows, _ = choices(tmp_path, monkeypatch)
    assert list(table)[:7] == ["variant", "fraction", "part", "draw", "step", "error", "lives"]
    assert sorted(table["step"].unique()) == [5, 10, 15, 20] and len(table) == (2 + 5) * 2 * 4
    run = {**QUICK, "lr": 2e-3, "recover": False, "align": False, "fraction": 0.4, "draw": 1, "seed": 1}
    run |= {"validation": 0.25, "every": 5}
    alone = Study("alone")
    record = alone.read(alone.train("s4aqa", {**WORLD, "seed": 901}, runs=[run])["id"][0])
    options = {k: v for k, v in WORLD.items() if k != "name"}
    data = data_sets.load("surrogate", **options, seed=901)
    drawn = splits.label_draw(data, 0.4, 1, "stratified", splits.official(data))
    labels = tasks.get("scores").labels(data, splits.official(data), {**run, "how": "stratified"})
    assert set(drawn) == {*labels.train, *labels.validation} and len(labels.validation) == 6
    mine = table[(table["variant"] == "AA, lr 0.002") & (table["draw"] == 1)]
    wanted = record.curve["validation_mse"] / np.var(data.scores[drawn], ddof=1)
    assert mine["error"].to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-4)
    assert set(rows["candidate"]) == {"lambda1 0", "lambda1 10", "lambda1 40", "weight 0", "weight 0.1"}


def test_scores_of_test_videos_do_not_enter(tmp_path, monkeypatch):
    honest = choices(tmp_path / "a", monkeypatch)
    before = Study("try").rows(Study("try").ledger.ids())
    monkeypatch.setattr(data_sets, "load", strange_tests(data_sets.load))
    same(honest, choices(tmp_path / "b", monkeypatch))
    after = Study("try").rows(list(before["id"]))
    assert (before["relative_l2"] != after["relative_l2"]).all()  # they were other scores


def test_measures_of_test_videos_do_not_enter(tmp_path, monkeypatch):
    same(choices(tmp_path, monkeypatch), choices(tmp_path, monkeypatch, Strange))
