"""Sphinx extension: on every page of the book, the first use of a term of the glossary links to it.

Words of running text come first; a term that has its only use in a box is linked there. Those of titles, tables,
captions and links do not count. An entry of the glossary may have several names, and a name that is a Greek letter is
also found as a formula of that letter alone. A term that a page links by itself, with ``{term}``, is left to the
author.
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
    """The names of each entry, with the pattern that finds one of them in a text; entries with long names first."""
    entries = GLOSSARY.read_text().partition("```{glossary}")[2].partition("\n```")[0]
    found = {}
    for heading in re.findall(r"^(?:\S.*\n)+", entries, re.M):
        names = sorted(heading.splitlines(), key=len, reverse=True)
        spellings = "|".join(f"(?i:{spelled(name)})" if name.islower() else spelled(name) for name in names)
        found[tuple(heading.splitlines())] = re.compile(rf"(?<![\w-])(?:{spellings})(?![\w-])")
    return dict(sorted(found.items(), key=lambda entry: -max(map(len, entry[0]))))


def spelled(term):
    """One term or several, also across the end of a line or with hyphens.

    Examples
    --------
    >>> [bool(re.fullmatch(spelled("coil density"), text)) for text in ("coil-density", "coil\\ndensities", "coil")]
    [True, True, False]
    """
    stem, plural = (term[:-1], "(?:y|ies)") if term.endswith("y") else (term, "s?")
    return r"[\s-]+".join(re.escape(word) for word in re.split(r"[\s-]", stem)) + plural


class FirstUse(SphinxTransform):
    default_priority = 5        # before the references are read

    def apply(self, **kwargs):
        if self.env.docname in WITHOUT:
            return
        linked = {node["reftarget"].lower() for node in self.document.findall(addnodes.pending_xref)
                  if node["reftype"] == "term"}
        waiting = {names: pattern for names, pattern in glossary().items()
                   if linked.isdisjoint(name.lower() for name in names)}
        for chosen in (lambda block: isinstance(block, TEXT), lambda block: not isinstance(block, nodes.entry)):
            for node in list(self.document.findall(lambda n: isinstance(n, nodes.Text | nodes.math))):
                inline = isinstance(node.parent, nodes.emphasis | nodes.strong)
                paragraph = node.parent.parent if inline else node.parent
                if isinstance(paragraph, nodes.paragraph) and chosen(paragraph.parent):
                    pieces = self.letter(node, waiting) if isinstance(node, nodes.math) else \
                        self.linked(node.astext(), waiting)
                    if any(isinstance(piece, addnodes.pending_xref) for piece in pieces):
                        node.parent.replace(node, pieces)

    def linked(self, text, waiting):
        """A text as nodes, the terms that were still waiting turned into references."""
        for names in list(waiting):
            match = waiting[names].search(text)
            if match:
                del waiting[names]
                return [*self.linked(text[:match.start()], waiting), self.reference(names[0], nodes.Text(match[0])),
                        *self.linked(text[match.end():], waiting)]
        return [nodes.Text(text)] if text else []

    def letter(self, formula, waiting):
        for names in waiting:
            if formula.astext().removeprefix("\\") in names:
                del waiting[names]
                spoken = nodes.inline("", names[0], classes=["visually-hidden"])     # a drawn formula names no link
                return [self.reference(names[0], spoken, formula.deepcopy())]
        return [formula]

    def reference(self, term, *shown):
        return addnodes.pending_xref(
            "", nodes.inline("", "", *shown, classes=["xref", "std", "std-term", "first-use"]), refdomain="std",
            reftype="term", reftarget=term, refexplicit=True, refwarn=True, refdoc=self.env.docname)


def setup(app):
    app.add_transform(FirstUse)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
