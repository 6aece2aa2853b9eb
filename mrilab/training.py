"""Training a prior: slices at the asked voxel sizes, the loop, checkpoints.

Everything random at step ``s`` follows from ``(seed, s)``, so an interrupted run that is started again
draws what it would have drawn.
"""

import datetime
import json
import math
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy import interpolate, ndimage
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .datasets import sha256
from .diffusion import Prior, denoising_loss, to_channels
from .fourier import resample
from .unet import UNet
from .volumes import atomic_path

POOL = 12          # augmented volumes in memory
REFRESH = 40       # steps between replacing one of them
LOG_SIGMA = (-2.2, 1.3)     # mean and standard deviation of the log of the training noise levels


def deform(data, voxel_size, rng):
    """Rotate a volume by up to about 10 degrees and bend it smoothly, by cubic splines.

    The bending changes lengths by 2 % (standard deviation): a change of scale would be a change of voxel
    size, and a prior that is to know one voxel size only must not see others.
    """
    shape = np.array(data.shape)
    size = np.array(voxel_size)[:, None, None, None]
    centre = (shape[:, None, None, None] - 1) / 2
    a, b, c = rng.normal(0, 0.06, 3)
    rotation = np.array([[1, -a, b], [a, 1, -c], [-b, c, 1]])
    rotation, _ = np.linalg.qr(rotation)                 # orthogonal, and close to it: keeps lengths
    rotation = rotation * np.sign(np.diag(rotation))
    r = (np.indices(data.shape, dtype=np.float32) - centre) * size
    r = np.tensordot(rotation, r, axes=1)
    extent = shape * np.array(voxel_size)
    knots = np.maximum(4, np.ceil(extent / 40)).astype(int)
    shift = 0.02 * (extent / knots).min()        # mm; the steepness is shift over knot distance
    for axis in range(3):
        bend = ndimage.zoom(rng.normal(0, shift, knots), shape / knots, order=3, grid_mode=True, mode="nearest")
        r[axis] += bend
    return ndimage.map_coordinates(data, r / size + centre, order=3, output=np.float32, mode="constant")


def remap_intensity(data, rng):
    """Pass intensities through a random smooth curve that keeps zero: gamma, then non-monotone bumps."""
    peak = np.percentile(data, 99.5)
    x = np.linspace(0, 1.5, 7)
    bumps = rng.normal(0, 0.12, 7) * (rng.random() < 0.4)
    y = x ** np.exp(rng.normal(0, 0.25)) + bumps
    y[0] = 0
    curve = interpolate.PchipInterpolator(x, y, extrapolate=True)
    # values below zero are ringing of the deformation's splines
    return np.maximum(curve(np.clip(data / peak, 0, 1.5)), 0).astype(np.float32)


def smooth_phase(shape, rng):
    knots = rng.normal(0, 1, (4, 4, 4))
    phase = ndimage.zoom(knots, np.array(shape) / 4, order=3, grid_mode=True, mode="nearest")
    return torch.from_numpy(np.exp(1j * phase).astype(np.complex64))


def augmented(volume, voxel_sizes, rng):
    """One person's head as another person's at some voxel size: complex64 ``(z, y, x)`` and its voxel size.

    Parameters
    ----------
    volume : Volume
        Magnitude.
    voxel_sizes : tuple of float
        Range in mm. Drawn log-uniformly; half of the time one size for all axes, else one for each.
    """
    low, high = voxel_sizes
    size = np.exp(rng.uniform(np.log(low), np.log(high), 3))
    if rng.random() < 0.5:
        size[:] = size[0]
    data = deform(volume.data.numpy(), volume.voxel_size, rng)
    data = torch.from_numpy(remap_intensity(data, rng))
    image = resample(data, volume.voxel_size, tuple(np.maximum(size, volume.voxel_size)))
    size = tuple(n * d / m for n, d, m in zip(data.shape, volume.voxel_size, image.shape))
    image = image * smooth_phase(image.shape, rng)
    scale = torch.quantile(image.abs().flatten()[::7], 0.99)
    return image / scale * float(np.exp(rng.normal(0, 0.1))), size


