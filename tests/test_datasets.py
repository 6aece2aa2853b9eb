import hashlib
import shutil

import pytest

from mrilab import datasets
from mrilab.volumes import load_volume


def test_splits_are_by_person():
    """No person of a test split appears in training; the validation slab is the one stated exception."""
    people = {}
    for d in datasets.list_datasets("volume"):
        people.setdefault(d.split, set()).add(d.person)
    assert people["train"] and people["test"] and people["validation"] and people["shifted test"]
    assert not (people["test"] | people["shifted test"]) & (people["train"] | people["validation"])


@pytest.mark.parametrize("d", datasets.list_datasets(), ids=lambda d: d.name)
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
    import http.server
    import threading

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
