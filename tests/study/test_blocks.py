"""Comparisons over blocks and parts: the same draws for all, averages as published, tables that say what they hold."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from jigsaws_release import release
from scipy.stats import rankdata, spearmanr

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.batch.plan import read_plan
from aqa_lib.data import blind, folds
from aqa_lib.data.splits import label_draw, leak_free, official
from aqa_lib.errors import UserError
from aqa_lib.evaluation.selection import best_test
from aqa_lib.methods.base import Setting
from aqa_lib.study import blocks as module
from aqa_lib.study import study as study_module
from aqa_lib.study.blocks import averaged, by_name, compare_variants, contestants, parts_of
from aqa_lib.study.study import Study, loaded
from aqa_lib.study.summary import figures_published, summary

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
    variants = {"ridge": ("ridge", {}), "no video: difficulty": ("no video: difficulty", {})}
    variants["AA"] = ("s4aqa", {**QUICK, "recover": False, "align": False})
    found = compare_variants(study, WORLD, variants, BLOCKS, [0.2, 0.4], draws=2)
    assert len(found) == 3 * 2 * 2 * 2 and found["spearman"].notna().all()
    assert (found["seed"] == found["draw"]).all() and (found["parts"] == 1).all()
    row = found.set_index(["block", "variant", "fraction", "draw"])["spearman"]
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


def test_all_runs_of_a_method_are_asked_for_at_once(study, monkeypatch):
    calls, real = [], Study.train
    monkeypatch.setattr(Study, "train", lambda self, *a, **k: calls.append(len(a[3])) or real(self, *a, **k))
    variants = {
        name: ("s4aqa", {**QUICK, "recover": name != "AA", "align": name == "S4AQA"}) for name in ("AA", "S4AQA")
    }
    compare_variants(study, WORLD, variants, {"official": {}}, [0.2, 0.4], draws=[(0, 5), (1, 6)])
    assert calls == [2 * 2 * 2]
    assert set(study.ledger.table()["seed"]) == {5, 6}


def test_a_rule_is_recomputed_from_each_runs_curve(study):
    variants = by_name(["ridge", "pi_model"], {**QUICK, "every": 4})
    last, best = (compare_variants(study, WORLD, variants, {"o": {}}, [0.4], 2, rule=r) for r in ("last", "best_test"))
    table = study.train("pi_model", WORLD, runs=[{**variants["Pi-model"][1], "fraction": 0.4, "draw": 1, "seed": 1}])
    curve = study.read(table["id"][0]).curve
    mine = best[(best["variant"] == "Pi-model") & (best["draw"] == 1)]["spearman"].item()
    assert len(curve) == 5 and mine == best_test(curve).value == max(curve["spearman"])
    same = [t[t["variant"] == variants_title(variants, "ridge")]["spearman"].tolist() for t in (last, best)]
    assert same[0] == same[1]  # one evaluation, nothing to pick
    with pytest.raises(UserError, match="best_test"):
        compare_variants(study, WORLD, variants, {"o": {}}, [0.4], 2, rule="best")


def variants_title(variants, name):
    return next(title for title, (method, _) in variants.items() if method == name)


def test_a_failed_run_and_an_undefined_guess_are_counted_and_have_no_number(study):
    variants = {"wild": ("s4aqa", {**QUICK, "lr": 1e12}), "no video: group mean": ("no video: group mean", {})}
    found = compare_variants(study, WORLD, variants, BLOCKS, [0.4], 1).set_index(["variant", "block"])
    assert found["failed"].tolist() == [1, 0, 1, 0] and found["spearman"].isna().tolist() == [True, False, True, True]
    assert (
        found.loc[("no video: group mean", "leak-free"), "undefined"] == 1
    )  # no competition of the test part is known
    table = summary(found.reset_index(), "wild")
    assert table["failed"].tolist() == [1, 0, 1, 0] and "undefined" in table


def rows(values):
    """Rows of parts from {(group, fold): rho} for one run."""
    return pd.DataFrame(
        [("a", 0.5, 0, 0, group, rho, failed) for group, rho, failed in values],
        columns=["variant", "fraction", "draw", "seed", "group", "spearman", "failed"],
    )


def test_folds_are_averaged_arithmetically_and_tasks_through_fisher():
    found = averaged(rows([("S", 0.2, False), ("S", 0.6, False), ("K", 0.9, False), ("K", np.nan, False)])).iloc[0]
    assert (found["S"], found["K"]) == pytest.approx((0.4, 0.9))
    assert found["spearman"] == pytest.approx(np.tanh((np.arctanh(0.4) + np.arctanh(0.9)) / 2))
    assert (found["parts"], found["undefined"], found["failed"]) == (4, 1, 0)
    gone = averaged(rows([("S", 0.2, False), ("K", np.nan, False), ("K", np.nan, False)])).iloc[0]
    assert np.isnan(gone["spearman"]) and gone["undefined"] == 2 and gone["S"] == 0.2
    failed = averaged(rows([("", 0.2, False), ("", np.nan, True)])).iloc[0]
    assert np.isnan(failed["spearman"]) and (failed["undefined"], failed["failed"]) == (0, 1)
    one = averaged(rows([("", 0.2, False), ("", 0.7, False)]))
    assert one["spearman"].tolist() == pytest.approx([0.45]) and "" not in one


def test_published_averages_of_three_tasks_come_out():
    """Table III's tasks give its average column."""
    beside = figures_published("methods", "jigsaws")
    for found in beside.values():
        tasks = [found[task] for task in ("suturing", "needle passing", "knot tying")]
        mine = averaged(rows([(str(i), rho, False) for i, rho in enumerate(tasks)]))["spearman"].item()
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


