"""Sphinx extension: what a search engine and a preview of a shared link need, and the size of every figure."""

import re
import shutil
import struct
from html import escape
from pathlib import Path
from xml.sax.saxutils import escape as xml_escape

from docutils import nodes

FIRST = [Path(__file__).parents[1] / "figures" / name for name in ("first.webp", "first.png")]
PREVIEW_ALT = "One slice of a head: a complete scan, and an eighth of it by least squares and with this book's prior"


def description(doctree, limit=200):
    """The first paragraph of a page that is more than a link, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and len(text) > 60:
            return text if len(text) <= limit else text[:limit].rpartition(" ")[0] + " …"
    return ""


def add_tags(app, pagename, templatename, context, doctree):
    if doctree is None:
        return
    base, words = app.config.html_baseurl, description(doctree)
    tags = {"og:type": "article", "og:site_name": app.config.html_title, "og:title": context.get("title", ""),
            "og:description": words, "og:url": f"{base}{pagename}.html",
            "og:image": f"{base}_static/first.png", "og:image:alt": PREVIEW_ALT,
            "twitter:card": "summary_large_image"}
    lines = [f'<meta name="description" content="{escape(words)}" />'] if words else []
    lines += [f'<meta property="{name}" content="{escape(text)}" />' for name, text in tags.items() if text]
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])


def write_sitemap(app, exception):
    if exception or app.builder.format != "html":
        return
    for picture in FIRST:               # moving for the first page, its last frame for previews and who wants no motion
        shutil.copy(picture, Path(app.outdir) / "_static")
    pages = "\n".join(f"  <url><loc>{xml_escape(app.config.html_baseurl)}{page}.html</loc></url>"
                      for page in sorted(app.env.found_docs))
    (Path(app.outdir) / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{pages}\n</urlset>\n")


def give_sizes(app, exception):
    """Width and height of every figure, so that nothing moves when it arrives."""
    if exception or app.builder.format != "html":
        return

    def sized(tag):
        header = (Path(app.outdir) / tag[1]).read_bytes()[:24]
        if "width=" in tag[0] or header[1:4] != b"PNG":
            return tag[0]
        return tag[0].replace("<img ", '<img width="{}" height="{}" '.format(*struct.unpack(">II", header[16:24])))

    for page in Path(app.outdir).glob("*.html"):
        before = page.read_text()
        after = re.sub(r'<img [^>]*src="(_images/[^"]+)"[^>]*>', sized, before)
        if after != before:
            page.write_text(after)


def setup(app):
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_sitemap)
    app.connect("build-finished", give_sizes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
