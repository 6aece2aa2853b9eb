"""The methods of reconstruction by their names: one door for the command line and the comparison."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:                   # the command line asks for the names without torch
    from .diffusion import Prior
    from .volumes import Acquisition, Reconstruction

Methods = Mapping[str, str | Callable[..., Any]]
METHODS: Methods = {                # a function of this package, or any callable in their form
    "zero_filled": "classical.zero_filled",
    "cg_sense": "classical.cg_sense",
    "l1_wavelet": "classical.l1_wavelet",
    "total_variation": "classical.total_variation",
    "variational": "variational.reconstruct",
    "dds": "posterior.dds",
    "diffusion_mbir": "posterior.diffusion_mbir",
    "tpdm": "posterior.tpdm",
    "iscs": "posterior.iscs",
}
COMMON = ("prior", "seed", "representation", "progress")    # what a method gets if it has a parameter of that name


def find(method: str, methods: Methods = METHODS) -> Callable[..., Any]:
    """The function of a method, imported when it is asked for.

    Raises
    ------
    ValueError
        For a name that is not in ``methods``.

    Examples
    --------
    >>> find("cg_sense").__module__
    'mrilab.classical'
    """
    if method not in methods:
        raise ValueError(f"method: found {method!r}, expected one of {', '.join(methods)}")
    function = methods[method]
    if isinstance(function, str):
        module, name = function.split(".")
        function = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    return function


def has(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a function names a parameter.

    Examples
    --------
    >>> has(find("cg_sense"), "iterations"), has(find("cg_sense"), "prior")
    (True, False)
    """
    return parameter in inspect.signature(function).parameters


def reconstruct(method: str, acquisition: "Acquisition", prior: "Prior | None" = None, seed: int = 0,
                representation: str = "voxel", progress: bool = False, methods: Methods = METHODS,
                **settings: Any) -> "Reconstruction":
    """Reconstruct with a method by its name.

    Of prior, seed, representation and progress the method gets those that it has.

    Parameters
    ----------
    method : str
        A key of ``methods``.
    acquisition : Acquisition
    prior : Prior, optional
    **settings
        The method's own.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError
        For an unknown method, and a setting or a representation that the method does not have.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((12, 12, 12)), acceleration=2)
    >>> reconstruct("cg_sense", acq, iterations=3).operator_applications
    3
    """
    function = find(method, methods)
    check_settings(method, function, representation, settings)
    common = {name: value for name, value in zip(COMMON, (prior, seed, representation, progress))
              if has(function, name)}
    return function(acquisition, **common, **settings)


def check_settings(method: str, function: Callable[..., Any], representation: str, settings: dict[str, Any]) -> None:
    """ValueError for a setting or a representation that a method does not have.

    A method that takes any (``**settings``) checks them itself.

    Examples
    --------
    >>> check_settings("cg_sense", find("cg_sense"), "voxel", {"iterations": 4})
    >>> check_settings("cg_sense", find("cg_sense"), "voxel", {"steps": 4})
    Traceback (most recent call last):
    ValueError: cg_sense: found the setting 'steps', expected regularization or iterations or tolerance
    """
    from .checks import check_choice
    from .representations import NAMES

    parameters = list(inspect.signature(function).parameters.values())[1:]
    own = [p.name for p in parameters if p.name not in (*COMMON, "callback")]
    for key in settings:
        if key not in own and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise ValueError(f"{method}: found the setting {key!r}, expected {' or '.join(own) or 'none'}")
    check_choice(representation, "representation", NAMES)
    if representation != "voxel" and not has(function, "representation"):
        raise ValueError(f"representation: found {representation!r}, expected 'voxel': {method} has no other")
