"""Damaged and hostile files of every format mrilab reads, made from small good ones.

``python tests/corpus.py FOLDER`` reads every file of a folder that :func:`write` made and prints one line each:
what came of it, CPU seconds. It runs as a process of its own, so that a crash or a hang is seen from outside.
"""

import gzip
import io
import json
import math
import pickle
import random
import sys
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

MUST_FAIL = "bad"           # prefix of files that may not be read as if nothing had happened
MAY_PASS = "flip"           # a flipped bit can be harmless


def good(folder):
    """One small valid file of each format; the path of each."""
    import torch

    from mrilab.raw import save_cfl, save_ismrmrd
    from mrilab.volumes import Acquisition, Volume, save_acquisition, save_volume

    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(2, 6, 8, 10, dtype=torch.complex64, generator=generator)
    volume = Volume(torch.rand(6, 8, 10, generator=generator), (3, 2, 1))
    mask = torch.ones(6, 8, dtype=torch.bool)
    paths = {name: folder / name for name in (
        "acquisition.h5", "volume.h5", "ismrmrd.h5", "fastmri.h5", "calgary.h5", "calgary.npy", "scan.cfl", "image.nii",
        "image.nii.gz")}
    save_acquisition(paths["acquisition.h5"], Acquisition(kspace, kspace, mask, (3, 2, 1)))
    save_volume(paths["volume.h5"], volume)
    save_ismrmrd(paths["ismrmrd.h5"], kspace[:, :3, :4], mask[:3, :4], (3, 2, 1))
    save_cfl(paths["scan.cfl"], kspace, (3, 2, 1))
    save_volume(paths["image.nii"], volume)
    save_volume(paths["image.nii.gz"], volume)
    with h5py.File(paths["ismrmrd.h5"]) as source, h5py.File(paths["fastmri.h5"], "w") as file:
        file["kspace"] = kspace.numpy()
        file["ismrmrd_header"] = source["dataset/xml"][0]
    real = np.random.default_rng(0).standard_normal((10, 8, 6, 4), np.float32)
    np.save(paths["calgary.npy"], real)
    with h5py.File(paths["calgary.h5"], "w") as file:
        file.create_dataset("kspace", data=real, compression="gzip")
    return paths


def damaged_bytes(content, rng, truncations=8, flips=24):
    """Name and content: cut short, bits flipped, stretches overwritten."""
    for i in range(truncations):
        yield f"{MUST_FAIL}-cut{i}", content[:int(len(content) * i / truncations)]
    for i in range(flips):
        broken = bytearray(content)
        # half of the damage in the first kilobytes, where the structure is
        end = len(broken) if i % 2 else min(len(broken), 2048)
        for _ in range(1 + i % 4):
            broken[rng.randrange(end)] ^= 1 << rng.randrange(8)
        yield f"{MAY_PASS}{i}", bytes(broken)
    for i in range(4):
        broken = bytearray(content)
        at = rng.randrange(len(broken))
        broken[at:at + 16] = (b"\xff" * 16, b"\0" * 16, rng.randbytes(16), b"\x7f" * 16)[i][:len(broken) - at]
        yield f"{MAY_PASS}-run{i}", bytes(broken)


def hostile_hdf5(source, path, change):
    """A valid HDF5 file whose content is wrong; in the latest form, which allows large attributes."""
    with h5py.File(source) as good, h5py.File(path, "w", libver="latest") as file:
        for name in good:
            good.copy(name, file)
        file.attrs.update(good.attrs)
        change(file)


def replace(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value
    return change


def huge(name, shape, dtype):
    def change(file):
        del file[name]
        file.create_dataset(name, shape, dtype, chunks=True)
    return change


def virtual(name, shape, dtype):
    def change(file):
        del file[name]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape)
        file.create_virtual_dataset(name, layout)
    return change


def stored_outside(name, shape, dtype):
    def change(file):
        del file[name]
        file.create_dataset(name, shape, dtype, external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])
    return change


def bomb(name, shape, dtype):
    """Compresses a thousandfold, and truly holds what it claims: 4 GB of zeros would be too slow, 1 TB is claimed."""
    def change(file):
        del file[name]
        data = file.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]), compression="gzip")
        data[0] = 0
    return change


