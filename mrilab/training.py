"""Training a prior: the loop, its checkpoints, several processes.

Everything random at step ``s`` follows from ``(seed, s)``, so an interrupted run that is started again
goes on as if nothing had happened, and several processes do together what one would do.
"""

import contextlib
import datetime
import json
import math
import time
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .augmentation import batches, ends_of
from .checks import in_plane
from .datasets import locate, sha256
from .diffusion import denoising_loss, to_channels
from .metrics import percentile
from .priors import load_prior, new_prior, save_prior, whole_file
from .processes import hardware, join, leave
from .simulate import smooth_phase

REPORT = 50                         # steps between looks at the loss
LOG_SIGMA = (-2.2, 1.3)             # mean and standard deviation of the log of most training noise levels
HIGH_SIGMA = (1.0, 30.0)            # range of the others, a twentieth: there a sample starts
VALIDATION_SIGMA = (0.05, 0.1, 0.2)


def noise_levels(count, generator):
    """Noise levels of a training batch: log-normal (Karras et al. 2022, Table 1), a twentieth of them high.

    Examples
    --------
    >>> sigma = noise_levels(1000, torch.Generator().manual_seed(0))
    >>> round(sigma.median().item(), 2), round(sigma.max().item())
    (0.12, 30)
    """
    device = generator.device
    usual = LOG_SIGMA[0] + LOG_SIGMA[1] * torch.randn(count, generator=generator, device=device)
    low, high = (math.log(s) for s in HIGH_SIGMA)
    large = low + (high - low) * torch.rand(count, generator=generator, device=device)
    return torch.where(torch.rand(count, generator=generator, device=device) < 0.05, large, usual).exp()


def average(averaged, current, count):
    """Exponential moving average whose memory grows to 1000 steps, so that a short run forgets its start.

    Parameters
    ----------
    averaged, current : list of Tensor
        Parameters; the first are changed in place.
    count : int
        Steps averaged so far.

    Examples
    --------
    The share of the newest step, at the beginning and after a long time:

    >>> shares = [torch.zeros(1), torch.zeros(1)]
    >>> for share, count in zip(shares, (0, 10**5)):
    ...     average([share], [torch.ones(1)], count)
    >>> shares
    [tensor([0.9000]), tensor([0.0010])]
    """
    decay = min(0.999, (1 + float(count)) / (10 + float(count)))
    get_ema_multi_avg_fn(decay)(averaged, current, count)


