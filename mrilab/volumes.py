"""Volumes and acquisitions: what they hold, how they are checked, how they are stored.

Axes are ``(z, y, x)`` with x the readout; a voxel size is ``(dz, dy, dx)`` in mm. Anything that comes
from outside passes the checks here once, so the rest of the package can trust its inputs.
"""

import contextlib
import os
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}      # the axis of (z, y, x) that numbers the slices


def check_voxel_size(voxel_size, name="voxel_size"):
    """Return ``voxel_size`` as a tuple of three positive floats, or raise ValueError naming ``name``.

    Examples
    --------
    >>> check_voxel_size((1, 1, 3))
    (1.0, 1.0, 3.0)
    """
    try:
        sizes = tuple(float(d) for d in voxel_size)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 3 or not all(0 < d < float("inf") for d in sizes):
        raise ValueError(f"{name}: found {voxel_size!r}, expected three positive numbers (dz, dy, dx) in mm")
    return sizes


def check_array(data, name, dims, axes):
    """Return ``data`` as a float32 or complex64 tensor of ``dims`` dimensions with finite values.

    Examples
    --------
    >>> check_array([[1, 2]], "image", 2, "(y, x)").dtype
    torch.float32
    >>> check_array([1, 2], "image", 2, "(y, x)")
    Traceback (most recent call last):
    ValueError: image: found shape (2,), expected 2 dimensions (y, x)
    """
    data = torch.as_tensor(data)
    if data.ndim != dims:
        raise ValueError(f"{name}: found shape {tuple(data.shape)}, expected {dims} dimensions {axes}")
    if 0 in data.shape:
        raise ValueError(f"{name}: found shape {tuple(data.shape)}, expected no empty axis")
    data = data.to(torch.complex64 if data.is_complex() else torch.float32)
    if not torch.isfinite(torch.view_as_real(data) if data.is_complex() else data).all():
        raise ValueError(f"{name}: found NaN or infinite values, expected finite numbers")
    return data


@dataclass
class Volume:
    """An image volume with its voxel size.

    Attributes
    ----------
    data : Tensor
        ``(z, y, x)``, float32 (magnitude) or complex64; arrays are converted.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    info : dict
        Free text about the volume: source, licence, split.

    Raises
    ------
    ValueError
        If the data are not three-dimensional and finite, or the voxel size is not three positive numbers.

    Examples
    --------
    >>> import torch
    >>> v = Volume(torch.ones(10, 12, 8), (1, 1, 2))
    >>> v.field_of_view
    (10.0, 12.0, 16.0)
    >>> v.resample((2, 2, 2)).data.shape
    torch.Size([5, 6, 8])
    """

    data: torch.Tensor
    voxel_size: tuple
    info: dict = field(default_factory=dict)

    def __post_init__(self):
        self.data = check_array(self.data, "data", 3, "(z, y, x)")
        self.voxel_size = check_voxel_size(self.voxel_size)

    @property
    def field_of_view(self):
        """Extent of each axis in mm."""
        return tuple(n * d for n, d in zip(self.data.shape, self.voxel_size))

    def resample(self, new_voxel_size):
        """The volume at another voxel size (:func:`mrilab.fourier.resample`); real data stay real.

        The field of view is kept and the matrix is a whole number, so the voxel size of the result is
        field of view over matrix: the asked one, or the nearest possible.
        """
        from .fourier import resample

        data = resample(self.data, self.voxel_size, new_voxel_size)
        if not self.data.is_complex():
            data = data.real
        size = tuple(f / n for f, n in zip(self.field_of_view, data.shape))
        return Volume(data, size, dict(self.info))


