"""ISMRMRD (Inati et al., MRM 77:411, 2017): one readout line after the other, each with its position in k-space.

What each line is for is found out in ``lines``, where the scan lies in ``place``; here lines go onto a grid.
Writing goes through the ``ismrmrd`` package.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import hdf5
from ..checks import check_voxel_size
from ..evidence import peak
from ..fourier import fft3c, ifft3c
from ..writing import atomic_path
from .claims import settle_counter
from .header import read_header, wanted_positions
from .lines import REVERSE, Lines, sort_lines
from .place import affine_of, directions, read_affine, slice_order
from .scan import Scan


@dataclass
class Layout:
    """Where lines go: ``z``, ``y`` and the first sample ``left`` of each of the ``lines``, on a grid of ``shape``.

    Examples
    --------
    >>> Layout((1, 2, 4), np.arange(3), np.zeros(3, int), np.array([0, 1, 1]), np.zeros(3, int), False).counts
    tensor([[1., 2.]])
    """

    shape: tuple[int, int, int]
    lines: np.ndarray
    z: np.ndarray
    y: np.ndarray
    left: np.ndarray
    stacked: bool

    @property
    def counts(self) -> torch.Tensor:
        """float32 ``(z, y)``, how often each position was measured."""
        counts = torch.zeros(self.shape[:2])
        return counts.index_put_((torch.from_numpy(self.z), torch.from_numpy(self.y)), torch.ones(len(self.lines)),
                                 accumulate=True)


def open_ismrmrd(path: Path, voxel_size: tuple[float, ...] | None = None, measurement: str | int | None = None) -> Scan:
    """ISMRMRD file, Cartesian: 3D, or 2D slices stacked as in :func:`~mrilab.raw.fastmri.open_fastmri`.

    Lines measured several times are averaged; of several contrasts, repetitions, phases or sets the first
    is taken. Partial Fourier leaves its part of the grid unmeasured; a partial echo is filled with zeros. Where the
    header, the lines and the data disagree about k = 0, the data decide.

    Parameters
    ----------
    path : Path
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, instead of the file's.
    measurement : str or int, optional
        Name or number, from 0, of one of several measurements in a file; the last one if not given.

    Raises
    ------
    ValueError
        For lines that are not of one Cartesian scan, or do not fit the header.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "raw.h5"
    >>> kspace = torch.randn(2, 4, 6, 8, dtype=torch.complex64)
    >>> save_ismrmrd(path, kspace, torch.ones(4, 6, dtype=torch.bool), (3, 1, 1))
    >>> torch.allclose(open_ismrmrd(path).read(), kspace, atol=1e-5)
    True
    """
    with hdf5.opened(path) as file:
        group, others = _choose(measurements(file), measurement)
        xml = hdf5.text(file[group], "xml")
    lines = Lines(path, group)
    image, calibration, noise, left_out = sort_lines(lines.heads, read_header(xml)["calibration"])
    space = lines.heads["encoding_space_ref"].astype(int)
    head = read_header(xml, space[image][0])
    if head["trajectory"] != "cartesian":
        raise ValueError(f"trajectory: found {head['trajectory']!r}, expected 'cartesian'")
    info: dict[str, Any] = {"measurement": f"{group} of {', '.join(others)}"} if len(others) > 1 else {}
    notes = fit_header(head, lines, image)
    axes = directions(lines.heads[image])
    order, step, doubt = slice_order(lines.heads[image], axes)
    energy, profiles = lines.look(np.flatnonzero(image), near=_counters(lines.heads))
    grid, lost, found = grid_of(lines, np.flatnonzero(image), head, order, energy, profiles)
    voxel_size = voxel_size or _voxel_size(head, grid, step)
    affine, unsure = affine_of(lines.heads[grid.lines], axes, step, grid.shape, voxel_size, grid.stacked,
                               head["vendor"])
    coils = int(lines.heads["active_channels"][grid.lines[0]])
    scan = Scan("ismrmrd", coils, grid.shape, check_voxel_size(voxel_size), *_mask(grid),
                wanted_positions(head, grid.shape[2]), reader(lines, grid, coils, head["chop"]),
                noise=_noise(lines, noise, grid, coils), affine=affine, info=info,
                energy=_energy(grid, energy), profile=_profile(grid, profiles))
    if lost:
        left_out.append(f"{lost} lines outside the matrix")
    if left_out:
        scan.note(f"left out: {', '.join(left_out)}")
    if calibration.any():
        own = head if space[calibration][0] == space[image][0] else read_header(xml, space[calibration][0])
        scan.calibration, what = _calibration_scan(lines, calibration, scan, (head, own), order)
        notes.append(what)
    for note in (*notes, doubt, *found, unsure):
        if note:
            scan.note(note)
    return scan


def _choose(names: list[str], wanted: str | int | None) -> tuple[str, list[str]]:
    """The measurement that is asked for, the last one if none is."""
    if wanted is None:
        return names[-1], names
    if isinstance(wanted, str) and wanted in names:
        return wanted, names
    if isinstance(wanted, int) and -len(names) <= wanted < len(names):
        return names[wanted], names
    raise ValueError(f"measurement: found {wanted!r}, expected one of {', '.join(names)}, or a number below "
                     f"{len(names)}")


def _counters(heads: np.ndarray) -> np.ndarray:
    """Counters ``(lines, 3)``: slice, kz, ky."""
    return np.stack([heads["idx"][name].astype(int) for name in (
        "slice", "kspace_encode_step_2", "kspace_encode_step_1")], 1)


def fit_header(head: dict[str, Any], lines: Lines, image: np.ndarray) -> list[str]:
    """Bring the header's matrix to what the lines hold, in place, with a sentence about every change.

    Raises
    ------
    ValueError
        For a matrix that these lines cannot fill.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "raw.h5"
    >>> save_ismrmrd(path, torch.ones(2, 1, 6, 8, dtype=torch.complex64), torch.ones(1, 6) > 0, (5, 1, 1))
    >>> lines, head = Lines(path, "dataset"), {"matrix": (2, 6, 4), "fov": (10, 6, 4.0)}
    >>> head |= {"recon_matrix": (1, 6, 4), "recon_fov": (5, 6, 4)}
    >>> for note in fit_header(head, lines, np.ones(6, bool)):
    ...     print(note)
    header: found 2 partitions, the lines are of a single slice
    header: found 4 samples along x, the lines have 8: taken for oversampling
    >>> head["matrix"], head["fov"]
    ((1, 6, 8), (5.0, 6, 8.0))
    """
    notes = []
    (depth, height, size), (fov_z, fov_y, fov_x) = head["matrix"], head["fov"]
    longest = int(lines.samples[image].max())
    single = len(np.unique(lines.heads["idx"]["kspace_encode_step_2"][image])) == 1
    if depth > 1 and single and (depth == 2 or head["recon_matrix"][0] == 1):
        notes.append(f"header: found {depth} partitions, the lines are of a single slice")
        depth, fov_z = 1, head["recon_fov"][0] / head["recon_matrix"][0]
    times = longest / size
    if times > 1.5 and abs(times - round(times)) < 0.02:
        notes.append(f"header: found {size} samples along x, the lines have {longest}: taken for oversampling")
        fov_x, size = fov_x * times, longest
    centred = np.abs(lines.centre_sample()[image] - longest // 2).max() <= 1
    if size == 2 * longest and head["recon_matrix"][2] == longest and centred:
        notes.append(f"header: found {size} samples along x, the lines have {longest} around kx = 0: the oversampling "
                     "is taken to be removed")
        fov_x, size = head["recon_fov"][2], longest
    # a damaged header must not ask for more memory than any real scan of these lines would
    coils, count = int(lines.heads["active_channels"][image].max()), int(image.sum())
    if depth * height > 1000 * count or not longest <= size <= 16 * longest or not 1 <= coils <= 1024 or longest < 1:
        raise ValueError(f"header: found a matrix of {(depth, height, size)} for {count} lines of {longest} "
                         f"samples from {coils} coils, expected one that they can fill")
    head["matrix"], head["fov"] = (depth, height, size), (fov_z, fov_y, fov_x)
    return notes


def grid_of(lines: Lines, chosen: np.ndarray, head: dict[str, Any], order: dict[int, int], energy: np.ndarray,
            profiles: dict[int, np.ndarray]) -> tuple[Layout, int, list[str]]:
    """The grid on which these lines lie, the number that fall outside of it, and what was doubtful.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "raw.h5"
    >>> save_ismrmrd(path, torch.ones(2, 4, 6, 8, dtype=torch.complex64), torch.ones(4, 6) > 0, (1, 1, 1))
    >>> lines, head = Lines(path, "dataset"), {"matrix": (4, 6, 8), "centre": (2, 3)}
    >>> energy, profiles = lines.look(np.arange(24))
    >>> grid, lost, notes = grid_of(lines, np.arange(24), head, {0: 0}, energy, profiles)
    >>> grid.shape, grid.y[:7], lost, notes
    ((4, 6, 8), array([0, 1, 2, 3, 4, 5, 0]), 0, [])
    """
    index = lines.heads["idx"][chosen]
    depth, height, size = head["matrix"]
    stacked = len(order) > 1
    notes = []
    if stacked:
        if index["kspace_encode_step_2"].min() != index["kspace_encode_step_2"].max():
            raise ValueError("data: found several slabs of 3D lines, expected one")
        z = np.array([order.get(int(c), -1) for c in index["slice"]])
        depth = max(order.values()) + 1
    else:
        z, note = settle_counter("kz", index["kspace_encode_step_2"].astype(int), depth, head["centre"][0],
                                  _siemens_centre(index, 6), energy[chosen])
        notes.append(note)
    y, note = settle_counter("ky", index["kspace_encode_step_1"].astype(int), height, head["centre"][1],
                              _siemens_centre(index, 5), energy[chosen])
    notes.append(note)
    left, note = _settle_samples(lines, chosen, size, profiles)
    notes.append(note)
    inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height)
    if not inside.any():
        raise ValueError("data: found no line inside the matrix of the header")
    if depth > 1000 * inside.sum():
        raise ValueError(f"data: found slices counted up to {depth} for {inside.sum()} lines, expected a stack")
    grid = Layout((depth, height, size), chosen[inside], z[inside], y[inside], left[inside], stacked)
    if stacked:
        notes.append(_same_lines_everywhere(grid))
    return grid, int((~inside).sum()), [note for note in notes if note]


def _siemens_centre(index: np.ndarray, which: int) -> int | None:
    """The centre that the converter of Siemens files leaves in the user counters, if all lines agree about one."""
    values = np.unique(index["user"][:, which])
    return int(values[0]) if len(values) == 1 and values[0] > 0 else None


def _settle_samples(lines: Lines, chosen: np.ndarray, size: int, profiles: dict[int, np.ndarray]
                    ) -> tuple[np.ndarray, str]:
    """First index along x of each line; its claimed centre goes to ``size // 2`` unless its own energy lies elsewhere.

    Lines of one kind, by length, claimed centre and direction, are treated alike; lines read backwards are put
    where those read forwards have their echo.
    """
    samples, centre = lines.samples[chosen], lines.centre_sample()[chosen]
    back = lines.heads["flags"][chosen] & REVERSE != 0
    kinds, which = np.unique(np.stack([samples, centre, back], 1), axis=0, return_inverse=True)
    which = which.reshape(-1)
    left, tops, doubtful = np.zeros(len(kinds), int), np.full(len(kinds), -1), False
    for k, (n, claim, _) in enumerate(kinds):
        seen = [line for line in chosen[which == k] if line in profiles]
        strongest = max(seen, key=lambda line: profiles[line].max(), default=None)
        top = None if strongest is None else peak(profiles[strongest])
        tops[k] = -1 if top is None else top
        options = [c for c in (claim, top) if c is not None and 0 <= size // 2 - c <= size - n]
        if n == size:
            left[k] = 0
        elif top is not None and abs(top - claim) > max(2, n // 16) and top in options:
            left[k], doubtful = size // 2 - top, True
        else:
            left[k] = size // 2 - options[0] if options else size // 2 - n // 2     # often center_sample is left at 0
            doubtful |= claim > 0 and claim not in options
    for k, (n, _, backwards) in enumerate(kinds):
        forwards = [j for j in range(len(kinds)) if kinds[j][0] == n and not kinds[j][2] and tops[j] >= 0]
        if backwards and forwards and tops[k] >= 0:
            there = left[forwards[0]] + tops[forwards[0]] - tops[k]
            if 0 < abs(there - left[k]) <= 2 and 0 <= there <= size - n:
                left[k], doubtful = there, True
    return left[which], ("centre of kx: found the echo elsewhere than center_sample says, taken where it is"
                         if doubtful else "")


def _same_lines_everywhere(grid: Layout) -> str:
    """Keep the lines that every slice has: a transform across slices would mix measured and missing ones."""
    counts = grid.counts > 0
    slices = counts.any(1)
    common = counts[slices].all(0)
    if torch.equal(common, counts.any(0)):
        return ""
    if not common.any():
        raise ValueError("data: found slices without a common line, expected slices measured alike")
    keep = common.numpy()[grid.y]
    grid.lines, grid.z, grid.y, grid.left = grid.lines[keep], grid.z[keep], grid.y[keep], grid.left[keep]
    return f"slices: found them measured at different lines, the {int(common.sum())} common ones are used"


def _mask(grid: Layout) -> tuple[torch.Tensor]:
    measured = grid.counts > 0
    # after the transform across slices every kz is measured
    return (measured.any(0).expand(measured.shape) if grid.stacked else measured,)


def _energy(grid: Layout, energy: np.ndarray) -> torch.Tensor:
    """Energy by position; of a stack by ky, of all slices together."""
    out = torch.zeros(grid.shape[:2], dtype=torch.float64)
    out.index_put_((torch.from_numpy(grid.z), torch.from_numpy(grid.y)), torch.from_numpy(energy[grid.lines]),
                   accumulate=True)
    return out.sum(0, keepdim=True) if grid.stacked else out


def _profile(grid: Layout, profiles: dict[int, np.ndarray]) -> torch.Tensor:
    out = torch.zeros(grid.shape[2], dtype=torch.float64)
    for n, left in zip(grid.lines, grid.left):
        if n in profiles:
            out[left:left + len(profiles[n])] += torch.from_numpy(profiles[n])
    return out


def _voxel_size(head: dict[str, Any], grid: Layout, step: np.ndarray | None) -> tuple[float, ...]:
    """In mm; across a stack the distance of the positions, or the slices' thickness where they have none."""
    fov_z, fov_y, fov_x = head["fov"]
    depth, height, size = grid.shape
    dz = fov_z / head["matrix"][0] if step is None else float(np.linalg.norm(step))
    return dz, fov_y / height, fov_x / size


