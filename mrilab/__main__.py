"""The command line: ``python -m mrilab COMMAND``, also installed as ``mrilab``."""

import argparse
import sys

from . import __version__


def train(options):
    import torch

    from .training import train
    from .volumes import load_volume

    if options.threads:
        torch.set_num_threads(options.threads)
    low, high = options.voxel_size[0], options.voxel_size[-1]
    out = train(options.volumes, (low, high), options.out, steps=options.steps, batch=options.batch,
                patch=options.patch, widths=tuple(options.widths), conditioned=options.conditioned,
                learning_rate=options.learning_rate, seed=options.seed, device=options.device,
                workers=options.workers, accumulate=options.accumulate, interval=options.interval,
                validation=options.validation and load_volume(options.validation))
    print(f"{out} and its card {out.with_suffix('.json')}")


def parser():
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="mrilab", description="3D MRI reconstruction with 2D diffusion priors.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    p = commands.add_parser(
        "train", help="train a prior on volumes", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a 2D diffusion prior on slices of magnitude volumes.\n\n"
        "The same command goes on after an interruption, from OUT with the ending .checkpoint.",
        epilog="examples:\n"
        "  mrilab train heads/*.h5 --voxel-size 1 4 --out diverse.safetensors --device cuda --workers 8\n"
        "  mrilab train heads/*.h5 --voxel-size 2 --out fixed_2mm.safetensors --steps 2000\n"
        "  torchrun --nproc-per-node 4 -m mrilab train heads/*.h5 --voxel-size 1 4 --out d.safetensors --device cuda")
    p.add_argument("volumes", nargs="+", metavar="VOLUME", help="HDF5 volume of one person, or a shipped one's name")
    p.add_argument("--out", required=True, metavar="FILE", help="weights, ending in .safetensors; the card beside it")
    data = p.add_argument_group("slices")
    data.add_argument("--voxel-size", nargs="+", type=float, required=True, metavar="MM",
                      help="one number for a fixed-resolution prior, two for a range")
    data.add_argument("--patch", type=int, default=64, help="side of a training patch in voxels (%(default)s)")
    data.add_argument("--validation", metavar="VOLUME", help="volume whose denoising loss is recorded")
    net = p.add_argument_group("network")
    net.add_argument("--widths", nargs="+", type=int, default=[32, 32, 64, 128, 128], metavar="N",
                     help="channels at full, half, quarter ... resolution (%(default)s)")
    net.add_argument("--conditioned", action="store_true", help="tell the network the in-plane voxel size")
    loop = p.add_argument_group("training")
    loop.add_argument("--steps", type=int, default=8000, help="(%(default)s)")
    loop.add_argument("--batch", type=int, default=8, help="slices of a step, over all processes (%(default)s)")
    loop.add_argument("--accumulate", type=int, default=1, metavar="N", help="send a batch through in N parts")
    loop.add_argument("--learning-rate", type=float, default=1e-3, metavar="X", help="(%(default)s)")
    loop.add_argument("--interval", type=int, default=500, metavar="N",
                      help="steps between checkpoints and validations (%(default)s)")
    loop.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    machine = p.add_argument_group("machine")
    machine.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (%(default)s)")
    machine.add_argument("--workers", type=int, default=0, metavar="N",
                         help="processes that prepare slices; about 8 keep a GPU busy (%(default)s)")
    machine.add_argument("--threads", type=int, metavar="N", help="of the CPU (all)")
    p.set_defaults(run=train)
    return top


def main(arguments=None):
    """Run one command; errors of the user's input become one line and exit status 1."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"mrilab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mrilab: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
