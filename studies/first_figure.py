"""The moving picture on the first page: a scan that takes its time, and two images from an eighth of it.

``python -m studies.first_figure`` simulates the test head on its own voxels, reconstructs all of it at R = 8 by least
squares and with the diverse prior, iteration by iteration, and writes ``first.webp`` and its last frame, ``first.png``.
It takes about ten minutes of one core; what it computed stays in ``runs/first_figure``.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from mrilab.classical import cg_sense
from mrilab.fourier import fft3c, ifft3c
from mrilab.metrics import psnr
from mrilab.priors import load_prior
from mrilab.variational import reconstruct
from mrilab.writing import atomic_path

from .recorded_figure import beside
from .runner import RUNS
from .scans import HEAD, simulated

FIGURES = Path(__file__).parents[1] / "book" / "figures"
VOXEL_SIZE, ACCELERATION, LINE = (1, 1, 1.3), 8, 0.020      # mm; seconds of a line
SLICE, EDGE, WHITE = 22, 6, 98                              # axial, through the ventricles; cut in y; percentile
FRAMES, HOLD, MILLISECONDS = 32, 6, 110                     # frames of the scan, then of the comparison
SIDE, BAR, GAP = 340, 46, 8                                 # pixels: width of a panel, text below it


def so_far(image, shares):
    """The slice from the middle part of k-space that a complete scan has measured after each share of its time."""
    kspace = fft3c(image, (-3, -2))
    z, y = (torch.arange(n) - n // 2 for n in image.shape[:2])
    radius = ((z[:, None] / (image.shape[0] / 2)) ** 2 + (y / (image.shape[1] / 2)) ** 2).sqrt()
    order = radius.flatten().argsort().argsort().reshape(radius.shape)
    return [ifft3c(kspace * (order < share * order.numel())[..., None], (-3, -2))[SLICE] for share in shares]


def computed():
    """Slices of both reconstructions and of the complete scan, their PSNR, and the lines of a complete scan."""
    acquisition, truth = simulated(HEAD, VOXEL_SIZE, ACCELERATION)
    steps = []
    result = reconstruct(acquisition, load_prior("diverse"), callback=lambda _, x, __: steps.append(x[SLICE].cpu()))
    least = cg_sense(acquisition).image
    complete = cg_sense(simulated(HEAD, VOXEL_SIZE, 1)[0]).image
    shares = [(i + 1) / FRAMES for i in range(FRAMES)]
    pictures = dict(complete=so_far(complete, shares), least=[least[SLICE]], steps=steps)
    return {name: torch.stack([x.abs() for x in found]).numpy() for name, found in pictures.items()} | dict(
        psnr=[psnr(least, truth), psnr(result.image, truth)], lines=truth.shape[0] * truth.shape[1])


def panel(picture, white, words, note):
    """One slice in its true proportions with two lines of text below it."""
    grey = Image.fromarray((picture / white * 255).clip(0, 255).astype(np.uint8)[::-1])
    height, width = picture.shape
    grey = grey.resize((SIDE, round(SIDE * height * VOXEL_SIZE[1] / (width * VOXEL_SIZE[2]))), Image.LANCZOS)
    whole = Image.new("L", (SIDE, grey.height + BAR))
    whole.paste(grey, (0, 0))
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 16)
    for row, text in enumerate((words, note)):
        ImageDraw.Draw(whole).text((SIDE / 2, grey.height + 12 + 20 * row), text, fill=255 - 75 * row, font=font,
                                   anchor="mm")
    return whole


def clock(seconds):
    """Minutes and seconds.

    Examples
    --------
    >>> clock(125.2)
    '2:05'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def frames(found):
    """Three panels side by side, one time for all."""
    complete, least, steps = (found[name][:, EDGE:-EDGE] for name in ("complete", "least", "steps"))
    white, total = np.percentile(complete[-1], WHITE), found["lines"] * LINE
    for i in [*range(FRAMES), *[FRAMES - 1] * HOLD]:
        share = (i + 1) / FRAMES
        done = share >= 1 / ACCELERATION
        step = min(len(steps) - 1, round((share - 1 / ACCELERATION) / (1 - 1 / ACCELERATION) * len(steps)))
        part = f"{clock(min(share, 1 / ACCELERATION) * total)} min, 1 of {ACCELERATION} lines"
        black = np.zeros_like(least[0])
        shown = [
            panel(complete[i], white, "complete scan", f"{clock(share * total)} min"),
            panel(least[0] if done else black, white, "least squares",
                  f"{part}, {found['psnr'][0]:.1f} dB" if done else part),
            panel(steps[step] if done else black, white, "with the prior of this book",
                  f"{part}, {found['psnr'][1]:.1f} dB" if step == len(steps) - 1 else part)]
        yield Image.fromarray(beside([np.asarray(each) for each in shown], GAP))


if __name__ == "__main__":
    kept = RUNS / "first_figure" / "slices.npz"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(kept) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **computed())
    moving = list(frames(np.load(kept)))
    with atomic_path(FIGURES / "first.webp") as temporary:
        moving[0].save(temporary, "WEBP", save_all=True, append_images=moving[1:], duration=MILLISECONDS, loop=1,
                       quality=60, method=6)
    with atomic_path(FIGURES / "first.png") as temporary:
        moving[-1].save(temporary, "PNG", optimize=True)
    print(*(f"{path.name}: {path.stat().st_size} bytes" for path in (FIGURES / "first.webp", FIGURES / "first.png")))
