"""A scan, several priors, what a meter says of each without a truth, and what the truth says."""

import math

from .base import Widget, check_images, check_spacing, draw_row, grey_range, sources, to_bytes


class MismatchLab(Widget):
    """Choose a scan's voxel size and a prior: the reconstruction, its error, and the table of all priors beside.

    The table has, for each prior, how far a meter (:mod:`mrilab.mismatch`) puts it behind the best, with half of the
    95 % interval, and how far it truly is behind, by the PSNR.

    Parameters
    ----------
    scans : dict of str to dict
        Of each scan, named for the reader ("3 mm"): ``truth`` and ``images``, prior to its reconstruction, ``(height,
        width)``; ``voxel_size``, their in-plane ``(height, width)`` in mm; ``psnr``, prior to dB; ``behind``, meter to
        prior to ``(difference, half of its interval)``. The same priors and meters for all scans.
    units : dict of str to str
        Of each meter.

    Raises
    ------
    ValueError
        For no scan, priors or meters that differ between scans, images of different shapes or with NaN, or numbers that
        are not finite.

    Examples
    --------
    >>> import torch
    >>> truth = torch.rand(6, 8)
    >>> scan = dict(truth=truth, images={"a": truth, "b": truth / 2}, voxel_size=(3, 3), psnr={"a": 40.0, "b": 30.0},
    ...             behind={"held-out": {"a": (0.0, 0.0), "b": (0.5, 0.1)}})
    >>> MismatchLab({"3 mm": scan}, {"held-out": "dB"})
    MismatchLab: 2 priors on 1 scan, judged by held-out and by the truth
    """

    _esm = sources("js", "core", "mismatch_lab")
    _css = sources("css", "core", "mismatch_lab")

    def __init__(self, scans, units):
        if not isinstance(scans, dict) or not scans:
            raise ValueError(f"scans: found {scans!r:.60}, expected a dict of at least one named scan")
        entries, arrays, self._shown = [], [], []
        first = next(iter(scans.values()))
        priors, meters = list(first["images"]), list(units)
        for name, scan in scans.items():
            _check_scan(scan, f"scans[{name!r}]", priors, meters)
            images = check_images({"truth": scan["truth"]} | scan["images"], f"scans[{name!r}]", 2, "(height, width)")
            low, high = grey_range([images["truth"]])
            arrays += [to_bytes(image, low, high) for image in images.values()]
            spacing = list(check_spacing(scan["voxel_size"]))
            entries.append({
                "label": name, "shape": list(images["truth"].shape), "spacing": spacing, "low": low, "high": high,
                "psnr": [float(scan["psnr"][p]) for p in priors],
                "behind": [[[float(v) for v in scan["behind"][m][p]] for p in priors] for m in meters]})
            self._shown.append(images)
        title = (f"{len(priors)} priors on {len(scans)} scan{'s' if len(scans) > 1 else ''}, judged by "
                 f"{' and '.join(meters)} and by the truth")
        super().__init__(arrays, {"scans": entries, "priors": priors, "meters": meters, "units": list(units.values())},
                         title)

    def still(self, figure):
        entry, images = self.meta["scans"][0], self._shown[0]
        draw_row(figure, [(image, entry["spacing"], name, 0, entry["high"]) for name, image in images.items()][:3])


def _check_scan(scan, name, priors, meters):
    """That a scan has every prior and every meter, and numbers."""
    given = {"images": scan["images"], "psnr": scan["psnr"]}
    given |= {f"behind[{m!r}]": scan["behind"].get(m, {}) for m in meters}
    for key, found in given.items():
        if list(found) != priors:
            raise ValueError(f"{name}: found {', '.join(found) or 'no prior'} in {key}, expected {', '.join(priors)}")
    numbers = [*scan["psnr"].values(), *(v for m in meters for pair in scan["behind"][m].values() for v in pair)]
    if not all(math.isfinite(v) for v in numbers):
        raise ValueError(f"{name}: found numbers that are not finite, expected dB and the meters' units")
