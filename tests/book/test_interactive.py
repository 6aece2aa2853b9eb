"""Every widget on its built page in a real browser: every control moved, the pixels compared with numpy and torch."""

import base64
import csv
import io
import json
import re
import subprocess
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from pages import HTML, ROOT, find_browser, served

from mrilab.fourier import fft3c, ifft3c, resize_centred
from mrilab.metrics import psnr
from mrilab.mixture import GaussianMixture
from mrilab.priors import load_prior
from mrilab.reader_study import preferences
from mrilab.widgets import ScoreLab, UnfoldingLab
from mrilab.widgets.voxel_size_lab import centre_patch
from studies.recorded import g_factor

BOOK = ROOT / "book"
STATE = "application/vnd.jupyter.widget-state+json"
DESKTOP, PHONE = ("http", 1280), ("file", 390)      # mouse and keyboard, touch and keyboard
pytestmark = pytest.mark.skipif(not (HTML / "interactive.html").is_file(), reason="no built pages: run `make book`")


def widgets_of(page):
    """State of each of a chapter's widgets by the name of its class, as the page has it."""
    states = json.loads((BOOK / f"{page}.ipynb").read_text())["metadata"].get("widgets", {}).get(STATE, {"state": {}})
    names = {model["state"].get("_anywidget_id", "").rpartition(".")[2]: model for model in states["state"].values()}
    return {name: model for name, model in names.items() if name}


PAGES = {path.stem: widgets_of(path.stem) for path in sorted(BOOK.glob("*.ipynb"))}
MAIN = {page for page in PAGES if page.startswith("interactive")}          # by mouse too, as what only others have
COMMON = {name for page in MAIN for name in PAGES[page]}
RUNS = [(page, *how) for page in PAGES if PAGES[page]
        for how in ([DESKTOP, PHONE] if page in MAIN or set(PAGES[page]) - COMMON else [PHONE])]


def on(*names):
    """Run a test on every page that holds these widgets, or any."""
    runs = [run for run in RUNS if set(names) <= set(PAGES[run[0]])]
    return pytest.mark.parametrize("report", runs, indirect=True, ids=["-".join(map(str, run)) for run in runs])


@pytest.fixture(scope="module")
def report(request):
    page, scheme, width = request.param
    shots = HTML.parent / "shots"
    shots.mkdir(exist_ok=True)
    with served() as roots:
        run = subprocess.run(
            ["node", Path(__file__).parent / "play.mjs", find_browser(), f"{roots[scheme]}{page}.html", str(width),
             shots / f"{page}-{width}"], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout) | {"page": page, "name": f"{page}-{width}"}


def state_of(report, name):
    """Data and description of a page's widget of one class."""
    model = PAGES[report["page"]][name]
    packed = {b["path"][0]: base64.b64decode(b["data"]) for b in model["buffers"]}
    return np.frombuffer(zlib.decompress(packed["data"]), np.uint8), model["state"]["meta"]


def array(image):
    return np.array(image["values"]).reshape(image["height"], image["width"])


@on()
def test_nothing_goes_wrong(report):
    assert report["faults"] == []
    assert report["errors"] == []
    assert report["views"] == len(PAGES[report["page"]])


@on()
def test_every_control_changes_what_is_drawn(report):
    assert len(report["moves"]) > 5 * report["views"]
    assert [(m["widget"][:30], m["control"], m["how"]) for m in report["moves"] if not m["changed"]] == []
    assert {m["how"] for m in report["moves"]} in ({"mouse", "keyboard"}, {"touch", "keyboard"})


@on()
def test_accessible_and_fits(report):
    assert [v for v in report["axe"] if v.startswith(("serious", "critical"))] == []
    assert report["wide"] <= 0
    assert report["outline"] == "3px"
    assert report["stillsShown"] == 0


@on("VolumeViewer")
def test_viewer_draws_the_volume_in_mm(report):
    data, meta = state_of(report, "VolumeViewer")
    assert report["openedOn"].split(", ")[1].startswith("axial" if meta["view"] == "planes" else meta["view"])
    volume = data[: np.prod(meta["shape"])].reshape(meta["shape"])
    assert (array(report["axial"]) == volume[meta["at"][0]]).all()
    (height, width), (dy, dx) = report["axial"]["drawn"], meta["voxel_size"][1:]
    assert abs(height / width - meta["shape"][1] * dy / (meta["shape"][2] * dx)) < 0.02


