"""What most jobs begin with: the simulated scan of a block of the readout with its truth, and its reconstruction."""

import functools
import math
import sys
import time

from tqdm import tqdm

from mrilab import metrics
from mrilab.coils import estimate_maps
from mrilab.datasets import at_hand, fetch
from mrilab.masks import equispaced_mask, random_mask
from mrilab.methods import METHODS, reconstruct
from mrilab.priors import load_prior
from mrilab.simulate import simulate_acquisition
from mrilab.volumes import Acquisition, Volume, load_volume

from .results import pack_slices

HEAD, SLAB, TUMOUR, KNEE = "qtim_MRHead", "colin27_ch2_slab", "qtim_MRBrainTumor2", "mskt_knee_mese"
VALIDATION = "colin27_ch2"                              # whom everything is tuned on
PEOPLE = ["allineate_arc2017", "seg3d_MR", "brainchop_T1", HEAD]        # whom nothing is tuned on
SHARP = PEOPLE[:3]                                      # the voxels of the last are 1.3 mm along x
MASKS = {"random": random_mask, "regular": lambda shape, acceleration, **_: equispaced_mask(shape, acceleration)}


def bring(people):
    """Fetch the heads of people that are not at hand; who cannot be had is named, and the studies go on without.

    Examples
    --------
    >>> bring(["qtim_MRHead"])
    """
    for name in people:
        try:
            if not at_hand(name):
                fetch(name)
        except (OSError, ValueError) as error:
            tqdm.write(str(error), file=sys.stderr)


def here(people):
    """Those whose heads are at hand; the others are named.

    Examples
    --------
    >>> here(["qtim_MRHead"])
    ['qtim_MRHead']
    """
    absent = [name for name in people if not at_hand(name)]
    if absent:
        tqdm.write(f"left out, for their heads are not at hand: {', '.join(absent)}", file=sys.stderr)
    return [name for name in people if name not in absent]


def simulated(volume, voxel_size, acceleration=8, block=None, seed=0, coils=8, noise=0.01, maps="true",
              decimated=False):
    """Acquisition and truth of a block of the readout, simulated on the volume's own voxels.

    Parameters
    ----------
    volume : str
        A shipped volume or a file.
    voxel_size : float or sequence of float
        In mm; one number for all axes.
    acceleration : float
    block : sequence of int or None
        ``(first, last)`` along x, in voxels from the middle; what lies outside the volume is cut off.
    seed, coils : int
    noise : float
        Standard deviation of the noise of voxels of 1 mm, for images whose 99th percentile is 1.
    maps : str
        ``"true"``, or ``"estimated"`` from the scan.
    decimated : bool
        As the paper's authors make a coarse scan: every n-th voxel of the volume, without noise. Solvers are told the
        noise that a scan of these voxels has, by which they weigh data and prior.

    Returns
    -------
    Acquisition, Tensor
        The truth is complex64 ``(z, y, x)``.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrilab.volumes import Volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(16, 16, 16), (4, 4, 4)))
    ...     acquisition, truth = simulated(f"{folder}/a.h5", 8, 2, (-2, 2), seed=0, coils=3, noise=0.01)
    >>> acquisition.kspace.shape, truth.shape
    (torch.Size([3, 8, 8, 4]), torch.Size([8, 8, 4]))
    """
    size = (voxel_size,) * 3 if isinstance(voxel_size, int | float) else tuple(voxel_size)
    return _simulated(volume, size, acceleration, block and tuple(block), seed, coils, noise, maps, decimated)


@functools.lru_cache(maxsize=1)     # the jobs of all methods on the same data follow each other
def _simulated(volume, voxel_size, acceleration, block, seed, coils, noise, maps, decimated):
    head = load_volume(volume)
    if decimated:
        steps = tuple(round(d / own) for d, own in zip(voxel_size, head.voxel_size))
        head = Volume(head.data[tuple(slice(None, None, n) for n in steps)],
                      tuple(n * own for n, own in zip(steps, head.voxel_size)))
        voxel_size = head.voxel_size
    acquisition, truth = acquired(head, voxel_size, acceleration, None, seed, coils, 0.0 if decimated else noise)
    if decimated:           # what a scan of these voxels has: in its units weights were tuned
        acquisition.noise = noise / math.prod(voxel_size) ** 0.5
    if maps == "estimated":
        found, _ = estimate_maps(acquisition.kspace, acquisition.mask)
        acquisition = Acquisition(acquisition.kspace, found, acquisition.mask, acquisition.voxel_size,
                                  acquisition.noise)
    return readout(acquisition, truth, block)


