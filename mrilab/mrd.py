"""ISMRMRD and fastMRI files: both describe their grid in the same XML header.

ISMRMRD (Inati et al., MRM 77:411, 2017) stores one readout line after the other, each with its position in
k-space; fastMRI (Knoll et al., Radiology: AI 2:e190007, 2020) stores 2D slices as arrays. HDF5 names the
fields of a line itself, so reading needs no other library; writing goes through the ``ismrmrd`` package.
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import torch

from . import _hdf5
from .formats import Scan, _checked, _group_of_ismrmrd, needs_voxel_size
from .fourier import fft3c, ifft3c
from .volumes import check_voxel_size

# Bits of a line's flags, counted from 1 in the standard.
NOISE, REVERSE = 1 << 18, 1 << 21
NO_IMAGE = sum(1 << (n - 1) for n in (23, 24, 25, 26, 27, 28, 29))     # navigators, phase correction, dummies ...
LINES = 256             # read together


def _read_header(xml):
    """Grid and fields of view of the first encoding.

    Returns
    -------
    dict
        ``matrix``, ``fov``, ``recon_matrix``, ``recon_fov`` as ``(z, y, x)``; ``centre`` of the counters
        ``(z, y)`` or None; ``trajectory``; user parameters ``chop`` as ``(z, y)``.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("header: found an XML document type, expected plain XML")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"header: found XML that does not parse ({error}), expected an ISMRMRD header") from None
    encoding = root.find("{*}encoding")
    if encoding is None:
        raise ValueError("header: found no <encoding>, expected an ISMRMRD header")

    def triple(path, kind):
        found = [encoding.findtext(path + f"/{{*}}{axis}") for axis in "zyx"]
        try:
            values = tuple(kind(v) for v in found)
        except (TypeError, ValueError):
            values = (0,)
        if not all(0 < v < float("inf") for v in values):
            name = path.replace("{*}", "")
            raise ValueError(f"header: found {name} = {found}, expected three positive numbers")
        return values

    head = {"matrix": triple("{*}encodedSpace/{*}matrixSize", int),
            "fov": triple("{*}encodedSpace/{*}fieldOfView_mm", float)}
    recon = encoding.find("{*}reconSpace") is not None
    head["recon_matrix"] = triple("{*}reconSpace/{*}matrixSize", int) if recon else head["matrix"]
    head["recon_fov"] = triple("{*}reconSpace/{*}fieldOfView_mm", float) if recon else head["fov"]
    centre = [encoding.findtext(f"{{*}}encodingLimits/{{*}}kspace_encoding_step_{i}/{{*}}center") for i in (2, 1)]
    head["centre"] = tuple(None if c is None else int(c) for c in centre)
    head["trajectory"] = (encoding.findtext("{*}trajectory") or "cartesian").strip().lower()
    user = {p.findtext("{*}name"): p.findtext("{*}value") for p in root.iter() if p.tag.endswith("userParameterLong")}
    # GE files of mridata.org: lines alternate in sign unless the parameter says they no longer do
    head["chop"] = tuple(user.get(name, "1") == "0" for name in ("ChopZ", "ChopY"))
    return head


def _wanted(head, size):
    """Positions along x inside the prescribed field of view."""
    return min(size, max(1, round(size * head["recon_fov"][2] / head["fov"][2])))


