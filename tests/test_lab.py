"""`make lab`: the whole repository is served, and the first notebook is what opens."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

FIRST = "/lab/tree/notebooks/00_start.ipynb"


def recipe(repository):
    """The words that `make lab` runs, without the program's own path."""
    line = re.search(r"^lab:.*\n\t(.*)$", (repository / "Makefile").read_text(), re.M)[1]
    program, *words = line.split()
    assert program == "$(BIN)/jupyter"
    return words


def get(address):
    """(status, where a redirection leads, content) of an address; redirections are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        with urllib.request.build_opener(Stay).open(address, timeout=20) as answer:
            return answer.status, None, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Location"), b""


@pytest.mark.slow
def test_make_lab_serves_the_repository_and_opens_the_first_notebook(repository, tmp_path):
    words = [*recipe(repository), "--no-browser", "--ServerApp.port=0", "--IdentityProvider.token="]
    words += ["--allow-root"] * (os.geteuid() == 0)
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("RUNTIME", "CONFIG", "DATA")}
    program = Path(sys.executable).with_name("jupyter")
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen([program, *words], cwd=repository, env=os.environ | own, stdout=log, stderr=log)
    try:
        end, found = time.monotonic() + 90, None
        while found is None and time.monotonic() < end and server.poll() is None:
            files = list((tmp_path / "RUNTIME").glob("jpserver-*.json"))
            found = json.loads(files[0].read_text() or "null") if files else None
            time.sleep(0.2)
        assert found, (tmp_path / "log").read_text()
        base = f"http://127.0.0.1:{found['port']}"
        status, where, _ = get(f"{base}/")
        assert (status, where.rstrip("?")) == (302, FIRST)
        status, _, page = get(f"{base}{FIRST}")
        assert status == 200 and b'"treePath": "notebooks/00_start.ipynb"' in page
        for path, kind in (("notebooks/00_start.ipynb", "notebook"), ("README.md", "file"), ("configs", "directory")):
            status, _, content = get(f"{base}/api/contents/{path}")
            assert status == 200 and json.loads(content)["type"] == kind
    finally:
        server.terminate()
        server.wait(20)
