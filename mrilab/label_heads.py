"""Heads of any contrast from label maps: each tissue gets a random intensity, shading and texture.

After SynthSeg (Billot et al., Medical Image Analysis 2023), whose twenty whole-head label maps
:func:`mrilab.volumes.load_volume` knows: a prior that sees many contrasts learns where edges lie rather than which
tissue is bright.
"""

import numpy as np
import torch

# Labels of FreeSurfer, left and right alike, and from 502 on SynthSeg's of what lies around the brain; and how bright a
# T1-weighted head shows them.
TISSUES = {
    "air": ((0, 509), 0.0),
    "white matter": ((2, 41, 85), 1.0),
    "cortex": ((3, 42), 0.62),
    "fluid": ((4, 5, 14, 15, 24, 43, 44, 72), 0.25),
    "cerebellar white matter": ((7, 46), 0.92),
    "cerebellar cortex": ((8, 47), 0.6),
    "thalamus": ((10, 49), 0.8),
    "caudate": ((11, 26, 50, 58), 0.65),
    "putamen": ((12, 51), 0.72),
    "pallidum": ((13, 52), 0.9),
    "brain stem": ((16, 28, 60), 0.88),
    "hippocampus": ((17, 18, 53, 54), 0.62),
    "lesion": ((25, 57), 0.7),
    "vessel": ((30, 62, 506), 0.45),
    "choroid plexus": ((136, 137, 163, 164), 0.4),
    "soft tissue": ((502, 508, 512, 516), 0.6),
    "inner skull": ((507,), 0.3),
    "outer skull": ((511,), 0.7),
    "mucosa": ((514,), 0.4),
    "skin": ((515,), 0.5),
    "optic nerve": ((530,), 0.8),
}
TEXTURE = 0.03          # standard deviation of the texture, as a part of a tissue's intensity, on average
SHADING = 0.15          # of the logarithm of the shading


def tissue_map(labels: torch.Tensor) -> torch.Tensor:
    """Labels as positions in ``TISSUES``.

    Parameters
    ----------
    labels : Tensor
        Whole numbers ``(z, y, x)``.

    Returns
    -------
    Tensor
        int32, same shape.

    Raises
    ------
    ValueError
        For labels that are not in ``TISSUES``; they are named.

    Examples
    --------
    >>> tissue_map(torch.tensor([[[0, 2, 41, 3]]]))
    tensor([[[0, 1, 1, 2]]], dtype=torch.int32)
    >>> tissue_map(torch.tensor([[[0, 77, 2, 1001]]]))
    Traceback (most recent call last):
    ValueError: labels: found 77, 1001, expected those of mrilab.label_heads.TISSUES
    """
    table = np.full(max(max(members) for members, _ in TISSUES.values()) + 2, -1, np.int32)
    for place, (members, _) in enumerate(TISSUES.values()):
        table[list(members)] = place
    numbers = labels.numpy(force=True)
    tissues = table[np.clip(numbers, -1, len(table) - 1)]          # the last place of the table knows nothing
    if tissues.min() < 0:
        unknown = [str(int(label)) for label in np.unique(numbers[tissues < 0])]
        raise ValueError(f"labels: found {', '.join(unknown)}, expected those of mrilab.label_heads.TISSUES")
    return torch.from_numpy(tissues).to(labels.device)


def draw_contrast(rng: np.random.Generator) -> np.ndarray:
    """An intensity for each tissue: half of the time near those of a T1-weighted head, else any; air is dark.

    Examples
    --------
    >>> contrast = draw_contrast(np.random.default_rng(0))
    >>> len(contrast) == len(TISSUES), float(contrast[0]), bool((contrast >= 0).all())
    (True, 0.0, True)
    """
    usual = np.array([intensity for _, intensity in TISSUES.values()])
    if rng.random() < 0.5:
        contrast = np.abs(usual + rng.normal(0, 0.08, len(usual)))
    else:
        contrast = rng.uniform(0.05, 1, len(usual))
    contrast[0] = 0
    return contrast.astype(np.float32)


def paint(tissues: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A magnitude image of a map of tissues, with sharp borders: each voxel is of one tissue.

    Whoever samples it elsewhere by cubic B-splines, as :func:`mrilab.augmentation.bend` does, takes the image for the
    splines' coefficients and so gets the partial volume of a voxel: the B-spline is a window about as wide.

    Parameters
    ----------
    tissues : Tensor
        As of :func:`tissue_map`.
    rng : numpy.random.Generator
        Of contrast and shading; the texture follows from it and from the device.

    Returns
    -------
    Tensor
        float32, same shape, zero in air.

    Examples
    --------
    >>> image = paint(torch.tensor([0, 1, 2, 3]).expand(4, 4, 4), np.random.default_rng(0))
    >>> image.shape, image[..., 0].max().item()
    (torch.Size([4, 4, 4]), 0.0)
    """
    device = tissues.device
    contrast = torch.from_numpy(draw_contrast(rng)).to(device)
    strength = torch.from_numpy(rng.gamma(4, TEXTURE / 4, len(TISSUES)).astype(np.float32)).to(device)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    image, places = contrast[tissues.long()], tissues.long()
    fine = torch.randn(image.shape, generator=generator, device=device)
    coarse = torch.randn([-(-n // 3) for n in image.shape], generator=generator, device=device)
    coarse = torch.nn.functional.interpolate(coarse[None, None], image.shape, mode="trilinear")[0, 0]
    shading = torch.from_numpy(rng.normal(0, SHADING, (1, 1, 4, 5, 4)).astype(np.float32)).to(device)
    shading = torch.nn.functional.interpolate(shading, image.shape, mode="trilinear", align_corners=True)[0, 0]
    return (image * (1 + strength[places] * (fine + 2 * coarse)) * shading.exp()).clamp(min=0)
