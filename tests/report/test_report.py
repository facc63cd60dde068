"""The report: what it says of every state of a notebook, that it needs no network, and the README's table."""

import html
import json
import platform
import re
import shutil
import subprocess
from html.parser import HTMLParser

import nbformat
import nbformat.v4 as v4
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

from aqa_lib.errors import UserError
from aqa_lib.figures import PALETTE, faded, static, style
from aqa_lib.ledger import sources
from aqa_lib.ledger.ledger import Ledger
from aqa_lib.report import page as report
from aqa_lib.report import readme
from aqa_lib.report.readme import update_readme
from aqa_lib.study.answer import answer, plain_table

NASTY = "</script><script>alert(1)</script>"


@pytest.fixture
def study(house, monkeypatch):
    """What a runner leaves of five notebooks: done, done without badge, outdated, failed and missing."""
    monkeypatch.setattr(static, "save_pngs", lambda figures: [])  # a browser has its own test
    house.place.mkdir(parents=True)
    figure = style(go.Figure(go.Bar(x=["ridge", NASTY], y=[0.5, 0.6])), "By method")
    table = pd.DataFrame({"method": ["ridge", "a|b"], "rho": [0.71234, float("nan")], "n": [3, 4]})
    for name, more in {
        "00_done": {"surrogate": True, "figure": True, "table": plain_table(table)},
        "10_real": {"surrogate": False},
        "20_old": {"surrogate": True, "key": "another"},
    }.items():
        content = {"key": "k", "figure": False, "table": None, "seconds": 61.5, "finished": 0}
        content |= {"modules": [], "digest": sources.digest([]), "text": f"**Yes** {NASTY}. More."} | more
        (house.place / f"{name}.answer.json").write_text(json.dumps(content))
        shown = v4.new_output("display_data", {"application/vnd.plotly.v1+json": json.loads(figure.to_json())})
        cells = [v4.new_markdown_cell("# Is it?\n\nIt costs $x^2$." if name == "00_done" else "# Is it?")]
        cells.append(v4.new_code_cell("figure.show()", outputs=[shown]))
        nbformat.write(v4.new_notebook(cells=cells), house.place / f"{name}.ipynb")
    (house.place / "00_done.figure.json").write_text(figure.to_json())
    failed = {
        "error": "KeyError: <b>",
        "cell": 4,
        "source": "x['<i>']",
        "traceback": ["line"],
        "seconds": 1.0,
    }
    (house.place / "30_failed.failed.json").write_text(json.dumps(failed))
    names = ["00_done", "10_real", "20_old", "30_failed", "40_missing"]
    entries = [{"name": n, "notebook": n, "question": f"Is {n} so?", "key": "k", "parameters": {"n": 1}} for n in names]
    command = "aqa study configs/study.yaml"
    (house.place / "study.json").write_text(json.dumps({"study": "try", "command": command, "notebooks": entries}))
    return house


