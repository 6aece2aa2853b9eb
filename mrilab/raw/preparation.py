"""From a raw scan to an :class:`~mrilab.volumes.Acquisition`: :func:`prepare` takes every step in turn.

1. Readout oversampling is cropped away, in image space, as x is fully sampled.
2. Pre-whitening: with a noise measurement, coils are mixed so that their noise is independent and equal.
3. Coil compression: fewer virtual coils, the strongest directions of the signal.
4. Sensitivity maps from the fully sampled centre, or from calibration lines of their own, estimated on a coarse grid,
   for they are smooth.

Intensities stay in the file's own units; what works in others, as a prior does, scales them itself. Partial Fourier
needs no step: what was not measured is zero in k-space and False in the mask.
"""

import contextlib
import math
from pathlib import Path
from typing import Any

import torch

from .. import hdf5
from ..coils import calibration_side, compression_matrix, estimate_maps, noise_level, whitening_matrix
from ..fourier import along_axes, fft3c, ifft3c, resize_centred
from ..representations import interpolation
from ..volumes import Acquisition, moved_affine
from .opening import open_scan
from .scan import Scan

GRID = 48                   # points along each axis, for the maps; ESPIRiT takes 8 coils^2 GRID^3 bytes
CHUNK = 2**30               # bytes of k-space held at a time while the coarse copy is made
SMALL, LARGE = 2.0**-20, 2.0**40        # beyond, a float32 cannot hold the squares


def prepare(scan: str | Path | Scan, coils: int | None = None, readout: tuple[int, int] | None = None,
            voxel_size: Any = None, maps: torch.Tensor | None = None, calibration: int | None = None,
            whiten: bool = True, measurement: str | int | None = None) -> Acquisition:
    """An acquisition ready to reconstruct, from a raw scan.

    Parameters
    ----------
    scan : str, Path or Scan
        A file of any format that :func:`~mrilab.raw.open_scan` opens, or the name of a recorded scan.
    coils : int, optional
        Compress to this many virtual coils.
    readout : tuple of int, optional
        First and last (not included) position along x, of those inside the prescribed field of view. Only this
        part is read and returned; maps still come from the whole scan.
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, if the file does not say or says it wrongly.
    maps : Tensor, optional
        complex64 ``(coils, z, y, x)`` on the grid without oversampling; if not given, those of the scan, or else
        estimated.
    calibration : int, optional
        Side of the fully sampled central block for ESPIRiT; the largest up to 24 if not given. Where there is
        none of 8 or more, maps and image are found together from all samples (JSENSE).
    whiten : bool
        Use the noise measurement, if the file has one.
    measurement : str or int, optional
        One of several in a file (:func:`~mrilab.raw.open_scan`).

    Returns
    -------
    Acquisition
        In the units of the file; whitened coils have the mean noise of the measured ones. ``noise`` is known from the
        noise measurement, or estimated (:func:`~mrilab.coils.noise_level`). ``info`` records every step, ``scale``
        among them: multiply an image by it to get the file's units. It is 1, or a power of two where the file's
        numbers are too small or too large for arithmetic.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`~mrilab.raw.open_scan`; more virtual coils than coils; maps of another shape.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from mrilab.raw import save_ismrmrd
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scan.h5"
    >>> save_ismrmrd(path, acq.kspace, acq.mask, acq.voxel_size)
    >>> ready = prepare(path, coils=6)
    >>> ready.kspace.shape, ready.voxel_size, ready.info["scale"]
    (torch.Size([6, 21, 27, 21]), (8.0, 8.0, 8.0), 1.0)
    """
    with contextlib.nullcontext() if isinstance(scan, Scan) else hdf5.named(scan):
        scan = scan if isinstance(scan, Scan) else open_scan(scan, voxel_size, measurement)
        depth, height, size = scan.shape
        first = size // 2 - scan.wanted // 2
        start, stop = (0, scan.wanted) if readout is None else readout
        if not 0 <= start < stop <= scan.wanted:
            raise ValueError(f"readout: found {readout}, expected 0 <= first < last <= {scan.wanted}")
        info = {"format": scan.format, "oversampling": size / scan.wanted} | {
            key: value for key, value in scan.info.items() if value}
        coarse = _coarse(scan, first)
        mixing, unit, noise = _mixing(scan, coarse, coils, whiten, info)
        info["maps"] = "given" if maps is not None else "measured"
        maps = scan.maps if maps is None else maps
        if maps is None:
            maps, info["maps"] = _estimated(scan, coarse, mixing, first, calibration)
            maps = interpolate_maps(maps, (depth, height, scan.wanted), start, stop)
        else:
            maps = _given(maps, mixing, (scan.coils, depth, height, scan.wanted))[..., start:stop]
        kspace = _mix(mixing, scan.read(first + start, first + stop))
        if scan.affine is not None:
            info["affine"] = moved_affine({"affine": scan.affine}, first + start)["affine"]
        info["scale"] = 1 / unit
        return Acquisition(kspace, maps, scan.mask, scan.voxel_size,
                           noise_level(kspace, scan.mask) if noise is None else noise, info)


