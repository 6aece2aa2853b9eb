"""The package's tests with other versions than the pins: ``python tools/versions.py lowest|newest [PYTEST ARGUMENTS]``.

``lowest`` takes each direct dependency at its lower bound in ``pyproject.toml``, and what those need in turn as new as
they allow; ``newest`` takes everything as new as it goes. The environment is made in ``_build/`` by the Python that
runs this, which needs nothing installed. What passed is noted in ``tests/found.json``, for the status page.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import xml.etree.ElementTree as ET
from pathlib import Path

from found import note

ROOT = Path(__file__).parents[1]
# those of the book, the pins, the release and the house, which need what pyproject.toml lists under book and test
OTHERS = {"colab", "conf", "drawings", "environment", "exercises", "first_use", "formulas", "house", "notebooks",
          "pace", "release", "slides", "status", "teaching"}


def requirements():
    """Those of the package with all that it can use, and pytest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["torch"], *extras["cluster"],
            *(line for line in extras["test"] if line.startswith("pytest>"))]


def at_its_bound(requirement):
    """The lowest version that a requirement allows.

    Examples
    --------
    >>> at_its_bound("scikit-image>=0.24,<1")
    'scikit-image==0.24'
    >>> at_its_bound("numpy")
    Traceback (most recent call last):
    SystemExit: pyproject.toml: found 'numpy', expected a lower bound, as in numpy>=1.0
    """
    match = re.match(r"([\w-]+)>=([\w.]+)", requirement)
    if not match:
        sys.exit(f"pyproject.toml: found {requirement!r}, expected a lower bound, as in {requirement}>=1.0")
    return f"{match[1]}=={match[2]}"


def selection():
    """What every environment must pass: the modules' own examples, and the tests of the package and the studies."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return ["mrilab", *(f"tests/{path.name}" for path in files if path.stem.removeprefix("test_") not in OTHERS)]


def install(which, folder):
    """Make the environment, or bring it up to date; its Python, and the versions of the direct dependencies."""
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    wanted = [at_its_bound(line) if which == "lowest" else line for line in requirements()]
    upgrade = ["--upgrade", "--upgrade-strategy", "eager"] if which == "newest" else []
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run([*pip, "install", "-q", *upgrade, "-e", ROOT, *wanted]).returncode:
        sys.exit(f"{which}: pip could not install {' '.join(wanted)} for Python {sys.version.split()[0]}; the lines "
                 "above say why")
    listed = subprocess.check_output([*pip, "list", "--format=json"], text=True)
    have = {entry["name"].lower(): entry["version"] for entry in json.loads(listed)}
    return python, {name: have[name.lower()] for name in sorted(re.split("[=<>]", line)[0] for line in wanted)}


def main(which, arguments):
    key = f"{which}, Python {sys.version_info.major}.{sys.version_info.minor}"
    folder = ROOT / "_build" / re.sub("[ ,]+", "-", key).lower()
    python, versions = install(which, folder)
    print(f"{key}:", *(f"{name} {version}" for name, version in versions.items()), flush=True)
    report = folder / "tests.xml"
    command = [python, "-m", "pytest", "-q", f"--junitxml={report}", *selection(), *arguments]
    if subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode:
        sys.exit(f"{key}: tests failed with " + ", ".join(" ".join(entry) for entry in versions.items()))
    suite = ET.parse(report).getroot().find("testsuite")
    tried, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    note(key, {"date": str(datetime.date.today()), "python": sys.version.split()[0], "passed": tried - skipped,
               "skipped": skipped, "arguments": " ".join(arguments), "versions": versions})


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("lowest", "newest"):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
