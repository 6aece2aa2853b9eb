"""Interactive figures for pages and notebooks, on anywidget: they need no kernel once they are drawn.

``VolumeViewer`` shows volumes in three linked planes, ``KSpaceLab`` lets the reader choose what is measured,
``NoiseLab`` and ``NetworkLab`` denoise, ``IterationPlayer`` replays a reconstruction.
"""

from .iteration_player import IterationPlayer
from .kspace_lab import KSpaceLab
from .network_lab import NetworkLab
from .noise_lab import NoiseLab
from .volume_viewer import VolumeViewer

__all__ = ["IterationPlayer", "KSpaceLab", "NetworkLab", "NoiseLab", "VolumeViewer"]
