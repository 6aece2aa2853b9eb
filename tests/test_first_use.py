"""The Sphinx extension that links the first use of a term."""

from pathlib import Path
from types import SimpleNamespace

from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes

EXTENSIONS = Path(__file__).parents[1] / "book/_ext"


def test_first_use_in_running_text_is_linked(monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    from first_use import FirstUse

    document = new_document("page")
    document.settings.env = SimpleNamespace(docname="page")
    title = nodes.title("", "", nodes.Text("The readout"))
    first = nodes.paragraph("", "", nodes.Text("A "), nodes.emphasis("", "", nodes.Text("readout")),
                            nodes.Text(" and its coil\nsensitivities; the readout again"))
    boxed = nodes.admonition("", nodes.paragraph("", "", nodes.Text("aliasing")))
    document += nodes.section("", title, first, boxed, nodes.paragraph("", "", nodes.Text("Masks, unmasked")))
    text = document.astext()
    FirstUse(document).apply()
    links = [(node["reftarget"], node.astext()) for node in document.findall(addnodes.pending_xref)]
    assert links == [("readout", "readout"), ("coil sensitivity", "coil\nsensitivities"), ("mask", "Masks")]
    assert document.astext() == text
