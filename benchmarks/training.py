"""How fast a device trains, denoises and makes heads, and what share of its peak that is.

    python benchmarks/training.py                                   # the CPU
    python benchmarks/training.py --device cuda --batch 128 512 --json timings.json

Training steps (forward, backward, Adam) on random slices of 64 x 64: what `train` would reach if its data cost nothing.
In float32, in bfloat16, on a GPU also recorded as a CUDA graph, and compiled by torch.compile and recorded. What fails
is noted, and the others go on. What a run reached is on its card.
"""

import argparse
import datetime
import json
import time

import numpy as np
import torch

from mrilab import diffusion
from mrilab.augmentation import cut, make_head, source
from mrilab.diffusion import denoising_loss
from mrilab.graphs import Recorded
from mrilab.priors import new_prior
from mrilab.processes import hardware
from mrilab.simulate import head_phantom
from mrilab.volumes import Volume
from mrilab.writing import atomic_path
from studies.train_priors import LIGHT, PATCH, WIDTHS
from studies.trainings import flops as flops_of

BF16 = diffusion.bf16
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "T4": 65e12}         # bfloat16 (T4: float16), dense
HOW = ["float32", "bfloat16", "recorded", "compiled"]        # the last two on a GPU


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


def training(device, batch, how, widths, light, least):
    """Patches a second of forward pass, backward pass and optimizer."""
    diffusion.bf16 = (lambda _: False) if how == "float32" else BF16
    prior = new_prior("unet", (1.0, 4.0), widths, light=light)
    prior = prior.to(device, memory_format=torch.channels_last).train()
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

    run = Recorded(gradients, device) if how in ("recorded", "compiled") else gradients

    def step():
        run(clean, sigma, noise)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return batch / seconds_of(step, device, least)


def denoising(device, widths, light, least):
    """Slices of 216 x 180 a second, 16 at a time."""
    prior = new_prior("unet", (1.0, 4.0), widths, light=light).to(device, memory_format=torch.channels_last).eval()
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
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--how", nargs="+", choices=HOW, default=HOW)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--light", action=argparse.BooleanOptionalAction, default=LIGHT, help="see mrilab.unet.UNet")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--json", help="file to write")
    options = parser.parse_args()
    device, widths, light = torch.device(options.device), tuple(options.widths), options.light
    flops = flops_of(new_prior("unet", (1.0, 4.0), widths, light=light), PATCH)
    found = dict(hardware=hardware(device), torch=torch.__version__, date=datetime.date.today().isoformat(),
                 widths=widths, light=light, gflop_per_patch=round(flops / 1e9, 3), bfloat16_by_default=BF16(device))
    peak = next((value for key, value in PEAK.items() if key in found["hardware"]), None)

    def note(name, function, *arguments):
        try:
            found[name] = function(*arguments, options.seconds)
        except Exception as error:
            found[name] = repr(error)[:300]
        if peak and name.startswith("patches") and isinstance(found[name], float):
            found[name.replace("patches_per_second", "share_of_peak")] = found[name] * flops / peak
        print(name, found[name], flush=True)
        if options.json:
            with atomic_path(options.json) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n")

    for how in options.how if device.type == "cuda" else HOW[:2]:
        for batch in options.batch:
            note(f"patches_per_second, {how}, batch {batch}", training, device, batch, how, widths, light)
    note("slices_per_second", denoising, device, widths, light)
    note("seconds of a head and of its patches", heads, device)


if __name__ == "__main__":
    main()
