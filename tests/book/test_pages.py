"""Every built page in a real browser, the network cut off: no page error, nothing missing, nothing fetched elsewhere.

The pages are those of ``make book``, or the folder that the variable ``MRILAB_PAGES`` names.
"""

import functools
import gzip
import json
import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import HTML, ROOT, find_browser, served

sys.path.insert(0, str(ROOT / "book/_ext"))
from first_use import WITHOUT, glossary  # noqa: E402

INDEX = HTML / "index.html"    # only sends the reader to the first page
GENERATED = ("genindex", "search", "py-modindex")      # by Sphinx, without a source of their own
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html") if "_static" not in p.parts and p != INDEX)


def test_book_is_built():
    if not PAGES and "MRILAB_PAGES" not in os.environ:
        pytest.skip("no built pages: run `make book` first")
    assert re.search(r"url=([^\"]+)", INDEX.read_text())[1] in PAGES


@pytest.fixture(scope="module")
def report():
    """What visit.mjs saw, by page and scheme, "http" or "file": faults, links, what was loaded, how far it jumped."""

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


@pytest.mark.skipif(not PAGES, reason="no built pages")
def test_reader_chooses_the_colours_and_searches():
    """What stands around the text; also of pages that are opened as files."""
    with served() as roots:
        seen = subprocess.run(
            ["node", Path(__file__).parent / "frame.mjs", find_browser(), f"{roots['file']}intro.html"],
            capture_output=True, text=True, timeout=120,
        )
    assert seen.returncode == 0, seen.stderr
    seen = json.loads(seen.stdout)
    assert seen["before"] == "rgb(255, 255, 255)" != seen["after"]
    assert {"glossary.html", "02_many_coils.html"} <= set(seen["found"]) <= set(PAGES)


CHAPTER = HTML / "01_forward_model.html"


@pytest.mark.skipif(not CHAPTER.is_file(), reason="no built pages")
def test_exercises_that_ask_for_a_prediction_wait_for_it():
    """What is seen, open and written of each solution: at first, answered or not, later, on paper, without storage."""
    shots = HTML.parent / "shots"
    shots.mkdir(exist_ok=True)
    with served() as roots:
        run = subprocess.run(
            ["node", Path(__file__).parent / "predict.mjs", find_browser(), roots["file"] + CHAPTER.name,
             shots / "predict"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["faults"] == seen["barriers"] == []
    predict, first = seen["predict"], seen["predict"].index(True)
    second = predict.index(True, first + 1)
    asked = {"seen": False, "open": False, "written": "", "asks": True}
    folded = {"seen": True, "open": False, "written": None, "asks": False}
    before = [asked if kind else folded for kind in predict]
    assert not all(predict) and seen["before"] == seen["taken"] == before

    def but(number, **changes):
        return [state | changes if n == number else state for n, state in enumerate(before)]

    answer = "(a) none\n(b) half"
    assert seen["button"] == "Show the solution" and seen["focused"]
    answered = but(first, seen=True, open=True, written=answer)
    answered[second] = asked | {"seen": True, "open": True}
    assert seen["unanswered"] == sum(predict) - 1 and seen["after"] == answered
    assert seen["later"] == but(first, seen=True, written=answer)
    assert seen["forgetful"] == but(first, seen=True, open=True, written="none")
    assert all(state["seen"] and not state["asks"] for state in seen["printed"])
    assert seen["plain"] == [0, len(predict)]
    assert seen["still"] == [1, 1]                  # the interactive figure: its picture, and a sentence
    light, dark = seen["grounds"]
    assert light != dark and 300 < seen["right"] <= 390


@functools.cache
def transferred(path):
    """Bytes of a file on its way to a reader: the server of the pages compresses text."""
    data = (HTML / path).read_bytes()
    return min(len(data), len(gzip.compress(data)))


@pytest.mark.parametrize("page", PAGES)
def test_page_is_light_and_stands_still(page, report):
    """Below 2 MB for all that it loads, unless it has widgets; nothing jumps when something arrives late."""
    seen = report[page]["http"]
    loaded = {unquote(urlsplit(address).path) for address in seen["loaded"]}
    assert seen["jumps"] < 0.1
    if "_static/widgets/embed-amd.js" not in loaded:
        assert sum(map(transferred, loaded)) < 2e6, sorted(loaded, key=transferred)[-5:]


@pytest.mark.parametrize("width", ["390", "1280"])
@pytest.mark.parametrize("page", PAGES)
def test_figures_can_be_read(page, width, report):
    """Words of 12 pixels at least, formulas whole, and nothing makes the page itself slide sideways."""
    seen = report[page]["http"]["fits"][width]
    assert seen["cut"] == []
    assert seen["wide"] <= 0
    if seen["smallest"]:
        size, words = seen["smallest"]
        assert size > 11.99, words


class Anchors(HTMLParser):
    """The places of a page, and where its links and its head point."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.head, self.unsized = set(), [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places |= {attributes[key] for key in ("id", "name") if key in attributes}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "img" and "_images/" in attributes["src"] and not {"width", "height"} <= set(attributes):
            self.unsized.append(attributes["src"])
        if tag == "meta" and "content" in attributes:
            self.head[attributes.get("property") or attributes.get("name")] = attributes["content"]


@functools.cache
def parsed(path):
    return Anchors(path.read_text())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_a_place_on_the_page(page):
    """Also the part of a link after #, which a browser forgives."""
    broken = []
    for link in parsed(HTML / page).links:
        address = urlsplit(link)
        if address.scheme or address.netloc:
            continue
        target = ((HTML / page).parent / unquote(address.path)).resolve() if address.path else HTML / page
        if not target.is_file():
            broken.append(link)
        elif address.fragment and target.suffix == ".html" and (
                unquote(address.fragment) not in parsed(target).places):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.removesuffix(".html") not in GENERATED])
