"""One slice at many voxel sizes: in millimetres, as a network sees it, and its spectrum."""

import numpy as np

from ..plotting import take_slice
from ..volumes import Volume
from .base import Widget, draw_row, grey_range, sources, to_bytes

SIZES = tuple(np.linspace(1, 4, 13).tolist())         # mm
SIDE = 64           # pixels of a patch, as in training
RINGS = 20          # of the spectrum, up to half a cycle per pixel


class VoxelSizeLab(Widget):
    """A slider for the voxel size moves three pictures: the slice, a patch of 64 x 64 pixels, and the power spectrum.

    The slices are resampled beforehand (:meth:`mrilab.volumes.Volume.resample`), the spectrum is computed in the page:
    a Hann window, the orthonormal Fourier transform, the mean power in rings of spatial frequency. The spectrum of the
    first voxel size, the training size, stays beside it.

    Parameters
    ----------
    volume : Volume
        Complex ones give their magnitude; bright tissue about 1.
    voxel_sizes : sequence of float
        In mm, the finest first. An axis is never resampled finer than it was measured.
    plane : str
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    index : float
        Where the slice is, as a fraction of the axis across it.

    Raises
    ------
    ValueError
        For something else than a volume, or voxel sizes that do not rise from a positive one.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> VoxelSizeLab(head_phantom((4, 4, 4)), voxel_sizes=(4, 8))
    VoxelSizeLab: axial slice, patch of 64 x 64 pixels and spectrum at 2 voxel sizes from 4 to 8 mm
    """

    _esm = sources("js", "core", "fourier", "voxel_size_lab")
    _css = sources("css", "core", "voxel_size_lab")

    def __init__(self, volume, voxel_sizes=SIZES, plane="axial", index=0.5):
        if not isinstance(volume, Volume):
            raise ValueError(f"volume: found {type(volume).__name__}, expected a Volume(data, voxel_size)")
        sizes = [float(d) for d in voxel_sizes]
        if not sizes or sizes[0] <= 0 or sizes != sorted(set(sizes)):
            raise ValueError(f"voxel_sizes: found {voxel_sizes!r:.60}, expected positive numbers, the finest first")
        slices, entries = [], []
        for d in sizes:
            resampled = volume.resample([max(d, own) for own in volume.voxel_size])
            image, extent = take_slice(resampled.data, resampled.voxel_size, plane, float(index))
            height, width = image.shape
            slices.append(image.numpy())
            entries.append({"shape": [height, width], "spacing": [extent[3] / height, extent[1] / width],
                            "label": f"{d:.3g} mm"})
        self._slices = slices
        low, high = grey_range(slices[:1])
        meta = {"sizes": entries, "low": low, "high": high, "side": SIDE, "rings": RINGS, "plane": plane}
        title = (f"{plane} slice, patch of {SIDE} x {SIDE} pixels and spectrum at {len(sizes)} voxel sizes "
                 f"from {sizes[0]:.3g} to {sizes[-1]:.3g} mm")
        super().__init__([to_bytes(image, low, high) for image in slices], meta, title)

    def still(self, figure):
        first, last = self.meta["sizes"][0], self.meta["sizes"][-1]
        draw_row(figure, [(image, d, title, 0, self.meta["high"]) for image, d, title in (
            (self._slices[0], first["spacing"], f"the slice at {first['label']}"),
            (centre_patch(self._slices[0]), (1, 1), f"a patch of it, {SIDE} x {SIDE} pixels"),
            (centre_patch(self._slices[-1]), (1, 1), f"a patch at {last['label']}"))])


def centre_patch(image, side=SIDE):
    """The middle ``side`` x ``side`` of a slice, framed by zeros where the slice is smaller.

    Examples
    --------
    >>> centre_patch(np.ones((1, 5)), 3)
    array([[0., 0., 0.],
           [1., 1., 1.],
           [0., 0., 0.]])
    """
    out = np.zeros((side, side), image.dtype)
    size = [min(side, n) for n in image.shape]
    here, there = (tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, size))
                   for shape in (out.shape, image.shape))
    out[here] = image[there]
    return out