def train(volumes, voxel_sizes, out, steps=8000, batch=8, patch=64, widths=(32, 32, 64, 128, 128), conditioned=False,
          learning_rate=1e-3, seed=0, initial=None, device="cpu", workers=0, accumulate=1, validation=None,
          interval=500, people=(), progress=True, callback=None, network="unet"):
    """Train a prior on slices of ``volumes`` and write it to ``out``.

    Adam with a warm-up and a cosine to zero, gradient norm clipped to 1, an exponential moving average of the
    weights. Started by ``torchrun``, the processes share each batch: the result is that of one process.

    Parameters
    ----------
    volumes : list
        Magnitude volumes of the training people: :class:`~mrilab.volumes.Volume`, paths or shipped names.
        Files are read when their turn comes.
    voxel_sizes : tuple or dict
        ``(low, high)`` in mm: ``(1, 1)`` for a fixed-resolution prior, ``(1, 4)`` for a diverse one. Or the sizes
        and their odds: ``{1: 2, 3: 1}`` is 1 mm twice as often as 3 mm.
    out : str or Path
        ``.safetensors`` file; the card goes beside it as ``.json``. While training, ``.checkpoint`` beside
        it holds the state: the same call goes on where it was stopped.
    steps, batch, patch, widths, conditioned, learning_rate, seed
        Training budget and network. ``batch`` counts the slices of a step over all processes.
    initial : str or Path, optional
        A prior, shipped or a file, whose weights to start from: it must have the same network. Without it, random ones.
    device : str or torch.device
    workers : int
        Processes that prepare training heads, for each training process.
    accumulate : int
        Parts in which a batch goes through the network, to save memory; the result is the same.
    validation : Volume, optional
        The loss on its slices is kept for 1, 2 and 3 times its voxel size and three noise levels.
    interval : int
        Steps between checkpoints, and between validations.
    people : sequence of str
        Names of the training people, for the card.
    callback : callable, optional
        Called with the number of steps done and the averaged prior, every ``interval`` steps.
    network : str
        ``"unet"``; ``"unet3d"`` for a prior of volumes, trained on cubes of ``patch`` voxels; or ``"operator"`` for an
        :class:`~mrilab.neural_operator.OperatorPrior`, which is trained at one voxel size and always told it.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    FileExistsError
        If ``out`` is there already: a trained prior is not overwritten.
    ValueError
        For no volumes, or one smaller than a patch; a batch that cannot be shared; a checkpoint of another run;
        an unknown network, or an operator for several voxel sizes.
    FloatingPointError
        If the loss stops being finite; the last good checkpoint stays.
    OSError
        If a checkpoint cannot be written; the last good one stays.

    Examples
    --------
    >>> import tempfile
    >>> from mrilab.simulate import head_phantom
    >>> from mrilab.priors import load_prior
    >>> out = tempfile.mkdtemp() + "/tiny.safetensors"
    >>> path = train([head_phantom((6, 6, 6))], (6, 6), out, steps=2, batch=2, patch=16, widths=(8,), progress=False)
    >>> load_prior(path).voxel_sizes
    (6.0, 6.0)
    """
    out = Path(out)
    if out.with_suffix(".json").exists():
        raise FileExistsError(f"{out}: there already; delete it and its card to train it anew")
    rank, ranks, device = join(device)
    if batch % (ranks * accumulate):
        raise ValueError(f"batch: found {batch}, expected a multiple of {ranks} processes times {accumulate} parts")
    if not 0 < steps < math.inf:
        raise ValueError(f"steps: found {steps}, expected a positive number")
    torch.manual_seed(seed)
    ends = ends_of(voxel_sizes)
    odds = [[float(n) for n in item] for item in voxel_sizes.items()] if isinstance(voxel_sizes, dict) else None
    prior = new_prior(network, ends, widths, conditioned)
    settings = dict(network=network, voxel_sizes=list(ends), odds=odds, conditioned=prior.conditioned,
                    widths=list(widths), steps=steps, batch=batch, patch=patch, learning_rate=learning_rate, seed=seed,
                    initial=initial and sha256(locate(initial, "prior")))
    before = 0                          # steps behind the weights to start from
    if initial:
        source = load_prior(initial)
        found, expected = ((p.net.widths, p.conditioned, f"{type(p.net).__name__} in {p.dims}D")
                           for p in (source, prior))
        if found != expected:
            raise ValueError(f"initial: found a prior with widths {found[0]}, conditioned {found[1]}, a {found[2]}, "
                             f"expected {expected[0]}, {expected[1]}, a {expected[2]}")
        card = json.loads(locate(initial, "prior").with_suffix(".json").read_text())
        before = card["steps"] + card.get("steps_before", 0)
        prior.net.load_state_dict(source.net.state_dict())
    prior = prior.to(device, memory_format=prior.memory_format).train()
    ema = AveragedModel(prior, multi_avg_fn=average)
    optimizer = torch.optim.Adam(prior.parameters(), learning_rate, betas=(0.9, 0.99))
    warm_up = min(200, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * s / steps)))
    parts = dict(prior=prior, ema=ema, optimizer=optimizer, schedule=schedule)
    begin, seconds, history = 0, 0.0, []
    losses = torch.zeros(steps, device=device)
    checkpoint = out.with_suffix(".checkpoint")
    if checkpoint.exists():
        state = _load_checkpoint(checkpoint, settings, device)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        begin, seconds, history = state["step"], state["seconds"], state["history"]
        losses[:begin] = state["losses"].to(device)

    model = prior
    if ranks > 1:
        model = DistributedDataParallel(prior)
        model.sigma_data = prior.sigma_data         # denoising_loss asks for it
    stream = batches(volumes, voxel_sizes, batch, patch, seed, begin, rank, ranks, workers, device, prior.dims)
    check = validation_slices(validation, dims=prior.dims) if validation is not None else []

    start = time.perf_counter() - seconds
    quiet = {} if progress and not rank else {"disable": True}      # else TQDM_DISABLE decides
    bar = tqdm(range(begin, steps), initial=begin, total=steps, desc=out.stem, mininterval=2, **quiet)
    bar.set_postfix_str("making the first heads")
    seen = begin
    for step, (clean, voxel_size) in zip(bar, stream):
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        sigma = noise_levels(batch, generator)[rank::ranks]
        noise = torch.randn(batch, *clean.shape[1:], generator=generator, device=device)[rank::ranks]
        optimizer.zero_grad()
        pieces = list(zip(*(t.chunk(accumulate) for t in (clean, sigma, noise, voxel_size))))
        for piece in pieces:
            # gradients are exchanged once a step, with the last piece
            wait = model.no_sync() if ranks > 1 and piece is not pieces[-1] else contextlib.nullcontext()
            with wait:
                loss = denoising_loss(model, *piece).mean() / accumulate
                loss.backward()
            losses[step] += loss.detach()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        ema.update_parameters(prior)

        done = step + 1
        if done % REPORT and done % interval and done < steps:
            continue
        if ranks > 1:
            distributed.all_reduce(losses[seen:done])
            losses[seen:done] /= ranks
        bad = (~torch.isfinite(losses[seen:done])).nonzero()
        if len(bad):
            raise FloatingPointError(
                f"training: loss is {losses[seen + bad[0, 0]].item()} at step {seen + bad[0, 0].item()}; the last good "
                f"state, if any, is {checkpoint}; try a smaller learning_rate")
        seen = done
        status = f"loss {losses[max(0, done - 100) : done].mean().item():.4f}"
        if not rank and (done % interval == 0 or done == steps):
            if check:
                history.append(dict(step=done, loss=validate(ema.module, check)))
            if callback:
                callback(done, ema.module)
            if done < steps:
                state = {name: part.state_dict() for name, part in parts.items()}
                _save_checkpoint(checkpoint, dict(state, settings=settings, step=done, losses=losses[:done].cpu(),
                                                  history=history, seconds=time.perf_counter() - start))
        if history:
            status += f", validation {one_line(history[-1]['loss'])}"
        bar.set_postfix_str(status)

    seconds = time.perf_counter() - start
    leave()
    if not rank:
        curve = [round(piece.mean().item(), 5) for piece in losses.split(REPORT)]
        save_prior(out, ema.module, dict(
            settings, steps_before=before, sigma_data=prior.sigma_data,
            parameters=sum(p.numel() for p in prior.net.parameters()), people=list(people), seconds=round(seconds),
            images_per_second=round(batch * steps / seconds, 1), hardware=hardware(device), processes=ranks,
            torch=torch.__version__, date=datetime.date.today().isoformat(), losses=dict(every=REPORT, mean=curve),
            validation=history))
        checkpoint.unlink(missing_ok=True)
    return out


