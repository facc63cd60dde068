"""For all tests and notebooks: outputs/ in a temporary folder, and which notebooks are compared strictly.

A notebook with the metadata `aqa: {reference: true}` is committed with its outputs, and every one of them is
compared; of the others, those of the cells tagged `nbval-check-output`.
"""

import json
import os
import shutil
import tempfile

# A figure's JSON holds the exact bits of trained numbers, and HTML random ids: words and tables are compared.
SKIPPED = ("text/html", "application/vnd.plotly.v1+json")


def pytest_configure(config):
    """Give this session, its workers and all their kernels one outputs/ of its own."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # never a browser window
    if not hasattr(config, "workerinput"):
        config.own_outputs = tempfile.mkdtemp(prefix="aqa-test-outputs-")
        os.environ["AQA_OUTPUTS"] = config.own_outputs


def pytest_unconfigure(config):
    """Remove that folder again."""
    if hasattr(config, "own_outputs"):
        shutil.rmtree(config.own_outputs, ignore_errors=True)


def is_reference(path):
    """Whether a notebook says that it is committed with its outputs."""
    return json.loads(path.read_text())["metadata"].get("aqa", {}).get("reference") is True


def pytest_collectstart(collector):
    """The hook in which nbval lets one change what it compares."""
    if getattr(collector, "path", None) is not None and collector.path.suffix == ".ipynb":
        if hasattr(collector, "skip_compare"):
            collector.skip_compare += SKIPPED
            collector.compare_outputs = is_reference(collector.path)
