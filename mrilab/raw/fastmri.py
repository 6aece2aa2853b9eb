"""fastMRI (Knoll et al., Radiology: AI 2:e190007, 2020): 2D slices as arrays, with ISMRMRD's header."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import hdf5
from ..checks import check_voxel_size
from ..fourier import fft3c, ifft3c
from .claims import check_axes, settle_counter
from .header import read_header, wanted_positions
from .scan import Scan, measurement_of, needs_voxel_size, something_measured

STACKED = "2D slices, stacked, a gap between slices is not in the file"


def open_fastmri(path: Path, voxel_size: tuple[float, ...] | None = None) -> Scan:
    """fastMRI multi-coil file: slices become z, lines across the readout become y.

    The slices are separate 2D measurements. A Fourier transform across them makes them a 3D scan that is fully
    sampled in kz; noise and misfit keep their meaning, as the transform is orthonormal.

    Parameters
    ----------
    path : Path
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, for a file without ``ismrmrd_header``.

    Returns
    -------
    Scan

    Raises
    ------
    ValueError
        For arrays of other axes, a mask that does not fit them, a header that does not.

    Examples
    --------
    Two slices, four coils, eight positions of the readout on each of six lines:

    >>> import h5py, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/a.h5", "w") as file:
    ...         file["kspace"] = np.ones((2, 4, 8, 6), np.complex64)
    ...     scan = open_fastmri(Path(f"{folder}/a.h5"), voxel_size=(5, 1, 1))
    ...     scan.coils, scan.shape, scan.read().shape
    (4, (2, 6, 8), torch.Size([4, 2, 6, 8]))
    """
    with hdf5.opened(path) as file:
        kspace = measurement_of(file)
        if kspace.ndim not in (3, 4) or kspace.dtype.kind != "c" or not all(kspace.shape):
            raise ValueError(f"kspace: found shape {kspace.shape} of type {kspace.dtype}, expected complex (slices, "
                             "coils, x, y)")
        single = kspace.ndim == 3
        slices, coils, size, lines = (kspace.shape[0], 1, *kspace.shape[1:]) if single else kspace.shape
        head = read_header(hdf5.text(file, "ismrmrd_header")) if "ismrmrd_header" in hdf5.names(file) else None
        energy, profile = _look(kspace, single)
        mask, notes = _mask(file, lines) if "mask" in hdf5.names(file) else (energy != 0, [])
    index, matrix_y, wanted = np.arange(lines), lines, size
    if head:
        index, matrix_y, wanted, found = _fit_header(head, size, lines, energy.numpy())
        notes += found
        # the field of view is the inverse of the distance between samples, however many there are
        voxel_size = voxel_size or (head["fov"][0] / head["matrix"][0], head["fov"][1] / matrix_y,
                                    head["fov"][2] / size)
    shift = int(index[0])
    kept, there = torch.zeros(matrix_y, dtype=torch.bool), torch.zeros(1, matrix_y, dtype=torch.float64)
    kept[shift:shift + lines], there[0, shift:shift + lines] = mask, energy

    def fetch(start: int, stop: int) -> torch.Tensor:
        out = torch.zeros(coils, slices, matrix_y, stop - start, dtype=torch.complex64)
        with hdf5.opened(path) as file:
            for i in range(slices):
                image = torch.from_numpy(file["kspace"][i].astype(np.complex64)).reshape(coils, size, lines)
                image = ifft3c(image, axes=(-2,))[:, start:stop]
                out[:, i, shift:shift + lines] = image.transpose(1, 2) * mask[:, None]
        return fft3c(out, axes=(-3, -1))

    scan = Scan("fastmri", coils, (slices, matrix_y, size),
                check_voxel_size(needs_voxel_size(voxel_size, "a file without 'ismrmrd_header'")),
                something_measured(kept).expand(slices, matrix_y), wanted, fetch, energy=there, profile=profile)
    for note in (STACKED, *notes):
        scan.note(note)
    return scan


def _look(kspace: Any, single: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Energy of the lines and of the samples along x, of the slice in the middle and some others."""
    slices = kspace.shape[0]
    chosen = sorted({slices // 2, *range(0, slices, max(1, slices // 4))})
    energy, profile = torch.zeros(kspace.shape[-1]).double(), torch.zeros(kspace.shape[-2]).double()
    for i in chosen:
        block = torch.from_numpy(kspace[i].astype(np.complex64)).reshape(-1, *kspace.shape[-2:])
        square = block.abs().double().square()
        energy += square.sum((0, 1))
        profile += square.sum((0, 2))
        if i == slices // 2 and torch.isfinite(square).all() and square.any():
            block = block / block.abs().max()
            check_axes(block[0], {"x": "k", "y": "k"}) if single else \
                check_axes(block, {"coils": "", "x": "k", "y": "k"})
    return energy, profile


def _mask(file: Any, lines: int) -> tuple[torch.Tensor, list[str]]:
    """One mask for all slices, bool ``(lines,)``: where it is given for each slice or sample, what all have."""
    found = torch.from_numpy(hdf5.numbers(file, "mask")[()] != 0)
    if found.shape[-1:] != (lines,) and found.numel() == lines:
        found = found.reshape(-1)
    if found.shape[-1:] != (lines,):
        raise ValueError(f"mask: found shape {tuple(found.shape)}, expected {lines} lines as kspace has")
    rows = found.reshape(-1, lines)
    common = rows.all(0)
    if torch.equal(common, rows.any(0)):
        return common, []
    return common, [f"mask: found {len(rows)} different ones, the {int(common.sum())} lines common to all are used"]


def _fit_header(head: dict[str, Any], size: int, lines: int, energy: np.ndarray
                ) -> tuple[np.ndarray, int, int, list[str]]:
    """Where the stored lines lie on the encoded grid, its height, the positions wanted along x; what is doubtful."""
    (_, encoded, across), notes = head["matrix"], []
    if (across, encoded) == (lines, size) and lines != size:
        raise ValueError(f"kspace: found (slices, coils, {size}, {lines}) and in the header x = {across}, "
                         f"y = {encoded}, expected (slices, coils, x, y)")
    if across != size:
        notes.append(f"header: found {across} samples along x, stored are {size}")
    if not lines <= encoded <= 8 * lines:
        if encoded != lines:
            notes.append(f"header: found {encoded} lines along y, stored are {lines}, over the same field of view")
        index, encoded = np.arange(lines), lines
    elif encoded == lines:          # what was not measured is stored as zeros
        index = np.arange(lines)
    else:                           # partial Fourier stored without its empty part
        index, note = settle_counter("ky", np.arange(lines), encoded, head["centre"][1], None, energy)
        notes += [note] if note else []
        if index[0] < 0 or index[-1] >= encoded:
            index, encoded = np.arange(lines), lines
    return index, encoded, wanted_positions(head, size) if across == size else size, notes
