"""Recorded scans: a head with 8 coils, two heads at 0.055 T, measured coil sensitivities and a measured phase.

Nothing is tuned on them. Every method has seven trials on an axial slice of the validation person, simulated with the
scan's geometry: its matrix, its coils, its noise. The judge on the 8-channel head are samples that were left out: a
tenth in each of four splits at the recorded R = 8; at 1.5, 2 and 3 mm, crops of the same k-space thinned to R = 8
anew, all those that the thinning dropped, for three seeds; the sensitivities come from the recorded centre of 24 x 24,
as from a calibration scan. There, and in the crops of 2 and 3 mm, each method also runs with settings that the samples
it was given chose (`own`): it leaves out some of these in turn. The low-field scans are sampled fully, so lines are
left out by a factor of 2 and 4 and the image from all lines is the reference, with its noise in it. The scans are by
reference (`mrilab fetch`, or the folder MRILAB_MIRROR).
"""

import functools
import json
import math

import numpy as np
import torch

from mrilab.classical import cg_sense
from mrilab.coils import HEAD, head_array_maps
from mrilab.fourier import fft3c, ifft3c, middle, resize_centred
from mrilab.holdout import choose_settings, estimated_psnr, prediction_error, split_samples, used_part
from mrilab.methods import find
from mrilab.metrics import head_mask, percentile, psnr, ssim
from mrilab.mismatch import solver_settings
from mrilab.raw.preparation import interpolate_maps
from mrilab.simulate import smooth_phase
from mrilab.volumes import Acquisition, load_acquisition

from .judge import lines_only, simulated_scan
from .results import bootstrap, pixels_to_text, text_to_pixels
from .scans import prior_of, solve

RESULTS = ["recorded.json"]
HEAD8 = "sigpy_brain8ch"
LOW = [f"lowfield_{person}_{kind}" for person in ("6A", "7A") for kind in ("GRE", "FSE", "FLAIR")]
SIZES, SEEDS, RATES, SLICES = (1.5, 2, 3), (0, 1, 2), (2, 4), (0, 1, 2, 3)
METHODS = {     # method, prior, representation
    "zero-filled": ("zero_filled", None, "voxel"), "CG-SENSE": ("cg_sense", None, "voxel"),
    "L1-wavelet": ("l1_wavelet", None, "voxel"), "total variation": ("total_variation", None, "voxel"),
    "diverse": ("variational", "diverse", "voxel"), "fixed 1 mm": ("variational", "fixed_1mm", "voxel"),
    "fixed 3 mm": ("variational", "fixed_3mm", "voxel"),
    "fixed 1 mm, trilinear": ("variational", "fixed_1mm", "trilinear"),
}
TRIALS = {
    "zero_filled": [{}],
    "cg_sense": [dict(regularization=w) for w in (0.0005, 0.001, 0.002, 0.005, 0.02, 0.05, 0.15)],
    "l1_wavelet": [dict(weight=w) for w in (0.0003, 0.0006, 0.0012, 0.003, 0.008, 0.02, 0.05)],
    "total_variation": [dict(weight=w) for w in (0.0003, 0.0008, 0.002, 0.005, 0.012, 0.03, 0.07)],
    "variational": [dict(weight=w) for w in (0.025, 0.05, 0.1, 0.2, 0.35, 0.7, 1.4)],
}
CHOSEN = {      # searched on the scan itself, and further where the best lies at an end; the solver has its own ranges
    "cg_sense": {"regularization": (0.0005, 0.15)}, "l1_wavelet": {"weight": (0.0003, 0.05)},
    "total_variation": {"weight": (0.0003, 0.07)},
}
VALIDATION = "colin27_ch2"
GEOMETRIES = {  # of the validation person's slice: geometry, voxel size, acceleration, coils, noise
    "head": ("slice", 1, 8, 8, 0.011), "crops": ("slice", 2, 8, 8, 0.011),
    "low field, R 2": ("lines", 2, 2, 1, 0.035), "low field, R 4": ("lines", 2, 4, 1, 0.035),
}


# --- tuning

