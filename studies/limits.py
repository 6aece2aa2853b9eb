"""Where the methods end: other scans than the prior's, a tumour, small lesions, uncertainty, planes that disagree.

    python data/limits.py                      # all parts, into data/results/limits.json; ten minutes on one core
    python data/limits.py shifts planes        # these parts; the others in the file stay

3 mm, R = 8, eight coils, noise 0.01 and a block of the readout unless a part says otherwise. CG-SENSE and total
variation are tuned on the validation slab for each condition and acceleration. The solver keeps its defaults, the
samplers what data/budgets.py found. What was computed stays in `runs/limits`, so an interrupted run goes on. Seconds
are those of the processor.
"""

import argparse
import datetime
import functools
import itertools
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from joblib import Memory, Parallel, delayed
from scipy import ndimage
from scipy.stats import pearsonr, spearmanr
from tqdm import tqdm

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from studies.experiments import commit
from mrilab.methods import reconstruct
from mrilab.metrics import head_mask, percentile, psnr
from mrilab.operators import SenseOperator
from mrilab.reliability import auc, conformal_factor, lesion, matched_filter, place, reliability_curve
from mrilab.masks import equispaced_mask, poisson_disc_mask, random_mask
from mrilab.simulate import simulate_acquisition, smooth_phase
from mrilab.processes import hardware
from mrilab.checks import PLANES
from mrilab.volumes import Acquisition, Volume, load_volume
from mrilab.writing import atomic_path

HERE = Path(__file__).parent
RESULT = HERE / "results" / "limits.json"
HEAD, SLAB, TUMOUR, KNEE = "qtim_MRHead", "colin27_ch2_slab", "qtim_MRBrainTumor2", "mskt_knee_mese"
SIZE = (3, 3, 3)
PRIORS = ("diverse", "fixed_1mm")
MASKS = {"poisson": poisson_disc_mask, "random": random_mask,
         "regular": lambda shape, acceleration, seed: equispaced_mask(shape, acceleration)}
MIMIC = ([0, 0.08, 0.2, 0.45, 0.75, 1.1], [0, 0.1, 1.0, 0.6, 0.35, 0.7])    # T1-like to T2-like grey values

# Conditions of the shifts: what differs from the usual scan.
SHIFTS = {
    "usual": {},
    "after contrast agent": dict(volume=TUMOUR),
    "T2 mimicry": dict(mimic=True),
    "1.5 T, simulated": dict(noise=0.02, phase=0.5, shading=0.0),
    "3 T, simulated": dict(coils=16, phase=1.0, shading=0.1),
    "7 T, simulated": dict(noise=0.0043, coils=32, phase=2.33, shading=0.3),
    "knee": dict(volume=KNEE, voxel_size=(4, 3, 3)),
    "1 coil": dict(coils=1), "4 coils": dict(coils=4), "16 coils": dict(coils=16),
    "random mask": dict(mask="random"), "regular mask": dict(mask="regular"),
    "noise 0.003": dict(noise=0.003), "noise 0.03": dict(noise=0.03), "noise 0.1": dict(noise=0.1),
}
TRIALS = {      # of each condition, on the validation slab
    "cg_sense": [dict(regularization=w, iterations=n, tolerance=0) for w in (0.001, 0.003, 0.01, 0.03, 0.1)
                 for n in (10, 20)],
    "total_variation": [dict(weight=w) for w in (0.0002, 0.0004, 0.001, 0.003, 0.01)],
}
SAMPLER = dict(sigma=(0.1, 0.01), steps=20)     # what data/budgets.py found best for 1,000 evaluations
METHODS = {     # of the lesions: method, prior
    "CG-SENSE": ("cg_sense", None), "total variation": ("total_variation", None),
    "variational, fixed": ("variational", "fixed_1mm"), "variational, diverse": ("variational", "diverse"),
    "DDS": ("dds", "diverse"),
}
SEVERAL = {     # of the uncertainty: six solutions each
    "variational, seeds": ("variational", {}),
    "DDS": ("dds", SAMPLER | dict(eta=1.0)),
    "TPDM": ("tpdm", SAMPLER | dict(eta=1.0, planes=("axial", "sagittal"))),
    "TPDM, sigma 1, eta 0": ("tpdm", dict(sigma=(1.0, 0.01), steps=24, eta=0.0, planes=("axial", "sagittal"))),
}
memory = Memory(HERE.parent / "runs" / "limits", verbose=0)
weights = {name: sha256(locate(name, "prior")) for name in PRIORS}