@pytest.mark.filterwarnings("ignore:jigsaws leaves out")
def test_the_config_for_jigsaws_runs_over_tasks_and_folds(study, jigsaws, repository):
    """The blocks of the config, against each part trained by itself and the formula of the average."""
    config = yaml.safe_load((repository / "configs" / "jigsaws.yaml").read_text())
    asked = config["notebooks"][0]["parameters"]
    world = {"name": "jigsaws", **config["data"]["options"]}
    small = {"segments": 4, "coefficients": 2}
    found = compare_variants(
        study, world | small, {"ridge": ("ridge", {})}, asked["blocks"], asked["fractions"], 2, root=str(jigsaws)
    )
    assert found["parts"].tolist() == [12, 12, 12, 12] and list(found)[6:9] == TASKS
    z = []
    for task in TASKS:
        rhos = []
        for surgeon in "BCDE":
            options = {"task": task, "protocol": "louo", "fold": surgeon, **small}
            data = data_sets.load("jigsaws", jigsaws, **options)
            run = {"fraction": 0.5, "draw": 1, "seed": 1}
            table = Study("alone").train("ridge", {"name": "jigsaws", **options}, "official", [run], root=str(jigsaws))
            rhos.append(table["spearman"][0])
            assert set(data.groups[official(data).test]) == {surgeon}
        z.append(np.arctanh(np.clip(np.mean(rhos), -1 + 1e-6, 1 - 1e-6)))
    row = found[(found["block"] == "one surgeon out") & (found["draw"] == 1)].iloc[0]
    assert row["spearman"] == pytest.approx(np.tanh(np.mean(z))) and row["undefined"] == 0


@pytest.mark.filterwarnings("ignore:jigsaws leaves out")
def test_all_folds_are_those_with_a_scored_trial(jigsaws):
    block = {"options": {"protocol": "louo"}, "parts": {"task": ["Suturing"], "fold": "all"}}
    found = parts_of({"name": "jigsaws"}, block, str(jigsaws))
    data = data_sets.load("jigsaws", jigsaws, task="Suturing")
    assert [part["fold"] for _, part in found] == folds.folds(data, "louo") == list("BCDE")
    assert found[0][0] == {"protocol": "louo", "task": "Suturing", "fold": "B"}


# ---- variants


