"""How fast a device trains, denoises and makes heads: a few numbers, in a minute or two.

    python tools/timings.py timings.json [--device cpu]

Training steps of the diverse prior: each kernel by itself, recorded as a CUDA graph, and compiled by torch.compile and
recorded. What fails is noted, and the others go on.
"""

import argparse
import datetime
import json
import time

import numpy as np
import torch

from mrilab.diffusion import denoising_loss
from mrilab.graphs import Recorded
from mrilab.heads import cut, make_head, source
from mrilab.priors import new_prior
from mrilab.processes import hardware
from mrilab.simulate import head_phantom
from mrilab.volumes import Volume
from studies.train_priors import PATCH, PEAK, WIDTHS, forward_flops


def seconds_of(function, device, least):
    """Mean seconds of a call, over at least ``least`` seconds after three calls that do not count."""
    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        function()
    wait()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < least:
        for _ in range(5):
            function()
        wait()
        count += 5
    return (time.perf_counter() - begin) / count


def training(device, batch, how, least):
    """Patches a second of forward pass, backward pass and optimizer."""
    prior = new_prior("unet", (1.0, 4.0), WIDTHS).to(device, memory_format=torch.channels_last).train()
    if how == "compiled":
        prior.net.compile(dynamic=False)
    for p in prior.parameters():
        p.grad = torch.zeros_like(p)
    parameters = list(prior.parameters())
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=device.type == "cuda" or None)
    clean, noise = torch.randn(2, batch, 2, PATCH, PATCH, device=device)
    sigma = torch.full((batch,), 0.2, device=device)

    def gradients(clean, sigma, noise):
        torch._foreach_zero_([p.grad for p in parameters])
        loss = denoising_loss(prior, clean, sigma, noise).mean()
        loss.backward()
        return loss.detach()

    run = gradients if how == "plain" else Recorded(gradients, device)

    def step():
        run(clean, sigma, noise)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return batch / seconds_of(step, device, least)


def denoising(device, least):
    """Slices of 216 x 180 a second, 16 at a time."""
    prior = new_prior("unet", (1.0, 4.0), WIDTHS).to(device, memory_format=torch.channels_last).eval()
    slices = torch.randn(16, 2, 216, 180, device=device)
    return 16 / seconds_of(lambda: prior.denoise(slices, 0.1), device, least)


def heads(device, least):
    """Seconds to make a head of 1 mm, from a volume, and to cut 2048 patches from it."""
    person = source(Volume(head_phantom((2, 2, 2)).data.repeat(2, 2, 2)[:96, :216, :168], (1, 1, 1)), device)
    rng = np.random.default_rng(0)
    image, size = make_head(person, (1, 1), rng)
    return (seconds_of(lambda: make_head(person, (1, 1), rng), device, least),
            seconds_of(lambda: cut(image, size, PATCH, 2048, rng), device, least))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--least", type=float, default=4.0, help="seconds of each measurement")
    options = parser.parse_args()
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    found = dict(hardware=hardware(device), torch=torch.__version__, date=datetime.date.today().isoformat(),
                 gflop_per_patch=3 * forward_flops("diverse") / 1e9)
    peak = next((value for key, value in PEAK.items() if key in found["hardware"]), None)

    def note(name, function, *arguments):
        try:
            found[name] = function(*arguments)
        except Exception as error:
            found[name] = repr(error)[:300]
        print(name, found[name], flush=True)
        with open(options.out, "w") as file:
            json.dump(found, file, indent=1)

    for how in ("plain", "recorded", "compiled") if cuda else ("plain",):
        for batch in (128, 512) if cuda else (16,):
            name = f"patches_per_second, {how}, batch {batch}"
            note(name, training, device, batch, how, options.least)
            if peak and isinstance(found[name], float):
                note(f"share_of_peak, {how}, batch {batch}", lambda rate: rate * found["gflop_per_patch"] * 1e9 / peak,
                     found[name])
    note("slices_per_second", denoising, device, options.least)
    note("head_and_patches_seconds", heads, device, options.least)


if __name__ == "__main__":
    main()
