"""Sphinx extension: the built pages ask nobody but themselves for a script, a font or a formula, and not for much.

The browser files come from ``book/_vendor``, which ``make env`` fills (``tools/vendor.py``). They do not go
to ``book/_static``: jupyter-book puts every script found there on every page, which draws widgets twice.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

EXPORT = Path(__file__).parents[2] / "tools/export_onnx.py"
VENDOR = Path(__file__).parents[1] / "_vendor"
STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^\[\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?')     # two names
WIDGET = "application/vnd.jupyter.widget-view+json"
WITHOUT_SCRIPTS = "<noscript><p>Where the browser runs JavaScript, this figure is interactive.</p></noscript>"
logger = logging.getLogger(__name__)


def configure(app, config):
    config.html_static_path.append(str(STATIC))
    config.html_css_files.append("book.css")
    config.html_js_files.append(("predict.js", {"defer": "defer"}))
    config.templates_path.insert(0, str(TEMPLATES))
    if "jupyter_book" in config.extensions:                 # the button that its older theme's script knows
        config.templates_path.insert(0, str(TEMPLATES / "older"))
    config.html_theme_options["navbar_persistent"] = []    # sphinx-book-theme shows a second search field
    config.html_context["default_mode"] = "auto"           # and complains in the console when this is not set
    if "MRILAB_STORED_OUTPUTS" in os.environ:               # `make test`: nbval has executed the chapters
        config.nb_execution_mode = "off"
    if not (VENDOR / "widgets/embed-amd.js").exists():
        logger.info("book/_vendor is empty (no npm at set-up): widgets and formulas will need a public CDN")
        return
    export = subprocess.run([sys.executable, EXPORT, VENDOR / "networks"], capture_output=True, text=True)
    if export.returncode:
        logger.warning("the priors could not be brought to the browser:\n%s", export.stderr)
    config.html_static_path.append(str(VENDOR))
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    # on pages with widgets only; the order matters
    config.nb_ipywidgets_js = {
        "networks/index.js": {},
        "widgets/require-config.js": {},
        "widgets/require.js": {},
        "widgets/embed-amd.js": {"data-jupyter-widgets-cdn": "about:blank#"},
    }


class KeepStills(SphinxPostTransform):
    """A widget's first view as a figure below it: what a page shows until its script has drawn, or if it cannot.

    myst-nb takes the best of an output's forms and drops the others; this runs before it and copies the picture out.
    """

    default_priority = 3

    def run(self, **kwargs):
        for bundle in list(self.document.findall(nodes.container)):
            forms = {form.get("mime_type"): form for form in bundle.children if isinstance(form, nodes.container)}
            if bundle.get("nb_element") == "mime_bundle" and {WIDGET, "image/png"} <= set(forms):
                still = nodes.container(classes=["mri-still"])
                still += [child.deepcopy() for child in forms["image/png"].children]
                still += nodes.raw("", WITHOUT_SCRIPTS, format="html")
                bundle.parent.insert(bundle.parent.index(bundle) + 1, still)


def drop_repeated_scripts(app, pagename, templatename, context, doctree):
    """sphinx-thebe, which jupyter-book adds, brings its constants twice: 'THEBE_JS_URL has already been declared'."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept


def name_roles(app, pagename, templatename, context, doctree):
    """Bibliographies get a role that a list may not hold, folded code a name that is not the one it shows."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"').replace(
            '<summary aria-label="Toggle hidden content">', "<summary>")


def drop_unused_icons(app, exception):
    """The theme's script brings two thousand icons to every page, 1.4 MB; the pages show twenty."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    script = static / "scripts/fontawesome.js"
    texts = [*Path(app.outdir).glob("*.html"), *static.glob("*.js"), *static.glob("scripts/*theme.js")]
    used = {name for path in texts for name in re.findall(r"fa-([\w-]+)", path.read_text())}
    script.write_text(ICON.sub(lambda icon: icon[0] if used & {icon[1], *re.findall(r'"([^"]+)"', icon[2])} else "",
                               script.read_text()))


def setup(app):
    app.connect("config-inited", configure, priority=100)
    app.add_post_transform(KeepStills)
    app.connect("html-page-context", drop_repeated_scripts, priority=900)
    app.connect("html-page-context", name_roles)
    app.connect("build-finished", drop_unused_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
