"""Priors on disk: weights as safetensors, and the card beside them that says what they are."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from reprlib import repr as shortened
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .datasets import locate, sha256
from .diffusion import Prior
from .neural_operator import OperatorPrior
from .processes import check_device
from .unet import UNet
from .writing import atomic_path

LARGEST_CARD, LARGEST_WEIGHTS = 2**24, 2**29        # bytes; more is not read
LARGEST_NETWORK = 2**26                             # weights in the kernels of its blocks

Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Network(BaseModel):
    """What must be known to build a prior's network.

    Examples
    --------
    >>> checked(Network, dict(voxel_sizes=[1, 4], widths=[8, 5000], conditioned=False))
    Traceback (most recent call last):
    ValueError: widths[1]: found 5000, expected less than or equal to 1024
    """

    model_config = ConfigDict(frozen=True)

    network: Literal["unet", "unet3d", "operator"] = "unet"
    voxel_sizes: tuple[Positive, Positive]
    widths: Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=1024)], ...], Field(min_length=1, max_length=8)]
    conditioned: StrictBool
    sigma_data: Positive = 0.3
    light: StrictBool = False           # see UNet

    @model_validator(mode="after")
    def _agree(self) -> "Network":
        """What no field can tell alone."""
        (low, high), operator = self.voxel_sizes, self.network == "operator"
        if low > high or (operator and low < high):
            expected = "one size, twice: an operator is trained at one" if operator else "(smallest, largest) in mm"
            raise ValueError(f"voxel_sizes: found {low:g} and {high:g}, expected {expected}")
        weights = sum(4 * w**2 * (27 if self.network == "unet3d" else 9) for w in self.widths)
        if weights > LARGEST_NETWORK or (operator and len(self.widths) < 2):
            raise ValueError(f"widths: found {list(self.widths)}, with {weights:,} weights in the blocks' kernels, "
                             f"expected at most {LARGEST_NETWORK:,}; of an operator two widths or more")
        return self


class Card(Network):
    """What a prior is and how it was trained. Fields that are not listed here are kept as they are.

    Examples
    --------
    >>> card = read_card("diverse")
    >>> card.voxel_sizes, card.people[:2], card.model_dump()["patch"]
    ((1.0, 4.0), ('S1', 'pyhrf'), 64)
    """

    model_config = ConfigDict(extra="allow")

    sigma_data: Positive
    sha256: Sha256                      # of the weights
    steps: Count = 0
    steps_before: Count = 0             # of the prior whose weights training began with
    people: tuple[str, ...] = ()


Schema = TypeVar("Schema", bound=BaseModel)


def checked(schema: type[Schema], fields: Any) -> Schema:
    """The fields as an instance of a pydantic schema; ValueError says in one line what is wrong with the first bad one.

    Examples
    --------
    >>> checked(Network, {"voxel_sizes": [1, float("nan")], "widths": [8], "conditioned": True})
    Traceback (most recent call last):
    ValueError: voxel_sizes[1]: found nan, expected a finite number
    """
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":                  # one of our own
        raise ValueError(first["msg"].removeprefix("Value error, "))
    # of a value that may be of several types, pydantic also says at which one it stopped
    parts = [p for p in first["loc"] if isinstance(p, int) or (p.isidentifier() and p not in ("int", "float"))]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    found = "nothing" if first["type"] == "missing" else shortened(first["input"])
    expected = first["msg"].replace("Field required", "this field").replace(
        "Extra inputs are not permitted", "no such key").replace("Input should be ", "").replace("\n", " ")
    raise ValueError(f"{where}: found {found}, expected {expected}".lstrip(": "))


def read_card(name_or_path: str | Path) -> Card:
    """The card of a prior.

    Parameters
    ----------
    name_or_path : str or Path
        A shipped prior, or the file of the weights or of the card.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not JSON, too large, a number that is not finite, or fields that are no prior's.

    Examples
    --------
    >>> read_card("fixed_2mm").widths
    (32, 32, 48, 64, 96)
    """
    path = locate(name_or_path, "prior")
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise FileNotFoundError(f"{card_path}: no such file; the card of {path.name} belongs beside it")
    with open(card_path, "rb") as file:
        text = file.read(LARGEST_CARD + 1)
    try:
        if len(text) > LARGEST_CARD:
            raise ValueError(f"found more than {LARGEST_CARD} bytes")
        return checked(Card, from_json(text, allow_inf_nan=False))
    except ValueError as error:
        raise ValueError(f"{card_path}: not the card of a prior: {error}") from None


def new_prior(network: str, voxel_sizes: tuple[float, float], widths: tuple[int, ...], conditioned: bool = False,
              sigma_data: float = 0.3, light: bool = False) -> Prior:
    """An untrained prior: ``"unet"``, ``"unet3d"`` for volumes, or ``"operator"`` for one in function space.

    Examples
    --------
    >>> type(new_prior("operator", (2.0, 2.0), (4, 4, 8))).__name__
    'OperatorPrior'
    """
    if network == "operator":
        return OperatorPrior(widths, voxel_sizes, sigma_data)
    dims = {"unet": 2, "unet3d": 3}[network]
    net = UNet(widths, 1 + dims if conditioned else 1, dims=dims, light=light)
    return Prior(net, voxel_sizes, sigma_data, conditioned, dims)


def load_prior(name_or_path: str | Path, device: str | torch.device = "cpu") -> Prior:
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
        No such file; an unreadable card or weights; weights that do not match the card, or are not finite.

    Examples
    --------
    >>> load_prior("fixed_1mm").voxel_sizes
    (1.0, 1.0)
    """
    device = check_device(device)
    path = locate(name_or_path, "prior")
    card = read_card(path)
    if path.stat().st_size > LARGEST_WEIGHTS:
        raise ValueError(f"{path}: found {path.stat().st_size} bytes, expected at most {LARGEST_WEIGHTS}")
    found = sha256(path)
    if found != card.sha256:
        raise ValueError(f"{path}: found SHA-256 {found}, but its card says {card.sha256}")
    prior = new_prior(card.network, card.voxel_sizes, card.widths, card.conditioned, card.sigma_data,
                      card.light)
    try:
        weights = {name: values.float() for name, values in load_file(path).items()}
        prior.net.load_state_dict(weights)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path}: weights do not fit the network of the card: {reason}") from None
    if not all(values.isfinite().all() for values in weights.values()):
        raise ValueError(f"{path}: found weights that are NaN or infinite, expected finite ones")
    prior = prior.eval().requires_grad_(False)
    return prior.to(device, memory_format=prior.memory_format)      # type: ignore[call-overload]