def trial(volume, geometry, voxel_size, acceleration, coils, noise, method, settings, prior=None, seed=0, device="cpu"):
    """PSNR in the head of one reconstruction of a slice of the validation person."""
    acquisition, truth = simulated_scan(volume, geometry, voxel_size, acceleration, coils, noise, seed, 0.2)
    image = solve(acquisition, method, prior, settings, seed, device=device)[0].image
    return dict(psnr_head=psnr(image, truth, head_mask(truth)))


def tuned(run):
    """Of each geometry and method the best settings, and all trials."""
    asked = [(name, dict(volume=VALIDATION, geometry=g, voxel_size=d, acceleration=r, coils=c, noise=noise, method=m,
                         settings=s, prior="diverse" if m == "variational" else None))
             for name, (g, d, r, c, noise) in GEOMETRIES.items() for m, trials in TRIALS.items() for s in trials]
    rows = run.rows(trial, [job for _, job in asked])
    trials = [dict(geometry=name, method=row["method"], settings=row["settings"], psnr_head=row["psnr_head"])
              for (name, _), row in zip(asked, rows)]
    best = {}
    for row in sorted(trials, key=lambda row: row["psnr_head"]):
        best.setdefault(row["geometry"], {})[row["method"]] = row["settings"]
    return best, trials


# --- scans as they are thinned

def thinned(mask, acceleration, centre, seed):
    """A mask that keeps the middle square and, at random, so many other measured positions as R leaves.

    Examples
    --------
    >>> mask = thinned(torch.ones(20, 20) > 0, 4, 6, seed=0)
    >>> int(mask.sum()), bool(mask[7:13, 7:13].all())
    (100, True)
    """
    keep = torch.zeros_like(mask)
    inner = middle(mask.shape, (centre, centre))
    keep[inner] = mask[inner]
    others = (mask & ~keep).flatten().nonzero().flatten()
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))
    keep.view(-1)[others[order[:max(0, round(mask.numel() / acceleration) - int(keep.sum()))]]] = True
    return keep


def coarser(acquisition, size):
    """The middle of a plane's k-space: the scan that would have had voxels of this size, with the maps it has."""
    shape = [max(1, round(n * d / size)) for n, d in zip(acquisition.mask.shape, acquisition.voxel_size)]
    kspace = resize_centred(acquisition.kspace, (*shape, acquisition.kspace.shape[-1]))
    mask = resize_centred(acquisition.mask[None, ..., None].float(), (*shape, 1))[0, ..., 0] > 0
    voxel = tuple(n * d / m for n, d, m in zip(acquisition.mask.shape, acquisition.voxel_size, shape))
    maps = interpolate_maps(acquisition.maps, tuple(kspace.shape[1:]))
    return Acquisition(kspace, maps, mask, (*voxel, acquisition.voxel_size[2]), acquisition.noise)


