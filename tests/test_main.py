import pytest

from mrilab.__main__ import main


def test_help_of_training(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--voxel-size" in text and "examples:" in text and "torchrun" in text


def test_errors_are_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path / "absent.h5"), "--voxel-size", "1", "--out", str(tmp_path / "p.safetensors")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("mrilab: ") and "absent.h5: no such file" in error and error.count("\n") == 1
