"""What a release consists of besides code and chapters: wheel, source archive, citation, changelog, workflows, sums."""

import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import date
from email import message_from_string
from pathlib import Path

import pytest
import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link

import mrilab
from mrilab.datasets import REPOSITORY, address_of, list_datasets

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def authors_are_named(entry):
    return entry["authors"] and all({"name"} <= set(author) or {"family-names", "given-names"} <= set(author)
                                    for author in entry["authors"])


def test_citation_follows_the_format():
    """The rules of CFF 1.2.0 for the keys that are used, as its schema has them."""
    allowed = {"cff-version", "title", "message", "type", "authors", "version", "license", "repository-code",
               "references", "abstract", "keywords", "doi", "date-released", "url"}
    assert set(CITATION) <= allowed and CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset") and CITATION["title"] and CITATION["message"]
    assert authors_are_named(CITATION)
    for entry in CITATION["references"]:
        assert entry["type"] == "article" and entry["title"] and authors_are_named(entry)
        assert isinstance(entry["year"], int) and re.match(r"https://\S+$", entry["url"])


def test_citation_agrees_with_the_package():
    assert str(CITATION["version"]) == mrilab.__version__
    assert CITATION["license"] == PROJECT["license"].split(" AND ")[0]          # the code's comes first
    assert CITATION["repository-code"] == CONFIG["repository"]["url"] == REPOSITORY == PROJECT["urls"]["Source"]
    owner, name = REPOSITORY.removeprefix("https://github.com/").split("/")
    pages = f"https://{owner}.github.io/{name}/"
    assert CONFIG["html"]["baseurl"] == CITATION["url"] == PROJECT["urls"]["Book"] == pages
    assert date.fromisoformat(CITATION["date-released"])


def test_the_archive_of_research_says_the_same():
    """Zenodo reads this file, and then not CITATION.cff."""
    found = json.loads((ROOT / ".zenodo.json").read_text())
    assert (found["title"], found["description"], found["keywords"], found["license"]) == tuple(
        CITATION[key] for key in ("title", "abstract", "keywords", "license"))
    assert [author["name"] for author in found["creators"]] == [author["name"] for author in CITATION["authors"]]
    related = {entry["identifier"] for entry in found["related_identifiers"]}
    assert related == {CITATION["url"], REPOSITORY, "arXiv:" + CITATION["references"][0]["url"].rpartition("/")[2]}


def test_links_of_the_readme_survive_elsewhere():
    """On a package index nothing is relative; what is of this repository exists, at the tag of this version."""
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert [link for link in links if not link.startswith("https://")] == []
    own = [link.removeprefix(REPOSITORY) for link in links if link.startswith(f"{REPOSITORY}/")]
    assert len(own) > 15
    for link in own:
        kind, tag, file = link[1:].split("/", 2)
        assert kind in ("blob", "raw") and tag == f"v{mrilab.__version__}" and (ROOT / file).is_file(), link
    assert f"/mrilab-{mrilab.__version__}-py3-none-any.whl" in (ROOT / "README.md").read_text()


def test_release_carries_what_the_code_asks_for():
    """Every shipped file, cards too, under the last part of its name and with its sum; the workflow uploads them."""
    subprocess.run(["make", "release"], cwd=ROOT, capture_output=True, check=True)
    folder = ROOT / "_build/release"
    sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    asked = {}
    for d in list_datasets():
        if d.kind in ("volume", "prior", "scan") and not d.page:
            asked[d.file] = d.sha256
            if d.card_sha256:
                asked[d.file.replace(".safetensors", ".json")] = d.card_sha256
    names = {address_of(file).rpartition("/")[2]: digest for file, digest in asked.items()}
    assert len(names) == len(asked) > 20 and "diverse.json" in names
    assert names == {name: digest for name, digest in sums.items() if name.endswith((".h5", ".safetensors", ".json"))}
    assert re.search(r"gh release create .* _build/release/\*\n", (ROOT / ".github/workflows/publish.yml").read_text())


def test_changelog_begins_with_this_version():
    """Or with what is to come after it."""
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert [heading for heading in headings if heading != "Next"][0] == mrilab.__version__
    assert "Next" not in headings[1:]


