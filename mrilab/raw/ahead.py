"""AHEAD's coil sensitivities: HDF5 with real and imaginary parts apart (its scans are ISMRMRD)."""

from pathlib import Path

import numpy as np
import torch

from .. import hdf5


def read_ahead_maps(path: str | Path, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Coil sensitivities as AHEAD has them: HDF5 with ``0real`` and ``1imag``, ``(coils, z, y, x)``.

    Parameters
    ----------
    path : str or Path
    start, stop : int
        Positions along x.

    Returns
    -------
    Tensor
        complex64 ``(coils, z, y, stop - start)``.

    Examples
    --------
    >>> import h5py, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/a.h5", "w") as file:
    ...         file["0real"], file["1imag"] = np.ones((2, 3, 4, 5)), np.full((2, 3, 4, 5), 0.5)
    ...     maps = read_ahead_maps(f"{folder}/a.h5", 1, 3)
    >>> maps.shape, maps[0, 0, 0, 0]
    (torch.Size([2, 3, 4, 2]), tensor(1.+0.5000j))
    """
    with hdf5.named(path), hdf5.opened(path) as file:
        real, imag = hdf5.numbers(file, "0real"), hdf5.numbers(file, "1imag")
        if real.ndim != 4 or real.shape != imag.shape:
            raise ValueError(f"0real, 1imag: found shapes {real.shape} and {imag.shape}, expected (coils, z, y, x)")
        return torch.complex(*(torch.from_numpy(a[..., start:stop].astype(np.float32)) for a in (real, imag)))
