"""Figures as files: JSON and HTML always, a PNG where kaleido and a browser are found, no error where not.

The pictures are drawn by a process of its own with one browser for all of them, so that a browser that does
not start, or hangs, costs a bounded time and nothing else.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "brave",
)
PATIENCE = 30.0, 3.0  # seconds for the browser's start, and for each figure


def browser():
    """The browser that kaleido would use for a PNG, or None."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)


def has_kaleido():
    """Whether the package that drives the browser is installed."""
    return importlib.util.find_spec("kaleido") is not None


def save_figure(figure, stem):
    """Write stem.json and stem.html, and stem.png if that is possible; returns the paths written."""
    return save_figures({stem: figure})


def save_figures(figures):
    """save_figure for {stem: figure}, with one start of the browser for all of them."""
    written = []
    for stem, figure in figures.items():
        figure.write_json(f"{stem}.json")
        figure.write_html(f"{stem}.html", include_plotlyjs="directory")  # works without a network
        written += [f"{stem}.json", f"{stem}.html"]
    return written + save_pngs({f"{stem}.png": figure.to_json() for stem, figure in figures.items()})


def save_pngs(figures, patience=PATIENCE):
    """Draw {path: figure as JSON} into PNG files as far as that works here; returns the paths written."""
    if not figures or not has_kaleido():
        return []
    paths = [os.path.abspath(path) for path in figures]
    partial = [f"{path[:-4]}.{os.getpid()}.partial.png" for path in paths]
    request = json.dumps([list(figures.values()), partial]).encode()
    painter = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        painter.communicate(request, timeout=patience[0] + patience[1] * len(paths))
    except subprocess.TimeoutExpired:
        pass
    finally:  # the browser goes with its process group, however this ends
        with contextlib.suppress(OSError):
            os.killpg(painter.pid, signal.SIGKILL)
        painter.wait()
    for source, path in zip(partial, paths, strict=True):
        with contextlib.suppress(FileNotFoundError):
            os.replace(source, path) if painter.returncode == 0 else os.unlink(source)
    return [path for path in paths if painter.returncode == 0 and os.path.exists(path)]


def paint():
    """The painter's side: figures and paths from standard input, one browser."""
    import plotly.io as pio

    texts, paths = json.load(sys.stdin)
    pio.write_images([pio.from_json(text) for text in texts], paths, scale=2)


if __name__ == "__main__":
    paint()
