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
    return {term: re.compile(rf"(?<![\w-]){spelled(term)}(?![\w-])", re.I if term.islower() else 0)
            for term in sorted(terms, key=len, reverse=True)}


def spelled(term):
    """One term or several, also across the end of a line.

    Examples
    --------
    >>> [bool(re.fullmatch(spelled("coil density"), text)) for text in ("coil density", "coil\\ndensities", "coil")]
    [True, True, False]
    """
    stem, plural = (term[:-1], "(?:y|ies)") if term.endswith("y") else (term, "s?")
    return r"\s+".join(re.escape(word) for word in stem.split()) + plural


class FirstUse(SphinxTransform):
    default_priority = 5        # before the references are read

    def apply(self, **kwargs):
        if self.env.docname in WITHOUT:
            return
        linked = {node["reftarget"].lower() for node in self.document.findall(addnodes.pending_xref)
                  if node["reftype"] == "term"}
        waiting = {term: pattern for term, pattern in glossary().items() if term.lower() not in linked}
        for text in list(self.document.findall(nodes.Text)):
            paragraph = text.parent.parent if isinstance(text.parent, nodes.emphasis) else text.parent
            if isinstance(paragraph, nodes.paragraph) and isinstance(paragraph.parent, TEXT):
                pieces = self.linked(text.astext(), waiting)
                if any(isinstance(piece, addnodes.pending_xref) for piece in pieces):
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
