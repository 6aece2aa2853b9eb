"""The Sphinx extension that links the first use of a term."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes

EXTENSIONS = Path(__file__).parents[1] / "book/_ext"
SIGMA = r"\sigma"


@pytest.fixture
def links(monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    from first_use import FirstUse

    def apply(*blocks):
        document = new_document("page")
        document.settings.env = SimpleNamespace(docname="page")
        document += nodes.section("", *blocks)
        text = document.astext()
        FirstUse(document).apply()
        assert document.astext().replace(f"sigma{SIGMA}", SIGMA) == text      # a name for those who cannot see it
        return [(node["reftarget"], node.astext()) for node in document.findall(addnodes.pending_xref)]

    return apply


def paragraph(*parts):
    return nodes.paragraph("", "", *(nodes.Text(part) if isinstance(part, str) else part for part in parts))


def test_first_use_in_running_text_is_linked(links):
    title = nodes.title("", "", nodes.Text("The readout"))
    first = paragraph("A ", nodes.emphasis("", "", nodes.Text("readout")), " and its coil\nsensitivities; the readout")
    strong = paragraph(nodes.strong("", "", nodes.Text("Aliasing")), " again")
    assert links(title, first, strong, paragraph("Masks, unmasked")) == [
        ("readout", "readout"), ("coil sensitivity", "coil\nsensitivities"), ("aliasing", "Aliasing"),
        ("mask", "Masks")]


def test_running_text_comes_before_boxes_and_tables_do_not_count(links):
    boxed = nodes.admonition("", paragraph("aliasing of a slab"))
    table = nodes.entry("", paragraph("field of view"))
    assert links(boxed, table, paragraph("no aliasing")) == [("slab", "slab"), ("aliasing", "aliasing")]


def test_names_of_one_entry_are_linked_once(links):
    assert links(paragraph("Each sensitivity, a coil sensitivity")) == [("coil sensitivity", "sensitivity")]
    assert links(paragraph("noise of ", nodes.math("", SIGMA), ", a noise level")) == [("sigma", f"sigma{SIGMA}")]
    by_hand = addnodes.pending_xref("", nodes.Text("sensitivity"), reftype="term", reftarget="sensitivity")
    assert links(paragraph(by_hand, " of a coil: coil sensitivity")) == [("sensitivity", "sensitivity")]
