"""Volumes side by side in three linked planes."""

import numpy as np

from ..checks import PLANES, check_choice, check_voxel_size, in_plane
from ..volumes import Volume
from .base import Widget, check_images, draw_row, grey_range, sources, to_bytes


class VolumeViewer(Widget):
    """Three linked planes of one volume, or one plane of several side by side, with error maps; or seen from outside.

    Parameters
    ----------
    volumes : dict of str to Tensor or Volume
        Named volumes ``(z, y, x)`` of one shape; complex ones give their magnitude.
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm; of no need where each volume is a ``Volume`` and brings its own. Pictures are drawn in
        mm, so anisotropic voxels get their true shape.
    truth : str, optional
        The volume that the others' error maps are taken against.
    error_gain : float
        Errors are shown this many times brighter.
    at : tuple of int, optional
        Voxel (z, y, x) at which the crosshair stands at first, counted from 0; the middle by default.
    plane : str, optional
        ``"axial"``, ``"coronal"`` or ``"sagittal"``: that of all volumes side by side comes first; by default the three
        planes of one.
    surface : bool
        Below the planes, draw the volume from outside, to be turned, with the corner above the crosshair cut away.
        What is darker than a twentieth of white is taken for air: a background of noise must be set to zero before.

    Raises
    ------
    ValueError
        For no volume, volumes of different shapes or voxel sizes, NaN, a voxel size that is not three positive
        numbers, a truth that is not among them, a voxel outside of them, or an unknown plane.

    Examples
    --------
    >>> import torch
    >>> VolumeViewer({"a": torch.rand(4, 6, 8)}, (3, 1, 1))
    VolumeViewer: a, 4 x 6 x 8 voxels of 3 x 1 x 1 mm, in three planes
    """

    _esm = sources("js", "core", "volume_viewer")
    _css = sources("css", "core", "volume_viewer")

    def __init__(self, volumes, voxel_size=None, truth=None, error_gain=5, at=None, plane=None, surface=False):
        volumes, voxel_size = _one_voxel_size(volumes, voxel_size)
        volumes = check_images(volumes, "volumes", 3, "(z, y, x)")
        if truth is not None:
            check_choice(truth, "truth", volumes)
        if plane is not None:
            check_choice(plane, "plane", PLANES)
        self._volumes = volumes
        low, high = grey_range(list(volumes.values()))
        shape = next(iter(volumes.values())).shape
        at = [n // 2 for n in shape] if at is None else list(at)
        if len(at) != 3 or not all(isinstance(i, int) and 0 <= i < n for i, n in zip(at, shape)):
            raise ValueError(f"at: found {at}, expected a voxel (z, y, x) of a volume of {' x '.join(map(str, shape))}")
        meta = {"names": list(volumes), "shape": list(shape), "voxel_size": list(voxel_size), "low": low, "high": high,
                "truth": truth, "gain": error_gain, "at": at, "view": plane or "planes", "surface": surface}
        title = (f"{', '.join(volumes)}, {' x '.join(map(str, shape))} voxels of "
                 f"{' x '.join(f'{d:.3g}' for d in voxel_size)} mm, in three planes")
        super().__init__([to_bytes(v, low, high) for v in volumes.values()], meta, title)

    def still(self, figure):
        name, volume = next(iter(self._volumes.items()))
        size = self.meta["voxel_size"]
        panels = []
        for plane, axis in PLANES.items():
            image = np.take(volume, self.meta["at"][axis], axis)
            panels.append((image, in_plane(size, axis), f"{name}, {plane}", 0, self.meta["high"]))
        draw_row(figure, panels)


def _one_voxel_size(volumes, voxel_size):
    """The data of the volumes, and the voxel size that they and the argument agree on, or ValueError."""
    own = {} if voxel_size is None else {"voxel_size": check_voxel_size(voxel_size)}
    if isinstance(volumes, dict):
        own |= {name: volume.voxel_size for name, volume in volumes.items() if isinstance(volume, Volume)}
        volumes = {name: volume.data if isinstance(volume, Volume) else volume for name, volume in volumes.items()}
    if volumes and not own:
        raise ValueError("voxel_size: found None, expected (dz, dy, dx) in mm, or Volumes that bring their own")
    if len(set(own.values())) > 1:
        raise ValueError(f"volumes: found voxel sizes {own}, expected one")
    return volumes, next(iter(own.values()), None)