def test_page_tells_search_engines_and_previews(page):
    head = parsed(HTML / page).head
    assert head["og:title"] and head["og:url"].endswith(f"/{page}")
    assert (HTML / "_static" / head["og:image"].rpartition("/")[2]).is_file()
    assert len(head.get("description", "")) <= 210
    assert f"/{page}</loc>" in (HTML / "sitemap.xml").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_figures_have_their_size(page):
    assert parsed(HTML / page).unsized == []


TERMS = glossary()
BOOK = [page for page in PAGES if page.removesuffix(".html") not in (*GENERATED, *WITHOUT)]
SILENT = (r"<(a|code|pre|script|style|svg|table|figcaption|h\d)\b.*?</\1>|<(span|div) class=\"math.*?</\2>|"
          r"<p class=\"[^>]*title.*?</p>")


def terms_linked(page):
    """By the first of their names, whichever of them the link has."""
    ids = {"term-" + re.sub(r"\W+", "-", name): names[0] for names in TERMS for name in names}
    return {ids[place] for link in parsed(HTML / page).links if (place := unquote(urlsplit(link).fragment)) in ids}


@pytest.mark.parametrize("page", BOOK)
def test_terms_used_on_a_page_are_linked(page):
    text = re.search(r"<article.*?</article>", (HTML / page).read_text(), re.S)[0]
    words = unescape(re.sub(r"<[^>]+>", " ", re.sub(SILENT, " ", text, flags=re.S)))
    used = {names[0] for names, pattern in TERMS.items() if pattern.search(words)}
    assert sorted(used - terms_linked(page)) == []


def test_every_term_is_linked_from_a_page():
    """A name in the glossary that no chapter writes like this helps nobody."""
    if not PAGES:
        pytest.skip("no built pages")
    assert len(TERMS) > 40
    assert sorted({names[0] for names in TERMS}.difference(*map(terms_linked, BOOK))) == []
