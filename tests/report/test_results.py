"""Results as files to commit: what lands as soon as a notebook is done, what is left alone, what is not told."""

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess

import pandas as pd
import pytest
import yaml

from aqa_lib import commands
from aqa_lib.batch import origin
from aqa_lib.batch.plan import read_plan, results_of
from aqa_lib.errors import UserError
from aqa_lib.report import results
from aqa_lib.report.page import read_manifest
from aqa_lib.report.results import publish
from aqa_lib.study.answer import answer, plain_table

TRAIN = """import pandas as pd
from aqa_lib.study.study import Study
world = {"name": "surrogate", "n_train": 30, "n_test": 15, "D": 4}
runs = Study(study).train("ridge", world, runs=[{"fraction": 0.5, "seed": s} for s in range(n)])
table = pd.DataFrame({"method": ["a|b"], "rho": [0.71234], "n": [len(runs)]})"""
SAY = """from time import sleep
from aqa_lib.study.time import say
say("about 3 minutes"), sleep(4)"""
ANSWER = 'answer("It does. More.", table=table, numbers=runs[["method", "seed", "spearman"]])'


def config(house, *entries, results="docs/results", name="full.yaml"):
    content = {"study": "full", "results": results, "notebooks": [{"notebook": entry} for entry in entries]}
    return house.config(name=name, text=yaml.safe_dump(content))


@pytest.fixture(scope="module")
def first(shared_house):
    """A study of three notebooks of which two were asked for, and one of those fails."""
    house = shared_house
    house.notebook("00_good", TRAIN, SAY, ANSWER, question="Does it rank?")
    house.notebook("10_bad", "x = {}\nx['here']", 'answer("never")')
    house.notebook("20_plain", 'answer("Yes.", surrogate=False)', question="Is it so?")
    path = config(house, "00_good", "10_bad", "20_plain")
    return house, house.aqa("study", path, "--only", "00_good", "10_bad", "--workers", "1")


@pytest.mark.slow
def test_only_those_that_were_asked_for_run_and_only_those_that_are_done_land(first):
    house, call = first
    assert call.returncode == 1 and "the results: docs/results/README.md" in call.out, call.err
    assert call.out.count("00_good  about 3 minutes") == 1  # told on the terminal while the notebook runs
    folder = house.folder / "docs/results"
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == ["README.md", "full/00_good.csv", "full/00_good.md"]
    notebooks = house.folder / "outputs/full/notebooks"
    assert sorted(p.name for p in notebooks.glob("*.ipynb")) == ["00_good.ipynb", "10_bad.ipynb"]


@pytest.mark.slow
def test_a_page_has_answer_table_command_commit_machine_and_minutes(first):
    house, _ = first
    lines = (house.folder / "docs/results/full/00_good.md").read_text().splitlines()
    assert lines[0] == "# Does it rank?" and lines[2].startswith("**surrogate**") and lines[4] == "It does. More."
    assert lines[6:9] == ["| method | rho | n |", "| --- | ---: | ---: |", "| a\\|b | 0.712 | 2 |"]
    assert "The raw numbers: [00_good.csv](00_good.csv), 2 rows, one a run and measure." in lines
    assert "    aqa study configs/full.yaml --only 00_good" in lines
    known = json.loads((house.folder / "outputs/full/notebooks/00_good.answer.json").read_text())
    made = origin.commit_of(origin.CHECKOUT)
    commit = (made["commit"] or "not known") + ", with changes not committed" * made["changed"]
    assert f"| commit | {commit} |" in lines
    torch = known["origin"]["versions"]["torch"]
    assert (
        f"| machine | {origin.processor()}, {origin.cores()} core" in "\n".join(lines) and f"torch {torch}" in lines[-4]
    )
    assert re.search(r"\| time \| [0-9.]+ (seconds|minutes); 2 of its 2 runs were trained in it", "\n".join(lines))
    raw = pd.read_csv(house.folder / "docs/results/full/00_good.csv")
    assert list(raw) == ["method", "seed", "spearman"] and raw["seed"].tolist() == [0, 1]
    ledger = [json.loads(p.read_text()) for p in (house.folder / "outputs/full").glob("*/metrics.json")]
    assert sorted(raw["spearman"]) == sorted(found["metrics"]["spearman"] for found in ledger)


