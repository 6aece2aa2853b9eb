"""Every widget on its built page in a real browser: every control moved, the pixels compared with numpy and torch."""

import base64
import json
import subprocess
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from pages import HTML, ROOT, find_browser, served

from mrilab.diffusion import load_prior
from mrilab.fourier import ifft3c, resize_centred

PAGE = HTML / "interactive.html"
NOTEBOOK = ROOT / "book/interactive.ipynb"
RUNS = [("http", 1280), ("file", 390)]      # a desktop with mouse and keyboard, a phone with touch
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="no built pages: run `make book` first")


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{run[1]}")
def report(request):
    scheme, width = request.param
    shots = HTML.parent / "shots"
    shots.mkdir(exist_ok=True)

    with served() as roots:
        run = subprocess.run(
            ["node", Path(__file__).parent / "play.mjs", find_browser(), f"{roots[scheme]}interactive.html", str(width),
             shots / f"{scheme}-{width}"], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def state_of(name):
    """Data and description of the page's widget of one class, as the page has them."""
    metadata = json.loads(NOTEBOOK.read_text())["metadata"]
    states = metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    (entry,) = (s for s in states.values() if s["state"].get("_anywidget_id", "").endswith(f".{name}"))
    packed = {b["path"][0]: base64.b64decode(b["data"]) for b in entry["buffers"]}
    return np.frombuffer(zlib.decompress(packed["data"]), np.uint8), entry["state"]["meta"]


def array(image):
    return np.array(image["values"]).reshape(image["height"], image["width"])


def test_nothing_goes_wrong(report):
    assert report["faults"] == []
    assert report["errors"] == []
    assert report["views"] == 6


def test_every_control_changes_what_is_drawn(report):
    assert len(report["moves"]) > 60
    assert [(m["widget"][:30], m["control"], m["how"]) for m in report["moves"] if not m["changed"]] == []
    assert {m["how"] for m in report["moves"]} in ({"mouse", "keyboard"}, {"touch", "keyboard"})


def test_accessible_and_fits(report):
    assert [v for v in report["axe"] if v.startswith(("serious", "critical"))] == []
    assert report["wide"] <= 0
    assert report["outline"] == "3px"
    assert report["stillsShown"] == 0


def test_viewer_draws_the_volume_in_mm(report):
    data, meta = state_of("VolumeViewer")
    volume = data[: np.prod(meta["shape"])].reshape(meta["shape"])
    assert (array(report["axial"]) == volume[meta["shape"][0] // 2]).all()
    (height, width), (dy, dx) = report["axial"]["drawn"], meta["voxel_size"][1:]
    assert abs(height / width - meta["shape"][1] * dy / (meta["shape"][2] * dx)) < 0.02


def test_kspace_lab_agrees_with_numpy(report):
    data, meta = state_of("KSpaceLab")
    shape, unit = meta["shape"], (meta["high"] - meta["low"]) / 255
    image = meta["low"] + unit * data[: np.prod(shape)].reshape(shape).astype(float)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    mask = torch.from_numpy(array(report["kspace"]) >= 128)
    assert 0.01 < mask.double().mean() < 0.2
    shown = array(report["image"])
    assert shown.shape == (shape[0] // 2, shape[1] // 2)            # the sliders asked for voxels twice as large

    def seen(values):
        part = resize_centred(values.to(torch.complex128)[None], (1, *shown.shape))
        return ifft3c(part)[0].abs().numpy() * (shown.size / image.size) ** 0.5

    assert np.abs(shown - seen(mask * torch.from_numpy(kspace))).max() < 1e-4
    spread = seen(mask)
    assert np.abs(array(report["spread"]) - spread / spread.max()).max() < 1e-4
    assert "Nothing is measured" in report["nothing"]


def test_noise_lab_draws_the_noise_it_says(report):
    data, meta = state_of("NoiseLab")
    height, width = meta["sizes"][0]["shape"]
    count, unit = height * width, (meta["high"] - meta["low"]) / 255
    clean = meta["low"] + unit * data[:count].astype(float)
    real, imaginary = data[count: 3 * count].view(np.int8).reshape(2, -1) * meta["noise"] * meta["sigmas"][-1]
    expected = np.hypot(clean + real, imaginary).reshape(height, width)
    assert np.abs(array(report["noisy"]) - expected).max() < 1e-4


def test_dashboard_shows_the_two_chosen(report):
    data, meta = state_of("ComparisonDashboard")
    ends = np.cumsum([np.prod(s["shape"]) for s in meta["slices"]])
    slices = [part.reshape(s["shape"]) for part, s in zip(np.split(data, ends[:-1]), meta["slices"])]
    order = sorted(meta["cells"], key=lambda cell: (cell["method"], cell["column"]))        # as the table reads
    a, b = (order[report["chosen"][side]] for side in "AB")
    assert a["column"] == b["column"] or slices[a["image"]].shape == slices[b["image"]].shape
    row, divider = report["swiped"]["y"], report["divider"]
    expected = np.where((np.arange(slices[a["image"]].shape[1]) + 0.5) / slices[a["image"]].shape[1] < divider,
                        slices[a["image"]][row], slices[b["image"]][row]).astype(float)
    white = meta["high"] / (meta["high"] - meta["low"]) * 255
    expected = np.clip((expected - 255 + white) * 255 / white, 0, 255)
    different = np.abs(np.array(report["swiped"]["values"]) - expected) > 1
    assert 0.2 < divider < 0.4 and different.mean() < 0.05         # but for the line itself
    error = np.abs(slices[b["image"]].astype(float) - slices[b["truth"]])
    assert (array(report["error"]) == np.minimum(meta["gain"] * error, 255)).all()
    assert f"B against A: {b['psnr'] - a['psnr']:+.1f} dB".replace("-", "−") in report["comparison"]


def test_network_in_the_page_is_the_prior(report):
    noisy, denoised = (np.stack([np.array(c[p]).reshape(c["height"], c["width"]) for p in ("re", "im")])
                       for c in (report["noisyInput"], report["denoised"]))
    with mock.patch("mrilab.diffusion.bf16", return_value=False):
        expected = load_prior("diverse").denoise(torch.from_numpy(noisy)[None].float(), report["sigma"])[0]
    assert np.abs(denoised - expected.numpy()).max() < 1e-4
    assert np.abs(denoised - noisy).mean() > 0.02


def test_old_browser_gets_words_and_the_still_picture(report):
    assert "DecompressionStream" in report["old"]["words"]
    assert report["old"]["stills"] == report["views"]


def test_browser_without_webassembly_gets_all_but_the_network(report):
    (words,) = report["plain"]["words"]
    assert "no WebAssembly" in words
    assert report["plain"]["stills"] == 1


def test_times(report, record_property, capsys):
    times = {"first draw": report["firstDraw"], "network": float(report["networkMs"]), **dict(report["redraw"])}
    record_property("milliseconds", times)
    with capsys.disabled():
        print(f"\nmilliseconds in the page: {times}")
    assert all(v > 0 for v in times.values())
