"""Every built page in a real browser, the network cut off: no page error, nothing missing, nothing fetched elsewhere.

The pages are those of ``make book``, or the folder that the variable ``MRILAB_PAGES`` names.
"""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
HTML = ROOT / os.environ.get("MRILAB_PAGES", "_build/html")
INDEX = HTML / "index.html"    # only sends the reader to the first page
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html") if "_static" not in p.parts and p != INDEX)
BROWSERS = ("chromium", "google-chrome", "chromium-browser")


def test_book_is_built():
    if not PAGES and "MRILAB_PAGES" not in os.environ:
        pytest.skip("no built pages: run `make book` first")
    assert re.search(r"url=([^\"]+)", INDEX.read_text())[1] in PAGES


@pytest.fixture(scope="module")
def report():
    """What visit.mjs saw, {page: {"http" or "file": {"faults": [...], "links": [...]}}}."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, f"no browser: found none of {', '.join(BROWSERS)} on PATH"
    assert shutil.which("node"), "no node: install Node, then `make env`"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        roots = f"http://127.0.0.1:{server.server_port}/", f"{HTML.as_uri()}/"
        seen = subprocess.run(
            ["node", Path(__file__).parent / "visit.mjs", browser, *roots],
            input=json.dumps(PAGES), capture_output=True, text=True, timeout=900,
        )
        server.shutdown()
    assert seen.returncode == 0, seen.stderr
    return json.loads(seen.stdout)


@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize("page", PAGES)
def test_page_in_browser(page, scheme, report):
    faults = report[page][scheme]["faults"]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page, report):
    targets = {unquote(urlsplit(link).path) or "index.html" for link in report[page]["http"]["links"]}
    assert [t for t in sorted(targets) if not (HTML / t).is_file()] == []
