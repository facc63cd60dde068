"""Comparisons over blocks and parts: the same draws for all, averages as published, tables that say what they hold."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import ours
from jigsaws_release import release
from scipy.stats import rankdata, spearmanr

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data import splits
from aqa_lib.data.splits import label_draw, leak_free
from aqa_lib.errors import UserError
from aqa_lib.evaluation.selection import best_test
from aqa_lib.published.tables import figures_published
from aqa_lib.study import study as study_module
from aqa_lib.study.comparison import COLUMNS, averaged, check, compare_variants, pooled, reported
from aqa_lib.study.parts import Part, parts_of
from aqa_lib.study.study import Study, loaded
from aqa_lib.study.summary import summary
from aqa_lib.study.variants import by_name, check_method, check_methods

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
BLOCKS = {"official": {"split": "official"}, "leak-free": {"split": "leak_free"}}
TASKS = ["Suturing", "Needle_Passing", "Knot_Tying"]
QUICK = {"steps": 20, "batch": 8}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    return Study("explore")


# ---- the comparison


def test_every_variant_has_the_same_draws_and_its_own_number(study):
    """Against a run asked for alone, and against a guess made by hand from the labels of that draw."""
    variants = {"ridge": ("ridge", {}), "no video: difficulty": ("guess_difficulty", {})}
    variants["AA"] = ("s4aqa", {**QUICK, "recover": False, "align": False})
    runs = compare_variants(study, WORLD, variants, BLOCKS, [0.2, 0.4], draws=2)
    assert list(runs) == COLUMNS and len(runs) == 3 * 2 * 2 * 2 and set(runs["measure"]) == {"spearman"}
    assert set(runs["split"]) == {"official", "leak_free"} and set(runs["data"]) == {"surrogate"}
    found = averaged(runs)
    assert len(found) == len(runs) and found["value"].notna().all()
    assert (found["seed"] == found["draw"]).all() and (found["parts"] == 1).all()
    row = found.set_index(["block", "variant", "fraction", "draw"])["value"]
    run = {**QUICK, "recover": False, "align": False, "fraction": 0.4, "draw": 1, "seed": 1}
    alone = Study("alone").train("s4aqa", WORLD, "leak_free", [run])
    assert row["leak-free", "AA", 0.4, 1] == pytest.approx(alone["spearman"][0], abs=1e-6)

    options = {k: v for k, v in WORLD.items() if k != "name"}
    data = data_sets.load("surrogate", **options)
    split = leak_free(data)
    labelled = label_draw(data, 0.2, 1, "stratified", split)
    slope = np.polyfit(data.difficulty[labelled], data.scores[labelled], 1)[0]
    rho = spearmanr(slope * data.difficulty[split.test], data.scores[split.test]).statistic
    assert row["leak-free", "no video: difficulty", 0.2, 1] == pytest.approx(rho)


def counted(monkeypatch):
    """A list that gets (method, runs) of every call of Study.train, and one of the runs of every network that is built:
    first one alone, to see how many fit and whether one does, then the stacks."""
    calls, stacks, train, build = [], [], Study.train, methods.get("s4aqa").build

    def asked(self, method, data, split, runs, **options):
        calls.append((method, len(runs)))
        return train(self, method, data, split, runs, **options)

    monkeypatch.setattr(Study, "train", asked)
    monkeypatch.setattr(methods.get("s4aqa"), "build", lambda runs, data: stacks.append(len(runs)) or build(runs, data))
    return calls, stacks


def test_all_runs_of_a_method_are_asked_for_at_once(study, monkeypatch):
    """Over variants, blocks, worlds, fractions and draws: one call a method, and the worlds share a stack."""
    calls, stacks = counted(monkeypatch)
    blocks = {"worlds": {"parts": {"seed": [0, 1, 2]}}, "leak-free": {"split": "leak_free"}}
    variants = by_name(["ridge", "s4aqa"], QUICK) | {"twin": ("s4aqa", {**QUICK, "lambda1": 3.0})}
    runs = compare_variants(study, WORLD, variants, blocks, [0.2, 0.4], draws=[(0, 5), (1, 6)])
    assert calls == [("ridge", 4 * 2 * 2), ("s4aqa", 3 * 4 * 2 * 2)]
    assert max(stacks) >= 2 * 4 * 2 * 2  # what trains all terms, on three worlds and two splits
    assert set(study.ledger.table()["seed"]) == {5, 6}
    assert list(runs["part"].unique()) == ["0", "1", "2", ""]
    one = {**QUICK, "fraction": 0.4, "draw": 1, "seed": 6}
    alone = Study("alone").train("s4aqa", {**WORLD, "seed": 2}, "official", [one])["spearman"][0]
    at = runs[(runs["part"] == "2") & (runs["variant"] == "S4AQA") & (runs["draw"] == 1) & (runs["fraction"] == 0.4)]
    assert at["value"].item() == alone


def test_other_measures_of_the_runs_can_be_asked_for(study):
    block = {"worlds": {"parts": {"seed": [0, 1]}}}
    runs = compare_variants(study, WORLD, by_name(["ridge"], {}), block, [0.4], 1, measures=["relative_l2"])
    values = runs.set_index(["measure", "part"])["value"]
    assert averaged(runs)["value"].item() == pytest.approx(np.tanh(np.arctanh(values["spearman"]).mean()))
    assert averaged(runs, "relative_l2")["value"].item() == pytest.approx(values["relative_l2"].mean())
    with pytest.raises(UserError, match="relative_l2"):
        averaged(runs, "relative_l1")
    with pytest.raises(UserError, match="relative_l2"):
        compare_variants(study, WORLD, by_name(["ridge"], {}), block, [0.4], 1, measures=["relative_l1"])


def test_a_data_set_says_what_its_tables_compare(study, tmp_path):
    pairs = np.array([[31, 30], [33, 32], [35, 34], [37, 36]])
    path = ours(tmp_path, measure="pairwise_accuracy", pairs=pairs)
    blocks = {"a": {"parts": {}}}
    runs = compare_variants(study, {"name": "file"}, by_name(["ridge"], {}), blocks, [0.4], 2, root=path)
    assert set(runs["measure"]) == {"pairwise_accuracy"} and set(runs["value"]) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_rule_is_recomputed_from_each_runs_curve(study):
    variants = by_name(["ridge", "pi_model"], {**QUICK, "every": 4})
    last, best = (
        averaged(compare_variants(study, WORLD, variants, {"o": {}}, [0.4], 2, rule=r)) for r in ("last", "best_test")
    )
    table = study.train("pi_model", WORLD, runs=[{**variants["Pi-model"][1], "fraction": 0.4, "draw": 1, "seed": 1}])
    curve = study.read(table["id"][0]).curve
    mine = best[(best["variant"] == "Pi-model") & (best["draw"] == 1)]["value"].item()
    assert len(curve) == 5 and mine == best_test(curve).value == max(curve["spearman"])
    same = [t[t["variant"] == "ridge"]["value"].tolist() for t in (last, best)]
    assert same[0] == same[1]  # one evaluation, nothing to pick
    with pytest.raises(UserError, match="best_test"):
        compare_variants(study, WORLD, variants, {"o": {}}, [0.4], 2, rule="best")


FOLDS = {"split": ["official", "leak_free"], "parts": {"seed": [0, 1]}}


def runs_in(study, method="pi_model"):
    """{(seed of the world, split): record} of the complete runs of a method."""
    table = study.ledger.table()
    table = table[table["method"] == method]
    return {(row["data.seed"], row["split"]): study.read(row["id"]) for _, row in table.iterrows()}


@pytest.mark.parametrize("rule", ["best_test", "best_consecutive"])
def test_a_rule_is_picked_on_the_mean_curve_of_a_parts_folds(study, rule):
    variants = by_name(["pi_model"], {**QUICK, "every": 1})
    runs = compare_variants(study, WORLD, variants, {"b": FOLDS}, [0.4], 1, rule=rule)
    records = runs_in(study)
    width = {"best_test": 1, "best_consecutive": 10}[rule]
    for seed in (0, 1):
        curves = [records[seed, split].curve["spearman"].to_numpy() for split in FOLDS["split"]]
        mean = np.convolve(np.mean(curves, axis=0), np.ones(width) / width, mode="valid")
        at = slice(mean.argmax(), mean.argmax() + width)
        mine = runs[runs["part"] == str(seed)].set_index("split")["value"]
        assert mine[FOLDS["split"]].tolist() == pytest.approx([curve[at].mean() for curve in curves])


def test_a_pooled_block_joins_the_predictions_of_a_parts_folds(study):
    """One correlation a part, of all predictions together, without another run; by a rule, on the joined curve."""
    blocks = {"folds": FOLDS, "pooled": {**FOLDS, "pool": True}}
    variants = by_name(["pi_model", "ridge"], {**QUICK, "every": 5})
    runs = compare_variants(study, WORLD, variants, blocks, [0.4], 1, measures=["relative_l2"])
    assert len(study.ledger.table()) == 2 * 4  # the two blocks are the same runs
    joined = runs[(runs["block"] == "pooled") & (runs["variant"] == "Pi-model")]
    assert len(joined) == 2 * 2 and set(joined["split"]) == {"official + leak_free"}
    z, records = [], runs_in(study)
    for seed in (0, 1):
        table = pd.concat([records[seed, split].predictions for split in FOLDS["split"]])
        rho = {step: spearmanr(table[f"step_{step}"], table["score"]).statistic for step in (5, 10, 15, 20)}
        of = joined[joined["part"] == str(seed)].set_index("measure")["value"]
        assert of["spearman"] == pytest.approx(rho[20])
        assert of["relative_l2"] > 0
        z.append(np.arctanh(rho[20]))
        best = compare_variants(study, WORLD, variants, {"p": blocks["pooled"]}, [0.4], 1, rule="best_test")
        best = best[(best["variant"] == "Pi-model") & (best["part"] == str(seed))]["value"].item()
        assert best == pytest.approx(max(rho.values()))
    found = averaged(runs).set_index(["block", "variant"])
    assert found.loc[("pooled", "Pi-model"), "value"] == pytest.approx(np.tanh(np.mean(z)))
    assert found.loc[("pooled", "Pi-model"), "parts"] == 2 and found.loc[("folds", "Pi-model"), "parts"] == 4


def test_within_folds_and_pooled_are_two_questions():
    """By hand: each fold in perfect order, but the second's scores, all higher, are predicted below the first's."""
    data = data_sets.load("surrogate", n_train=20, n_test=10, D=4)
    order = np.argsort(data.scores)
    low, high = order[:3], order[-3:]

    class Given:
        def read(self, id):
            items = {"a": low, "b": high}[id]
            score = {"a": [5, 6, 7], "b": [1, 2, 3]}[id]
            table = pd.DataFrame({"id": data.ids[items], "score": data.scores[items], "step_9": score})
            return type("Record", (), {"curve": pd.DataFrame({"step": [9], "spearman": [1.0]}), "predictions": table})

    parts = [
        Part("b", "", {}, name, (), data, splits.Split(name, order, items)) for name, items in (("x", low), ("y", high))
    ]
    runs = [pd.Series({"id": id, "state": "complete", "method": "m", "spearman": 1.0}) for id in "ab"]
    assert reported(Given(), runs, "last", ["spearman"]) == [[(1.0, False, ((),))]] * 2
    ranks = [4, 5, 6, 1, 2, 3]  # of the predictions, in the order of the scores 1..6: 1 - 6 * 54 / (6 * 35)
    assert spearmanr(ranks, range(6)).statistic == pytest.approx(1 - 6 * 54 / 210)
    assert pooled(Given(), parts, runs, "last", ["spearman"]) == [(pytest.approx(1 - 6 * 54 / 210), False, ((), ()))]
    runs[1]["state"] = "failed"
    assert pooled(Given(), parts, runs, "last", ["spearman"])[0][1]


def test_a_block_says_whether_published_numbers_belong_to_it(study):
    def marks(**blocks):
        runs = compare_variants(study, WORLD, by_name(["ridge"], {}), blocks, [0.4], 1)
        return averaged(runs).groupby("block", sort=False)["published"].all().tolist()

    assert marks(a={"split": "leak_free"}, b={"split": "official"}, c={}) == [False, True, True]
    assert marks(a={"split": "leak_free", "published": True}, b={"published": False}) == [True, False]
    with pytest.raises(UserError, match="pool takes bool .default False., but got str .yes."):
        parts_of(WORLD, {"a": {"pool": "yes"}})


def test_pairs_and_actions_have_no_pooled_predictions(study):
    variants = {"given": ("rankup", {})}
    parts = parts_of(WORLD, {"a": {"pool": True}})
    check_methods(variants, parts)  # of scores
    method = type("Ordered", (type(methods.get("rankup")),), {"task": "pairs"})()
    with pytest.raises(UserError, match="pool joins predicted scores, and method .* learns pairs"):
        check_method(method, {}, parts)


def test_a_failed_run_and_an_undefined_guess_are_counted_and_have_no_number(study):
    variants = {"wild": ("s4aqa", {**QUICK, "lr": 1e12}), "no video: group mean": ("guess_group_mean", {})}
    found = averaged(compare_variants(study, WORLD, variants, BLOCKS, [0.4], 1)).set_index(["variant", "block"])
    assert found["failed"].tolist() == [1, 0, 1, 0] and found["value"].isna().tolist() == [True, False, True, True]
    # no competition of the test part is known
    assert found.loc[("no video: group mean", "leak-free"), "undefined"] == 1
    table = summary(found.reset_index(), "wild")
    assert table["failed"].tolist() == [1, 0, 1, 0] and "undefined" in table


def rows(values, measure="spearman"):
    """The long table of one run from [(part, value, failed)], a fold each."""
    found = [
        ("set", "b", False, part, f"fold:k/{i}", "a", 0.5, 0, 0, measure, value, failed, "")
        for i, (part, value, failed) in enumerate(values)
    ]
    return pd.DataFrame(found, columns=COLUMNS[:-3])


def test_folds_are_averaged_arithmetically_and_tasks_through_fisher():
    four = [("S", 0.2, False), ("S", 0.6, False), ("K", 0.9, False), ("K", np.nan, False)]
    found = averaged(rows(four)).iloc[0]
    assert (found["S"], found["K"]) == pytest.approx((0.4, 0.9))
    assert found["value"] == pytest.approx(np.tanh((np.arctanh(0.4) + np.arctanh(0.9)) / 2))
    assert (found["parts"], found["undefined"], found["failed"]) == (4, 1, 0)
    gone = averaged(rows([("S", 0.2, False), ("K", np.nan, False), ("K", np.nan, False)])).iloc[0]
    assert np.isnan(gone["value"]) and gone["undefined"] == 2 and gone["S"] == 0.2
    failed = averaged(rows([("", 0.2, False), ("", np.nan, True)])).iloc[0]
    assert np.isnan(failed["value"]) and (failed["undefined"], failed["failed"]) == (0, 1)
    one = averaged(rows([("", 0.2, False), ("", 0.7, False)]))
    assert one["value"].tolist() == pytest.approx([0.45]) and "" not in one


def test_the_states_of_all_runs_of_a_row_are_kept():
    two = rows([("S", 0.2, False), ("K", 0.6, False)]).assign(states=["recovery:on", "recovery:off"])
    assert averaged(two)["states"].tolist() == ["recovery:on; recovery:off"]
    assert averaged(two.assign(states=""))["states"].tolist() == [""]


def test_a_comparison_keeps_the_states_that_runs_record(study, monkeypatch):
    train = Study.train

    def recorded(self, method, data, split, runs, **options):
        table = train(self, method, data, split, runs, **options)
        return table.assign(recovery_state=["on", "off"]) if method == "ridge" else table

    monkeypatch.setattr(Study, "train", recorded)
    variants = {"ridge": ("ridge", {}), "no video: difficulty": ("guess_difficulty", {})}
    runs = compare_variants(study, WORLD, variants, {"o": {}}, [0.4], 2, measures=["relative_l2"])
    assert runs[runs["variant"] == "ridge"]["states"].tolist() == ["recovery:on"] * 2 + ["recovery:off"] * 2
    table = summary(averaged(runs), "ridge").set_index("variant")
    assert table["mechanism"].tolist() == ["OFF: recovery off in 1 of 2", ""]
    assert set(table["why"].drop("ridge")) == {"mechanism of the baseline off"}


def test_measures_that_are_no_correlations_are_averaged_arithmetically():
    """An error of 4 has no Fisher's z; a share of pairs in order is not a correlation either."""
    for measure in ("relative_l2", "pairwise_accuracy", "average_mAP"):
        found = averaged(rows([("S", 0.5, False), ("S", 0.7, False), ("K", 4.0, False)], measure))
        assert found["value"].item() == pytest.approx((0.6 + 4.0) / 2)
    assert np.isnan(averaged(rows([("S", 0.5, False), ("K", np.nan, False)], "relative_l2"))["value"].item())