@dataclass
class Acquisition:
    """Undersampled multi-coil k-space and what is needed to reconstruct it.

    Attributes
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``, centred; zero where not measured.
    maps : Tensor
        complex64 ``(coils, z, y, x)`` coil sensitivities. None has them estimated from the centre of k-space
        (:func:`mrilab.preprocess.estimate_maps`), with a warning; that takes minutes for a large matrix.
    mask : Tensor
        bool ``(z, y)`` over (kz, ky); True where measured. x is the readout, always fully sampled.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    noise : float or None
        Standard deviation of the k-space noise, real and imaginary part each, if known.
    info : dict
        Free text about the scan, and ``affine``, 4 x 4 from voxel ``(x, y, z)`` to mm, where a file had it.

    Raises
    ------
    ValueError
        If shapes disagree, the mask is empty or not over (z, y), or a value is NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> k = torch.zeros(2, 4, 6, 5, dtype=torch.complex64)
    >>> acq = Acquisition(k, torch.ones_like(k), torch.ones(4, 6), (1, 1, 1))
    >>> acq.acceleration
    1.0
    """

    kspace: torch.Tensor
    maps: torch.Tensor
    mask: torch.Tensor
    voxel_size: tuple
    noise: float | None = None
    info: dict = field(default_factory=dict)

    def __post_init__(self):
        self.kspace = check_array(self.kspace, "kspace", 4, "(coils, z, y, x)").to(torch.complex64)
        if self.maps is None:
            from .preprocess import estimate_maps

            _, self.mask = check_maps_and_mask(self.kspace, self.mask)
            self.maps, how = estimate_maps(self.kspace, self.mask)
            self.info = self.info | {"maps": how}
            warnings.warn(f"acquisition without maps: estimated, {how}", stacklevel=3)
        self.maps, self.mask = check_maps_and_mask(self.maps, self.mask)
        self.voxel_size = check_voxel_size(self.voxel_size)
        if self.maps.shape != self.kspace.shape:
            raise ValueError(f"maps: found shape {tuple(self.maps.shape)}, "
                             f"expected that of kspace, {tuple(self.kspace.shape)}")
        if self.noise is not None and not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise: found {self.noise!r}, expected a standard deviation of 0 or more")

    @property
    def acceleration(self):
        """Number of (kz, ky) positions over the number measured."""
        return self.mask.numel() / int(self.mask.sum())

    def readout_block(self, start, stop):
        """The part of the acquisition between two positions of the readout, an acquisition of its own.

        x is fully sampled, so its transform can be undone, and positions along x do not mix afterwards: the
        reconstruction of a block is that part of the whole one, as far as the data go (chapter 7).

        Examples
        --------
        >>> k = torch.zeros(2, 4, 6, 5, dtype=torch.complex64)
        >>> Acquisition(k, torch.ones_like(k), torch.ones(4, 6), (1, 1, 1)).readout_block(1, 3).kspace.shape
        torch.Size([2, 4, 6, 2])
        """
        from .fourier import fft3c, ifft3c

        size = self.kspace.shape[-1]
        if not 0 <= start < stop <= size:
            raise ValueError(f"start, stop: found {start}, {stop}, expected 0 <= start < stop <= {size}")
        kspace = fft3c(ifft3c(self.kspace, axes=(-1,))[..., start:stop], axes=(-1,))
        return Acquisition(kspace, self.maps[..., start:stop], self.mask, self.voxel_size, self.noise,
                           moved_affine(self.info, start))

    def to(self, device):
        """The same acquisition with its arrays on another device."""
        return Acquisition(self.kspace.to(device), self.maps.to(device), self.mask.to(device),
                           self.voxel_size, self.noise, self.info)


def moved_affine(info, start):
    """The info of a part that begins at position ``start`` along x.

    Examples
    --------
    >>> moved_affine({"affine": np.diag([2.0, 1, 1, 1])}, 5)["affine"][:3, 3]
    array([10.,  0.,  0.])
    """
    if info.get("affine") is None:
        return dict(info)
    affine = np.array(info["affine"], float)
    affine[:3, 3] += start * affine[:3, 0]
    return info | {"affine": affine}