@functools.lru_cache(maxsize=1)         # the jobs on the same data follow each other
def scan(volume=HEAD, voxel_size=SIZE, acceleration=8, coils=8, noise=0.01, seed=0, mask="poisson", mimic=False,
         phase=1.0, shading=0.0, width=16, start=None):
    """Acquisition and truth of a block of the readout, ``width`` voxels from ``start``, about the middle without.

    ``phase`` multiplies that of :func:`simulate_acquisition`; ``shading`` is the rms of a smooth factor's logarithm.
    """
    volume = load_volume(volume)
    if mimic:
        values = np.interp(volume.data / percentile(volume.data, 0.99), *MIMIC)
        volume = Volume(torch.from_numpy(values), volume.voxel_size)
    volume = volume.resample(voxel_size)
    shape = tuple(volume.data.shape)
    if phase != 1 or shading:
        angle = phase * smooth_phase(shape, torch.Generator().manual_seed(seed))
        factor = shading * smooth_phase(shape, torch.Generator().manual_seed(1000 + seed))
        volume = Volume(volume.data * torch.exp(factor + 1j * angle), volume.voxel_size)
    complete, truth = simulate_acquisition(volume, 1, coils, noise, seed)
    lines = MASKS[mask](shape, acceleration, seed=seed)
    kspace = complete.kspace * lines[..., None]
    acquisition = Acquisition(kspace, complete.maps, lines, complete.voxel_size, noise)
    start = shape[2] // 2 - width // 2 if start is None else start
    return acquisition.readout_block(start, start + width), truth[..., start:start + width]


