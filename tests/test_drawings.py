"""The book's drawings: whole files that depend on nothing outside, say what they show, and can be read in any mode."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from drawings import COLOURS, DRAWINGS, svg  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
FILES = sorted((ROOT / "book/figures").glob("drawing_*.svg"))
CSS = (ROOT / "book/_ext/static/book.css").read_text()


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request):
    return request.param


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    dark, bright = sorted((luminance(a), luminance(b)))
    return (bright + 0.05) / (dark + 0.05)


def test_every_drawing_has_its_file():
    assert [path.stem for path in FILES] == sorted(f"drawing_{name}" for name in DRAWINGS)


@pytest.mark.parametrize("name", sorted(set(DRAWINGS) - {"mask"}))     # the mask asks sigpy, which compiles for seconds
def test_file_is_what_the_code_draws(name):
    found = (ROOT / f"book/figures/drawing_{name}.svg").read_text()
    assert found == svg(name), "run `python tools/drawings.py`"


def test_is_whole_small_and_says_what_it_shows(file):
    root = ET.parse(file).getroot()
    assert (root.tag, root.get("role")) == (SVG + "svg", "img")
    title, description = root.find(SVG + "title"), root.find(SVG + "desc")
    assert root.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
    assert len(title.text) > 8 and len(description.text) > 60
    assert file.stat().st_size < 25_000


def test_needs_nothing_from_outside(file):
    words = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|href|@import|<script|<image|<foreignObject|url\((?!#)", words)


def test_letters_stay_inside_and_can_be_read_on_a_phone(file):
    root = ET.parse(file).getroot()
    width, height = map(float, root.get("viewBox").split()[2:])
    sizes = [float(size) for size in re.findall(r"(?:font:|font-size:)([\d.]+)px", root.find(SVG + "style").text)]
    assert min(sizes) * 340 / width >= 11
    for label in root.iter(SVG + "text"):
        x, half = float(label.get("x")), 0.27 * 13 * len(label.text)
        left = x if "left" in label.get("class") else x - half
        assert left >= 0 and left + 2 * half <= width and 0 < float(label.get("y")) <= height, label.text


@pytest.mark.parametrize("name", COLOURS)
def test_colours_stand_out(name):
    assert min(contrast(COLOURS[name], ground) for ground in ("#ffffff", "#14181e", "#121212")) > 3
    light, dark = re.findall(rf"--drawing-{name}: (#\w+);", CSS)
    assert contrast(light, "#ffffff") > 4.5 and contrast(dark, "#14181e") > 4.5
