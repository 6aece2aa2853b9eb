"""Training a prior: the loop, its checkpoints, several processes.

Everything random at step ``s`` follows from ``(seed, s)``, so an interrupted run that is started again
goes on as if nothing had happened, and several processes do together what one would do.
"""

import contextlib
import datetime
import hashlib
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from reprlib import repr as shortened
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .augmentation import Stream, VoxelSizes, ends_of
from .checks import check_whole, in_plane
from .datasets import entry_of, locate, sha256
from .diffusion import Prior, denoising_loss, to_channels
from .graphs import Recorded
from .metrics import percentile
from .priors import Count, Network, Positive, checked, load_prior, new_prior, read_card, save_prior, whole_file
from .processes import hardware, join, leave
from .simulate import smooth_phase
from .volumes import Volume, volume_header

REPORT = 50                         # steps between looks at the loss
LOG_SIGMA = (-2.2, 1.3)             # mean and standard deviation of the log of most training noise levels
HIGH_SIGMA = (1.0, 30.0)            # range of the others, a twentieth: there a sample starts
VALIDATION_SIGMA = (0.05, 0.1, 0.2)


def noise_levels(count: int, generator: torch.Generator) -> torch.Tensor:
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


Tensors = list[torch.Tensor] | tuple[torch.Tensor, ...]


def average(averaged: Tensors, current: Tensors, count: torch.Tensor | int) -> None:
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


Natural = Annotated[int, Field(strict=True, ge=1)]


class Settings(Network):
    """What makes a run what it is: a checkpoint goes on with the same ones only, and the card records them.

    Examples
    --------
    >>> network = dict(voxel_sizes=(1, 4), widths=(8, 8), conditioned=False)
    >>> checked(Settings, dict(network, steps=0, batch=8, patch=64, learning_rate=1e-3, seed=0, data_sha256=()))
    Traceback (most recent call last):
    ValueError: steps: found 0, expected greater than or equal to 1
    """

    odds: tuple[tuple[float, float], ...] | None = None
    steps: Natural
    batch: Natural
    patch: Natural
    learning_rate: Positive
    seed: Annotated[int, Field(ge=0)]
    whole: Count | None = None
    heads: Literal["torch"] = "torch"       # how slices are made; "numpy" of older priors: patches alone
    initial: str | None = None              # SHA-256 of the weights to start from
    data_sha256: tuple[str, ...]            # of each volume


