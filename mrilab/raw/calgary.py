"""Calgary-Campinas: k-space as real numbers, HDF5 or NumPy, the readout already transformed."""


import numpy as np
import torch

from .. import hdf5
from ..fourier import fft3c
from .scan import Scan, something_measured


def open_calgary(path, voxel_size):
    """Calgary-Campinas: x is in image space, complex numbers are interleaved pairs of real channels.

    The zero frequency of y and z lies at the middle of the array, but positions count from its start: seen
    from our convention the head is shifted by half a field of view. A linear phase moves it back.
    """
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)        # a file shorter than its header says is refused
        shape, kind = array.shape, array.dtype.kind
    else:
        with hdf5.opened(path) as file:
            data = hdf5.numbers(file, "kspace")
            shape, kind = data.shape, data.dtype.kind
    if len(shape) != 4 or kind != "f" or shape[3] % 2 or not all(shape):
        raise ValueError(f"kspace: found shape {shape} of kind {kind!r}, expected real (x, y, z, 2 coils) as "
                         "Calgary-Campinas has it")
    size, y, z, channels = shape

    def blocks(start, stop):
        if path.suffix == ".npy":
            data = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.array(data[start:stop], np.float32)
        with hdf5.opened(path) as file:
            return file["kspace"][start:stop].astype(np.float32)

    def fetch(start, stop):
        data = torch.view_as_complex(torch.from_numpy(blocks(start, stop)).unflatten(3, (-1, 2)))
        kspace = data.permute(3, 2, 1, 0)                       # (coils, z, y, x)
        for axis, n in ((1, z), (2, y)):
            frequency = torch.arange(n) - n // 2
            turn = torch.exp(2j * torch.pi * frequency * (n // 2) / n).to(torch.complex64)
            kspace = kspace * turn.reshape([-1 if a == axis else 1 for a in range(4)])
        return fft3c(kspace, axes=(-1,))

    middle = blocks(size // 2, size // 2 + 1)[0]
    mask = torch.from_numpy((middle != 0).any(-1).T.copy())
    return Scan("calgary", channels // 2, (z, y, size), voxel_size or (1.0, 1.0, 1.0), something_measured(mask), size,
                fetch, info={"note": "voxel size 1 mm as published; the file does not say" if not voxel_size else ""})