def save_prior(path: str | Path, prior: Prior, card: Mapping[str, Any]) -> None:
    """Write the weights as float16 safetensors, and the card with their SHA-256 beside them.

    Parameters
    ----------
    path : str or Path
        ``.safetensors``; the card goes beside it as ``.json``.
    prior : Prior
    card : dict
        What a :class:`Card` needs (``network``, ``voxel_sizes``, ``widths``, ``conditioned``, ``sigma_data``), and
        whatever else is to be known.

    Raises
    ------
    OSError
        If a file cannot be written; what was there before stays.
    ValueError
        For a card that :func:`read_card` would refuse.

    Examples
    --------
    >>> import tempfile
    >>> card = dict(network="unet", voxel_sizes=[1, 4], widths=[8, 8], conditioned=True, sigma_data=0.3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_prior(f"{folder}/a.safetensors", new_prior("unet", (1, 4), (8, 8), conditioned=True), card)
    ...     load_prior(f"{folder}/a.safetensors").voxel_sizes
    (1.0, 4.0)
    """
    path = Path(path)
    with whole_file(path) as temporary:
        save_file({k: v.half().contiguous() for k, v in prior.net.state_dict().items()}, temporary)
        entries = dict(card, sha256=sha256(temporary))
        checked(Card, entries)
        lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in entries.items()]
    with whole_file(path.with_suffix(".json")) as temporary:
        temporary.write_text("{" + ",\n ".join(lines) + "}\n")


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
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
