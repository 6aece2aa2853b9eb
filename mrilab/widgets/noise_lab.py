"""The same slice at several noise levels and voxel sizes, denoised by several priors."""

import numpy as np
import torch

from ..diffusion import Prior
from ..metrics import psnr
from ..plotting import take_slice
from ..volumes import Volume
from .base import Widget, draw_row, grey_range, sources, to_bytes

NOISE_UNIT = 4 / 127        # the noise is stored as whole numbers of this, so the page adds exactly what the priors saw


class NoiseLab(Widget):
    """One slice with noise, and what each prior makes of it, computed beforehand by the priors themselves.

    Parameters
    ----------
    volume : Volume
        Complex, or real and taken as it is; scaled so that the 99th percentile of bright tissue is 1.
    priors : dict of str to Prior
        Named priors.
    voxel_sizes : sequence of float
        Isotropic voxel sizes in mm, at which the volume is resampled before the middle slice is taken.
    sigmas : sequence of float
        Noise levels, for the real and the imaginary part each.
    plane : str
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    seed : int
        Of the noise.

    Raises
    ------
    ValueError
        For no prior, something else than a prior, or noise levels or voxel sizes that are not positive.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom
    >>> NoiseLab(head_phantom((8, 8, 8)), {"diverse": load_prior("diverse")}, voxel_sizes=(8,), sigmas=(0.1,))
    NoiseLab: a slice at 1 noise levels and 1 voxel sizes, denoised by diverse
    """

    _esm = sources("js", "core", "noise_lab")
    _css = sources("css", "core")

    def __init__(self, volume, priors, voxel_sizes=(1, 2, 3), sigmas=(0.03, 0.06, 0.12, 0.25, 0.5), plane="axial",
                 seed=0):
        if not isinstance(volume, Volume):
            raise ValueError(f"volume: found {type(volume).__name__}, expected a Volume(data, voxel_size)")
        if not priors or not all(isinstance(p, Prior) for p in priors.values()):
            raise ValueError(f"priors: found {priors!r:.60}, expected a dict of at least one named Prior")
        for name, values in (("sigmas", sigmas), ("voxel_sizes", voxel_sizes)):
            if not len(values) or not all(0 < v < float("inf") for v in values):
                raise ValueError(f"{name}: found {values!r}, expected at least one, all positive")
        generator = torch.Generator().manual_seed(seed)
        arrays, entries = [], []
        low, high = grey_range([np.abs(volume.data.numpy())])
        for d in voxel_sizes:
            resampled = volume.resample((d,) * 3)
            clean, extent = take_slice(resampled.data, resampled.voxel_size, plane)
            # what the page will add noise to: the slice as it is stored
            clean = torch.from_numpy(to_bytes(clean.numpy(), low, high)).float() * ((high - low) / 255) + low
            height, width = clean.shape
            noise = torch.randn(2, height, width, generator=generator).div(NOISE_UNIT).round().clamp(-127, 127)
            arrays += [to_bytes(clean.numpy(), low, high), noise.numpy().astype(np.int8)]
            quality = {name: [] for name in ("with noise", *priors)}
            for sigma in sigmas:
                slices = torch.stack([clean, torch.zeros_like(clean)])[None] + sigma * NOISE_UNIT * noise[None]
                images = {"with noise": slices} | {name: p.denoise(slices, sigma, (d, d)) for name, p in priors.items()}
                images = {name: torch.complex(*image[0]).abs() for name, image in images.items()}
                for name, image in images.items():
                    quality[name].append(psnr(image[None], clean[None]))
                arrays += [to_bytes(images[name].numpy(), low, high) for name in priors]
                if d == voxel_sizes[0] and sigma == sigmas[len(sigmas) // 2]:
                    self._first = images
            entries.append({"shape": [height, width], "spacing": [extent[3] / height, extent[1] / width],
                            "label": f"{d:.3g} mm", "psnr": quality})
        meta = {"sizes": entries, "sigmas": list(sigmas), "priors": list(priors), "low": low, "high": high,
                "noise": NOISE_UNIT, "plane": plane}
        title = (f"a slice at {len(sigmas)} noise levels and {len(voxel_sizes)} voxel sizes, "
                 f"denoised by {', '.join(priors)}")
        super().__init__(arrays, meta, title)

    def still(self, figure):
        spacing, high = self.meta["sizes"][0]["spacing"], self.meta["high"]
        draw_row(figure, [(image, spacing, name, 0, high) for name, image in self._first.items()])