def test_published_averages_of_three_tasks_come_out():
    """Table III's tasks give its average column."""
    beside = figures_published("methods", "jigsaws")
    for found in beside.values():
        tasks = [found[task] for task in ("suturing", "needle passing", "knot tying")]
        mine = averaged(rows([(str(i), rho, False) for i, rho in enumerate(tasks)]))["value"].item()
        assert mine == pytest.approx(found[""], abs=6e-4)


def test_epochs_are_passes_over_the_unlabelled_videos_of_the_part(study):
    """60 training videos, 18 or 6 of them labelled: 42 and 54 are 6 and 7 batches of 8."""
    variants = {"AA": ("s4aqa", {"epochs": 2, "batch": 8, "recover": False, "align": False})}
    compare_variants(study, WORLD, variants, {"official": {"fractions": [0.3, 0.1]}}, [0.2], 1)
    table = study.ledger.table().set_index("fraction")["steps"]
    assert table.to_dict() == {0.3: 12, 0.1: 14}


# ---- JIGSAWS, in the layout of its release


@pytest.fixture(scope="module")
def jigsaws(tmp_path_factory):
    """Three tasks of four surgeons and two trials each, and folds that mix the surgeons."""
    root, fours = tmp_path_factory.mktemp("jigsaws"), {}
    for task in TASKS:
        release(root, task)
        (root / task / "kinematics" / "AllGestures" / f"{task}_D009.txt").unlink(missing_ok=True)
        fours[task] = [[f"{task}_{a}001", f"{task}_{b}002"] for a, b in ("BC", "CD", "DE", "EB")]
    (root / "four_fold.json").write_text(json.dumps(fours))
    return root


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:jigsaws leaves out")
def test_the_config_for_jigsaws_runs_over_tasks_and_folds(study, jigsaws, repository, monkeypatch):
    """The blocks of the config, against each part trained by itself and the formula of the average."""
    config = yaml.safe_load((repository / "configs" / "jigsaws.yaml").read_text())
    asked = config["notebooks"][2]["parameters"]  # the ablation has all blocks
    world = {"name": "jigsaws", **config["data"]["options"]}
    small = {"kind": "dct", "segments": 4, "coefficients": 2}
    calls, stacks = counted(monkeypatch)
    variants = {"ridge": ("ridge", {}), "AA": ("s4aqa", {**QUICK, "recover": False, "align": False})}
    runs = compare_variants(study, world | small, variants, asked["blocks"], asked["fractions"], 2, root=str(jigsaws))
    # 3 tasks, 4 folds and 4 surgeons, 2 draws; the pooled block asks for those of one surgeon out again
    assert calls == [("ridge", 72), ("s4aqa", 72)] and [n for n in stacks if n > 1] == [24, 24]
    found = averaged(runs[runs["variant"] == "ridge"])
    blocks = found.groupby("block", sort=False)
    assert blocks["parts"].unique().tolist() == [[12], [12], [3]] and list(found)[8:11] == TASKS
    assert blocks["published"].unique().tolist() == [[True], [False], [False]]
    z, pooled = [], []
    for task in TASKS:
        rhos, predictions = [], []
        for surgeon in "BCDE":
            options, split = {"task": task, **small}, f"fold:louo/{surgeon}"
            data = data_sets.load("jigsaws", jigsaws, **options)
            run = {"fraction": 0.5, "draw": 1, "seed": 1}
            where = dict(data=[{"name": "jigsaws", **options}], split=[split], root=str(jigsaws))
            alone = Study("alone").train("ridge", runs=[run], **where)
            rhos.append(alone["spearman"][0])
            predictions.append(study.read(alone["id"][0]).predictions)
            assert set(data.groups[splits.get(split)(data).test]) == {surgeon}
        z.append(np.arctanh(np.clip(np.mean(rhos), -1 + 1e-6, 1 - 1e-6)))
        joined = pd.concat(predictions)
        pooled.append(np.arctanh(spearmanr(joined["step_0"], joined["score"]).statistic))
    row = found[(found["block"] == "one surgeon out") & (found["draw"] == 1)].iloc[0]
    assert row["value"] == pytest.approx(np.tanh(np.mean(z))) and row["undefined"] == 0
    row = found[(found["block"] == "one surgeon out, pooled") & (found["draw"] == 1)].iloc[0]
    assert row["value"] == pytest.approx(np.tanh(np.mean(pooled)))


