import dataclasses
import functools
import gzip
import hashlib
import http.server
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mrilab import __version__, datasets, downloads, raw
from mrilab.classical import cg_sense
from mrilab.fourier import ifft3c
from mrilab.priors import load_prior, read_card
from mrilab.references import upright
from mrilab.volumes import load_acquisition, load_volume, volume_header


def test_splits_are_by_person():
    """Nobody is in two of training, validation and test; a person by reference counts as one that ships."""
    people = {}
    for d in datasets.list_datasets():
        if d.kind in ("volume", "reference", "labels", "scan", "image"):
            people.setdefault(d.split.removeprefix("shifted "), set()).add(d.person)
    assert set(people) == {"train", "validation", "test"}
    for one, other in itertools.combinations(people.values(), 2):
        assert one and other and not one & other


SHIPPED = [d for d in datasets.list_datasets() if d.kind in ("volume", "prior", "scan") and not d.page]
BY_REFERENCE = [d for kind in ("reference", "labels", "scan", "image") for d in datasets.list_datasets(kind) if d.page]
SCANS = [d for d in BY_REFERENCE if d.kind == "scan"]


def fetched(name):
    """The file of a head or a scan by reference; the test is skipped where neither a mirror nor the network has it."""
    if not os.environ.get("MRILAB_MIRROR"):
        pytest.skip(f"{name}: MRILAB_MIRROR is not set")
    return datasets.fetch(name)


@pytest.mark.parametrize("d", BY_REFERENCE, ids=lambda d: d.name)
def test_a_head_by_reference_says_what_one_must_know(d):
    assert len(d.sha256) == 64 and d.bytes and d.licence and d.person and d.page.startswith("https://github.com/")
    assert d.urls or "MRILAB_MIRROR" in d.access
    assert all(re.match(r"https://raw.githubusercontent.com/[^/]+/[^/]+/[0-9a-f]{40}/", url) for url in d.urls)
    assert not d.box or tuple(d.shape) == tuple(b - a for a, b in d.box)
    data = datasets._HERE.parent / "data"
    assert not [p for p in data.rglob("*") if p.is_file() and p.stem in (d.name, Path(d.file).stem)]     # none ships


