"""Interactive figures for pages and notebooks, on anywidget: they need no kernel once they are drawn.

``VolumeViewer`` shows volumes in three linked planes, ``KSpaceLab`` lets the reader choose what is measured,
``UnfoldingLab`` tells two aliased voxels apart with two coils, ``VoxelSizeLab`` shows a slice as a network sees it,
``ScoreLab`` is a plane with a score to flow along, ``NoiseLab`` and ``NetworkLab`` denoise, ``IterationPlayer`` replays
a reconstruction, ``ComparisonDashboard`` holds two results against each other, ``MismatchLab`` shows what meters say of
priors, ``ReaderStudy`` asks which of two images is better.
"""

from .comparison_dashboard import ComparisonDashboard
from .iteration_player import IterationPlayer
from .kspace_lab import KSpaceLab
from .mismatch_lab import MismatchLab
from .network_lab import NetworkLab
from .noise_lab import NoiseLab
from .reader_study import ReaderStudy
from .score_lab import ScoreLab
from .unfolding_lab import UnfoldingLab
from .volume_viewer import VolumeViewer
from .voxel_size_lab import VoxelSizeLab

__all__ = [
    "ComparisonDashboard", "IterationPlayer", "KSpaceLab", "MismatchLab", "NetworkLab", "NoiseLab", "ReaderStudy",
    "ScoreLab", "UnfoldingLab", "VolumeViewer", "VoxelSizeLab",
]
