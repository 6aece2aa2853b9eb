"""How far an image can be trusted: spread against error, intervals that keep their promise, lesions found or lost.

Several solutions of one problem (seeds, samples of a posterior) differ from voxel to voxel. Whether that spread says
anything of the error is a measurement: :func:`reliability_curve` makes it where the truth is known, and
:func:`conformal_factor` turns the spread into an interval. Whether a method keeps a small lesion is one too:
:func:`place` adds lesions of a known shape, :func:`matched_filter` reads their contrast off an image, and :func:`auc`
says how well lesions can be told from none.
"""

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import conv3d

from .checks import check_voxel_size

FINER = 5       # points along each axis of a voxel, for the partial volume of a lesion's edge


def reliability_curve(spread: torch.Tensor, error: torch.Tensor, bins: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Error against spread, in groups of equally many voxels sorted by spread.

    Parameters
    ----------
    spread, error : Tensor
        Real, of one shape; those voxels that count, as in ``spread[mask]``.
    bins : int

    Returns
    -------
    Tensor, Tensor
        Root mean square of spread and of error in each group, ``(bins,)``. They are equal where the spread is
        calibrated.

    Raises
    ------
    ValueError
        For shapes that differ, or fewer voxels than groups.

    Examples
    --------
    >>> spread = torch.linspace(0.1, 0.3, 3000)
    >>> expected, found = reliability_curve(spread, -2 * spread, bins=4)
    >>> found / expected
    tensor([2., 2., 2., 2.])
    """
    spread, error = _pair(spread, error)
    if not 1 <= bins <= len(spread):
        raise ValueError(f"bins: found {bins!r}, expected 1 to {len(spread)}, the number of voxels")
    groups = spread.argsort().tensor_split(bins)
    rms = [torch.stack([x[g].double().square().mean().sqrt() for g in groups]).float() for x in (spread, error)]
    return rms[0], rms[1]


def conformal_factor(spread: torch.Tensor, error: torch.Tensor, level: float = 0.9) -> float:
    """The factor that makes ``estimate +- factor spread`` cover the truth in a share ``level`` of the voxels.

    Split conformal prediction with a scaled score (Lei et al., JASA 113:1094, 2018): the ``ceil((n + 1) level)``-th
    smallest of ``|error| / spread``. For a new voxel that is exchangeable with those given here, coverage is at least
    ``level``, whatever the spread. Voxels of another head, another mask or another contrast are not exchangeable:
    measure it.

    Parameters
    ----------
    spread, error : Tensor
        Real, of one shape; voxels for calibration. A spread of 0 where the error is not gives an infinite factor if
        there is much of it.
    level : float

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For shapes that differ, or a level that so few voxels cannot give.

    Examples
    --------
    >>> round(conformal_factor(torch.full((999,), 0.5), torch.arange(1, 1000) / 1000), 3)
    1.8
    """
    spread, error = _pair(spread, error)
    rank = math.ceil((len(spread) + 1) * level)
    if not 1 <= rank <= len(spread):
        raise ValueError(f"level: found {level!r}, expected a share that {len(spread)} voxels can give, up to "
                         f"{len(spread) / (len(spread) + 1):.3g}")
    score = torch.where(error == 0, 0, error.abs() / spread)
    return score.kthvalue(rank).values.item()


def lesion(diameter: float, voxel_size: Sequence[float]) -> torch.Tensor:
    """A ball with partial volume at its edge: the share of each voxel that lies inside.

    Parameters
    ----------
    diameter : float
        In mm.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.

    Returns
    -------
    Tensor
        float32, odd sides of twice the diameter, the ball in the middle.

    Examples
    --------
    >>> ball = lesion(8, (2, 2, 4))
    >>> ball.shape, ball.max().item(), round(ball.sum().item() * 16 / 8**3 / (torch.pi / 6), 1)
    (torch.Size([9, 9, 5]), 1.0, 1.0)
    """
    voxel_size = check_voxel_size(voxel_size)
    if not 0 < diameter < math.inf:
        raise ValueError(f"diameter: found {diameter!r}, expected a length in mm")
    square = torch.zeros(1, 1, 1)
    sides = [2 * math.ceil(diameter / d) + 1 for d in voxel_size]
    for axis, (n, d) in enumerate(zip(sides, voxel_size)):
        position = (torch.arange(n * FINER) - (n * FINER - 1) / 2) / FINER * d
        square = square + (position**2).reshape([-1 if a == axis else 1 for a in range(3)])
    inside = (square <= (diameter / 2) ** 2).float()
    return inside.reshape(sides[0], FINER, sides[1], FINER, sides[2], FINER).mean((1, 3, 5))


def place(profile: torch.Tensor, centres: Sequence[Sequence[int]], shape: Sequence[int]) -> torch.Tensor:
    """Copies of a lesion about voxels of an empty volume; what sticks out is cut off.

    Parameters
    ----------
    profile : Tensor
        From :func:`lesion`.
    centres : sequence
        Voxels ``(z, y, x)``.
    shape : tuple of int
        Of the volume.

    Returns
    -------
    Tensor
        float32 of that shape. Multiplied by a contrast and the phase of an image, ``SenseOperator.forward`` of it is
        what the lesions add to k-space.

    Examples
    --------
    >>> place(torch.ones(3, 3, 3), [(0, 4, 4)], (8, 8, 8)).sum()
    tensor(18.)
    """
    reach = [n // 2 for n in profile.shape]
    padded = torch.zeros([n + 2 * r for n, r in zip(shape, reach)])
    for centre in centres:
        if len(centre) != 3 or not all(0 <= c < n for c, n in zip(centre, shape)):
            raise ValueError(f"centres: found {tuple(centre)}, expected a voxel inside {tuple(shape)}")
        padded[tuple(slice(c, c + n) for c, n in zip(centre, profile.shape))] += profile
    return padded[tuple(slice(r, r + n) for r, n in zip(reach, shape))]


def matched_filter(x: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
    """The contrast that a lesion of a known shape would have about each voxel.

    The least-squares fit of ``constant + contrast * profile`` to the image, over the profile's box: the best detector
    of a known signal in white noise (for instance Barrett and Myers, Foundations of Image Science, 2004). Errors
    of a reconstruction are not white, so a better filter may exist; this one is the same for every method.

    Parameters
    ----------
    x : Tensor
        ``(z, y, x)``; of a complex one the magnitude.
    profile : Tensor
        Odd sides, from :func:`lesion`.

    Returns
    -------
    Tensor
        float32 ``(z, y, x)``, in the image's units. Beyond the border the image counts as zero.

    Raises
    ------
    ValueError
        If the image is not three-dimensional, or the profile has an even side or does not vary.

    Examples
    --------
    >>> ball = lesion(6, (2, 2, 2))
    >>> image = 0.5 + 0.1 * place(ball, [(8, 8, 8)], (16, 16, 16))
    >>> round(matched_filter(image, ball)[8, 8, 8].item(), 3)
    0.1
    """
    if x.ndim != 3 or profile.ndim != 3 or any(n % 2 == 0 for n in profile.shape):
        raise ValueError(f"x, profile: found shapes {tuple(x.shape)} and {tuple(profile.shape)}, "
                         "expected (z, y, x) each, odd sides of the profile")
    template = profile - profile.mean()
    energy = template.square().sum()
    if energy == 0:
        raise ValueError("profile: found nothing that varies, expected a lesion and its surroundings")
    x = (x.abs() if x.is_complex() else x).float()
    return conv3d(x[None, None], (template / energy)[None, None], padding="same")[0, 0]


def auc(present: torch.Tensor, absent: torch.Tensor) -> float:
    """Area under the ROC curve: how often a score with a lesion is above one without; ties count half.

    Examples
    --------
    >>> auc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0]))
    0.9166666666666666
    """
    from scipy.stats import mannwhitneyu

    if not len(present) or not len(absent):
        raise ValueError(f"present, absent: found {len(present)} and {len(absent)} scores, expected some of each")
    statistic = mannwhitneyu(torch.as_tensor(present).numpy(), torch.as_tensor(absent).numpy()).statistic
    return float(statistic) / (len(present) * len(absent))


def _pair(spread: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if spread.shape != error.shape or not spread.numel():
        raise ValueError(f"error: found shape {tuple(error.shape)}, expected that of spread, {tuple(spread.shape)}, "
                         "and at least one voxel")
    if not (torch.isfinite(spread).all() and torch.isfinite(error).all() and (spread >= 0).all()):
        raise ValueError("spread, error: found NaN, infinite or negative values, expected finite numbers, spread >= 0")
    return spread.flatten(), error.flatten()
