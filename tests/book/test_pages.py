"""Every built page in a real browser, the network cut off: no page error, nothing missing, nothing fetched elsewhere.

The pages are those of ``make book``, or the folder that the variable ``MRILAB_PAGES`` names.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import HTML, find_browser, served

INDEX = HTML / "index.html"    # only sends the reader to the first page
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html") if "_static" not in p.parts and p != INDEX)


def test_book_is_built():
    if not PAGES and "MRILAB_PAGES" not in os.environ:
        pytest.skip("no built pages: run `make book` first")
    assert re.search(r"url=([^\"]+)", INDEX.read_text())[1] in PAGES


@pytest.fixture(scope="module")
def report():
    """What visit.mjs saw, {page: {"http" or "file": {"faults": [...], "links": [...]}}}."""

    with served() as roots:
        seen = subprocess.run(
            ["node", Path(__file__).parent / "visit.mjs", find_browser(), *roots.values()],
            input=json.dumps(PAGES), capture_output=True, text=True, timeout=900,
        )
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
