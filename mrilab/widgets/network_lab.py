"""A prior that denoises in the reader's browser, or in the kernel where there is one."""

import numpy as np
import torch

from ..priors import load_prior
from .base import Widget, check_images, check_spacing, draw_row, grey_range, sources, to_bytes


class NetworkLab(Widget):
    """Noise level and voxel size at will: the prior itself denoises the slice.

    On a page of the book the network runs in the browser (onnxruntime-web, WebAssembly), loaded when asked for; the
    book's build exports it. In Jupyter and Colab the kernel answers with :meth:`mrilab.diffusion.Prior.denoise`.

    Parameters
    ----------
    image : Tensor
        Slice ``(height, width)``, magnitude or complex (then its magnitude); 99th percentile about 1.
    voxel_size : tuple of float
        In-plane ``(height, width)`` in mm.
    prior : str
        Name of a shipped prior that is not told the voxel size.
    coarsest : float
        Largest voxel size, in mm, that the reader can ask for.

    Raises
    ------
    ValueError
        For an image that is not two-dimensional and finite, or a wrong voxel size.

    Examples
    --------
    >>> NetworkLab(torch.rand(32, 40), (1, 1))
    NetworkLab: a slice of 32 x 40 voxels of 1 x 1 mm, denoised on demand by the prior 'diverse'
    """

    _esm = sources("js", "core", "fourier", "network_lab")
    _css = sources("css", "core")

    def __init__(self, image, voxel_size, prior="diverse", coarsest=4.0):
        image = check_images({"image": image}, "image", 2, "(height, width)")["image"]
        spacing = check_spacing(voxel_size)
        self._image, self._prior = image, None
        low, high = grey_range([image])
        meta = {"shape": list(image.shape), "spacing": list(spacing), "low": low, "high": high, "prior": prior,
                "coarsest": max(float(coarsest), *spacing)}
        title = (f"a slice of {image.shape[0]} x {image.shape[1]} voxels of {spacing[0]:.3g} x {spacing[1]:.3g} mm, "
                 f"denoised on demand by the prior {prior!r}")
        super().__init__([to_bytes(image, low, high)], meta, title)
        self.on_msg(lambda widget, content, buffers: widget.answer(content, buffers))

    def answer(self, content, buffers):
        """Denoise what the page sent, ``{"sigma": ..., "shape": [height, width], "id": ...}`` with float32 values."""
        try:
            self._prior = self._prior or load_prior(self.meta["prior"])
            x = torch.frombuffer(bytearray(buffers[0]), dtype=torch.float32).reshape(1, 2, *content["shape"])
            y = self._prior.denoise(x, content["sigma"])
            self.send({"id": content["id"]}, [y.contiguous().numpy().tobytes()])
        except Exception as error:      # goes to the reader, who sees no kernel
            self.send({"id": content.get("id"), "error": str(error)})

    def still(self, figure):
        d, high = self.meta["spacing"], self.meta["high"]
        noise = np.random.default_rng(0).normal(size=(2, *self._image.shape))
        noisy = np.hypot(self._image + 0.15 * noise[0], 0.15 * noise[1])
        draw_row(figure, [(noisy, d, "with noise, sigma = 0.15", 0, high), (self._image, d, "without noise", 0, high)])
