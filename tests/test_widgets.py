"""Widgets in Python: what they store is what they were given, what they refuse, what the kernel answers."""

import json
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mrilab import masks, reader_study, widgets
from mrilab.classical import cg_sense
from mrilab.diffusion import Prior
from mrilab.fourier import fft3c, resample, resize_centred
from mrilab.metrics import psnr, ssim
from mrilab.mixture import GaussianMixture
from mrilab.priors import load_prior
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.unet import UNet
from mrilab.variational import reconstruct
from mrilab.volumes import Volume
from mrilab.widgets.voxel_size_lab import centre_patch
from studies.recorded import g_factor
from studies.results import pack_slices, unpack_slices

FOLDER = Path(widgets.__file__).parent
generator = torch.Generator().manual_seed(0)
image = torch.rand(32, 40, generator=generator)
volume = torch.rand(5, 6, 8, generator=generator)


def unpacked(widget):
    return np.frombuffer(zlib.decompress(widget.data), np.uint8)


def grey(widget, values):
    return widget.meta["low"] + values.astype(float) * (widget.meta["high"] - widget.meta["low"]) / 255


def test_viewer_stores_the_volumes():
    other = volume * torch.exp(1j * volume)
    viewer = widgets.VolumeViewer({"a": volume, "b": 0.5 * other}, (3, 1, 1), truth="a")
    stored = grey(viewer, unpacked(viewer)).reshape(2, 5, 6, 8)
    step = (viewer.meta["high"] - viewer.meta["low"]) / 255
    assert np.abs(stored[0] - volume.numpy()).max() < 0.51 * step
    assert np.abs(stored[1] - 0.5 * volume.numpy()).max() < 0.51 * step      # the magnitude of the complex one
    assert viewer.meta["voxel_size"] == [3, 1, 1] and viewer.meta["truth"] == "a"


def test_viewer_opens_where_it_is_told():
    assert widgets.VolumeViewer({"a": volume}, (1, 1, 1)).meta["at"] == [2, 3, 4]
    assert widgets.VolumeViewer({"a": volume}, (1, 1, 1), at=(0, 5, 7)).meta["at"] == [0, 5, 7]
    assert widgets.VolumeViewer({"a": volume}, (1, 1, 1)).meta["view"] == "planes"
    assert widgets.VolumeViewer({"a": volume}, (1, 1, 1), plane="coronal").meta["view"] == "coronal"


def test_values_below_zero_are_kept():
    viewer = widgets.VolumeViewer({"a": volume - 0.5}, (1, 1, 1))
    assert viewer.meta["low"] == pytest.approx(float(volume.min()) - 0.5)


NAN = volume.clone().fill_(float("nan"))


DIVERSE = {"diverse": load_prior("diverse")}
POINTS = GaussianMixture(torch.tensor([[-0.6, -0.4], [-0.5, 0.5], [0.7, -0.5]])[..., None, None], 0.08, (0.5, 0.1, 0.4))
CASE = dict(case="one", images={"a": image, "b": 0.5 * image}, truth=image, voxel_size=(1, 2))
JUDGED = dict(truth=image, images={"a": image, "b": image}, voxel_size=(1, 1), psnr={"a": 3.0, "b": 2.0},
              behind={"held-out": {"a": (0.0, 0.0), "b": (0.4, 0.1)}})
ROW = dict(method="a", voxel_size=2, acceleration=4, psnr=20.0, ssim=0.5, image=image, truth=image)


