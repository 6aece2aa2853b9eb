"""What the interactive figures share: their data, their browser script, their still picture.

A widget is an `anywidget`: its data travel in its state as compressed bytes, and a script of its own draws them
on a canvas. Nothing is asked of Python while the reader plays, so a built page needs no kernel.
"""

import io
import sys
import zlib
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets

FOLDER = Path(__file__).parent


def sources(suffix, *names):
    """The named files of this folder as one text: anywidget takes one module and one style sheet."""
    return "\n".join((FOLDER / f"{name}.{suffix}").read_text() for name in names)


class Widget(anywidget.AnyWidget):
    """Base of all widgets: ``data`` (zlib), ``meta`` (what the data are) and ``title`` (a sentence about them)."""

    data = traitlets.Bytes().tag(sync=True)
    meta = traitlets.Dict().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)

    def __init__(self, arrays, meta, title):
        packed = zlib.compress(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays), 9)
        super().__init__(data=packed, meta=meta, title=title)

    def __repr__(self):
        return f"{type(self).__name__}: {self.title}"

    def still(self, figure):
        """Draw the first view on an empty matplotlib figure."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs):
        bundle, metadata = super()._repr_mimebundle_(**kwargs)
        if "google.colab" not in sys.modules:     # a page without scripts, or a viewer of notebooks, shows the picture
            bundle["image/png"] = still_png(self)
        return bundle, metadata


def still_png(widget):
    """The first view of a widget as PNG bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 9, "image.cmap": "gray", "image.origin": "lower",
                                "image.interpolation": "nearest"}):
        figure = Figure(dpi=80, layout="constrained")
        widget.still(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()


def draw_row(figure, panels):
    """Slices in a row: ``panels`` has (image, in-plane voxel size, title, low, high)."""
    ratio = min(max(image.shape[0] * d[0] / (image.shape[1] * d[1]) for image, d, *_ in panels), 1.6)    # a thin slab
    width = min(2.6, 8 / len(panels))
    figure.set_size_inches(width * len(panels), width * ratio + 0.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (image, d, title, low, high) in zip(axes, panels):
        extent = (0, image.shape[1] * d[1], 0, image.shape[0] * d[0])
        axis.imshow(np.asarray(image), extent=extent, vmin=low, vmax=high)
        axis.set_title(title)
        axis.set_axis_off()


def check_images(images, name, dims, axes):
    """A dict of finite magnitude arrays of one shape, as float32, or ValueError.

    Examples
    --------
    >>> list(check_images({"truth": torch.ones(2, 3)}, "images", 2, "(height, width)"))
    ['truth']
    """
    if not isinstance(images, dict) or not images:
        raise ValueError(f"{name}: found {images!r:.60}, expected a dict of at least one named array")
    arrays = {}
    for key, image in images.items():
        image = torch.as_tensor(np.array(image) if isinstance(image, np.ndarray) else image).detach().cpu()
        image = (image.abs() if image.is_complex() else image).float().numpy()
        if image.ndim != dims or 0 in image.shape:
            raise ValueError(f"{name}[{key!r}]: found shape {image.shape}, expected {dims} dimensions {axes}")
        if not np.isfinite(image).all():
            raise ValueError(f"{name}[{key!r}]: found NaN or infinite values, expected finite numbers")
        arrays[str(key)] = image
    shapes = {key: image.shape for key, image in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{name}: found shapes {shapes}, expected one shape")
    return arrays


def check_spacing(voxel_size):
    """In-plane ``(height, width)`` voxel size in mm as two positive floats, or ValueError.

    Examples
    --------
    >>> check_spacing((1, 2))
    (1.0, 2.0)
    """
    try:
        spacing = tuple(float(d) for d in voxel_size)
    except (TypeError, ValueError):
        spacing = ()
    if len(spacing) != 2 or not all(0 < d < float("inf") for d in spacing):
        raise ValueError(f"voxel_size: found {voxel_size!r}, expected two positive numbers (height, width) in mm")
    return spacing


def to_bytes(image, low, high):
    """Grey values as uint8: ``low`` becomes 0, ``high`` 255, what lies beyond is clipped.

    Examples
    --------
    >>> to_bytes(np.array([-1.0, 0.5, 2.0]), 0, 1)
    array([  0, 128, 255], dtype=uint8)
    """
    return np.clip((np.asarray(image) - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def grey_range(images):
    """``(low, high)`` that keeps all but the brightest thousandth of the values."""
    low = min(0.0, *(float(image.min()) for image in images))
    high = 1.05 * max(float(np.quantile(image, 0.999)) for image in images)
    return low, max(high, low + 1e-6)
