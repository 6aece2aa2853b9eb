"""mrilab: 3D MRI reconstruction with 2D diffusion priors, in plain PyTorch.

The modules are imported by name (``from mrilab import operators``); nothing heavy is loaded here.
"""

import importlib.util
import sys
from pathlib import Path

__version__ = "0.1.0"

if importlib.util.find_spec("torch") is None:
    _missing = ("mrilab: PyTorch is missing, which mrilab leaves to you so that a build for your GPU stays as it is: "
                "pip install torch")
    # a command says it in one line; while Python looks for what -m names, that is the first argument
    raise SystemExit(_missing) if Path(sys.argv[0]).stem in ("-m", "mrilab") else ImportError(_missing)
