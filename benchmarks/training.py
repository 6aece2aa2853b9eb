"""Images per second of a training step, with and without bfloat16, against the processor's peak.

    python benchmarks/training.py                          # the CPU
    python benchmarks/training.py --device cuda --batch 256 --peak 989      # H200: 989 Tflop/s, dense bfloat16

The step alone (forward, backward, Adam, moving average) on random slices of 64 x 64: what `train` would reach if
its data cost nothing. What a run reached is on its card. `--peak` in Tflop/s gives the utilisation.
"""

import argparse
import time

import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils.flop_counter import FlopCounterMode

from mrilab import diffusion
from mrilab.diffusion import Prior, denoising_loss
from mrilab.processes import hardware
from mrilab.training import average
from mrilab.unet import UNet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="cpu")
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--widths", type=int, nargs="+", default=[32, 32, 64, 128, 128])
parser.add_argument("--seconds", type=float, default=10)
parser.add_argument("--peak", type=float, help="Tflop/s of the processor in bfloat16")
options = parser.parse_args()
device = torch.device(options.device)

prior = Prior(UNet(options.widths), (1, 1)).to(device, memory_format=torch.channels_last)
ema = AveragedModel(prior, multi_avg_fn=average)
optimizer = torch.optim.Adam(prior.parameters(), 1e-4)
clean, noise = torch.randn(2, options.batch, 2, 64, 64, device=device)
sigma = torch.rand(options.batch, device=device) + 0.1


def step():
    loss = denoising_loss(prior, clean, sigma, noise).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ema.update_parameters(prior)


def rate():
    """Images per second after a warm-up."""
    for _ in range(3):
        step()
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + options.seconds:
        for _ in range(5):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        count += 5
    return count * options.batch / (time.perf_counter() - start)


with FlopCounterMode(display=False) as counter:
    denoising_loss(prior, clean, sigma, noise).mean().backward()
per_image = counter.get_total_flops() / options.batch
parameters = sum(p.numel() for p in prior.parameters())
print(f"{hardware(device)}; batch {options.batch}, widths {options.widths}, {parameters / 1e6:.2f} M parameters, "
      f"{per_image / 1e9:.2f} Gflop an image")
print(f"bfloat16 chosen by default: {diffusion.bf16(device)}")
for name, choice in (("float32", False), ("bfloat16", True)):
    diffusion.bf16 = lambda _, choice=choice: choice
    found = rate()
    used = found * per_image / 1e12
    share = f", {100 * used / options.peak:.1f} % of the peak" if options.peak else ""
    print(f"{name:9s} {found:8.1f} images/s  {1e3 / found:6.2f} ms each  {used:.3f} Tflop/s{share}")
