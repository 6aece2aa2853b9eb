import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from test_augmentation import blobs

from mrilab import augmentation, training
from mrilab.augmentation import POOL, Stream
from mrilab.datasets import fetch
from mrilab.diffusion import Prior
from mrilab.priors import load_prior, new_prior, read_card, save_prior
from mrilab.processes import check_device
from mrilab.training import train, validate, validation_slices
from mrilab.unet import UNet
from mrilab.volumes import Volume, load_volume, save_volume

SMALL = dict(batch=4, patch=16, widths=(4, 8), whole=32, progress=False)


def card(path):
    return json.loads(path.with_suffix(".json").read_text())


def same_weights(one, other):
    one, other = load_file(one), load_file(other)
    return all(torch.equal(one[k], other[k]) for k in one)


def test_training_learns_to_denoise(tmp_path):
    path = train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=300, learning_rate=5e-3, validation=blobs(seed=3),
                 interval=150, people=["a"], **SMALL)
    clean, _ = next(iter(Stream([blobs(seed=7)], (2, 2), 16, 16, seed=5)))
    noise = 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    trained = (load_prior(path).denoise(clean + noise, 0.2) - clean).std()
    untrained = (Prior(UNet((4, 8)), (2, 2)).denoise(clean + noise, 0.2) - clean).std()
    assert trained < 0.8 * untrained < 0.8 * 0.2
    found = card(path)
    assert {"voxel_sizes", "people", "steps", "hardware", "date", "sha256", "images_per_second"} <= set(found)
    assert found["losses"]["mean"][-1] < 0.8 * found["losses"]["mean"][0]
    assert [row["step"] for row in found["validation"]] == [150, 300]
    first, last = (row["loss"] for row in found["validation"])
    assert len(first) == 9 and all(last[k] < first[k] for k in first if k.startswith("1x"))


def test_a_prior_of_volumes_is_trained_like_one_of_slices(tmp_path):
    path = train([blobs()], {2: 3, 4: 1}, tmp_path / "p.safetensors", steps=150, learning_rate=5e-3, batch=4, patch=16,
                 widths=(4, 8), network="unet3d", conditioned=True, validation=blobs(seed=3), interval=150, seed=1,
                 progress=False)
    prior, found = load_prior(path), card(path)
    assert prior.dims == 3 and prior.voxel_sizes == (2, 4)
    assert found["voxel_sizes"] == [2, 4] and found["odds"] == [[2, 3], [4, 1]] and found["network"] == "unet3d"
    assert len(found["validation"][0]["loss"]) == 9
    clean, _ = next(iter(Stream([blobs(seed=7)], (2, 2), 4, 16, seed=5, dims=3)))
    noise = 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    trained = (prior.denoise(clean + noise, 0.2, (2, 2, 2)) - clean).std()
    untrained = (new_prior("unet3d", (2, 4), (4, 8)).denoise(clean + noise, 0.2) - clean).std()
    assert trained < 0.8 * untrained < 0.8 * 0.2
    with pytest.raises(ValueError, match="initial: found a prior with network unet3d, .* expected network unet,"):
        train([blobs()], (2, 2), tmp_path / "q.safetensors", initial=path, conditioned=True, **SMALL)


def test_validation_is_the_loss_at_each_voxel_size_and_noise_level():
    """A network that says nothing leaves the part 1 / (1 + sigma^2 / sigma_data^2) of the slices' own loss."""
    groups = validation_slices(blobs(), slices=2)
    assert {g[0] for g in groups} == {1, 2, 3} and len(groups) == 9
    assert torch.allclose(groups[3][2], torch.tensor(4.0))
    table = validate(Prior(UNet((4,)), (2, 2)), groups)
    for (multiple, level), loss in zip(((m, s) for m in (1, 2, 3) for s in training.VALIDATION_SIGMA), table.values()):
        # D = c_skip (x + sigma n): its error has a part from the image and one from the noise
        total = level**2 + 0.09
        power = torch.cat([g[1].square().mean(dim=(1, 2, 3)) for g in groups if g[0] == multiple]).mean()
        expected = (level**4 * power + 0.09**2 * level**2) / total**2 * total / (level**2 * 0.09)
        assert abs(loss / expected - 1) < 0.1


