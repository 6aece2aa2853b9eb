"""Volumes, acquisitions and reconstructions: what they hold, and their files.

Axes are ``(z, y, x)`` with x the readout; a voxel size is ``(dz, dy, dx)`` in mm. What a file holds on disk is in
:mod:`mrilab.files` and :mod:`mrilab.nifti`.
"""

import copy
import importlib
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import files
from .checks import check_array, check_info, check_maps_and_mask, check_voxel_size
from .coils import estimate_maps, noise_level
from .datasets import entry_of, locate
from .evidence import check_sampling
from .fourier import crop_readout, resample
from .processes import check_device
from .references import read_beside, read_reference


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
        Free text about the volume: source, licence, split; and ``affine``, 4 x 4 from voxel ``(x, y, z)`` to mm, where
        a file had it.

    Raises
    ------
    ValueError
        If the data are not three-dimensional and finite, the voxel size is not three lengths that can be mm of a
        body, or an affine has other lengths.

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
    voxel_size: tuple[float, ...]
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = check_array(self.data, "data", 3, "(z, y, x)")
        self.voxel_size = check_voxel_size(self.voxel_size)
        self.info = check_info(self.info, self.voxel_size)

    @property
    def field_of_view(self) -> tuple[float, ...]:
        """Extent of each axis in mm."""
        return tuple(n * d for n, d in zip(self.data.shape, self.voxel_size))

    def resample(self, new_voxel_size: Any) -> "Volume":
        """The volume at another voxel size (:func:`mrilab.fourier.resample`); real data stay real.

        The field of view is kept and the matrix is a whole number, so the voxel size of the result is
        field of view over matrix: the asked one, or the nearest possible. The centre of the field of view, index
        ``n // 2``, stays where it was, and an affine in ``info`` says so.
        """
        data = resample(self.data, self.voxel_size, new_voxel_size)
        if not self.data.is_complex():
            data = data.real
        size = tuple(f / n for f, n in zip(self.field_of_view, data.shape))
        info = dict(self.info)
        if "affine" in info:
            affine, (old, new) = info["affine"].copy(), ([n // 2 for n in x.shape[::-1]] for x in (self.data, data))
            affine[:3, :3] *= [b / a for a, b in zip(self.voxel_size[::-1], size[::-1])]
            affine[:3, 3] += info["affine"][:3, :3] @ old - affine[:3, :3] @ new
            info["affine"] = affine
        return Volume(data, size, info)


@dataclass
class Acquisition:
    """Undersampled multi-coil k-space and what is needed to reconstruct it.

    Attributes
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``, centred; zero where not measured.
    maps : Tensor
        complex64 ``(coils, z, y, x)`` coil sensitivities. None has them estimated from the centre of k-space
        (:func:`mrilab.coils.estimate_maps`), with a warning; that takes minutes for a large matrix.
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
        If shapes disagree, the mask is empty or not over (z, y), or a value is NaN or infinite; if the data
        contradict the mask or k = 0 in the middle (:func:`mrilab.evidence.check_sampling`), which also says in a
        warning what it put right.

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
    voxel_size: tuple[float, ...]
    noise: float | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kspace = check_array(self.kspace, "kspace", 4, "(coils, z, y, x)").to(torch.complex64)
        _, self.mask = check_maps_and_mask(self.kspace, self.mask)
        self.kspace, self.mask, notes = check_sampling(self.kspace, self.mask)
        for note in notes:
            warnings.warn(note, stacklevel=3)
        if self.maps is None:
            self.maps, how = estimate_maps(self.kspace, self.mask)
            self.info = self.info | {"maps": how}
            warnings.warn(f"acquisition without maps: estimated, {how}", stacklevel=3)
        self.maps = check_array(self.maps, "maps", 4, "(coils, z, y, x)").to(torch.complex64)
        self.voxel_size = check_voxel_size(self.voxel_size)
        if self.maps.shape != self.kspace.shape:
            raise ValueError(f"maps: found shape {tuple(self.maps.shape)}, "
                             f"expected that of kspace, {tuple(self.kspace.shape)}")
        self.info = check_info(self.info, self.voxel_size)
        if self.noise is not None:
            self.noise = _standard_deviation(self.noise)

    @property
    def acceleration(self) -> float:
        """Number of (kz, ky) positions over the number measured."""
        return self.mask.numel() / int(self.mask.sum())

    def noise_level(self) -> float:
        """The noise as it is given, or else as the data tell it (:func:`mrilab.coils.noise_level`)."""
        return noise_level(self.kspace, self.mask) if self.noise is None else self.noise

    def noise_misfit(self) -> float:
        """What ``|A x - y| / |y|`` is for an image without error: the noise alone. NaN for k-space of zeros."""
        samples = int(self.mask.sum()) * len(self.maps) * self.kspace.shape[-1]
        energy = self.kspace.norm().item()
        return self.noise_level() * (2 * samples) ** 0.5 / energy if energy else math.nan

    def readout_block(self, start: int, stop: int) -> "Acquisition":
        """The part of the acquisition between two positions of the readout, an acquisition of its own.

        x is fully sampled, so its transform can be undone, and positions along x do not mix afterwards: the
        reconstruction of a block is that part of the whole one, as far as the data go (chapter 7).

        Examples
        --------
        >>> k = torch.zeros(2, 4, 6, 5, dtype=torch.complex64)
        >>> Acquisition(k, torch.ones_like(k), torch.ones(4, 6), (1, 1, 1)).readout_block(1, 3).kspace.shape
        torch.Size([2, 4, 6, 2])
        """
        return Acquisition(crop_readout(self.kspace, start, stop), self.maps[..., start:stop], self.mask,
                           self.voxel_size, self.noise, moved_affine(self.info, start))

    def to(self, device: str | torch.device) -> "Acquisition":
        """The same acquisition with its arrays on another device, which this machine must have."""
        check_device(device)
        moved = copy.copy(self)         # what was checked when it was made is not checked again
        moved.kspace, moved.maps, moved.mask = (x.to(device) for x in (self.kspace, self.maps, self.mask))
        moved.info = dict(self.info)
        return moved


def _standard_deviation(noise: Any) -> float:
    """One number of 0 or more, from any kind of scalar."""
    values = np.ravel(noise)
    if values.size > 1:
        raise ValueError(f"noise: found {values.size} values, expected one standard deviation; where coils differ, "
                         "divide the k-space and the maps of each by its own, and give 1")
    if not (values.size and values.dtype.kind in "biuf" and 0 <= values[0] < float("inf")):
        raise ValueError(f"noise: found {noise!r}, expected a standard deviation of 0 or more")
    return float(values[0])


def moved_affine(info: dict[str, Any], start: int) -> dict[str, Any]:
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
    voxel_size: tuple[float, ...]
    network_evaluations: int
    operator_applications: int
    seconds: float
    misfit: float


def load_volume(name_or_path: str | Path, phase: str | Path | None = None) -> Volume:
    """Read a :class:`Volume` from an HDF5 or NIfTI file, or a shipped one or a head by reference by its name.

    Integer data carry an attribute ``scale``; the values returned are ``data * scale``. An image with an affine is
    turned so that z points up, y to the front and x to the right, whatever the format.

    Parameters
    ----------
    name_or_path : str or Path
        A name from :func:`mrilab.datasets.list_datasets`, or a file written by :func:`save_volume`.
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
    path, entry = locate(name_or_path, "volume"), entry_of(name_or_path)
    if entry is not None and (entry.box or entry.kind == "image"):
        data, voxel_size, info = (read_reference if entry.box else read_beside)(entry, path)
        return Volume(torch.from_numpy(data), voxel_size, info)
    with files.named(path):
        return Volume(*files.read_image(path, phase))


def examine(volume: Volume) -> list[str]:
    """What looks wrong with an image, in words; of a raw scan :func:`mrilab.raw.examine` says it.

    Examples
    --------
    >>> examine(load_volume("qtim_MRHead"))
    []
    """
    data, extent = volume.data, max(volume.field_of_view)
    low, high = (x.item() for x in data.abs().aminmax())
    found = [volume.info["note"]] if volume.info.get("note") else []
    if not 30 <= extent <= 700:
        found.append(f"the longest side of the field of view is {extent:.3g} mm, {'less' if extent < 30 else 'more'} "
                     "than a part of a body: are the voxels in mm?")
    if low == high:
        found.append(f"all values have the magnitude {low:g}")
    elif not data.is_complex() and data.min() < -0.1 * high:
        found.append(f"values down to {data.min():.3g} where the largest is {high:.3g}: no magnitude has those")
    if low < high and (data.abs() == high).float().mean() > 0.02:
        found.append(f"more than 2 % of the voxels have the largest value, {high:g}: clipped?")
    return found


def volume_header(name_or_path: str | Path) -> tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]]:
    """Matrix, voxel size and info of a volume file or a shipped volume, from its header alone.

    Examples
    --------
    >>> shape, voxel_size, info = volume_header("qtim_MRHead")
    >>> shape, voxel_size, info["person"]
    ((96, 240, 120), (1.0, 1.0, 1.3), 'MRHead')
    """
    entry = entry_of(name_or_path)
    if entry is not None and (entry.box or entry.kind == "image"):
        info = dict(person=entry.person, licence=entry.licence, split=entry.split, kind=entry.kind)
        return tuple(entry.shape), tuple(entry.voxel_size), info
    return files.image_header(locate(name_or_path, "volume"))