def _mixing(scan: Scan, coarse: torch.Tensor, coils: int | None, whiten: bool, info: dict[str, Any]
            ) -> tuple[torch.Tensor, float, float | None]:
    """The matrix that mixes the coils, the factor in it that brings the numbers into range, the noise if known."""
    peak = coarse.abs().max().item()
    if not peak > 0:
        raise ValueError("kspace: found zeros in the centre, expected a measurement")
    unit = 1.0 if SMALL <= peak <= LARGE else 2.0 ** -round(math.log2(peak))
    mixing, noise = torch.eye(scan.coils, dtype=torch.complex64), None
    if whiten and scan.noise is not None and scan.noise.shape[1] <= 4 * scan.coils:
        info["not whitened"] = f"a noise measurement of {scan.noise.shape[1]} samples for {scan.coils} coils"
    elif whiten and scan.noise is not None:
        power = scan.noise.abs().double().square().mean(1)
        alive = power > 1e-12 * power.max()
        level = (power[alive].mean() / 2).sqrt().item()
        mixing = mixing[alive]
        mixing[:, alive] = level * whitening_matrix(scan.noise[alive])
        info["whitened"], noise = True, level * unit
        if not alive.all():
            info["left out"] = f"coils without noise: {(~alive).nonzero().flatten().tolist()}"
    mixing = mixing * unit
    if coils is not None:
        mixing = compression_matrix(_mix(mixing, coarse), coils) @ mixing
        info["compressed"] = f"{scan.coils} to {coils} coils"
    return mixing, unit, noise


def _estimated(scan: Scan, coarse: torch.Tensor, mixing: torch.Tensor, first: int, calibration: int | None
               ) -> tuple[torch.Tensor, str]:
    """Maps on the coarse grid, from the centre of the scan, or from lines measured for them where those are more."""
    apart = scan.calibration
    if apart is None or calibration_side(scan.mask) > calibration_side(apart.mask):
        return estimate_maps(_mix(mixing, coarse), _resize_mask(scan.mask, coarse.shape[1:3]), calibration)
    coarse = _mix(mixing, _coarse(apart, first))
    maps, how = estimate_maps(coarse, _resize_mask(apart.mask, coarse.shape[1:3]), calibration, everywhere=True)
    return maps, f"{how}, from calibration lines of their own"


def _given(maps: torch.Tensor, mixing: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Maps of the measured coils, mixed as those are; their squares sum to 1."""
    if tuple(maps.shape) != shape:
        raise ValueError(f"maps: found shape {tuple(maps.shape)}, expected {shape}")
    maps = _mix(mixing / mixing.abs().max(), maps)
    norm = torch.linalg.vector_norm(maps, dim=0)
    return maps / norm.clamp_min(1e-6 * norm.max())


def interpolate_maps(maps: torch.Tensor, shape: tuple[int, ...], start: int = 0, stop: int | None = None
                     ) -> torch.Tensor:
    """Smooth maps on another grid over the same field of view, positions ``start`` to ``stop`` along x.

    Linear between points; the squares sum to 1 again where there were maps, to 0 elsewhere.

    Examples
    --------
    >>> maps = torch.full((4, 4, 4, 4), 0.5, dtype=torch.complex64)
    >>> interpolate_maps(maps, (8, 8, 8), stop=3).shape
    torch.Size([4, 8, 8, 3])
    """
    z, y, x = (interpolation(old, new, "trilinear", antialias=False).to(maps)
               for old, new in zip(maps.shape[1:], shape))
    maps = along_axes([z, y, x[start:stop]], maps).contiguous()
    norm = torch.linalg.vector_norm(maps, dim=0)
    return torch.where(norm > 0.4, maps / norm.clamp_min(0.4), 0)


def _mix(matrix: torch.Tensor, kspace: torch.Tensor) -> torch.Tensor:
    """Coils mixed by a matrix, a slab at a time."""
    out = torch.empty(len(matrix), *kspace.shape[1:], dtype=torch.complex64)
    for i in range(kspace.shape[1]):
        out[:, i] = torch.tensordot(matrix, kspace[:, i], ([1], [0]))
    return out


def _coarse(scan: Scan, first: int) -> torch.Tensor:
    """The centre of k-space, at most ``GRID`` points along each axis, of a scan read a part at a time."""
    depth, height, _ = scan.shape
    step = max(1, CHUNK // (8 * scan.coils * depth * height))
    parts, last = [], first + scan.wanted
    for i in range(first, last, step):
        part = scan.read(i, min(i + step, last))
        part = resize_centred(part, (min(depth, GRID), min(height, GRID), part.shape[-1]))
        parts.append(ifft3c(part, axes=(-1,)))
    kspace = fft3c(torch.cat(parts, -1), axes=(-1,))
    return resize_centred(kspace, (*kspace.shape[1:3], min(scan.wanted, GRID)))


def _resize_mask(mask: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return resize_centred(mask[None, ..., None].float(), (*shape, 1))[0, ..., 0].bool()
