"""Write the repository's address and tag wherever they stand: ``python tools/address.py [URL]``.

The address is ``repository: url`` in _config.yml, the tag is v + mrilab.__version__. Everything else
(badges, bootstrap cells, README, CITATION.cff, workflows) is rewritten from these two.
"""

import re
import subprocess
import sys
from pathlib import Path

import mrilab

ROOT = Path(__file__).parents[1]
GITHUB = r"https://github\.com/([\w-]+)/([\w.-]+?)(?:\.git)?/?"


def owner_and_name(url):
    match = re.fullmatch(GITHUB, url)
    if not match:
        sys.exit(f"URL: found {url!r}, expected https://github.com/OWNER/NAME (Colab opens no other)")
    return match.groups()


def rewrite(text, old, new, tag):
    """``text`` with the repository ``old`` replaced by ``new`` (owner, name), and Colab's tag by ``tag``.

    >>> rewrite("https://me.github.io/lab/ github.com/me/lab/blob/v1/book/x", ("me", "lab"), ("you", "mri"), "v2")
    'https://you.github.io/mri/ github.com/you/mri/blob/v2/book/x'
    """
    text = re.sub(rf"\b{re.escape(old[0])}/{re.escape(old[1])}\b", "/".join(new), text)
    text = re.sub(rf"\b{re.escape(old[0])}\.github\.io/{re.escape(old[1])}\b", "{}.github.io/{}".format(*new), text)
    text = re.sub(r"/blob/v[^/\s]+/book/", f"/blob/{tag}/book/", text)
    return re.sub(r"(git clone .*-b )v\S+", rf"\g<1>{tag}", text)


if __name__ == "__main__":
    current = re.search(r"^  url: (\S+)$", (ROOT / "_config.yml").read_text(), re.M)[1]
    old = owner_and_name(current)
    new = owner_and_name(sys.argv[1]) if sys.argv[1:] else old
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in files.splitlines():
        if name.endswith((".md", ".ipynb", ".yml", ".cff", ".toml")):
            path = ROOT / name
            before = path.read_text()
            after = rewrite(before, old, new, f"v{mrilab.__version__}")
            if after != before:
                path.write_text(after)
                print(name)
