"""What looks wrong with a scan, in words, before anyone waits for an image of it."""

import math
from pathlib import Path

import numpy as np
import torch

from ..classical import cg_sense
from ..coils import SMALLEST, calibration_side, noise_level
from ..evidence import check_sampling, corner_axes, peak
from ..fourier import ifft3c
from ..metrics import percentile
from ..volumes import Acquisition
from .opening import open_scan
from .scan import Scan

LARGEST = 2**30             # bytes of k-space to look at; of a larger scan the middle along x
NO_SIZE = "voxel_size: found none"


def examine(scan: str | Path | Scan | Acquisition) -> list[str]:
    """What looks wrong with a scan, a sentence each: an empty list is no promise, a long one a reason to look.

    Zeros where something should be measured, coils without signal, spikes, clipped samples, a signal that hardly
    stands out of the noise, a noise measurement that is not the noise of the data, k = 0 or the object elsewhere than
    in the middle, undersampling without a measured centre, a voxel size or a position that is missing, sensitivities
    that do not explain the data; and everything that :func:`~mrilab.raw.open_scan` had to settle.

    Parameters
    ----------
    scan : str, Path, Scan or Acquisition
        A file of any format, or what was made of it. Of more than a gigabyte the middle along x is looked at.

    Raises
    ------
    FileNotFoundError
        No such file. A file that cannot be opened as a scan is a finding.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=2)
    >>> examine(acq)
    []
    >>> acq.maps = acq.maps.flip(-2)
    >>> acq.kspace[2] = 0
    >>> for finding in examine(acq):
    ...     print(finding.split(":")[0])
    coil 2
    maps
    """
    if isinstance(scan, Acquisition):
        try:
            _, _, found = check_sampling(scan.kspace, scan.mask)
        except ValueError as error:
            found = [str(error)]
        found += examine_arrays(scan.kspace.cpu(), scan.mask.cpu(), scan.noise)
        return found + _maps(scan)
    found = []
    if not isinstance(scan, Scan):
        try:
            scan, found = _opened(scan)
        except ValueError as error:
            return [str(error)]
    found += [text for text in str(scan.info.get("note", "")).split("; ") if text]
    if scan.affine is None:
        found.append("position: the file does not say where the scan lies, nor which side is left")
    if scan.coils > 1 and scan.acceleration > 1.02 and scan.calibration is None:
        side = calibration_side(scan.mask)
        if side < SMALLEST:
            found.append(f"calibration: R = {scan.acceleration:.2g} and a fully measured centre of {side}, "
                         f"sensitivities found from all samples are less certain than from {SMALLEST} or more")
    size = scan.shape[2]
    part = max(1, min(size, LARGEST // (8 * scan.coils * scan.shape[0] * scan.shape[1])))
    if part < size:
        found.append(f"size: looked at {part} of {size} positions along x")
    try:
        kspace = scan.read(size // 2 - part // 2, size // 2 - part // 2 + part)
    except ValueError as error:
        return [*found, str(error)]
    noise = None
    if scan.noise is not None:
        noise = scan.noise.abs().double().square().mean().div(2).sqrt().item()
        level = noise_level(kspace, scan.mask)
        if not 0.5 * noise <= level <= 2 * noise:
            found.append(f"noise: the noise measurement says {noise:.3g}, the data {level:.3g}")
    return found + examine_arrays(kspace, scan.mask, noise)


def _opened(path: str | Path) -> tuple[Scan, list[str]]:
    try:
        return open_scan(path), []
    except ValueError as error:
        if NO_SIZE not in str(error):
            raise
        return open_scan(path, voxel_size=(1, 1, 1)), [str(error)]


def examine_arrays(kspace: torch.Tensor, mask: torch.Tensor, noise: float | None = None) -> list[str]:
    """The findings of :func:`examine` that need no more than k-space and its mask.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``.
    mask : Tensor
        bool ``(z, y)``.
    noise : float, optional
        Estimated if not given.

    Examples
    --------
    >>> kspace = torch.zeros(2, 8, 16, 32, dtype=torch.complex64)
    >>> kspace[:, 4, 8, 16], kspace[0, 1, 2, 3] = 1000, 1000
    >>> kspace += torch.randn(2, 8, 16, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    >>> examine_arrays(kspace, torch.ones(8, 16) > 0)
    ['spikes: 1 sample stands out of its neighbours far from k = 0, the strongest at (z, y, x) = (1, 2, 3)']
    """
    noise = noise_level(kspace, mask) if noise is None else noise
    strength = kspace.abs()
    return [*_coils(strength, noise), *_samples(kspace, strength), *_centre(strength, mask),
            *_image(kspace, noise)]


def _coils(strength: torch.Tensor, noise: float) -> list[str]:
    tops = strength.flatten(1).amax(1)
    found = [f"coil {c}: no signal" + ("" if top > 0 else ", zeros only")
             for c, top in enumerate(tops.tolist()) if top < 1e-4 * tops.median() or top < 7 * noise < tops.max() / 20]
    if len(found) == len(tops):
        return ["kspace: no coil has signal above the noise"]
    return found


def _samples(kspace: torch.Tensor, strength: torch.Tensor) -> list[str]:
    """Spikes, and samples that all stop at one value."""
    found = []
    size = kspace.shape[3]
    total = strength.square().sum(0).sqrt()
    if size >= SMALLEST:
        around = torch.stack([total.roll(shift, -1) for shift in (-2, -1, 1, 2)]).amax(0)
        grids = torch.meshgrid(*((torch.arange(n) - n // 2) / n for n in total.shape), indexing="ij")
        far = sum((g.square() for g in grids), torch.zeros(())) > 0.15**2
        ratio = torch.where(far & (around > 0), total / around.clamp_min(1e-30), 0)
        count = int((ratio > 10).sum())
        if count:
            strongest = int(torch.where(ratio > 10, total, 0).argmax())
            place = tuple(int(i) for i in np.unravel_index(strongest, total.shape))
            found.append(f"spikes: {count} sample{'s stand' if count > 1 else ' stands'} out of "
                         f"{'their' if count > 1 else 'its'} neighbours far from k = 0, the strongest at (z, y, x) = "
                         f"{place}")
    for c, coil in enumerate(torch.view_as_real(kspace).abs().flatten(1, 3)):
        tops = coil.amax(0)
        count = int(((coil >= tops * (1 - 1e-6)) & (tops > coil.amin(0))).sum(0).max())
        if count > 4:
            found.append(f"clipped: {count} samples of coil {c} have the same largest value, {tops.max():.4g}")
    return found


def _centre(strength: torch.Tensor, mask: torch.Tensor) -> list[str]:
    square = strength.double().square()
    energy, profile = square.sum((0, 3)), square.sum((0, 1, 2))
    corner = corner_axes(energy, profile, mask)
    found = [f"centre: k = 0 lies at the first index along {', '.join('zyx'[a] for a in corner)}"] if corner else []
    for axis, values in enumerate((energy.amax(1), energy.amax(0), profile)):
        top, n = peak(values.numpy()), len(values)
        if top is not None and axis not in corner and abs(top - n // 2) > max(2, n // 16):
            found.append(f"centre: the energy along {'zyx'[axis]} is strongest at {top} of {n}, expected {n // 2}")
    return found


def _image(kspace: torch.Tensor, noise: float) -> list[str]:
    """Signal against noise, and where the object lies in the field of view."""
    found = []
    power = sum((ifft3c(coil).abs().square() for coil in kspace), torch.zeros(()))
    signal = percentile(power.sqrt(), 0.99)
    floor = noise * (2 * len(kspace)) ** 0.5
    if floor > 0 and signal < 3 * floor:
        found.append(f"signal: the brightest voxels are {signal / floor:.1f} times the noise")
    above = (power - power.median()).clamp_min(0)
    for axis, n in enumerate(power.shape):
        if n < SMALLEST:
            continue
        along = above.sum([a for a in range(3) if a != axis])
        middle = along[n // 4:n - n // 4].sum() / along.sum().clamp_min(1e-30)
        if middle < 0.35:
            found.append(f"position: {100 * (1 - middle):.0f} % of the object lies in the outer halves of the field of "
                         f"view along {'zyx'[axis]}: shifted by half of it?")
    return found


def _maps(acquisition: Acquisition) -> list[str]:
    """Whether the sensitivities explain the data, by what least squares leave of them."""
    expected = acquisition.noise_misfit()
    if math.isnan(expected):
        return ["kspace: zeros only"]
    misfit = cg_sense(acquisition, iterations=15, progress=False).misfit
    if misfit > 2 * expected + 0.1:
        return [f"maps: least squares leave {100 * misfit:.0f} % of the data unexplained, the noise "
                f"{100 * expected:.0f} %: flipped, shifted, or of another scan?"]
    return []