@pytest.mark.filterwarnings("ignore:jigsaws leaves out")
def test_a_star_is_every_fold_with_a_scored_trial(jigsaws):
    def found(split, root=jigsaws):
        block = {"split": split, "parts": {"task": TASKS[:2]}}
        return [(part.name, part.split) for part in parts_of({"name": "jigsaws"}, {"a": block}, str(root))]

    assert found("fold:louo/*") == [(task, f"fold:louo/{surgeon}") for task in TASKS[:2] for surgeon in "BCDE"]
    assert found(["fold:four/2", "leak_free"]) == [(t, s) for t in TASKS[:2] for s in ("fold:four/2", "leak_free")]
    with pytest.raises(UserError, match="block 'a': unknown kind of splits .*fold:louo"):
        found("fold:five/*")


@pytest.mark.filterwarnings("ignore:jigsaws leaves out")
def test_every_part_is_looked_at_before_anything_runs(study, jigsaws, monkeypatch):
    """The second task has too few labels: one sentence that names it, no run, each task read once."""

    def no_training(*args, **options):
        raise AssertionError("something was trained")

    reads, load = [], data_sets.reader("jigsaws").load
    monkeypatch.setattr(study_module, "LOADED", type(study_module.LOADED)())
    monkeypatch.setattr(
        data_sets.reader("jigsaws"), "load", lambda root, **o: reads.append(o["task"]) or load(root, **o)
    )
    meta = jigsaws / "Needle_Passing" / "meta_file_Needle_Passing.txt"
    whole = meta.read_text()
    kept = [line for line in whole.splitlines() if not line.strip().split("\t")[0].endswith("002")]
    meta.write_text("\n".join(kept))  # half of the scores
    try:
        block = {"one surgeon out": {"split": "fold:louo/*", "parts": {"task": TASKS[:2]}}}
        given = {"data": "jigsaws", "options": {}, "root": str(jigsaws), "blocks": block, "methods": ["ridge"]}
        words = "block 'one surgeon out', Needle_Passing, split fold:louo/B: .* fewer than the 3 needed"
        check(given | {"fractions": [1.0]})
        with pytest.raises(UserError, match=words) as error:
            check(given | {"fractions": [1.0, 0.5]})
        assert "\n" not in str(error.value) and reads == TASKS[:2]
        monkeypatch.setattr(Study, "train", no_training)
        with pytest.raises(UserError, match=words):
            variants = by_name(["ridge"], {})
            compare_variants(study, {"name": "jigsaws"}, variants, block, [1.0, 0.5], 1, root=str(jigsaws))
    finally:
        meta.write_text(whole)


# ---- data sets that stay in memory


def test_a_data_set_is_read_once_as_long_as_its_file_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "LOADED", type(study_module.LOADED)())
    first = loaded("surrogate", n_train=20, n_test=10, D=4)
    assert loaded("surrogate", D=4, n_test=10, n_train=20) is first
    assert loaded("surrogate", n_train=20, n_test=10, D=4, rho=0.1) is not first
    path = str(first.save(tmp_path / "set.safetensors"))
    kept = loaded("file", path)
    assert loaded("file", path) is kept
    loaded("surrogate", n_train=20, n_test=10, D=4, rho=0.2).save(path)
    again = loaded("file", path)
    assert again is not kept and not np.array_equal(rankdata(again.scores), rankdata(kept.scores))
    monkeypatch.setattr(study_module, "ROOM", 1)
    latest = loaded("surrogate", n_train=20, n_test=10, D=4, rho=0.3)
    assert list(study_module.LOADED.values()) == [latest]