@pytest.mark.parametrize("make, message", [
    (lambda: widgets.VolumeViewer({}, (1, 1, 1)), "volumes: found {}, expected a dict of at least one"),
    (lambda: widgets.VolumeViewer({"a": volume, "b": volume[1:]}, (1, 1, 1)), "volumes: found shapes .* expected one"),
    (lambda: widgets.VolumeViewer({"a": NAN}, (1, 1, 1)), r"volumes\['a'\]: found NaN"),
    (lambda: widgets.VolumeViewer({"a": image}, (1, 1, 1)), r"volumes\['a'\]: found shape \(32, 40\), expected 3 dim"),
    (lambda: widgets.VolumeViewer({"a": volume}, (1, 1)), "voxel_size: found .* expected three positive numbers"),
    (lambda: widgets.VolumeViewer({"a": volume}, (1, 1, 1), truth="b"), "truth: found 'b', expected one of a"),
    (lambda: widgets.VolumeViewer({"a": volume}, (1, 1, 1), plane="z"), "plane: found 'z', expected one of axial, cor"),
    (lambda: widgets.VolumeViewer({"a": volume}), "voxel_size: found None, expected .* or Volumes"),
    (lambda: widgets.VolumeViewer({"a": Volume(volume, (1, 1, 1)), "b": Volume(volume, (1, 1, 2))}),
     r"volumes: found voxel sizes {'a': \(1.0, 1.0, 1.0\), 'b': \(1.0, 1.0, 2.0\)}, expected one"),
    (lambda: widgets.VolumeViewer({"a": Volume(volume, (1, 1, 1))}, (2, 2, 2)), "volumes: found voxel sizes"),
    (lambda: widgets.VolumeViewer({"a": volume}, (1, 1, 1), at=(1, 6, 1)),
     r"at: found \[1, 6, 1\], expected a voxel \(z, y, x\) of a volume of 5 x 6 x 8"),
    (lambda: widgets.VolumeViewer({"a": volume}, (1, 1, 1), at=(1, 2)), r"at: found \[1, 2\], expected a voxel"),
    (lambda: widgets.KSpaceLab(image, (1, 0)), "voxel_size: found .* expected two positive numbers"),
    (lambda: widgets.KSpaceLab(image[:10], (1, 1)), "image: found shape .* expected sides from 24 to 512"),
    (lambda: widgets.KSpaceLab(volume, (1, 1)), "found shape .* expected 2 dimensions"),
    (lambda: widgets.KSpaceLab(image, (1, 1), goal=7), "goal: found 7, expected one of 2, 4, 8, 12, 16"),
    (lambda: widgets.UnfoldingLab(image[:31], (1, 1)), r"image: found shape \(31, 40\), expected an even height"),
    (lambda: widgets.UnfoldingLab(volume, (1, 1)), "found shape .* expected 2 dimensions"),
    (lambda: widgets.UnfoldingLab(0 * image, (1, 1)), "found no voxel brighter than the rest"),
    (lambda: widgets.UnfoldingLab(image, (1, -1)), "voxel_size: found .* expected two positive numbers"),
    (lambda: widgets.VoxelSizeLab(volume), "volume: found Tensor, expected a Volume"),
    (lambda: widgets.VoxelSizeLab(Volume(volume, (1, 1, 1)), (2, 1)), r"voxel_sizes: found \(2, 1\), expected"),
    (lambda: widgets.VoxelSizeLab(Volume(volume, (1, 1, 1)), ()), "voxel_sizes: found .* the finest first"),
    (lambda: widgets.NoiseLab(volume, {}), "volume: found Tensor, expected a Volume"),
    (lambda: widgets.NoiseLab(Volume(volume, (1, 1, 1)), {}), "priors: found {}, expected a dict of at least one"),
    (lambda: widgets.NoiseLab(Volume(volume, (1, 1, 1)), DIVERSE, sigmas=(0.1, 0)), "sigmas: found"),
    (lambda: widgets.NoiseLab(Volume(volume, (1, 1, 1)), DIVERSE, voxel_sizes=()), "voxel_sizes: f"),
    (lambda: widgets.IterationPlayer({}, (1, 1), image), "methods: found {}, expected a dict"),
    (lambda: widgets.IterationPlayer({"a": [image], "b": []}, (1, 1), image), "methods: found .* the same number"),
    (lambda: widgets.IterationPlayer({"a": [image]}, (1, 1), image[1:]), "methods: found shapes"),
    (lambda: widgets.IterationPlayer({"a": [image]}, (1, 1)), "truth: found None, expected an image, or the PSNR"),
    (lambda: widgets.IterationPlayer({"a": [image]}, (1, 1), quality={"a": [1, 2]}), "quality: found {'a': 2} numbers"),
    (lambda: widgets.IterationPlayer({"a": [image]}, (1, 1), image), r"quality\['a'\]: found \[inf\], expected finite"),
    (lambda: widgets.MismatchLab({}, {}), "scans: found {}, expected a dict of at least one named scan"),
    (lambda: widgets.MismatchLab({"3 mm": JUDGED, "4 mm": JUDGED | {"psnr": {"a": 3.0}}}, {"held-out": "dB"}),
     r"scans\['4 mm'\]: found a in psnr, expected a, b"),
    (lambda: widgets.MismatchLab({"3 mm": JUDGED}, {"other": "nats"}), r"found no prior in behind\['other'\], expect"),
    (lambda: widgets.MismatchLab({"3 mm": JUDGED | {"psnr": {"a": 3.0, "b": float("inf")}}}, {"held-out": "dB"}),
     r"scans\['3 mm'\]: found numbers that are not finite"),
    (lambda: widgets.MismatchLab({"3 mm": JUDGED | {"truth": image[1:]}}, {"held-out": "dB"}), "found shapes .* one"),
    (lambda: widgets.ScoreLab(DIVERSE["diverse"]), "mixture: found Prior, expected a GaussianMixture"),
    (lambda: widgets.ScoreLab(GaussianMixture(torch.zeros(2, 2, 3, 1), 0.1)), r"mixture: found means \(2, 2, 3, 1\)"),
    (lambda: widgets.ScoreLab(GaussianMixture(torch.zeros(2, 2, 1, 1), 0)), "and std 0, expected .* a std above 0"),
    (lambda: widgets.ScoreLab(POINTS, sigma=6), "sigma: found 6, expected a noise level from 0.02 to 5"),
    (lambda: widgets.ScoreLab(POINTS, x=(1, float("nan"))), r"x: found \(1, nan\), expected two finite numbers"),
    (lambda: widgets.NetworkLab(image[0], (1, 1)), "found shape .* expected 2 dimensions"),
    (lambda: widgets.ComparisonDashboard([]), "rows: found 0 without image and truth, expected at least one with them"),
    (lambda: widgets.ComparisonDashboard([ROW | {"psnr": None}]), r"rows\[0\]: found no psnr"),
    (lambda: widgets.ComparisonDashboard([ROW, ROW | {"ssim": NAN[0, 0, 0]}]), r"rows\[1\]\['ssim'\]: found nan"),
    (lambda: widgets.ComparisonDashboard([ROW | {"image": NAN[0]}]), r"rows\[0\]\['image'\]: found NaN"),
    (lambda: widgets.ComparisonDashboard([ROW | {"image": image[1:]}]), r"rows\[0\]: found shapes .* expected one"),
    (lambda: widgets.ComparisonDashboard([ROW | {"truth": None}]), r"rows\[0\]: found image alone, expected both"),
    (lambda: widgets.ComparisonDashboard([ROW | {"voxel_size": (1, 1)}]), r"rows\[0\]\['voxel_size'\]: found"),
    (lambda: widgets.ComparisonDashboard([ROW], reference="b"), "reference: found 'b', expected one of a"),
    (lambda: widgets.ComparisonDashboard([ROW], start=("a", "b", 2)), "start: found 'b', expected one of a"),
    (lambda: widgets.ComparisonDashboard([ROW], start=("a", "a", 3)), "start: found no pictures of both a and a at"),
    (lambda: widgets.ReaderStudy([]), "cases: found none"),
    (lambda: widgets.ReaderStudy([CASE, CASE]), "cases: found the names one, one, expected each once"),
    (lambda: widgets.ReaderStudy([CASE | {"voxel_size": None}]), r"cases\[0\]: found no voxel_size"),
    (lambda: widgets.ReaderStudy([CASE | {"images": {"a": image}}]), r"cases\[0\]\['images'\]: .* at least two named"),
    (lambda: widgets.ReaderStudy([CASE | {"images": {"a": image, "truth": image}}]), "the truth as an entry of"),
    (lambda: widgets.ReaderStudy([CASE | {"truth": image[1:]}]), r"cases\[0\]\['images'\]: found shapes"),
    (lambda: widgets.ReaderStudy([CASE | {"truth": NAN[0, :, :6]}]), r"\['truth'\]: found NaN"),
    (lambda: widgets.ReaderStudy([CASE]).simulate(lambda *seen: ("A", 1), "a"), r"observer: found \('A', 1\)"),
    (lambda: widgets.ComparisonDashboard([ROW], plane="oblique"), "plane: found 'oblique', expected one of axial"),
])
def test_refuses_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_kspace_lab_masks_are_the_package_s():
    lab = widgets.KSpaceLab(image, (1, 2))
    assert (lab.mask == masks.poisson_disc_mask((32, 40), 4)).all()
    bits = unpacked(lab)[image.numel():].reshape(-1, image.numel() // 8)
    for row, draw in enumerate((masks.poisson_disc_mask, masks.random_mask, masks.equispaced_mask)):
        stored = np.unpackbits(bits[5 * row + 2]).reshape(32, 40)
        assert (stored == draw((32, 40), 8).numpy()).all()
    drawn = torch.rand(32, 40, generator=generator) < 0.3
    lab.set_state({"drawn": memoryview(np.packbits(drawn.numpy()))})        # as Jupyter hands on what the page sends
    assert (lab.mask == drawn).all()


def test_noise_lab_stores_the_priors_answers():
    prior = load_prior("diverse")
    lab = widgets.NoiseLab(Volume(torch.rand(6, 24, 16, generator=generator), (2, 2, 2)), {"diverse": prior},
                           voxel_sizes=(2, 4), sigmas=(0.05, 0.2))
    data, count = unpacked(lab), 24 * 16
    clean = torch.from_numpy(grey(lab, data[:count])).float().reshape(24, 16)
    noise = torch.from_numpy(data[count: 3 * count].view(np.int8).reshape(1, 2, 24, 16) * lab.meta["noise"]).float()
    assert noise.std().item() == pytest.approx(1, abs=0.1)
    noisy = torch.stack([clean, torch.zeros_like(clean)])[None] + 0.2 * noise
    expected = torch.complex(*prior.denoise(noisy, 0.2)[0]).abs().numpy()
    stored = grey(lab, data[4 * count: 5 * count]).reshape(24, 16)
    assert np.abs(stored - np.clip(expected, None, lab.meta["high"])).max() < 0.51 * lab.meta["high"] / 255 + 1e-3
    quality = lab.meta["sizes"][0]["psnr"]
    assert quality["diverse"][1] == pytest.approx(psnr(torch.from_numpy(expected)[None], clean[None]), abs=1e-3)
    assert quality["with noise"][1] == pytest.approx(psnr(torch.complex(*noisy[0]).abs()[None], clean[None]), abs=1e-3)
    assert lab.meta["sizes"][1]["shape"] == [12, 8]


def test_iteration_player_measures_quality():
    steps = [0.5 * image, 0.9 * image]
    player = widgets.IterationPlayer({"a": steps, "b": steps[::-1]}, (1, 1), image)
    expected = [psnr(x[None], image[None]) for x in steps]
    assert player.meta["quality"] == {"a": pytest.approx(expected), "b": pytest.approx(expected[::-1])}
    frames = grey(player, unpacked(player)).reshape(5, 32, 40)
    assert np.abs(frames[2] - np.minimum(frames[1], player.meta["high"])).max() < 1e-6      # b begins where a ends
    given = widgets.IterationPlayer({"a": steps}, (1, 1), quality={"a": [10, 20]})
    assert given.meta["quality"] == {"a": [10, 20]} and not given.meta["truth"]


@pytest.mark.filterwarnings("ignore:voxel size")
def test_dashboard_holds_what_was_measured_and_no_more():
    rows = []
    for size, rate in ((8, 4), (8, 8), (12, 4)):
        acq, truth = simulate_acquisition(head_phantom((size,) * 3), rate)
        results = {("CG-SENSE", None): cg_sense(acq, progress=False).image}
        if size == 12:
            results["variational", "diverse"] = reconstruct(acq, DIVERSE["diverse"], iterations=2, progress=False).image
        middle = len(truth) // 2
        rows += [dict(method=method, prior=prior, voxel_size=size, acceleration=rate, psnr=psnr(x, truth),
                      ssim=ssim(x, truth), image=x[middle], truth=truth[middle])
                 for (method, prior), x in results.items()]
    board = widgets.ComparisonDashboard(rows)
    meta = board.meta
    assert [(c["size"], c["rate"]) for c in meta["columns"]] == [("8 mm", 4), ("8 mm", 8), ("12 mm", 4)]
    assert meta["methods"] == [{"name": "CG-SENSE", "prior": "", "group": ""},
                               {"name": "variational", "prior": "diverse", "group": ""}]
    assert [(c["method"], c["column"]) for c in meta["cells"]] == [(0, 0), (0, 1), (0, 2), (1, 2)]
    assert [c["psnr"] for c in meta["cells"]] == [row["psnr"] for row in rows]
    assert {meta["cells"][i]["column"] for i in meta["start"]} == {2}               # the column with two of them
    assert meta["cells"][2]["truth"] == meta["cells"][3]["truth"]                   # stored once
    ends = np.cumsum([np.prod(s["shape"]) for s in meta["slices"]])
    slices = np.split(grey(board, unpacked(board)), ends[:-1])
    for cell, row in zip(meta["cells"], rows):
        clipped = row["image"].abs().clamp(max=meta["high"]).flatten().numpy()
        assert np.abs(slices[cell["image"]] - clipped).max() < 0.51 * meta["high"] / 255


def test_dashboard_takes_experiments():
    """Seeds are averaged, labels tell settings apart, slices are cut to what all show."""
    rows = []
    for size, label, quality in ((1.0, "fast", 30), (1.0, "fast", 32), (1.0, "paper", 27), (2.0, "fast", 33)):
        truth = torch.rand(6, 24, 20, generator=generator)
        packed = pack_slices(0.9 * truth, truth, (size,) * 3, 100)
        rows.append(dict(label=label, method="variational", representation="voxel", prior="diverse", voxel_size=size,
                         acceleration=8, psnr=quality, ssim=0.9) | unpack_slices(packed, "axial"))
    meta = widgets.ComparisonDashboard(rows).meta
    assert [(meta["methods"][c["method"]]["name"], meta["columns"][c["column"]]["size"], c["psnr"], c["count"])
            for c in meta["cells"]] == [("fast", "1 mm", 31, 2), ("paper", "1 mm", 27, 1), ("fast", "2 mm", 33, 1)]
    shapes = [meta["slices"][c["truth"]]["shape"] for c in meta["cells"]]
    assert shapes == [[24, 20], [24, 20], [12, 10]]         # 24 x 20 mm of each


# two groups, out of order; "on" is the reference; "grid" has nothing to do at 2 mm, and "late" no picture there
QUALITIES = {("early", "new"): (30.0, 27.0), ("old", "known"): (28.95, 25.0), ("grid", "new"): (31.0, 26.9),
             ("late", "new"): (29.5,), ("on", "known"): (29.0, 27.05)}
BOARD = [ROW | dict(method=method, group=group, voxel_size=size, psnr=quality, no_op=(method, size) == ("grid", 2))
         | (dict(image=None, truth=None) if method == "late" else {})
         for (method, group), qualities in QUALITIES.items() for size, quality in zip((2, 3), qualities)]


def test_dashboard_groups_methods_and_measures_from_the_reference():
    meta = widgets.ComparisonDashboard(BOARD, reference="on", start=("on", "early", 3)).meta
    assert [(m["name"], m["group"]) for m in meta["methods"]] == [
        ("early", "new"), ("grid", "new"), ("late", "new"), ("old", "known"), ("on", "known")]
    found = {(meta["methods"][c["method"]]["name"], meta["columns"][c["column"]]["size"]): c for c in meta["cells"]}
    assert {key: round(cell["lead"], 2) for key, cell in found.items()} == {
        ("early", "2 mm"): 1.0, ("early", "3 mm"): -0.05, ("old", "2 mm"): -0.05, ("old", "3 mm"): -2.05,
        ("grid", "2 mm"): 2.0, ("grid", "3 mm"): -0.15, ("late", "2 mm"): 0.5, ("on", "2 mm"): 0, ("on", "3 mm"): 0}
    assert [key for key, cell in found.items() if "no_op" in cell] == [("grid", "2 mm")]
    assert [meta["cells"][i] for i in meta["start"]] == [found["on", "3 mm"], found["early", "3 mm"]]
    with pytest.raises(ValueError, match="start: found no pictures of both late and on at 2 mm"):
        widgets.ComparisonDashboard(BOARD, start=("late", "on", 2))
    absent = widgets.ComparisonDashboard([row for row in BOARD if (row["method"], row["voxel_size"]) != ("on", 2)],
                                         reference="on").meta
    assert {c["column"] for c in absent["cells"] if "lead" in c} == {1}             # nothing to measure from at 2 mm


def test_marks_of_the_dashboard():
    """The steps of its colours, and which cells are best or level with the best."""
    meta = widgets.ComparisonDashboard(BOARD, reference="on").meta
    leads = [-7, -2, -1.99, -0.5, -0.1, -0.099, 0, 0.05, 0.1, 0.7, 1, 2.5]
    out = in_node(("core", "comparison_dashboard"), """
        const { cells, leads } = argument, best = score => cells.map(cell => bestOf(cells, score).has(cell));
        return { steps: leads.map(stepOf), psnr: best("psnr"), ssim: best("ssim"),
          words: [-0.04, -0.26, 0, 1].map(v => signed(v, 1)) };
    """, {"cells": meta["cells"], "leads": leads})
    assert out["steps"] == [-4, -4, -3, -2, -1, 0, 0, 0, 1, 2, 3, 4]
    names = [(meta["methods"][c["method"]]["name"], c["column"]) for c in meta["cells"]]
    assert {name for name, best in zip(names, out["psnr"]) if best} == {("early", 0), ("early", 1), ("on", 1)}
    assert {name for name, best in zip(names, out["ssim"]) if not best} == {("grid", 0)}
    assert out["words"] == ["+0.0", "−0.3", "+0.0", "+1.0"]


def test_viewer_takes_volumes_with_their_voxel_size():
    given = widgets.VolumeViewer({"a": volume}, (3, 1, 1))
    own = widgets.VolumeViewer({"a": Volume(volume, (3, 1, 1))})
    assert own.meta == given.meta and own.data == given.data


def test_study_asks_each_pair_once_and_keeps_names_out_of_its_words(tmp_path):
    three = CASE | dict(case="two", images={"a": image, "b": 0.9 * image, "c": 0 * image}, truth=None)
    study = widgets.ReaderStudy([CASE, three])
    assert study.meta["pairs"] == [[0, 0, 1], [1, 0, 1], [1, 0, 2], [1, 1, 2]]
    stored = unpacked(study).reshape(6, 32, 40)             # a, b and the truth of one, a, b and c of two
    assert (stored[0] == stored[2]).all() and not stored[5].any()
    assert "4 pairs of images of 2 cases" in study.title and study.meta["cases"][0]["case"] not in study.title.split()
    assert widgets.ReaderStudy([CASE]).meta["study"] != study.meta["study"]
    assert widgets.ReaderStudy([CASE]).meta["study"] == widgets.ReaderStudy([CASE]).meta["study"]


def test_simulated_observer_sees_random_sides_and_is_called_simulated(tmp_path):
    study, seen = widgets.ReaderStudy([CASE | dict(case=f"case {i}") for i in range(40)]), []

    def brighter(left, right, truth):
        seen.append(left.mean() > right.mean())
        assert (truth == image.numpy()).all()
        return ("left" if left.mean() > right.mean() else "right"), 2

    for seed in range(2):
        (tmp_path / f"{seed}.csv").write_text(study.simulate(brighter, f"brighter {seed}", seed))
    assert 0.3 < sum(seen) / len(seen) < 0.7 and seen[:40] != seen[40:]
    result = reader_study.preferences(sorted(tmp_path.iterdir()))
    assert [r["reader"] for r in result.readers] == ["simulated brighter 0", "simulated brighter 1"]
    assert [(p["first"], p["share"], p["agreement"]) for p in result.pairs] == [("a", 1.0, 1.0)]


def test_kernel_answers_the_network_lab(monkeypatch):
    lab, sent = widgets.NetworkLab(image, (1, 1)), []
    monkeypatch.setattr(lab, "send", lambda content, buffers=None: sent.append((content, buffers)))
    noisy = torch.randn(1, 2, 17, 20, generator=generator)
    lab.answer({"id": 7, "sigma": 0.2, "shape": [17, 20]}, [memoryview(noisy.numpy().tobytes())])
    (content, (answer,)), = sent
    assert content == {"id": 7}
    expected = load_prior("diverse").denoise(noisy, 0.2)
    assert torch.equal(torch.frombuffer(bytearray(answer), dtype=torch.float32).reshape(expected.shape), expected)
    lab.answer({"id": 8, "sigma": -1, "shape": [17, 20]}, [memoryview(noisy.numpy().tobytes())])
    assert "sigma: found -1" in sent[1][0]["error"]


def test_still_picture_and_words_go_with_the_widget():
    viewer = widgets.VolumeViewer({"a": volume}, (1, 1, 1))
    bundle, _ = viewer._repr_mimebundle_()
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == viewer.model_id
    assert bundle["text/plain"] == repr(viewer) == "VolumeViewer: a, 5 x 6 x 8 voxels of 1 x 1 x 1 mm, in three planes"


SCRIPT = """
import { readFileSync } from 'fs';
const { height, width, newHeight, newWidth } = JSON.parse(process.argv[1]);
const [re, im] = JSON.parse(readFileSync(0, 'utf8')).map(v => Float64Array.from(v));
const k = fft2c({ re, im, height, width }), c = crop(k, newHeight, newWidth), back = fft2c(k, true);
const times = [];
for (let i = 0; i < 30; i++) {
  const begin = performance.now();
  fft2c({ re, im, height, width });
  times.push(performance.now() - begin);
}
const pair = ({ re, im }) => [[...re], [...im]];
console.log(JSON.stringify({ k: pair(k), c: pair(c), back: pair(back), ms: Math.min(...times) }));
"""


def test_page_says_when_data_end_early():
    script = (FOLDER / "core.js").read_text() + "reader(new Uint8Array(5))(6);"
    run = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True)
    assert "Its data end early: found 5 bytes" in run.stderr


