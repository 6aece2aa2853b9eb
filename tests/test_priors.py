import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mrilab import datasets, priors
from mrilab.diffusion import Prior
from mrilab.priors import load_prior, new_prior, read_card, save_prior
from mrilab.unet import UNet

CARD = dict(voxel_sizes=[1, 2], conditioned=False, sigma_data=0.3, widths=[4, 8])


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.safetensors"
    save_prior(path, Prior(UNet((4, 8)), (1, 2)), CARD)
    return path


def rewritten(path, **changes):
    """The prior with a changed card, which knows its weights."""
    card = json.loads(path.with_suffix(".json").read_text()) | dict(sha256=datasets.sha256(path)) | changes
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def refusal(path, read=load_prior):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read(path)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def test_save_and_load(saved):
    assert load_prior(saved).voxel_sizes == (1, 2)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["small.json", "small.safetensors"]


@pytest.mark.parametrize("entry", datasets.list_datasets("prior"), ids=lambda d: d.name)
def test_shipped_cards_are_cards(entry):
    card = read_card(entry.name)
    assert card.sha256 == entry.sha256 and ", ".join(card.people) == entry.person and card.steps > 0
    text = json.loads(datasets.fetch(entry.name).with_suffix(".json").read_text())
    found = json.loads(card.model_dump_json())
    assert {key: found[key] for key in text} == text        # nothing is lost, known here or not
    prior = new_prior(card.network, card.voxel_sizes, card.widths, card.conditioned, card.sigma_data, light=card.light)
    assert sum(p.numel() for p in prior.net.parameters()) == found["parameters"]


def test_unknown_fields_are_kept_and_open_nothing(saved, tmp_path):
    rewritten(saved, name="../other", weights=str(tmp_path / "absent.safetensors"), hospital={"beds": 3})
    assert load_prior(saved).voxel_sizes == (1, 2)
    assert read_card(saved).model_dump()["hospital"] == {"beds": 3}
    assert read_card(saved.with_suffix(".json")) == read_card(saved)


@pytest.mark.parametrize("changes, message", [
    (dict(network="transformer"), "network: found 'transformer', expected 'unet', 'unet3d' or 'operator'"),
    (dict(widths=[]), "widths: found [], expected"),
    (dict(widths=[8] * 9), "widths: found [8, 8, 8, 8, 8, 8, ...], expected"),
    (dict(widths=[8, 0]), "widths[1]: found 0, expected greater than or equal to 1"),
    (dict(widths=[8, 1025]), "widths[1]: found 1025, expected less than or equal to 1024"),
    (dict(widths=[8, 8.5]), "widths[1]: found 8.5, expected a valid integer"),
    (dict(widths="8"), "widths: found '8', expected a valid tuple"),
    (dict(widths=[1024] * 8), "expected at most 67,108,864"),
    (dict(widths=[400] * 4, network="unet3d"), "widths: found [400, 400, 400, 400], with 69,120,000 weights"),
    (dict(voxel_sizes=[1]), "voxel_sizes[1]: found nothing"),
    (dict(voxel_sizes=[0, 1]), "voxel_sizes[0]: found 0, expected greater than 0"),
    (dict(voxel_sizes=["1", 2]), "voxel_sizes[0]: found '1', expected a valid number"),
    (dict(voxel_sizes=[2, 1]), "voxel_sizes: found 2 and 1, expected (smallest, largest) in mm"),
    (dict(network="operator"), "voxel_sizes: found 1 and 2, expected one size, twice"),
    (dict(network="operator", voxel_sizes=[1, 1], widths=[8]), "of an operator two widths or more"),
    (dict(sigma_data=-0.3), "sigma_data: found -0.3, expected greater than 0"),
    (dict(sigma_data=None), "sigma_data: found None, expected a valid number"),
    (dict(sigma_data=float("nan")), "not the card of a prior"),
    (dict(anything=[float("inf")]), "not the card of a prior"),
    (dict(conditioned=1), "conditioned: found 1, expected a valid boolean"),
    (dict(sha256="abc"), "sha256: found 'abc', expected"),
    (dict(steps=-1), "steps: found -1, expected greater than or equal to 0"),
    (dict(people="you"), "people: found 'you', expected a valid tuple"),
    (dict(widths=[4, 16]), "small.safetensors: weights do not fit the network of the card"),
    (dict(conditioned=True), "small.safetensors: weights do not fit the network of the card"),
    (dict(sha256="0" * 64), "small.safetensors: found SHA-256")])
def test_bad_cards(saved, changes, message):
    found = refusal(rewritten(saved, **changes))
    assert message in found and found.startswith(str(saved.parent))


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 10**5, "null", "\x00", "{}", '{"widths": [' + "9" * 5000 + "]}",
                                  '{"voxel_sizes": [1, 1e999], "widths": [8], "conditioned": false}'])
def test_files_that_are_no_cards(saved, text):
    saved.with_suffix(".json").write_text(text)
    assert refusal(saved).startswith(f"{saved.with_suffix('.json')}: not the card of a prior: ")


def test_what_is_missing(saved, tmp_path):
    assert "absent.safetensors: no such file" in refusal(tmp_path / "absent.safetensors")
    card = json.loads(saved.with_suffix(".json").read_text())
    for field in ("voxel_sizes", "widths", "conditioned", "sigma_data", "sha256"):
        saved.with_suffix(".json").write_text(json.dumps({k: v for k, v in card.items() if k != field}))
        assert f"{field}: found nothing, expected this field" in refusal(saved)
    saved.with_suffix(".json").unlink()
    assert "small.json: no such file; the card" in refusal(saved)


def test_huge_files_are_not_read(saved, monkeypatch):
    def read(path):
        raise AssertionError("was read")

    with open(saved, "r+b") as file:
        file.truncate(priors.LARGEST_WEIGHTS + 1)           # takes no room on the disk
    monkeypatch.setattr(priors, "sha256", read)
    assert f"found {priors.LARGEST_WEIGHTS + 1} bytes, expected at most" in refusal(saved)
    with open(saved.with_suffix(".json"), "r+b") as file:
        file.truncate(2**40)
    found = refusal(saved, read_card)
    assert f"small.json: not the card of a prior: found more than {priors.LARGEST_CARD} bytes" in found


def test_weights_that_are_damaged_or_no_numbers(saved):
    weights = {name: values.clone() for name, values in load_file(saved).items()}     # old versions map the file
    saved.write_bytes(saved.read_bytes()[:-1])
    assert "SHA-256" in refusal(saved) and "weights do not fit" in refusal(rewritten(saved))
    save_file({"other": torch.zeros(1)}, saved)
    assert "weights do not fit" in refusal(rewritten(saved))
    weights["last.bias"][0] = float("nan")
    save_file(weights, saved)
    assert "found weights that are NaN or infinite" in refusal(rewritten(saved))


def test_a_card_that_would_be_refused_is_not_written(tmp_path):
    path = tmp_path / "p.safetensors"
    for changes in (dict(widths=[0]), dict(anything=float("nan"))):
        with pytest.raises(ValueError):
            save_prior(path, Prior(UNet((4, 8)), (1, 2)), CARD | changes)
        assert not list(tmp_path.iterdir())
