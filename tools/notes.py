"""The release notes of one version, taken from CHANGELOG.md: ``python tools/notes.py VERSION``."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(version: str, text: str) -> str:
    """What stands under the heading of a version.

    Examples
    --------
    >>> notes("0.2.0", "# Changelog\\n\\n## 0.2.0\\n\\nNew.\\n\\n## 0.1.0\\n\\nFirst.\\n")
    'New.\\n'
    >>> notes("1.0.0", "# Changelog\\n\\n## 0.1.0\\n\\nFirst.\\n")
    Traceback (most recent call last):
    SystemExit: CHANGELOG.md: found versions 0.1.0, expected 1.0.0 among them
    """
    parts = re.split(r"^## (\S+).*\n", text, flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2]))
    if version not in found:
        sys.exit(f"CHANGELOG.md: found versions {', '.join(found)}, expected {version} among them")
    return found[version].strip() + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(notes(sys.argv[1].removeprefix("v"), CHANGELOG.read_text()), end="")