@pytest.mark.slow
def test_what_is_read_as_current_lands_again_and_only_what_differs_is_written(first):
    house, _ = first
    folder = house.folder / "docs/results"
    page, numbers = folder / "full/00_good.md", folder / "full/00_good.csv"
    before, stamp = page.read_bytes(), numbers.stat().st_mtime_ns
    page.write_text("cut off")
    call = house.aqa("study", "configs/full.yaml", "--only", "00_good", "20_plain")
    assert call.returncode == 0 and "already done" in call.out, call.err
    assert page.read_bytes() == before and numbers.stat().st_mtime_ns == stamp
    index = (folder / "README.md").read_text()
    assert "| [Does it rank?](full/00_good.md) | It does. *(surrogate)* | 20" in index
    assert "| [Is it so?](full/20_plain.md) | Yes. | 20" in index and "2 pages" in index
    assert "surrogate" not in (folder / "full/20_plain.md").read_text().split("<!--")[0]
    assert not list((folder / "full").glob("20_plain.csv*"))


@pytest.mark.slow
def test_numbers_that_are_gone_ask_for_the_notebook_again(first):
    house, _ = first
    kept = house.folder / "outputs/full/notebooks/00_good.numbers.csv"
    before = kept.read_bytes()
    kept.unlink()
    call = house.aqa("study", "configs/full.yaml", "--only", "00_good")
    assert call.returncode == 0 and "already done" not in call.out and kept.read_bytes() == before, call.err
    text = (house.folder / "docs/results/full/00_good.md").read_text()
    assert "; 0 of its 2 runs were trained in it, the others read; training them all takes" in text


# ---- from what a runner leaves


@pytest.fixture
def left(house):
    """What a runner leaves of a notebook that is done, one that failed and one that was asked for otherwise."""
    folder = house.folder / "outputs/full/notebooks"
    folder.mkdir(parents=True)
    table = plain_table(pd.DataFrame({"where": [f"{house.folder}/data/x"], "rho": [0.71234]}))
    made = {"commit": "abcabcabcabc", "changed": True, "system": "Linux", "processor": "One", "cores": 1}
    made["versions"] = {"torch": "2.0"}
    content = {"key": "k", "question": "Is <it> so -->?", "text": "Yes. More.", "table": table, "surrogate": True}
    content |= {"numbers": 2, "origin": made, "seconds": 90.0, "finished": 0.0, "gpu": "Fast One"}
    (folder / "a.answer.json").write_text(json.dumps(content))
    (folder / "a.numbers.csv").write_text(f"run,path\n1,{os.path.expanduser('~')}/x\n2,data/root/x\n")
    (folder / "b.failed.json").write_text(json.dumps({"error": "KeyError: 1"}))
    (folder / "c.answer.json").write_text(json.dumps(content | {"key": "another", "numbers": None}))
    entries = [{"name": n, "notebook": n, "question": n, "key": "k", "parameters": {}} for n in "abc"]
    command = "aqa study configs/full.yaml --set data.root=/secret/place"
    manifest = {"study": "full", "command": command, "results": "docs/results", "notebooks": entries}
    (folder / "study.json").write_text(json.dumps(manifest))
    return house


def land(study, names=None):
    return publish(read_manifest(study), names)


def test_nothing_of_this_machines_folders_is_told(left):
    assert [p.name for p in land("full")] == ["a.md"]
    folder = left.folder / "docs/results"
    texts = "".join(p.read_text() for p in folder.rglob("*.*"))
    assert "| ./data/x | 0.712 |" in texts and "1,~/x\n2,data/root/x\n" in texts
    assert "    aqa study configs/full.yaml --set data.root=PATH --only a" in texts
    for path in ("/secret", str(left.folder), os.path.expanduser("~")):
        assert path not in texts.replace("data/root/x", "")


