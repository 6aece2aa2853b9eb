"""The picture on the first page: a recorded head, R = 8, zero-filled and with the diverse prior.

``python -m studies.recorded_figure`` draws it from ``data/results/recorded.json``.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from mrilab.writing import atomic_path

from .recorded import HEAD8, picture
from .results import load

OUT = Path(__file__).parents[1] / "book" / "figures" / "recorded.png"


def beside(pictures, gap=6):
    """Grey pictures of any size side by side on black, uint8 ``(height, width)``.

    Examples
    --------
    >>> beside([np.full((2, 3), 9, np.uint8), np.full((4, 3), 7, np.uint8)], gap=1).shape
    (4, 7)
    """
    height = max(len(p) for p in pictures)
    padded = [np.pad(p, (((height - len(p)) // 2, -(-(height - len(p)) // 2)), (0, 0))) for p in pictures]
    space = np.zeros((height, gap), np.uint8)
    return np.concatenate([part for p in padded for part in (p, space)][:-1], 1)


if __name__ == "__main__":
    rows = load("recorded")["head"]
    shown = [picture(next(row for row in rows if row["label"] == name and "picture" in row)["picture"])
             for name in ("zero-filled", "diverse")]
    bright = [np.clip(p * 1.25, 0, 255).astype(np.uint8) for p in shown]
    with atomic_path(OUT) as temporary:
        Image.fromarray(beside(bright)).resize([2 * n for n in beside(bright).shape[::-1]], Image.LANCZOS).save(
            temporary, "PNG", optimize=True)
    print(f"{OUT.name} of {HEAD8}: {OUT.stat().st_size} bytes")
