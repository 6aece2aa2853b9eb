"""Several processes: on one task, one for each GPU, started by ``torchrun``; or on many tasks, by joblib or Dask."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def check_device(device: str | torch.device, name: str = "device") -> torch.device:
    """The device, on which something was computed to see that it is there; ValueError in one line if it is not.

    Examples
    --------
    >>> check_device("cpu")
    device(type='cpu')
    >>> check_device("gpu")
    Traceback (most recent call last):
    ValueError: device: found 'gpu', expected a device that this machine has: cpu...
    """
    try:
        found = torch.device(device)
        torch.ones(1, device=found).sum().item()
    except Exception:                   # each kind of device fails in its own way
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())),
                *["mps"] * torch.backends.mps.is_available()]
        raise ValueError(f"{name}: found {str(device)!r}, expected a device that this machine has: "
                         f"{', '.join(here)}") from None
    return found


def join(device: str | torch.device = "cpu") -> tuple[int, int, torch.device]:
    """Join the other processes, if ``torchrun`` started this one.

    Parameters
    ----------
    device : str or torch.device
        ``"cuda"`` becomes this process's own GPU.

    Returns
    -------
    rank : int
        Number of this process, 0 if it is alone.
    ranks : int
        Number of processes.
    device : torch.device

    Raises
    ------
    ValueError
        For a device that this machine does not have.

    Examples
    --------
    >>> join()
    (0, 1, device(type='cpu'))
    """
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if ranks > 1 and str(device).startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    device = check_device(device)
    if ranks > 1:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return rank, ranks, device


def leave() -> None:
    """Wait for the others and part.

    Examples
    --------
    >>> rank, ranks, device = join()
    >>> leave()                             # alone: at once
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def in_parallel(function: Callable[..., Any], calls: Sequence[tuple], count: int = 1, scheduler: str | None = None
                ) -> Iterator[Any]:
    """Call a function many times at once: processes of this machine, or the workers of a Dask cluster.

    Parameters
    ----------
    function : callable
    calls : list of tuple
        The arguments of each call.
    count : int
        Processes on this machine; with a scheduler all of its workers take part.
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://host:8786``), a scheduler file (``.json``), or ``local`` for a
        cluster of ``count`` workers on this machine.

    Yields
    ------
    object
        The results, in the order in which the calls end.

    Examples
    --------
    >>> list(in_parallel(pow, [(2, 3), (3, 2)]))
    [8, 9]
    """
    if count == 1 and not scheduler:
        yield from (function(*call) for call in calls)
        return
    import joblib

    with contextlib.ExitStack() as stack:
        if scheduler:
            from distributed import Client

            kind = "scheduler_file" if scheduler.endswith(".json") else "address"
            where: dict[str, Any] = {kind: scheduler, "timeout": 30}
            if scheduler == "local":
                where = dict(n_workers=max(1, count), threads_per_worker=1, dashboard_address=None)
            stack.enter_context(Client(**where))
            stack.enter_context(joblib.parallel_config(backend="dask"))
        work = joblib.Parallel(-1 if scheduler else count, batch_size=1, return_as="generator_unordered")
        yield from work(joblib.delayed(function)(*call) for call in calls)


def hardware(device: str | torch.device = "cpu") -> str:
    """One line that names the machine's processor, for cards and result files.

    Examples
    --------
    >>> hardware().endswith("threads")
    True
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        lines = [line for line in cpus.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{name}, {torch.get_num_threads()} threads"