def honest_bomb(name, shape, dtype):
    """Every chunk is there and holds zeros: 5 GB or more in some MB."""
    def change(file):
        del file[name]
        chunk = (1, *shape[1:])
        data = file.create_dataset(name, shape, dtype, chunks=chunk, compression="gzip")
        packed = zlib.compress(bytes(int(np.prod(chunk)) * np.dtype(dtype).itemsize), 9)
        for i in range(shape[0]):
            data.id.write_direct_chunk((i,) + (0,) * (len(shape) - 1), packed)
    return change


def one_string_many_times(name, length, count=100_000):
    """An array of strings whose references all lead to one long string: small in the file, endless in memory."""
    def change(file):
        del file[name]
        words = file.create_dataset(name, (count,), h5py.string_dtype())
        words[0] = "<a>" + "x" * length + "</a>"
        place, path = words.id.get_offset(), file.filename
        file.flush()
        with open(path, "r+b") as raw:
            raw.seek(place)
            reference = raw.read(16)
            raw.seek(place)
            raw.write(reference * count)
    return change


def long_line(field, length):
    """ISMRMRD: one line says that it has so many numbers, or every line does."""
    def change(file):
        data = file["dataset/data"]
        at = data.id.get_type().get_member_offset(data.id.get_type().get_member_index(field))
        places = [data.id.get_chunk_info(i).byte_offset for i in range(data.id.get_num_chunks())]
        file.flush()
        with open(file.filename, "r+b") as raw:
            for place in places if length < 2**20 else places[1:2]:
                raw.seek(place + at)
                raw.write(length.to_bytes(4, "little"))
    return change


def crowd(file):
    for i in range(20_000):
        file.create_group(f"g{i}")
    del file["data"]


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def many_attributes(file):
    for i in range(15_000):
        file.attrs[f"a{i}"] = i


def text_of(length):
    return np.array(b"<a>" + b"x" * length + b"</a>")