@pytest.mark.parametrize("d", datasets.list_datasets("reference"), ids=lambda d: d.name)
def test_a_head_by_reference_is_upright_and_cut(d):
    assert fetched(d.name).stat().st_size == d.bytes
    volume = load_volume(d.name)
    assert tuple(volume.data.shape) == tuple(d.shape) == volume_header(d.name)[0]
    assert volume.voxel_size == tuple(d.voxel_size) and volume.info["person"] == d.person
    mean = [volume.data.mean([a for a in range(3) if a != axis]) for axis in range(3)]
    assert max(m[i] / m.max() for m in mean for i in (0, -1)) < 0.12      # fades out
    # the top of a head is narrower than where it is cut, and left and right are about alike
    n = len(mean[0])
    if "cstar" not in d.name:
        assert mean[0][n // 4] > 1.2 * mean[0][-n // 8]
    assert torch.corrcoef(torch.stack([mean[2], mean[2].flip(0)]))[0, 1] > 0.7


def test_recorded_scans_are_test_people():
    assert {d.split for d in datasets.list_datasets("scan")} == {"test", "shifted test"}
    assert {d.name for d in datasets.list_datasets("scan") if not d.page} == {"phantom_siemens"}
    assert all(datasets.entry_of(d.beside).person == d.person for d in SCANS if d.beside)
    assert all("not in the file" in d.note or "not recorded" in d.note for d in SCANS)


@pytest.mark.parametrize("d", SCANS, ids=lambda d: d.name)
def test_a_recorded_scan_by_reference_is_an_acquisition(d):
    """With k = 0 in the middle, the voxel size and the note of its entry; its image is a thing on a dark ground."""
    fetched(d.name)
    acquisition = load_acquisition(d.name)
    coils, *shape = acquisition.kspace.shape
    assert shape == list(d.shape) and acquisition.voxel_size == tuple(d.voxel_size)
    assert acquisition.info["note"] == d.note and acquisition.info["person"] == d.person
    assert (acquisition.acceleration > 4) == (d.name == "sigpy_brain8ch") and acquisition.noise > 0
    if coils == 1:
        assert (acquisition.maps == 1).all()
    power = sum(ifft3c(coil).abs().square() for coil in acquisition.kspace)
    if d.name != "romeo_phase":         # a part of a head, from edge to edge
        edge = torch.cat([power.movedim(a, 0)[[0, -1]].flatten() for a in (1, 2) if shape[a] > 1])
        assert edge.mean() < 0.1 * power.mean()


def test_measured_maps_and_phase_are_those_of_the_files():
    """What chapters 1 and 2 show: the published sensitivities, one image from them; the phase."""
    import nibabel
    import scipy.io

    acquisition = load_acquisition("alignedsense_coils") if fetched("alignedsense_coils") else None
    file = scipy.io.loadmat(datasets.fetch("alignedsense_coils"))
    norm = np.linalg.norm(file["S"][:, :, 0], axis=-1)
    found = cg_sense(acquisition, regularization=0, progress=False).image[..., 0].numpy()
    assert acquisition.info["maps"] == "measured" and acquisition.kspace.shape[0] == 32
    assert np.linalg.norm(found - norm * file["xGT"]) < 1e-3 * np.linalg.norm(found)
    turned = ifft3c(load_acquisition("romeo_phase").kspace[0]).angle().numpy()
    phase = np.asarray(nibabel.load(datasets.fetch("romeo_phase")).dataobj)[..., 0].T
    assert abs(np.exp(1j * turned) - np.exp(1j * np.pi * phase / abs(phase).max())).max() < 1e-3


@pytest.mark.parametrize("d", datasets.list_datasets("image"), ids=lambda d: d.name)
def test_an_image_beside_a_scan_opens(d):
    fetched(d.name)
    volume = load_volume(d.name)
    assert tuple(volume.data.shape) == tuple(d.shape) == volume_header(d.name)[0] and volume.data.max() > 0


def test_the_shipped_scan_is_as_the_scanner_wrote_it():
    """160 lines of two coils with their flags; its k-space is prepared in the usual way; nothing tells who or when."""
    import ismrmrd

    path = datasets.fetch("phantom_siemens")
    with ismrmrd.Dataset(path, mode="r") as file:
        lines = [file.read_acquisition(n) for n in range(file.number_of_acquisitions())]
        header = file.read_xml_header().decode()
    assert [line.idx.kspace_encode_step_1 for line in lines] == list(range(160))
    assert {line.data.shape for line in lines} == {(2, 320)}
    assert [line.isFlagSet(ismrmrd.ACQ_LAST_IN_MEASUREMENT) for line in lines] == [False] * 159 + [True]
    assert {line.acquisition_time_stamp for line in lines} == {0}
    assert re.findall("(?i)name|date|serial|birth|institution|study", header) == []
    acquisition = load_acquisition("phantom_siemens")
    assert acquisition.voxel_size == (4, 1.25, 1.25) and acquisition.acceleration == 1
    assert torch.equal(acquisition.kspace, raw.prepare(path).kspace)
    assert cg_sense(acquisition, progress=False).misfit < 0.15


def test_a_mirror_is_taken_before_the_network(tmp_path, monkeypatch):
    """And checked: a file that is not the registered one is refused, one that is nowhere is named."""
    entry = datasets.entry_of("fnndsc_adi_T1")
    monkeypatch.setenv("MRILAB_MIRROR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"^fnndsc_adi_T1: found no data/fnndsc_adi/adi_T1.nii.gz in MRILAB_"):
        load_volume("fnndsc_adi_T1")
    (tmp_path / entry.file).parent.mkdir(parents=True)
    (tmp_path / entry.file).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"found SHA-256 .*, expected {entry.sha256}"):
        load_volume("fnndsc_adi_T1")


@pytest.mark.parametrize("axes", ["", "xyz", "+x+y+y", "+x+y*z"])
def test_axes_that_are_none(axes):
    with pytest.raises(ValueError, match="^axes: found .*, expected a sign and one of x, y, z"):
        upright(np.zeros((2, 3, 4)), axes)


@pytest.mark.parametrize("d", SHIPPED, ids=lambda d: d.name)
def test_shipped_file_is_the_registered_one(d):
    path = datasets.fetch(d.name)
    assert path.stat().st_size == d.bytes
    assert d.licence and d.source and d.split


@pytest.mark.parametrize("d", datasets.list_datasets("volume"), ids=lambda d: d.name)
def test_volume_opens_as_registered(d):
    volume = load_volume(d.name)
    assert volume.voxel_size == tuple(d.voxel_size)
    assert tuple(volume.data.shape) == tuple(d.shape)
    assert volume.info["licence"] == d.licence
    assert volume.data.min() >= 0 and volume.data.max() > 0


def test_volumes_are_small():
    assert sum(d.bytes for d in datasets.list_datasets("volume")) < 12e6


def test_checksum_mismatch_names_file_and_both_sums(tmp_path, monkeypatch):
    source = datasets.fetch("colin27_ch2_slab")
    (tmp_path / "data" / "volumes").mkdir(parents=True)
    copy = tmp_path / "data" / "volumes" / source.name
    shutil.copyfile(source, copy)
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    datasets._registry()        # read before the package moves
    monkeypatch.setattr(datasets, "_HERE", tmp_path / "mrilab")
    with pytest.raises(ValueError) as error:
        load_volume("colin27_ch2_slab")
    expected = next(d for d in datasets.list_datasets() if d.name == "colin27_ch2_slab").sha256
    for part in (str(copy), hashlib.sha256(damaged).hexdigest(), expected):
        assert part in str(error.value)


def test_unknown_name_and_missing_file(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="nobody.*expected one of.*qtim_MRHead"):
        datasets.fetch("nobody")
    datasets._registry()
    monkeypatch.setattr(datasets, "_HERE", tmp_path / "mrilab")
    monkeypatch.setattr(datasets, "REPOSITORY", "http://127.0.0.1:9")         # where nothing answers
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setenv("MRILAB_CACHE", str(tmp_path))
    monkeypatch.delenv("MRILAB_DATA_URL", raising=False)
    with pytest.raises(OSError) as error:
        datasets.fetch("qtim_MRHead")
    assert str(error.value) == (
        f"qtim_MRHead.h5: not here, and no download (http://127.0.0.1:9/releases/download/v{__version__}/qtim_MRHead.h5"
        ": gave up (no connection to 127.0.0.1); try again later). Set MRILAB_DATA_URL to the address of a data/ "
        f"folder of version {__version__}, or put the file at {tmp_path}/volumes/qtim_MRHead.h5 by hand")


PRIOR = "fixed_2mm"


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The folder of a release's files, served over http, and an installed package without data that knows it."""
    import pooch

    folder = tmp_path / "releases" / "download" / f"v{__version__}"
    folder.mkdir(parents=True)
    for name in ("colin27_ch2_slab", PRIOR):
        for file in datasets.fetch(name).parent.glob(f"{name}.*"):
            shutil.copyfile(file, folder / file.name)           # flat, as a release is
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    monkeypatch.setattr(handler.func, "log_message", lambda *args: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    datasets._registry()
    monkeypatch.setattr(datasets, "_HERE", tmp_path / "site-packages/mrilab")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setattr(datasets, "REPOSITORY", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("MRILAB_DATA_URL", raising=False)
    yield folder
    server.shutdown()
    server.server_close()


def test_without_a_checkout_the_file_is_downloaded_and_checked(release, tmp_path):
    """As in an installed package: from the release of its version, weights with their card."""
    path = datasets.fetch("colin27_ch2_slab")
    assert path == tmp_path / "cache/volumes/colin27_ch2_slab.h5"
    path.write_bytes(b"damaged in the cache")
    assert datasets.sha256(datasets.fetch("colin27_ch2_slab")) == datasets.entry_of("colin27_ch2_slab").sha256
    shutil.rmtree(release)
    assert datasets.fetch("colin27_ch2_slab") == path                       # the release is asked once
    with pytest.raises(OSError, match=r"no download .*found status 404 .*, expected the file"):
        datasets.fetch(PRIOR)


def test_a_prior_of_the_release_comes_with_its_card(release, tmp_path):
    prior = load_prior(PRIOR)
    assert prior.voxel_sizes == read_card(tmp_path / f"cache/priors/{PRIOR}.safetensors").voxel_sizes
    assert {p.suffix for p in (tmp_path / "cache/priors").glob("[!.]*")} == {".json", ".safetensors"}


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_a_release_that_lacks_a_file_or_has_another(release, tmp_path, ending):
    """Weights without their card, or of another card, are refused; the line says what was found and what to do."""
    file = release / f"{PRIOR}.{ending}"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"!")
    with pytest.raises(OSError, match=rf"^{file.name}: not here, .*found SHA-256 .*, expected .*cache.* by hand"):
        load_prior(PRIOR)
    file.unlink()
    with pytest.raises(OSError, match=rf"^{file.name}: not here, .*status 404 .* MRILAB_DATA_URL"):
        load_prior(PRIOR)
    assert not (tmp_path / f"cache/priors/{file.name}").exists()
    file.write_bytes(content)
    assert load_prior(PRIOR)


def test_what_an_installed_package_brings_along_is_taken(release, tmp_path):
    """Before the release is asked; and refused where it is not the registered one."""
    place = tmp_path / "site-packages/mrilab/data/volumes/colin27_ch2_slab.h5"
    place.parent.mkdir(parents=True)
    shutil.copyfile(release / place.name, place)
    shutil.rmtree(release)
    assert datasets.fetch("colin27_ch2_slab") == place and datasets.at_hand("colin27_ch2_slab")
    place.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="colin27_ch2_slab.h5: found SHA-256 .*, expected .*; restore the file"):
        datasets.fetch("colin27_ch2_slab")


@pytest.mark.parametrize("d", datasets.list_datasets("external"), ids=lambda d: d.name)
def test_external_sets_say_what_one_must_know(d):
    assert d.licence and d.page.startswith("http") and d.access and d.source and d.urls and d.format in datasets.MAGIC
    assert not d.sha256 and "not tried" in d.description      # no sum is known here, and none is made up


CONTENT = b""               # a real HDF5 file, made once
TYPES = {"html": b"<html>please log in</html>" * 100}


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, but not without first misbehaving: each request takes one word from ``moods``."""

    moods, asked, protocol_version = [], [], "HTTP/1.1"

    def log_message(self, *args):
        pass

    def start(self, status, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def do_GET(self):
        mood = self.moods.pop(0) if self.moods else "well"
        asked = self.headers.get("Range")
        self.asked.append((mood, asked, self.headers["User-Agent"]))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        try:
            getattr(self, mood.split(":")[0])(start, *mood.split(":")[1:])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def well(self, start, etag='"one"', content=None):
        content = CONTENT if content is None else content
        if start and self.headers.get("If-Range") not in (None, etag):
            start = 0
        if start >= len(content) and start:
            return self.start(416, 0)
        size = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.start(206 if start else 200, len(content) - start, **({"ETag": etag} if etag else {}), **size)
        self.wfile.write(content[start:])

    def drops(self, start, etag='"one"'):
        """Half of what is missing, then nothing."""
        part = CONTENT[start:start + (len(CONTENT) - start) // 2]
        size = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        self.start(206 if start else 200, len(CONTENT) - start, **({"ETag": etag} if etag else {}), **size)
        self.wfile.write(part)

    def weak(self, start):
        self.drops(start, 'W/"one"')

    def untagged(self, start):
        self.drops(start, "")

    def changed(self, start):
        """Another version of the file, whose server forgets to look at If-Range."""
        other = CONTENT[:-1] + b"!"
        self.start(206 if start else 200, len(other) - start, ETag='"two"',
                   **({"Content_Range": f"bytes {start}-{len(other) - 1}/{len(other)}"} if start else {}))
        self.wfile.write(other[start:])

    def resets(self, start):
        import socket
        import struct
        self.start(200, len(CONTENT))
        self.wfile.write(CONTENT[:5000])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def stalls(self, start):
        self.drops(start)
        self.wfile.flush()
        time.sleep(1.5)

    def mute(self, start):
        time.sleep(1.5)

    def drips(self, start):
        self.start(200, len(CONTENT))
        for byte in CONTENT[:100]:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.1)

    def status(self, start, code, wait=""):
        self.start(int(code), 0, **({"Retry_After": wait} if wait else {}))

    def html(self, start, status="200"):
        self.start(int(status), len(TYPES["html"]), Content_Type="text/html")
        self.wfile.write(TYPES["html"])

    def short(self, start):
        """Announces less than the file has, and sends that."""
        self.start(200, len(CONTENT) - 5000)
        self.wfile.write(CONTENT[:-5000])

    def long(self, start):
        self.start(200, len(CONTENT) + 5000, ETag='"one"')
        self.wfile.write(CONTENT)

    def negative(self, start):
        self.start(200, -5)
        self.wfile.write(CONTENT)

    def nonsense(self, start):
        self.start(200, "many")
        self.wfile.write(CONTENT[:-4000])

    def padded(self, start):
        self.start(200, len(CONTENT))
        self.wfile.write(CONTENT + b"more" * 100)

    def empty(self, start):
        self.start(200, 0)

    def nothing(self, start):
        self.close_connection = True

    def chunked(self, start, end="whole"):
        self.start(200, Transfer_Encoding="chunked")
        content = CONTENT if end == "whole" else CONTENT[:len(CONTENT) // 2]
        for i in range(0, len(content), 8192):
            block = content[i:i + 8192]
            self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        if end != "broken":
            self.wfile.write(b"0\r\n\r\n")

    def unframed(self, start, end="whole"):
        """Neither a length nor chunks: the end of the connection is the end of the file."""
        self.start(200)
        self.wfile.write(CONTENT if end == "whole" else CONTENT[:len(CONTENT) // 2])

    def zipped(self, start):
        packed = gzip.compress(CONTENT)
        self.start(200, len(packed), Content_Encoding="gzip")
        self.wfile.write(packed)

    def whole(self, start):
        """200 and all of it, though a part was asked for."""
        self.well(0)

    def part(self, start, first="0", total=None):
        """206, unasked or of another place."""
        self.start(206, 1000, ETag='"one"',
                   Content_Range=f"bytes {first}-{int(first) + 999}/{total or len(CONTENT)}")
        self.wfile.write(CONTENT[int(first):int(first) + 1000])

    def placeless(self, start):
        self.start(206, len(CONTENT) - start, ETag='"one"')
        self.wfile.write(CONTENT[start:])

    def to(self, start, where="here"):
        port = self.server.server_port
        self.start(302, 0, Location={"here": f"http://127.0.0.1:{port}/3", "elsewhere": f"http://localhost:{port}/3",
                                     "disk": "file:///etc/hostname", "plain": "http://example.org/scan.h5",
                                     "relative": "/3"}[where])

    def garbage(self, start):
        self.wfile.write(b"\x00\xff this is not HTTP\r\n\r\n")
        self.close_connection = True

    def other(self, start):
        self.well(0, content=CONTENT[:-1] + b"!")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A set named ``scan`` at an address of a local server; pauses and patience are short."""
    global CONTENT
    with h5py.File(tmp_path / "content.h5", "w") as file:
        file["kspace"] = np.random.default_rng(0).integers(0, 255, 200_000, np.uint8)
    CONTENT = (tmp_path / "content.h5").read_bytes()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    Server.moods, Server.asked, Server.port = [], [], web.server_port
    entry = datasets.Dataset("scan", "external", "external/scan.h5", format="hdf5", page="http://page", access="ask us",
                             urls=tuple(f"http://127.0.0.1:{web.server_port}/{n}" for n in (1, 2)))
    monkeypatch.setattr(datasets, "_registry", lambda: {"scan": entry})
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setattr(downloads, "STALL", 0.5)
    monkeypatch.setenv("MRILAB_CACHE", str(tmp_path))
    yield Server
    web.shutdown()
    web.server_close()


def rest_asked(server):
    """Where the last request began."""
    return int((server.asked[-1][1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))


RECOVERED = [["well"], ["drops"], ["stalls"], ["drops", "drops", "status:503", "drops"], ["status:429", "status:500"],
             ["status:503:1"], ["status:408"], ["drops", "whole"], ["long"], ["status:404"], ["html"], ["html:200"],
             ["short"], ["negative"], ["nonsense"], ["padded"], ["empty"], ["empty", "empty"], ["nothing"], ["mute"],
             ["resets"], ["drops", "resets"], ["chunked"], ["chunked:half"], ["chunked:broken"], ["unframed"],
             ["unframed:half"], ["zipped"], ["part"], ["part:500"], ["drops", "part:7"], ["drops", "part:0:1000"],
             ["drops", "placeless"], ["placeless"], ["drops", "changed", "drops"], ["weak", "drops"],
             ["untagged", "well"], ["drops", "status:416"], ["to"], ["to:relative"], ["to:elsewhere"], ["to:disk"],
             ["to:plain"], ["to"] * 8, ["garbage"], ["html:403"], ["status:301"], ["status:304"], ["drops", "html"],
             ["drops", "empty"], ["drops", "zipped"]]


@pytest.mark.parametrize("moods", RECOVERED, ids="-".join)
def test_patient_download(server, moods, tmp_path):
    """Whatever goes wrong on the way, the file that arrives is whole and the right one, and its sum is recorded."""
    server.moods.extend(moods)
    path = datasets.fetch("scan")
    assert path.read_bytes() == CONTENT and path == tmp_path / "external" / "scan.h5"
    assert (tmp_path / "external" / "scan.h5.sha256").read_text().split()[0] == hashlib.sha256(CONTENT).hexdigest()
    assert sorted(p.name for p in path.parent.iterdir() if ".lock" not in p.name) == ["scan.h5", "scan.h5.sha256"]
    assert all(agent.startswith("mrilab/") for _, _, agent in server.asked)
    if moods == ["drops"]:                              # the second request asked only for the rest
        assert rest_asked(server) > len(CONTENT) // 3
    if moods[0] in ("weak", "untagged"):                # nobody says that the rest is of the same file
        assert server.asked[1][1] is None
    asked = len(server.asked)
    assert datasets.fetch("scan") == path and len(server.asked) == asked


LIES = sorted({mood for moods in RECOVERED for mood in moods} - {"well", "whole", "to", "to:relative", "chunked",
                                                                  "unframed", "padded", "negative", "to:elsewhere"})


@pytest.mark.parametrize("mood", [*LIES, "other"])
def test_what_is_wrong_is_never_taken(server, mood, tmp_path, monkeypatch):
    """A server that does nothing else; the right sum is known."""
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    entry = dataclasses.replace(datasets._registry()["scan"], sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(datasets, "_registry", lambda: {"scan": entry})
    server.moods.extend([mood] * 20)
    with pytest.raises(OSError, match="scan: no address delivered it"):
        datasets.fetch("scan")
    assert not (tmp_path / "external" / "scan.h5").exists()
    server.moods.clear()
    assert datasets.fetch("scan").read_bytes() == CONTENT           # and what was left behind does not harm


def test_broken_download_goes_on_in_the_next_call(server, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.moods.extend(["drops", "status:500"])
    with pytest.raises(OSError, match="scan: no address delivered it.*by hand from http://page .ask us. and put it at"):
        datasets.fetch("scan")
    kept = (tmp_path / "external" / "scan.h5.part").stat().st_size
    assert datasets.fetch("scan").read_bytes() == CONTENT
    assert rest_asked(server) == kept > len(CONTENT) // 3


def test_a_wrong_file_is_not_taken(server, tmp_path):
    server.moods.extend(["html", "html"])
    with pytest.raises(OSError, match="begins with b'<html>"):
        datasets.fetch("scan")
    assert [p.name for p in (tmp_path / "external").iterdir()] in ([], [".scan.h5.lock"])


def test_another_file_than_the_recorded_one(server, tmp_path):
    """Trust on first use: a later file with another sum is refused, from the server and on the disk."""
    path = datasets.fetch("scan")
    path.unlink()
    server.moods.extend(["other", "other"])
    with pytest.raises(OSError, match="found SHA-256"):
        datasets.fetch("scan")
    assert not path.exists()
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ValueError, match="scan.h5: found SHA-256 .*, expected .*delete it to download again"):
        datasets.fetch("scan")


def test_announced_size_is_held_against_the_known_one(server, monkeypatch):
    entry = dataclasses.replace(datasets._registry()["scan"], bytes=len(CONTENT))
    monkeypatch.setattr(datasets, "_registry", lambda: {"scan": entry})
    server.moods.extend(["short", "short"])
    with pytest.raises(OSError, match=f"bytes announced, expected {len(CONTENT)}"):
        datasets.fetch("scan")


@pytest.mark.parametrize(("limit", "value", "mood", "message"), [
    ("LARGEST", 1000, "well", "expected at most 1000"), ("LARGEST", 1000, "unframed", "found more than 1000 bytes"),
    ("DEADLINE", 0.5, "drips", "before the deadline"), ("PATIENCE", 5, "status:503:3600", "asks to wait 3600 s")])
def test_there_is_an_end(server, monkeypatch, tmp_path, limit, value, mood, message):
    """Of bytes, of time, of patience."""
    monkeypatch.setattr(downloads, limit, value)
    server.moods.extend([mood] * 9)
    start = time.monotonic()
    with pytest.raises(OSError, match=message):
        datasets.fetch("scan")
    assert time.monotonic() - start < 5 and not (tmp_path / "external" / "scan.h5").exists()


def test_no_room_on_the_disk(server, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match="found too little room"):
        datasets.fetch("scan")


def test_four_at_once(server, tmp_path):
    """Four processes want the same file from a server that often fails: each gets the whole, right one."""
    server.moods.extend(["drops", "short", "stalls", "html", "resets", "changed", "status:503"])
    code = ("import sys; from pathlib import Path; from mrilab import downloads\n"
            "downloads.PAUSE, downloads.STALL = 0, 0.5\n"
            "path = downloads.download([sys.argv[1]] * 9, Path(sys.argv[2]), sys.argv[3], kind='hdf5')\n"
            "assert downloads.sha256(path) == sys.argv[3]")
    call = [sys.executable, "-c", code, f"http://127.0.0.1:{server.port}/1", str(tmp_path / "here" / "scan.h5"),
            hashlib.sha256(CONTENT).hexdigest()]
    processes = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(p.communicate(timeout=100)[1][-500:], p.returncode)[1] for p in processes] == [0] * 4
    assert (tmp_path / "here" / "scan.h5").read_bytes() == CONTENT
    assert len(server.asked) < 12                       # one did the work, three waited for it


def test_file_put_there_by_hand(server, tmp_path):
    (tmp_path / "external").mkdir()
    (tmp_path / "external" / "scan.h5").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="scan.h5: found another kind of file, expected hdf5"):
        datasets.fetch("scan")
    (tmp_path / "external" / "scan.h5").write_bytes(CONTENT)
    assert datasets.fetch("scan").read_bytes() == CONTENT and server.asked == []


@pytest.mark.parametrize("kind", ["zip", "gzip"])
def test_other_kinds_are_whole_too(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.h5", bytes(1000))
    else:
        path.write_bytes(gzip.compress(bytes(range(256)) * 9))
    downloads.check_kind(path, kind)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match=path.name):
        downloads.check_kind(path, kind)
