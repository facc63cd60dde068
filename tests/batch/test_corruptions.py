"""What a notebook leaves, damaged: it is not done, the report says so, and the command that made it mends it."""

import json

import nbformat.v4 as v4
import numpy as np
import pytest

from aqa_lib import commands
from aqa_lib.batch import answers, execute
from aqa_lib.ledger import sources
from aqa_lib.ledger.checksums import sealed
from benchmarks.corruptions import GOOD, corruptions, house, study, ways

WAYS = list(ways(np.random.default_rng()))
FILES = ("answer.json", "ipynb", "figure.json", "numbers.csv")


@pytest.fixture
def folder(tmp_path):
    """What two notebooks leave: both have answered, with a figure and raw numbers."""
    for name in ("00_one", "10_two"):
        figure = {"data": [{"y": [1.5, 2]}], "layout": {"title": name}}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(v4.new_notebook(cells=[v4.new_markdown_cell(name)])))
        (tmp_path / f"{name}.figure.json").write_text(json.dumps(figure))
        (tmp_path / f"{name}.numbers.csv").write_text(f"id,rho\n{name},0.5\n")
        content = {"key": "k", "text": f"It is {name}.", "surrogate": True, "figure": True, "numbers": 1}
        content |= {"table": {"columns": ["rho"], "rows": [[0.5]]}, "seconds": 1.5, "finished": 7.0}
        content |= {"modules": [], "methods": None, "digest": sources.digest([])}
        (tmp_path / f"{name}.answer.json").write_bytes(answers.record(tmp_path, name, content))
    shared = {"question": "Is it?", "key": "k", "parameters": {"n": 1}}
    entries = [{"name": name, "notebook": name} | shared for name in ("00_one", "10_two")]
    manifest = {"study": "try", "command": "aqa study configs/study.yaml", "notebooks": entries}
    (tmp_path / "study.json").write_bytes(sealed(json.dumps(manifest)))
    return tmp_path


class Job:
    name, key = "00_one", "k"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FILES)
def test_a_notebook_whose_files_are_damaged_is_not_done(folder, kind, way):
    assert execute.finished(folder, Job)["text"] == "It is 00_one." and not list(answers.damaged(folder))
    path = folder / f"00_one.{kind}"
    ways(np.random.default_rng(WAYS.index(way)))[way](path, folder / f"10_two.{kind}")
    assert execute.finished(folder, Job) is None
    if (kind, way) == ("answer.json", "missing"):
        assert answers.whole(folder, "00_one") == (None, None)
        return
    with pytest.raises(ValueError):
        answers.whole(folder, "00_one")
    (line,) = answers.damaged(folder)
    assert line.startswith("notebook 00_one: ") and line.endswith("; do: aqa study configs/study.yaml --only 00_one")
    assert answers.whole(folder, "10_two")[0]["text"] == "It is 10_two."


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_list_of_the_study_is_said_in_a_line(folder, way):
    ways(np.random.default_rng(WAYS.index(way)))[way](folder / "study.json", folder / "00_one.answer.json")
    lines = list(answers.damaged(folder))
    assert len(lines) == 1 and lines[0].startswith("notebooks/study.json") and "aqa study CONFIG" in lines[0]


@pytest.mark.parametrize(
    "change",
    [{"text": 3}, {"seconds": "1"}, {"table": []}, {"table": {"columns": ["a"], "rows": [[1, 2]]}}, {"key": None}],
)
def test_an_answer_from_before_there_were_checksums_is_read_where_it_is_one(folder, change):
    path = folder / "00_one.answer.json"
    old = {n: v for n, v in json.loads(path.read_text()).items() if n not in ("sha256", "files", "name")}
    path.write_text(json.dumps(old))
    assert execute.finished(folder, Job)["text"] == "It is 00_one."
    (folder / "00_one.figure.json").write_text('{"data": [')
    assert execute.finished(folder, Job) is None
    path.write_text(json.dumps(old | change))
    with pytest.raises(ValueError):
        answers.read(folder, "00_one")


@pytest.mark.slow
def test_a_tenth_of_the_corruptions_ends_well(tmp_path):
    outcomes = dict(corruptions(tmp_path, share=0.1, seed=0))
    assert len(outcomes) > 25 and {n: o for n, o in outcomes.items() if o not in GOOD} == {}
    assert {"mended", "said"} <= set(outcomes.values())


@pytest.mark.slow
def test_a_report_with_damage_shows_the_rest(tmp_path, capsys):
    with house(tmp_path / "house") as outputs:
        study()
        notebooks = outputs / "try/notebooks"
        whole = (notebooks / "00_one.figure.json").read_bytes()
        (notebooks / "00_one.figure.json").write_bytes(whole[: len(whole) // 2])
        (notebooks / "20_fails.failed.json").write_text("{")
        assert commands.main(["report", "--study", "try"]) == 0
        page = (outputs / "try/report/index.html").read_text()
        assert page.count('class="badge damaged"') == 4 and "figure-10_two" in page  # in the contents and on the card
        assert "the checksum of 00_one.figure.json differs" in page and "--only 00_one --force" in page
        assert study()[0] == 1 and (notebooks / "00_one.figure.json").read_bytes() == whole
        assert answers.read(notebooks, "20_fails", "failed")["error"] == "NameError: name 'nothing' is not defined"