def test_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch):
    train([blobs()], (2, 4), tmp_path / "whole.safetensors", steps=7, interval=2, **SMALL)
    calls, loss = [], training.denoising_loss

    def killed(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return loss(*args)

    monkeypatch.setattr(training, "denoising_loss", killed)
    args = ([blobs()], (2, 4), tmp_path / "halves.safetensors")
    with monkeypatch.context() as elsewhere, pytest.raises(KeyboardInterrupt):
        elsewhere.setattr(training, "hardware", lambda device: "a card")
        train(*args, steps=7, interval=2, **SMALL)
    assert (tmp_path / "halves.checkpoint").exists() and not (tmp_path / "halves.safetensors").exists()
    train(*args, steps=7, interval=2, **SMALL)
    assert len(calls) == 6 + 3        # steps 4, 5, 6 after the checkpoint at 4
    assert same_weights(tmp_path / "whole.safetensors", tmp_path / "halves.safetensors")
    assert not (tmp_path / "halves.checkpoint").exists()
    here = card(tmp_path / "whole.safetensors")["hardware"]
    assert card(tmp_path / "halves.safetensors")["hardware"] == f"a card, then {here}"


def test_training_stops_in_time_and_goes_on(tmp_path, monkeypatch):
    """A run that was told to stop, and went on, is the run that was not; with whole slices and a change of heads."""
    monkeypatch.setattr(augmentation, "PATCHES", 3 * POOL)
    monkeypatch.setattr(training, "REPORT", 4)
    whole = train([blobs()], (2, 2), tmp_path / "whole.safetensors", steps=12, **SMALL)
    part = tmp_path / "part.safetensors"
    train([blobs()], (2, 2), part, steps=12, until=0.0, **SMALL)
    assert not part.exists() and torch.load(tmp_path / "part.checkpoint", weights_only=True)["step"] == 4
    with pytest.raises(ValueError, match="whole 32, expected 0"):
        train([blobs()], (2, 2), part, steps=12, **(SMALL | dict(whole=0)))
    train([blobs()], (2, 2), part, steps=12, **SMALL)
    assert same_weights(whole, part)


def test_accumulated_parts_give_the_whole_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("mrilab.diffusion.bf16", lambda device: False)
    paths = [train([blobs()], (2, 4), tmp_path / f"{n}.safetensors", steps=5, accumulate=n, **SMALL) for n in (1, 4)]
    one, four = (load_file(p) for p in paths)
    assert all(torch.allclose(one[k].float(), four[k].float(), atol=1e-3) for k in one)
    assert card(paths[0])["losses"]["mean"] == pytest.approx(card(paths[1])["losses"]["mean"], rel=1e-3)


def test_a_batch_too_large_for_the_card_goes_in_parts(tmp_path, monkeypatch, capsys):
    """As of a card on which three slices at a time are too many: the result is that of one with room."""
    monkeypatch.setattr("mrilab.diffusion.bf16", lambda device: False)
    whole = train([blobs()], (2, 2), tmp_path / "whole.safetensors", steps=4, **SMALL)
    loss = training.denoising_loss

    def tight(model, clean, *others):
        if len(clean) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return loss(model, clean, *others)

    monkeypatch.setattr(training, "denoising_loss", tight)
    parts = train([blobs()], (2, 2), tmp_path / "parts.safetensors", steps=4, **SMALL)
    assert "parts: too large for the card; from now on 2 parts a batch" in capsys.readouterr().out
    one, other = load_file(whole), load_file(parts)
    assert all(torch.allclose(one[k].float(), other[k].float(), atol=1e-3) for k in one)
    monkeypatch.setattr(training, "denoising_loss", lambda *a: tight(a[0], [0] * 9))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        train([blobs()], (2, 2), tmp_path / "none.safetensors", steps=4, **SMALL)


@pytest.mark.parametrize("made", ["numpy", "torch", None])
def test_priors_trained_before_can_be_used(tmp_path, made):
    """Their cards say otherwise, or not at all, how slices were made, and nothing of whole ones."""
    path = train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=1, **SMALL)
    fields = {key: value for key, value in card(path).items() if key not in ("heads", "whole")}
    path.with_suffix(".json").write_text(json.dumps(fields | (dict(heads=made) if made else {})))
    assert load_prior(path).voxel_sizes == (2, 2) and read_card(path).model_dump().get("heads") == made
    train([blobs()], (2, 2), tmp_path / "q.safetensors", steps=1, initial=path, **SMALL)


def test_a_light_prior_says_so_on_its_card(tmp_path):
    path = train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=2, light=True, **SMALL)
    assert card(path)["light"] and load_prior(path).net.down[0].conv2.kernel_size == (1, 1)
    with pytest.raises(ValueError, match="^initial: found .*, light True, expected .*, light False"):
        train([blobs()], (2, 2), tmp_path / "q.safetensors", steps=2, initial=path, **SMALL)


