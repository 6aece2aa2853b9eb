"""Files are never lost: what commands may write over, and what is there after a crash, a full disk, a kill."""

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrilab.writing import atomic_path, check_outputs


def write(path, text="new"):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_a_replaced_file_keeps_its_mode(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o640)
    write(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640 and (tmp_path / "a").read_text() == "new"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    for text in ("one", "two"):
        write(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "far" / "file").read_text() == text
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["file"]


def test_long_names_and_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(Path("~") / ("\u00fc" * 120 + ".h5"))
    assert [p.name for p in tmp_path.iterdir()] == ["\u00fc" * 120 + ".h5"]


def test_what_is_renamed_was_on_the_disk_first(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    write(tmp_path / "a")
    assert calls == ["fsync", "replace", "fsync"]


def test_an_error_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "a")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


FULL = """
import torch
from mrilab.volumes import Volume, save_volume
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    save_volume(sys.argv[1], Volume(torch.rand(40, 40, 40), (1, 1, 1)))
except (OSError, RuntimeError):
    sys.exit(7)
"""


@pytest.mark.parametrize("name", ["a.h5", "a.nii", "a.nii.gz"])
def test_full_disk(tmp_path, name):
    """A limit on the size of files stands for the disk."""
    (tmp_path / name).write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / name)], capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 50_000


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_while_writing(tmp_path, how):
    """The old file is there, whole, whenever the process ends."""
    (tmp_path / "a").write_text("old")
    code = ("import sys, time\nfrom mrilab.writing import atomic_path\nwith atomic_path(sys.argv[1]) as t:\n"
            "    t.write_text('half')\n    print('here', flush=True)\n    time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))    # not inherited
    assert process.stdout.readline() == "here\n"
    process.send_signal(how)
    process.wait(30)
    assert (tmp_path / "a").read_text() == "old"


@pytest.fixture
def scan(tmp_path):
    (tmp_path / "scan.h5").write_text("raw")
    return tmp_path / "scan.h5"


def spelled(scan):
    """The same file by other names."""
    folder = scan.parent
    (folder / "soft.h5").symlink_to(scan)
    os.link(scan, folder / "hard.h5")
    (folder / "sub").mkdir()
    (folder / "elsewhere").symlink_to(folder)
    (folder / "twice.h5").symlink_to(folder / "soft.h5")
    return [scan, folder / "soft.h5", folder / "hard.h5", folder / "sub" / ".." / "scan.h5",
            folder / "elsewhere" / "scan.h5", folder / "twice.h5", os.path.relpath(scan)]


@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_an_output(scan, force):
    names = spelled(scan)
    for out in names:
        for given in names:
            with pytest.raises(ValueError, match="found an output that is an input"):
                check_outputs([scan.parent / "other.h5", out], ["absent.h5", given], force)


@pytest.mark.parametrize(("given", "out"), [
    ("k.cfl", "k.hdr"), ("k.hdr", "k.cfl"), ("k", "k.cfl"), ("k", "k.hdr"), ("i.hdr", "i.img"), ("i.img", "i.hdr"),
    ("p.safetensors", "p.json")])
def test_what_belongs_to_an_input_is_one(tmp_path, given, out):
    (tmp_path / out).write_text("input")
    with pytest.raises(ValueError, match="is an input"):
        check_outputs([tmp_path / out], [tmp_path / given], force=True)


def test_files_that_exist_need_force(scan, tmp_path):
    with pytest.raises(FileExistsError, match="scan.h5: exists already; .*--force"):
        check_outputs([scan])
    check_outputs([scan], force=True)
    check_outputs([tmp_path / "new.h5"])
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_two_outputs_of_one_name(tmp_path):
    for other in ("a.h5", "A.h5", "./a.h5"):
        with pytest.raises(ValueError, match="two outputs of this name"):
            check_outputs([tmp_path / "a.h5", f"{tmp_path}/{other}"])


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path, "/dev/null", tmp_path / "pipe"):
        with pytest.raises(ValueError, match="found a folder or a device"):
            check_outputs([out], force=True)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; it is where a.h5 should go"):
        check_outputs([tmp_path / "nowhere" / "a.h5"])
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="file: no such folder"):
        check_outputs([tmp_path / "file" / "a.h5"])


def test_a_folder_that_cannot_be_written_to(tmp_path):
    """/proc stands for a read-only disk: this may run as root, whom permissions do not stop."""
    with pytest.raises(PermissionError, match="/proc: cannot be written to"):
        check_outputs(["/proc/a.h5"])
    if os.getuid():
        (tmp_path / "ro").mkdir(mode=0o555)
        with pytest.raises(PermissionError, match="ro: cannot be written to"):
            check_outputs([tmp_path / "ro" / "a.h5"])


def test_checking_takes_no_time(tmp_path):
    outputs = [tmp_path / f"{i}.h5" for i in range(300)]
    inputs = [tmp_path / "in" / f"{i}.h5" for i in range(300)]
    (tmp_path / "in").mkdir()
    for path in inputs:
        path.touch()
    start = time.monotonic()
    check_outputs(outputs, inputs)
    assert time.monotonic() - start < 5
