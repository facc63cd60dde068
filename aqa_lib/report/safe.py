"""What stands in a page of the report without being obeyed: words from data sets, and the outputs of notebooks.

    allowed(text)          HTML with nothing but text, tables and embedded pictures; the rest is shown as text
    markdown(text)         Markdown as such HTML
    figure_json(figure)    a figure for a script element of the page; its texts keep line breaks and bold type alone
    policy(script)         the Content-Security-Policy of a page that runs this script, and through it plotly.js

The policy holds by itself: no script runs that is not this one, no other server is asked, whatever slipped past.
"""

import base64
import functools
import hashlib
import html
import json
import re
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
SCRIPT = (TEMPLATES / "figures.js").read_text()

TAGS = """a b blockquote br caption code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre s small span
strong sub sup table tbody td tfoot th thead tr u ul""".split()
SPANS = ["colspan", "rowspan"]
STYLES = ("background-color", "color", "font-style", "font-weight", "text-align", "vertical-align", "white-space")
LINK = re.compile(r"https?://|mailto:|[^:]*\Z")  # to a server, or within the report
PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*\Z")
STYLE_SHEET = re.compile(r"<style\b.*?</style\s*>", re.S | re.I)  # pandas puts one before each table
UNKNOWN_TAG = re.compile(r"<(?!/?(b|br|i|sub|sup|extra)>)")  # plotly follows links in <a> and drops what it knows not


def markdown(text):
    """Markdown as HTML, of which no more is let in than of other HTML."""
    import mistune

    return allowed(mistune.create_markdown(escape=False, plugins=["table"])(text))


def allowed(text):
    """HTML with the tags, attributes and styles of the lists above; another tag is shown as it is written."""
    import bleach
    from bleach.css_sanitizer import CSSSanitizer

    attributes = {"*": ["class", "style", "title"], "td": SPANS, "th": SPANS, "div": ["data-figure"]}
    attributes |= {"a": linked, "img": embedded}
    styles = CSSSanitizer(allowed_css_properties=STYLES)
    protocols = {"http", "https", "mailto", "data"}  # data: of pictures alone, see LINK
    how = {"tags": TAGS, "attributes": attributes, "protocols": protocols, "css_sanitizer": styles}
    return bleach.clean(STYLE_SHEET.sub("", text), **how)


def linked(tag, name, value):
    """Whether an attribute of a link is let through."""
    return name == "title" or (name == "href" and LINK.match(html.unescape(value)) is not None)


def embedded(tag, name, value):
    """Whether an attribute of a picture is let through: the words for it, and a source that lies in the page itself."""
    return name == "alt" or (name == "src" and PICTURE.match(value) is not None)


def figure_json(figure):
    """A figure as JSON for inside a script element: {"data": [...], "layout": {...}}."""
    parts = {"data": figure.get("data") or [], "layout": figure.get("layout") or {}}
    return json.dumps(plain(parts)).replace("<", "\\u003c")


def plain(value):
    """The same value with the tags of its texts shown as they are written, but for those of UNKNOWN_TAG."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return UNKNOWN_TAG.sub("&lt;", value) if isinstance(value, str) else value


@functools.cache
def policy(script=SCRIPT):
    """The policy as the text of a meta element: 'strict-dynamic' lets the script load plotly.js, and nobody else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = ["default-src 'none'", f"script-src 'sha256-{digest}' 'strict-dynamic'", "style-src 'unsafe-inline'"]
    rules += ["img-src 'self' data: blob:", "base-uri 'none'", "form-action 'none'"]
    return "; ".join(rules)