def train(volumes: Sequence[Volume | str | Path], voxel_sizes: VoxelSizes, out: str | Path, steps: int = 8000,
          batch: int = 8, patch: int = 64, widths: Sequence[int] = (32, 32, 64, 128, 128), conditioned: bool = False,
          learning_rate: float = 1e-3, seed: int = 0, initial: str | Path | None = None,
          device: str | torch.device = "cpu", accumulate: int = 1, validation: Volume | None = None,
          interval: int = 500, people: Sequence[str] = (), progress: bool = True,
          callback: Callable[[int, Prior], Any] | None = None, network: str = "unet", light: bool = False,
          whole: int | None = None, until: float = math.inf) -> Path:
    """Train a prior on slices of ``volumes`` and write it to ``out``.

    Adam with a warm-up and a cosine to zero, gradient norm clipped to 1, an exponential moving average of the
    weights. Started by ``torchrun``, the processes share each batch: the result is that of one process.

    Parameters
    ----------
    volumes : list
        Of the training people: :class:`~mrilab.volumes.Volume`, paths or names, also of label maps. Complex ones count
        as their magnitudes. Files are read when their turn comes; their SHA-256 is taken at the start.
    voxel_sizes : tuple or dict
        ``(low, high)`` in mm: ``(1, 1)`` for a fixed-resolution prior, ``(1, 4)`` for a diverse one. Or the sizes
        and their odds: ``{1: 2, 3: 1}`` is 1 mm twice as often as 3 mm.
    out : str or Path
        ``.safetensors`` file; the card goes beside it as ``.json``. While training, ``.checkpoint`` beside
        it holds the state: the same call, with the same data, goes on where it was stopped, on another device too.
    steps, batch, patch, widths, conditioned, learning_rate, seed
        Training budget and network. ``batch`` counts the slices of a step over all processes.
    initial : str or Path, optional
        A prior, shipped or a file, whose weights to start from: it must have the same network. Without it, random ones.
    device : str or torch.device
    accumulate : int
        Parts in which a batch goes through the network, to save memory; the result is the same.
    validation : Volume, optional
        The loss on its slices is kept for 1, 2 and 3 times its voxel size and three noise levels.
    interval : int
        Steps between checkpoints, and between validations.
    people : sequence of str
        Names of the training people, for the card. Without them, each volume's ``info["person"]``, or its file's name.
    callback : callable, optional
        Called with the number of steps done and the averaged prior, every ``interval`` steps.
    network : str
        ``"unet"``; ``"unet3d"`` for a prior of volumes, trained on cubes of ``patch`` voxels; or ``"operator"`` for an
        :class:`~mrilab.neural_operator.OperatorPrior`, which is trained at one voxel size and always told it.
    light : bool
        A U-Net with less work at full resolution (:class:`~mrilab.unet.UNet`); an operator has none.
    whole : int, optional
        Side of the whole slices that every fifth step has instead of patches, 0 for none; without it, one that holds a
        slice of a head. As all that makes the slices, see :class:`mrilab.augmentation.Stream`.
    until : float
        Time (``time.time``) after which the state is kept and the call ends.

    Returns
    -------
    Path
        ``out``; it is not there if the time was up, and the same call goes on.

    Raises
    ------
    FileExistsError
        If ``out`` is there already: a trained prior is not overwritten.
    ValueError
        For no volumes, or one smaller than a patch or coarser than the asked voxel sizes; a test person, volume or
        recorded scan; a batch that cannot be shared; a checkpoint of another run or of other data; an unknown network,
        or an operator for several voxel sizes; a device that is not there; an ``out`` of another kind.
    FloatingPointError
        If the loss stops being finite; the last good checkpoint stays.
    OSError
        If ``out`` or a checkpoint cannot be written; the last good one stays.

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
    out = _free(Path(out))
    rank, ranks, device = join(device)
    check_whole(accumulate, "accumulate")
    check_whole(interval, "interval")
    if batch % (ranks * accumulate):
        raise ValueError(f"batch: found {batch}, expected a multiple of {ranks} processes times {accumulate} parts")
    for number, volume in enumerate(volumes):
        _refuse_test_people(volume, number)
    settings = checked(Settings, dict(
        network=network, light=light, voxel_sizes=ends_of(voxel_sizes), widths=tuple(widths), steps=steps, batch=batch,
        patch=patch, odds=tuple(voxel_sizes.items()) if isinstance(voxel_sizes, dict) else None, seed=seed, whole=whole,
        learning_rate=learning_rate, conditioned=conditioned or network == "operator",
        data_sha256=tuple(map(_digest, volumes)), initial=sha256(locate(initial, "prior")) if initial else None))
    run = _Run(settings, initial, out.with_suffix(".checkpoint"), device, rank, ranks)
    check = validation_slices(validation, dims=run.prior.dims) if validation is not None else []
    run.resume()
    stream = Stream(volumes, voxel_sizes, batch, patch, whole, seed, run.done, device, run.prior.dims)
    names, _, _, infos = zip(*stream.headers)
    quiet: dict = {} if progress and not rank else {"disable": True}        # else TQDM_DISABLE decides
    bar = tqdm(range(run.done, steps), initial=run.done, total=steps, desc=out.stem, mininterval=2, **quiet)
    bar.set_postfix_str("making the first heads")
    for _, (clean, voxel_size) in zip(bar, stream):
        run.step(clean, voxel_size, accumulate)
        due = run.done % interval == 0 or run.done == steps
        if not due and run.done % REPORT:
            continue
        status = f"loss {run.mean_loss():.4f}"
        if due and not rank:
            if check:
                run.history.append(dict(step=run.done, loss=validate(run.averaged, check)))
            if callback:
                callback(run.done, run.averaged)
            if run.done < steps:
                run.keep()
        if run.done < steps and _time_is_up(until, run):
            if not rank:
                run.keep()
            leave()
            return out
        if run.history:
            status += f", validation {one_line(run.history[-1]['loss'])}"
        bar.set_postfix_str(status)

    record = run.record()
    leave()
    if not rank:
        persons = people or dict.fromkeys(info["person"] for info in infos)
        record |= dict(people=[str(p) for p in persons], volumes=[Path(n).name for n in names])
        save_prior(out, run.averaged, record)
        run.checkpoint.unlink(missing_ok=True)
    return out


def _refuse_test_people(volume: Volume | str | Path, number: int) -> None:
    """ValueError for a volume that says, or whose entry says, that it is for testing."""
    entry = None if isinstance(volume, Volume) else entry_of(volume)
    if entry is not None:
        name, split = entry.name, entry.split
    elif isinstance(volume, Volume):
        name, split = f"volumes[{number}]", volume.info.get("split", "")
    else:
        name, split = str(volume), volume_header(volume)[2].get("split", "")
    if "test" in str(split):
        raise ValueError(f"{name}: found a {split} person, expected people for training: results on this one would "
                         "mean nothing afterwards")


def _time_is_up(until: float, run: "_Run") -> bool:
    """Whether to stop now; the processes of a run agree on it."""
    late = torch.tensor(float(time.time() > until), device=run.device)
    if run.ranks > 1:
        distributed.all_reduce(late)
    return late.item() > 0


def _free(out: Path) -> Path:
    """A place where a prior can be written, found out before the work and not after it."""
    if out.suffix != ".safetensors":
        raise ValueError(f"out: found {str(out)!r}, expected a name that ends in .safetensors")
    if out.with_suffix(".json").exists() or (out.exists() and not out.with_suffix(".checkpoint").exists()):
        raise FileExistsError(f"{out}: there already; delete it and its card to train it anew")
    try:
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        raise OSError(f"out: found {out}, expected a place that can be written to ({error.strerror})") from None
    return out


def _digest(volume: Volume | str | Path) -> str:
    """SHA-256 of a volume's file, or of the array and voxel size of one in memory."""
    if not isinstance(volume, Volume):
        return sha256(locate(volume, "volume"))
    array = volume.data.contiguous().numpy(force=True)
    digest = hashlib.sha256(f"{array.dtype} {array.shape} {volume.voxel_size}".encode())
    digest.update(array.data)
    return digest.hexdigest()


