"""What stands in a page of the report is shown and not obeyed: by what is let in, and by the page's own policy."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import mistune
import nbformat
import nbformat.v4 as v4
import pandas as pd
import plotly.graph_objects as go
import pytest
from browser import chromium, needs_browser
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from aqa_lib.ledger import sources
from aqa_lib.report import page as report
from aqa_lib.report import readme, results
from aqa_lib.report.safe import allowed, figure_json, markdown, policy
from aqa_lib.study.answer import answer, plain_table, words_only

FAULTS = [
    "<script>alert(1)</script>",
    "</title></script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="jav&#x0A;ascript:alert(1)">x</a>',
    '<a href="data&colon;text/html,<script>alert(1)</script>">x</a>',
    '<img src="data:text/html;base64,PHNjcmlwdD4=">',
    '<img src="https://example.org/seen.png">',
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<div style="background:url(https://example.org/seen)" onclick="alert(1)" id="figure-1">x</div>',
    '<meta http-equiv="refresh" content="0;url=https://example.org">',
    '<base href="https://example.org"><form action="https://example.org"><input autofocus onfocus=alert(1)></form>',
    '<link rel=stylesheet href="https://example.org/a.css"><style>@import "https://example.org/a.css"</style>',
    "<!--><script>alert(1)</script>-->",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "[x](javascript:alert(1)) ![x](https://example.org/seen.png) ![x](attachment:none) <https://example.org>",
]


class Parts(HTMLParser):
    """Tags with their attributes, scripts with their content, and the text of a page, by Python's own parser."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append((dict(attributes), ""))

    def handle_data(self, text):
        if self.cdata_elem == "script":
            self.scripts[-1] = self.scripts[-1][0], self.scripts[-1][1] + text
        self.text += text


def obeyed(text):
    """What a browser would obey in HTML that only has words, tables and pictures to show."""
    for tag, attributes in Parts(text).tags:
        if tag in (
            "script",
            "style",
            "svg",
            "math",
            "iframe",
            "form",
            "input",
            "meta",
            "base",
            "link",
            "object",
            "embed",
        ):
            yield tag
        for name, value in attributes.items():
            value = re.sub(r"\s", "", value or "")
            if name.startswith("on") or name in ("id", "srcdoc", "action") or "url(" in value:
                yield f"{tag} {name}"
            if name == "href" and ":" in value and not value.startswith(("http://", "https://", "mailto:")):
                yield f"{tag} {name} {value}"
            if name == "src" and not value.startswith("data:image/"):
                yield f"{tag} {name} {value}"


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_of_what_is_let_in_is_obeyed(fault):
    assert list(obeyed(allowed(fault))) == []
    assert list(obeyed(markdown(fault))) == []
    assert list(obeyed(markdown(words_only(fault)))) == []
    assert list(obeyed(allowed(pd.DataFrame({fault: [fault]}, index=[fault])._repr_html_()))) == []


def test_the_check_sees_what_it_forbids():
    assert [fault for fault in FAULTS[:-1] if not list(obeyed(fault.removeprefix("<!-->")))] == []


def test_tables_and_prose_keep_their_form():
    frame = pd.DataFrame({"rho": [0.5, 0.25], "name": ["a < b", "<script>"]}, index=pd.Index(["x", "y"], name="id"))
    shown = allowed(frame._repr_html_())
    tags = [tag for tag, _ in Parts(shown).tags]
    assert tags.count("td") == 4 and tags.count("th") == 8 and "style" not in tags and ".dataframe" not in shown
    assert Parts(shown).text.split() == "rho name id x 0.50 a < b y 0.25 <script>".split()
    prose = markdown("**Yes**, *it* does: [here](#there).\n\n| a | b |\n|--:|---|\n| 1 | 2 |")
    assert "<strong>Yes</strong>" in prose and '<a href="#there">' in prose and "text-align:right" in prose
    picture = f'<img alt="a" src="data:image/png;base64,{"A" * 8}">'
    assert allowed(picture) == picture


LETTERS = st.text(alphabet="<>[]()$`\\&;:!/ab#l t=\"'{}", max_size=8)


@given(st.lists(LETTERS | st.sampled_from([*FAULTS, "https://example.org", "&lt;", "&#60;"]), max_size=6))
def test_words_are_shown_letter_by_letter(parts):
    """By two renderers of Markdown, each in a sentence, as an answer has its names."""
    said = f"It beats x{''.join(parts)}x here."
    source = words_only(said)
    renderers = [mistune.create_markdown(escape=False), MarkdownWithMath(renderer=IPythonRenderer(escape=False)).render]
    for render in renderers:
        shown = render(source)
        parsed = Parts(shown)
        assert [tag for tag, _ in parsed.tags] == ["p"]
        assert " ".join(parsed.text.split()) == " ".join(said.split())


