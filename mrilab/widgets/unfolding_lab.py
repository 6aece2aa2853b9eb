"""Unfold two aliased voxels with two coils, one of which can be moved."""

import math

import numpy as np
import torch

from ..coils import GAP, loop_field
from ..metrics import head_mask
from .base import Widget, check_images, check_spacing, draw_row, sources


class UnfoldingLab(Widget):
    """SENSE by hand: a slice folded at R = 2 as two coils see it, the two equations of any pixel, and their solution.

    The fold is along the first axis, so on each pixel lie two voxels half a field of view apart. Coil A stays at the
    upper end of that axis, the reader moves coil B around the head. Sensitivities, folded pixels, solutions and
    g-factors are computed in the page.

    Parameters
    ----------
    image : Tensor
        Complex slice ``(height, width)``, bright tissue about 1; an even height.
    voxel_size : tuple of float
        In-plane ``(height, width)`` in mm.
    sigma : float
        Standard deviation of the noise of a folded pixel, for the real and the imaginary part each.
    radius : float
        Of the coils, two loops on a helmet 30 mm outside of the field of view, in mm.

    Raises
    ------
    ValueError
        For an image that is not two-dimensional and finite, of odd height, without a head in it, or a wrong voxel size.

    Examples
    --------
    >>> image = torch.zeros(40, 32, dtype=torch.complex64)
    >>> image[4:36, 6:26] = 1
    >>> UnfoldingLab(image, (4, 4))
    UnfoldingLab: a slice of 40 x 32 voxels of 4 x 4 mm, folded at R = 2, to unfold with two coils
    """

    _esm = sources("js", "core", "unfolding_lab")
    _css = sources("css", "core", "unfolding_lab")

    def __init__(self, image, voxel_size, sigma=0.03, radius=40.0):
        magnitude = check_images({"image": image}, "image", 2, "(height, width)")["image"]
        height, width = magnitude.shape
        if height % 2:
            raise ValueError(f"image: found shape {magnitude.shape}, expected an even height, which folds in two")
        spacing = check_spacing(voxel_size)
        inside = head_mask(torch.from_numpy(magnitude)).numpy()
        self._image = inside * np.asarray(torch.as_tensor(image).detach().cpu().to(torch.complex64))
        self._inside, high = inside, 1.05 * float(magnitude.max())
        parts = [np.rint(part * (127 / high)).astype(np.int8) for part in (self._image.real, self._image.imag)]
        helmet = [n * d / 2 + GAP for n, d in zip(magnitude.shape, spacing)]
        meta = {"shape": [height, width], "spacing": list(spacing), "high": high, "sigma": float(sigma),
                "helmet": helmet, "radius": float(radius)}
        title = (f"a slice of {height} x {width} voxels of {spacing[0]:.3g} x {spacing[1]:.3g} mm, folded at R = 2, "
                 "to unfold with two coils")
        super().__init__([*parts, inside.astype(np.uint8)], meta, title)

    def maps(self, degrees=180.0):
        """Sensitivities of coil A and of coil B, so many degrees around the head from it: ``(2, height, width)``."""
        (height, width), helmet = self.meta["shape"], torch.tensor([1.0, *self.meta["helmet"]], dtype=torch.float64)
        axes = [(torch.arange(n, dtype=torch.float64) - n // 2) * d
                for n, d in zip((1, height, width), (1.0, *self.meta["spacing"]))]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[0]
        maps = []
        for angle in (math.radians(90), math.radians(90 + degrees)):
            towards = torch.tensor([0, math.sin(angle), math.cos(angle)], dtype=torch.float64)
            normal = torch.nn.functional.normalize(towards / helmet, dim=0)
            field = loop_field(points, towards * helmet, normal, self.meta["radius"])
            maps.append(torch.complex(field[..., 2], -field[..., 1]))
        maps = torch.stack(maps)
        return maps / torch.linalg.vector_norm(maps, dim=0) * torch.from_numpy(self._inside)

    def still(self, figure):
        d, high = self.meta["spacing"], self.meta["high"]
        seen = self.maps().numpy() * self._image
        half = seen.shape[1] // 2
        folded = np.abs(np.roll(seen[:, :half] + seen[:, half:], -(half // 2), axis=1))
        draw_row(figure, [(folded[0], d, "folded, as coil A sees it", 0, high),
                          (folded[1], d, "as coil B sees it", 0, high),
                          (np.abs(self._image), d, "unfolded", 0, high)])
