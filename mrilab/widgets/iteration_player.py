"""A reconstruction over its iterations, several methods in step."""

import math

import torch

from ..metrics import psnr
from .base import Widget, check_images, check_spacing, draw_row, grey_range, sources, to_bytes


class IterationPlayer(Widget):
    """Images over the iterations, with the curve of their PSNR and a marker that moves along.

    Parameters
    ----------
    methods : dict of str to list of Tensor
        For each method its images ``(height, width)`` after each iteration, as many for each method. Complex ones
        give their magnitude. A solver's ``callback`` collects them.
    voxel_size : tuple of float
        In-plane ``(height, width)`` in mm.
    truth : Tensor, optional
        ``(height, width)``; shown beside, and the reference of the error maps.
    quality : dict of str to list of float, optional
        PSNR in dB for each image; that of the slice against ``truth`` if not given.

    Raises
    ------
    ValueError
        For no method, numbers of images that differ, images of different shapes or with NaN, neither ``truth`` nor
        ``quality``, or a PSNR that is not finite.

    Examples
    --------
    >>> truth = torch.rand(6, 8)
    >>> IterationPlayer({"a": [0 * truth, truth / 2, 0.9 * truth]}, (1, 1), truth)
    IterationPlayer: a over 3 iterations, with the PSNR of each
    """

    _esm = sources("js", "core", "iteration_player")
    _css = sources("css", "core")

    def __init__(self, methods, voxel_size, truth=None, quality=None):
        if not isinstance(methods, dict) or not methods:
            raise ValueError(f"methods: found {methods!r:.60}, expected a dict of at least one named list of images")
        spacing = check_spacing(voxel_size)
        counts = {name: len(images) for name, images in methods.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise ValueError(f"methods: found {counts} images, expected the same number, at least one")
        named = {f"{name}, iteration {i + 1}": image
                 for name, images in methods.items() for i, image in enumerate(images)}
        if truth is not None:
            named["truth"] = truth
        images = check_images(named, "methods", 2, "(height, width)")
        if quality is None:
            if truth is None:
                raise ValueError("truth: found None, expected an image, or the PSNR of each image as quality")
            clean = torch.from_numpy(images["truth"])
            quality = {name: [psnr(torch.from_numpy(images[f"{name}, iteration {i + 1}"])[None], clean[None])
                              for i in range(n)] for name, n in counts.items()}
        if {name: len(values) for name, values in quality.items()} != counts:
            raise ValueError(f"quality: found {({k: len(v) for k, v in quality.items()})} numbers, expected {counts}")
        for name, values in quality.items():
            if not all(math.isfinite(value) for value in values):
                raise ValueError(f"quality[{name!r}]: found {list(values)}, expected finite numbers in dB")
        self._images = images
        low, high = grey_range(list(images.values())[-1:])
        steps = next(iter(counts.values()))
        meta = {"names": list(methods), "steps": steps, "shape": list(images[next(iter(images))].shape),
                "spacing": list(spacing), "low": low, "high": high, "truth": truth is not None,
                "quality": {name: [float(v) for v in values] for name, values in quality.items()}}
        title = f"{', '.join(methods)} over {steps} iterations, with the PSNR of each"
        super().__init__([to_bytes(image, low, high) for image in images.values()], meta, title)

    def still(self, figure):
        steps, d, high = self.meta["steps"], self.meta["spacing"], self.meta["high"]
        panels = [(self._images[f"{name}, iteration {steps}"], d, f"{name}, {values[-1]:.1f} dB", 0, high)
                  for name, values in self.meta["quality"].items()]
        if "truth" in self._images:
            panels.append((self._images["truth"], d, "truth", 0, high))
        draw_row(figure, panels)