@pytest.mark.parametrize("fault", FAULTS)
def test_pages_of_results_and_the_readme_show_what_they_are_given(fault):
    fault = f"{fault} ](https://example.org) | `"
    table = {"columns": [fault], "rows": [[fault]]}
    answer = {"question": fault, "text": f"Yes. {fault}", "table": table, "numbers": None, "surrogate": False}
    answer |= {"finished": 0.0, "seconds": 1.0, "origin": None}
    card = answer | {"name": "a", "notebook": "a", "state": "done", "command": "aqa study x", "numeric": [False]}
    facts = {"question": fault, "answer": fault, "surrogate": False, "date": "x", "minutes": 1}
    index = "| a | b | c | d |\n|---|---|---|---|\n" + results.row("a.md", facts)
    manifest = {"study": "a", "command": "aqa study x"}
    for text in (results.page(answer, "aqa study x"), readme.results([card], manifest), index):
        shown = mistune.create_markdown(escape=False, plugins=["table"])(text)
        assert list(obeyed(shown)) == []
        links = {a["href"] for _, a in Parts(shown).tags if "href" in a}
        assert links <= {"notebooks/a.ipynb", "a.md"}
        assert " ".join(fault.split()) in " ".join(Parts(shown).text.split())


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_in_jupyterlab_is_words(fault, monkeypatch):
    """JupyterLab obeys the HTML of a cell that was run in it, so the notebook's own Markdown must hold none."""
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    answer(f"It beats {fault}.", table=pd.DataFrame({fault: [fault]}), surrogate=False)
    text = MarkdownWithMath(renderer=IPythonRenderer(escape=False)).render(shown[0].data)
    assert list(obeyed(text)) == list(obeyed(shown[1]._repr_html_().partition("</style>")[2])) == []
    assert " ".join(f"Answer. It beats {fault}.".split()) == " ".join(Parts(text).text.split())


def test_emphasis_stays():
    assert markdown(words_only("**Yes**, *it* does.")) == "<p><strong>Yes</strong>, <em>it</em> does.</p>\n"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_figure_keeps_its_texts_and_none_of_their_tags(fault):
    figure = {"data": [{"x": [fault], "hovertemplate": "%{x}<br><b>n</b><extra></extra>"}], "layout": {"title": fault}}
    text = figure_json(figure)
    assert "<" not in text
    found = json.loads(text)
    assert found["data"][0]["hovertemplate"] == figure["data"][0]["hovertemplate"]
    for shown in (found["data"][0]["x"][0], found["layout"]["title"]):
        assert not re.search(r"<(?!br>|b>|/b>)", shown)
        assert html.unescape(shown) == html.unescape(fault)


# ---- whole pages


