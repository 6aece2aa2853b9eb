"""Sphinx extension: drawings and plots stand in the page itself, where the style sheet sets their words and colours.

A picture ``figures/drawing_NAME.svg`` of a page, which ``tools/drawings.py`` made, and a figure that a cell drew are
written as ``<svg>`` and not as ``<img>``. Title and description in a drawing's file take the place of the alt text,
which Jupyter and GitHub show; a plot is called by its alt text.
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

DRAWING = re.compile(r"figures/drawing_\w+\.svg")
PLOT = re.compile(r".*jupyter_execute/.*\.svg")
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)         # would hold for the whole page


def inlined(plot, alt):
    """The text of a plot's file as an element of a page."""
    return STYLE.sub("", plot[plot.index("<svg "):]).replace(
        "<svg ", f'<svg class="plot" role="img" aria-label="{escape(alt)}" ', 1)


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
