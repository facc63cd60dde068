"""The report of a study: one page with every question, its answer in words, its figure and its table.

It is made from the files in outputs/<study>/notebooks and works without a network: plotly.js is
copied beside it, and the executed notebooks are pages of their own.
"""

import collections
import datetime
import json
import platform
from importlib.metadata import version
from pathlib import Path

from aqa_lib.batch import answers
from aqa_lib.batch.execute import current, place
from aqa_lib.batch.plan import first_sentence
from aqa_lib.errors import UserError, choose
from aqa_lib.ledger.checksums import checksum
from aqa_lib.ledger.files import write
from aqa_lib.paths import outputs, relative, writable
from aqa_lib.report.safe import SCRIPT, TEMPLATES, allowed, figure_json, markdown, policy
from aqa_lib.study.answer import words_only

PNG_END = b"IEND\xaeB`\x82"  # the last chunk of every PNG
SHOWN = ("torch", "numpy", "scipy", "pandas", "plotly", "papermill")


def build(study):
    """Write outputs/<study>/report/index.html and what it links to; returns its path."""
    manifest, folder = read_manifest(study), writable(outputs(study) / "report")
    writable(folder / "notebooks")
    cards = [card(entry, manifest["command"], place(study)) for entry in manifest["notebooks"]]
    copy_plotly(folder / "plotly.min.js")
    pictures(cards, place(study))
    for item in cards:
        source = place(study) / f"{item['name']}.ipynb"
        item["page"] = notebook_page(source, folder / "notebooks") if item["state"] != "damaged" else None
        item["png"] = f"../notebooks/{item['name']}.figure.png" if item.get("picture") else None
    content = {
        "study": study,
        "cards": cards,
        "written": datetime.datetime.now().strftime("%-d %B %Y, %H:%M") if platform.system() != "Windows" else "",
        "seconds": duration(sum(item.get("seconds", 0) for item in cards)),
        "runs": run_counts(study),
        "folder": relative(outputs(study)),
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in SHOWN},
    }
    write(folder / "index.html", environment().get_template("report.html.j2").render(content))
    return folder / "index.html"


def read_manifest(study):
    """What the study consists of, as the runner noted it."""
    path = place(study) / "study.json"
    if not path.is_file():
        known = sorted(p.parents[1].name for p in outputs().glob("*/notebooks/study.json"))
        if not known:
            raise UserError(f"no study has been run in {outputs()} yet: `aqa study configs/study.yaml` runs one")
        choose("study", study, known)
    try:
        return answers.manifest(path)
    except ValueError as error:
        raise UserError(f"cannot read {relative(path)} ({error}): `aqa study CONFIG` writes it again") from None


def card(entry, command, folder):
    """All that the page says of one notebook; its state is done, outdated, failed, missing or damaged."""
    name = entry["name"]
    found = entry | {"state": "missing", "surrogate": False}
    found["command"] = f"{command} --only {name} --force"
    try:
        answer, failed = answers.whole(folder, name)
    except ValueError as error:
        return found | {"state": "damaged", "damage": str(error)}
    if failed:
        found |= failed | {"state": "failed"}
    elif answer:
        found |= answer | {"state": "done" if current(answer, entry["key"]) else "outdated"}
        short, whole = (markdown(words_only(text)) for text in (first_sentence(answer["text"]), answer["text"]))
        found |= {"html": whole, "short": short}
        figure = folder / f"{name}.figure.json"
        found["figure"] = figure_json(json.loads(figure.read_text())) if answer["figure"] and figure.exists() else None
        found["numeric"] = numeric(answer["table"]) if answer["table"] else []
    return found


def numeric(table):
    """Which columns are numeric, and are aligned to the right."""
    return [
        all(v is None or isinstance(v, (int, float)) for v in column) for column in zip(*table["rows"], strict=True)
    ] or [False] * len(table["columns"])