@pytest.mark.parametrize("shape, new", [
    ((256, 256), (128, 64)), ((96, 240), (33, 100)), ((7, 22), (4, 22)), ((1, 13), (1, 2))])
def test_fourier_transform_of_the_page(shape, new, capsys):
    x = torch.complex(*torch.randn(2, *shape, dtype=torch.float64, generator=generator))
    arguments = dict(zip(("height", "width", "newHeight", "newWidth"), shape + new))
    run = subprocess.run(
        ["node", "--input-type=module", "-e", (FOLDER / "fourier.js").read_text() + SCRIPT, json.dumps(arguments)],
        input=json.dumps([x.real.flatten().tolist(), x.imag.flatten().tolist()]), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    out = json.loads(run.stdout)
    got = {key: torch.complex(*torch.tensor(out[key], dtype=torch.float64)) for key in ("k", "c", "back")}
    expected = fft3c(x, axes=(-2, -1))
    assert (got["k"].reshape(shape) - expected).abs().max() < 1e-9
    assert (got["c"].reshape(new) - resize_centred(expected[None], (1, *new))[0]).abs().max() < 1e-9
    assert (got["back"].reshape(shape) - x).abs().max() < 1e-9
    with capsys.disabled():
        print(f" {shape}: {out['ms']:.1f} ms", end="")


def in_node(scripts, code, argument):
    """What the code returns to which the page's scripts and ``argument`` are given."""
    text = "\n".join((FOLDER / f"{name}.js").read_text() for name in scripts)
    code = f"""{text}
import {{ readFileSync }} from 'fs';
const argument = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify((() => {{ {code} }})(), (_, v) => ArrayBuffer.isView(v) ? [...v] : v));"""
    run = subprocess.run(["node", "--input-type=module", "-e", code], input=json.dumps(argument), capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_network_lab_opens_with_the_answer_to_what_the_page_draws(monkeypatch):
    """The prior's own, at the coarser edge of the voxel, with the page's noise."""
    monkeypatch.setattr("mrilab.diffusion.bf16", lambda device: False)
    lab = widgets.NetworkLab(image, (1, 2))
    sigma, stored = lab.meta["sigma"], grey(lab, unpacked(lab))
    clean, denoised = stored[:image.numel()].reshape(1, *image.shape), stored[image.numel():].reshape(16, 40)
    noise = in_node(("core",), "return [1, 2].map(seed => normals(640, seed));", None)
    noise = torch.complex(*torch.tensor(noise, dtype=torch.float64)).reshape(1, 16, 40)
    x = resample(torch.from_numpy(clean), (1, 1, 2), (1, 2, 2)) + sigma * noise
    expected = torch.complex(*load_prior("diverse").denoise(torch.stack([x.real, x.imag], 1).float(), sigma)[0]).abs()
    assert np.abs(denoised - expected.numpy()).max() < 0.51 * (lab.meta["high"] - lab.meta["low"]) / 255
    assert np.abs(denoised - x[0].abs().numpy()).mean() > 0.02


def complex_array(pair, shape):
    return np.array(pair["re"], float).reshape(shape) + 1j * np.array(pair["im"], float).reshape(shape)


@pytest.mark.parametrize("degrees", [180, 65, 5, 0])
def test_unfolding_of_the_page(degrees):
    """Its coils are mrilab's, its solution is that of least squares, its g-factor the one that measured coils get."""
    y, x = np.mgrid[-16:16, -13:13]
    head = (np.hypot(y / 13, x / 9) < 1) * np.exp(1j * (0.1 * x + 0.05 * y)) * (1 + 0.3 * np.cos(x * y))
    lab = widgets.UnfoldingLab(torch.from_numpy(head), (5, 6))
    out = in_node(("core", "unfolding_lab"), """
        const { meta, data, degrees } = argument, take = reader(new Uint8Array(data));
        const count = meta.shape[0] * meta.shape[1];
        const [re, im] = [0, 1].map(() => Array.from(take(count, Int8Array), v => v * meta.high / 127));
        const inside = take(count);
        const maps = scaled([90, 90 + degrees].map(angle => loopMap(meta, angle)), inside);
        const noise = [1, 3].map(seed => ({ re: normals(count / 2, seed), im: normals(count / 2, seed + 1) }));
        const measured = maps.map((map, n) => fold(map, { re, im }, meta, noise[n]));
        return { maps, image: { re, im }, noise, measured, result: unfold(maps, measured, inside, meta) };
    """, {"meta": lab.meta, "data": unpacked(lab).tolist(), "degrees": degrees})
    shape, half = lab.meta["shape"], (16, 26)
    maps = np.stack([complex_array(m, shape) for m in out["maps"]])
    assert np.abs(maps - lab.maps(degrees).numpy()).max() < 1e-6
    image, result = complex_array(out["image"], shape), complex_array(out["result"], shape)
    assert np.abs(image - head).max() < lab.meta["high"] / 127
    measured = np.stack([complex_array(m, half) for m in out["measured"]])
    noise = np.stack([complex_array(m, half) for m in out["noise"]])
    # row r of a folded picture holds rows r + 8 and r + 24, or r + 24 and r + 8, of the slice
    pairs = np.stack([np.roll(part, -8, axis=-2) for part in (maps[:, :16], maps[:, 16:])], -1)
    voxels = np.stack([np.roll(part, -8, axis=-2) for part in (image[:16], image[16:])], -1)
    assert np.abs(measured - noise - np.einsum("cyxv,yxv->cyx", pairs, voxels)).max() < 1e-12
    matrices, known = pairs.transpose(1, 2, 0, 3), (np.abs(pairs).sum(0) > 0).all(-1)
    expected = np.einsum("yxvc,cyx->yxv", np.linalg.pinv(matrices), measured)
    found = np.stack([np.roll(part, -8, axis=0) for part in (result[:16], result[16:])], -1)
    g = np.array([np.inf if v is None else v for v in out["result"]["g"]]).reshape(shape)
    if degrees:
        assert np.abs(found - expected).max() < 1e-9
        assert np.allclose(g, g_factor(lab.maps(degrees).to(torch.complex64), (2, 1)), rtol=1e-3)
        assert g.max() > {180: 1, 65: 1.5, 5: 15}[degrees]
    else:
        assert np.isnan(found[known].real).all() and np.isinf(g).sum() == 2 * known.sum() > 0
        assert np.abs(found - expected)[~known].max() < 1e-9


def test_spectrum_and_patch_of_the_page():
    """As chapter 4 computes them: rings of a windowed transform, and the middle framed by zeros."""
    lab = widgets.VoxelSizeLab(Volume(torch.rand(6, 90, 75, generator=generator), (2, 2, 2)), (2, 3, 4))
    sizes, data = lab.meta["sizes"], unpacked(lab)
    assert [entry["shape"] for entry in sizes] == [[90, 75], [60, 50], [45, 38]]
    assert sizes[2]["spacing"] == pytest.approx([4, 150 / 38])
    slices = [grey(lab, part).reshape(entry["shape"]) for part, entry in
              zip(np.split(data, np.cumsum([np.prod(e["shape"]) for e in sizes])[:-1]), sizes)]
    expected = lab._slices[1].clip(lab.meta["low"], lab.meta["high"])
    assert np.abs(slices[1] - expected).max() < 0.51 * (lab.meta["high"] - lab.meta["low"]) / 255
    for image in slices:
        height, width = image.shape
        out = in_node(("core", "fourier", "voxel_size_lab"), "return [ringPower(argument, 20), patchOf(argument, 64)];",
                      {"values": image.flatten().tolist(), "height": height, "width": width})
        window = torch.outer(*(torch.hann_window(n, dtype=torch.float64) for n in image.shape))
        power = fft3c(window * torch.from_numpy(image), axes=(-2, -1)).abs().square() / window.square().mean()
        k = np.hypot(*np.meshgrid(*((np.arange(n) - n // 2) / n for n in image.shape), indexing="ij"))
        rings = np.floor(40 * k + 1e-9)
        assert np.allclose(out[0], [power.numpy()[rings == b].mean() for b in range(20)], rtol=1e-9)
        assert (np.array(out[1]["values"]).reshape(64, 64) == centre_patch(image)).all()
        x, y = out[1]["corner"]
        assert (x, y) == ((width - 64) // 2 if width > 64 else -((64 - width) // 2),
                          (height - 64) // 2 if height > 64 else -((64 - height) // 2))


@pytest.mark.parametrize("sigma", [5, 0.7, 0.05])
def test_score_and_flow_of_the_page(sigma):
    """Density, score and denoiser are those of the mixture, the flow is Heun's method with them."""
    lab = widgets.ScoreLab(POINTS, sigma=sigma)
    assert (unpacked(lab).view(np.float32).reshape(100, 2) == lab.noise.numpy()).all()
    start = torch.cat([sigma * lab.noise.double(), torch.tensor([[40.0, -60.0]])])       # and one from far out
    out = in_node(("core", "score_lab"), """
        const { meta, points, sigma } = argument;
        return { seen: points.map(x => scoreAt(x, sigma, meta)), density: rootDensity(sigma, 1.5, 20, meta),
          clean: scoreAt([0.3, 0.2], 0, meta), path: flow(points, sigma, meta) };
    """, {"meta": lab.meta, "points": start.tolist(), "sigma": sigma})
    x = start[..., None, None]
    assert np.allclose([p["score"] for p in out["seen"]], POINTS.score(x, sigma)[..., 0, 0], rtol=1e-9, atol=1e-9)
    assert np.allclose([p["denoised"] for p in out["seen"]], POINTS.denoise(x, sigma)[..., 0, 0], rtol=1e-5, atol=1e-5)
    assert np.allclose([sum(p["r"]) for p in out["seen"]], 1)
    clean = POINTS.score(torch.tensor([0.3, 0.2], dtype=torch.float64).reshape(1, 2, 1, 1), 0)
    assert np.allclose(out["clean"]["score"], clean.flatten(), rtol=1e-9)
    line = (2 * torch.arange(20, dtype=torch.float64) + 1) / 20 * 1.5 - 1.5
    places = torch.cartesian_prod(line, line).flip(1)[..., None, None]
    density = POINTS.log_density(places, sigma).exp()
    assert np.allclose(out["density"], (density / density.max()).sqrt(), atol=1e-9)
    path = lab.flow(start, sigma)
    assert np.allclose([step["points"] for step in out["path"]], path, atol=1e-6)
    assert len(path) == 61 and [out["path"][n]["sigma"] for n in (0, -2, -1)] == pytest.approx([sigma, 0.02, 0])


def test_flow_of_the_score_lab_samples_the_mixture():
    lab = widgets.ScoreLab(POINTS)
    noise = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    ends = lab.flow(5 * noise, 5.0)[-1].float()
    means = POINTS.means.flatten(1)
    which = torch.cdist(ends, means).argmin(1)
    assert (torch.bincount(which, minlength=3) / 3000 - POINTS.weights).abs().max() < 0.03
    assert (ends - means[which]).std().item() == pytest.approx(POINTS.std, rel=0.05)
    heun = POINTS.sample((100, 1, 1), 60, 5.0, 0.02, seed=3)[..., 0, 0]                    # the package's own sampler
    first = torch.randn(100, 2, 1, 1, generator=torch.Generator().manual_seed(3))[..., 0, 0]
    assert (lab.flow(5 * first, 5.0)[-1] - heun).abs().median() < 1e-4


def test_chapters_hold_the_present_scripts(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    from refresh_widgets import BOOK, scripts

    found = [(path.stem, state, widget) for path in BOOK.glob("*.ipynb")
             for state, widget in scripts(json.loads(path.read_text()))]
    assert {widget.__name__ for _, _, widget in found} == set(widgets.__all__)
    stale = {name for name, state, widget in found if (state["_esm"], state["_css"]) != (widget._esm, widget._css)}
    assert stale == set(), "run `python tools/refresh_widgets.py`"


@pytest.mark.slow
def test_export_is_the_prior(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")           # which the book needs, not the package
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    import export_onnx

    torch.manual_seed(0)
    prior = Prior(UNet((8, 8, 16)), (1.0, 4.0)).eval()
    for p in prior.parameters():                # the untrained network would answer zero
        p.data = (p + 0.1 * torch.randn_like(p)).half().float()
    onnx = export_onnx.to_onnx(prior)
    assert export_onnx.difference(onnx, prior) < 1e-4
    assert len(onnx) < 3 * sum(p.numel() for p in prior.parameters()) + 60_000          # float16 and the graph
    prior.net.last.bias.data += 0.5
    assert export_onnx.difference(onnx, prior) > 1e-3
    with pytest.raises(ValueError, match="prior: found one that is told the voxel size"):
        export_onnx.to_onnx(Prior(UNet((8, 16), 3), (1.0, 4.0), conditioned=True))