@on("VolumeViewer")
def test_surface_is_what_the_rays_meet(report):
    """Sides of the cut have their values, the skin is lit, and where no ray meets a voxel there is nothing."""
    data, meta = state_of(report, "VolumeViewer")
    assert ("surface" in report) == meta["surface"]
    if not meta["surface"]:
        return
    seen, step, turn, rise = array(report["surface"]), *report["surface"]["spacing"][:1], *np.deg2rad(
        [report["surface"]["turn"], 25])
    shape, size = np.array(meta["shape"][::-1]), np.array(meta["voxel_size"][::-1])           # x, y, z
    volume, at = data.reshape(meta["shape"]), np.array(meta["at"][::-1])
    side = np.where(at[:2] < shape[:2] / 2, -1, 1)
    assert step == size.min() and turn == np.arctan2(*side)
    camera = np.array([np.cos(rise) * np.sin(turn), np.cos(rise) * np.cos(turn), np.sin(rise)])
    right = np.array([-np.cos(turn), np.sin(turn), 0])
    deep = np.abs([np.hypot(*(shape * size)[:2]) * np.cos(rise), shape[2] * size[2] * np.sin(rise)]).sum() / 2
    u, v = (step * (np.arange(n) + 0.5 - n / 2) for n in seen.shape[::-1])
    start = u[:, None] * right + v[:, None, None] * np.cross(camera, right) + deep * camera
    cut, open_, sides, skin = np.ones(seen.shape, bool), np.ones(seen.shape, bool), np.zeros(seen.shape), 0 * seen
    for n in range(int(np.ceil(2 * deep / step))):
        voxel = np.floor(shape / 2 + (start - n * step * camera) / size).astype(int)
        inside = ((voxel >= 0) & (voxel < shape)).all(-1) & open_
        corner = inside & (voxel[..., 2] > at[2]) & (side * (voxel - at)[..., :2] > 0).all(-1)
        here = np.where(inside & ~corner, volume[tuple(np.clip(voxel, 0, shape - 1)[..., ::-1].transpose(2, 0, 1))], 0)
        sides[cut & (here > 0)] = here[cut & (here > 0)]
        skin[~cut & (here >= 13)] = 1
        open_ &= ~((cut & (here > 0)) | (here >= 13))
        cut = np.where(inside, corner, cut)
    assert (sides > 0).sum() > 200 and (skin > 0).sum() > 0.2 * seen.size
    assert (np.abs(seen - sides / 255)[sides > 0] < 1e-3).mean() > 0.98             # rounding at voxels' borders
    assert ((seen >= 0.149) & (seen <= 0.901))[skin > 0].mean() > 0.98 and not seen[open_].any()