def shown(value):
    """A table's value: three decimals, or three significant digits where those would not do."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"
    return str(value)


def duration(seconds):
    """95 as '1 min 35 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def environment():
    """The Jinja environment of the templates, with autoescape, and what all pages have in their head."""
    import jinja2

    found = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    found.filters |= {"cell": shown, "time": duration}
    found.globals |= {"css": (TEMPLATES / "style.css").read_text(), "policy": policy(), "script": SCRIPT}
    return found


def copy_plotly(path):
    """plotly.js as the installed plotly has it."""
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    if not path.is_file() or path.read_bytes() != source.read_bytes():
        write(path, source.read_bytes())


def pictures(cards, folder):
    """A PNG beside each figure where a browser is installed; only those that are missing or older."""
    from aqa_lib.figures.static import save_pngs

    wanted = {}
    for item in cards:
        if item.get("figure"):
            source, path = folder / f"{item['name']}.figure.json", folder / f"{item['name']}.figure.png"
            if not newer(path, source) or not path.read_bytes().endswith(PNG_END):
                wanted[str(path)] = source.read_text()
    save_pngs(wanted)
    for item in cards:
        item["picture"] = bool(item.get("figure")) and (folder / f"{item['name']}.figure.png").is_file()


def newer(made, *sources):
    """Whether a file is there and not older than what it is made from."""
    return made.is_file() and made.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def notebook_page(path, folder):
    """An executed notebook as a page of the report; returns its link, None where there is no notebook."""
    if not path.exists():
        return None
    target = folder / f"{path.stem}.html"
    made_from = checksum(b"".join(file.read_bytes() for file in (path, *sorted(TEMPLATES.iterdir()))))
    if not stands(target, made_from):
        try:
            html = notebook_html(path)
        except Exception:  # of many kinds, in a notebook that something else wrote
            return None
        write(target, f"{html}\n{mark(made_from, html)}")
    return f"notebooks/{target.name}"


def mark(made_from, html):
    """The last line of a page: checksums of what it was made from, and of itself."""
    return f"<!-- {made_from} {checksum(html)} -->"


def stands(path, made_from):
    """Whether a page is there as it was made, and of these sources."""
    try:
        html, _, last = path.read_text().rpartition("\n")
    except (OSError, ValueError):
        return False
    return last == mark(made_from, html)


def notebook_html(path):
    """The notebook's HTML, its figures drawn by the report's own plotly.js; formulas stay as they are written."""
    import nbformat
    from pygments.formatters import HtmlFormatter

    nb, figures = nbformat.read(path, as_version=4), []
    nb.metadata = nbformat.from_dict({"language_info": {"name": "python", "pygments_lexer": "ipython3"}})
    for cell in nb.cells:
        cell.metadata = {}  # a page shows nothing of anybody's metadata
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get("application/vnd.plotly.v1+json")
            if figure:
                figures.append(figure_json(figure))
                output["data"] = {"text/html": f'<div data-figure="figure-{len(figures)}"></div>'}
            if "metadata" in output:
                output["metadata"] = {}
    content = {"title": path.stem, "body": exporter().from_notebook_node(nb)[0], "figures": figures}
    content["highlight"] = HtmlFormatter().get_style_defs(".highlight")
    return environment().get_template("notebook.html.j2").render(content)


def exporter():
    """nbconvert's exporter with our list of allowed HTML; of a script it keeps nothing, an SVG becomes a picture."""
    from jinja2 import pass_context
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import InvalidNotebook

    found = HTMLExporter(template_name="basic", exclude_anchor_links=True, sanitize_html=True)

    @pass_context
    def prose(context, source):
        try:
            return found.markdown2html(context, source)
        except InvalidNotebook:  # it names a picture that is not attached
            return markdown(source)

    found.register_filter("clean_html", allowed)
    found.register_filter("markdown2html", prose)
    return found


def run_counts(study):
    """How many runs of the study's ledger are in which state."""
    from aqa_lib.ledger.ledger import Ledger

    ledger = Ledger(outputs(study))
    return dict(collections.Counter(ledger.state(id) for id in ledger.ids()).most_common())