def test_a_tree_with_changes_and_a_gpu_are_told(left):
    land("full")
    text = (left.folder / "docs/results/full/a.md").read_text()
    assert "| commit | abcabcabcabc, with changes not committed |" in text
    assert "| machine | One, 1 core, Fast One, Linux, torch 2.0 |" in text and "| time | 1.5 minutes |" in text
    assert "Made on 1970-01-01 by" in text
    index = (left.folder / "docs/results/README.md").read_text()
    assert "| [Is &#60;it> so -->?](full/a.md) | Yes. *(surrogate)* | 1970-01-01 | 1.5 |" in index


def test_a_notebook_that_failed_since_leaves_what_was_there(left):
    land("full")
    page = left.folder / "docs/results/full/a.md"
    before = page.read_bytes()
    (left.folder / "outputs/full/notebooks/a.answer.json").unlink()
    assert land("full") == [] and page.read_bytes() == before
    assert "full/a.md" in (left.folder / "docs/results/README.md").read_text()


def test_many_numbers_are_compressed_to_the_same_bytes(left, monkeypatch):
    land("full", ["a"])
    folder = left.folder / "docs/results/full"
    plain = (folder / "a.csv").read_bytes()
    monkeypatch.setattr(results, "MOST", 10)
    land("full", ["a"])
    packed = (folder / "a.csv.gz").read_bytes()
    assert gzip.decompress(packed) == plain and not (folder / "a.csv").exists()
    assert "[a.csv.gz](a.csv.gz)" in (folder / "a.md").read_text()
    (folder / "a.csv.gz").unlink()
    land("full", ["a"])
    assert (folder / "a.csv.gz").read_bytes() == packed
    monkeypatch.setattr(results, "MOST", 300_000)
    land("full", ["a"])
    assert not (folder / "a.csv.gz").exists()


def test_the_index_knows_other_studies_and_pages_that_were_damaged(left):
    land("full")
    folder = left.folder / "docs/results"
    shutil.copytree(folder / "full", folder / "gpu")
    page = folder / "gpu/a.md"
    page.with_name("b.md").write_text(page.read_text()[:-30])
    page.with_name("c.md").write_bytes(b"\xff\xfe")
    land("full")
    index = (folder / "README.md").read_text()
    assert "## full" in index and "## gpu" in index and "(gpu/a.md) | Yes." in index and "3 pages, 1.5 minutes" in index
    assert index.count("*(cannot be read)*") == 2
    shutil.rmtree(folder / "gpu")
    land("full")
    assert "gpu" not in (folder / "README.md").read_text()


def test_an_index_that_another_process_has_outrun_is_made_once_more(left, monkeypatch):
    real, seen = results.changed, []

    def interrupted(path, content):
        if path.name == "README.md":
            seen.append(content)
            if len(seen) == 1:  # another process adds a page after this one has looked
                shutil.copytree(path.parent / "full", path.parent / "other")
        return real(path, content)

    monkeypatch.setattr(results, "changed", interrupted)
    land("full")
    assert "## other" in (left.folder / "docs/results/README.md").read_text()


@pytest.mark.parametrize("damage", ["{", "[]", '{"key": "k"}'])
def test_a_damaged_answer_is_one_sentence_and_writes_nothing(left, damage):
    (left.folder / "outputs/full/notebooks/a.answer.json").write_text(damage)
    with pytest.raises(UserError, match="its answer is damaged .*--only a --force` runs it again"):
        land("full")
    assert not list((left.folder / "docs/results").rglob("a.*"))


def test_lost_numbers_and_a_folder_that_cannot_be_written_are_one_sentence(left):
    (left.folder / "outputs/full/notebooks/a.numbers.csv").unlink()
    with pytest.raises(
        UserError, match="its answer is damaged .*a.numbers.csv is missing.*--only a --force` runs it again"
    ):
        land("full")
    shutil.rmtree(left.folder / "docs")
    (left.folder / "docs").touch()
    with pytest.raises(UserError, match="cannot be written to docs/results"):
        land("full")


