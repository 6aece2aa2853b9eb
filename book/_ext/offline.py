"""Sphinx extension: the built pages ask nobody but themselves for a script, a font or a formula.

The browser files come from ``book/_vendor``, which ``make env`` fills (``tools/vendor.py``). They do not go
to ``book/_static``: jupyter-book puts every script found there on every page, which draws widgets twice.
"""

import os
from pathlib import Path

from sphinx.util import logging

VENDOR = Path(__file__).parents[1] / "_vendor"
STATIC = Path(__file__).parent / "static"
logger = logging.getLogger(__name__)


def configure(app, config):
    config.html_static_path.append(str(STATIC))
    config.html_css_files.append("book.css")
    config.html_theme_options["navbar_persistent"] = []    # sphinx-book-theme 1.3 shows a second search field
    config.html_context["default_mode"] = "auto"           # and complains in the console when this is not set
    if "MRILAB_STORED_OUTPUTS" in os.environ:               # `make test`: nbval has executed the chapters
        config.nb_execution_mode = "off"
    if not (VENDOR / "widgets/embed-amd.js").exists():
        logger.info("book/_vendor is empty (no npm at set-up): widgets and formulas will need a public CDN")
        return
    config.html_static_path.append(str(VENDOR))
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    # on pages with widgets only; the order matters
    config.nb_ipywidgets_js = {
        "widgets/require-config.js": {},
        "widgets/require.js": {},
        "widgets/embed-amd.js": {"data-jupyter-widgets-cdn": "about:blank#"},
    }


def drop_repeated_scripts(app, pagename, templatename, context, doctree):
    """sphinx-thebe adds its constants twice: 'THEBE_JS_URL has already been declared' on every page."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept


def setup(app):
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", drop_repeated_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
