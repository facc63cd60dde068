"""A headless Chromium that a test reads pages in: what it says of errors, dialogs and figures.

It is driven by Chrome's DevTools protocol over a websocket; websocket-client comes with JupyterLab.
"""

import contextlib
import json
import re
import subprocess
import time

import pytest
import websocket

from aqa_lib.figures import static

needs_browser = pytest.mark.skipif(static.browser() is None, reason="no browser on this machine")
SWITCHES = ["--headless", "--no-sandbox", "--no-first-run", "--disable-quic", "--disable-sync", "--disable-gpu"]
SWITCHES += ["--disable-background-networking", "--disable-component-update", "--enable-unsafe-swiftshader"]
SWITCHES += ["--remote-debugging-port=0", "--remote-allow-origins=*"]
FIGURES = "[...document.querySelectorAll('.js-plotly-plot')].filter(p => p.querySelector('.main-svg'))"


@contextlib.contextmanager
def chromium(folder):
    """A browser with its profile in `folder`; yields a Browser, and ends it."""
    command = [static.browser(), *SWITCHES, f"--user-data-dir={folder}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        address = next(filter(None, (re.search(r"DevTools listening on (ws://\S+)", line) for line in process.stderr)))
        yield Browser(websocket.create_connection(address[1], timeout=30))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


class Browser:
    """Commands and events of one connection."""

    def __init__(self, socket):
        self.socket, self.count, self.session, self.events = socket, 0, None, []

    def post(self, method, **params):
        """Send a command without waiting for its answer; returns its number."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        return self.count

    def send(self, method, **params):
        """A command's answer; events are kept meanwhile, and dialogs closed, since the page waits for that."""
        number = self.post(method, **params)
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)
            if said.get("method") == "Page.javascriptDialogOpening":
                self.post("Page.handleJavaScriptDialog", accept=True)

    def value(self, expression):
        """What a JavaScript expression gives in the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def read(self, path, figures=None, seconds=30):
        """Open a page until it has drawn `figures`, by default as many as have a place in it; returns what happened."""
        self.session, self.events = None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=path.as_uri() if hasattr(path, "as_uri") else path)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.value("document.readyState === 'complete'"):
            time.sleep(0.05)
        places = self.value("document.querySelectorAll('[data-figure]').length")
        wanted = places if figures is None else figures
        while time.monotonic() < end and self.value(f"{FIGURES}.length") < wanted:
            time.sleep(0.05)
        time.sleep(0.1)
        page = {"places": places, "figures": self.value(f"{FIGURES}.length")}
        page["text"] = self.value("document.body.innerText")
        page |= {"dialogs": self.of("Page.javascriptDialogOpening"), "errors": self.errors()}
        self.session = None
        self.send("Target.closeTarget", targetId=target)
        return page

    def of(self, method):
        return [event["params"] for event in self.events if event.get("method") == method]

    def errors(self):
        """Exceptions, refused scripts and whatever else the console shows in red."""
        found = [event["exceptionDetails"] for event in self.of("Runtime.exceptionThrown")]
        found += [event["entry"]["text"] for event in self.of("Log.entryAdded") if event["entry"]["level"] == "error"]
        return found + [event["args"] for event in self.of("Runtime.consoleAPICalled") if event["type"] == "error"]