def test_nothing_is_left_of_a_write_that_fails(left, monkeypatch):
    land("full")
    folder = left.folder / "docs/results/full"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def refused(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aqa_lib.ledger.files.os.replace", refused)
    monkeypatch.setattr(results, "BADGE", "another")
    with pytest.raises(UserError, match="No space left"):
        land("full")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_the_report_writes_them_again(left, capsys, monkeypatch):
    monkeypatch.setattr("aqa_lib.commands.report.build", lambda study: left.folder / "index.html")
    assert commands.main(["report", "--study", "full", "--results"]) == 0
    assert "docs/results/full/a.md" in capsys.readouterr().out
    manifest = left.folder / "outputs/full/notebooks/study.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"results": None}))
    assert commands.main(["report", "--study", "full", "--results"]) == 2
    assert "its config needs a line `results: docs/results`" in capsys.readouterr().err


# ---- the config


@pytest.mark.parametrize("folder", ["/tmp/x", "../x", "docs/../../x", "", 3, ["docs"]])
def test_results_stay_within_the_studys_folder(house, folder):
    house.notebook("20_plain", 'answer("x")')
    with pytest.raises(UserError, match="results takes a folder within the study's"):
        read_plan(house.folder / config(house, "20_plain", results=folder))


def test_what_set_changes_is_not_what_the_config_states(house):
    house.notebook("20_plain", 'answer("x")')
    path = house.folder / config(house, "20_plain")
    assert results_of(path) == results_of(path, ["data.root=/x"]) == "docs/results"
    assert results_of(path, ["20_plain.n=3"]) is None and results_of(path, ["data.name=jigsaws"]) is None
    assert results_of(house.folder / config(house, "20_plain", results=None)) is None


def test_a_wrong_name_of_only_lists_the_names(house, capsys):
    for name in ("00_a", "20_b"):
        house.notebook(name, 'answer("x")')
    path = config(house, "00_a", "20_b")
    assert commands.main(["study", path, "--only", "00_a", "30_c"]) == 2
    err = capsys.readouterr().err
    assert "unknown notebook of --only '30_c'" in err and "(choices: 00_a, 20_b)" in err and err.count("\n") == 1


# ---- where an answer comes from


def test_a_commit_says_whether_what_computes_was_changed(tmp_path):
    def git(*words):
        name = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert origin.commit_of(tmp_path) == {"commit": None, "changed": False}
    for file in ("aqa_lib/__init__.py", "docs/results/a.md"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("one\n")
    git("init", "-q")
    assert origin.commit_of(tmp_path)["commit"] is None  # somebody else's repository around us
    git("add", ".")
    git("commit", "-qm", "one")
    clean = {"commit": git("rev-parse", "HEAD")[:12], "changed": False}
    assert origin.commit_of(tmp_path) == clean
    (tmp_path / "docs/results/a.md").write_text("results that have just landed\n")
    assert origin.commit_of(tmp_path) == clean
    for file in ("aqa_lib/__init__.py", "aqa_lib/new.py", "configs/full.yaml"):
        with contextlib.suppress(FileExistsError):
            (tmp_path / file).parent.mkdir()
        kept = (tmp_path / file).read_text() if (tmp_path / file).exists() else None
        (tmp_path / file).write_text("two\n")
        assert origin.commit_of(tmp_path) == clean | {"changed": True}, file
        (tmp_path / file).write_text(kept) if kept else (tmp_path / file).unlink()
    assert origin.commit_of(tmp_path) == clean


def test_numbers_are_a_table_and_lie_there_before_the_answer(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="numbers takes a DataFrame, but got list"):
        answer("Yes.", numbers=[1])
    monkeypatch.setenv("AQA_NOTEBOOK_OUT", str(tmp_path / "out"))
    order, real = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: order.append(os.path.basename(b)) or real(a, b))
    frame = pd.DataFrame({"rho": [0.1 + 0.2, float("nan")]}, index=pd.Index(["a", "b"], name="method"))
    answer("Yes.", numbers=frame)
    assert order == ["out.numbers.csv", "out.answer.json"]
    assert (tmp_path / "out.numbers.csv").read_text() == "method,rho\na,0.30000000000000004\nb,\n"
    assert json.loads((tmp_path / "out.answer.json").read_text())["numbers"] == 2