def test_release_notes_are_those_of_one_version():
    run = subprocess.run([sys.executable, ROOT / "tools/notes.py", f"v{mrilab.__version__}"], capture_output=True,
                         text=True)
    assert run.returncode == 0 and run.stdout.strip() in (ROOT / "CHANGELOG.md").read_text()
    assert "## " not in run.stdout and len(run.stdout) > 100


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_calls_targets_that_exist(name):
    called = [step["run"] for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"] if "run" in step]
    lines = [line for text in called for line in text.splitlines() if line.startswith("make ")]
    assert lines
    targets = [word for line in lines for word in line.split("#")[0].split()[1:] if "=" not in word]
    assert set(targets) <= TARGETS


def test_every_target_is_described():
    described = set(re.findall(r"^#   make (\w+)", (ROOT / "Makefile").read_text(), re.M))
    assert TARGETS - described == {"env", "lint", "stored", "browser", "clean"}


def tracked():
    """The names of the files in git; the test is skipped outside a checkout."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a checkout with git")
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_address_is_rewritten_everywhere(monkeypatch):
    """No file keeps the old one: neither README and citation, nor the release that the package asks."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    from address import owner_and_name, rewrite

    old = owner_and_name(REPOSITORY)
    for name in ("README.md", "CITATION.cff", ".zenodo.json", "pyproject.toml", "mrilab/datasets.py", "_config.yml"):
        text = rewrite((ROOT / name).read_text(), old, ("nobody-0", "elsewhere"), "v9.9.9")
        assert "nobody-0/elsewhere" in text and "/".join(old) not in text and f"{old[0]}.github.io" not in text
        assert f"v{mrilab.__version__}/" not in text and f"mrilab-{mrilab.__version__}-" not in text


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The source archive, as ``python -m build`` makes it."""
    folder = tmp_path_factory.mktemp("archive")
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.tar.gz"))


@pytest.mark.slow
def test_source_archive_is_the_whole_repository(archive):
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    made = {name for name in names if name.startswith("mrilab.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    files = {name for name in names - made if name and not (ROOT / name).is_dir()}
    assert set(tracked()) - files == set()
    assert [name for name in files if name.endswith((".pyc", ".checkpoint")) or "/_vendor/" in name] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", folder, ROOT], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


FIRST = ("priors/diverse.safetensors", "priors/diverse.json", "scans/phantom_siemens.h5", "volumes/qtim_MRHead.h5")


@pytest.mark.slow
def test_wheel_has_the_package_and_what_one_needs_first(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        for name in FIRST:
            assert file.read(f"mrilab/data/{name}") == (ROOT / "data" / name).read_bytes()
        meta = message_from_string(file.read(f"mrilab-{mrilab.__version__}.dist-info/METADATA").decode())
        texts = {name.rpartition("/")[2] for name in file.namelist() if "/licenses/" in name}
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mrilab").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    assert names == package | {f"mrilab/data/{name}" for name in FIRST}
    assert wheel.stat().st_size < 12e6
    assert texts == {"LICENSE", "qtim_MRHead.txt", "twixtools_gre.txt"} and "Apache-2.0" in meta["License-Expression"]
    assert set(PROJECT["urls"]) == {line.partition(",")[0] for line in meta.get_all("Project-URL")}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel in a folder of its own, without its dependencies: how to run Python with it, elsewhere."""
    target, empty = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel], check=True,
                   capture_output=True)
    # nothing answers at this address: what is not in the wheel cannot be had
    place = {"PYTHONPATH": str(target), "MRILAB_DATA_URL": "http://127.0.0.1:9", "MRILAB_CACHE": str(empty / "cache")}

    def run(*arguments):
        return subprocess.run([sys.executable, *arguments], cwd=empty, capture_output=True, text=True, timeout=300,
                              env={key: value for key, value in os.environ.items() if key != "MRILAB_MIRROR"} | place)

    return run, target, empty


USE = """
import mrilab
from mrilab.__main__ import main
from mrilab.priors import load_prior
from mrilab.volumes import load_volume

print(mrilab.__file__)
assert load_prior("diverse").voxel_sizes[0] > 0 and load_volume("qtim_MRHead").data.max() > 0
assert main(["info", "--quick", "phantom_siemens"]) == 0
assert main(["reconstruct", "phantom_siemens", "--out", "phantom.nii.gz", "--iterations", "2", "--quiet"]) == 0
assert main(["fetch", "fixed_1mm"]) == 1
"""


@pytest.mark.slow
def test_installed_package_works_in_an_empty_folder(installed):
    run, target, empty = installed
    found = run("-c", USE)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{target}/mrilab/__init__.py\n") and "ismrmrd" in found.stdout
    assert (empty / "phantom.nii.gz").stat().st_size > 10_000 and (empty / "phantom.nii.gz.png").is_file()
    said = found.stderr.splitlines()[-1]
    assert said.startswith("mrilab: fixed_1mm.json: not here") and "http://127.0.0.1:9/priors/fixed_1mm.json" in said


@pytest.mark.slow
@pytest.mark.parametrize("how", [["-m", "mrilab", "info", "a"], ["bin/mrilab", "info", "a"], ["-c", "import mrilab"]])
def test_without_torch_one_line_says_what_to_install(installed, how):
    """-S: without the environment's packages."""
    run, target, _ = installed
    found = run("-S", *(str(target / part) if part.startswith("bin/") else part for part in how))
    assert found.returncode == 1
    *others, last = found.stderr.splitlines()
    assert "PyTorch is missing" in last and last.endswith("pip install torch")
    assert others == [] if how[0] != "-c" else last.startswith("ImportError: ")


@pytest.mark.parametrize("command, begins", [("-c", "ImportError: "), ("mrilab", "")])
def test_older_python_is_one_line(command, begins):
    code = f"import sys; sys.version_info, sys.argv = (3, 10, 2), ['{command}']; import mrilab"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == f"{begins}mrilab: found Python 3.10, expected 3.11 or newer"


