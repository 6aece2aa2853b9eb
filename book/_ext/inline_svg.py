"""Sphinx extension: drawings and plots stand in the page itself, where the style sheet sets their words and colours.

A picture ``figures/drawing_NAME.svg`` of a page, which ``tools/drawings.py`` made, and a figure that a cell drew are
written as ``<svg>`` and not as ``<img>``. Title and description in a drawing's file take the place of the alt text,
which Jupyter and GitHub show; a plot is called by its alt text.
"""

import re
from html import escape
from math import ceil
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

DRAWING = re.compile(r"figures/drawing_\w+\.svg")
PLOT = re.compile(r".*jupyter_execute/.*\.svg")
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)         # would hold for the whole page
WORD, SIZE = re.compile(r"<text.*?</text>", re.DOTALL), re.compile(r"([\d.]+)px")
LEGIBLE = 12                                                # pixels


def least_width(plot):
    """The width in pixels at which the words of a plot are legible; exponents are smaller than their word."""
    words = [max(map(float, sizes)) for word in WORD.findall(plot) if (sizes := SIZE.findall(word))]
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', plot)[1])
    return ceil(width * LEGIBLE / min(words)) if words else 0


def inlined(plot, alt):
    """The text of a plot's file as an element of a page; the style sheet makes it no narrower than ``--least``."""
    return STYLE.sub("", plot[plot.index("<svg "):]).replace(
        "<svg ", f'<svg class="plot" style="--least: {least_width(plot)}px" role="img" aria-label="{escape(alt)}" ', 1)


class Inline(SphinxPostTransform):
    default_priority = 5
    formats = ("html",)

    def run(self, **kwargs):
        for image in list(self.document.findall(nodes.image)):
            file = Path(self.env.srcdir) / image["uri"]
            if DRAWING.fullmatch(image["uri"]):
                image.replace_self(nodes.raw("", file.read_text(), format="html"))
            elif PLOT.fullmatch(image["uri"]):
                image.replace_self(nodes.raw("", inlined(file.read_text(), image["alt"]), format="html"))


def setup(app):
    app.add_post_transform(Inline)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
