"""Where an ISMRMRD scan lies in the scanner, from the positions and directions that its lines carry.

The standard's axes are those of the patient, left, posterior and superior, in mm; ``position`` is the middle of the
slice or slab, and index ``n // 2`` of our grids lies there.
"""

from typing import Any

import numpy as np

TO_RAS = np.diag([-1.0, -1.0, 1.0])     # left, posterior, superior to right, anterior, superior
SIEMENS = ("vendor Siemens: its encoded axes are taken to run against the directions in the lines, k-space with "
           "exp(+ikr), as other software found and no document of the vendor says, check left and right once")


def directions(heads: np.ndarray) -> np.ndarray | None:
    """Unit vectors of x, y and z as rows, made orthonormal, or None where the lines have none.

    Raises
    ------
    ValueError
        For lines in several directions, as a localiser has them.

    Examples
    --------
    >>> heads = np.zeros(1, [(name, float, 3) for name in ("read_dir", "phase_dir", "slice_dir")])
    >>> heads["read_dir"], heads["phase_dir"] = (1, 0.004, 0), (0, 1, 0)         # rounded, and one is missing
    >>> directions(heads).round(3)
    array([[ 1.   ,  0.002,  0.   ],
           [-0.002,  1.   ,  0.   ],
           [ 0.   ,  0.   ,  1.   ]])
    """
    axes = np.stack([heads["read_dir"], heads["phase_dir"], heads["slice_dir"]], 1).astype(float)
    if not np.isfinite(axes).all():
        return None
    spread = np.abs(axes - axes[0]).max()
    if spread > 0.05:
        raise ValueError(f"data: found lines in several directions (they differ by {spread:.2f}), as of a localiser, "
                         "expected slices that are parallel")
    first = axes[0]
    missing = np.flatnonzero(np.linalg.norm(first, axis=1) < 0.5)
    if len(missing) == 1:
        a = int(missing[0])
        first[a] = np.cross(first[(a + 1) % 3], first[(a + 2) % 3])
    if not np.allclose(first @ first.T, np.eye(3), atol=2e-2):
        return None
    left, _, right = np.linalg.svd(first)
    return left @ right


def slice_order(heads: np.ndarray, axes: np.ndarray | None) -> tuple[dict[int, int], np.ndarray | None, str]:
    """Which slice counter lies at which z, the step from one to the next in mm, and what is doubtful.

    Slices keep the order of their counters where the positions rise or fall with them; otherwise they are sorted by
    position.

    Returns
    -------
    z : dict
        Counter to index.
    step : ndarray or None
        Vector in the axes of the standard; None for one slice, and where all positions are the same.
    note : str

    Examples
    --------
    Slices acquired in the order 0, 20, 10 mm:

    >>> heads = np.zeros(3, [("idx", [("slice", int)]), ("position", float, 3)])
    >>> heads["idx"]["slice"], heads["position"][:, 2] = (0, 1, 2), (0, 20, 10)
    >>> slice_order(heads, np.eye(3))
    ({0: 0, 2: 1, 1: 2}, array([ 0.,  0., 10.]), '')
    """
    counter = heads["idx"]["slice"].astype(int)
    counters = np.unique(counter)
    place = np.array([heads["position"][counter == c][0] for c in counters], float)
    order = {int(c): int(c - counters[0]) for c in counters}
    if len(counters) < 2 or not np.isfinite(place).all():
        return order, None, ""
    normal = axes[2] if axes is not None else np.linalg.svd(place - place.mean(0))[2][0]
    along = place @ normal
    if np.ptp(along) < 1e-3 * len(counters):
        return order, None, "slices: all lines have the same position, the distance between slices is the header's"
    gaps = np.diff(along)
    if not ((gaps > 0).all() or (gaps < 0).all()):
        rank = np.argsort(along)
        counters, place, along = counters[rank], place[rank], along[rank]
        order = {int(c): z for z, c in enumerate(counters)}
        gaps = np.diff(along)
    step = (place[-1] - place[0]) / (order[int(counters[-1])] - order[int(counters[0])])
    spacing = gaps / np.diff([order[int(c)] for c in counters])
    uneven = np.ptp(spacing) > max(0.02 * abs(spacing.mean()), 0.02)
    return order, step, (f"slices: found distances from {abs(spacing).min():.3g} to {abs(spacing).max():.3g} mm, the "
                         "mean is taken" if uneven else "")


def affine_of(heads: np.ndarray, axes: np.ndarray | None, step: np.ndarray | None, shape: tuple[int, ...],
              voxel_size: tuple[float, ...], stacked: bool, vendor: str) -> tuple[np.ndarray | None, str]:
    """From voxel (x, y, z) to mm right, anterior, superior; None where the lines have no directions; and what to note.

    Examples
    --------
    >>> heads = np.zeros(1, [("position", float, 3)])
    >>> affine_of(heads, np.eye(3), None, (4, 4, 4), (1, 1, 2), False, "GE")[0] @ [2, 2, 2, 1]
    array([0., 0., 0., 1.])
    """
    place = np.unique(np.array(heads["position"], float), axis=0)
    if axes is None or not np.isfinite(place).all():
        return None, ""
    columns = axes.T * np.array(voxel_size[::-1])
    note = ""
    if vendor.lower().startswith("siemens"):
        columns[:, :2 if stacked or shape[0] == 1 else 3] *= -1
        note = SIEMENS
    if step is not None:
        columns[:, 2] = step
    affine = np.eye(4)
    affine[:3, :3] = TO_RAS @ columns
    if stacked and step is not None:        # the positions are those of the first and the last slice
        ends = place[[np.argmin(place @ step), np.argmax(place @ step)]]
        middle = (shape[0] - 1) / 2
        centre = ends.mean(0)
    else:
        middle, centre = shape[0] // 2, np.array(heads["position"][0], float)
    index = np.array([shape[2] // 2, shape[1] // 2, middle])
    affine[:3, 3] = TO_RAS @ centre - affine[:3, :3] @ index
    return affine, note


def read_affine(affine: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Directions (rows) and position in the standard's axes, the reverse of :func:`affine_of`.

    Examples
    --------
    >>> axes, position = read_affine(np.diag([2.0, 2, 3, 1]), (4, 6, 8))
    >>> position
    array([-8., -6.,  6.])
    """
    affine = np.asarray(affine, float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError(f"affine: found {affine.tolist()}, expected 4 x 4 from voxel (x, y, z) to mm")
    columns = TO_RAS @ affine[:3, :3]
    position = TO_RAS @ (affine @ [*(n // 2 for n in shape[::-1]), 1])[:3]
    return (columns / np.linalg.norm(columns, axis=0)).T, position
