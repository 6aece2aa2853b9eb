"""Time limits that follow the machine: ``timeout`` of ``_config.yml``, longer where a piece of work takes longer.

``python book/_ext/pace.py`` prints the seconds that a cell may take here. As a Sphinx extension it gives them to the
build.
"""

import math
import re
import time
from pathlib import Path

import numpy as np

CONFIG = Path(__file__).parents[2] / "_config.yml"
USUAL = 0.15        # seconds of `work` on one core of the machine whose times the chapters carry, an AMD EPYC


def work():
    """Seconds on the clock for what chapters do most, transforms and products; other work on the machine counts."""
    volume = np.ones((32, 128, 128), np.complex64)
    start = time.perf_counter()
    for _ in range(6):
        np.abs(np.fft.fft2(volume)).reshape(512, -1) @ np.ones((1024, 256), np.float32)
    return time.perf_counter() - start


def limit(slower=None):
    """Seconds that a cell may take on a machine so many times slower than the usual one: this one, if not told."""
    usual = int(re.search(r"^  timeout: (\d+)", CONFIG.read_text(), re.M)[1])
    return math.ceil(usual * max(1, work() / USUAL if slower is None else slower))


def setup(app):
    def follow(app, config):
        config.nb_execution_timeout = limit()

    app.connect("config-inited", follow)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    print(limit())
