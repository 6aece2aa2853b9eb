import dataclasses
import hashlib
import http.server
import itertools
import os
import re
import shutil
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import corpus
import numpy as np
import pytest
import torch

from mrilab import datasets
from mrilab.references import upright
from mrilab.volumes import load_volume, volume_header


def test_splits_are_by_person():
    """Nobody is in two of training, validation and test; a person by reference counts as one that ships."""
    people = {}
    for d in datasets.list_datasets():
        if d.kind in ("volume", "reference", "labels"):
            people.setdefault(d.split.removeprefix("shifted "), set()).add(d.person)
    assert set(people) == {"train", "validation", "test"}
    for one, other in itertools.combinations(people.values(), 2):
        assert one and other and not one & other


SHIPPED = [d for d in datasets.list_datasets() if d.kind in ("volume", "prior")]
BY_REFERENCE = datasets.list_datasets("reference") + datasets.list_datasets("labels")


def fetched(name):
    """The file of a head by reference; the test is skipped where neither a mirror nor the network has it."""
    if not os.environ.get("MRILAB_MIRROR"):
        pytest.skip(f"{name}: MRILAB_MIRROR is not set")
    return datasets.fetch(name)


@pytest.mark.parametrize("d", BY_REFERENCE, ids=lambda d: d.name)
def test_a_head_by_reference_says_what_one_must_know(d):
    assert len(d.sha256) == 64 and d.bytes and d.licence and d.person and d.page.startswith("https://github.com/")
    assert d.urls or "MRILAB_MIRROR" in d.access
    assert all(re.match(r"https://raw.githubusercontent.com/[^/]+/[^/]+/[0-9a-f]{40}/", url) for url in d.urls)
    assert tuple(d.shape) == tuple(b - a for a, b in d.box)
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
    monkeypatch.delenv("MRILAB_DATA_URL", raising=False)
    with pytest.raises(FileNotFoundError, match="MRILAB_DATA_URL"):
        datasets.fetch("qtim_MRHead")


