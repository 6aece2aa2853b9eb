"""Choose what of k-space is measured and see the image at once."""

import numpy as np
import torch
import traitlets

from .. import masks
from .base import Widget, check_images, check_spacing, draw_row, grey_range, sources, to_bytes

RATES = (2, 4, 8, 12, 16)
FIRST = 1                   # what a lab starts with: the first pattern at the second rate
PATTERNS = {"Poisson disc": masks.poisson_disc_mask, "random": masks.random_mask,
            "regular": masks.equispaced_mask}


class KSpaceLab(Widget):
    """Draw or pick a sampling mask, crop k-space to another voxel size, add noise, and see the image at once.

    The Fourier transform runs in the page, the masks are those of :mod:`mrilab.masks`. There is one coil, so what
    is not measured is seen as aliasing. A picture of the reader's own can be dropped on the figure in place of the
    slice; it stays in the page.

    Parameters
    ----------
    image : Tensor
        Slice ``(height, width)``; a complex one gives its magnitude. Sides from 24 to 512 voxels.
    voxel_size : tuple of float
        ``(height, width)`` in mm.
    axes : tuple of str
        Names of the two k-space axes.
    goal : int, optional
        One of the accelerations on offer. The reader is asked to draw a mask of at most so few samples: first to a
        PSNR somewhat below the best ready pattern's, then above it. The page keeps the best score.

    Attributes
    ----------
    mask : Tensor
        bool ``(height, width)`` over k-space: the mask on the screen, in Jupyter and Colab also one drawn by hand.

    Raises
    ------
    ValueError
        For an image that is not two-dimensional, not finite or of another size, a wrong voxel size, or a goal that is
        not on offer.

    Examples
    --------
    >>> lab = KSpaceLab(torch.rand(32, 40), (1, 1))
    >>> lab
    KSpaceLab: k-space of a slice of 32 x 40 voxels of 1 x 1 mm: choose what is measured
    >>> lab.mask.shape, lab.mask.sum().item()       # it starts with a Poisson disc at R = 4
    (torch.Size([32, 40]), 320)
    """

    _esm = sources("js", "core", "fourier", "kspace_lab")
    _css = sources("css", "core")
    drawn = traitlets.Bytes().tag(sync=True, from_json=lambda value, _: bytes(value))     # comes as a memoryview

    def __init__(self, image, voxel_size, axes=("kz", "ky"), goal=None):
        image = check_images({"image": image}, "image", 2, "(height, width)")["image"]
        if min(image.shape) < 24 or max(image.shape) > 512:
            raise ValueError(f"image: found shape {image.shape}, expected sides from 24 to 512 voxels")
        spacing = check_spacing(voxel_size)
        if goal not in (None, *RATES):
            raise ValueError(f"goal: found {goal!r}, expected one of {', '.join(map(str, RATES))}")
        self._image = image
        low, high = grey_range([image])
        masks = [np.packbits(draw(image.shape, rate).numpy()) for draw in PATTERNS.values() for rate in RATES]
        meta = {"shape": list(image.shape), "spacing": list(spacing), "axes": list(axes), "low": low, "high": high,
                "patterns": list(PATTERNS), "rates": list(RATES), "goal": goal}
        title = (f"k-space of a slice of {image.shape[0]} x {image.shape[1]} voxels of {spacing[0]:.3g} x "
                 f"{spacing[1]:.3g} mm: choose what is measured")
        super().__init__([to_bytes(image, low, high), *masks], meta, title)
        self.drawn = masks[FIRST].tobytes()

    @property
    def mask(self):
        height, width = self.meta["shape"]
        bits = np.unpackbits(np.frombuffer(self.drawn, np.uint8), count=height * width)
        return torch.from_numpy(bits.reshape(height, width).astype(bool))

    def still(self, figure):
        mask, d = self.mask.numpy(), self.meta["spacing"]
        kspace = mask * np.fft.fftshift(np.fft.fft2(self._image, norm="ortho"))
        image = np.abs(np.fft.ifft2(np.fft.ifftshift(kspace), norm="ortho"))
        draw_row(figure, [(np.log10(np.abs(kspace) + 1e-6), d, "what is measured of k-space (logarithm)", -2, 2.5),
                          (image, d, "the image it gives", 0, self.meta["high"])])