def check_maps_and_mask(maps, mask):
    """Return maps as complex64 ``(coils, z, y, x)`` and the mask as bool ``(z, y)``, or raise ValueError.

    Examples
    --------
    A mask of every other line along y, the same for all z:

    >>> maps, mask = check_maps_and_mask(torch.ones(2, 3, 4, 5), [[1, 0, 1, 0]])
    >>> maps.dtype, mask.shape, mask[0]
    (torch.complex64, torch.Size([3, 4]), tensor([ True, False,  True, False]))
    >>> check_maps_and_mask(torch.ones(2, 3, 4, 5), torch.ones(3, 5))
    Traceback (most recent call last):
    ValueError: mask: found shape (3, 5), expected (3, 4), the (z, y) of maps (2, 3, 4, 5)
    """
    maps = check_array(maps, "maps", 4, "(coils, z, y, x)").to(torch.complex64)
    mask = check_array(mask, "mask", 2, "(z, y) over (kz, ky)").to(torch.float32)
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("mask: found values other than 0 and 1, expected True where measured")
    if any(m not in (1, n) for m, n in zip(mask.shape, maps.shape[1:3])):
        raise ValueError(f"mask: found shape {tuple(mask.shape)}, expected {tuple(maps.shape[1:3])}, "
                         f"the (z, y) of maps {tuple(maps.shape)}")
    mask = mask.expand(maps.shape[1:3])
    if not mask.any():
        raise ValueError("mask: found no measured position, expected at least one")
    return maps, mask.bool()


@dataclass
class Reconstruction:
    """What every reconstruction method returns.

    Attributes
    ----------
    image : Tensor
        complex64 ``(z, y, x)``.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    network_evaluations : int
        Slices pushed through the network.
    operator_applications : int
        Applications of the normal operator.
    seconds : float
        Wall-clock time.
    misfit : float
        ``|A x - y| / |y|`` over the measured samples.

    Examples
    --------
    >>> from mrilab.classical import zero_filled
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> result = zero_filled(simulate_acquisition(head_phantom((8, 8, 8)), acceleration=4)[0])
    >>> result.voxel_size, result.network_evaluations
    ((8.0, 8.0, 8.0), 0)
    """

    image: torch.Tensor
    voxel_size: tuple
    network_evaluations: int
    operator_applications: int
    seconds: float
    misfit: float


@contextlib.contextmanager
def atomic_path(path):
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as t:
    ...     _ = t.write_text("whole or not at all")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('whole or not at all', 1)
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)       # mkstemp's own mode shuts out other users
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _read(path, names):
    """Arrays of the named data sets, and the attributes, of an HDF5 file."""
    from . import _hdf5

    with _hdf5.opened(path) as file, _hdf5.named(path):
        found = [_hdf5.numbers(file, name) for name in names]
        if "voxel_size" not in file.attrs:
            raise ValueError(f"{path}: found attributes {sorted(file.attrs)}, expected 'voxel_size'")
        return [torch.from_numpy(np.asarray(data)) for data in found], dict(file.attrs)


