"""Heads by reference: public scans and label maps that do not ship, turned upright and cut above the eyes.

``references.json`` says where each lies in public, what it is, which way its array runs and which box is used;
:func:`mrilab.datasets.fetch` gets the file. Nothing of these heads is stored here, cropped or not.
"""

from pathlib import Path
from typing import Any

import numpy as np

from . import hdf5
from .datasets import Dataset

TAPER = 6.0      # mm


def fade(shape: tuple[int, ...], voxel_size: tuple[float, ...]) -> np.ndarray:
    """A window over a box that rises from 0 to 1 over the outermost ``TAPER`` mm of each axis.

    A cut through the head would be a step in the image, which rings in k-space; so the box ends as an excited slab
    does.

    Examples
    --------
    >>> fade((3, 3, 9), (60, 60, 3)).round(2)[1, 1]
    array([0.15, 0.85, 1.  , 1.  , 1.  , 1.  , 1.  , 0.85, 0.15], dtype=float32)
    """
    window = np.ones(shape, np.float32)
    for axis, (n, d) in enumerate(zip(shape, voxel_size)):
        edge = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) * d
        rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(edge / TAPER, 0, 1))
        window *= rise.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    return window


def upright(data: np.ndarray, axes: str) -> np.ndarray:
    """An array whose axes run as ``axes`` says, as ``(z, y, x)`` with z up, y to the front and x to the right.

    Parameters
    ----------
    data : ndarray
        Of three axes.
    axes : str
        A sign and a letter for each axis of the array: ``"+x-z-y"`` runs to the right, down and to the back.

    Examples
    --------
    >>> upright(np.arange(6).reshape(1, 2, 3), "+x-z-y")[:, :, 0]
    array([[5, 4, 3],
           [2, 1, 0]])
    """
    signs, letters = axes[::2], axes[1::2]
    if len(axes) != 6 or sorted(letters) != ["x", "y", "z"] or not set(signs) <= {"+", "-"}:
        raise ValueError(f"axes: found {axes!r}, expected a sign and one of x, y, z for each axis, such as '+x-z-y'")
    data = np.flip(data, tuple(a for a, sign in enumerate(signs) if sign == "-"))
    return data.transpose([letters.index(letter) for letter in "zyx"])


def read_beside(entry: Dataset, path: str | Path) -> tuple[np.ndarray, tuple[float, ...], dict[str, Any]]:
    """An image that belongs to a recorded scan: float32 ``(z, y, x)``, voxel size in mm and what is known of it.

    Parameters
    ----------
    entry : Dataset
        Of kind ``"image"``; of several echoes the first is taken.
    path : str or Path
        NIfTI, or MATLAB's format with the array ``image``.

    Raises
    ------
    ValueError
        If the file has another matrix than the entry says.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import savemat
    >>> path = Path(tempfile.mkdtemp()) / "slices.mat"
    >>> savemat(path, {"image": np.arange(24.0).reshape(2, 3, 4)})
    >>> entry = Dataset("slices", "image", "slices.mat", axes="-y-x+z", shape=(4, 2, 3), voxel_size=(10, 1, 1))
    >>> read_beside(entry, path)[0][0]
    array([[20., 16., 12.],
           [ 8.,  4.,  0.]], dtype=float32)
    """
    import nibabel
    import scipy.io

    with hdf5.named(path):
        if str(path).endswith(".mat"):
            data = scipy.io.loadmat(path, variable_names=["image"])["image"]
        else:
            image: Any = nibabel.load(path)
            data = np.asarray(image.dataobj)
        data = upright(data[..., 0] if data.ndim == 4 else data, entry.axes).astype(np.float32)
        if data.shape != tuple(entry.shape):
            raise ValueError(f"found shape {data.shape}, expected {tuple(entry.shape)}")
    return np.ascontiguousarray(data), tuple(float(d) for d in entry.voxel_size), _about(entry)


def _about(entry: Dataset) -> dict[str, Any]:
    info = dict(split=entry.split, person=entry.person, licence=entry.licence, source=entry.source)
    return info | ({"note": entry.note} if entry.note else {})


def read_reference(entry: Dataset, path: str | Path) -> tuple[np.ndarray, tuple[float, ...], dict[str, Any]]:
    """The box of a head by reference: values ``(z, y, x)``, voxel size in mm and what is known of it.

    Magnitudes are float32 and fade at the box's faces, as the shipped heads do; labels are int32 and do not.

    Parameters
    ----------
    entry : Dataset
        Of kind ``"reference"`` or ``"labels"``.
    path : str or Path
        Its NIfTI file.

    Raises
    ------
    ValueError
        If the file has another matrix or voxel size than the entry says.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrilab.nifti import write_nifti
    >>> path = Path(tempfile.mkdtemp()) / "head.nii"
    >>> write_nifti(path, torch.ones(30, 30, 30), (2, 2, 2))
    >>> entry = Dataset("head", "reference", "head.nii", box=((10, 30), (0, 30), (0, 30)), shape=(30, 30, 30),
    ...                 voxel_size=(2, 2, 2))
    >>> data, voxel_size, info = read_reference(entry, path)
    >>> data.shape, voxel_size, float(data[10, 15, 15])
    ((20, 30, 30), (2.0, 2.0, 2.0), 1.0)
    """
    import nibabel

    with hdf5.named(path):
        image: Any = nibabel.load(path)
        if not entry.axes:
            image = nibabel.as_closest_canonical(image)
        data = np.asarray(image.dataobj, np.float32)
        zooms = tuple(float(d) for d in image.header.get_zooms())
    axes = entry.axes or "+x+y+z"
    data = upright(data, axes)
    voxel_size = tuple(round(zooms[axes[1::2].index(letter)], 4) for letter in "zyx")
    if entry.gap:                        # a slice that the series lacks: the mean of its neighbours
        data = np.insert(data, entry.gap, data[..., entry.gap - 1:entry.gap + 1].mean(axis=-1), axis=-1)
    box = tuple(slice(*ends) for ends in entry.box)
    if any(part.stop > n for part, n in zip(box, data.shape)) or not np.allclose(voxel_size, entry.voxel_size):
        raise ValueError(f"{path}: found shape {data.shape} and voxel size {voxel_size}, expected at least "
                         f"{[part.stop for part in box]} and {list(entry.voxel_size)}")
    data = np.ascontiguousarray(data[box])
    if entry.kind == "labels":
        return data.astype(np.int32), voxel_size, _about(entry)
    return np.maximum(data, 0) * fade(data.shape, voxel_size), voxel_size, _about(entry)
