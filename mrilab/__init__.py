"""mrilab: 3D MRI reconstruction with 2D diffusion priors, in plain PyTorch.

The modules are imported by name (``from mrilab import operators``); nothing heavy is loaded here.
"""

import importlib.util
import sys
from pathlib import Path

__version__ = "0.1.0"

_problem = None
if sys.version_info < (3, 11):         # noqa: UP036 (pip refuses it, a checkout on the path does not)
    _problem = f"found Python {'.'.join(map(str, sys.version_info[:2]))}, expected 3.11 or newer"
elif importlib.util.find_spec("torch") is None:
    _problem = ("PyTorch is missing, which mrilab leaves to you so that a build for your GPU stays as it is: "
                "pip install torch")
if _problem:
    # a command says it in one line; while Python looks for what -m names, that is the first argument
    _command = Path(sys.argv[0]).stem in ("-m", "mrilab")
    raise (SystemExit if _command else ImportError)(f"mrilab: {_problem}")