def solve(method, acquisition, prior="diverse", seed=0, **settings):
    """Magnitude-ready image, and the seconds of the processor."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)        # voxel sizes outside a prior's are what this is about
        result = reconstruct(method, acquisition, prior and load_prior(prior), seed, **settings)
    return result, time.process_time() - begin


@memory.cache
def trial(case, method, settings, weights):
    """Quality of one reconstruction."""
    torch.set_num_threads(1)
    acquisition, truth = scan(**case)
    result, seconds = solve(method, acquisition, seed=case["seed"], **settings)
    return dict(method=method, settings=settings, psnr=psnr(result.image, truth),
                psnr_head=psnr(result.image, truth, head_mask(truth)), misfit=result.misfit, seconds=round(seconds, 2))


def tuned(method, **case):
    """The best trial on the validation slab. The solver keeps its defaults, DDS those of data/budgets.py."""
    if method not in TRIALS:
        return SAMPLER | dict(eta=1.0) if method == "dds" else {}
    trials = [trial(case | dict(volume=SLAB, seed=0), method, settings, weights) for settings in TRIALS[method]]
    return max(trials, key=lambda row: row["psnr"])["settings"]


# --- shifts

def shifts(run, seeds):
    def best(name, method):     # a shift of the volume itself cannot be made on the slab: the usual setting stays
        return tuned(method, **({} if "volume" in SHIFTS[name] else SHIFTS[name]))

    jobs = [(n, seed, m, best(n, m)) for seed in range(seeds) for n in tqdm(SHIFTS, desc="shifts, tuning")
            for m in (*TRIALS, "variational")]
    rows = run("shifts", trial, [(SHIFTS[n] | dict(seed=seed), m, s, weights) for n, seed, m, s in jobs])
    return dict(conditions=SHIFTS, volume=HEAD, readout=16,
                rows=[dict(condition=n, seed=seed) | row for (n, seed, *_), row in zip(jobs, rows)])


# --- the tumour

def tumour_masks(truth):
    """Lesion, its rim, the ring around it and the rest of the head, bool ``(z, y, x)``.

    The meningioma takes up contrast agent: above half of the 99th percentile, opened by a voxel to cut the vessels and
    membranes that shine as well, the piece about the middle of the block, holes filled.
    """
    bright = ndimage.binary_opening(truth.abs().numpy() > 0.5)
    pieces, _ = ndimage.label(bright)
    core = ndimage.binary_fill_holes(pieces == pieces[15, 44, 9])
    grown = {n: ndimage.binary_dilation(core, iterations=n) for n in (1, 3)}
    rim = grown[1] & ~ndimage.binary_erosion(core)
    head = head_mask(truth).numpy()
    return {name: torch.from_numpy(m) for name, m in dict(
        lesion=core, rim=rim, around=grown[3] & ~grown[1] & head, rest=head & ~grown[3]).items()}


def slope(x):
    """Magnitude of the gradient of a real volume, per voxel."""
    return sum(g.square() for g in torch.gradient(x)).sqrt()


@memory.cache
def tumour_job(label, acceleration, seed, weights):
    torch.set_num_threads(1)
    acquisition, truth = scan(volume=TUMOUR, acceleration=acceleration, seed=seed, start=16, width=20)
    method, prior = METHODS[label]
    settings = tuned(method, acceleration=acceleration)
    result, _ = solve(method, acquisition, prior, seed, **settings)
    masks, x, truth = tumour_masks(truth), result.image.abs(), truth.abs()
    error = x - truth

    def contrast(v):
        return (v[masks["lesion"]].mean() - v[masks["around"]].mean()).item()

    def rms(region):
        return error[region].square().mean().sqrt().item()

    steep = slope(truth)
    low, high = torch.quantile(steep[masks["rim"]], torch.tensor([0.25, 0.75]))
    alike = masks["rest"] & (steep > low) & (steep < high)          # other edges as steep as the lesion's
    edge = masks["rim"] & (steep > low) & (steep < high)
    core = torch.from_numpy(ndimage.binary_erosion(masks["lesion"].numpy()))
    texture = [v[core] - torch.from_numpy(ndimage.gaussian_filter(v.numpy(), 1.5))[core] for v in (x, truth)]
    return dict(label=label, acceleration=acceleration, seed=seed, settings=settings, psnr=psnr(x, truth),
                contrast=contrast(x) / contrast(truth), edge=(slope(x)[edge].mean() / steep[edge].mean()).item(),
                edge_elsewhere=(slope(x)[alike].mean() / steep[alike].mean()).item(),
                edge_error=rms(edge), edge_error_elsewhere=rms(alike), error={n: rms(m) for n, m in masks.items()},
                texture=(texture[0].std() / texture[1].std()).item(),
                texture_correlation=pearsonr(*(t.numpy() for t in texture)).statistic.item())


def tumour(run, seeds):
    jobs = [(m, r, seed, weights) for r in (4, 8, 12) for seed in range(seeds) for m in METHODS]
    _, truth = scan(volume=TUMOUR, start=16, width=20)
    return dict(volume=TUMOUR, readout=[16, 36], voxels={n: int(m.sum()) for n, m in tumour_masks(truth).items()},
                rows=run("tumour", tumour_job, jobs))


# --- small lesions

SIZES = (6, 9)                                          # mm
KINDS = tuple(itertools.product(SIZES, (0.05, 0.1, 0.2)))       # and contrast; the brightest tissue is 1


def places(truth, distance=5, seed=0):
    """Voxels in the brain at least ``distance`` apart along an axis: 21 mm below the skin, no ventricle."""
    magnitude = truth.abs()
    inside = torch.from_numpy(ndimage.binary_erosion(head_mask(truth).numpy(), iterations=7, border_value=1))
    local = torch.from_numpy(ndimage.gaussian_filter(magnitude.numpy(), 1))
    generator = np.random.default_rng(seed)
    starts = generator.integers(2, 2 + distance, 3)
    grid = itertools.product(*(range(s, n - 3, distance) for s, n in zip(starts, truth.shape)))
    return [at for at in grid if inside[at] and local[at] > 0.4]


@memory.cache
def lesion_job(label, acceleration, seed, turn, weights):
    """Scores of the matched filters at all places; the kinds of lesion take turns, without a turn there are none."""
    torch.set_num_threads(1)
    acquisition, truth = scan(acceleration=acceleration, seed=seed, width=24)
    balls = {size: lesion(size, acquisition.voxel_size) for size in SIZES}
    centres = places(truth, seed=seed)
    kinds = [KINDS[(n + turn) % len(KINDS)] for n in range(len(centres))] if turn is not None else [None] * len(centres)
    added = sum(c * place(balls[s], [at for at, kind in zip(centres, kinds) if kind == (s, c)], truth.shape)
                for s, c in KINDS) * truth.sgn()
    if label == "truth":
        x = (truth + added).abs()
    else:
        kspace = acquisition.kspace + SenseOperator(acquisition.maps, acquisition.mask).forward(added)
        acquisition = Acquisition(kspace, acquisition.maps, acquisition.mask, acquisition.voxel_size, acquisition.noise)
        method, prior = METHODS[label]
        x = solve(method, acquisition, prior, seed, **tuned(method, acceleration=acceleration))[0].image.abs()
    maps = {(size, known): matched_filter(x - truth.abs() * known, ball)
            for size, ball in balls.items() for known in (True, False)}
    return [dict(size=size, kind=kind, at=at, known=maps[size, True][at].item(), unknown=maps[size, False][at].item())
            for at, kind in zip(centres, kinds) for size in ([kind[0]] if kind else SIZES)]


def lesions(run, seeds):
    turns = [None, *range(0, len(KINDS), 2)]        # every other turn: each place has three of the six kinds
    jobs = [(m, 8, seed, turn, weights) for seed in range(seeds) for m in ("truth", *METHODS) for turn in turns]
    found = [(label, seed, score) for (label, _, seed, *_), scores in zip(jobs, run("lesions", lesion_job, jobs))
             for score in scores]
    absent = {(label, seed, s["size"], s["at"]): s for label, seed, s in found if s["kind"] is None}
    rows = []
    for m, (size, contrast) in itertools.product(("truth", *METHODS), KINDS):
        pairs = [(score, absent[m, seed, size, score["at"]]) for label, seed, score in found
                 if label == m and score["kind"] == (size, contrast)]
        row = dict(label=m, size=size, contrast=contrast, places=len(pairs))
        for kind in ("known", "unknown"):
            present, without = (torch.tensor([score[kind] for score in side]) for side in zip(*pairs))
            row[kind] = auc(present, without)
            if kind == "known":
                kept = (present - without) / contrast         # of the contrast, lesion minus no lesion
                row |= dict(kept=kept.mean().item(), kept_spread=kept.std().item(), false=without.std().item(),
                            present=[round(v, 4) for v in present.tolist()],
                            absent=[round(v, 4) for v in without.tolist()])
        rows.append(row)
    return dict(volume=HEAD, acceleration=8, readout=24, rows=rows)


# --- uncertainty

@memory.cache
def several(volume, method, settings, count, weights):
    """Mean and standard deviation of the magnitudes of ``count`` solutions, and the truth."""
    torch.set_num_threads(1)
    acquisition, truth = scan(volume=volume)
    found = torch.stack([solve(method, acquisition, seed=s, **settings)[0].image.abs() for s in range(count)])
    return found.mean(0), found.std(0), truth.abs(), [psnr(x, truth) for x in found]


def uncertainty(run, seeds):
    jobs = [(v, m, s, 6, weights) for m, s in SEVERAL.values() for v in (SLAB, HEAD)]
    found = run("uncertainty", several, jobs)
    rows = []
    for label, calibration, test in zip(SEVERAL, found[::2], found[1::2]):
        (spread, error), (spread0, error0) = (
            (s[inside] + 1e-4, (mean - truth)[inside].abs())
            for mean, s, truth, _ in (test, calibration) for inside in [head_mask(truth)])
        factor, width = conformal_factor(spread0, error0), error0.quantile(0.9).item()
        covered = error <= factor * spread
        order = spread.argsort()
        tenths = [covered[o].float().mean().item() for o in order.tensor_split(10)]
        flat = [(error[o] <= width).float().mean().item() for o in order.tensor_split(10)]
        curve = [x.tolist() for x in reliability_curve(spread, error)]
        half = test[2].shape[2] // 2
        first = torch.arange(test[2].shape[2])[None, None].expand(test[2].shape)[head_mask(test[2])] < half
        own = conformal_factor(spread[first], error[first])
        rows.append(dict(
            label=label, psnr=float(np.mean(test[3])), psnr_of_mean=psnr(test[0], test[2]),
            spearman=spearmanr(spread, error).statistic.item(), pearson=pearsonr(spread, error).statistic.item(),
            ratio=(error.square().mean().sqrt() / spread.square().mean().sqrt()).item(), curve=curve,
            one_sigma=(error <= spread).float().mean().item(), factor=factor, covered=covered.float().mean().item(),
            covered_tenths=tenths, width=(2 * factor * spread).mean().item(), constant=width,
            covered_constant=(error <= width).float().mean().item(), covered_constant_tenths=flat,
            factor_own=own, covered_own=(error[~first] <= own * spread[~first]).float().mean().item()))
    return dict(calibration=SLAB, test=HEAD, readout=16, solutions=6, level=0.9, rows=rows)


# --- planes

def roughness(error):
    """Change of the error from slice to slice along each axis over what white noise would have: 1 is white."""
    scale = error.square().mean().sqrt() * 2**0.5
    return {plane: (torch.diff(error, dim=axis).square().mean().sqrt() / scale).item()
            for plane, axis in PLANES.items()}


def by_distance(error, inside, distance, edges):
    """Root mean square of the error inside, by distance (voxels) in ``[edge, next edge)``."""
    return [error[inside & (distance >= low) & (distance < high)].square().mean().sqrt().item()
            for low, high in zip(edges, edges[1:])]


@memory.cache
def planes_job(settings, seed, weights):
    torch.set_num_threads(1)
    acquisition, truth = scan(seed=seed)
    result, seconds = solve("variational", acquisition, seed=seed, **settings)
    return dict(settings=settings, seed=seed, psnr=psnr(result.image, truth), seconds=round(seconds, 2),
                evaluations=result.network_evaluations, roughness=roughness(result.image.abs() - truth.abs()))


@memory.cache
def borders_job(settings, seed, weights):
    """Error by distance to the ends of a block of the readout, of the block by itself and cut from the whole head."""
    torch.set_num_threads(1)
    shape = load_volume(HEAD).resample(SIZE).data.shape
    acquisition, truth = scan(seed=seed, width=shape[2])
    whole = solve("variational", acquisition, seed=seed, **settings)[0].image.abs()
    start, stop = shape[2] // 2 - 8, shape[2] // 2 + 8
    alone = solve("variational", acquisition.readout_block(start, stop), seed=seed, **settings)[0].image.abs()
    x = torch.arange(16)
    distance = torch.minimum(x, 15 - x)[None, None].expand(alone.shape)
    part, inside = truth.abs()[..., start:stop], head_mask(truth)[..., start:stop]
    edges = [0, 1, 2, 3, 4, 6, 8]
    faces = torch.stack([torch.minimum(p, n - 1 - p).reshape([-1 if a == axis else 1 for a in range(3)]).expand(shape)
                         for axis, n in enumerate(shape) for p in [torch.arange(n)]]).amin(0)
    relative = (whole - truth.abs()) / truth.abs().clamp_min(0.1)
    far = [0, 2, 3, 4, 6, 8, 11, 16]
    return dict(settings=settings, seed=seed, edges=edges, alone=by_distance(alone - part, inside, distance, edges),
                cut=by_distance(whole[..., start:stop] - part, inside, distance, edges), volume_edges=far,
                volume=by_distance(whole - truth.abs(), head_mask(truth), faces, far),
                volume_relative=by_distance(relative, head_mask(truth), faces, far))


def planes(run, seeds):
    combinations = [list(c) for n in (1, 2, 3) for c in itertools.combinations(PLANES, n)]
    changes = ([dict(planes=c) for c in combinations] + [dict(slab=n) for n in (2, 5, 10)]
               + [dict(fraction=f) for f in (1 / 24, 1 / 12, 1.0)])
    rows = run("planes", planes_job, [(c, seed, weights) for seed in range(seeds) for c in changes])
    borders = run("borders", borders_job, [(c, 0, weights) for c in ({}, dict(planes=["axial"]))])
    return dict(volume=HEAD, readout=16, rows=rows, borders=borders)


PARTS = dict(shifts=shifts, tumour=tumour, lesions=lesions, uncertainty=uncertainty, planes=planes)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"some of {', '.join(PARTS)}; all without")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2, help="of phase, mask and noise; not for the uncertainty")
    options = parser.parse_args()
    torch.set_num_threads(1)

    def run(what, function, jobs):
        pool = Parallel(n_jobs=options.jobs, return_as="generator")
        return list(tqdm(pool(delayed(function)(*job) for job in jobs), desc=what, total=len(jobs)))

    for name in options.parts or PARTS:
        part = dict(hardware=hardware(), commit=commit(), date=datetime.date.today().isoformat(), weights=weights,
                    voxel_size=SIZE, seeds=options.seeds, **PARTS[name](run, options.seeds))
        whole = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        with atomic_path(RESULT) as temporary:
            temporary.write_text(json.dumps(whole | {name: part}, indent=1) + "\n")