class Page(HTMLParser):
    """The page as a list of (tag, attributes), and each card's text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.cards, self.card = [], {}, None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "article":
            self.card = attributes["id"]

    def handle_endtag(self, tag):
        if tag == "article":
            self.card = None

    def handle_data(self, text):
        if self.card:
            self.cards[self.card] = self.cards.get(self.card, "") + text


def words(page, name):
    return " ".join(page.cards[name].split())


def test_the_page_tells_the_state_of_every_notebook(study):
    page = Page(report.build("try"))
    assert list(page.cards) == ["00_done", "10_real", "20_old", "30_failed", "40_missing"]
    for name, present, absent in [
        (
            "00_done",
            ["Is 00_done so?", "surrogate", "More.", "0.712", "1 min 2 s", "–"],
            ["failed", "missing"],
        ),
        ("10_real", ["More."], ["surrogate"]),
        ("20_old", ["outdated", "earlier version", "surrogate"], ["missing"]),
        ("30_failed", ["failed", "In[4]", "KeyError: <b>", "x['<i>']"], ["surrogate"]),
        (
            "40_missing",
            ["missing", "not been run", "aqa study configs/study.yaml --only 40_missing"],
            ["failed"],
        ),
    ]:
        text = words(page, name)
        assert [word for word in present if word not in text] == []
        assert [word for word in absent if word in text.replace(name, "").replace("Is  so?", "")] == []
    whole = (study.folder / "outputs/try/report/index.html").read_text()
    assert re.search(r"<b>2 of 5</b><span>questions answered", whole)


def test_an_answer_of_other_sources_is_outdated(study):
    file = study.place / "10_real.answer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"digest": "0" * 64}))
    assert "outdated" in words(Page(report.build("try")), "10_real")


def test_the_page_is_whole_without_a_network(study):
    path = report.build("try")
    page = Page(path)
    links = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href") and not v.startswith("#")]
    assert links and all((path.parent / link).exists() for link in links)
    notebook = Page(path.parent / "notebooks" / "10_real.html")
    assert not any("src" in a for _, a in notebook.tags)
    places = [
        (file.parent / a["data-plotly"]).resolve()
        for file, parsed in ((path, page), (path.parent / "notebooks" / "10_real.html", notebook))
        for _, a in parsed.tags
        if "data-plotly" in a
    ]
    assert places == [path.parent / "plotly.min.js"] * 2 and places[0].exists()
    text = (path.parent / "notebooks" / "10_real.html").read_text()
    assert "Plotly.newPlot(" in text and '<div data-figure="figure-1">' in text and 'id="figure-1"' in text
    formula = (path.parent / "notebooks" / "00_done.html").read_text()
    assert "It costs $x^2$." in formula  # as it is written: nothing is asked of another server


def test_words_and_figures_are_shown_and_not_obeyed(study):
    path = report.build("try")
    for file in (path, path.parent / "notebooks" / "00_done.html"):
        assert "<script>alert" not in file.read_text()
    data = re.search(r'<script type="application/json" id="figure-00_done">(.*?)</script>', path.read_text(), re.S)
    shown = [html.unescape(name) for name in json.loads(data.group(1))["data"][0]["x"]]
    assert shown == ["ridge", NASTY]  # plotly shows an entity as its character, and a tag not at all


def test_only_what_is_of_other_sources_or_damaged_is_made_again(study, monkeypatch):
    report.build("try")
    made = []
    monkeypatch.setattr(report, "notebook_html", lambda path: made.append(path.stem) or "")
    report.build("try")
    assert made == []
    source, pages = study.place / "20_old.ipynb", study.folder / "outputs/try/report"
    source.write_text(source.read_text() + "\n")
    report.build("try")
    assert made == ["20_old"]
    whole = (pages / "plotly.min.js").read_bytes()
    for page, text in (("notebooks/00_done.html", "<html>"), ("notebooks/10_real.html", ""), ("plotly.min.js", "var")):
        (pages / page).write_text(text)
    report.build("try")
    assert made == ["20_old", "00_done", "10_real"] and (pages / "plotly.min.js").read_bytes() == whole


def test_the_ledger_is_counted(study):
    ledger = Ledger(study.folder / "outputs" / "try")
    specs = [
        {"method": "m", "data": {"name": "d"}, "split": "official", "settings": {"seed": seed}} for seed in (1, 2, 3)
    ]
    for spec in specs[:2]:
        empty = pd.DataFrame({"step": [1]})
        ledger.lock(spec).complete({"rho": 0.5}, empty, pd.DataFrame({"id": ["a"], "score": [1.0]}))
    ledger.lock(specs[2]).fail("NaN")
    text = " ".join(report.build("try").read_text().split())
    assert report.run_counts("try") == {"complete": 2, "failed": 1}
    assert "2 complete, 1 failed in" in text and "<b>2</b><span>training runs complete" in text


def test_the_readme_gets_its_results_between_the_markers(study):
    path = study.folder / "README.md"
    path.write_text("before\n<!-- results:begin -->\nformer\n<!-- results:end -->\nafter\n")
    update_readme(path, "try")
    text = path.read_text()
    assert text.startswith("before\n<!-- results:begin -->\n") and text.endswith("<!-- results:end -->\nafter\n")
    assert "former" not in text
    assert "| [00_done](notebooks/00_done.ipynb) | Is 00_done so? |" in text and "*(surrogate)*" in text
    assert "| (missing) |" in text and "| (failed) |" in text
    assert "0.712" not in text  # the numbers stand in the report
    update_readme(path, "try")
    assert path.read_text() == text
    for wrong in ("nothing", "<!-- results:end --> <!-- results:begin -->"):
        path.write_text(wrong)
        with pytest.raises(UserError, match="results:begin"):
            update_readme(path, "try")
        assert path.read_text() == wrong


def test_the_readme_gets_what_is_kept_of_other_studies(study):
    path, kept = study.folder / "README.md", study.folder / "docs" / "results" / "deep"
    kept.mkdir(parents=True)
    known = {"question": "Is it so?", "answer": "It is.", "date": "2026-01-02", "minutes": 3.04, "surrogate": True}
    (kept / "07_so.md").write_text(f"# Is it so?\n\n<!-- aqa {json.dumps(known)} -->\n")
    marks = "<!-- {0}:begin -->\nformer\n<!-- {0}:end -->\n"
    path.write_text(marks.format("results") + marks.format("deep"))
    update_readme(path, "try")
    row = "| [Is it so?](docs/results/deep/07_so.md) | It is. *(surrogate)* | 2026-01-02 | 3.0 |"
    assert row in path.read_text().split("<!-- deep:begin -->")[1].splitlines() and "former" not in path.read_text()


def test_the_results_say_at_which_commit_and_where_they_were_made(study, repository, monkeypatch):
    path = study.folder / "README.md"
    path.write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    update_readme(path, "try")
    asked = ["git", "-C", str(repository), "rev-parse", "--short=12", "HEAD"]
    head = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    at = f"commit {head}(-dirty)?" if head else "no known commit"
    where = f"{platform.system()}, a (processor {platform.machine()} with|GPU,) [^\n]+"
    assert re.search(f"^at {at} on {where}, torch {re.escape(torch.__version__)}\\.$", path.read_text(), re.M)
    monkeypatch.setattr(readme, "commit", lambda: None)
    monkeypatch.setattr(readme, "default_device", lambda: "cuda:0")
    monkeypatch.setattr(readme, "describe", lambda device: {"device": device, "device_name": "Fast One"})
    update_readme(path, "try")
    said = f"at no known commit on {platform.system()}, a GPU, Fast One, torch"
    assert [line.startswith(said) for line in path.read_text().splitlines()][2]


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "–"),
        (3, "3"),
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (-12.3456, "-12.346"),
        (1e-5, "1e-05"),
        ("x", "x"),
    ],
)
def test_numbers_are_shown_with_the_digits_that_matter(value, text):
    assert report.shown(value) == text


# ---- answer(), and figures


def test_answer_refuses_what_the_report_could_not_show():
    with pytest.raises(UserError, match="text is empty"):
        answer(" ")
    with pytest.raises(UserError, match="table takes a DataFrame, but got list"):
        plain_table([1])


def test_a_table_keeps_its_index_if_it_says_something():
    frame = pd.DataFrame({"rho": [0.5, float("inf")]}, index=pd.Index(["a", "b"], name="method"))
    assert plain_table(frame) == {"columns": ["method", "rho"], "rows": [["a", 0.5], ["b", None]]}
    assert plain_table(frame.reset_index(drop=True))["columns"] == ["rho"]
    stats = frame.groupby(level=0).agg({"rho": ["mean", "size"]})
    assert plain_table(stats)["columns"] == ["method", "rho mean", "rho size"]
    assert plain_table(pd.DataFrame({"t": [pd.Timestamp("2020-01-02")], "b": [True]}))["rows"] == [
        ["2020-01-02 00:00:00", True]
    ]


def test_a_styled_figure_says_surrogate_once():
    figure = style(style(go.Figure(), "Title"))
    assert [note.text for note in figure.layout.annotations] == ["surrogate"]
    assert figure.layout.title.text == "Title" and figure.layout.template.layout.colorway == PALETTE
    assert not style(go.Figure(), surrogate=False).layout.annotations
    assert faded("#0072B2", 0.5) == "rgba(0,114,178,0.5)"


def test_no_png_is_drawn_without_kaleido(tmp_path, monkeypatch):
    monkeypatch.setattr(static, "has_kaleido", lambda: False)
    monkeypatch.setattr(static.subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert static.save_pngs({str(tmp_path / "a.png"): "{}"}) == []


@pytest.mark.parametrize("fault", ["sleep 60", "exit 1"])
def test_a_browser_that_hangs_or_fails_costs_a_bounded_time(tmp_path, monkeypatch, fault):
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{fault}\n")
    script.chmod(0o755)
    monkeypatch.setattr(static.sys, "executable", str(script))
    monkeypatch.setattr(static, "has_kaleido", lambda: True)
    assert static.save_pngs({str(tmp_path / "a.png"): "{}"}, patience=(0.5, 0.1)) == []
    assert subprocess.run(["pgrep", "-f", str(script)], capture_output=True).returncode == 1  # nobody left
    assert not list(tmp_path.glob("*.png"))


needs_browser = pytest.mark.skipif(static.browser() is None, reason="no browser on this machine")


@needs_browser
def test_a_png_is_drawn_where_a_browser_is(tmp_path):
    pytest.importorskip("kaleido")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    figure = style(go.Figure(go.Bar(y=[1, 2]))).to_json()
    assert static.save_pngs({str(path): figure for path in paths}) == [str(path) for path in paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert sorted(tmp_path.iterdir()) == paths


@needs_browser
def test_a_browser_draws_the_figures_of_the_page(study, tmp_path):
    path = report.build("try")
    command = [
        static.browser(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    for file in (path, path.parent / "notebooks" / "10_real.html"):
        page = subprocess.run([*command, f"file://{file}"], capture_output=True, text=True, timeout=90).stdout
        assert page.count('class="main-svg"') >= 1 and "By method" in page, file
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)
