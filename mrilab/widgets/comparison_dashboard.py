"""The table of a comparison, and two of its results held against each other."""

import math

from ..checks import PLANES, check_choice, check_voxel_size, in_plane
from ..fourier import middle
from ..plotting import describe
from .base import Widget, check_images, draw_row, grey_range, sources, to_bytes


class ComparisonDashboard(Widget):
    """Any two cells of a table of results: a divider to swipe, error maps, a close-up, and the difference in numbers.

    Parameters
    ----------
    rows : sequence of dict
        One for each result, as from `studies.results.load`: ``method``, ``voxel_size`` of the test in mm (a
        number, or ``(dz, dy, dx)``), ``acceleration``, and ``psnr`` in dB and ``ssim`` of the volume. Where it
        applies also ``representation`` and ``prior``, whose name stands for the voxel size of the training, or a
        ``label`` that says all three. ``image`` and ``truth``: the same slice ``(height, width)`` of the result and
        of the truth, complex or magnitude. Rows that differ in nothing else, as those of several seeds, share a
        cell: their numbers are averaged, and the first image is shown. Slices are cut about their middle to the
        field of view that all of them have. Optional as well: ``group``, a heading under which methods stand
        together, in the order in which groups first occur; and ``no_op=True`` for an interpolation between equal
        grids, whose cell is grey.
    plane : str
        Plane of the slices: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    error_gain : float
        Errors are shown this many times brighter.
    reference : str, optional
        The method against which all others of a column are coloured, by PSNR: its label, or ``"method, prior"``.
    start : tuple, optional
        ``(method, method, voxel size)``: what A and B show at first. Without it, the worst and the best of the column
        that has most pictures.

    Raises
    ------
    ValueError
        For no row with an image, a row that lacks an entry or has a number that is not finite, an image with NaN or of
        another shape than its truth, a reference or a start that no row is.

    Examples
    --------
    >>> import torch
    >>> truth = torch.rand(6, 8)
    >>> found = dict(method="CG-SENSE", voxel_size=2, acceleration=4, psnr=27.0, ssim=0.8, image=truth, truth=truth)
    >>> ComparisonDashboard([found, found | dict(acceleration=8, psnr=24.0)])
    ComparisonDashboard: 2 results of 1 method, 2 mm, R = 4, 8: choose two to compare
    """

    _esm = sources("js", "core", "comparison_dashboard")
    _css = sources("css", "core", "comparison_dashboard")

    def __init__(self, rows, plane="axial", error_gain=5, reference=None, start=None):
        check_choice(plane, "plane", PLANES)
        cells, rows = {}, [_check_row(row, f"rows[{i}]", PLANES[plane]) for i, row in enumerate(rows)]
        if not any(row["images"] for row in rows):
            raise ValueError(f"rows: found {len(rows)} without image and truth, expected at least one with them")
        for row in rows:
            cells.setdefault((row["name"], row["prior"], row["voxel_size"], row["acceleration"]), []).append(row)
        extent = [min(row["images"]["truth"].shape[a] * row["spacing"][a] for row in rows if row["images"])
                  for a in (0, 1)]
        groups = {key[:2]: repeats[0]["group"] for key, repeats in reversed(cells.items())}
        order = list(dict.fromkeys(repeats[0]["group"] for repeats in cells.values()))
        methods = sorted(dict.fromkeys(key[:2] for key in cells), key=lambda method: order.index(groups[method]))
        columns = sorted({key[2:] for key in cells})
        entries, slices = [], {}

        def store(image, spacing):              # many rows have the same truth
            image = image[middle(image.shape, [max(1, round(length / d)) for length, d in zip(extent, spacing)])]
            return slices.setdefault((image.shape, spacing, image.tobytes()), (len(slices), image, spacing))[0]

        for key, repeats in cells.items():
            entry = {"method": methods.index(key[:2]), "column": columns.index(key[2:]), "count": len(repeats)}
            entry |= {score: sum(row[score] for row in repeats) / len(repeats) for score in ("psnr", "ssim")}
            entry |= {"no_op": True} if repeats[0]["no_op"] else {}
            entries.append(entry)
            for row in [row for row in repeats if row["images"]][:1]:
                entry |= {part: store(image, row["spacing"]) for part, image in row["images"].items()}
        self._slices = list(slices.values())
        names = [", ".join(filter(None, method)) for method in methods]
        if reference is not None:
            check_choice(reference, "reference", names)
            level = {entry["column"]: entry["psnr"] for entry in entries if names[entry["method"]] == reference}
            for entry in entries:
                entry |= {"lead": entry["psnr"] - level[entry["column"]]} if entry["column"] in level else {}
        low, high = grey_range([self._slices[entry["truth"]][1] for entry in entries if "truth" in entry])
        meta = {"methods": [{"name": method[0], "prior": method[1], "group": groups[method]} for method in methods],
                "columns": [{"size": describe(size), "rate": rate} for size, rate in columns], "cells": entries,
                "slices": [{"shape": list(image.shape), "spacing": spacing} for _, image, spacing in self._slices],
                "low": low, "high": high, "gain": error_gain, "plane": plane, "reference": reference,
                "start": _first_pair(entries) if start is None else _find_pair(start, entries, names, columns)}
        tested = [", ".join(dict.fromkeys(words)) for words in (
            [describe(size) for size, _ in columns], [f"{rate:g}" for rate in sorted({rate for _, rate in columns})])]
        title = (f"{len(entries)} results of {len(methods)} method{'s' * (len(methods) > 1)}, {tested[0]}, "
                 f"R = {tested[1]}: choose two to compare")
        super().__init__([to_bytes(image, low, high) for _, image, _ in self._slices], meta, title)

    def still(self, figure):
        panels = []
        for entry in (self.meta["cells"][i] for i in self.meta["start"]):
            _, image, spacing = self._slices[entry["image"]]
            method = self.meta["methods"][entry["method"]]
            panels.append((image, spacing, f"{method['prior'] or method['name']}, {entry['psnr']:.1f} dB", 0,
                           self.meta["high"]))
        _, truth, spacing = self._slices[entry["truth"]]
        draw_row(figure, [*panels, (truth, spacing, f"truth, {self.meta['columns'][entry['column']]['size']}", 0,
                                    self.meta["high"])])


