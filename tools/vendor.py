"""Fill book/_vendor from node_modules and the anywidget wheel, so that the built book needs no CDN.

book/_ext/offline.py puts the two folders on the pages: widgets/ (ipywidgets and anywidget) and mathjax/.
"""

import shutil
from pathlib import Path

import anywidget

ROOT = Path(__file__).parents[1]
NODE = ROOT / "node_modules"
VENDOR = ROOT / "book/_vendor"

# Read before require.js: every module is looked for beside this file, never on a CDN. And the theme's
# Font Awesome must leave the widgets' <i> alone, or ipywidgets' Play button throws when clicked.
REQUIRE_CONFIG = """\
window.FontAwesomeConfig = { observeMutations: false };
window.require = { baseUrl: new URL('.', document.currentScript.src).href, waitSeconds: 60 };
"""


def copy_widgets(out):
    manager = NODE / "@jupyter-widgets/html-manager/dist"
    fonts = out / "@jupyter-widgets/html-manager/dist"    # where embed-amd.js looks, below require's baseUrl
    fonts.mkdir(parents=True)
    for font in manager.glob("*.woff2"):
        shutil.copy(font, fonts)
        shutil.copy(font, out / "@jupyter-widgets")       # the style sheets of the controls look here
    shutil.copy(manager / "embed-amd.js", out)
    shutil.copy(NODE / "requirejs/require.js", out)
    shutil.copy(Path(anywidget.__file__).parent / "nbextension/index.js", out / "anywidget.js")
    (out / "require-config.js").write_text(REQUIRE_CONFIG)


def copy_mathjax(out):
    source = NODE / "mathjax/es5"
    out.mkdir(parents=True)
    shutil.copy(source / "tex-mml-chtml.js", out)
    for part in ("input/tex", "output/chtml", "a11y", "sre"):    # loaded on demand; the last two speak formulas
        shutil.copytree(source / part, out / part)


if __name__ == "__main__":
    shutil.rmtree(VENDOR, ignore_errors=True)
    copy_widgets(VENDOR / "widgets")
    copy_mathjax(VENDOR / "mathjax")