def test_settings_go_to_the_methods_that_know_them():
    shared = {"steps": 30, "lr": 1e-3, "how": "random", "masks": 2, "epochs": 3, "s4aqa": {"lr": 5e-3}}
    found = {method: settings for method, settings in by_name(["ridge", "pi_model", "s4aqa"], shared).values()}
    assert found["ridge"] == {"how": "random"}
    assert found["pi_model"] == {"steps": 30, "lr": 1e-3, "how": "random", "epochs": 3}
    assert found["s4aqa"] == {"steps": 30, "lr": 5e-3, "how": "random", "masks": 2, "epochs": 3}
    with pytest.raises(UserError, match="lambda1"):
        by_name(["s4aqa"], {"lambdal": 40.0})


def test_a_method_keeps_an_optimiser_of_its_own(monkeypatch):
    own = {**methods.get("pi_model").SETTINGS, "lr": Setting(0.01, "its own", low=0)}
    monkeypatch.setattr(methods.get("pi_model"), "SETTINGS", own)
    (found,) = by_name(["pi_model"], {"steps": 30, "lr": 1e-3, "weight_decay": 0.1}).values()
    assert found[1] == {"steps": 30}
    own = {k: v for k, v in own.items() if k != "lr"} | {"weight_decay": Setting(0.0, "its own", low=0)}
    monkeypatch.setattr(methods.get("pi_model"), "SETTINGS", own)
    (found,) = by_name(["pi_model"], {"steps": 30, "lr": 1e-3, "weight_decay": 0.1}).values()
    assert found[1] == {"steps": 30, "lr": 1e-3}


def test_contestants_are_all_that_the_data_set_suits(tmp_path):
    """A set without groups, attributes, flow or stills leaves only what needs none of them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"split": ["train"] * 30 + ["test"] * 10})
    x, y = rng.normal(size=(40, 5, 8)), rng.normal(size=40)
    plain = data_sets.AssessmentSet(name="ours", features=x, scores=y, ids=np.arange(40), table=table)
    path = str(plain.save(tmp_path / "ours.safetensors"))
    variants, left_out = contestants({"name": "file"}, {}, [], {"steps": 20, "modality": "rgb"}, path)
    assert not any(name.startswith("no video") for name in variants)
    assert list(variants)[-2:] == ["S4AQA", "AA"] and variants["AA"][1]["recover"] is False
    assert "c3d_avg_mtl" in left_out and "ridge" not in left_out
    full, nobody = contestants(WORLD, {}, [], {"steps": 20})
    assert {name.removeprefix("no video: ") for name in full if name.startswith("no video")} <= set(blind.BASELINES)
    assert "c3d_avg_mtl" not in nobody and len(full) > len(variants)


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


# ---- configs


PARAMETERS = """study: str = "explore"  # folder
data: str = "surrogate"  # set
options: dict = {"size": "quick"}  # of it
root: str = ""  # where"""
NONE = "x: int = 1  # nothing of data"


@pytest.fixture
def configured(house):
    house.notebook("a", 'answer("yes")', parameters=PARAMETERS)
    house.notebook("b", 'answer("yes")', parameters=NONE)

    def plan(data, *settings, parameters=None):
        entry = {"notebook": "a", "parameters": parameters or {}}
        text = yaml.safe_dump({"study": "try", "data": data, "notebooks": [entry, {"notebook": "b"}]})
        first, second = read_plan(house.config(text=text), settings)[1]
        assert set(second.parameters) == {"x"}
        return {k: first.parameters[k] for k in ("data", "options", "root")}

    return plan


def test_a_configs_data_fills_the_parameters_of_every_notebook_that_has_them(configured):
    assert configured({"name": "jigsaws", "root": "r", "options": {"task": "all"}}) == {
        "data": "jigsaws", "options": {"task": "all"}, "root": "r"}  # fmt: skip
    assert configured({"name": "jigsaws", "root": None}) == {"data": "jigsaws", "options": {}, "root": ""}
    assert configured({"name": "mtl_aqa", "root": None}, "data.root=/a b") == {
        "data": "mtl_aqa", "options": {}, "root": "/a b"}  # fmt: skip
    assert configured(None, "data.name=file", "data.root=x") == {"data": "file", "options": {}, "root": "x"}
    assert configured(None, "data.options={D: 4}") == {"data": "surrogate", "options": {"D": 4}, "root": ""}