def acquired(volume, voxel_size, acceleration, block, seed=0, coils=8, noise=0.01, mask="poisson"):
    """As :func:`simulated`, of a :class:`~mrilab.volumes.Volume`, and with another ``mask``: ``random`` or ``regular``.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> acquired(head_phantom((8, 8, 8)), (8, 8, 8), 3, (-1, 1), mask="regular")[0].acceleration
    3.0
    """
    noise = noise / math.prod(volume.voxel_size) ** 0.5
    acquisition, truth = simulate_acquisition(volume, 1 if mask in MASKS else acceleration, coils, noise, seed,
                                              voxel_size)
    if mask in MASKS:
        lines = MASKS[mask](truth.shape, acceleration, seed=seed)
        acquisition = Acquisition(acquisition.kspace * lines[..., None], acquisition.maps, lines,
                                  acquisition.voxel_size, acquisition.noise)
    return readout(acquisition, truth, block)


def readout(acquisition, truth, block):
    """The block of the readout of both; None is all of it."""
    if block is None:
        return acquisition, truth
    count = truth.shape[2]
    start, stop = (min(max(count // 2 + end, 0), count) for end in block)
    return acquisition.readout_block(start, stop), truth[:, :, start:stop]


def prior_of(name, interpolation=None, device="cpu"):
    """A prior; one in function space with this interpolation of its kernels."""
    prior = load_prior(name, device)
    if interpolation:
        prior.interpolation = interpolation
    return prior


def solve(acquisition, method, prior=None, settings=None, seed=0, representation="voxel", interpolation=None,
          device="cpu", methods=METHODS):
    """A reconstruction by names, its image on the CPU, and the seconds of the processor.

    ``interpolation`` is that of the kernels of a prior in function space.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> acquisition, _ = acquired(head_phantom((12, 12, 12)), (12, 12, 12), 2, (-2, 2))
    >>> result, seconds = solve(acquisition, "cg_sense", settings={})
    >>> result.image.shape
    torch.Size([14, 18, 4])
    """
    prior = prior and prior_of(prior, interpolation, device)
    begin = time.process_time()
    result = reconstruct(method, acquisition.to(device), prior, seed, representation, methods=methods,
                         **settings or {})
    result.image = result.image.cpu()
    return result, time.process_time() - begin


def reconstruction(volume, voxel_size, method, settings, acceleration=8, block=None, seed=0, coils=8, noise=0.01,
                   prior=None, representation="voxel", interpolation=None, keep_slices=0, label="",  # noqa: ARG001
                   device="cpu", methods=METHODS, maps="true", decimated=False):
    """The job of most studies: a simulated scan, one method, and what is to be known of its image.

    Parameters
    ----------
    volume, voxel_size, acceleration, block, seed, coils, noise, maps, decimated
        See :func:`simulated`.
    method, settings, prior, representation, interpolation, methods
        See :func:`solve`.
    keep_slices : float
        Also keep the middles of the middle slices, at most this many mm a side.
    label : str
        For the reader.
    device : str

    Returns
    -------
    dict
        ``psnr``, ``psnr_head``, ``ssim``, ``misfit``; seconds of the processor, for those on the wall would count what
        else runs; evaluations of the network, applications of the operator; ``slices``
        (:func:`studies.results.pack_slices`) if wanted.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrilab.volumes import Volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(16, 16, 16), (8, 8, 8)))
    ...     result = reconstruction(f"{folder}/a.h5", 8, "cg_sense", {"iterations": 4}, acceleration=2, coils=3)
    >>> result["operator_applications"], result["psnr"] > 20
    (4, True)
    """
    acquisition, truth = simulated(volume, voxel_size, acceleration, block, seed, coils, noise, maps, decimated)
    result, seconds = solve(acquisition, method, prior, settings, seed, representation, interpolation, device, methods)
    image = result.image
    return {"psnr": metrics.psnr(image, truth), "psnr_head": metrics.psnr(image, truth, metrics.head_mask(truth)),
            "ssim": metrics.ssim(image, truth), "misfit": result.misfit,
            "seconds": round(seconds, 2), "matrix": list(truth.shape),
            "network_evaluations": result.network_evaluations, "operator_applications": result.operator_applications,
            **({"slices": pack_slices(image, truth, result.voxel_size, keep_slices)} if keep_slices else {})}