def save_volume(path: str | Path, volume: Volume) -> None:
    """Write a :class:`Volume` by the ending of the name: HDF5 (``.h5``) or NIfTI (``.nii``, ``.nii.gz``).

    HDF5 has the data set ``data``, the attribute ``voxel_size``, the info beside it. NIfTI keeps the place,
    ``info["affine"]``, and of a complex volume magnitude and phase in two files (:mod:`mrilab.nifti`).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> save_volume(path, Volume(torch.ones(4, 5, 6), (3, 2, 1), {"licence": "CC0"}))
    >>> load_volume(path).info["licence"]
    'CC0'
    """
    files.write_image(path, volume.data, volume.voxel_size, volume.info)


def save_acquisition(path: str | Path, acquisition: Acquisition) -> None:
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
    arrays = {name: getattr(acquisition, name) for name in ("kspace", "maps", "mask")}
    noise = {} if acquisition.noise is None else {"noise": acquisition.noise}
    files.write_hdf5(path, arrays, {**acquisition.info, "voxel_size": acquisition.voxel_size, **noise})


def load_acquisition(name_or_path: str | Path, readout: tuple[int, int] | None = None) -> Acquisition:
    """Read an :class:`Acquisition` written by :func:`save_acquisition`, or a recorded scan by its name.

    Raw scans of other formats become one by :func:`mrilab.raw.prepare`; so does a recorded scan.

    Parameters
    ----------
    name_or_path : str or Path
        A name from ``list_datasets("scan")``, or a file.
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
    >>> load_acquisition("phantom_siemens").kspace.shape
    torch.Size([2, 1, 160, 160])
    """
    entry = entry_of(name_or_path)
    if entry is not None and entry.reader:
        module, _, function = entry.reader.rpartition(".")
        prepare = getattr(importlib.import_module(f"{__package__}.{module}"), function)
        return prepare(entry.name, readout=readout)
    path = name_or_path
    (kspace, maps, mask), info = files.read_acquisition(path, readout)
    voxel_size, noise = info.pop("voxel_size"), info.pop("noise", None)
    if readout is not None:
        info = moved_affine(info, readout[0])
    with files.named(path):
        return Acquisition(kspace, maps, mask, voxel_size, noise, info)