def test_without_a_checkout_the_file_is_downloaded_and_checked(tmp_path, monkeypatch):
    """As in an installed package: pooch takes the file from the release's address."""
    import functools

    import pooch

    data = datasets.fetch("colin27_ch2_slab").parents[1]
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=data)
    handler.func.log_message = lambda *args: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    datasets._registry()
    monkeypatch.setattr(datasets, "_HERE", tmp_path / "mrilab")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setenv("MRILAB_DATA_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        path = datasets.fetch("colin27_ch2_slab")
        assert path.is_relative_to(tmp_path / "cache")
        path.write_bytes(b"damaged in the cache")
        assert datasets.sha256(datasets.fetch("colin27_ch2_slab")) == next(
            d.sha256 for d in datasets.list_datasets() if d.name == "colin27_ch2_slab")
    finally:
        server.shutdown()


@pytest.mark.parametrize("d", datasets.list_datasets("external"), ids=lambda d: d.name)
def test_external_sets_say_what_one_must_know(d):
    assert d.licence and d.page.startswith("http") and d.access and d.source and d.urls and d.format in datasets.MAGIC
    assert not d.sha256 and "not tried" in d.description      # no sum is known here, and none is made up


CONTENT = datasets.MAGIC["hdf5"] + bytes(range(256)) * 1000


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, but not without first misbehaving: each request takes one word from ``moods``."""

    moods, asked = [], []

    def log_message(self, *args):
        pass

    def do_GET(self):
        mood = self.moods.pop(0) if self.moods else "well"
        self.asked.append((mood, self.headers.get("Range"), self.headers["User-Agent"]))
        if mood.isdigit():
            return self.send_error(int(mood))
        content, start = CONTENT, 0
        if mood == "wrong":
            content = b"<html>please log in</html>" * 100
        elif mood == "other":
            content = CONTENT[:-1] + b"!"
        elif self.headers.get("Range") and mood != "whole":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        announced = len(body) + {"long": 5000, "short": -5000}.get(mood, 0)
        self.send_header("Content-Length", str(announced))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if mood in ("drops", "stalls"):
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            if mood == "stalls":
                time.sleep(1.5)
        else:
            self.wfile.write(body[:max(0, announced)])
        self.close_connection = True


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A set named ``scan`` at an address of a local server; pauses and patience are short."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    Server.moods, Server.asked = [], []
    entry = datasets.Dataset("scan", "external", "external/scan.h5", format="hdf5", page="http://page", access="ask us",
                             urls=tuple(f"http://127.0.0.1:{web.server_port}/{n}" for n in (1, 2)))
    monkeypatch.setattr(datasets, "_registry", lambda: {"scan": entry})
    monkeypatch.setattr(datasets, "PAUSE", 0)
    monkeypatch.setattr(datasets, "STALL", 0.5)
    monkeypatch.setenv("MRILAB_CACHE", str(tmp_path))
    yield Server
    web.shutdown()
    web.server_close()


def rest_asked(server):
    """Where the last request began."""
    return int((server.asked[-1][1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))


@pytest.mark.parametrize("moods", [["well"], ["drops"], ["stalls"], ["drops", "drops", "503", "drops"], ["429", "500"],
                                   ["drops", "whole"], ["long", "well"], ["404"], ["wrong"]], ids="-".join)
def test_patient_download(server, moods, tmp_path):
    """Whatever goes wrong on the way, the file that arrives is whole, and its sum is recorded."""
    server.moods.extend(moods)
    path = datasets.fetch("scan")
    assert path.read_bytes() == CONTENT and path == tmp_path / "external" / "scan.h5"
    assert (tmp_path / "external" / "scan.h5.sha256").read_text().split()[0] == hashlib.sha256(CONTENT).hexdigest()
    assert sorted(p.name for p in path.parent.iterdir()) == ["scan.h5", "scan.h5.sha256"]
    assert all(agent.startswith("mrilab/") for _, _, agent in server.asked)
    if moods == ["drops"]:                              # the second request asked only for the rest
        assert rest_asked(server) > len(CONTENT) // 3
    asked = len(server.asked)
    assert datasets.fetch("scan") == path and len(server.asked) == asked


def test_broken_download_goes_on_in_the_next_call(server, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "ATTEMPTS", 1)
    server.moods.extend(["drops", "500"])
    with pytest.raises(OSError, match="scan: no address delivered it.*by hand from http://page .ask us. and put it at"):
        datasets.fetch("scan")
    kept = (tmp_path / "external" / "scan.h5.part").stat().st_size
    assert datasets.fetch("scan").read_bytes() == CONTENT
    assert rest_asked(server) == kept > len(CONTENT) // 3


def test_a_wrong_file_is_not_taken(server, tmp_path):
    server.moods.extend(["wrong", "wrong"])
    with pytest.raises(OSError, match="begins with b'<html>"):
        datasets.fetch("scan")
    assert not list((tmp_path / "external").iterdir())


def test_another_file_than_the_recorded_one(server, tmp_path):
    """Trust on first use: a later file with another sum is refused, from the server and on the disk."""
    path = datasets.fetch("scan")
    path.unlink()
    server.moods.extend(["other", "other"])
    with pytest.raises(OSError, match="hash"):
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


def test_file_put_there_by_hand(server, tmp_path):
    (tmp_path / "external").mkdir()
    (tmp_path / "external" / "scan.h5").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="scan.h5: found another kind of file, expected hdf5"):
        datasets.fetch("scan")
    (tmp_path / "external" / "scan.h5").write_bytes(CONTENT)
    assert datasets.fetch("scan").read_bytes() == CONTENT and server.asked == []


def test_good_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("Train/e1.h5", "one")
        file.writestr("Train/sub/e2.h5", "two")
    files = datasets.extract(tmp_path / "a.zip", tmp_path / "out")
    assert [f.read_text() for f in files] == ["one", "two"] and files[0] == tmp_path / "out" / "Train" / "e1.h5"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        file.add(tmp_path / "out", "data")
    assert len(datasets.extract(tmp_path / "a.tar.gz", tmp_path / "again")) == 2


def test_hostile_archives_leave_nothing_anywhere(tmp_path):
    for path in corpus.archives(tmp_path / "archives"):
        with pytest.raises(ValueError, match="bad"):
            datasets.extract(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["archives"]