class _Run:
    """A run's settings and place among the processes, and the state that its checkpoint keeps."""

    def __init__(self, settings: Settings, initial: str | Path | None, checkpoint: Path, device: torch.device,
                 rank: int, ranks: int) -> None:
        self.settings, self.checkpoint, self.device, self.rank, self.ranks = settings, checkpoint, device, rank, ranks
        torch.manual_seed(settings.seed)
        prior = new_prior(settings.network, settings.voxel_sizes, settings.widths, settings.conditioned,
                          light=settings.light)
        self.before = self._begin_with(initial, prior) if initial else 0
        self.prior: Prior = prior.to(device, memory_format=prior.memory_format).train()     # type: ignore[call-overload]
        self.ema = AveragedModel(self.prior, multi_avg_fn=average)
        self.averaged = cast(Prior, self.ema.module)
        self.optimizer = torch.optim.Adam(self.prior.parameters(), settings.learning_rate, betas=(0.9, 0.99),
                                          fused=device.type == "cuda" or None)
        steps, warm_up = settings.steps, min(200, settings.steps // 10 + 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: min(1, (s + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * s / steps)))
        self.parts = dict(prior=self.prior, ema=self.ema, optimizer=self.optimizer, schedule=self.schedule)
        self.done, self.seen = 0, 0                             # steps, and those whose loss was looked at
        self.history: list[dict[str, Any]] = []
        self.machines: list[str] = []                           # of earlier stretches
        self.losses = torch.zeros(steps, device=device)
        self.accumulate = 1                                     # parts of a batch; more where the card is small
        # an operator asks for the voxel size on the way, and processes wait for each other: neither can be recorded
        alone = settings.network == "unet" and ranks == 1
        self.recorded = Recorded(self._gradients, device if alone else torch.device("cpu"))

    def _begin_with(self, initial: str | Path, prior: Prior) -> int:
        """Take the weights of another prior of the same network; returns the steps behind them."""
        card = read_card(initial)
        found, expected = (f"network {n.network}, widths {list(n.widths)}, conditioned {n.conditioned}, light {n.light}"
                           for n in (card, self.settings))
        if found != expected:
            raise ValueError(f"initial: found a prior with {found}, expected {expected}")
        prior.net.load_state_dict(load_prior(initial).net.state_dict())
        return card.steps + card.steps_before

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one, whatever device it was written on; it must be of this run."""
        self.start = time.perf_counter()
        if self.checkpoint.exists():
            try:
                state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
                found = state["settings"]
            except Exception as error:
                raise ValueError(f"{self.checkpoint}: not a checkpoint, or damaged: {error!r}; delete it to start "
                                 "anew") from None
            for name, value in self.settings.model_dump(mode="json").items():
                if found.get(name) != value:
                    raise ValueError(
                        f"{self.checkpoint}: found a run with {name} {shortened(found.get(name))}, expected "
                        f"{shortened(value)}; finish it as it was begun, or delete it to start anew")
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.done = self.seen = state["step"]
            self.start -= state["seconds"]
            self.machines = state.get("machines", [])
            self.history = state["history"]
            self.losses[:self.done] = state["losses"].to(self.device)
        self.shared = DistributedDataParallel(self.prior) if self.ranks > 1 else None
        if self.shared:
            self.shared.sigma_data = self.prior.sigma_data      # type: ignore[assignment]  # denoising_loss asks for it

    def keep(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        with whole_file(self.checkpoint) as temporary:
            torch.save(dict(state, settings=self.settings.model_dump(mode="json"), step=self.done,
                            losses=self.losses[:self.done].cpu(), history=self.history, machines=self.used(),
                            seconds=time.perf_counter() - self.start), temporary)

    def step(self, clean: torch.Tensor, voxel_size: torch.Tensor, accumulate: int) -> None:
        """One step on this process's share of a batch, which goes through the network in ``accumulate`` parts."""
        generator = torch.Generator(self.device).manual_seed(self.settings.seed * 1_000_003 + self.done)
        sigma = noise_levels(len(clean), generator)
        noise = torch.randn(clean.shape, generator=generator, device=self.device)
        # whole slices can be fewer than processes, then each takes them all; or not a multiple of them
        ranks, total = self.ranks if len(clean) >= self.ranks else 1, len(clean)
        clean, sigma, noise, voxel_size = (t[self.rank % ranks::ranks] for t in (clean, sigma, noise, voxel_size))
        self.weight = len(clean) * ranks / total
        self.accumulate = max(self.accumulate, accumulate)
        while True:
            try:
                self.losses[self.done], *gradients = self.recorded(clean, sigma, noise, voxel_size)
                break
            except torch.cuda.OutOfMemoryError:
                if self.ranks > 1 or self.accumulate >= len(clean):
                    raise
            self.accumulate *= 2                    # outside of the handler, which holds the memory
            torch.cuda.empty_cache()
            tqdm.write(f"{self.checkpoint.stem}: too large for the card; from now on {self.accumulate} parts a batch")
        for p, gradient in zip(self.prior.parameters(), gradients):
            p.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.prior.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self._average()
        self.done += 1

    def _average(self) -> None:
        """What ``ema.update_parameters`` does, without its wait for the device at each step."""
        count = int(self.ema.n_averaged)                # lies on the processor
        averaged, current = ([p.detach() for p in prior.parameters()] for prior in (self.averaged, self.prior))
        if count:
            average(averaged, current, count)
        else:
            torch._foreach_copy_(averaged, current)
        self.ema.n_averaged += 1

    def _gradients(self, clean: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor, voxel_size: torch.Tensor
                   ) -> list[torch.Tensor | None]:
        """Forward and backward pass: the mean loss, and the gradient of each parameter."""
        for p in self.prior.parameters():
            p.grad = None
        model, total = cast(Prior, self.shared or self.prior), torch.zeros((), device=self.device)
        pieces = list(zip(*(t.chunk(self.accumulate) for t in (clean, sigma, noise, voxel_size))))
        for piece in pieces:
            # gradients are exchanged once a step, with the last piece
            wait = self.shared.no_sync() if self.shared and piece is not pieces[-1] else contextlib.nullcontext()
            with wait:
                loss = denoising_loss(model, *piece).mean() * (len(piece[0]) / len(clean) * self.weight)
                loss.backward()
            total += loss.detach()
        return [total, *(p.grad for p in self.prior.parameters())]

    def mean_loss(self) -> float:
        """Mean loss of the last 100 steps, over all processes. Waits for the device; refuses what is not finite."""
        new = self.losses[self.seen:self.done]
        if self.ranks > 1:
            distributed.all_reduce(new)
            new /= self.ranks
        bad = (~torch.isfinite(new)).nonzero()
        if len(bad):
            raise FloatingPointError(
                f"training: loss is {new[bad[0, 0]].item()} at step {self.seen + bad[0, 0].item()}; the last good "
                f"state, if any, is {self.checkpoint}; try a smaller learning_rate")
        self.seen = self.done
        return self.losses[max(0, self.done - 100):self.done].mean().item()

    def used(self) -> list[str]:
        """The machines that have trained so far, this one last."""
        here = hardware(self.device)
        return self.machines if self.machines[-1:] == [here] else [*self.machines, here]

    def record(self) -> dict[str, Any]:
        """What the card says of the run."""
        seconds, steps = time.perf_counter() - self.start, self.settings.steps
        return self.settings.model_dump(mode="json") | dict(
            steps_before=self.before, parameters=sum(p.numel() for p in self.prior.net.parameters()),
            seconds=round(seconds), images_per_second=round(self.settings.batch * steps / seconds, 1),
            hardware=", then ".join(self.used()), processes=self.ranks, torch=torch.__version__,
            validation=self.history,
            losses=dict(every=REPORT, mean=[round(p.mean().item(), 5) for p in self.losses.split(REPORT)]),
            date=datetime.date.today().isoformat())


def validation_slices(volume: Volume, slices: int = 4, dims: int = 2) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
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
    magnitude = Volume(volume.data.abs(), volume.voxel_size) if volume.data.is_complex() else volume
    for multiple in (1, 2, 3):
        small = magnitude.resample(tuple(multiple * d for d in volume.voxel_size))
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
def validate(prior: Prior, groups: list[tuple[int, torch.Tensor, torch.Tensor]]) -> dict[str, float]:
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


def one_line(table: Mapping[str, float]) -> str:
    """What :func:`validate` returned, for a progress bar: by voxel size, and noise levels in rising order.

    Examples
    --------
    >>> one_line({"1x, sigma 0.05": 0.143, "1x, sigma 0.2": 0.076, "3x, sigma 0.05": 0.357, "3x, sigma 0.2": 0.198})
    '1x .14 .08 3x .36 .20'
    """
    rows = itertools.groupby(table, lambda key: key.split(",")[0])
    return " ".join(" ".join([multiple, *(f"{table[k]:.2f}".removeprefix("0") for k in row)]) for multiple, row in rows)
