"""Sphinx extension: the book's drawings stand in the page itself, where the style sheet can colour them.

A picture ``figures/drawing_NAME.svg`` of a page, which ``tools/drawings.py`` made, is written as ``<svg>`` and not as
``<img>``. Title and description in the file take the place of the alt text, which Jupyter and GitHub show.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

NAME = re.compile(r"figures/drawing_\w+\.svg")


class Inline(SphinxPostTransform):
    default_priority = 5
    formats = ("html",)

    def run(self, **kwargs):
        for image in list(self.document.findall(nodes.image)):
            if NAME.fullmatch(image["uri"]):
                drawing = (Path(self.env.srcdir) / image["uri"]).read_text()
                image.replace_self(nodes.raw("", drawing, format="html"))


def setup(app):
    app.add_post_transform(Inline)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
