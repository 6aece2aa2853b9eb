"""From a raw scan to an :class:`~mrilab.volumes.Acquisition`: :func:`prepare` takes every step in turn.

1. Readout oversampling is cropped away, in image space, as x is fully sampled.
2. Pre-whitening: with a noise measurement, coils are mixed so that their noise is independent and equal.
3. Coil compression: fewer virtual coils, the strongest directions of the signal.
4. Sensitivity maps from the fully sampled centre, estimated on a coarse grid, for they are smooth.
5. Intensities are scaled: the 99th percentile of the image becomes 1, as priors expect.

Partial Fourier needs no step: what was not measured is zero in k-space and False in the mask.
"""

import math

import numpy as np
import torch

from ..classical import cg_sense
from ..coils import compression_matrix, estimate_maps, noise_level, whitening_matrix
from ..fourier import along_axes, fft3c, ifft3c, resize_centred
from ..metrics import percentile
from ..volumes import Acquisition, moved_affine
from .opening import open_scan
from .scan import Scan

CHUNK = 2**30               # bytes of k-space held at a time while the coarse copy is made


def prepare(scan, coils=None, readout=None, voxel_size=None, maps=None, calibration=None, whiten=True, grid=48):
    """An acquisition ready to reconstruct, from a raw scan.

    Parameters
    ----------
    scan : str, Path or Scan
        A file of any format that :func:`~mrilab.raw.open_scan` opens.
    coils : int, optional
        Compress to this many virtual coils.
    readout : tuple of int, optional
        First and last (not included) position along x, of those inside the prescribed field of view. Only this
        part is read and returned; maps and scale still come from the whole scan.
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, if the file does not say or says it wrongly.
    maps : Tensor, optional
        complex64 ``(coils, z, y, x)`` on the grid without oversampling; estimated if not given.
    calibration : int, optional
        Side of the fully sampled central block for ESPIRiT; the largest up to 24 if not given. Where there is
        none of 8 or more, the maps are low-resolution images over their root sum of squares.
    whiten : bool
        Use the noise measurement, if the file has one.
    grid : int
        The maps are estimated on at most this many points along each axis. ESPIRiT takes coils squared times
        this cubed times 8 bytes.

    Returns
    -------
    Acquisition
        ``noise`` is known from the whitening, or estimated at the edge of k-space; ``info`` records every step,
        ``scale`` among them: multiply an image by it to get back to the file's own units, or to multiples of the
        noise if the scan was whitened.

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
    >>> ready.kspace.shape, ready.voxel_size
    (torch.Size([6, 21, 27, 21]), (8.0, 8.0, 8.0))
    """
    scan = scan if isinstance(scan, Scan) else open_scan(scan, voxel_size)
    depth, height, size = scan.shape
    first = size // 2 - scan.wanted // 2
    start, stop = (0, scan.wanted) if readout is None else readout
    if not 0 <= start < stop <= scan.wanted:
        raise ValueError(f"readout: found {readout}, expected 0 <= first < last <= {scan.wanted}")
    info = {"format": scan.format, "oversampling": size / scan.wanted}

    coarse = _coarse(scan, first, grid)
    unit = coarse.abs().max().item()            # some files count in 1e-14, whose squares a float32 cannot hold
    if not unit > 0:
        raise ValueError("kspace: found zeros in the centre, expected a measurement")
    mixing = torch.eye(scan.coils, dtype=torch.complex64) / unit
    if whiten and scan.noise is not None and scan.noise.shape[1] > 4 * scan.coils:
        mixing = whitening_matrix(scan.noise)
        info["whitened"], unit = True, 1.0      # now in units of the noise
    mask_low = _resize_mask(scan.mask, coarse.shape[1:3])
    if coils is not None:
        mixing = compression_matrix(_mix(mixing, coarse), coils) @ mixing
        info["compressed"] = f"{scan.coils} to {coils} coils"
    coarse = _mix(mixing, coarse)
    if maps is None:
        low_maps, info["maps"] = estimate_maps(coarse, mask_low, calibration)
        shape = (depth, height, scan.wanted)
        maps = interpolate_maps(low_maps, shape, start, stop)
    else:
        if tuple(maps.shape) != (scan.coils, depth, height, scan.wanted):
            raise ValueError(f"maps: found shape {tuple(maps.shape)}, expected "
                             f"{(scan.coils, depth, height, scan.wanted)}")
        maps = _mix(mixing, maps)
        norm = torch.linalg.vector_norm(maps, dim=0)
        maps /= norm.clamp_min(1e-6 * norm.max())
        low_maps, maps = interpolate_maps(maps, tuple(coarse.shape[1:])), maps[..., start:stop]
        info["maps"] = "given"

    low = Acquisition(coarse, low_maps, mask_low, scan.voxel_size)
    scale = percentile(cg_sense(low, iterations=10, progress=False).image, 0.99)
    scale *= math.sqrt(depth * height * scan.wanted / math.prod(coarse.shape[1:]))
    if not scale > 0:
        raise ValueError("kspace: found an image of zeros, expected a measurement")
    kspace = _mix(mixing / scale, scan.read(first + start, first + stop))
    noise = 1 / scale if "whitened" in info else noise_level(kspace, scan.mask)
    if scan.affine is not None:
        info["affine"] = moved_affine({"affine": scan.affine}, first + start)["affine"]
    info["scale"] = scale * unit
    return Acquisition(kspace, maps, scan.mask, scan.voxel_size, noise, info)


def interpolate_maps(maps, shape, start=0, stop=None):
    """Smooth maps on another grid over the same field of view, positions ``start`` to ``stop`` along x.

    Linear between points; the squares sum to 1 again where there were maps, to 0 elsewhere.

    Examples
    --------
    >>> maps = torch.full((4, 4, 4, 4), 0.5, dtype=torch.complex64)
    >>> interpolate_maps(maps, (8, 8, 8), stop=3).shape
    torch.Size([4, 8, 8, 3])
    """
    positions = [(np.arange(n) - n // 2) / n for n in shape]
    positions[2] = positions[2][start:stop]
    weights = [np.stack([np.interp(new, (np.arange(old) - old // 2) / old, row) for row in np.eye(old)], 1)
               for old, new in zip(maps.shape[1:], positions)]
    maps = along_axes([torch.from_numpy(w).to(maps.dtype) for w in weights], maps).contiguous()
    norm = torch.linalg.vector_norm(maps, dim=0)
    return torch.where(norm > 0.4, maps / norm.clamp_min(0.4), 0)


def _mix(matrix, kspace):
    """Coils mixed by a matrix, a slab at a time."""
    out = torch.empty(len(matrix), *kspace.shape[1:], dtype=torch.complex64)
    for i in range(kspace.shape[1]):
        out[:, i] = torch.tensordot(matrix, kspace[:, i], ([1], [0]))
    return out


def _coarse(scan, first, grid):
    """The centre of k-space, at most ``grid`` points along each axis, of a scan read a part at a time."""
    depth, height, _ = scan.shape
    step = max(1, CHUNK // (8 * scan.coils * depth * height))
    parts, last = [], first + scan.wanted
    for i in range(first, last, step):
        part = scan.read(i, min(i + step, last))
        part = resize_centred(part, (min(depth, grid), min(height, grid), part.shape[-1]))
        parts.append(ifft3c(part, axes=(-1,)))
    kspace = fft3c(torch.cat(parts, -1), axes=(-1,))
    return resize_centred(kspace, (*kspace.shape[1:3], min(scan.wanted, grid)))


def _resize_mask(mask, shape):
    return resize_centred(mask[None, ..., None].float(), (*shape, 1))[0, ..., 0].bool()
