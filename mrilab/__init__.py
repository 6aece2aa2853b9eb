"""mrilab: 3D MRI reconstruction with 2D diffusion priors, in plain PyTorch.

The modules are imported by name (``from mrilab import operators``); nothing heavy is loaded here.
"""

__version__ = "0.1.0"