def noise_beside(kspace, rows=6):
    """Standard deviation of the noise of a slice above and below the object, at the object's own positions along x.

    Where interference was removed, noise differs along the readout, and is least where the object is not.

    Examples
    --------
    >>> noise = torch.randn(1, 1, 64, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    >>> round(noise_beside(noise), 1)
    0.7
    """
    size = kspace.shape[-1]
    image = ifft3c(kspace)[..., size // 4:size - size // 4]
    edge = torch.cat([image[..., :rows, :], image[..., -rows:, :]])
    return edge.abs().median().item() / (2 * math.log(2)) ** 0.5


@functools.lru_cache(maxsize=1)         # the jobs of all methods on the same data follow each other
def case_of(scan, size, acceleration, part, seed):
    """A recorded scan with all its samples, the positions left out, and the image of all of them with its head.

    Without ``size``: of a plane the split ``seed`` of its samples; of a stack the slice ``part``, lines left out.
    """
    acquisition = load_acquisition(scan)
    if acquisition.kspace.shape[1] * acquisition.kspace.shape[3] > max(acquisition.kspace.shape[1::2]):     # a stack
        image = ifft3c(acquisition.kspace, axes=(-3,))[:, part % acquisition.kspace.shape[1]][:, None]
        acquisition = Acquisition(image, acquisition.maps[:, :1], acquisition.mask[:1], acquisition.voxel_size,
                                  noise_beside(image))
        keep = lines_only(image.shape[1:], acceleration, 16, seed)
    elif size is None:
        keep = ~split_samples(acquisition, 0.1, 4)[seed] & acquisition.mask
    else:
        acquisition = coarser(acquisition, size)
        side = int(min(24, (acquisition.mask.numel() / acceleration / 4) ** 0.5) // 2 * 2)
        keep = thinned(acquisition.mask, acceleration, side, seed)
    whole = cg_sense(acquisition, progress=False).image
    return acquisition, acquisition.mask & ~keep, whole, head_mask(whole)


def measured(scan, method, settings, prior=None, representation="voxel", size=None, acceleration=8, part=0, seed=0,
             keep_picture=False, device="cpu"):
    """One method on one recorded scan: its errors on what was left out, and against the image of all samples."""
    acquisition, held, whole, head = case_of(scan, size, acceleration, part, seed)
    result, _ = solve(used_part(acquisition, held), method, prior, settings, seed, representation, device=device)
    image, peak = result.image, whole.abs().max().item()
    found = dict(held_out=prediction_error(image, acquisition, held), misfit=result.misfit,
                 expected=estimated_psnr(image, acquisition, held, peak, int(head.sum())),
                 psnr_whole=psnr(image, whole, head), seconds=round(result.seconds, 2),
                 voxel_size=list(acquisition.voxel_size), noise=acquisition.noise / percentile(whole, 0.99))
    if 1 in whole.shape and min(sorted(whole.shape)[1:]) > 6:
        found["ssim_whole"] = plane_ssim(image, whole, head)
    if keep_picture:
        found["picture"] = packed(image, percentile(whole, 0.99), head)
    return found


def by_its_samples(scan, method, prior=None, size=None, seed=0, device="cpu"):
    """As :func:`measured`, with the settings that predict best what is left out of the samples the method was given."""
    acquisition, held, _, _ = case_of(scan, size, 8, 0, seed)
    used = used_part(acquisition, held)
    if prior:
        chosen = solver_settings(used, prior_of(prior, device=device), seed=seed, device=device, progress=False)
    else:
        chosen = choose_settings(used, functools.partial(find(method), progress=False), CHOSEN[method], seed=seed,
                                 progress=False)
    return dict(chosen=chosen.settings, edges=chosen.edges) | measured(scan, method, chosen.settings, prior, size=size,
                                                                       seed=seed, device=device)


def plane_ssim(image, whole, head):
    """SSIM of one slice: the slice three voxels thick has the same windows at all places."""
    thick = [x.squeeze()[None].abs().expand(7, -1, -1).contiguous() for x in (image, whole)]
    return ssim(*thick, head.squeeze()[None].expand(7, -1, -1))


def packed(image, unit, head):
    """The box around a head in a slice as 8 bits, 255 for 1.3 times ``unit``, zlib and base64."""
    pixels = (image.squeeze().abs() / unit / 1.3 * 255).round().clamp(0, 255).numpy().astype(np.uint8)
    rows, columns = (np.flatnonzero(head.squeeze().numpy().any(a)) for a in (1, 0))
    pixels = pixels[max(0, rows[0] - 4):rows[-1] + 5, max(0, columns[0] - 4):columns[-1] + 5]
    return dict(shape=list(pixels.shape), text=pixels_to_text(pixels))


def picture(found):
    """The pixels of :func:`packed`, uint8 ``(height, width)``.

    Examples
    --------
    >>> picture(packed(torch.full((1, 3, 4), 0.5), 1.0, torch.ones(1, 3, 4)))[0]
    array([98, 98, 98, 98], dtype=uint8)
    """
    return text_to_pixels(found["text"], found["shape"])


# --- coils and phase

def g_factor(maps, factors=(2, 2)):
    """Noise amplification of SENSE at regular undersampling (Pruessmann et al., MRM 42:952, 1999).

    Parameters
    ----------
    maps : Tensor
        complex ``(coils, z, y)``, zero outside of the object; matrix divisible by the factors.

    Examples
    --------
    >>> maps = torch.zeros(2, 4, 4, dtype=torch.complex64)
    >>> maps[0, :2], maps[1, 2:] = 1, 1                     # each coil sees its half and nothing else
    >>> g_factor(maps, (2, 1)).round(decimals=6).unique()
    tensor([1.], dtype=torch.float64)
    """
    coils, height, width = maps.shape
    a, b = factors
    folded = maps.to(torch.complex128).reshape(coils, a, height // a, b, width // b)
    folded = folded.permute(2, 4, 0, 1, 3).reshape(height // a, width // b, coils, a * b)
    matrix = folded.mH @ folded
    power = matrix.diagonal(dim1=-2, dim2=-1).real
    matrix = matrix + torch.diag_embed((power == 0).to(matrix.dtype) + 1e-9)  # of too few coils: huge
    values = (torch.linalg.inv(matrix).diagonal(dim1=-2, dim2=-1).real * power).clamp_min(0).sqrt()
    return values.reshape(height // a, width // b, a, b).permute(2, 0, 3, 1).reshape(height, width)


def coil_maps(scan):
    """g-factors at 2 x 2 of measured coils, and of simulated ones in the same head."""
    acquisition = load_acquisition(scan)
    whole = cg_sense(acquisition, progress=False).image
    if 1 not in whole.shape:                            # of a stack, its middle
        whole = whole[len(whole) // 2:][:1]
    head = head_mask(whole).squeeze()
    sides = [n // 2 * 2 for n in head.shape]
    head = head[:sides[0], :sides[1]]
    extent = [n * acquisition.voxel_size[1] for n in sides]
    simulated = head_array_maps((9, *sides), len(acquisition.maps), (HEAD[0], *extent))[:, 4]       # an axial slice
    rows = {}
    axis = acquisition.maps.shape[1:].index(min(acquisition.maps.shape[1:]))
    real = acquisition.maps.select(axis + 1, acquisition.maps.shape[axis + 1] // 2)[:, :sides[0], :sides[1]]
    for name, maps in (("measured", real), ("simulated", simulated)):
        g = g_factor(maps * head)
        values = g[head]
        rows[name] = dict(mean=values.mean().item(), p95=values.quantile(0.95).item(), top=values.max().item(),
                          picture=packed((g / 3)[None], 1 / 1.3, head))
    return dict(coils=len(acquisition.maps), **rows)


def phase_roughness(image, voxel_size, length=8.0):
    """rms of the phase against its own smooth part, rad, in the brighter half of the object, and rms slope, rad/mm.

    The smooth part is that of the complex image, Gaussian of ``length`` mm (full width at half maximum).
    """
    window = []
    for n, d in zip(image.shape, voxel_size):
        k = (torch.arange(n) - n // 2) / (n * d)
        window.append(torch.exp(-2 * (math.pi * k * length / 2.355) ** 2) if n > 1 else torch.ones(1))
    filtered = fft3c(image) * window[0][:, None, None] * window[1][:, None] * window[2]
    smooth = ifft3c(filtered)
    bright = image.abs() > image.abs()[image.abs() > 0.1 * percentile(image, 0.99)].median()
    rough = (image * smooth.conj()).angle()[bright].square().mean().sqrt().item()
    slopes = []
    for axis, (n, d) in enumerate(zip(image.shape, voxel_size)):
        if n > 1:
            near, far = image.narrow(axis, 0, n - 1), image.narrow(axis, 1, n - 1)
            both = bright.narrow(axis, 0, n - 1) & bright.narrow(axis, 1, n - 1)
            slopes.append((far * near.conj()).angle()[both].square().mean().item() / d**2)
    return dict(rough=rough, slope=sum(slopes) ** 0.5)


def phase_of_a_head(shape, voxel_size, seed=0, extent=200.0):
    """The part of a head's simulated phase that a field of view shows, rad ``(z, y, x)``."""
    whole = smooth_phase((100, 100, 100), torch.Generator().manual_seed(seed))
    axes = [torch.arange(n) - n // 2 for n in shape]
    places = torch.meshgrid(*(2 * a * d / extent for a, d in zip(axes, voxel_size)), indexing="ij")
    grid = torch.stack(places[::-1], -1)[None].float()
    return torch.nn.functional.grid_sample(whole[None, None].float(), grid, padding_mode="border",
                                           align_corners=True)[0, 0]


def phase(scan, seed=0):
    """Roughness of a recorded phase, and of the simulated one on the magnitudes of the same image."""
    acquisition = load_acquisition(scan)
    image = cg_sense(acquisition, progress=False).image
    turn = torch.exp(1j * phase_of_a_head(image.shape, acquisition.voxel_size, seed))
    return dict(recorded=phase_roughness(image, acquisition.voxel_size),
                simulated=phase_roughness(image.abs() * turn, acquisition.voxel_size),
                noise=acquisition.noise / percentile(image, 0.99))


# --- the study

def study(run):
    best, trials = tuned(run)

    def rows(asked, geometry):
        """Of (label, arguments)."""
        jobs = [dict(method=METHODS[label][0], prior=METHODS[label][1], representation=METHODS[label][2],
                     settings=best[geometry][METHODS[label][0]]) | rest for label, rest in asked]
        found = run.rows(measured, jobs)
        hidden = ("method", "prior", "representation", "settings", "keep_picture")
        return [dict(label=label) | {k: v for k, v in row.items() if k not in hidden}
                for (label, _), row in zip(asked, found)]

    plain = [label for label in METHODS if "trilinear" not in label]
    head = rows([(m, dict(scan=HEAD8, seed=s, keep_picture=s == 0 and m in HEAD_PICTURES))
                 for s in range(4) for m in plain], "head")
    crops = rows([(m, dict(scan=HEAD8, size=d, seed=s)) for d in SIZES for s in SEEDS for m in METHODS
                  if m != "zero-filled"], "crops")
    alone = ["CG-SENSE", "L1-wavelet", "total variation", "fixed 1 mm", "diverse"]
    cases = [(label, dict(scan=HEAD8, size=size, seed=s)) for size in (None, 2, 3) for s in range(3 if size else 4)
             for label in alone]
    own = [dict(label=label) | {k: v for k, v in row.items() if k not in ("method", "prior")}
           for (label, _), row in zip(cases, run.rows(by_its_samples, [
               dict(method=METHODS[label][0], prior=METHODS[label][1]) | case for label, case in cases]))]
    low = [row for r in RATES for row in rows(
        [(m, dict(scan=scan, acceleration=r, part=z, keep_picture=(r, z) == (4, 1) and scan in SHOWN and m in PICTURES))
         for scan in LOW for z in SLICES for m in plain if m != "CG-SENSE"], f"low field, R {r}")]
    coils, = run.rows(coil_maps, [dict(scan="alignedsense_coils")])
    phases = run.rows(phase, [dict(scan=name) for name in ("romeo_phase", *LOW)])
    return dict(best=best, trials=trials, head=head, crops=crops, own=own, low_field=low, coils=coils, phases=phases)


PICTURES = ("total variation", "diverse")
HEAD_PICTURES = ("zero-filled", *PICTURES)
SHOWN = ("lowfield_7A_GRE", "lowfield_6A_FSE")


def interval(differences, seed=0):
    """Mean of paired differences and its 95 % bootstrap interval.

    Examples
    --------
    >>> interval([1.0, 1.0, 1.0])
    (1.0, 1.0, 1.0)
    """
    return float(np.mean(differences)), *bootstrap(differences, np.random.default_rng(seed))


def leads(rows, a, b, metric="expected"):
    """Differences ``a - b`` of two methods on the same data, in the order of the rows.

    Examples
    --------
    >>> rows = [dict(label=m, scan="x", size=None, acceleration=8, part=0, seed=s, expected=v)
    ...         for s in (0, 1) for m, v in (("new", 3 + s), ("old", 1))]
    >>> leads(rows, "new", "old")
    [2, 3]
    """
    keys = ("scan", "size", "acceleration", "part", "seed")
    table = {(json.dumps([row.get(k) for k in keys]), row["label"]): row[metric] for row in rows}
    return [value - table[case, b] for (case, label), value in table.items() if label == a and (case, b) in table]