NAN = np.full((2, 6, 8, 10), np.nan, np.complex64)
HOSTILE = {
    "acquisition.h5": [
        replace("kspace", None), replace("mask", None), replace("kspace", ["words"]), replace("kspace", NAN),
        replace("kspace", np.zeros((0, 6, 8, 10), np.complex64)), replace("kspace", np.ones(5, np.complex64)),
        replace("maps", np.ones((2, 6, 8, 9), np.complex64)), replace("mask", np.zeros((6, 8), bool)),
        replace("mask", np.ones((8, 6), bool)), replace("mask", h5py.ExternalLink("/etc/hostname", "/")),
        replace("maps", h5py.SoftLink("/nowhere")), huge("kspace", (64, 4000, 4000, 4000), np.complex64),
        huge("maps", (2, 60000, 8, 60000), np.complex64), virtual("kspace", (2, 6, 8, 10), np.complex64),
        stored_outside("maps", (2, 6, 8, 10), np.float32), bomb("kspace", (1000, 64, 64, 64), np.complex64),
        lambda f: f.attrs.pop("voxel_size"), lambda f: f.attrs.__setitem__("voxel_size", [1.0, 2.0]),
        lambda f: f.attrs.__setitem__("voxel_size", "abc"), lambda f: f.attrs.__setitem__("voxel_size", [1, -1, 1.0]),
        lambda f: f.attrs.__setitem__("noise", np.nan), lambda f: f.attrs.__setitem__("noise", "loud"),
        honest_bomb("kspace", (80, 64, 512, 512), np.float32), honest_bomb("maps", (80, 64, 512, 256), np.complex64),
        honest_bomb("mask", (80, 64 * 10**6), np.int8), attribute("noise", [0.1, 0.2]),
        attribute("affine", np.eye(3)), attribute("affine", np.full((4, 4), np.nan)),
        attribute("affine", np.diag([1.0, 1, 1, 1])), attribute("affine", "here"), attribute("x", b"x" * (6 * 10**6)),
        attribute("voxel_size", [1000.0, 1000, 1000]), attribute("voxel_size", [1e-3, 1e-3, 1e-3]), many_attributes,
        attribute("voxel_size", np.ones(10**6)), replace("kspace", np.full((2, 6, 8, 10), 1e25, np.complex64)),
        replace("maps", np.full((2, 6, 8, 10), 1e30)), attribute("noise", 1j)],
    "volume.h5": [
        replace("data", None), replace("data", np.ones((3, 3), np.float32)), replace("data", ["a", "b"]),
        replace("data", np.full((3, 3, 3), np.inf, np.float32)), replace("data", h5py.ExternalLink("x.h5", "data")),
        huge("data", (40000, 40000, 40000), np.float32), virtual("data", (6, 8, 10), np.float32),
        replace("data", np.zeros((2, 2, 2), [("a", "f4"), ("b", "i4")])),
        lambda f: f.attrs.__setitem__("scale", "big"), lambda f: f.attrs.pop("voxel_size"),
        honest_bomb("data", (100, 4000, 4000), np.float32), honest_bomb("data", (64, 8000, 8000), np.uint8), crowd,
        honest_bomb("data", (40, 4000, 4000), np.complex64), attribute("affine", np.zeros((4, 4))),
        attribute("x", np.ones(10**6)), attribute("scale", np.nan), attribute("scale", [1.0, 2.0]),
        many_attributes, one_string_many_times("data", 10**6), attribute("x", ["word"] * 600_000)],
    "ismrmrd.h5": [
        replace("dataset/xml", None), replace("dataset/data", None), replace("dataset/xml", ["<not xml"]),
        replace("dataset/xml", ["<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"]), replace("dataset/data", np.ones(5)),
        replace("dataset", h5py.ExternalLink("x.h5", "dataset")), replace("dataset/xml", 7),
        replace("dataset/data", h5py.SoftLink("/dataset/xml")), one_string_many_times("dataset/xml", 10**6),
        long_line(b"data", 2**32 - 1), long_line(b"data", 2**28), long_line(b"traj", 2**30), long_line(b"data", 2**17),
        one_string_many_times("dataset/xml", 2 * 10**7), replace("dataset/xml", text_of(8 * 10**6)),
        replace("dataset/xml", ["<a>" * 200_000 + "</a>" * 200_000]), replace("dataset/xml", ["<a/>" * 10**6]),
        replace("dataset/xml", np.zeros(10**6)), replace("dataset/xml", [b"\xff\xfe" * 1000])],
    "fastmri.h5": [
        replace("kspace", np.ones((2, 3), np.complex64)), replace("ismrmrd_header", ["<a/>"]),
        replace("kspace", NAN), huge("kspace", (640, 64, 4000, 4000), np.complex64),
        replace("ismrmrd_header", h5py.ExternalLink("x.h5", "x")), replace("ismrmrd_header", text_of(8 * 10**6)),
        one_string_many_times("ismrmrd_header", 10**6), honest_bomb("kspace", (40, 8, 2000, 1000), np.complex64)],
    "calgary.h5": [
        replace("kspace", np.ones((4, 4, 4, 3), np.float32)), replace("kspace", np.zeros((4, 4, 4, 4), np.float32)),
        replace("kspace", np.ones((4, 4, 4, 4), np.int16)), huge("kspace", (4000, 4000, 4000, 24), np.float32),
        honest_bomb("kspace", (40, 1000, 1000, 24), np.float32)],
}