@pytest.fixture
def study(house, monkeypatch):
    """A study of one notebook whose every output, table, figure and sentence is hostile."""
    monkeypatch.setattr("aqa_lib.figures.static.save_pngs", lambda figures: [])
    house.place.mkdir(parents=True)
    figure = go.Figure(go.Bar(x=[f"{i} {f}" for i, f in enumerate(FAULTS)], y=[*range(len(FAULTS))], text=FAULTS))
    figure = json.loads(figure.update_layout(title=FAULTS[0]).to_json())
    table = plain_table(pd.DataFrame([FAULTS], columns=[f"{i} {f}" for i, f in enumerate(FAULTS)]))
    content = {"key": "k", "question": "x", "figure": True, "table": table, "seconds": 1.0, "finished": 0}
    content |= {"modules": [], "digest": sources.digest([]), "text": f"Yes {' '.join(FAULTS)}", "surrogate": False}
    (house.place / "00_a.answer.json").write_text(json.dumps(content))
    (house.place / "00_a.figure.json").write_text(json.dumps(figure))
    cells = [v4.new_markdown_cell("# Is it?\n\n" + "\n\n".join(FAULTS)), v4.new_raw_cell(FAULTS[0])]
    cells[1].metadata["raw_mimetype"] = "text/html"
    kinds = ["text/html", "text/markdown", "image/svg+xml", "text/latex", "text/plain", "application/javascript"]
    for fault in FAULTS:
        shown = [v4.new_output("display_data", {kind: fault}) for kind in kinds]
        shown.append(v4.new_output("display_data", {"text/html": fault}, metadata={"text/html": {"isolated": True}}))
        shown.append(v4.new_output("stream", text=fault))
        shown.append(v4.new_output("error", ename=fault, evalue=fault, traceback=[fault]))
        cells.append(v4.new_code_cell(fault, outputs=shown, metadata={"tags": [f'"><b {fault}'.replace(",", "")]}))
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": FAULTS[0], "version_major": 2}}
    picture = v4.new_output(
        "display_data", {"image/png": "AAAA"}, metadata={"image/png": {"width": "1 onerror=alert(1)"}}
    )
    drawn = v4.new_output("display_data", {"application/vnd.plotly.v1+json": figure})
    cells.append(v4.new_code_cell("x", outputs=[v4.new_output("display_data", widget), picture, drawn, drawn]))
    nb = v4.new_notebook(cells=cells, metadata={"widgets": {"application/vnd.jupyter.widget-state+json": FAULTS[0]}})
    nbformat.write(nb, house.place / "00_a.ipynb")
    entries = [{"name": "00_a", "notebook": "00_a", "question": FAULTS[0], "key": "k", "parameters": {"n": FAULTS}}]
    manifest = {"study": "try", "command": f"aqa study {FAULTS[0]}", "notebooks": entries}
    (house.place / "study.json").write_text(json.dumps(manifest))
    return house


def pages(folder):
    return [folder / "index.html", folder / "notebooks" / "00_a.html"]


def test_a_page_runs_one_script_by_its_hash_and_none_of_the_notebooks(study):
    for path in pages(report.build("try").parent):
        parts = Parts(path.read_text())
        ran = [text for attributes, text in parts.scripts if attributes.get("type") != "application/json"]
        digest = base64.b64encode(hashlib.sha256(ran[0].encode()).digest()).decode()
        assert len(ran) == 1
        rule = next(a["content"] for tag, a in parts.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert (
            rule == policy() and f"script-src 'sha256-{digest}' 'strict-dynamic';" in rule and "unsafe-eval" not in rule
        )
        assert rule.startswith("default-src 'none';") and "http" not in rule
        handlers = [name for _, attributes in parts.tags for name in attributes if name.startswith("on")]
        loaded = [a["src"] for _, a in parts.tags if "src" in a and not a["src"].startswith("data:image/")]
        assert handlers == [] and [src for src in loaded if not src.startswith("../notebooks/")] == []
        assert not {"iframe", "svg", "form", "object", "base"} & {tag for tag, _ in parts.tags}


@needs_browser
def test_chromium_shows_hostile_pages_without_a_dialog_or_an_error(study, tmp_path):
    with chromium(tmp_path / "profile") as browser:
        for path, figures in zip(pages(report.build("try").parent), (1, 2), strict=True):
            found = browser.read(path)
            assert (found["dialogs"], found["errors"]) == ([], []), path
            assert (found["places"], found["figures"]) == (figures, figures), path
            assert "<script>alert(1)</script>" in found["text"]  # shown as it is written


@needs_browser
def test_the_policy_holds_by_itself(study, tmp_path):
    """What would have slipped past the list of allowed HTML is refused by Chromium; the figures are still drawn."""
    path = pages(report.build("try").parent)[1]
    slipped = path.read_text().replace("</main>", "".join([*FAULTS[:4], FAULTS[8], FAULTS[9], "</main>"]))
    path.write_text(slipped)
    without = path.with_stem("without")
    without.write_text(re.sub(r"<meta http-equiv=[^>]*>", "", slipped))
    with chromium(tmp_path / "profile") as browser:
        found = browser.read(path)
        assert found["dialogs"] == [] and found["figures"] == 2
        assert any("Content Security Policy" in str(error) for error in found["errors"])
        assert browser.read(without)["dialogs"]  # the same page without the policy: this test can fail


@needs_browser
def test_a_figure_that_cannot_be_drawn_leaves_the_others(study, tmp_path):
    path = pages(report.build("try").parent)[1]
    text = path.read_text()
    first = text.index('id="figure-1">') + len('id="figure-1">')
    path.write_text(f"{text[:first]}{{{text[first:]}")  # {{: no JSON any more
    with chromium(tmp_path / "profile") as browser:
        found = browser.read(path, figures=1)
    assert found["figures"] == 1 and "cannot be drawn" in found["text"] and found["errors"] == []