@pytest.fixture
def cards(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import cards

    cards.result.cache_clear()
    yield cards
    cards.result.cache_clear()


def test_model_cards_have_what_a_hub_reads_and_a_person_wants(cards, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cards.py", "--out", str(tmp_path)])
    cards.main()
    heads, priors = {d.name: d for d in list_datasets()}, {d.name for d in list_datasets("prior")}
    assert {path.name for path in tmp_path.iterdir()} == priors
    for name in priors:
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {"README.md", f"{name}.json", f"{name}.safetensors"}
        _, head, text = (tmp_path / name / "README.md").read_text().split("---\n", 2)
        head, card = yaml.safe_load(head), json.loads((tmp_path / name / f"{name}.json").read_text())
        assert head["license"] == "cc-by-4.0" and head["library_name"] == "mrilab" and head["metrics"] and head["tags"]
        assert {heads[volume].person for volume in head["datasets"]} == set(card["people"])
        assert {heads[volume].split for volume in head["datasets"]} <= {"train", "validation"}
        for part in ("## Intended use", "## How to use it", "## Training data", "## Training\n", "## Evaluation",
                     "## Limits", "## Licence", "Not for diagnosis", card["sha256"], card["hardware"],
                     f"{card['steps']:,}", *(heads[volume].licence for volume in head["datasets"])):
            assert part in text, part
        assert not re.search(r"\{[a-z_]+\}|\bnan\b|\bNone\b", text)


def test_model_card_shows_only_what_these_weights_did(cards, monkeypatch):
    """The numbers are those of the result, of test heads alone; what other weights made is left out."""
    row = dict(label="variational-diverse", prior="diverse", volume="qtim_MRHead", voxel_size=2.0, acceleration=8,
               seed=0, block=None, coils=8, noise=0.01, psnr=31.26, ssim=0.9126)
    rows = [row, row | dict(label="cg_sense", psnr=29.0), row | dict(volume="mskt_knee_mese", psnr=10.0)]

    def load(name):
        if name != "comparison":
            raise FileNotFoundError(name)
        return cards.results.Result(rows=rows, hardware="a card", date="2026-11-26", commit="abc")

    monkeypatch.setattr(cards.results, "load", load)
    text = cards.page("diverse")
    assert "| 2 mm | 8 | 31.3 | 0.913 | +2.3 | 1 |" in text and "eight coils (a card, 2026-11-26, abc)" in text
    assert yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["metrics"][0]["value"] == 31.26

    def refused(name):
        raise ValueError("made with other weights")

    cards.result.cache_clear()
    monkeypatch.setattr(cards.results, "load", refused)
    text = cards.page("diverse")
    assert "model-index" not in text and "CG-SENSE" not in text and "**Validation**" in text


@pytest.mark.parametrize("package", CONFIG["sphinx"]["config"]["intersphinx_mapping"])
def test_what_the_reference_links_to_exists(package):
    """The inventories are written by hand; a build asks no network."""
    address, file = CONFIG["sphinx"]["config"]["intersphinx_mapping"][package]
    first, *lines = (ROOT / "book" / file).read_text().splitlines()
    assert address.startswith("https://") and first == "# Sphinx inventory version 1"
    entries = [line.split() for line in lines if not line.startswith("#")]
    assert entries
    for name, kind, page in entries:
        assert name.startswith(package) and page.endswith(".html")
        assert inspect.ismodule(pkgutil.resolve_name(name)) == (kind == "mod")


def test_dev_container_sets_up_what_make_does():
    found = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert found["postCreateCommand"] == "make env" and found["image"].startswith("python:3.11")


def test_pdf_joins_pages_with_bookmarks_and_inner_links(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    from pdf import PUBLISHED, join

    for name, others in (("intro", ("chapter", "elsewhere")), ("chapter", ())):
        printed = PdfWriter()
        for _ in range(2):
            printed.add_blank_page(100, 100)
        for other in others:
            printed.add_annotation(0, Link(rect=(0, 0, 9, 9), url=f"http://127.0.0.1:8000/{other}.html#place"))
        printed.write(tmp_path / f"{name}.pdf")
    titles = {"intro": "Introduction", "chapter": "Chapter"}
    join(tmp_path, list(titles), titles, "http://127.0.0.1:8000/").write(tmp_path / "book.pdf")
    book = PdfReader(tmp_path / "book.pdf")
    assert [(mark.title, book.get_destination_page_number(mark)) for mark in book.outline] == [
        ("Introduction", 0), ("Chapter", 2)]
    inner, outer = (link.get_object()["/A"] for link in book.pages[0]["/Annots"])
    assert inner["/S"] == "/GoTo" and book.get_page_number(inner["/D"][0].get_object()) == 2
    assert outer["/S"] == "/URI" and outer["/URI"] == f"{PUBLISHED}elsewhere.html#place"
