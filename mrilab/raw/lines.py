"""Lines of an ISMRMRD file: what each of them is for, and their samples, a bounded part of the file at a time.

HDF5 names the fields of a line itself, so reading needs no other library.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import hdf5

# Bits of a line's flags, counted from 1 in the standard (ismrmrd.h). LAST_IN_MEASUREMENT, 25, is no kind of data.
NOISE, CALIBRATION, CALIBRATION_AND_IMAGE, REVERSE = (1 << (n - 1) for n in (19, 20, 21, 22))
NO_IMAGE = {"navigator": 23, "phase correction": 24, "HP feedback": 26, "dummy": 27, "RT feedback": 28,
            "surface coil correction": 29, "phase stabilisation reference": 30, "phase stabilisation": 31}
TOGETHER, FAR = 2**26, 16           # bytes of lines that are read together, unless so many between are not wanted
LOOK = 2**28                        # bytes that a look at a file may read


class Lines:
    """The lines of one measurement: ``heads``, and :meth:`read` for the samples.

    Raises
    ------
    ValueError
        For a data set of another structure, and lines that claim more than the file holds.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrilab.raw import save_ismrmrd
    >>> path = Path(tempfile.mkdtemp()) / "raw.h5"
    >>> save_ismrmrd(path, torch.ones(2, 4, 6, 8, dtype=torch.complex64), torch.ones(4, 6, dtype=torch.bool), (3, 1, 1))
    >>> lines = Lines(path, "dataset")
    >>> len(lines.heads), [values.shape for _, values in lines.read([0, 5])]
    (24, [(2, 8), (2, 8)])
    """

    def __init__(self, path: Path, group: str) -> None:
        self.path, self.group, bytes_ = path, group, path.stat().st_size
        with hdf5.opened(path) as file:
            data = hdf5.dataset(file[group], "data")
            fields = data.dtype.names or ()
            if data.ndim != 1 or not {"head", "data"} <= set(fields) or not len(data):
                raise ValueError(f"data: found shape {data.shape} and fields {fields or None}, expected a list of "
                                 "lines with 'head' and 'data'")
            self.heads, lengths = _heads(data)
        self.samples = (self.heads["number_of_samples"].astype(int) - self.heads["discard_pre"]
                        - self.heads["discard_post"])
        # samples lie in the file one after the other, not compressed; several lines that share them were never measured
        if 4 * lengths.sum() > bytes_:
            raise ValueError(f"data: found lines that claim {4 * lengths.sum()} bytes in a file of {bytes_}, expected "
                             "lines that fit")
        self.bytes = 4 * lengths
        if self.samples.max() < 1:
            raise ValueError("data: found lines without samples")

    def read(self, wanted: Any) -> Iterator[tuple[int, np.ndarray]]:
        """Number and complex ``(coils, samples)`` of these lines, without what the scanner marks as ramps."""
        wanted = np.sort(np.asarray(wanted, int))
        with hdf5.opened(self.path) as file:
            data = file[self.group]["data"].fields("data")
            at = 0
            while at < len(wanted):
                first = wanted[at]
                ahead = np.cumsum(self.bytes[first:first + 1024])
                until = int(np.searchsorted(wanted, first + max(1, np.searchsorted(ahead, TOGETHER))))
                gaps = np.flatnonzero(np.diff(wanted[at:until]) > FAR)
                until = at + int(gaps[0]) + 1 if len(gaps) else until
                block = data[first:wanted[until - 1] + 1]
                for n in wanted[at:until]:
                    yield int(n), self._line(int(n), block[n - first])
                at = until

    def _line(self, n: int, numbers: Any) -> np.ndarray:
        head = self.heads[n]
        samples, coils = int(head["number_of_samples"]), int(head["active_channels"])
        values = np.asarray(numbers, np.float32)
        if values.size != 2 * samples * coils:
            raise ValueError(f"data: found a line of {values.size} numbers, expected {samples} samples of "
                             f"{coils} coils")
        line = values.view(np.complex64).reshape(coils, samples)
        line = line[:, int(head["discard_pre"]):samples - int(head["discard_post"])]
        return line[:, ::-1] if head["flags"] & REVERSE else line

    def centre_sample(self) -> np.ndarray:
        """For each line the sample of kx = 0 that its head claims, as :meth:`read` gives the samples."""
        centre = self.heads["center_sample"].astype(int) - self.heads["discard_pre"]
        return np.where(self.heads["flags"] & REVERSE != 0, self.samples - 1 - centre, centre)

    def look(self, wanted: np.ndarray, near: np.ndarray | None = None) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Energy of the lines, NaN where not looked at, and the energies of their samples, summed over coils.

        Of a large file some lines are looked at, drawn at random, and those around the strongest of them: ``near``
        has the counters ``(lines, axes)`` that say which lines are neighbours.
        """
        energy = np.full(len(self.heads), np.nan)
        profiles: dict[int, np.ndarray] = {}

        def measure(some: np.ndarray) -> None:
            for n, values in self.read(some):
                profiles[n] = np.square(np.abs(values), dtype=np.float64).sum(0)
                energy[n] = profiles[n].sum()

        if self.bytes[wanted].sum() <= LOOK or near is None:
            measure(wanted)
            return energy, profiles
        rng = np.random.default_rng(0)
        count = max(64, int(LOOK // 2 // self.bytes[wanted].mean()))
        measure(rng.choice(wanted, min(count, len(wanted)), replace=False))
        strongest = near[np.nanargmax(energy)]
        close = wanted[np.abs(near[wanted] - strongest).max(1) <= 4]
        measure(close[np.isnan(energy[close])][:count])
        return energy, profiles


def _heads(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Heads of the lines, and how many numbers each points at, without following the pointers.

    HDF5's own way to read the heads fetches all samples of all lines as well. So they are taken from the bytes as they
    are stored: a sequence of any length is its length (4 bytes) and where it lies.
    """
    kind = data.id.get_type()
    members = {kind.get_member_name(i).decode(): i for i in range(kind.get_nmembers())}
    sequences = [name for name in members if name != "head"]
    if data.chunks is None or data.id.get_create_plist().get_nfilters():
        return _heads_with_samples(data, sequences)
    row = np.dtype({"names": ["head", *sequences], "formats": [data.dtype["head"], *["<u4"] * len(sequences)],
                    "offsets": [kind.get_member_offset(members[name]) for name in ("head", *sequences)],
                    "itemsize": kind.get_size()})
    step, count = data.chunks[0], len(data)
    if count * row.itemsize > 2 * data.id.get_storage_size() + 2**20:
        raise ValueError(f"data: found {count} lines in {data.id.get_storage_size()} stored bytes, expected lines that "
                         "fit")
    parts = [np.frombuffer(data.id.read_direct_chunk((at,))[1], row)[:count - at] for at in range(0, count, step)]
    rows = np.concatenate(parts)
    return rows["head"].copy(), sum((rows[name].astype(np.int64) for name in sequences), np.zeros(count, np.int64))


def _heads_with_samples(data: Any, sequences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The same of a file that no ISMRMRD library wrote, compressed or in one piece: a few whole lines at a time."""
    bytes_ = Path(data.file.filename).stat().st_size
    step, total = int(np.clip(TOGETHER // bytes_, 1, 256)), 0
    heads, lengths = [], []
    for at in range(0, len(data), step):
        rows = data[at:at + step]
        heads.append(rows["head"].copy())
        lengths += [sum(len(row[name]) for name in sequences) for row in rows]
        total += 4 * sum(lengths[-len(rows):]) + rows["head"].nbytes
        if total > 4 * bytes_ + 2**24:
            raise ValueError(f"data: found lines that claim more than {total} bytes in a file of {bytes_}, expected "
                             "lines that fit")
    return np.concatenate(heads), np.array(lengths, np.int64)


def sort_lines(heads: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Which lines belong to the image, to its calibration alone, and to the noise scan; and what is left out.

    Of several encoding spaces, contrasts, repetitions, phases or sets the first one is taken. Lines flagged as
    calibration only are part of the image where calibration is embedded in it; where it is a scan of its own
    (``separate``, ``external``, or the header is silent and the lines repeat positions of the image) they are not.

    Parameters
    ----------
    heads : ndarray
        As in :class:`Lines`.
    mode : str
        ``calibrationMode`` of the header, or nothing.

    Returns
    -------
    image, calibration, noise : ndarray
        bool, one a line.
    left_out : list of str

    Examples
    --------
    >>> index = np.dtype([(name, int) for name in ("kspace_encode_step_1", "kspace_encode_step_2", "slice",
    ...                   "contrast", "repetition", "phase", "set")])
    >>> heads = np.zeros(4, [("flags", int), ("idx", index), ("active_channels", int), ("encoding_space_ref", int)])
    >>> heads["flags"] = NOISE, 1 << 22, 1 << 24, 0           # noise, navigator, the last line, a line
    >>> image, calibration, noise, left_out = sort_lines(heads, "")
    >>> image.tolist(), left_out
    ([False, False, True, True], ['1 navigator line'])
    """
    flags, left_out = heads["flags"].astype(np.uint64), []
    noise = flags & NOISE != 0
    image = ~noise
    for name, bit in NO_IMAGE.items():
        others = image & (flags & (1 << (bit - 1)) != 0)
        image &= ~others
        if others.any():
            left_out.append(f"{others.sum()} {name} line{'s' if others.sum() > 1 else ''}")
    if not image.any():
        raise ValueError(f"data: found {len(heads)} lines, none of them of an image")
    usual = _usual(heads["active_channels"][image])
    others = image & (heads["active_channels"] != usual)
    if others.any():
        left_out.append(f"{others.sum()} lines of another number of coils than {usual}")
        image &= ~others
    calibration = _calibration(heads, image, mode)
    image &= ~calibration
    if not image.any():             # nothing else in the file: they are the image
        image, calibration = calibration, image
    for name in ("encoding_space_ref", "contrast", "repetition", "phase", "set"):
        values = heads["encoding_space_ref"] if name == "encoding_space_ref" else heads["idx"][name]
        first = values[image].min()
        others = image & (values != first)
        if others.any():
            left_out.append(f"{len(np.unique(values[image])) - 1} x {name.removesuffix('_ref').replace('_', ' ')}")
            image &= values == first
        if name not in ("encoding_space_ref", "set") and (calibration & (values == first)).any():
            calibration &= values == first
    return image, calibration, noise, left_out


def _usual(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _calibration(heads: np.ndarray, image: np.ndarray, mode: str) -> np.ndarray:
    """Lines of a calibration scan that is not part of the image."""
    flags, index = heads["flags"].astype(np.uint64), heads["idx"]
    only = image & (flags & CALIBRATION != 0) & (flags & CALIBRATION_AND_IMAGE == 0)
    both = image & (flags & CALIBRATION_AND_IMAGE != 0)
    if mode in ("embedded", "interleaved") or not (only | both).any():
        return np.zeros(len(heads), bool)
    place = [tuple(row) for row in np.stack([index[name] for name in (
        "kspace_encode_step_1", "kspace_encode_step_2", "slice")], 1).tolist()]
    plain = {place[n] for n in np.flatnonzero(image & ~only & ~both)}
    repeats = np.array([spot in plain for spot in place])
    if mode in ("separate", "external"):
        return only | both & repeats            # a line of both kinds is of the image unless that has one there
    return only if (only & repeats).any() else np.zeros(len(heads), bool)
