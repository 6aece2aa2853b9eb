"""The built pages as one PDF with bookmarks: ``python tools/pdf.py [HTML_FOLDER]``, into that folder as mrilab.pdf.

Headless Chromium prints each page of the table of contents; pypdf joins them. Links between pages lead to places in
the PDF, those to other files of the book to the published pages. The first page of the book then links to it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

ROOT = Path(__file__).parents[1]
PUBLISHED = yaml.safe_load((ROOT / "_config.yml").read_text())["html"]["baseurl"]
LINK = '<p><a href="mrilab.pdf">The whole book as one PDF</a></p>'


def order():
    """Names of the pages as the table of contents has them."""
    toc = yaml.safe_load((ROOT / "book/_toc.yml").read_text())
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


def join(folder, pages, titles, root):
    """One document of the printed pages, each a bookmark with its own headings below."""
    book, first = PdfWriter(), {}
    for name in pages:
        first[name] = len(book.pages)
        book.append(folder / f"{name}.pdf", outline_item=titles[name])
    for page in book.pages:
        for link in page.get("/Annots", []):
            action = link.get_object().get("/A", {})
            address = str(action.get("/URI", ""))
            target = re.match(re.escape(root) + r"(\w+)\.html", address)
            if target and target[1] in first:
                place = [book.pages[first[target[1]]].indirect_reference, NameObject("/Fit")]
                link.get_object()[NameObject("/A")] = DictionaryObject(
                    {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): ArrayObject(place)})
            elif address.startswith(root):
                action[NameObject("/URI")] = TextStringObject(PUBLISHED + address.removeprefix(root))
    book.add_metadata({"/Title": titles[pages[0]], "/Author": "the mrilab authors"})
    return book


def main(html):
    os.environ["MRILAB_PAGES"] = str(html)
    sys.path.insert(0, str(ROOT / "tests/book"))
    from pages import find_browser, served

    from mrilab.writing import atomic_path

    pages = order()
    titles = {name: re.search(r"<title>(.*?)(?: &#8212;| —|</title>)", (html / f"{name}.html").read_text())[1]
              for name in pages}
    with served() as roots, tempfile.TemporaryDirectory() as folder:
        subprocess.run(["node", ROOT / "tools/print.mjs", find_browser(), roots["http"], folder],
                       input=json.dumps(pages), text=True, check=True, timeout=900)
        book = join(Path(folder), pages, titles, roots["http"])
        with atomic_path(html / "mrilab.pdf") as unfinished:
            book.write(unfinished)
    first = html / f"{pages[0]}.html"
    if LINK not in first.read_text():
        first.write_text(first.read_text().replace("</article>", f"{LINK}</article>", 1))
    print(f"{html / 'mrilab.pdf'}: {len(book.pages)} pages")


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else ROOT / "_build/html").resolve())
