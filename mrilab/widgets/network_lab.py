"""A prior that denoises in the reader's browser, or in the kernel where there is one."""

import numpy as np
import torch

from ..fourier import fft3c, ifft3c, resize_centred
from ..priors import load_prior
from .base import Widget, check_images, check_spacing, draw_row, grey_range, sources, to_bytes

SIGMA = 0.15        # of the view that it opens with


def normals(count, seed):
    """The standard normal numbers that the page draws for the same seed (``normals`` in core.js).

    Examples
    --------
    >>> normals(2, 1).round(4)
    array([1.4043, 1.2158])
    """
    state = ((seed + 0x6D2B79F5 * np.arange(1, 2 * count + 1)) % 2**32).astype(np.uint32)
    bits = (state ^ state >> 15) * (state | 1)
    bits ^= bits + (bits ^ bits >> 7) * (bits | 61)
    uniform = (bits ^ bits >> 14) / 2**32
    return np.sqrt(-2 * np.log(1 - uniform[::2])) * np.cos(2 * np.pi * uniform[1::2])


def first_input(image, spacing):
    """What the page denoises first: the slice on square voxels of the coarser edge, clean and noisy, complex."""
    shape = [max(1, int(n * d / max(spacing) + 0.5)) for n, d in zip(image.shape, spacing)]
    gain = (shape[0] * shape[1] / image.size) ** 0.5
    kspace = fft3c(torch.from_numpy(image)[None], axes=(-2, -1))
    clean = gain * ifft3c(resize_centred(kspace, (1, *shape)), axes=(-2, -1))[0]
    noise = [torch.from_numpy(normals(clean.numel(), seed).reshape(shape)) for seed in (1, 2)]
    return clean, clean + SIGMA * torch.complex(*noise)


class NetworkLab(Widget):
    """Noise level and voxel size at will: the prior itself denoises the slice.

    It opens with one answer, which is stored. On a page of the book the network runs in the browser (onnxruntime-web,
    WebAssembly), loaded when asked for; the book's build exports it. In Jupyter and Colab the kernel answers with
    :meth:`mrilab.diffusion.Prior.denoise`.

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
        For an image that is not two-dimensional and finite, a wrong voxel size, or a prior that is told the voxel size.
    FileNotFoundError
        For a prior that is not there.

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
        low, high = grey_range([image])
        stored = to_bytes(image, low, high)
        self._prior = load_prior(prior)
        clean, noisy = first_input(low + stored * ((high - low) / 255), spacing)
        slices = torch.view_as_real(noisy).movedim(-1, 0)[None].float()
        denoised = torch.complex(*self._prior.denoise(slices, SIGMA)[0])
        self._first = {"with noise": noisy.abs(), "denoised": denoised.abs(), "without noise": clean.abs()}
        meta = {"shape": list(image.shape), "spacing": list(spacing), "low": low, "high": high, "prior": prior,
                "coarsest": max(float(coarsest), *spacing), "sigma": SIGMA}
        title = (f"a slice of {image.shape[0]} x {image.shape[1]} voxels of {spacing[0]:.3g} x {spacing[1]:.3g} mm, "
                 f"denoised on demand by the prior {prior!r}")
        super().__init__([stored, to_bytes(denoised.abs(), low, high)], meta, title)
        self.on_msg(lambda widget, content, buffers: widget.answer(content, buffers))

    def answer(self, content, buffers):
        """Denoise what the page sent, ``{"sigma": ..., "shape": [height, width], "id": ...}`` with float32 values."""
        try:
            x = torch.frombuffer(bytearray(buffers[0]), dtype=torch.float32).reshape(1, 2, *content["shape"])
            y = self._prior.denoise(x, content["sigma"])
            self.send({"id": content["id"]}, [y.contiguous().numpy().tobytes()])
        except Exception as error:      # goes to the reader, who sees no kernel
            self.send({"id": content.get("id"), "error": str(error)})

    def still(self, figure):
        (height, width), spacing, high = self.meta["shape"], self.meta["spacing"], self.meta["high"]
        rows, columns = self._first["denoised"].shape
        voxel = (height * spacing[0] / rows, width * spacing[1] / columns)
        draw_row(figure, [(image, voxel, name, 0, high) for name, image in self._first.items()])