def open_fastmri(path, voxel_size=None):
    """fastMRI multi-coil file: slices become z, lines across the readout become y.

    The slices are separate 2D measurements. A Fourier transform across them makes them a 3D scan that is fully
    sampled in kz; noise and misfit keep their meaning, as the transform is orthonormal.

    Parameters
    ----------
    path : Path
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, for a file without ``ismrmrd_header``.

    Returns
    -------
    Scan

    Examples
    --------
    Two slices, four coils, eight positions of the readout on each of six lines:

    >>> import h5py, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/a.h5", "w") as file:
    ...         file["kspace"] = np.ones((2, 4, 8, 6), np.complex64)
    ...     scan = open_fastmri(Path(f"{folder}/a.h5"), voxel_size=(5, 1, 1))
    ...     scan.coils, scan.shape, scan.read().shape
    (4, (2, 6, 8), torch.Size([4, 2, 6, 8]))
    """
    with _hdf5.opened(path) as file:
        kspace = _hdf5.numbers(file, "kspace")
        if kspace.ndim not in (3, 4) or kspace.dtype.kind != "c" or not all(kspace.shape):
            raise ValueError(f"kspace: found shape {kspace.shape} of type {kspace.dtype}, expected complex (slices, "
                             "coils, x, y)")
        single = kspace.ndim == 3
        slices, coils, size, lines = (kspace.shape[0], 1, *kspace.shape[1:]) if single else kspace.shape
        head = _read_header(_hdf5.text(file, "ismrmrd_header")) if "ismrmrd_header" in _hdf5.names(file) else None
        if "mask" in _hdf5.names(file):
            mask = torch.from_numpy(_hdf5.numbers(file, "mask")[()].reshape(-1) != 0)
            if len(mask) != lines:
                raise ValueError(f"mask: found {len(mask)} lines, expected {lines} as kspace has")
        else:
            middle = kspace[slices // 2]
            mask = torch.from_numpy((middle.reshape(-1, lines) != 0).any(0))
    matrix_y, shift, wanted = lines, 0, size
    if head:
        # partial Fourier across lines is stored without its empty part: put the centre where the grid has it
        centre = head["centre"][1]
        if lines <= head["matrix"][1] <= 8 * lines and centre is not None and 0 <= centre < lines:
            matrix_y = head["matrix"][1]
            shift = matrix_y // 2 - centre
            if not 0 <= shift <= matrix_y - lines:
                matrix_y, shift = lines, 0
        if head["matrix"][2] == size:
            wanted = _wanted(head, size)
        # the field of view is the inverse of the distance between samples, however many there are
        voxel_size = voxel_size or (head["fov"][0] / head["matrix"][0], head["fov"][1] / matrix_y,
                                    head["fov"][2] / size)
    needs_voxel_size(voxel_size, "a file without 'ismrmrd_header'")
    full = torch.zeros(matrix_y, dtype=torch.bool)
    full[shift:shift + lines] = mask

    def fetch(start, stop):
        out = torch.zeros(coils, slices, matrix_y, stop - start, dtype=torch.complex64)
        with _hdf5.opened(path) as file:
            for i in range(slices):
                image = torch.from_numpy(file["kspace"][i].astype(np.complex64)).reshape(coils, size, lines)
                image = ifft3c(image, axes=(-2,))[:, start:stop]
                out[:, i, shift:shift + lines] = image.transpose(1, 2) * mask[:, None]
        return fft3c(out, axes=(-3, -1))

    return Scan("fastmri", coils, (slices, matrix_y, size), check_voxel_size(voxel_size),
                _checked(full).expand(slices, matrix_y), wanted, fetch,
                info={"note": "2D slices, stacked; a gap between slices is not in the file"})


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
    with _hdf5.opened(path) as file:
        group = _group_of_ismrmrd(file)
        head = _read_header(_hdf5.text(file[group], "xml"))
        if head["trajectory"] != "cartesian":
            raise ValueError(f"trajectory: found {head['trajectory']!r}, expected 'cartesian'")
        data = _hdf5.dataset(file[group], "data")
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
        with _hdf5.opened(path) as file:
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
    return Scan("ismrmrd", coils, (depth, height, size), check_voxel_size(voxel_size), mask, _wanted(head, size), fetch,
                noise=None if noise is None else torch.from_numpy(noise.copy()),
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

    from .volumes import atomic_path

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


def read_ahead_maps(path, start=0, stop=None):
    """Coil sensitivities as AHEAD has them: HDF5 with ``0real`` and ``1imag``, ``(coils, z, y, x)``.

    Parameters
    ----------
    path : str or Path
    start, stop : int
        Positions along x.

    Returns
    -------
    Tensor
        complex64 ``(coils, z, y, stop - start)``.

    Examples
    --------
    >>> import h5py, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/a.h5", "w") as file:
    ...         file["0real"], file["1imag"] = np.ones((2, 3, 4, 5)), np.full((2, 3, 4, 5), 0.5)
    ...     maps = read_ahead_maps(f"{folder}/a.h5", 1, 3)
    >>> maps.shape, maps[0, 0, 0, 0]
    (torch.Size([2, 3, 4, 2]), tensor(1.+0.5000j))
    """
    with _hdf5.named(path), _hdf5.opened(path) as file:
        real, imag = _hdf5.numbers(file, "0real"), _hdf5.numbers(file, "1imag")
        if real.ndim != 4 or real.shape != imag.shape:
            raise ValueError(f"0real, 1imag: found shapes {real.shape} and {imag.shape}, expected (coils, z, y, x)")
        return torch.complex(*(torch.from_numpy(a[..., start:stop].astype(np.float32)) for a in (real, imag)))
