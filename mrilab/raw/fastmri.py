"""fastMRI (Knoll et al., Radiology: AI 2:e190007, 2020): 2D slices as arrays, with ISMRMRD's header."""


import numpy as np
import torch

from .. import hdf5
from ..checks import check_voxel_size
from ..fourier import fft3c, ifft3c
from .header import read_header, wanted_positions
from .scan import Scan, needs_voxel_size, something_measured


def open_fastmri(path, voxel_size=None):
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
        kspace = hdf5.numbers(file, "kspace")
        if kspace.ndim not in (3, 4) or kspace.dtype.kind != "c" or not all(kspace.shape):
            raise ValueError(f"kspace: found shape {kspace.shape} of type {kspace.dtype}, expected complex (slices, "
                             "coils, x, y)")
        single = kspace.ndim == 3
        slices, coils, size, lines = (kspace.shape[0], 1, *kspace.shape[1:]) if single else kspace.shape
        head = read_header(hdf5.text(file, "ismrmrd_header")) if "ismrmrd_header" in hdf5.names(file) else None
        if "mask" in hdf5.names(file):
            mask = torch.from_numpy(hdf5.numbers(file, "mask")[()].reshape(-1) != 0)
            if len(mask) != lines:
                raise ValueError(f"mask: found {len(mask)} lines, expected {lines} as kspace has")
        else:
            middle = kspace[slices // 2]
            mask = torch.from_numpy((middle.reshape(-1, lines) != 0).any(0))
    matrix_y, shift, wanted = lines, 0, size
    if head:
        # partial Fourier across lines is stored without its empty part: put the centre where the grid has it
        centre = head["centre"][1]
        if lines <= head["matrix"][1] <= 8 * lines and centre is not None and 0 <= centre < lines:
            matrix_y = head["matrix"][1]
            shift = matrix_y // 2 - centre
            if not 0 <= shift <= matrix_y - lines:
                matrix_y, shift = lines, 0
        if head["matrix"][2] == size:
            wanted = wanted_positions(head, size)
        # the field of view is the inverse of the distance between samples, however many there are
        voxel_size = voxel_size or (head["fov"][0] / head["matrix"][0], head["fov"][1] / matrix_y,
                                    head["fov"][2] / size)
    needs_voxel_size(voxel_size, "a file without 'ismrmrd_header'")
    full = torch.zeros(matrix_y, dtype=torch.bool)
    full[shift:shift + lines] = mask

    def fetch(start, stop):
        out = torch.zeros(coils, slices, matrix_y, stop - start, dtype=torch.complex64)
        with hdf5.opened(path) as file:
            for i in range(slices):
                image = torch.from_numpy(file["kspace"][i].astype(np.complex64)).reshape(coils, size, lines)
                image = ifft3c(image, axes=(-2,))[:, start:stop]
                out[:, i, shift:shift + lines] = image.transpose(1, 2) * mask[:, None]
        return fft3c(out, axes=(-3, -1))

    return Scan("fastmri", coils, (slices, matrix_y, size), check_voxel_size(voxel_size),
                something_measured(full).expand(slices, matrix_y), wanted, fetch,
                info={"note": "2D slices, stacked; a gap between slices is not in the file"})
