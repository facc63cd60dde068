"""The data set of a config: its notebooks get it, and what is wrong with it is one sentence."""

import pytest
import yaml

from aqa_lib.batch.plan import read_plan
from aqa_lib.errors import UserError
from aqa_lib.study.comparison import check

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
WORLD_OPTIONS = {k: v for k, v in WORLD.items() if k != "name"}
BLOCKS = {"official": {"split": "official"}, "leak-free": {"split": "leak_free"}}


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
    assert configured({"name": "jigsaws", "options": {"task": "all"}}, "data.options.folds=my/splits.pkl") == {
        "data": "jigsaws", "options": {"task": "all", "folds": "my/splits.pkl"}, "root": ""}  # fmt: skip
    assert configured(None, "data.options={D: 4}") == {"data": "surrogate", "options": {"D": 4}, "root": ""}


def test_a_name_inside_a_mapping_is_set_for_one_entry_alone(repository):
    """Two entries share `settings` by YAML's alias; what is set for one leaves the other as it is."""
    path = repository / "configs" / "jigsaws.yaml"
    changed = {job.name: job.parameters for job in read_plan(path, ["30_compare.settings.trs.depth=8"])[1]}
    plain = {job.name: job.parameters for job in read_plan(path)[1]}
    assert changed["30_one_surgeon_out"] == plain["30_one_surgeon_out"] and plain["30_compare"] != changed["30_compare"]
    before, after = (jobs["30_compare"]["settings"] for jobs in (plain, changed))
    assert before["trs"]["depth"] == 1 and after == before | {"trs": before["trs"] | {"depth": 8}}
    with pytest.raises(UserError, match="'depth' would stand inside 120, which is no mapping"):
        read_plan(path, ["30_compare.steps.depth=8"])
    with pytest.raises(UserError, match="it reads --set 20_train.seed=1"):
        read_plan(path, ["30_compare.=8"])


def test_jigsaws_inherits_nothing_from_the_surrogates_settings(repository):
    """The notebooks' defaults carry some; each entry of the config states its own."""
    for name in ("jigsaws", "jigsaws_trial"):
        for job in read_plan(repository / "configs" / f"{name}.yaml")[1]:
            assert {"settings", "steps", "lr", "blocks"} <= set(job.given)
            settings = job.parameters["settings"]
            assert settings.get("vat", {}).get("eps") != 0.625  # the surrogate's
            rates = {own["lr"] for own in settings.values() if isinstance(own, dict)}
            assert rates <= {job.parameters["lr"]}


def test_what_a_study_takes_is_said_before_it_runs(house):
    house.notebook("a", 'answer("yes")')
    text = yaml.safe_dump({"study": "try", "takes": "a second", "notebooks": [{"notebook": "a"}]})
    first, again = (house.aqa("study", house.config(text=text)) for _ in range(2))
    assert first.returncode == 0 and first.out.startswith("try takes a second\n") and "takes" not in again.out


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


@pytest.mark.parametrize("name", ["ui_prmd", "finger_tapping"])
def test_what_comes_with_the_project_needs_no_root(house, name):
    more = "data: str = ''  # which\nroot: str = ''  # where\nsplit: str = 'leak_free'  # how"
    house.notebook("a", 'answer("yes")', parameters=f"{PARAMETERS}\n{more}")
    text = yaml.safe_dump({"study": "try", "data": {"name": name}, "notebooks": [{"notebook": "a"}]})
    call = house.aqa("study", house.config(text=text))
    assert call.returncode == 0, call.err


def test_configs_ask_for_the_same_runs(repository):
    """What 30 to 35 and 37 share is trained once: steps, learning rate, draws and settings agree."""
    for name in ("study", "mtl_aqa", "rhythmic_gymnastics", "jigsaws"):
        path = repository / "configs" / f"{name}.yaml"
        jobs = [job.parameters for job in read_plan(path)[1] if "blocks" in job.parameters and "rule" in job.parameters]
        weights = {"lambda1": 40.0, "lambda2": 0.1}
        shared = [[p[k] for k in ("data", "options", "draws", "lr", "rule")] for p in jobs]
        shared = [[*of, p["settings"].get("epochs", p["steps"])] for of, p in zip(shared, jobs, strict=True)]
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
        ({"blocks": {"a": {"split": []}}}, "a name or a list of names"),
        ({"blocks": {"a": {"split": "division:*"}}}, "block 'a': .* no folds"),
        ({"methods": ["s4aaq"]}, "s4aqa"),
        ({"settings": {"lambdal": 1.0}}, "lambda1"),
        ({"settings": {"lambda1": -1.0}}, "below 0"),
        ({"fractions": [0.01]}, "0.01"),
        ({"rule": "lest"}, "last"),
    ],
)
def test_wrong_parameters_are_one_sentence(change, words):
    given = {"data": "surrogate", "options": WORLD_OPTIONS, "blocks": BLOCKS, "method": "s4aqa"}
    check(given | {"fractions": [0.2], "steps": 20, "lr": 1e-3})
    with pytest.raises(UserError, match=words) as error:
        check(given | change)
    assert "\n" not in str(error.value)
