"""The statements of a program that a given piece of it depends on, so that the piece runs without the rest.

A conservative program slice by names: a statement belongs to it if it binds, or may change, a name that is needed
further down. What a function changes behind its arguments' names is not seen.
"""

import ast
import builtins
import symtable


def names(source):
    """Names that a piece of code reads from outside itself, and names that it binds."""

    def read(table, top):
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (top or symbol.is_global()):
                yield symbol.get_name()
        for child in table.get_children():
            yield from read(child, False)

    table = symtable.symtable(source, "cell", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return set(read(table, True)), bound


def missing(sources):
    """Names that a notebook's cells read before any cell has bound them.

    Examples
    --------
    >>> missing(["x = 1", "print(x + y)", "y = 2"])
    {'y'}
    """
    known, absent = set(dir(builtins)) | {"__file__"}, set()
    for source in sources:
        read, bound = names(source)
        known |= bound
        absent |= read - known
    return absent


def changed(node):
    """Names whose objects a statement may change: it stores into them, or is a bare call of or with them."""
    for part in ast.walk(node):
        targets = []
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            targets = [part]
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            targets = [part.value.func, *part.value.args]
        for target in targets:
            while isinstance(target, ast.Attribute | ast.Subscript):
                target = target.value
            if isinstance(target, ast.Name):
                if target.id == "print":
                    break
                yield target.id


def needed(sources, goal):
    """Statements of ``sources`` that the code ``goal``, which follows them, depends on, as one program.

    Examples
    --------
    >>> print(needed(["x = 1; y = 2", "z = [x]; z.append(3); print(y)"], "print(z)"))
    x = 1
    z = [x]
    z.append(3)
    """
    want, kept = names(goal)[0], []
    for source in reversed(sources):
        for node in reversed(ast.parse(source).body):
            text = ast.unparse(node)
            read, bound = names(text)
            if want & (bound | set(changed(node))):
                kept.append(text)
                certain = isinstance(node, ast.Assign | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
                want = (want - bound if certain else want) | read
    return "\n".join(reversed(kept))
