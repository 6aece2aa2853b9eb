"""ISMRMRD (Inati et al., MRM 77:411, 2017): one readout line after the other, each with its position in k-space.

HDF5 names the fields of a line itself, so reading needs no other library; writing goes through the ``ismrmrd`` package.
"""

from pathlib import Path

import numpy as np
import torch

from .. import hdf5
from ..checks import check_voxel_size
from ..fourier import fft3c, ifft3c
from ..writing import atomic_path
from .header import read_header, wanted_positions
from .scan import Scan

# Bits of a line's flags, counted from 1 in the standard.
NOISE, REVERSE = 1 << 18, 1 << 21
NO_IMAGE = sum(1 << (n - 1) for n in (23, 24, 25, 26, 27, 28, 29))     # navigators, phase correction, dummies ...
LINES = 256             # read together


def open_ismrmrd(path, voxel_size=None):
    """ISMRMRD file, Cartesian: 3D, or 2D slices stacked as in :func:`open_fastmri`.

    Lines measured several times are averaged; of several contrasts, repetitions, phases or sets the first
    is taken. Partial Fourier leaves its part of the grid unmeasured; a partial echo is filled with zeros.

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
        group = group_of_ismrmrd(file)
        head = read_header(hdf5.text(file[group], "xml"))
        if head["trajectory"] != "cartesian":
            raise ValueError(f"trajectory: found {head['trajectory']!r}, expected 'cartesian'")
        data = hdf5.dataset(file[group], "data")
        if data.ndim != 1 or not {"head", "data"} <= set(data.dtype.names or ()) or not len(data):
            raise ValueError(f"data: found shape {data.shape} and fields {data.dtype.names}, expected a list of "
                             "lines with 'head' and 'data'")
        lines = data.fields("head")[()]
    index = lines["idx"]
    noise_lines = np.flatnonzero(lines["flags"] & NOISE)
    image = (lines["flags"] & (NOISE | NO_IMAGE)) == 0
    if "encoding_space_ref" in lines.dtype.names:
        image &= lines["encoding_space_ref"] == 0
    if not image.any():
        raise ValueError(f"data: found {len(lines)} lines, none of them of an image")
    skipped = {}
    for name in ("contrast", "repetition", "phase", "set"):
        first = index[name][image].min()
        others = image & (index[name] != first)
        if others.any():
            skipped[name] = len(np.unique(index[name][image])) - 1
            image &= index[name] == first

    coils = int(lines["active_channels"][image].max())
    stacked = len(np.unique(index["slice"][image])) > 1
    (depth, height, size), (fov_z, fov_y, fov_x) = head["matrix"], head["fov"]
    dz = fov_z / depth
    if stacked:
        if index["kspace_encode_step_2"][image].any():
            raise ValueError("data: found several slabs of 3D lines, expected one")
        z_of = index["slice"].astype(int) - int(index["slice"][image].min())
        depth = int(z_of[image].max()) + 1
    else:
        centre = head["centre"][0]
        z_of = index["kspace_encode_step_2"].astype(int) + depth // 2 - (depth // 2 if centre is None else centre)
    centre = head["centre"][1]
    y_of = index["kspace_encode_step_1"].astype(int) + height // 2 - (height // 2 if centre is None else centre)
    inside = (z_of >= 0) & (z_of < depth) & (y_of >= 0) & (y_of < height)
    if not (image & inside).any():
        raise ValueError("data: found no line inside the matrix of the header")
    lost = int((image & ~inside).sum())
    chosen = np.flatnonzero(image & inside)
    samples = lines["number_of_samples"].astype(int) - lines["discard_pre"] - lines["discard_post"]
    longest = int(samples[chosen].max())
    # a damaged header must not ask for more memory than any real scan of these lines would
    if depth * height > 1000 * len(chosen) or not longest <= size <= 16 * longest or not 1 <= coils <= 1024:
        raise ValueError(f"header: found a matrix of {(depth, height, size)} for {len(chosen)} lines of {longest} "
                         f"samples from {coils} coils, expected one that they can fill")
    mask = torch.zeros(depth, height, dtype=torch.bool)
    mask[z_of[chosen], y_of[chosen]] = True
    counts = torch.zeros(depth, height)
    counts.index_put_((torch.from_numpy(z_of[chosen]), torch.from_numpy(y_of[chosen])), torch.ones(len(chosen)),
                      accumulate=True)
    chop_z, chop_y = head["chop"]

    def line(row):
        """One line as complex ``(coils, samples)``, without what the scanner marks as ramps."""
        h, n = row["head"], int(row["head"]["number_of_samples"])
        values = np.asarray(row["data"], np.float32)
        if values.size != 2 * n * int(h["active_channels"]):
            raise ValueError(f"data: found a line of {values.size} numbers, expected {n} samples of "
                             f"{h['active_channels']} coils")
        values = values.view(np.complex64).reshape(-1, n)[:, int(h["discard_pre"]):n - int(h["discard_post"])]
        return values[:, ::-1] if h["flags"] & REVERSE else values

    def rows(wanted_lines):
        with hdf5.opened(path) as file:
            data = file[group]["data"]
            for i in range(0, len(data), LINES):
                here = wanted_lines[(wanted_lines >= i) & (wanted_lines < i + LINES)]
                if len(here):
                    block = data[i:i + LINES]
                    for n in here:
                        yield n, block[n - i]

    def fetch(start, stop):
        out = torch.zeros(coils, depth, height, stop - start, dtype=torch.complex64)
        for n, row in rows(chosen):
            values = line(row)
            if values.shape[0] != coils:
                raise ValueError(f"data: found a line of {values.shape[0]} coils, expected {coils} as in the others")
            full = np.zeros((coils, size), np.complex64)
            centre = int(row["head"]["center_sample"]) - int(row["head"]["discard_pre"])
            if row["head"]["flags"] & REVERSE:
                centre = values.shape[1] - 1 - centre
            left = size // 2 - centre
            if not 0 <= left <= size - values.shape[1]:
                left = size // 2 - values.shape[1] // 2         # center_sample is often left at 0
            full[:, left:left + values.shape[1]] = values
            if chop_y * index["kspace_encode_step_1"][n] + chop_z * index["kspace_encode_step_2"][n] & 1:
                full = -full
            part = torch.from_numpy(full)
            if (start, stop) != (0, size):
                part = ifft3c(part, axes=(-1,))[:, start:stop]
            out[:, z_of[n], y_of[n]] += part / counts[z_of[n], y_of[n]]
        if (start, stop) != (0, size):
            out = fft3c(out, axes=(-1,))
        return fft3c(out, axes=(-3,)) if stacked else out

    noise = [line(row) for _, row in rows(noise_lines)]
    noise = np.concatenate([x for x in noise if x.shape[0] == coils], axis=1) if noise else None
    info = {"skipped": f"{lost} lines outside the matrix"} if lost else {}
    if skipped:
        info["note"] = "first only, left out: " + ", ".join(f"{n} x {name}" for name, n in skipped.items())
    voxel_size = voxel_size or (dz, fov_y / height, fov_x / size)
    if stacked:
        mask = mask.any(0).expand(depth, height)        # after the transform across slices every kz is measured
    return Scan("ismrmrd", coils, (depth, height, size), check_voxel_size(voxel_size), mask,
                wanted_positions(head, size), fetch, noise=None if noise is None else torch.from_numpy(noise.copy()),
                affine=_affine(lines[chosen], (depth, height, size), voxel_size, stacked), info=info)


def _affine(lines, shape, voxel_size, stacked):
    """From voxel (x, y, z) to mm right, anterior, superior; the standard's own axes are left, posterior, superior."""
    first = lines[0]
    axes = np.array([first["read_dir"], first["phase_dir"], first["slice_dir"]], float)
    position = np.array(lines["position"], float)
    centre = (position.min(0) + position.max(0)) / 2 if stacked else position[0]
    if not np.isfinite(centre).all() or not np.allclose(axes @ axes.T, np.eye(3), atol=1e-3):
        return None                 # no directions in the file
    to_ras = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ axes.T @ np.diag(voxel_size[::-1])
    affine[:3, 3] = to_ras @ centre - affine[:3, :3] @ np.array([n // 2 for n in shape[::-1]])
    return affine


def save_ismrmrd(path, kspace, mask, voxel_size, noise=None):
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

    coils, depth, height, size = kspace.shape
    fov = [n * d for n, d in zip((depth, height, size), check_voxel_size(voxel_size))]
    space = (f"<matrixSize><x>{size}</x><y>{height}</y><z>{depth}</z></matrixSize>"
             f"<fieldOfView_mm><x>{fov[2]!r}</x><y>{fov[1]!r}</y><z>{fov[0]!r}</z></fieldOfView_mm>")
    limits = "".join(
        f"<kspace_encoding_step_{i}><minimum>0</minimum><maximum>{n - 1}</maximum><center>{n // 2}</center>"
        f"</kspace_encoding_step_{i}>" for i, n in ((1, height), (2, depth)))
    xml = ('<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
           "<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>"
           f"</experimentalConditions><encoding><encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>"
           f"<encodingLimits>{limits}</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>")
    kspace = np.asarray(kspace)
    with atomic_path(Path(path)) as temporary:
        temporary.unlink()
        with ismrmrd.Dataset(str(temporary), "dataset", mode="w") as file:
            file.write_xml_header(xml.encode())

            def write(values, flag=None, **counters):
                values = np.ascontiguousarray(values, np.complex64)
                line = ismrmrd.Acquisition.from_array(values, center_sample=values.shape[1] // 2)
                line.read_dir[:], line.phase_dir[:], line.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
                if flag:
                    line.setFlag(flag)
                for name, value in counters.items():
                    setattr(line.idx, name, value)
                file.append_acquisition(line)

            if noise is not None:
                write(noise, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            for z, y in np.argwhere(np.asarray(mask)):
                write(kspace[:, z, y], kspace_encode_step_1=int(y), kspace_encode_step_2=int(z))


def group_of_ismrmrd(file):
    """Name of the first group with ``xml`` and ``data``, as ISMRMRD has them."""
    import h5py

    for name in hdf5.names(file):
        if (file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
                and isinstance(file[name], h5py.Group) and {"xml", "data"} <= set(hdf5.names(file[name]))):
            return name
    return None