@on("KSpaceLab")
def test_kspace_lab_agrees_with_numpy(report):
    data, meta = state_of(report, "KSpaceLab")
    shape, unit = meta["shape"], (meta["high"] - meta["low"]) / 255
    image = meta["low"] + unit * data[: np.prod(shape)].reshape(shape).astype(float)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    mask = torch.from_numpy(array(report["kspace"]) >= 128)
    assert 0.01 < mask.double().mean() < 0.2
    shown = array(report["image"])
    assert shown.shape == tuple((n + 1) // 2 for n in shape)            # the sliders asked for voxels twice as large

    def seen(values):
        part = resize_centred(values.to(torch.complex128)[None], (1, *shown.shape))
        return ifft3c(part)[0].abs().numpy() * (shown.size / image.size) ** 0.5

    assert np.abs(shown - seen(mask * torch.from_numpy(kspace))).max() < 1e-4
    spread = seen(mask)
    assert np.abs(array(report["spread"]) - spread / spread.max()).max() < 1e-4
    assert "Nothing is measured" in report["nothing"]


@on("KSpaceLab")
def test_score_of_a_drawn_mask(report):
    _, meta = state_of(report, "KSpaceLab")
    image = torch.from_numpy(array(report["again"])).float()[None]
    mask = array(report["drawn"]["kspace"]) >= 128
    assert 0 < mask.mean() < 1 / 8
    seen = ifft3c(torch.from_numpy(mask) * fft3c(image[0].to(torch.complex64), axes=(-2, -1)), axes=(-2, -1)).abs()
    assert np.abs(array(report["drawn"]["image"]) - seen.numpy()).max() < 1e-4
    if not meta.get("goal"):
        assert report["scores"] == ["", ""]
        return
    now, after = report["scores"]
    reached = f"{psnr(seen[None], image):.1f} dB"
    assert re.fullmatch(rf"Goal \d: [\d.]+ dB at R = 8, drawn by hand. Now {reached}. Best {reached}.", now)
    assert re.fullmatch(rf"Goal \d: [\d.]+ dB at R = 8, drawn by hand. Best {reached}.", after)


@on("KSpaceLab")
def test_files_that_are_no_picture_get_a_sentence(report):
    assert report["said"] == ["words.png is no picture that this browser can read.",
                              "huge.svg has 9000 × 9000 pixels; 60 million are the most that fit.",
                              "even.svg is of one even grey: there is nothing to see."]
    assert report["kept"]["values"] == report["again"]["values"] != report["own"]["values"]
    own, middle = array(report["own"]), report["own"]["width"] // 2
    high = state_of(report, "KSpaceLab")[1]["high"]
    assert np.abs(own[:, : middle - 2] - high).max() < 1e-3 and own[:, middle + 2:].max() < 1e-3


@on("UnfoldingLab")
def test_unfolded_as_the_g_factor_says(report):
    data, meta = state_of(report, "UnfoldingLab")
    count, shape = np.prod(meta["shape"]), meta["shape"]
    real, imaginary = data[: 2 * count].view(np.int8).reshape(2, *shape) * (meta["high"] / 127)
    truth, inside = real + 1j * imaginary, data[2 * count:].reshape(shape) > 0
    lab = UnfoldingLab(torch.from_numpy(truth), meta["spacing"])
    g = g_factor(lab.maps(60).to(torch.complex64), (2, 1)).numpy()
    assert np.abs(array(report["unfolded"]["g"]) - g)[inside].max() < 1e-3 and g.max() > 2
    error = (array(report["unfolded"]["image"]) - np.abs(truth))[inside & (np.abs(truth) > 0.4)]
    expected = meta["sigma"] * g[inside & (np.abs(truth) > 0.4)]
    assert 0.9 < np.mean((error / expected) ** 2) < 1.15               # what noise along the phase gives
    assert float(re.search(r"g = ([\d.]+)", report["unfolded"]["words"])[1]) <= g.max() + 0.01
    assert "g is infinite" in report["alike"]
    pairs = inside[: shape[0] // 2] & inside[shape[0] // 2:]
    assert report["unanswered"] == 2 * pairs.sum() > 0


@on("VoxelSizeLab")
def test_slice_and_patch_of_one_voxel_size(report):
    data, meta = state_of(report, "VoxelSizeLab")
    ends = np.cumsum([np.prod(size["shape"]) for size in meta["sizes"]])
    slices = [meta["low"] + part.reshape(size["shape"]) * ((meta["high"] - meta["low"]) / 255)
              for part, size in zip(np.split(data, ends[:-1]), meta["sizes"])]
    assert np.allclose(array(report["sized"]["slice"]), slices[-1])
    assert np.allclose(array(report["sized"]["patch"]), centre_patch(slices[-1]))

    def upper(image):
        window = np.outer(*(torch.hann_window(n, dtype=torch.float64) for n in image.shape))
        power = np.abs(np.fft.fftshift(np.fft.fft2(window * image, norm="ortho"))) ** 2 / (window**2).mean()
        k = np.hypot(*np.meshgrid(*((np.arange(n) - n // 2) / n for n in image.shape), indexing="ij"))
        ring = np.floor(2 * meta["rings"] * k + 1e-9)
        return sum(power[ring == b].mean() for b in range(meta["rings"] // 2, meta["rings"]))

    assert f"{upper(slices[-1]) / upper(slices[0]):.1f} times the power" in report["sized"]["words"]


@on("ScoreLab")
def test_score_and_flow_are_those_of_the_mixture(report):
    data, meta = state_of(report, "ScoreLab")
    mixture = GaussianMixture(torch.tensor(meta["means"])[..., None, None], meta["std"], meta["weights"])
    lab, field = ScoreLab(mixture), report["field"]
    assert np.array_equal(data.view(np.float32).reshape(-1, 2), lab.noise)
    x, sigma = torch.tensor(field["point"]["x"], dtype=torch.float64), field["point"]["sigma"]
    half = np.hypot(meta["reach"], 2.5 * sigma)
    assert np.allclose(x, [-0.28 * half, 0.2 * half], atol=2 * half / field["box"])        # where the pointer let go
    assert np.allclose(field["point"]["score"], mixture.score(x[None, :, None, None], sigma).flatten(), atol=1e-9)
    denoised = mixture.denoise(x[None, :, None, None], sigma).flatten()
    assert np.allclose(field["point"]["denoised"], denoised, atol=1e-5)
    assert f"D(x; σ) = ({denoised[0]:.2f}, {denoised[1]:.2f})".replace("-", "−") in field["words"]
    line = torch.from_numpy((np.arange(240) + 0.5) / 120 * half - half)
    density = mixture.log_density(torch.cartesian_prod(line, line).flip(1)[..., None, None], sigma).exp()
    assert np.abs(array(field["image"]).flatten() - (density / density.max()).sqrt().numpy()).max() < 1e-9

    end = lab.flow(x[None], sigma)[-1, 0]
    assert np.allclose(field["one"]["x"], end, atol=1e-6)
    assert f"the flow ends at ({end[0]:.2f}, {end[1]:.2f})".replace("-", "−") in field["one"]["words"]
    ends = lab.flow(meta["range"][1] * lab.noise, meta["range"][1])[-1]
    assert np.allclose(field["many"]["ends"], ends, atol=1e-6)
    nearest = torch.cdist(ends, mixture.means.flatten(1).double()).argmin(1)
    counts = torch.bincount(nearest, minlength=len(meta["means"]))
    assert f"nearest to each mean: {', '.join(map(str, counts.tolist()))}." in field["many"]["words"]
    assert "ends" not in field["after"] and field["after"]["sigma"] == sigma                # back where it began
    assert field["still"] == 0


@on("NoiseLab")
def test_noise_lab_draws_the_noise_it_says(report):
    data, meta = state_of(report, "NoiseLab")
    height, width = meta["sizes"][0]["shape"]
    count, unit = height * width, (meta["high"] - meta["low"]) / 255
    clean = meta["low"] + unit * data[:count].astype(float)
    real, imaginary = data[count: 3 * count].view(np.int8).reshape(2, -1) * meta["noise"] * meta["sigmas"][-1]
    expected = np.hypot(clean + real, imaginary).reshape(height, width)
    assert np.abs(array(report["noisy"]) - expected).max() < 1e-4


@on("ComparisonDashboard")
def test_dashboard_shows_the_two_chosen(report):
    data, meta = state_of(report, "ComparisonDashboard")
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
    assert f"B against A: {b['psnr'] - a['psnr']:+z.1f} dB".replace("-", "−") in report["comparison"]


@on("ComparisonDashboard")
def test_dashboard_marks_groups_ties_and_cells_that_do_nothing(report):
    _, meta = state_of(report, "ComparisonDashboard")
    methods, table = meta["methods"], report["table"]
    names = [", ".join(filter(None, (m["name"], m["prior"]))) for m in methods]
    for side, i in zip("AB", meta["start"]):
        cell = meta["cells"][i]
        assert f"{side}: {names[cell['method']]}, {meta['columns'][cell['column']]['size']}" in report["opened"]
    groups = {}
    for m, name in zip(methods, names):
        groups.setdefault(m.get("group", ""), []).append(name)
    assert [[line.replace("\n", ", ") for line in body] for body in table["groups"]] == [
        [*filter(None, [group]), *found] for group, found in groups.items()]

    order = sorted(meta["cells"], key=lambda cell: (cell["method"], cell["column"]))
    colours = {}
    for cell, drawn in zip(order, table["cells"], strict=True):
        able = [c for c in order if c["column"] == cell["column"] and not c.get("no_op")]
        lead, idle = cell.get("lead", 0), cell.get("no_op", False)
        assert drawn["bold"] == (not idle and max(c["psnr"] for c in able) - cell["psnr"] < 0.1)
        assert (drawn["border"] == "dashed") == idle or cell in [meta["cells"][i] for i in meta["start"]]
        reference = meta.get("reference")
        assert drawn["level"] == bool(reference and names[cell["method"]] != reference and not idle and abs(lead) < 0.1)
        assert ("level with" in drawn["words"]) == drawn["level"] and ("does nothing" in drawn["words"]) == idle
        assert f"{cell['psnr']:.1f}" in drawn["words"]                                      # whatever the colour says
        step = None if idle else int(np.sign(lead)) * sum(abs(lead) >= edge for edge in (0.1, 0.5, 1, 2))
        colours.setdefault(step, set()).add(drawn["colour"])
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == len(colours)            # one colour for each step, and no two the same


@on("MismatchLab")
def test_pictures_of_the_chosen_scan_and_prior(report):
    data, meta = state_of(report, "MismatchLab")
    shapes = [(1 + len(meta["priors"]), *scan["shape"]) for scan in meta["scans"]]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    stored = [part.reshape(shape).astype(int) for part, shape in zip(np.split(data, ends[:-1]), shapes)]
    for shown in report["judged"]:
        scan, prior = meta["scans"][shown["scan"]], shown["prior"]
        truth, image, error = map(array, shown["pictures"])
        assert (truth == stored[shown["scan"]][0]).all()
        assert (image == stored[shown["scan"]][1:][prior]).all()
        assert (error == np.minimum(5 * np.abs(image - truth), 255)).all() and error.any()
        assert shown["captions"][:2] == [["truth", f"voxels of {scan['label']}"],
                                         [meta["priors"][prior], f"{scan['psnr'][prior]:.1f} dB"]]


@on("MismatchLab")
def test_meters_and_truth_of_the_chosen_scan(report):
    """Their numbers, their bars, and which prior each prefers."""
    _, meta = state_of(report, "MismatchLab")
    names = meta["priors"]
    for shown in report["judged"]:
        scan, rows, picks = meta["scans"][shown["scan"]], shown["rows"], []
        assert [row["cells"][0] for row in rows] == names
        assert [name for name, row in zip(names, rows) if row["chosen"]] == [names[shown["prior"]]]
        lost = [[max(scan["psnr"]) - quality] for quality in scan["psnr"]]
        for n, column in enumerate([*scan["behind"], lost]):
            values, bars = np.array([v for v, *_ in column]), np.array([row["bars"][n] for row in rows])
            cells, step = [row["cells"][n + 1] for row in rows], 0.001 if values.max() < 1 else 0.01
            assert [cell == "best" for cell in cells] == [not v for v in values]
            numbers = [[float(v) for v in cell.split(" ± ")] for cell in cells if cell != "best"]
            assert np.allclose(numbers, [pair for pair in column if pair[0]], rtol=0, atol=0.501 * step)
            assert bars.max() > 25 and np.abs(bars - bars.max() * values / values.max()).max() < 1      # pixels
            picks.append(names[values.argmin()])
        assert shown["head"] == ["prior", *(f"{m}, {u}" for m, u in zip(meta["meters"], meta["units"])), "truth, dB"]
        assert shown["words"] == f"The truth prefers {picks[-1]}; " + ", ".join(
            f"{meter} picks {name}" for meter, name in zip(meta["meters"], picks)) + "."
    first, other, _ = report["judged"]
    assert [row["cells"][1:] for row in first["rows"]] != [row["cells"][1:] for row in other["rows"]]


def parts(image):
    """Real and imaginary part of a complex picture of the page."""
    return np.stack([np.array(image[part]).reshape(image["height"], image["width"]) for part in ("re", "im")])


def by_the_prior(noisy, sigma):
    with mock.patch("mrilab.diffusion.bf16", return_value=False):
        return load_prior("diverse").denoise(torch.from_numpy(noisy)[None].float(), sigma)[0].numpy()


@on("NetworkLab")
def test_network_lab_opens_with_an_answer(report):
    """Stored, so as fine as its grey values and the arithmetic that made it."""
    opening, (_, meta) = report["opening"], state_of(report, "NetworkLab")
    noisy = parts(opening["input"])
    expected = np.hypot(*by_the_prior(noisy, opening["sigma"])).clip(max=meta["high"])
    error = np.abs(array(opening["answer"]) - expected)
    assert opening["sigma"] == meta["sigma"]
    assert error.max() < 0.03 and error.mean() < (meta["high"] - meta["low"]) / 255
    assert np.abs(expected - np.hypot(*noisy)).mean() > 0.02
    assert re.search(r"PSNR [\d.]+ dB before, [\d.]+ dB after, computed beforehand", opening["words"])


@on("NetworkLab")
def test_network_in_the_page_is_the_prior(report):
    noisy, denoised = parts(report["noisyInput"]), parts(report["denoised"])
    assert np.abs(denoised - by_the_prior(noisy, report["sigma"])).max() < 1e-4
    assert np.abs(denoised - noisy).mean() > 0.02


@on()
def test_old_browser_gets_words_and_the_still_picture(report):
    assert "DecompressionStream" in report["old"]["words"]
    assert report["old"]["stills"] == report["views"]


@on("NetworkLab")
def test_browser_without_webassembly_gets_all_but_the_network(report):
    (words,) = report["plain"]["words"]
    assert "no WebAssembly" in words
    assert report["plain"]["stills"] == 1


@on("ReaderStudy")
def test_study_is_blind_and_keeps_what_was_answered(report, tmp_path):
    quiz, (data, meta) = report["quiz"], state_of(report, "ReaderStudy")
    cases, total = meta["cases"], len(meta["pairs"])
    methods = {method for case in cases for method in case["methods"]}
    assert [word for word in {*methods, *(case["case"] for case in cases)} if word in quiz["html"]] == []
    assert quiz["counts"] == ["First choose A, equal or B."] + [f"Pair {t + 1} of {total}" for t in range(1, total)] + [
        "Everything is answered. Save the answers."]
    assert quiz["focused"]
    assert quiz["kept"] == [True, False]            # the page is not left without a question before they are saved
    assert quiz["file"] == f"{meta['study']} simulated-browser-the-first.csv"

    rows = list(csv.DictReader(io.StringIO(quiz["csv"], newline="")))
    assert {row["reader"] for row in rows} == {"simulated browser, the first"}
    assert [(row["trial"], row["answer"], row["confidence"]) for row in rows] == [
        (str(t + 1), ("left", "equal", "right")[t % 3], str(t % 2 + 2)) for t in range(total)]
    asked = {(row["case"], *sorted((row["left"], row["right"]))) for row in rows}
    assert asked == {(cases[n]["case"], *sorted((cases[n]["methods"][i], cases[n]["methods"][j])))
                     for n, i, j in meta["pairs"]}
    assert [row["case"] for row in rows] != [cases[n]["case"] for n, _, _ in meta["pairs"]]         # in another order
    stored, at = {}, 0                                                      # and each name stands for what was seen
    for case in cases:
        for name in [*case["methods"], *["truth"] * case["truth"]]:
            values = data[at: at + np.prod(case["shape"])].astype(int)
            stored[case["case"], name] = int((values * (np.arange(values.size) % 251)).sum())
            at += values.size
    assert quiz["seen"] == [[stored[row["case"], row[side]] for side in ("left", "right")] for row in rows]

    path = tmp_path / "answers.csv"
    path.write_text(quiz["csv"], newline="")
    result = preferences(path)
    for pair in result.pairs:
        both = [row for row in rows if {row["left"], row["right"]} == {pair["first"], pair["second"]}]
        times = [sum(row.get(row["answer"]) == pair[which] for row in both) for which in ("first", "second")]
        equal = len(both) - sum(times)
        assert pair["share"] == pytest.approx((times[0] + equal / 2) / len(both))
        assert f"{pair['first']} {times[0]}, {pair['second']} {times[1]}, equal {equal}" in quiz["revealed"]
    assert result.readers[0]["left"] == pytest.approx(0.5)


@on()
def test_sizes_and_times(report, record_property, capsys):
    """A page weighs at most 4 MB besides what all share; the times go to the report and beside the screenshots."""
    sizes = {name: len(base64.b64decode(model["buffers"][0]["data"])) for name, model in PAGES[report["page"]].items()}
    assert max(sizes.values()) < 1.5e6
    weight = {part: n for part, n in report["weight"].items() if n}                     # unknown of a file
    assert weight.get("html", 0) + weight.get("pictures", 0) < 4e6
    first = report["firstDraw"]                 # on a busy machine the clock says more about its other work
    times = {"first draw": first["clock"], "first draw, processor": first["processor"], **dict(report["redraw"])}
    times |= {"network": float(report["networkMs"])} if "networkMs" in report else {}
    measured = {"milliseconds": times, "bytes": sizes | weight}
    record_property("measured", measured)
    (HTML.parent / "shots" / f"{report['name']}.json").write_text(json.dumps(measured, indent=1))
    with capsys.disabled():
        print(f"\n{report['name']}: {measured}")
    assert all(v > 0 for v in times.values())
