"""Sphinx extension: below the title of a chapter, a link to the notebook without its solutions, made in the build."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))
from exercises import write  # noqa: E402

FOLDER = "_static/student"
COLAB = "https://colab.research.google.com/"
logger = logging.getLogger(__name__)


class LinkStudentForm(SphinxPostTransform):
    """Behind the link to Colab, of pages that are notebooks with exercises."""

    default_priority = 5
    formats = ("html",)

    def run(self, **kwargs):
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb" or "{exercise-start}" not in path.read_text():
            return
        link = next(node for node in self.document.findall(nodes.reference) if node.get("refuri", "").startswith(COLAB))
        link.parent += [nodes.Text(" · "), addnodes.download_reference(
            "", "Download it without solutions", refuri=f"{FOLDER}/{path.name}")]


def write_notebooks(app, exception):
    if exception or app.builder.format != "html":
        return
    for path in sorted(Path(app.srcdir).glob("*.ipynb")):
        try:
            write(path, Path(app.outdir) / FOLDER)
        except ValueError as error:
            logger.warning("%s: %s", path.name, error)


def setup(app):
    app.add_post_transform(LinkStudentForm)
    app.connect("build-finished", write_notebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