def test_an_entrys_own_parameters_win(configured):
    data = {"name": "jigsaws", "root": "r", "options": {"task": "all"}}
    mine = configured(data, parameters={"options": {}})
    assert mine == {"data": "jigsaws", "options": {}, "root": "r"}
    mine = configured(data, parameters={"data": "surrogate"})  # the config's root and options are another set's
    assert mine == {"data": "surrogate", "options": {"size": "quick"}, "root": ""}


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        ({"nam": "jigsaws"}, [], "did you mean 'name'"),
        ({"name": "jigsaws", "root": 3}, [], "root takes str"),
        ("jigsaws", [], "data takes a mapping"),
        (None, ["data.rot=x"], "did you mean 'root'"),
        (None, ["data.options=3"], "options takes dict"),
    ],
)
def test_a_wrong_data_set_of_a_config_is_one_sentence(configured, data, settings, words):
    with pytest.raises(UserError, match=words) as error:
        configured(data, *settings)
    assert "\n" not in str(error.value)


def test_no_notebook_is_called_data(house):
    house.notebook("a", 'answer("yes")')
    with pytest.raises(UserError, match="no notebook can be called 'data'"):
        read_plan(house.config({"notebook": "a", "name": "data"}))


def test_a_missing_root_is_said_before_anything_runs(house):
    house.notebook("a", 'answer("yes")', parameters=PARAMETERS)
    text = yaml.safe_dump({"study": "try", "data": {"name": "jigsaws", "root": None}, "notebooks": [{"notebook": "a"}]})
    call = house.aqa("study", house.config(text=text))
    assert call.returncode == 2 and call.err.count("\n") == 1 and "--set data.root=PATH" in call.err
    assert not house.place.exists()


def test_configs_ask_for_the_same_runs(repository):
    """What 30 to 35 and 37 share is trained once: steps, learning rate, draws and settings agree."""
    for name in ("study", "mtl_aqa", "rhythmic_gymnastics", "jigsaws"):
        path = repository / "configs" / f"{name}.yaml"
        jobs = [job.parameters for job in read_plan(path)[1] if "blocks" in job.parameters]
        weights = {"lambda1": 40.0, "lambda2": 0.1}
        shared = [[p[k] for k in ("data", "options", "draws", "steps", "lr", "rule")] for p in jobs]
        assert jobs and all(one == shared[0] for one in shared)
        settings = [weights | {k: v for k, v in p["settings"].items() if not isinstance(v, dict)} for p in jobs]
        assert all(one == settings[0] for one in settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"blocks": {"a": {"splt": "official"}}}, "did you mean 'split'"),
        ({"blocks": {"a": {"split": "leakfree"}}}, "leak_free"),
        ({"blocks": {"a": {"parts": {"rho": 0.5}}}}, "takes a list of values"),
        ({"blocks": {"a": {"options": {"rhoo": 0.5}}}}, "rho"),
        ({"blocks": {}}, "blocks takes a mapping"),
        ({"methods": ["s4aaq"]}, "s4aqa"),
        ({"settings": {"lambdal": 1.0}}, "lambda1"),
        ({"settings": {"lambda1": -1.0}}, "below 0"),
        ({"fractions": [0.01]}, "0.01"),
        ({"rule": "lest"}, "last"),
    ],
)
def test_wrong_parameters_are_one_sentence(change, words):
    given = {"data": "surrogate", "options": {k: v for k, v in WORLD.items() if k != "name"}, "blocks": BLOCKS}
    module.check(given | {"fractions": [0.2], "steps": 20, "lr": 1e-3})
    with pytest.raises(UserError, match=words) as error:
        module.check(given | change)
    assert "\n" not in str(error.value)