def validation_slices(volume, slices=4, dims=2):
    """Slices of a volume at 1, 2 and 3 times its voxel size, ``slices`` of each plane, with a smooth phase.

    With ``dims=3``, the whole volume instead of slices.

    Returns
    -------
    list of tuple
        ``(multiple, slices (n, 2, height, width), voxel size (n, 2))``, one for each size and plane.

    Examples
    --------
    >>> from mrilab.volumes import Volume
    >>> groups = validation_slices(Volume(torch.ones(12, 18, 24), (2, 1, 1)), slices=4)
    >>> len(groups)
    9
    >>> multiple, axial, voxel_size = groups[3]
    >>> multiple, axial.shape, voxel_size[0]
    (2, torch.Size([4, 2, 9, 12]), tensor([2., 2.]))
    """
    groups = []
    for multiple in (1, 2, 3):
        small = volume.resample(tuple(multiple * d for d in volume.voxel_size))
        image = small.data / percentile(small.data, 0.99)
        image = image * torch.exp(1j * smooth_phase(image.shape, torch.Generator().manual_seed(0)))
        if dims == 3:
            groups.append((multiple, to_channels(image[None]), torch.tensor([small.voxel_size])))
            continue
        for axis in range(3):
            n = image.shape[axis]
            chosen = image.movedim(axis, 0)[torch.linspace(0.3 * n, 0.7 * n, slices).long()]
            size = in_plane(small.voxel_size, axis)
            groups.append((multiple, to_channels(chosen), torch.tensor([size] * slices)))
    return groups


@torch.no_grad()
def validate(prior, groups):
    """Denoising loss on :func:`validation_slices`: a dict by multiple of the voxel size and noise level.

    Examples
    --------
    >>> from mrilab.volumes import Volume
    >>> prior = new_prior("unet", (1, 1), widths=(8,))
    >>> table = validate(prior, validation_slices(Volume(torch.ones(12, 18, 24), (1, 1, 1)), slices=2))
    >>> list(table)[:4]
    ['1x, sigma 0.05', '1x, sigma 0.1', '1x, sigma 0.2', '2x, sigma 0.05']
    """
    device = next(prior.parameters()).device
    table = {}
    for multiple in sorted({group[0] for group in groups}):
        for level in VALIDATION_SIGMA:
            generator, losses = torch.Generator().manual_seed(1), []
            for clean, size in (group[1:] for group in groups if group[0] == multiple):
                noise = torch.randn(clean.shape, generator=generator)
                sigma = torch.full((len(clean),), level)
                losses.append(denoising_loss(prior, *(t.to(device) for t in (clean, sigma, noise, size))))
            table[f"{multiple}x, sigma {level}"] = round(torch.cat(losses).mean().item(), 5)
    return table


def one_line(table):
    """What :func:`validate` returned, for a progress bar: by voxel size, and noise levels in rising order.

    Examples
    --------
    >>> one_line({"1x, sigma 0.05": 0.143, "1x, sigma 0.2": 0.076, "3x, sigma 0.05": 0.357, "3x, sigma 0.2": 0.198})
    '1x .14 .08 3x .36 .20'
    """
    words = []
    for key, loss in table.items():
        multiple = key.split(",")[0]
        if multiple not in words:
            words.append(multiple)
        words.append(f"{loss:.2f}".removeprefix("0"))
    return " ".join(words)


def _save_checkpoint(path, state):
    """Write the state of a run, whole or not at all."""
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def _load_checkpoint(path, settings, device):
    """Read the state of a run, which must have been started with the same settings."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = state["settings"]
    except Exception as error:
        raise ValueError(f"{path}: not a checkpoint, or damaged: {error!r}; delete it to start anew") from None
    for name, value in settings.items():
        if found.get(name) != value:
            raise ValueError(f"{path}: found a run with {name} {found.get(name)}, expected {value}; finish it with "
                             "its own settings, or delete it to start anew")
    return state
