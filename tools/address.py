"""Write the repository's address and tag wherever they stand: ``python tools/address.py [URL]``.

The address is ``repository: url`` in _config.yml, the tag is v + mrilab.__version__. Everything else
(badges, bootstrap cells, README, CITATION.cff, project addresses, the release that `fetch` asks) is rewritten from
these two.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = re.search(r'^__version__ = "(.+)"', (ROOT / "mrilab/__init__.py").read_text(), re.M)[1]   # torch or not
GITHUB = r"https://github\.com/([\w-]+)/([\w.-]+?)(?:\.git)?/?"


# The first code cell of every chapter, tagged remove-cell: in Colab, fetch the book at its own tag; anywhere, say in
# one line what is missing.
BOOTSTRAP = """\
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and not Path("../mrilab").exists():
    !git clone -q --depth 1 -b {tag} {url} mrilab-book
    %cd -q mrilab-book/book
    %pip install -q -e ..
sys.path.insert(0, "..")        # the studies, which are no part of the package
if not (importlib.util.find_spec("mrilab") and Path("../data/priors").is_dir()):
    raise SystemExit(
        "A chapter needs the repository around it, and mrilab installed: git clone "
        "{url}; make env; then use the kernel of .venv")"""


def owner_and_name(url):
    match = re.fullmatch(GITHUB, url)
    if not match:
        sys.exit(f"URL: found {url!r}, expected https://github.com/OWNER/NAME (Colab opens no other)")
    return match.groups()


def rewrite(text, old, new, tag):
    """``text`` with the repository ``old`` replaced by ``new`` (owner, name), and the version in links by ``tag``.

    >>> rewrite("https://me.github.io/lab/ github.com/me/lab/blob/v1/book/x", ("me", "lab"), ("you", "mri"), "v2")
    'https://you.github.io/mri/ github.com/you/mri/blob/v2/book/x'
    >>> rewrite("https://mybinder.org/v2/gh/me/lab/v1?urlpath=lab/tree/x", ("me", "lab"), ("you", "mri"), "v2")
    'https://mybinder.org/v2/gh/you/mri/v2?urlpath=lab/tree/x'
    """
    text = re.sub(rf"\b{re.escape(old[0])}/{re.escape(old[1])}\b", "/".join(new), text)
    text = re.sub(rf"\b{re.escape(old[0])}\.github\.io/{re.escape(old[1])}\b", "{}.github.io/{}".format(*new), text)
    text = re.sub(rf"\b({re.escape('/'.join(new))}/(?:blob|raw|releases/download)/)v[^/\s]+/", rf"\g<1>{tag}/", text)
    text = re.sub(rf"(mybinder\.org/v2/gh/{re.escape('/'.join(new))}/)v[^?\s]+", rf"\g<1>{tag}", text)
    text = re.sub(r"\b(mrilab-)[\w.]+(-py3-none-any\.whl)", rf"\g<1>{tag[1:]}\g<2>", text)
    return re.sub(r"(git clone .*-b )v\S+", rf"\g<1>{tag}", text)


def bootstrap(text, url, tag):
    """A notebook's text with its first code cell, if that fetches the book, as it should be."""
    notebook = json.loads(text)
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    wanted = BOOTSTRAP.format(url=url, tag=tag).splitlines(keepends=True)
    if "google.colab" not in "".join(first["source"]) or first["source"] == wanted:
        return text
    first["source"] = wanted
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    current = re.search(r"^  url: (\S+)$", (ROOT / "_config.yml").read_text(), re.M)[1]
    old = owner_and_name(current)
    new = owner_and_name(sys.argv[1]) if sys.argv[1:] else old
    tag = f"v{VERSION}"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in files.splitlines():
        if name.endswith((".md", ".ipynb", ".yml", ".cff", ".toml", ".json", ".py")):
            path = ROOT / name
            before = path.read_text()
            after = rewrite(before, old, new, tag)
            if name.endswith(".ipynb"):
                after = bootstrap(after, "https://github.com/{}/{}".format(*new), tag)
            if after != before:
                path.write_text(after)
                print(name)
