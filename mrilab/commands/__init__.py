"""What the commands of ``python -m mrilab`` do; ``mrilab.__main__`` has their options.

``looking`` says what is in a file and how good an image is, ``fitting`` which prior fits a scan, ``making`` makes
scans, volumes and priors, ``reconstruction`` makes images.
"""

from .fitting import check
from .looking import compare, human, info, requirements
from .making import convert, fetch, simulate, train
from .reconstruction import reconstruct
from .saying import Told, tell, words

__all__ = ["Told", "check", "compare", "convert", "fetch", "human", "info", "reconstruct", "requirements", "simulate",
           "tell", "train", "words"]