def save_volume(path, volume):
    """Write a :class:`Volume` as HDF5: data set ``data``, attribute ``voxel_size``, the info beside it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> save_volume(path, Volume(torch.ones(4, 5, 6), (3, 2, 1), {"licence": "CC0"}))
    >>> load_volume(path).info["licence"]
    'CC0'
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("data", data=volume.data.numpy(force=True), compression="gzip", shuffle=True)
        file.attrs["voxel_size"] = volume.voxel_size
        for key, value in volume.info.items():
            file.attrs[key] = value


def load_volume(name_or_path, phase=None):
    """Read a :class:`Volume` from an HDF5 or NIfTI file, or a shipped one by its name.

    Integer data carry an attribute ``scale``; the values returned are ``data * scale``.

    Parameters
    ----------
    name_or_path : str or Path
        A name from :func:`mrilab.datasets.list_datasets`, a file written by :func:`save_volume`, or NIfTI
        (:func:`mrilab.nifti.load_nifti`).
    phase : str or Path, optional
        NIfTI file with the phase that belongs to a NIfTI magnitude.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not HDF5 or NIfTI, truncated, or without ``data`` or ``voxel_size``; a wrong checksum.

    Examples
    --------
    >>> load_volume("qtim_MRHead").voxel_size
    (1.0, 1.0, 1.3)
    """
    from .datasets import locate

    path = locate(name_or_path, "volume")
    if _is_nifti(path) or phase is not None:
        from .nifti import load_nifti

        return load_nifti(path, phase)
    (data,), info = _read(path, ["data"])
    voxel_size, scale = info.pop("voxel_size"), info.pop("scale", None)
    try:
        return Volume(data if scale is None else data * float(scale), voxel_size, info)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def volume_shape(name_or_path):
    """Matrix of a volume file or a shipped volume, read from its header alone.

    Examples
    --------
    >>> volume_shape("qtim_MRHead")
    (96, 240, 120)
    """
    from .datasets import locate

    path = locate(name_or_path, "volume")
    if _is_nifti(path):
        from .nifti import nifti_shape

        return nifti_shape(path)[0]
    from . import _hdf5

    with _hdf5.opened(path) as file:
        data = _hdf5.numbers(file, "data")
        if data.ndim != 3:
            raise ValueError(f"{path}: found 'data' of shape {data.shape}, expected axes (z, y, x)")
        return data.shape


def _is_nifti(path):
    """NIfTI is told by its name: its magic number lies deep in the file, and often compressed."""
    return str(path).endswith((".nii", ".nii.gz"))


def save_acquisition(path, acquisition):
    """Write an :class:`Acquisition` as HDF5: data sets ``kspace``, ``maps``, ``mask``, voxel size, noise.

    Examples
    --------
    >>> import tempfile
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=4)
    >>> path = Path(tempfile.mkdtemp()) / "scan.h5"
    >>> save_acquisition(path, acq)
    >>> torch.equal(load_acquisition(path).kspace, acq.kspace)
    True
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name in ("kspace", "maps", "mask"):
            file.create_dataset(name, data=getattr(acquisition, name).numpy(force=True))
        file.attrs["voxel_size"] = acquisition.voxel_size
        if acquisition.noise is not None:
            file.attrs["noise"] = acquisition.noise
        for key, value in acquisition.info.items():
            file.attrs[key] = value


def load_acquisition(path, readout=None):
    """Read an :class:`Acquisition` written by :func:`save_acquisition`.

    Raw scans of other formats become one by :func:`mrilab.preprocess.prepare`.

    Parameters
    ----------
    path : str or Path
    readout : tuple of int, optional
        First and last (not included) position along x to read: as :meth:`Acquisition.readout_block`, but one
        coil at a time, so that no more than that part need fit into memory.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not HDF5, truncated, or without one of its data sets; arrays that disagree.

    Examples
    --------
    >>> import pathlib, tempfile, torch
    >>> k = torch.ones(2, 4, 6, 5, dtype=torch.complex64)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scan.h5"
    >>> save_acquisition(path, Acquisition(k, k, torch.ones(4, 6), (1, 1, 2), noise=0.01))
    >>> load_acquisition(path).voxel_size
    (1.0, 1.0, 2.0)
    """
    if readout is not None:
        from . import _hdf5
        from .formats import open_scan

        kspace = open_scan(path).read(*readout)
        with _hdf5.opened(path) as file:
            maps = torch.from_numpy(_hdf5.numbers(file, "maps")[..., slice(*readout)])
        (mask,), info = _read(path, ["mask"])
        arrays, info = [kspace, maps, mask], moved_affine(info, readout[0])
    else:
        arrays, info = _read(path, ["kspace", "maps", "mask"])
    voxel_size, noise = info.pop("voxel_size"), info.pop("noise", None)
    try:
        return Acquisition(*arrays, voxel_size, None if noise is None else float(noise), info)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
