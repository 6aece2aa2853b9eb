"""Figures of the book: one style, slices in a shared grey window, error maps below.

Arrays are drawn with the origin at the lower left: data are stored with z up, y toward the front and x to
the right. matplotlib is imported when a figure is asked for, not before.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from .checks import PLANES, check_choice, in_plane
from .metrics import psnr


def use_style() -> None:
    """Set the book's matplotlib style; in a notebook figures are SVG, whose words the page can set and colour.

    Images go into an SVG as their own pixels, which a browser shows smoothly; ``interpolation="nearest"`` draws boxes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> use_style()
    >>> plt.rcParams["image.cmap"]
    'gray'
    """
    import matplotlib.pyplot as plt

    plt.rcParams.update({
        "figure.dpi": 180, "figure.constrained_layout.use": True, "font.size": 10, "axes.titlesize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.5, "legend.frameon": False,
        "image.cmap": "gray", "image.origin": "lower", "image.interpolation": "none", "image.composite_image": False,
        "svg.fonttype": "none", "svg.hashsalt": "mrilab",
    })
    if "inline" in plt.get_backend():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def describe(voxel_size: Sequence[float], acceleration: float | None = None) -> str:
    """Voxel size and acceleration as a title says them.

    Examples
    --------
    >>> describe((1, 1, 1.3), 8)
    '1 x 1 x 1.3 mm, R = 8'
    >>> describe((2, 2, 2))
    '2 mm'
    """
    sizes = [f"{d:.3g}" for d in voxel_size]
    text = f"{sizes[0] if len(set(sizes)) == 1 else ' x '.join(sizes)} mm"
    return text if acceleration is None else f"{text}, R = {acceleration:.3g}"


def take_slice(volume: torch.Tensor, voxel_size: Sequence[float], plane: str = "axial",
               index: float | None = None) -> tuple[torch.Tensor, tuple[float, ...]]:
    """One slice of a volume and its extent.

    Parameters
    ----------
    volume : Tensor
        ``(z, y, x)``; a complex one gives its magnitude.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    plane : str
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    index : int or float, optional
        Slice number, or a fraction of the axis between 0 and 1; the middle by default.

    Returns
    -------
    Tensor, tuple
        The slice, and ``(0, width, 0, height)`` in mm.

    Examples
    --------
    >>> image, extent = take_slice(torch.ones(4, 6, 8), (1, 1, 2), "coronal")
    >>> tuple(image.shape), extent
    ((4, 8), (0, 16, 0, 4))
    """
    check_choice(plane, "plane", PLANES)
    axis = PLANES[plane]
    size = volume.shape[axis]
    index = 0.5 if index is None else index
    number = min(int(index * size), size - 1) if isinstance(index, float) else index
    image = volume.detach().cpu().select(axis, number)
    image = image.abs() if image.is_complex() else image
    height, width = in_plane(voxel_size, axis)
    return image, (0, image.shape[1] * width, 0, image.shape[0] * height)


def show_slices(images: Sequence[torch.Tensor], titles: Sequence[str], voxel_size: Any, acceleration: Any = None,
                plane: str | Sequence[str] = "axial", index: float | None = None,
                window: tuple[float, float] | None = None, truth: torch.Tensor | None = None,
                error_gain: float = 5, width: float = 2.4, columns: int | None = None,
                points: Sequence[Sequence[float]] = ()) -> Any:
    """Slices side by side in one grey window; with ``truth``, the error maps below them.

    Parameters
    ----------
    images : sequence of Tensor
        Volumes ``(z, y, x)``; magnitudes are shown.
    titles : sequence of str
        One for each; voxel size and acceleration are added below it.
    voxel_size : tuple of float, or one for each image
        ``(dz, dy, dx)`` in mm; panels are drawn in mm, so voxels get their true shape.
    acceleration : float or None, or one for each image
    plane : str, or one for each image
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    index : int, float or None
        As in :func:`take_slice`; a fraction fits images of different matrix size.
    window : tuple of float, optional
        Grey values of black and white; by default 0 and the 99.5th percentile of the first slice.
    truth : Tensor, optional
        Volume on the images' grid; ``error_gain * | |image| - |truth| |`` is shown in the same window, with the PSNR of
        the volume.
    width : float
        Width of a panel in inches.
    columns : int, optional
        Begin a new row after so many; by default all are beside each other.
    points : sequence of (z, y, x)
        Voxels that an arrow points at in every image.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> volume = torch.rand(4, 8, 8)
    >>> figure = show_slices([volume, 0.9 * volume], ["truth", "darker"], (3, 1, 1), truth=volume)
    >>> len(figure.axes)
    4
    """
    import matplotlib.pyplot as plt

    count = len(images)
    sizes = list(voxel_size) if not isinstance(voxel_size[0], (int, float)) else [voxel_size] * count
    rates = list(acceleration) if isinstance(acceleration, (list, tuple)) else [acceleration] * count
    planes = [plane] * count if isinstance(plane, str) else list(plane)
    slices = [take_slice(x, d, p, index) for x, d, p in zip(images, sizes, planes)]
    low, high = window or (0, torch.quantile(slices[0][0].flatten(), 0.995).item())
    columns = columns or count
    deep = 1 if truth is None else 2
    rows = deep * math.ceil(count / columns)
    ratio = max(extent[3] / extent[1] for _, extent in slices)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * width, rows * (width * ratio + 0.45)), squeeze=False)
    for i, ((image, extent), title) in enumerate(zip(slices, titles)):
        own = axes[i // columns * deep:, i % columns]
        own[0].imshow(image.numpy(), extent=extent, vmin=low, vmax=high)
        own[0].set_title(f"{title}\n{describe(sizes[i], rates[i])}")
        for point in points:
            at = [(n + 0.5) * d for n, d, axis in zip(point, sizes[i], PLANES.values()) if axis != PLANES[planes[i]]]
            own[0].annotate("", at[::-1], (-14, 14), textcoords="offset points",
                            arrowprops=dict(arrowstyle="->", color="C1", shrinkB=3))
        if truth is not None:
            error = (image - take_slice(truth, sizes[i], planes[i], index)[0]).abs()
            if error.any():                     # nothing below the truth itself
                own[1].imshow((error_gain * error).numpy(), extent=extent, vmin=low, vmax=high)
                own[1].set_title(f"error x {error_gain}\n{psnr(images[i], truth):.1f} dB")
    for axis in axes.flat:
        axis.set_axis_off()
    return figure
