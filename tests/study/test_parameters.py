"""Parameters of a notebook: what their comments bound, and that the kernel holds to it, whoever runs the notebook."""

from types import SimpleNamespace

import IPython
import nbformat
import pytest

import aqa_lib
from aqa_lib import Study, answer
from aqa_lib.batch.plan import make_job, parameters, read_notebook, read_plan
from aqa_lib.errors import UserError
from aqa_lib.study.parameters import checked
from aqa_lib.study.parameters import parameters as read
from aqa_lib.study.values import check_values

CELL = """draws: int = 4  # label draws; at least 1, at most 1000
lr: float = 8e-3  # learning rate, above 0
fractions: list = [0.1, 0.4]  # shares, each above 0 and at most 1
methods: list = ["ridge"]  # files; []: all
names: list = ["a"]  # of something
pair: list = [40.0, 0.1]  # 2 numbers, each at least 0
candidates: dict = {"a": 1}  # not empty
options: dict = {"a": 1}  # of the data set
root: str = ""  # where it lies
study: str = "explore"  # folder"""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"draws": 0}, "it: parameter 'draws' = 0 is below 1, its least value (label draws; at least 1, at most 1000)"),
        ({"draws": 1001}, "above 1000"),
        ({"lr": 0}, "'lr' = 0.0, but it must be above 0"),
        ({"lr": "0.0"}, "'lr' = 0.0, but it must be above 0"),
        ({"fractions": []}, "'fractions' is empty"),
        ({"fractions": [0.1, 0.0]}, "'fractions' = 0.0, but it must be above 0"),
        ({"fractions": [1.5]}, "above 1"),
        ({"names": []}, "'names' is empty"),
        ({"pair": [1.0]}, "'pair' takes 2 items"),
        ({"pair": [1.0, -1.0]}, "below 0"),
        ({"candidates": {}}, "'candidates' is empty"),
        ({"study": ""}, "'study' is empty"),
        ({"study": "a/b"}, "a name is made of letters"),
        ({"drwas": 1}, "did you mean 'draws'?"),
    ],
)
def test_bounds_of_a_comment_are_held_to(given, sentence):
    with pytest.raises(UserError) as error:
        checked("it", "it", read(CELL), given)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_what_is_within_bounds_arrives_as_numbers():
    given = {"draws": "5", "lr": "1e-3", "methods": [], "options": {}, "root": "", "fractions": ["1e-1", 1]}
    found = checked("it", "it", read(CELL), given)
    assert found == {**given, "draws": 5, "lr": 0.001, "fractions": [0.1, 1.0]} and type(found["draws"]) is int


def test_the_bounds_of_the_committed_notebooks_let_their_defaults_through(repository):
    """And number parameters, but for those that are one of several words, say a bound."""
    for path in sorted((repository / "notebooks").glob("*.ipynb")):
        known = parameters(read_notebook(path), path.stem)
        defaults = {name: one.default for name, one in known.items()}
        assert checked(path.stem, path.stem, known, defaults) == defaults
        numbers = [n for n, one in known.items() if one.kind in (int, float) or (one.item and one.item.kind is not str)]
        assert [n for n in numbers if known[n].low is None and known[n].above is None] == [], path.stem


BAD = [
    ("20_train", {"settings": {"lr": 0}}, "lr = 0.0, but it must be above 0"),
    ("20_train", {"lr": 1e300}, "'lr' = 1e+300 is above 1e+30"),
    ("20_train", {"draw": -1}, "below 0"),
    ("20_train", {"options": {"D": 65536, "n_train": 10**6, "T": 1000}}, "TB, but"),
    ("20_train", {"settings": {"batch": 65536}, "options": {"D": 2048}}, "of memory are free"),
    ("30_compare", {"draws": 0}, "'draws' = 0"),
    ("30_compare", {"draws": 10**9}, "'draws' = 1000000000"),
    ("30_compare", {"fractions": []}, "'fractions' is empty"),
    ("30_compare", {"settings": {"epochs": 0}}, "epochs = 0 is below 1"),
    ("30_compare", {"settings": {"s4aqa": 3}}, "the settings of 's4aqa' are a mapping"),
    ("30_compare", {"settings": {"S4AQA": 3}}, "the settings of 'S4AQA' are a mapping"),
    ("30_compare", {"blocks": {"a": {}, "b": {"parts": 3}}}, "block 'b': it: parts takes dict"),
    ("30_compare", {"blocks": {"a": {"options": [3]}}}, "options takes dict"),
    ("30_compare", {"blocks": {"a": {"worlds": 3}}}, "worlds takes dict"),
    ("30_compare", {"blocks": {"a": {"fractions": 3}}}, "fractions takes list of float"),
    ("30_compare", {"blocks": {"a": {"fractions": [0]}}}, "above 0"),
    ("30_compare", {"blocks": {"a": {"worlds": {"seed": 2**63 - 1}}}}, "the last of 4 worlds: data set 'surrogate'"),
    ("30_compare", {"blocks": {"a": {"parts": {"seed": [0, "x"]}}}}, "seed takes int"),
    ("30_compare", {"blocks": {1: {}}}, "a block's name is a word"),
    ("30_compare", {"methods": [["ridge"]]}, "takes list of str"),
    ("30_compare", {"methods": [{}]}, "takes list of str"),
    ("32_masking", {"masks": [99]}, "99"),
    ("36_loss_weights", {"lambda1": []}, "'lambda1' is empty"),
    ("36_loss_weights", {"published": [1.0]}, "takes 2 items"),
    ("36_loss_weights", {"worlds": {"sed": 3}}, "did you mean 'seed'?"),
    ("39_cases", {"draws": 1}, "'draws' = 1"),
    ("39_cases", {"worlds": {"seed": -1}}, "below 0"),
    ("40_open_questions", {"options": {"sise": "quick", "size": "quick"}}, "did you mean 'size'?"),
    ("25_settings", {"candidates": {"AA": 3}}, "candidates are"),
    ("25_settings", {"candidates": {"AA+MSFR": {"lambda1": []}}}, "lambda1 has no values"),
    ("25_settings", {"candidates": {"AA+MSFR": {"lambda9": [1]}}}, "unknown setting 'lambda9'"),
    ("25_settings", {"held": 0.0}, "above 0"),
    ("25_settings", {"rates": [1e300]}, "above 1e+30"),
    ("85_score_the_rest", {"settings": {"fraction": 1.0}}, "no unlabelled video"),
    ("85_score_the_rest", {"seeds": []}, "'seeds' is empty"),
]


