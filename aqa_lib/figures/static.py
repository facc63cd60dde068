"""PNG files of figures, where kaleido and a browser are installed; no error where not.

A separate process with one browser draws all PNG files, so that a browser that does not start, or hangs, costs a
bounded time and nothing else.
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
        with contextlib.suppress(OSError):
            os.replace(source, path) if painter.returncode == 0 else os.unlink(source)
    return [path for path in paths if painter.returncode == 0 and os.path.exists(path)]


def paint():
    """What the separate process does: read figures and paths from standard input and draw them with one browser."""
    import plotly.io as pio

    texts, paths = json.load(sys.stdin)
    pio.write_images([pio.from_json(text) for text in texts], paths, scale=2)


if __name__ == "__main__":
    paint()
