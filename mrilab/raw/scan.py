"""A raw scan on its grid, whatever the format: what the readers of this folder make, and ``preparation`` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .. import hdf5

COMPRESSED = 200            # k-space is noise where it is measured, and a scan measures at least every 200th line


@dataclass
class Scan:
    """A raw scan on its Cartesian grid; k-space stays in the file until :meth:`read`.

    Attributes
    ----------
    format : str
    coils : int
    shape : tuple of int
        ``(z, y, x)`` of the measured grid, readout oversampling included.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm of that grid.
    mask : Tensor
        bool ``(z, y)``, True where measured.
    wanted : int
        Positions along x inside the field of view that was prescribed; fewer than x with oversampling.
    fetch : callable
        ``fetch(start, stop)`` is what :meth:`read` returns for these positions along x.
    noise : Tensor or None
        complex64 ``(coils, samples)`` measured without signal, as strong as the noise of the image's samples.
    affine : ndarray or None
        4 x 4, from voxel ``(x, y, z)`` of the measured grid to mm (right, anterior, superior).
    info : dict
        What else is worth saying; in ``note`` what was doubtful and how it was settled, and what of the file is not in
        the image.
    calibration : Scan or None
        Lines measured for the sensitivities alone, on the same grid.
    maps : Tensor or None
        complex64 ``(coils, z, y, x)``, sensitivities that were measured with the scan; None if it has none.
    energy : Tensor or None
        float64 ``(z, y)``, or ``(1, y)`` for a stack of slices: the energy that a look at the data found; NaN where it
        did not look.
    profile : Tensor or None
        float64 ``(x,)``, the same along kx; None if the file has x in image space.

    Examples
    --------
    >>> import tempfile
    >>> from mrilab.raw import open_scan, save_cfl
    >>> path = tempfile.mkdtemp() + "/scan.cfl"
    >>> save_cfl(path, np.ones((2, 3, 4, 5), np.complex64), voxel_size=(2, 1, 1))
    >>> scan = open_scan(path)
    >>> scan.coils, scan.shape, scan.voxel_size
    (2, (3, 4, 5), (2.0, 1.0, 1.0))
    """

    format: str
    coils: int
    shape: tuple[int, ...]
    voxel_size: tuple[float, ...]
    mask: torch.Tensor
    wanted: int
    fetch: Callable[[int, int], torch.Tensor] = field(repr=False)
    noise: torch.Tensor | None = None
    affine: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)
    calibration: Scan | None = None
    maps: torch.Tensor | None = field(default=None, repr=False)
    energy: torch.Tensor | None = field(default=None, repr=False)
    profile: torch.Tensor | None = field(default=None, repr=False)

    @property
    def acceleration(self) -> float:
        """Number of (kz, ky) positions over the number measured."""
        return self.mask.numel() / int(self.mask.sum())

    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """k-space between two positions along x, an independent problem as x is fully sampled (chapter 2).

        Returns
        -------
        Tensor
            complex64 ``(coils, z, y, stop - start)``, centred; zero where not measured.
        """
        size = self.shape[-1]
        stop = size if stop is None else stop
        if not 0 <= start < stop <= size:
            raise ValueError(f"start, stop: found {start}, {stop}, expected 0 <= start < stop <= {size}")
        return self.fetch(start, stop)

    def note(self, text: str) -> None:
        """Add a sentence to ``info["note"]``."""
        self.info["note"] = "; ".join(filter(None, [self.info.get("note", ""), text]))


def needs_voxel_size(voxel_size: tuple[float, ...] | None, what: str) -> tuple[float, ...]:
    """The voxel size, or the error that asks for it.

    Examples
    --------
    >>> needs_voxel_size((3, 1, 1), "a BART file")
    (3, 1, 1)
    >>> needs_voxel_size(None, "a BART file")
    Traceback (most recent call last):
    ValueError: voxel_size: found none in a BART file, expected (dz, dy, dx) in mm from you (--voxel-size)
    """
    if voxel_size is None:
        raise ValueError(f"voxel_size: found none in {what}, expected (dz, dy, dx) in mm from you (--voxel-size)")
    return voxel_size


def something_measured(mask: torch.Tensor) -> torch.Tensor:
    """The mask, or the error that there is nothing in it.

    Examples
    --------
    >>> something_measured(torch.zeros(2, 2))
    Traceback (most recent call last):
    ValueError: kspace: found zeros only, expected a measurement
    """
    if not mask.any():
        raise ValueError("kspace: found zeros only, expected a measurement")
    return mask


def measurement_of(file: Any) -> Any:
    """The data set ``kspace``, whose size must be one that a measurement of so many stored bytes can have.

    Zeros compress a thousandfold, noise hardly: a small file that unpacks to gigabytes holds no scan.

    Examples
    --------
    >>> import h5py, tempfile
    >>> with h5py.File(tempfile.mkdtemp() + "/a.h5", "w") as file:
    ...     data = file.create_dataset("kspace", (2, 16, 1000, 1000), "f4", chunks=(1, 16, 1000, 1000), compression=1)
    ...     data[0] = 0
    ...     file.flush()
    ...     measurement_of(file)
    Traceback (most recent call last):
    ValueError: kspace: found 128000000 bytes in ... stored ones, expected a measurement, which is mostly noise
    """
    data = hdf5.numbers(file, "kspace")
    claimed, stored = data.dtype.itemsize * data.size, data.id.get_storage_size()
    if claimed > COMPRESSED * stored + 2**26:
        raise ValueError(f"kspace: found {claimed} bytes in {stored} stored ones, expected a measurement, which is "
                         "mostly noise")
    return data