class Slices:
    """Batches of training patches drawn from a slowly changing pool of augmented volumes.

    Parameters
    ----------
    volumes : list of Volume
        Magnitude volumes of the training people.
    voxel_sizes : tuple of float
        Smallest and largest voxel size in mm; equal for a fixed-resolution prior.
    """

    def __init__(self, volumes, voxel_sizes, batch=16, patch=64, seed=0):
        if not volumes:
            raise ValueError("volumes: found none, expected at least one training volume")
        self.volumes, self.voxel_sizes, self.batch, self.patch, self.seed = volumes, voxel_sizes, batch, patch, seed
        self.pool = {}

    def _fill(self, step):
        wanted = range(step // REFRESH, step // REFRESH + POOL)
        self.pool = {i: v for i, v in self.pool.items() if i in wanted}
        for i in wanted:
            if i not in self.pool:
                rng = np.random.default_rng([self.seed, 0, i])
                self.pool[i] = augmented(self.volumes[i % len(self.volumes)], self.voxel_sizes, rng)
        return list(self.pool.values())

    def __call__(self, step):
        """The batch of this step: float32 ``(batch, 2, patch, patch)`` and voxel sizes ``(batch, 2)``."""
        pool = self._fill(step)
        rng = np.random.default_rng([self.seed, 1, step])
        patches = [self._patch(*pool[rng.integers(len(pool))], rng) for _ in range(self.batch)]
        slices, sizes = zip(*patches)
        return to_channels(torch.stack(slices)), torch.tensor(sizes, dtype=torch.float32)

    def _patch(self, image, voxel_size, rng):
        axis = rng.integers(3)
        for _ in range(4):          # mostly tissue, now and then air
            slice_ = image.select(axis, rng.integers(image.shape[axis]))
            for a in (0, 1):
                start = rng.integers(max(1, slice_.shape[a] - self.patch + 1))
                slice_ = slice_.narrow(a, start, min(self.patch, slice_.shape[a]))
            if slice_.abs().mean() > 0.1:
                break
        flips = [a for a in (0, 1) if rng.random() < 0.5]
        slice_ = slice_.flip(flips) * np.exp(2j * np.pi * rng.random())
        patch = torch.zeros(self.patch, self.patch, dtype=torch.complex64)
        top, left = (rng.integers(self.patch - n + 1) for n in slice_.shape)
        patch[top : top + slice_.shape[0], left : left + slice_.shape[1]] = slice_
        return patch, [d for a, d in enumerate(voxel_size) if a != axis]


def train(volumes, voxel_sizes, out, steps=5500, batch=16, patch=64, widths=(32, 64, 96), conditioned=False,
          learning_rate=1e-3, seed=0, device="cpu", checkpoint_every=500, people=(), progress=True):
    """Train a prior on slices of ``volumes`` and write it to ``out``.

    Parameters
    ----------
    volumes : list of Volume
        Magnitude volumes of the training people.
    voxel_sizes : tuple of float
        ``(low, high)`` in mm: ``(1, 1)`` for a fixed-resolution prior, ``(1, 4)`` for a diverse one.
    out : str or Path
        ``.safetensors`` file; the card goes beside it as ``.json``. While training, ``.checkpoint`` beside
        it holds the state: the same call goes on where it was stopped.
    steps, batch, patch, widths, learning_rate : training budget and network
        Adam with a warm-up of 200 steps and a cosine to zero, gradient norm clipped to 1, EMA of the
        weights (0.999).
    people : sequence of str
        Names of the training people, for the card.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    FloatingPointError
        If the loss stops being finite; the last checkpoint stays.

    Examples
    --------
    >>> import tempfile
    >>> from mrilab.simulate import head_phantom
    >>> from mrilab.diffusion import load_prior
    >>> out = tempfile.mkdtemp() + "/tiny.safetensors"
    >>> path = train([head_phantom((6, 6, 6))], (6, 6), out, steps=2, batch=2, patch=16, widths=(8,), progress=False)
    >>> load_prior(path).voxel_sizes
    (6.0, 6.0)
    """
    out = Path(out)
    checkpoint = out.with_suffix(".checkpoint")
    torch.manual_seed(seed)
    prior = Prior(UNet(widths, 3 if conditioned else 1), voxel_sizes, conditioned=conditioned)
    prior = prior.to(device, memory_format=torch.channels_last).train()
    ema = AveragedModel(prior, multi_avg_fn=average)
    optimizer = torch.optim.Adam(prior.parameters(), learning_rate, betas=(0.9, 0.99))
    warm_up = min(200, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * s / steps)))
    parts = dict(prior=prior, ema=ema, optimizer=optimizer, schedule=schedule)
    begin, seconds, losses = 0, 0.0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        begin, seconds, losses = state["step"], state["seconds"], state["losses"]

    stream = Slices(volumes, voxel_sizes, batch, patch, seed)
    start = time.perf_counter() - seconds
    bar = tqdm(range(begin, steps), initial=begin, total=steps, desc=out.stem, disable=not progress, mininterval=5)
    for step in bar:
        clean, size = stream(step)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        sigma = torch.exp(LOG_SIGMA[0] + LOG_SIGMA[1] * torch.randn(batch, generator=generator))
        noise = torch.randn(clean.shape, generator=generator)
        loss = denoising_loss(prior, *(t.to(device) for t in (clean, sigma, noise, size))).mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"training: loss is {loss.item()} at step {step}; "
                                     f"the last good state is {checkpoint}; try a smaller learning_rate")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        ema.update_parameters(prior)
        losses.append(loss.item())
        bar.set_postfix_str(f"loss {np.mean(losses[-100:]):.4f}", refresh=False)
        if (step + 1) % checkpoint_every == 0:
            with atomic_path(checkpoint) as temporary:
                torch.save(dict({n: p.state_dict() for n, p in parts.items()}, step=step + 1, losses=losses,
                                seconds=time.perf_counter() - start), temporary)

    card = dict(voxel_sizes=[float(v) for v in voxel_sizes], conditioned=conditioned, sigma_data=prior.sigma_data,
                widths=list(widths), parameters=sum(p.numel() for p in prior.net.parameters()), people=list(people),
                steps=steps, batch=batch, patch=patch, learning_rate=learning_rate, seed=seed,
                loss=float(np.mean(losses[-500:])), seconds=round(time.perf_counter() - start),
                hardware=hardware(device), torch=torch.__version__, date=datetime.date.today().isoformat())
    save_prior(out, ema.module, card)
    checkpoint.unlink(missing_ok=True)
    return out


def average(averaged, current, count):
    """Exponential moving average whose memory grows to 1000 steps, so that a short run forgets its start."""
    decay = min(0.999, (1 + float(count)) / (10 + float(count)))
    get_ema_multi_avg_fn(decay)(averaged, current, count)


def save_prior(path, prior, card):
    """Write the weights as float16 safetensors, and the card with their SHA-256 beside them."""
    path = Path(path)
    with atomic_path(path) as temporary:
        save_file({k: v.half().contiguous() for k, v in prior.net.state_dict().items()}, temporary)
        digest = sha256(temporary)
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(dict(card, sha256=digest), indent=1) + "\n")


def hardware(device="cpu"):
    """One line that names the machine's processor, for cards and result files."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{name}, {torch.get_num_threads()} threads"
