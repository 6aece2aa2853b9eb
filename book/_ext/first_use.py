"""Sphinx extension: on every page of the book, the first use of a term of the glossary links to it.

Only words of running text count, not those of titles, boxes, captions or links. A term that a page links by itself,
with ``{term}``, is left to the author.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

GLOSSARY = Path(__file__).parents[1] / "glossary.md"
WITHOUT = ("glossary", "api", "bibliography", "status")
TEXT = (nodes.section, nodes.list_item)         # what a paragraph of running text stands in


def glossary():
    """Each term with the pattern that finds it in a text, the longest first."""
    entries = GLOSSARY.read_text().partition("```{glossary}")[2]
    terms = re.findall(r"^(\S.*)$", entries.partition("\n```")[0], re.M)
    return {term: re.compile(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", re.I if term.islower() else 0)
            for term in sorted(terms, key=len, reverse=True)}


class FirstUse(SphinxTransform):
    default_priority = 5        # before the references are read

    def apply(self, **kwargs):
        if self.env.docname in WITHOUT:
            return
        linked = {node["reftarget"].lower() for node in self.document.findall(addnodes.pending_xref)
                  if node["reftype"] == "term"}
        waiting = {term: pattern for term, pattern in glossary().items() if term.lower() not in linked}
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.paragraph) and isinstance(text.parent.parent, TEXT):
                pieces = self.linked(text.astext(), waiting)
                if len(pieces) > 1:
                    text.parent.replace(text, pieces)

    def linked(self, text, waiting):
        """A text as nodes, the terms that were still waiting turned into references."""
        for term in list(waiting):
            match = waiting[term].search(text)
            if match:
                del waiting[term]
                reference = addnodes.pending_xref(
                    "", nodes.inline("", match[0], classes=["xref", "std", "std-term", "first-use"]), refdomain="std",
                    reftype="term", reftarget=term, refexplicit=True, refwarn=True, refdoc=self.env.docname)
                return [*self.linked(text[:match.start()], waiting), reference,
                        *self.linked(text[match.end():], waiting)]
        return [nodes.Text(text)] if text else []


def setup(app):
    app.add_transform(FirstUse)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