class Shout:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def write(folder, seed=0):
    """Write the corpus; returns its files. Everything lies in ``folder``, good files in ``folder/good``."""
    rng = random.Random(seed)
    folder = Path(folder)
    paths = good(folder / "good")
    files = []

    def add(stem, ending, content, header=None):
        path = folder / f"{stem}{ending}"
        path.write_bytes(content)
        if ending == ".cfl":
            path.with_suffix(".hdr").write_bytes(paths["scan.cfl"].with_suffix(".hdr").read_bytes()
                                                 if header is None else header)
        files.append(path)

    for name, path in paths.items():
        stem, _, ending = name.partition(".")
        for label, content in damaged_bytes(path.read_bytes(), rng):
            # gzip's last bytes are a checksum and the HDF5 format keeps free space: cuts there may do no harm
            add(f"{label}-{stem}", f".{ending}", content)
    header = paths["scan.cfl"].with_suffix(".hdr").read_bytes()
    for label, content in damaged_bytes(header, rng, flips=12):
        add(f"{label}-header".replace(MUST_FAIL, MAY_PASS), ".cfl", paths["scan.cfl"].read_bytes(), content)
    for i, text in enumerate([b"", b"# Dimensions\n", b"# Dimensions\n-1 -1 480\n", b"# Dimensions\n10 8 6 1\n",
                              b"# Dimensions\n9999999999 9999999999\n", b"\xff\xfe\0\0" * 50]):
        add(f"{MUST_FAIL}-dims{i}", ".cfl", paths["scan.cfl"].read_bytes(), text)

    for name, changes in HOSTILE.items():
        for i, change in enumerate(changes):
            path = folder / f"{MUST_FAIL}-hostile{i}-{name}"
            hostile_hdf5(paths[name], path, change)
            files.append(path)

    # NumPy: pickled objects, and headers that lie
    mark = str(folder / "code was executed")
    array = np.empty(1, object)
    array[0] = Shout(mark)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    add(f"{MUST_FAIL}-objects", ".npy", buffer.getvalue())
    add(f"{MUST_FAIL}-pickle", ".npy", pickle.dumps(Shout(mark)))
    for i, text in enumerate(["{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999, 99999, 4), }",
                              "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2, 3, 4), }",
                              "__import__('os').mkdir('x')", "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
                              "{'descr': '<f4', 'fortran_order': False, 'shape': (2**60, 2, 3, 4), }"]):
        line = text.encode().ljust(117) + b"\n"
        start = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little")
        add(f"{MUST_FAIL}-npyheader{i}", ".npy", start + line + bytes(64))

    # NIfTI headers that lie
    image = paths["image.nii"].read_bytes()
    for i, (at, value) in enumerate([(42, np.array([30000] * 3, "<i2")), (40, np.array([7] * 8, "<i2")),
                                     (70, np.array([128], "<i2")), (70, np.array([9999], "<i2")),
                                     (108, np.array([1e9], "<f4")), (108, np.array([np.nan], "<f4")),
                                     (280, np.full(12, np.nan, "<f4")), (280, np.zeros(12, "<f4")),
                                     (42, np.array([-5, 8, 6], "<i2")), (108, np.array([2e7], "<f4")),
                                     (280, np.diag([1e3, 1e3, 1e3, 1])[:3].astype("<f4")),
                                     (280, np.diag([1e-4, 1e-4, 1e-4, 1])[:3].astype("<f4"))]):
        broken = bytearray(image)
        broken[at:at + value.nbytes] = value.tobytes()
        add(f"{MAY_PASS if at == 70 else MUST_FAIL}-niftiheader{i}", ".nii", bytes(broken))

    # gzip: members of zeros, one behind the other, as the image or before it
    zeros, header = gzip.compress(bytes(2**26)), bytearray(image[:352])
    for i, (at, value) in enumerate([(42, np.array([1000] * 3, "<i2")), (108, np.array([2**30], "<f4")),
                                     (42, np.array([20_000, 20_000, 3], "<i2"))]):
        lie = bytearray(header)
        lie[at:at + value.nbytes] = value.tobytes()
        if at == 108:
            lie[348:352] = b"\1\0\0\0"
        add(f"{MUST_FAIL}-niftibomb{i}", ".nii.gz", gzip.compress(bytes(lie)) + zeros * 72)
    return files


def read(path):
    """What mrilab makes of a file: the shape of what it returns."""
    from mrilab import raw
    from mrilab.volumes import load_acquisition, load_volume

    if path.name.endswith((".nii", ".nii.gz")) or "volume" in path.name:
        volume = load_volume(path)
        assert np.isfinite(volume.data.numpy()).all() and min(volume.voxel_size) > 0
        return tuple(volume.data.shape)
    if "acquisition" in path.name:
        return tuple(load_acquisition(path).kspace.shape)
    scan = raw.open_scan(path)
    assert min(scan.voxel_size) > 0 and all(math.isfinite(d) for d in scan.voxel_size)
    return tuple(scan.read().shape)


def main(folder):
    for path in sorted(Path(folder).iterdir()):
        if not path.is_file() or path.suffix == ".hdr":
            continue
        print(json.dumps({"file": path.name}), flush=True)              # named before it can crash the process
        start = time.process_time()
        try:
            result = {"value": read(path)}
        except (OSError, ValueError) as error:
            result = {"error": str(error)}
        except BaseException as error:
            result = {"unexpected": repr(error)}
        # not ru_maxrss, which begins with the memory of the process that started this one
        status = Path("/proc/self/status").read_text()
        peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
        result |= {"file": path.name, "seconds": time.process_time() - start, "peak": peak}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
