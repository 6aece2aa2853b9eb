"""Recorded scans by reference: public files whose arrays say nothing of themselves, on our axes.

``references.json`` has what the file does not say, and what nobody says stands in its ``note``.

==========  ==========================================================================================
layout      what the file holds
==========  ==========================================================================================
``slice``   ``.npy``, k-space ``(coils, ky, kz)`` of one readout position
``stack``   ``.mat``, ``kspace`` ``(ky, kx, slices)`` of one coil
``maps``    ``.mat``, image ``xGT`` ``(y, x)`` and sensitivities ``S`` ``(y, x, 1, coils)``
``phase``   NIfTI, phase ``(x, y, z, echoes)``; its magnitude is a data set of its own
==========  ==========================================================================================
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import hdf5
from ..datasets import Dataset, entry_of, fetch
from ..fourier import fft3c
from ..references import read_beside
from .arrays import scan_of_array
from .scan import Scan


def open_recorded(name: str | Path, voxel_size: tuple[float, ...] | None = None) -> Scan:
    """A recorded scan by reference, fetched first where it is not there.

    A single slice lies in the plane (z, y), with x of length 1: both of its axes are phase-encoding ones, as the mask
    wants it.

    Parameters
    ----------
    name : str
        From ``list_datasets("scan")``.
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, instead of the one that is known or assumed.

    Raises
    ------
    ValueError
        For a file with other arrays than the entry says, or of another size.
    FileNotFoundError, OSError
        As :func:`mrilab.datasets.fetch`.

    Examples
    --------
    >>> open_recorded("qtim_MRHead")
    Traceback (most recent call last):
    ValueError: name: found 'qtim_MRHead', expected a recorded scan by reference, from list_datasets("scan")
    """
    entry = entry_of(name)
    if entry is None or entry.layout not in READERS:
        raise ValueError(f"name: found {str(name)!r}, expected a recorded scan by reference, from "
                         'list_datasets("scan")')
    return scan_of(entry, fetch(entry.name), voxel_size)


def scan_of(entry: Dataset, path: Path, voxel_size: tuple[float, ...] | None = None) -> Scan:
    """The scan in a file of an entry's layout.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.ones((2, 6, 4), np.complex64))
    >>> scan_of(Dataset("a", "scan", "a.npy", layout="slice", shape=(6, 4, 1), voxel_size=(1, 1, 3)), path).shape
    (6, 4, 1)
    """
    with hdf5.named(path):
        kspace, maps = READERS[entry.layout](entry, path)
        if kspace.shape[1:] != tuple(entry.shape):
            raise ValueError(f"kspace: found shape {kspace.shape[1:]}, expected {tuple(entry.shape)}")
        sizes = voxel_size or tuple(float(d) for d in entry.voxel_size)
        scan = scan_of_array("recorded", lambda: kspace, sizes)
    scan.maps = maps
    for key, value in (("source", entry.source), ("licence", entry.licence), ("person", entry.person)):
        scan.info[key] = value
    scan.note(entry.note)
    return scan


Arrays = tuple[np.ndarray, torch.Tensor | None]         # k-space (coils, z, y, x), sensitivities


def _slice(_: Dataset, path: Path) -> Arrays:
    kspace = np.load(path, allow_pickle=False)
    if kspace.ndim != 3:
        raise ValueError(f"kspace: found shape {kspace.shape}, expected (coils, ky, kz)")
    return kspace[..., None].astype(np.complex64), None


def _stack(_: Dataset, path: Path) -> Arrays:
    kspace = _mat(path, "kspace", 3).transpose(2, 0, 1)[None]
    return fft3c(torch.from_numpy(np.ascontiguousarray(kspace, np.complex64)), axes=(-3,)).numpy(), None


def _maps(_: Dataset, path: Path) -> Arrays:
    image = torch.from_numpy(_mat(path, "xGT", 2).astype(np.complex64))
    maps = torch.from_numpy(np.ascontiguousarray(_mat(path, "S", 4)[:, :, 0].transpose(2, 0, 1), np.complex64))
    return fft3c((maps * image)[..., None]).numpy(), maps[..., None]


def _phase(entry: Dataset, path: Path) -> Arrays:
    import nibabel

    magnitude, _, _ = read_beside(entry_of(entry.beside) or entry, fetch(entry.beside))
    header: Any = nibabel.load(path)
    phase = np.asarray(header.dataobj, np.float32)[..., 0].transpose(2, 1, 0)
    turned = magnitude * np.exp(1j * np.pi * phase / np.abs(phase).max())
    return fft3c(torch.from_numpy(turned.astype(np.complex64))[None]).numpy(), None


def _mat(path: Path, name: str, axes: int) -> np.ndarray:
    import scipy.io

    found = scipy.io.loadmat(path)
    if name not in found or found[name].ndim != axes:
        shapes = {key: value.shape for key, value in found.items() if not key.startswith("__")}
        raise ValueError(f"{name}: found {shapes}, expected it with {axes} axes")
    return found[name]


READERS = {"slice": _slice, "stack": _stack, "maps": _maps, "phase": _phase}