def reader(lines: Lines, grid: Layout, coils: int, chop: tuple[bool, bool]) -> Callable[[int, int], torch.Tensor]:
    """``fetch(start, stop)`` of a :class:`~mrilab.raw.scan.Scan`: lines onto the grid, repeated ones averaged.

    Examples
    --------
    >>> grid = Layout((1, 2, 4), np.arange(2), np.zeros(2, int), np.arange(2), np.zeros(2, int), False)
    >>> class Two:
    ...     heads = {"idx": {"kspace_encode_step_1": np.arange(2), "kspace_encode_step_2": np.zeros(2, int)}}
    ...     def read(self, wanted):
    ...         return ((n, np.full((3, 4), n + 1, np.complex64)) for n in wanted)
    >>> reader(Two(), grid, 3, (False, False))(0, 4)[0, 0].real
    tensor([[1., 1., 1., 1.],
            [2., 2., 2., 2.]])
    """
    depth, height, size = grid.shape
    counts, index = grid.counts, lines.heads["idx"]
    place = {int(n): (int(z), int(y), int(left)) for n, z, y, left in zip(grid.lines, grid.z, grid.y, grid.left)}
    chop_z, chop_y = chop

    def fetch(start: int, stop: int) -> torch.Tensor:
        out = torch.zeros(coils, depth, height, stop - start, dtype=torch.complex64)
        for n, values in lines.read(grid.lines):
            z, y, left = place[n]
            full = np.zeros((coils, size), np.complex64)
            full[:, left:left + values.shape[1]] = values
            if chop_y * index["kspace_encode_step_1"][n] + chop_z * index["kspace_encode_step_2"][n] & 1:
                full = -full
            part = torch.from_numpy(full)
            if (start, stop) != (0, size):
                part = ifft3c(part, axes=(-1,))[:, start:stop]
            # a line measured once stays as it is: PyTorch 2.5 rounds even a complex number divided by 1
            out[:, z, y] += part / counts[z, y] if counts[z, y] > 1 else part
        if (start, stop) != (0, size):
            out = fft3c(out, axes=(-1,))
        return fft3c(out, axes=(-3,)) if grid.stacked else out

    return fetch


