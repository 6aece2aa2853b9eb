"""Priors on disk: weights as safetensors, and the card beside them that says what they are."""

import contextlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .datasets import locate, sha256
from .diffusion import Prior
from .neural_operator import OperatorPrior
from .unet import UNet
from .writing import atomic_path


def new_prior(network, voxel_sizes, widths, conditioned=False, sigma_data=0.3):
    """An untrained prior: ``"unet"``, ``"unet3d"`` for volumes, or ``"operator"`` for one in function space.

    Examples
    --------
    >>> type(new_prior("operator", (2.0, 2.0), (4, 4, 8))).__name__
    'OperatorPrior'
    """
    if network == "operator":
        return OperatorPrior(widths, voxel_sizes, sigma_data)
    if network not in ("unet", "unet3d"):
        raise ValueError(f"network: found {network!r}, expected unet, unet3d or operator")
    dims = 2 if network == "unet" else 3
    return Prior(UNet(widths, 1 + dims if conditioned else 1, dims=dims), voxel_sizes, sigma_data, conditioned, dims)


def load_prior(name_or_path, device="cpu"):
    """Load a prior: safetensors weights and the JSON card beside them.

    Parameters
    ----------
    name_or_path : str or Path
        A shipped prior (``"diverse"``, ``"fixed_1mm"``), or a ``.safetensors`` file with its ``.json`` card.
    device : str or torch.device
        Where to put the network.

    Returns
    -------
    Prior
        In evaluation mode; an :class:`~mrilab.neural_operator.OperatorPrior` if the card says so.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; an unreadable card or weights; weights that do not match the card.

    Examples
    --------
    >>> load_prior("fixed_1mm").voxel_sizes
    (1.0, 1.0)
    """
    path = locate(name_or_path, "prior")
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise FileNotFoundError(f"{card_path}: no such file; the card of {path.name} belongs beside it")
    try:
        card = json.loads(card_path.read_text())
        prior = new_prior(card.get("network", "unet"), card["voxel_sizes"], card["widths"], card["conditioned"],
                          card["sigma_data"])
        expected = card["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{card_path}: not the card of a prior: {error!r}") from None
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path}: found SHA-256 {found}, but its card says {expected}")
    try:
        prior.net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except Exception as error:
        raise ValueError(f"{path}: weights do not fit the network of the card: {error}") from None
    return prior.eval().requires_grad_(False).to(device, memory_format=prior.memory_format)


def save_prior(path, prior, card):
    """Write the weights as float16 safetensors, and the card with their SHA-256 beside them.

    Parameters
    ----------
    path : str or Path
        ``.safetensors``; the card goes beside it as ``.json``.
    prior : Prior
    card : dict
        What :func:`~mrilab.priors.load_prior` needs (``network``, ``voxel_sizes``, ``widths``, ``conditioned``,
        ``sigma_data``), and whatever else is to be known.

    Raises
    ------
    OSError
        If a file cannot be written; what was there before stays.

    Examples
    --------
    >>> import tempfile
    >>> card = dict(network="unet", voxel_sizes=[1, 4], widths=[8, 8], conditioned=True, sigma_data=0.3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_prior(f"{folder}/a.safetensors", new_prior("unet", (1, 4), (8, 8), conditioned=True), card)
    ...     load_prior(f"{folder}/a.safetensors").voxel_sizes
    (1, 4)
    """
    path = Path(path)
    with whole_file(path) as temporary:
        save_file({k: v.half().contiguous() for k, v in prior.net.state_dict().items()}, temporary)
        digest = sha256(temporary)
    with whole_file(path.with_suffix(".json")) as temporary:
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in dict(card, sha256=digest).items()]
        temporary.write_text("{" + ",\n ".join(lines) + "}\n")


@contextlib.contextmanager
def whole_file(path):
    """:func:`~mrilab.writing.atomic_path`, whose every failure, of a full disk for one, is an OSError.

    Examples
    --------
    >>> with whole_file("no such folder/a.txt") as temporary:
    ...     pass
    Traceback (most recent call last):
    OSError: no such folder/a.txt: could not be written (...); what was there before is as it was
    """
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(f"{path}: could not be written ({error}); what was there before is as it was") from None
