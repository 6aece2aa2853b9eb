"""Raw scans: from a scanner's file to an :class:`~mrilab.volumes.Acquisition`.

:func:`open_scan` recognises a file by its content and reads its header, :func:`prepare` takes every step from there,
:func:`examine` says what looks wrong.
"""

from .ahead import read_ahead_maps
from .cfl import read_cfl, save_cfl
from .examination import examine
from .ismrmrd import save_ismrmrd
from .opening import open_scan, recognise
from .preparation import prepare
from .scan import Scan

__all__ = ["Scan", "examine", "open_scan", "prepare", "read_ahead_maps", "read_cfl", "recognise",
           "save_cfl", "save_ismrmrd"]