def _noise(lines: Lines, noise: np.ndarray, grid: Layout, coils: int) -> torch.Tensor | None:
    """The noise scan, as strong as the noise of the image's lines: dwell times and averages differ.

    A sample's variance falls with the time it took, so in proportion to the number of averages and to the dwell time.
    """
    heads = lines.heads
    usable = np.flatnonzero(noise & (heads["active_channels"] == coils))
    if not len(usable):
        return None
    dwell = np.array(heads["sample_time_us"], float)
    of_image = float(np.median(dwell[grid.lines]))
    averages = float(grid.counts[grid.counts > 0].reciprocal().mean()) ** 0.5
    parts = []
    for n, values in lines.read(usable):
        ratio = dwell[n] / of_image if dwell[n] > 0 and of_image > 0 else 1.0
        parts.append(values * np.float32(averages * ratio**0.5))
    return torch.from_numpy(np.concatenate(parts, axis=1))


def _calibration_scan(lines: Lines, calibration: np.ndarray, scan: Scan, spaces: tuple[dict[str, Any], dict[str, Any]],
                      order: dict[int, int]) -> tuple[Scan | None, str]:
    """Lines measured for the sensitivities alone, on the grid of the image; and what to say of them.

    ``spaces`` are the headers of the image and of these lines: the field of view must be the same, the matrix need not.
    """
    what = f"{int(calibration.sum())} calibration lines of a scan of their own"
    heads, (head, own) = lines.heads, spaces
    encoded = slice(1 if len(order) > 1 or head["matrix"][0] == 1 else 0, 3)
    if own is not head and not np.allclose(own["fov"][encoded], head["fov"][encoded], rtol=0.02):
        return None, f"{what} have another field of view and are not used"
    head = head | {"centre": own["centre"]}
    wanted = np.flatnonzero(calibration & (heads["active_channels"] == scan.coils)
                            & (lines.samples <= head["matrix"][2]))
    if len(order) > 1:
        wanted = wanted[np.isin(heads["idx"]["slice"][wanted], list(order))]
    if not len(wanted):
        return None, f"{what} do not fit the image's grid and are not used"
    energy, profiles = lines.look(wanted, near=_counters(heads))
    try:
        grid, _, _ = grid_of(lines, wanted, head, order, energy, profiles)
    except ValueError as error:
        return None, f"{what} are not used: {error}"
    return Scan("ismrmrd", scan.coils, grid.shape, scan.voxel_size, *_mask(grid), scan.wanted,
                reader(lines, grid, scan.coils, head["chop"])), f"{what}, for the sensitivities alone"


