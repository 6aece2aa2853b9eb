"""Fill book/_vendor from node_modules and the anywidget wheel, so that the built book needs no CDN.

book/_ext/offline.py puts the folders on the pages: widgets/ (ipywidgets and anywidget), mathjax/, ort/
(onnxruntime, which a page loads when the reader asks for the network), and reveal/, for the slides of
tools/slides.py. networks/ beside them is that extension's own.
"""

import base64
import json
import shutil
import zlib
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


def copy_runtime(out):
    """onnxruntime for WebAssembly as one script, compressed: 14 MB become 5, and it loads from a file as well."""
    source = NODE / "onnxruntime-web/dist"
    parts = {"code": "ort.wasm.bundle.min.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}
    packed = {part: base64.b64encode(zlib.compress((source / name).read_bytes(), 9)).decode()
              for part, name in parts.items()}
    out.mkdir(parents=True)
    (out / "runtime.js").write_text(f"window.mrilabRuntime = {json.dumps(packed)};\n")


def copy_slides(out):
    source = NODE / "reveal.js/dist"
    out.mkdir(parents=True)
    for name in ("reveal.js", "reveal.css", "plugin/notes.js"):
        shutil.copy(source / name, out)


if __name__ == "__main__":
    for folder in ("widgets", "mathjax", "ort", "reveal"):
        shutil.rmtree(VENDOR / folder, ignore_errors=True)
    copy_widgets(VENDOR / "widgets")
    copy_mathjax(VENDOR / "mathjax")
    copy_runtime(VENDOR / "ort")
    copy_slides(VENDOR / "reveal")
