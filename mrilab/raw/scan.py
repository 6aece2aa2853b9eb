"""A raw scan on its grid, whatever the format: what the readers of this folder make, and :mod:`.preparation` takes."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch


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
        complex64 ``(coils, samples)`` measured without signal.
    affine : ndarray or None
        4 x 4, from voxel ``(x, y, z)`` of the measured grid to mm (right, anterior, superior).
    info : dict
        What else is worth saying.

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
    shape: tuple
    voxel_size: tuple
    mask: torch.Tensor
    wanted: int
    fetch: Callable = field(repr=False)
    noise: torch.Tensor | None = None
    affine: np.ndarray | None = None
    info: dict = field(default_factory=dict)

    @property
    def acceleration(self):
        """Number of (kz, ky) positions over the number measured."""
        return self.mask.numel() / int(self.mask.sum())

    def read(self, start=0, stop=None):
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


def needs_voxel_size(voxel_size, what):
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


def something_measured(mask):
    """The mask, or the error that there is nothing in it."""
    if not mask.any():
        raise ValueError("kspace: found zeros only, expected a measurement")
    return mask
