"""Several processes on one task, one for each GPU, started by ``torchrun``."""

import os

import torch
from torch import distributed


def join(device="cpu"):
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

    Examples
    --------
    >>> join()
    (0, 1, device(type='cpu'))
    """
    rank, ranks, device = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), torch.device(device)
    if ranks > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return rank, ranks, device


def leave():
    """Wait for the others and part."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
