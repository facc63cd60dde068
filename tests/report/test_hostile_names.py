"""Hostile ids, groups, tasks, variants and captions through every notebook that takes any, opened in Chromium.

Notebooks are found by their parameters, so that a new one is put to it as well: those of a data set get one whose every
name is a piece of HTML, those with captions get such captions. What is trained is as small as it can be.
"""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from browser import chromium, needs_browser

from aqa_lib.batch.plan import parameters, read_notebook
from aqa_lib.data.dataset import AssessmentSet

SCRIPT = "<script>alert(1)</script>"
NAME = f'{SCRIPT}</script></title><img src=x onerror=alert(1)> [x](javascript:alert(1)) ![x](attachment:a) "$x$" \\('
VARIANT = f"{SCRIPT}<svg onload=alert(1)>"
CAPTION = f"{NAME} &lt;b&gt; `|"
SMALL = {"draws": 2, "few": 2, "steps": 2, "longest": 2, "every": 1, "count": 1, "seeds": [0, 1], "neighbours": 3}
SMALL |= {"perplexities": [3.0], "rates": [1e-3], "fraction": 0.5, "fractions": [0.5], "masks": [1], "worlds": {}}
SMALL |= {"methods": ["ridge", "hostile"], "candidates": {"AA+MSFR": {"lambda1": [0, 1]}}, "split": "official"}
METHOD = f"""from aqa_lib.methods.ridge import Ridge


class Hostile(Ridge):
    title = {VARIANT!r}


METHOD = Hostile()
"""
# the kernels of the study find that method beside the library's own
START = (
    "import aqa_lib.methods, pathlib\naqa_lib.methods.__path__.append(str(pathlib.Path(__file__).parent / 'methods'))\n"
)


def hostile_set(path):
    """A set of 60 videos in which every word is hostile."""
    rng, n = np.random.default_rng(0), 60
    x = np.maximum(rng.normal(size=(n, 4, 8)), 0)
    words = np.array([f"{NAME} {i}" for i in range(n)])
    table = pd.DataFrame({"split": ["train"] * 40 + ["test"] * 20, "task": np.repeat([words[:2]], 30, 0).ravel()})
    table["position"] = words[np.arange(n) % 3]
    views = {"flow": x + rng.normal(size=x.shape), "still": 0.9 * x}
    known = {"groups": words[np.arange(n) % 12], "difficulty": rng.uniform(1, 3, n), "within": "task"}
    scores = x.mean((1, 2)) + 0.1 * rng.normal(size=n)
    made = AssessmentSet(NAME, x, scores, words, table, judges=rng.uniform(size=(n, 7)), views=views, **known)
    return str(made.save(path))


def asked(known, path):
    """The parameters of a notebook on the hostile set and with hostile captions; None where it shows no such name."""
    given = {name: value for name, value in SMALL.items() if name in known}
    default = {name: setting.default for name, setting in known.items()}
    foreign = default.get("data") == "surrogate" and "root" in known
    if foreign:
        given |= {"data": "file", "root": path, "options": {}}
    if "steps" in default.get("settings", {}):
        given["settings"] = default["settings"] | {"steps": 2}
    captions = {name for name in ("blocks", "dependence", "nuisance", "fast") if name in known}
    for name in captions:
        given[name] = {f"{CAPTION} {i}": {"split": "official"} if foreign else value
                       for i, value in enumerate(default[name].values())}  # fmt: skip
    return given if foreign or captions else None


@pytest.fixture(scope="module")
def study(shared_house, repository):
    """The repository's notebooks, executed on what is hostile; the house, and {name: parameters}."""
    house = shared_house
    shutil.copytree(repository / "notebooks", house.folder / "notebooks", dirs_exist_ok=True)
    (house.folder / "start" / "methods").mkdir(parents=True)
    (house.folder / "start" / "sitecustomize.py").write_text(START)
    (house.folder / "start" / "methods" / "hostile.py").write_text(METHOD)
    path, entries = hostile_set(house.folder / "hostile.safetensors"), {}
    for notebook in sorted((repository / "notebooks").glob("*.ipynb")):
        given = asked(parameters(read_notebook(notebook), notebook.stem), path)
        if given is not None:
            entries[notebook.stem] = given
    config = {"study": "try", "notebooks": [{"notebook": n, "parameters": given} for n, given in entries.items()]}
    config = house.config(text=yaml.safe_dump(config))
    command = [sys.executable, "-m", "aqa_lib", "study", config, "--workers", "2"]
    environment = house.environment | {"PYTHONPATH": f"{house.folder / 'start'}:{repository}"}
    done = subprocess.run(command, cwd=house.folder, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return house, entries


def shows(house, name):
    """Whether a hostile name is among the outputs of an executed notebook."""
    if name not in [path.stem for path in house.place.glob("*.ipynb")]:
        return False  # the page with all answers
    cells = json.loads((house.place / f"{name}.ipynb").read_text())["cells"]
    return "alert(1)" in json.dumps([cell.get("outputs") for cell in cells])


@pytest.mark.slow
def test_the_notebooks_show_what_is_hostile(study):
    """Most executed notebooks hold the names as they were given: otherwise the pages below would show nothing."""
    house, entries = study
    shown = {name for name in entries if shows(house, name)}
    assert {
        "20_train",
        "30_compare",
        "39_cases",
        "40_open_questions",
        "45_real_movements",
        "85_score_the_rest",
    } <= shown
    assert len(shown) >= 14


@pytest.mark.slow
@needs_browser
def test_every_page_is_shown_and_not_obeyed(study, tmp_path):
    house, entries = study
    report = house.place.parent / "report"
    with chromium(tmp_path / "profile") as browser:
        for path in [report / "index.html", *(report / "notebooks" / f"{name}.html" for name in entries)]:
            text = path.read_text()
            assert "<script>alert" not in text and ("alert(1)" in text) >= shows(house, path.stem), path.name
            found = browser.read(path, seconds=90)
            assert (found["dialogs"], found["errors"]) == ([], []), path.name
            assert found["figures"] == found["places"] > 0, path.name
