"""The command line: ``python -m mrilab COMMAND``, also installed as ``mrilab``.

Exit status: 0, all went well; 1, an error, told in one line (``--debug`` shows where it arose), or doubts of
``check``; 2, the command was not understood; 130, interrupted.
"""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from . import __version__, commands
from .methods import METHODS

Command = Callable[..., argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="mrilab", description="3D MRI reconstruction with 2D diffusion priors.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  mrilab info scan.h5                                      what is in a file, what it will take\n"
        "  mrilab check scan.h5                                     what looks wrong with it\n"
        "  mrilab check scan.h5 --priors                            which prior fits it\n"
        "  mrilab reconstruct scan.h5 --out image.nii.gz            a raw scan to an image\n"
        "  mrilab simulate qtim_MRHead sim.h5 --voxel-size 4 4 4    a scan to try things on\n"
        "each command has its own help: mrilab reconstruct --help")
    top.add_argument("--version", action="version", version=__version__)
    top.add_argument("--debug", action="store_true", help="show where an error arose")
    group = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[..., None], help: str, description: str, examples: str, writes: bool = False
                ) -> argparse.ArgumentParser:
        p = group.add_parser(name, help=help, description=description, epilog="examples:\n" + examples,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
        p.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error arose")
        if writes:
            p.add_argument("--force", action="store_true", help="replace files that exist (an input never)")
        p.set_defaults(run=run)
        return p

    for add in (_info, _check, _convert, _simulate, _fetch, _train, _reconstruct, _compare):
        add(command)
    return top


def _voxel_size(p: Any, help: str) -> None:
    p.add_argument("--voxel-size", nargs=3, type=float, metavar=("DZ", "DY", "DX"), help=help)


def _of_a_scan(p: Any) -> None:
    """What a file may leave open."""
    _voxel_size(p, "in mm, where the file does not say")
    p.add_argument("--measurement", metavar="NAME",
                   help="of an ISMRMRD file with several: name, or number from 0 (the last)")


def _preparation(p: argparse.ArgumentParser) -> None:
    """How a raw scan becomes an acquisition."""
    raw = p.add_argument_group("raw scans")
    _of_a_scan(raw)
    raw.add_argument("--readout", nargs=2, type=int, metavar=("FIRST", "LAST"),
                     help="only these positions along x (LAST not included); the rest is not loaded")
    raw.add_argument("--coils", type=int, metavar="N", help="compress to N virtual coils")
    raw.add_argument("--calibration", type=int, metavar="N", help="side of the block for the maps (largest to 24)")
    raw.add_argument("--maps", metavar="FILE", help="sensitivity maps: BART .cfl, or AHEAD's HDF5")
    raw.add_argument("--no-whitening", action="store_true", help="ignore the noise measurement")


def _info(command: Command) -> None:
    p = command("info", commands.info, "what is in a file",
                "What is in a file: format, matrix, voxel size, coils, acceleration, and for a scan the memory\n"
                "and the time that a reconstruction takes on this machine.",
                "  mrilab info scan.h5 image.nii.gz\n  mrilab info --json scan.cfl --voxel-size 1 1 1")
    p.add_argument("files", nargs="+", metavar="FILE", help="a scan or an image, or a shipped one's name")
    p.add_argument("--json", action="store_true", help="for programs")
    p.add_argument("--quick", action="store_true", help="no estimate of the time")
    _of_a_scan(p)


def _check(command: Command) -> None:
    p = command("check", commands.check, "what looks wrong with a scan or an image; which prior fits a scan",
                "What looks wrong with scans and images: a line for each doubt, and status 1 if there is any.\n"
                "With --priors also which of them fits a scan best, judged from its own samples: no truth is needed.",
                "  mrilab check scan.h5 image.nii.gz\n"
                "  mrilab check scan.h5 --priors diverse fixed_1mm my_prior.safetensors\n"
                "  mrilab check scan.h5 --priors --readout 100 132")
    p.add_argument("files", nargs="+", metavar="FILE", help="a scan or an image")
    _of_a_scan(p)
    fits = p.add_argument_group("which prior fits a scan")
    fits.add_argument("--priors", nargs="*", metavar="NAME",
                      help="shipped, or .safetensors files; without a name, all shipped ones")
    fits.add_argument("--readout", nargs=2, type=int, metavar=("FIRST", "LAST"),
                      help="only these positions along x (LAST not included)")
    fits.add_argument("--coils", type=int, metavar="N", help="of a raw scan: compress to N virtual coils")
    fits.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (%(default)s)")
    fits.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(maps=None, calibration=None, no_whitening=False)


def _convert(command: Command) -> None:
    p = command("convert", commands.convert, "a raw scan to an acquisition; images between formats",
                "A raw scan (ISMRMRD, fastMRI, Calgary-Campinas, BART) to an acquisition: oversampling removed,\n"
                "noise whitened, coils compressed, sensitivity maps estimated, intensities scaled. An image to HDF5,\n"
                "NIfTI or BART. The ending of OUT decides: .h5, .cfl, .mrd (ISMRMRD), .nii, .nii.gz.",
                "  mrilab convert knee.h5 knee_ready.h5 --coils 6\n"
                "  mrilab convert e14089s3_P53248.7.h5 head.h5 --voxel-size 1 1 1\n"
                "  mrilab convert magnitude.nii.gz head.h5 --phase phase.nii.gz", writes=True)
    p.add_argument("file", metavar="IN")
    p.add_argument("out", metavar="OUT")
    p.add_argument("--phase", metavar="FILE", help="NIfTI phase of a NIfTI magnitude")
    _preparation(p)


def _simulate(command: Command) -> None:
    p = command("simulate", commands.simulate, "an undersampled scan of a volume",
                "Undersampled multi-coil k-space of a volume: simulated coils, phase, Poisson-disc mask and noise.",
                "  mrilab simulate qtim_MRHead scan.h5 --voxel-size 2 2 2 --acceleration 8 --truth truth.h5",
                writes=True)
    p.add_argument("volume", metavar="VOLUME", help="HDF5 or NIfTI volume, or a shipped one's name")
    p.add_argument("out", metavar="OUT", help="acquisition, HDF5")
    p.add_argument("--acceleration", type=float, default=8, metavar="R", help="(%(default)s)")
    p.add_argument("--coils", type=int, default=8, metavar="N", help="(%(default)s)")
    p.add_argument("--noise", type=float, default=0.01, metavar="X", help="standard deviation (%(default)s)")
    p.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    p.add_argument("--truth", metavar="FILE", help="also write the image that the scan is of")
    _voxel_size(p, "in mm: resample first")


def _fetch(command: Command) -> None:
    p = command("fetch", commands.fetch, "download and verify data",
                "Download and verify data sets; without a name, list them with size and licence.",
                "  mrilab fetch\n  mrilab fetch stanford_knee")
    p.add_argument("names", nargs="*", metavar="NAME")


def _train(command: Command) -> None:
    p = command("train", commands.train, "train a prior on volumes",
                "Train a 2D diffusion prior on slices of magnitude volumes.\n\n"
                "The same command goes on after an interruption, from OUT with the ending .checkpoint.",
                "  mrilab train heads/*.h5 --voxel-size 1 4 --out diverse.safetensors --device cuda\n"
                "  mrilab train heads/*.h5 --voxel-size 2 --out fixed_2mm.safetensors --steps 2000\n"
                "  torchrun --nproc-per-node 4 -m mrilab train heads/*.h5 --voxel-size 1 4 --out d.safetensors "
                "--device cuda", writes=True)
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
    loop.add_argument("--initial", metavar="NAME", help="prior to start from: shipped, or a .safetensors file")
    machine = p.add_argument_group("machine")
    machine.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (%(default)s)")
    machine.add_argument("--threads", type=int, metavar="N", help="of the CPU (all)")


def _reconstruct(command: Command) -> None:
    p = command("reconstruct", commands.reconstruct, "a scan to an image",
                "Reconstruct scans. Beside each image go a JSON with settings, versions, misfit and seconds, and a\n"
                "PNG of three planes. Raw scans are prepared first (see convert).",
                "  mrilab reconstruct scan.h5 --out image.nii.gz\n"
                "  mrilab reconstruct scan.h5 --out image.h5 --method cg_sense\n"
                "  mrilab reconstruct scan.h5 --out part.h5 --readout 100 132 --prior my_prior.safetensors\n"
                "  mrilab reconstruct scans/*.h5 --out images --jobs 4\n"
                "  mrilab reconstruct scans/*.h5 --out images --scheduler tcp://node17:8786 --device cuda\n"
                "  torchrun --nproc-per-node 4 -m mrilab reconstruct scan.h5 --out image.h5 --device cuda", writes=True)
    p.add_argument("scans", nargs="+", metavar="SCAN", help="an acquisition, or a raw scan in any format of convert")
    p.add_argument("--out", required=True, help="image, ending in .h5, .nii or .nii.gz; a folder for several scans")
    p.add_argument("--method", choices=METHODS, metavar="NAME", default="variational",
                   help=f"{', '.join(METHODS)} (%(default)s)")
    p.add_argument("--prior", default="diverse", metavar="NAME", help="shipped, or a .safetensors file (%(default)s)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (%(default)s)")
    p.add_argument("--complex", action="store_true", help="NIfTI: write the phase as well")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    setting = p.add_argument_group("settings of the method")
    setting.add_argument("--iterations", type=int, metavar="N", help="(32 variational, 30 cg_sense)")
    setting.add_argument("--steps", type=int, metavar="N", help="of dds, diffusion_mbir, tpdm and iscs (50)")
    setting.add_argument("--weight", type=float, metavar="X", help="trust in the prior (0.7 variational)")
    setting.add_argument("--regularization", type=float, metavar="X", help="of cg_sense (0.005)")
    setting.add_argument("--planes", nargs="+", metavar="PLANE", help="axial, coronal, sagittal (all)")
    setting.add_argument("--setting", metavar="NAME", help="of variational: fast or paper (fast)")
    setting.add_argument("--representation", metavar="NAME", default="voxel",
                         help="of variational: voxel, nearest, trilinear, fourier, gaussian or neural_field (voxel)")
    setting.add_argument("--set", nargs="+", metavar="NAME=VALUE",
                         help="any other that the method's function has: --set momentum=0.25")
    setting.add_argument("--tune", nargs="?", const="held-out", choices=("held-out", "discrepancy"),
                         help="of variational: weight and last noise level chosen for each scan on 24 positions of "
                              "the readout, by samples left out (28 reconstructions) or by the misfit of noise (14)")
    setting.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    many = p.add_argument_group("several scans")
    many.add_argument("--format", choices=(".h5", ".nii", ".nii.gz"), default=".h5", help="in a folder (%(default)s)")
    many.add_argument("--jobs", type=int, default=1, metavar="N", help="scans at a time (%(default)s)")
    many.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, its .json file, or 'local'")
    _preparation(p)


def _compare(command: Command) -> None:
    p = command("compare", commands.compare, "images against a truth",
                "PSNR, PSNR inside the head and SSIM of images against a truth on the same grid.",
                "  mrilab compare image.h5 other.h5 --truth truth.h5")
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument("--truth", required=True, metavar="FILE", help="the image that the others are compared with")
    p.add_argument("--match", action="store_true", help="scale each image to the truth first (least squares)")
    p.add_argument("--json", action="store_true", help="for programs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")       # a name that the terminal cannot show is no error
    options = parser().parse_args([os.path.expanduser(a) for a in (sys.argv[1:] if arguments is None else arguments)])
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)      # what it grumbles about, an error says
    try:
        with warnings.catch_warnings():
            # our own in one line, without a place in the code
            warnings.showwarning = lambda message, category, *_, **__: (
                commands.tell(f"warning: {message}") if category is UserWarning else None)
            options.run(options)
        _flush()
    except KeyboardInterrupt:
        commands.tell("interrupted")
        return 130
    except BrokenPipeError:         # | head
        return 141
    except commands.Told:
        return 1
    except Exception as error:
        if options.debug:
            raise
        commands.tell(commands.words(error))
        return 1
    return 0


def _flush() -> None:
    """Out with what waits, while an error can still be told; none at the exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from None


if __name__ == "__main__":
    sys.exit(main())
