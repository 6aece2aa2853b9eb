"""Slides of the chapters, made of the built pages: ``python tools/slides.py [HTML_FOLDER]``, into its _static/slides.

A rule chooses. A slide has one thing from the page: a statement, a prediction, a numbered formula, a figure, a table,
an exercise, the summary. The words that lead to it become the notes of that slide (reveal.js shows them with the key
S), and a section that has none of these shows its first paragraph. The chapter's page then links to its slides.
"""

import re
import sys
from pathlib import Path
from string import Template

from bs4 import BeautifulSoup

from mrilab.writing import atomic_path

ROOT = Path(__file__).parents[1]
FOLDER = "_static/slides"
SHOWN = (".admonition-in-this-chapter, .important.admonition, .exercise.admonition, #summary > ul, figure,"
         " div.math:has(> .eqno), p:has(> strong:-soup-contains(Predict)), .pst-scrollable-table-container,"
         " .cell_output > img, .cell_output > svg, .mri-still > a")
COLAB = re.compile(r'(<p><a [^>]*href="https://colab\.research\.google\.com/.*?)(</p>)', re.DOTALL)
DECK = Template(Path(__file__).with_suffix(".html").read_text())


def slides(section):
    """What the slides of a section show, in order, each with its notes: lists of elements of the page."""
    found, words = [], []
    for child in section.find_all(recursive=False):
        if child.name == "section" or child.select_one("a[href^='https://colab.']") or child.css.match(".solution"):
            continue
        for part in [child] if child.css.match(SHOWN) else child.select(SHOWN):
            found.append((part, words))
            words = []
        if child.name in ("p", "ul", "ol") and not child.css.match(SHOWN):
            words.append(child)
    if not found and words:
        found, words = [(words[0], [])], words[1:]
    if found:
        found[-1][1].extend(words)
    return found


def deck(html, page):
    """The slides of a built page as one HTML document, to stand in the folder ``FOLDER`` of the book."""
    soup = BeautifulSoup(html, "html.parser")
    article = soup.article
    for extra in article.select(".headerlink"):
        extra.decompose()
    for box in article.select(".admonition section"):
        box.name = "div"            # to reveal.js a section is a slide
    for still in article.select(".mri-still > img"):        # of a figure to play with, which is on the page
        still.wrap(soup.new_tag("a", href=f"#{still.find_parent('section')['id']}"))
    for tag, name in (("a", "href"), ("img", "src")):
        for element in article.find_all(tag, {name: re.compile(r"^(?!https?:)")}):
            element[name] = f"../../{page if element[name].startswith('#') else ''}{element[name]}"
    columns = []
    for section in article.select("section:not(#further-reading)"):
        title = section.find(["h1", "h2", "h3"], recursive=False)
        if title and (found := slides(section)):
            columns.append("<section>" + "\n".join(
                f'<section>{title}{part}<aside class="notes">{"".join(map(str, words))}</aside></section>'
                for part, words in found) + "</section>")
    return DECK.substitute(title=article.h1.get_text(), slides="\n".join(columns))


def main(html):
    if not (html / "_static/reveal").exists():
        sys.exit(f"{html}: found no _static/reveal, expected a book that was built after `make env` with npm")
    (html / FOLDER).mkdir(exist_ok=True)
    for path in sorted(html.glob("[0-9]*.html")):
        text, link = path.read_text(), f' · <a href="{FOLDER}/{path.name}">Slides</a>'
        with atomic_path(html / FOLDER / path.name) as unfinished:
            unfinished.write_text(deck(text, path.name))
        if link not in text:
            path.write_text(COLAB.sub(rf"\1{link}\2", text, count=1))
        print(html / FOLDER / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else ROOT / "_build/html").resolve())