def _check_row(row, name, axis):
    """A row with its names, its voxel size, in the slice as well, and its images as arrays, or ValueError."""
    missing = [key for key in ("method", "voxel_size", "acceleration", "psnr", "ssim") if row.get(key) is None]
    if missing:
        raise ValueError(f"{name}: found no {', '.join(missing)}, expected one entry each")
    size = row["voxel_size"]
    size = check_voxel_size(size if hasattr(size, "__len__") else (size,) * 3, f"{name}['voxel_size']")
    numbers = {key: float(row[key]) for key in ("acceleration", "psnr", "ssim")}
    for key, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{name}[{key!r}]: found {number}, expected a finite number")
    images = {key: row[key] for key in ("image", "truth") if row.get(key) is not None}
    if len(images) == 1:
        raise ValueError(f"{name}: found {', '.join(images)} alone, expected both image and truth")
    names = [row["label"], ""] if row.get("label") else [
        ", ".join(str(row[key]) for key in ("method", "representation") if row.get(key)), str(row.get("prior") or "")]
    return numbers | {
        "name": names[0], "prior": names[1], "voxel_size": size, "spacing": in_plane(size, axis),
        "group": str(row.get("group") or ""), "no_op": bool(row.get("no_op")),
        "images": check_images(images, name, 2, "(height, width)") if images else {},
    }


def _first_pair(entries):
    """The worst and the best result with a picture, in the column that has most of them."""
    shown = [i for i, entry in enumerate(entries) if "image" in entry]
    columns = [entries[i]["column"] for i in shown]
    fullest = max(sorted(set(columns)), key=columns.count)
    same = sorted((i for i in shown if entries[i]["column"] == fullest), key=lambda i: entries[i]["psnr"])
    return [same[0], same[-1]]


def _find_pair(start, entries, names, columns):
    """The results of two methods at a voxel size, both with a picture, at the lowest acceleration that has them."""
    *pair, size = start
    for name in pair:
        check_choice(name, "start", names)
    size = check_voxel_size(size if hasattr(size, "__len__") else (size,) * 3, "start")
    for column, (there, _) in enumerate(columns):
        found = {names[entry["method"]]: i for i, entry in enumerate(entries)
                 if entry["column"] == column and "image" in entry}
        if there == size and set(pair) <= set(found):
            return [found[name] for name in pair]
    raise ValueError(f"start: found no pictures of both {' and '.join(pair)} at {describe(size)}, expected a column "
                     "that has them")