def save_ismrmrd(path: str | Path, kspace: Any, mask: Any, voxel_size: Any, noise: Any = None, affine: Any = None
                 ) -> None:
    """Write a 3D Cartesian scan as ISMRMRD, through the ``ismrmrd`` package.

    Parameters
    ----------
    path : str or Path
    kspace : Tensor
        complex64 ``(coils, z, y, x)``, centred.
    mask : Tensor
        bool ``(z, y)``; only measured lines are written.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    noise : Tensor, optional
        complex64 ``(coils, samples)``, written first as a noise measurement.
    affine : ndarray, optional
        4 x 4, from voxel ``(x, y, z)`` to mm right, anterior, superior; every line carries its position and directions.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "raw.h5"
    >>> save_ismrmrd(path, torch.ones(2, 4, 6, 8, dtype=torch.complex64), torch.ones(4, 6, dtype=torch.bool), (3, 1, 1))
    >>> scan = open_ismrmrd(path)
    >>> scan.coils, scan.shape, scan.voxel_size
    (2, (4, 6, 8), (3.0, 1.0, 1.0))
    """
    import ismrmrd

    kspace = np.asarray(kspace)
    axes, position = (np.eye(3), np.zeros(3)) if affine is None else read_affine(affine, kspace.shape[1:])
    xml = _xml(kspace.shape[1:], check_voxel_size(voxel_size))
    with atomic_path(Path(path)) as temporary:
        temporary.unlink()
        with ismrmrd.Dataset(str(temporary), "dataset", mode="w") as file:
            file.write_xml_header(xml.encode())

            def write(values: Any, flag: int | None = None, **counters: int) -> None:
                values = np.ascontiguousarray(values, np.complex64)
                line = ismrmrd.Acquisition.from_array(values, center_sample=values.shape[1] // 2)
                line.read_dir[:], line.phase_dir[:], line.slice_dir[:] = axes
                line.position[:] = position
                if flag:
                    line.setFlag(flag)
                for name, value in counters.items():
                    setattr(line.idx, name, value)
                file.append_acquisition(line)

            if noise is not None:
                write(noise, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            for z, y in np.argwhere(np.asarray(mask)):
                write(kspace[:, z, y], kspace_encode_step_1=int(y), kspace_encode_step_2=int(z))


def _xml(shape: tuple[int, ...], voxel_size: tuple[float, ...]) -> str:
    depth, height, size = shape
    fov = [n * d for n, d in zip(shape, voxel_size)]
    space = (f"<matrixSize><x>{size}</x><y>{height}</y><z>{depth}</z></matrixSize>"
             f"<fieldOfView_mm><x>{fov[2]!r}</x><y>{fov[1]!r}</y><z>{fov[0]!r}</z></fieldOfView_mm>")
    limits = "".join(
        f"<kspace_encoding_step_{i}><minimum>0</minimum><maximum>{n - 1}</maximum><center>{n // 2}</center>"
        f"</kspace_encoding_step_{i}>" for i, n in ((1, height), (2, depth)))
    return ('<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
            "<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>"
            f"</experimentalConditions><encoding><encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>"
            f"<encodingLimits>{limits}</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>")


def measurements(file: Any) -> list[str]:
    """Names of the groups with ``xml`` and ``data``, as ISMRMRD has them; numbers in a name count as numbers.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "raw.h5"
    >>> save_ismrmrd(path, torch.ones(1, 2, 2, 2, dtype=torch.complex64), torch.ones(2, 2) > 0, (3, 3, 3))
    >>> with hdf5.opened(path) as file:
    ...     measurements(file)
    ['dataset']
    """
    import h5py

    found = [name for name in hdf5.names(file)
             if file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
             and isinstance(file[name], h5py.Group) and {"xml", "data"} <= set(hdf5.names(file[name]))]
    return sorted(found, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
