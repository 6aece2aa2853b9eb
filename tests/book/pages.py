"""Where the built pages are, and how a browser gets them."""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
HTML = ROOT / os.environ.get("MRILAB_PAGES", "_build/html")
BROWSERS = ("chromium", "google-chrome", "chromium-browser")


def find_browser():
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, f"no browser: found none of {', '.join(BROWSERS)} on PATH"
    assert shutil.which("node"), "no node: install Node, then `make env`"
    return browser


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served():
    """The addresses of the pages over http and as files."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"http": f"http://127.0.0.1:{server.server_port}/", "file": f"{HTML.as_uri()}/"}
        server.shutdown()