@pytest.mark.parametrize(("notebook", "given", "sentence"), BAD)
def test_the_plan_refuses_what_would_train_or_break_off(notebook, given, sentence, repository, monkeypatch):
    monkeypatch.setenv("AQA_ROOT", str(repository))
    with pytest.raises(UserError) as error:
        check_values(make_job("a.yaml", "try", notebook, notebook, given))
    assert sentence in str(error.value) and "\n" not in str(error.value)


# ---- in the kernel


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A shell that has executed cells: kernel(cell, cell, ...) gives its variables."""
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))

    def executed(*cells):
        space = {"In": ["", *cells]}
        for cell in cells:
            exec(cell, space)
        monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns=space))
        return space

    return executed


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([CELL, "# Parameters\nlrr = 0.001\n"], "unknown parameter of this notebook 'lrr': did you mean 'lr'?"),
        ([CELL, "# Parameters\ndraws = 0\n"], "'draws' = 0 is below 1"),
        ([CELL, '# Parameters\nlr = float("nan")\n'], "'lr' takes float"),
        ([CELL, "import os", "# Parameters\nfractions = []\n"], "'fractions' is empty"),
        ([CELL.replace("= 4", "= 0")], "'draws' = 0 is below 1"),  # edited in Lab
        (["# Parameters\nlrr = 1\n", CELL, "# Parameters\nlr = -1\n"], "above 0"),  # only what came after it counts
    ],
)
def test_the_kernel_refuses_what_the_cell_does_not_allow(kernel, cells, sentence):
    kernel(*cells)
    for gate in (lambda: aqa_lib.load, lambda: Study("try"), lambda: answer("yes")):
        with pytest.raises(UserError) as error:
            gate()
        assert sentence in str(error.value)


def test_the_kernel_makes_numbers_of_words_and_leaves_what_the_notebook_changed(kernel):
    space = kernel(CELL, '# Parameters\nlr = "1e-3"\ndraws = "6"\nfractions = ["0.2"]\n', "draws = 7")
    Study("try")
    assert (space["lr"], space["draws"], space["fractions"]) == (0.001, 7, [0.2])


def test_cells_that_are_no_parameters_are_left_alone(kernel):
    kernel("x: int = f(3)  # at least 9\n".replace("f(3)", "int(3)"), "a = 1", "%%time".replace("%", "#"))
    Study("try")


def test_papermill_by_hand_is_refused_before_anything_is_trained(house, repository):
    """The fault that was: `papermill 20_train.ipynb -p lr 1e-3` trained with the default and answered with it."""
    papermill = pytest.importorskip("papermill")
    nb = nbformat.read(repository / "notebooks" / "20_train.ipynb", 4)
    nb.cells = nb.cells[:6]  # up to the training
    path = house.folder / "notebooks" / "20_train.ipynb"
    nbformat.write(nb, path)
    for given, sentence in [({"lrr": "1e-3"}, "did you mean 'lr'"), ({"lr": "0"}, "must be above 0")]:
        with pytest.raises(papermill.PapermillExecutionError, match=sentence):
            papermill.execute_notebook(path, path.with_name("out.ipynb"), given, cwd=path.parent, progress_bar=False)
        assert not list(house.folder.rglob("metrics.json"))
    words = {"lr": "1e-3", "steps": "2", "options": {"n_train": "40", "n_test": 10, "D": 8}}
    papermill.execute_notebook(path, path.with_name("out.ipynb"), words, cwd=path.parent, progress_bar=False)
    (id,) = Study("explore").ledger.ids()
    settings = Study("explore").read(id).spec["settings"]
    assert (settings["lr"], settings["steps"]) == (0.001, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["study", "settings", "full"])
def test_the_study_may_ask_what_it_asks(repository, name):
    """Every entry of the configs whose data come with the project, by the check that stands before a study."""
    _, jobs = read_plan(repository / "configs" / f"{name}.yaml")
    for job in jobs:
        check_values(job)