def command(tmp_path, out, *launcher, more=""):
    """The training command of a shell, small."""
    volume = tmp_path / "blobs.h5"
    if not volume.exists():
        save_volume(volume, blobs())
    options = (f"{volume} --voxel-size 2 4 --out {tmp_path / out} --steps 40 --interval 4 --batch 4 --patch 16 "
               f"--widths 4 8 --threads 1 {more}")
    return [sys.executable, *launcher, "-m", "mrilab", "train", *options.split()]


def run(*args, **more):
    return subprocess.run(command(*args, **more), check=True, capture_output=True, text=True,
                          env=dict(os.environ, OMP_NUM_THREADS="1"))


@pytest.mark.slow
def test_kill_at_any_moment_and_the_same_command_goes_on(tmp_path):
    run(tmp_path, "whole.safetensors")
    for moment in (0.0, 0.05):                 # after a new checkpoint was seen
        checkpoint = tmp_path / "killed.checkpoint"
        process = subprocess.Popen(command(tmp_path, "killed.safetensors"), stderr=subprocess.DEVNULL)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.002)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "finished before it could be killed"
    run(tmp_path, "killed.safetensors")
    assert card(tmp_path / "killed.json")["losses"] == card(tmp_path / "whole.json")["losses"]
    assert same_weights(tmp_path / "whole.safetensors", tmp_path / "killed.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "--batch 64 --patch 24"])
def test_two_processes_do_what_one_does(tmp_path, more):
    """Whole slices are one, which cannot be shared, and three, of which one process takes two."""
    run(tmp_path, "one.safetensors", more=more)
    run(tmp_path, "two.safetensors", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", more=more)
    assert card(tmp_path / "two.json")["processes"] == 2
    curves = [card(tmp_path / f"{n}.json")["losses"]["mean"] for n in ("one", "two")]
    assert curves[1] == pytest.approx(curves[0], rel=0.01)
    one, two = (load_file(tmp_path / f"{n}.safetensors") for n in ("one", "two"))
    moved = {k: v for k, v in one.items() if v.float().std() > 0}
    # bfloat16 rounds two half batches otherwise than a whole one
    assert all((one[k].float() - two[k].float()).norm() < 0.05 * one[k].float().norm() + 1e-2 for k in moved)


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    loss = training.denoising_loss
    steps = iter(range(100))
    monkeypatch.setattr(training, "denoising_loss",
                        lambda *a: loss(*a) * (float("nan") if next(steps) == 3 else 1))
    with pytest.raises(FloatingPointError, match="loss is nan at step 3.*p.checkpoint"):
        train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=7, interval=2, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["p.checkpoint"]
    assert torch.load(tmp_path / "p.checkpoint", weights_only=True)["step"] == 2


@contextlib.contextmanager
def files_of_at_most(size):
    """Every write beyond ``size`` bytes fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    args = ([blobs()], (2, 2), tmp_path / "p.safetensors")

    def fill(step, prior):
        if step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    with files_of_at_most(resource.getrlimit(resource.RLIMIT_FSIZE)[0]):
        with pytest.raises(OSError, match="p.checkpoint: could not be written"):
            train(*args, steps=7, interval=2, callback=fill, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["p.checkpoint"]
    assert torch.load(tmp_path / "p.checkpoint", weights_only=True)["step"] == 2
    with files_of_at_most(1000), pytest.raises(OSError):
        save_prior(tmp_path / "q.safetensors", Prior(UNet((4, 8)), (1, 1)), {})
    assert [p.name for p in tmp_path.iterdir()] == ["p.checkpoint"]
    train(*args, steps=7, interval=2, **SMALL)


def test_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    out, checkpoint = tmp_path / "p.safetensors", tmp_path / "p.checkpoint"
    kept = tmp_path / "kept"

    def keep(step, prior):
        if step == 4:
            kept.write_bytes(checkpoint.read_bytes())

    train([blobs()], (2, 2), out, steps=6, interval=2, callback=keep, **SMALL)
    with pytest.raises(FileExistsError, match="p.safetensors: there already"):
        train([blobs()], (2, 2), out, steps=6, interval=2, **SMALL)
    checkpoint = kept.rename(tmp_path / "other.checkpoint")
    whole = checkpoint.read_bytes()
    for changed, message in ((dict(SMALL, widths=(4, 16)), r"widths \[4, 8\], expected \[4, 16\]"),
                             (dict(SMALL, seed=1), "seed 0, expected 1")):
        with pytest.raises(ValueError, match=rf"other.checkpoint: found a run with {message}"):
            train([blobs()], (2, 2), tmp_path / "other.safetensors", steps=6, interval=2, **changed)
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | dict(settings=state["settings"] | dict(heads="numpy")), checkpoint)
    with pytest.raises(ValueError, match="other.checkpoint: found a run with heads 'numpy', expected 'torch'"):
        train([blobs()], (2, 2), tmp_path / "other.safetensors", steps=6, interval=2, **SMALL)
    checkpoint.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="other.checkpoint: not a checkpoint, or damaged"):
        train([blobs()], (2, 2), tmp_path / "other.safetensors", steps=6, interval=2, **SMALL)
    assert checkpoint.read_bytes() == whole[:-100]


def test_training_goes_on_from_another_prior(tmp_path):
    first = train([blobs()], (2, 2), tmp_path / "first.safetensors", steps=3, **SMALL)
    second = tmp_path / "second.safetensors"
    train([blobs()], (2, 4), second, steps=1, learning_rate=1e-9, initial=first, **SMALL)
    assert same_weights(first, second)
    assert card(second)["initial"] == card(first)["sha256"] and card(first)["initial"] is None
    with pytest.raises(ValueError, match=r"initial: found .* widths \[4, 8\], .* widths \[4, 16\]"):
        train([blobs()], (2, 2), tmp_path / "third.safetensors", initial=first, **dict(SMALL, widths=(4, 16)))


def stopped(tmp_path, volume):
    """A run that was stopped after 2 steps of 4, and the arguments with which to go on."""
    def stop(step, prior):
        if step == 4:
            raise KeyboardInterrupt

    args = dict(voxel_sizes=(2, 4), out=tmp_path / "p.safetensors", steps=6, interval=2, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        train([volume], callback=stop, **args)
    return args


def test_training_goes_on_with_the_same_data_only(tmp_path):
    args = stopped(tmp_path, blobs())
    touched = blobs()
    touched.data[3, 4, 5] += 1e-6
    for other in ([touched], [Volume(blobs().data, (2, 2, 2.01))], [blobs(), blobs()], [blobs(seed=1)]):
        with pytest.raises(ValueError, match="p.checkpoint: found a run with data_sha256 .*, expected .*; finish it"):
            train(other, **args)
    train([blobs()], **args)


def test_training_goes_on_with_the_same_files_only(tmp_path):
    path = tmp_path / "head.h5"
    save_volume(path, blobs())
    args = stopped(tmp_path, path)
    save_volume(path, blobs(seed=1))
    with pytest.raises(ValueError, match="found a run with data_sha256"):
        train([path], **args)
    save_volume(path, blobs())
    moved = path.rename(tmp_path / "moved.h5")              # the same data under another name
    train([moved], **args)


def test_card_names_people_and_volumes(tmp_path):
    """Its people are those of the call; else those of the volumes; else the names of the files."""
    named = blobs()
    named.info["person"] = "Ada"
    save_volume(tmp_path / "head.of.h5", named)
    save_volume(tmp_path / "nobody.nii.gz", blobs())
    heads = [tmp_path / "head.of.h5", tmp_path / "nobody.nii.gz", blobs(), named]
    train(heads, (2, 2), tmp_path / "p.safetensors", steps=1, **SMALL)
    found = card(tmp_path / "p.json")
    assert found["people"] == ["Ada", "nobody", "volumes[2]"]
    assert found["volumes"] == ["head.of.h5", "nobody.nii.gz", "volumes[2]", "volumes[3]"]
    assert found["data_sha256"][0] == training.sha256(heads[0]) and len(found["data_sha256"]) == 4
    train(heads, (2, 2), tmp_path / "q.safetensors", steps=1, people=("B", "C"), **SMALL)
    assert card(tmp_path / "q.json")["people"] == ["B", "C"]


def test_complex_volumes_count_as_their_magnitudes(tmp_path):
    turned = Volume(blobs().data * torch.tensor([1, 1j, -1, -1j]).repeat(6), (2, 2, 2))
    paths = [train([v], (2, 4), tmp_path / f"{i}.safetensors", steps=3, validation=v, **SMALL)
             for i, v in enumerate((blobs(), turned))]
    assert same_weights(*paths) and card(paths[0])["validation"] == card(paths[1])["validation"]


def test_data_too_coarse_for_what_is_asked(tmp_path):
    out = tmp_path / "p.safetensors"
    coarse, thick = Volume(blobs().data, (3, 3, 3)), Volume(blobs().data, (5, 2, 2))
    with pytest.raises(ValueError, match=r"volumes\[1\]: found voxel size .*, expected two axes of 2 mm or finer"):
        train([blobs(), coarse], (2, 2), out, **SMALL)
    save_volume(tmp_path / "coarse.h5", coarse)
    with pytest.raises(ValueError, match=r"coarse.h5: found voxel size"):
        train([tmp_path / "coarse.h5"], (1, 2), out, **SMALL)
    with pytest.raises(ValueError, match="voxel_sizes: found 2 mm as the smallest, expected 3 or more"):
        train([coarse], (2, 4), out, **SMALL)
    with pytest.raises(ValueError, match=r"volumes\[1\]: .* two axes of 2 mm"):
        train([blobs(), coarse], {2: 1, 4: 1}, out, **SMALL)        # none of its slices would have the first size
    with pytest.raises(ValueError, match=r"volumes\[0\]: .* three axes of 4 mm"):
        train([thick], (2, 4), out, network="unet3d", **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["coarse.h5"]
    train([thick, coarse], (2, 4), out, steps=1, **SMALL)


def test_the_place_of_the_result_is_checked_first(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_digest", lambda volume: pytest.fail("work was begun"))
    for out, error, message in (("p.pt", ValueError, "out: found '.*p.pt', expected a name that ends in .safetensors"),
                                ("no/p.safetensors", OSError, "out: found .*/no/p.safetensors, .*No such file")):
        with pytest.raises(error, match=message):
            train([blobs()], (2, 2), tmp_path / out, **SMALL)
    (tmp_path / "p.safetensors").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="p.safetensors: there already"):
        train([blobs()], (2, 2), tmp_path / "p.safetensors", **SMALL)
    assert (tmp_path / "p.safetensors").read_bytes() == b"mine"

    def full(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="out: found .*q.safetensors, expected a place that .*No space left"):
        train([blobs()], (2, 2), tmp_path / "q.safetensors", **SMALL)


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "cuda", "mps", "", None])
def test_a_device_that_is_not_there(tmp_path, device):
    if device == "cuda" and torch.cuda.is_available() or device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    for use in (check_device, lambda device: load_prior("diverse", device),
                lambda device: train([blobs()], (2, 2), tmp_path / "p.safetensors", device=device, **SMALL)):
        with pytest.raises(ValueError, match=rf"^device: found '{device}', expected a device .*: cpu") as error:
            use(device)
        assert "\n" not in str(error.value)
    assert check_device(torch.device("cpu")) == torch.device("cpu")


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="batch: found 4, expected a multiple of 1 processes times 3 parts"):
        train([blobs()], (2, 2), tmp_path / "p.safetensors", accumulate=3, **SMALL)
    with pytest.raises(ValueError, match="steps: found 0"):
        train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=0, **SMALL)
    with pytest.raises(ValueError, match="volumes: found none"):
        train([], (2, 2), tmp_path / "p.safetensors", **SMALL)
    for argument, value, message in (
            ("steps", 1.5, "steps: found 1.5, expected a valid integer"), ("interval", 0, "interval: found 0"),
            ("accumulate", 0, "accumulate: found 0"), ("learning_rate", float("nan"), "learning_rate: found nan"),
            ("network", "resnet", "network: found 'resnet'"), ("widths", (4, 5000), r"widths\[1\]: found 5000"),
            ("widths", (1024,) * 8, "widths: found .* expected at most"), ("patch", -1, "patch: found -1"),
            ("seed", -1, "seed: found -1"), ("voxel_sizes", (2, float("inf")), "voxel_sizes: found")):
        with pytest.raises(ValueError, match=f"^{message}"):
            train([blobs()], out=tmp_path / "p.safetensors", **dict(SMALL, voxel_sizes=(2, 2)) | {argument: value})
    with pytest.raises(ValueError, match="^voxel_sizes: found 2 and 4, expected one size, twice"):
        train([blobs()], (2, 4), tmp_path / "p.safetensors", network="operator", **SMALL)
    assert not list(tmp_path.iterdir())


def test_a_test_person_is_no_training_data(tmp_path):
    """By name, by a file that was copied, in memory, and as a recorded scan."""
    shutil.copy(fetch("qtim_MRHead"), tmp_path / "mine.h5")
    for volume, name in (("qtim_MRHead", "qtim_MRHead"), (tmp_path / "mine.h5", ".*mine.h5"),
                         (load_volume("qtim_MRBrainTumor2"), r"volumes\[0\]"), ("allineate_arc2017", "allineate"),
                         ("phantom_siemens", "phantom_siemens"), ("sigpy_brain8ch", "sigpy_brain8ch")):
        with pytest.raises(ValueError, match=f"^{name}.*: found a (shifted )?test person, expected people for train"):
            train([volume], (2, 4), tmp_path / "p.safetensors", **SMALL)
    assert not (tmp_path / "p.safetensors").exists()
