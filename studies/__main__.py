"""The command line of the studies: ``python -m studies``."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from mrilab.checks import check_choice

from . import __doc__ as about
from . import runner, sweep
from .results import RESULTS, shown, write_rows
from .runner import Runner
from .scans import PEOPLE, bring, reconstruction
from .tuning import tune


def say(message):
    print(message, file=sys.stderr, flush=True)


def parser():
    top = argparse.ArgumentParser(prog="python -m studies", description=about,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("names", nargs="+", metavar="NAME", help="studies; or all, list, compare")
    top.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    top.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, its .json file, or 'local'")
    top.add_argument("--device", default="cpu", help="cpu, cuda ... (%(default)s)")
    top.add_argument("--out", type=Path, help="folder of the results (data/results); of compare, the table")
    top.add_argument("--allow-dirty", action="store_true", help="into data/results from a checkout with changes too")
    top.add_argument("--dry", action="store_true", help="one tiny job of each kind, into a folder that goes again")
    top.add_argument("--quiet", action="store_true", help="no progress bar")
    own = top.add_argument_group("compare")
    own.add_argument("--config", type=Path, metavar="FILE", help="JSON or TOML, as in studies/configs")
    own.add_argument("--tune", type=Path, metavar="FILE", help="tune the methods instead, and write what was best")
    own.add_argument("--folder", type=Path, help="of the jobs' results (runs/NAME)")
    return top


def listed():
    for name, study in runner.catalogue().items():
        about = study.__doc__.splitlines()[0]
        print(f"{name:18s} {about}")
        for file in study.RESULTS:
            print(f"{'':18s} {file}: {runner.state(Path(file).stem)}")


def conduct(options, how):
    """The studies that are asked for; one that fails does not stop the others. The exit status."""
    studies, out, status = runner.catalogue(), options.out or RESULTS, 0
    names = list(studies) if options.names == ["all"] else options.names
    for name in names:
        check_choice(name, "study", studies)
    if not out.is_dir():
        raise ValueError(f"{out}: no such folder; it is where the results should go")
    if not options.dry and any(hasattr(studies[name], "here") for name in names):       # which asks for people
        bring(PEOPLE)
    for name in names:
        begin = time.monotonic()
        try:
            paths = runner.conduct(name, studies[name], out, options.allow_dirty, options.dry, **how)
            print(f"{name}: {time.monotonic() - begin:.1f} s" if options.dry else "\n".join(map(shown, paths)))
        except (OSError, ValueError) as error:
            status = 1
            say(f"studies: {name}: {error}")
    return status


def compare(options, how):
    """Run the sweep of a settings file, or tune its methods; say how far it is."""
    if not options.config:
        raise ValueError("--config: found none, expected a settings file")
    settings = sweep.load_sweep(options.config)
    name = options.config.stem
    out = options.tune or options.out or RESULTS / f"{name}.csv"
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent}: no such folder; it is where {out.name} should go")
    ships = runner.check_clean(out.parent, options.allow_dirty)
    run = Runner(options.folder or runner.RUNS / name, committed=ships, **how)
    if options.tune:
        runner.write(out, tune(run, settings), run)
    else:
        jobs = sweep.make_jobs(settings)
        left = len(run.left([runner.make_job(reconstruction, job, sweep.name) for job in jobs]))
        say(f"{shown(run.folder)}: {len(jobs)} jobs, {len(jobs) - left} done, {left} left")
        rows, failed = sweep.measure(run, jobs)
        say(f"{shown(run.folder)}: {len(jobs)} jobs, {len(rows)} done, {len(failed)} failed")
        runner.check(failed, len(jobs))
        write_rows(out, rows)
    print(shown(out))
    return 0


def main(arguments=None):
    """Run a command and return its exit status."""
    options = parser().parse_args(arguments)
    how = dict(count=options.jobs, scheduler=options.scheduler, device=options.device, progress=not options.quiet)
    try:
        if options.names == ["list"]:
            return listed() or 0
        if options.names == ["compare"]:
            return compare(options, how)
        if options.dry:
            with tempfile.TemporaryDirectory() as scratch:
                options.out = Path(scratch)
                return conduct(options, how)
        return conduct(options, how)
    except KeyboardInterrupt:
        say("studies: interrupted")
        return 130
    except (OSError, ValueError) as error:
        say(f"studies: {' '.join(str(error).split())}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
