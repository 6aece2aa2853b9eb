"""Where the methods end: other scans than the prior's, a tumour, small lesions, uncertainty, planes that disagree.

3 mm, R = 8, eight coils, noise 0.01 and a block of the readout unless a part says otherwise. CG-SENSE and total
variation are tuned on the validation slab for each condition and acceleration. The solver keeps its defaults, the
samplers what the study `samplers` found. Seconds are those of the processor. One seed of phase, mask and noise.
"""

import functools
import itertools
import json

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import pearsonr, spearmanr

from mrilab.checks import PLANES
from mrilab.metrics import head_mask, percentile, psnr
from mrilab.operators import SenseOperator
from mrilab.reliability import auc, conformal_factor, lesion, matched_filter, place, reliability_curve
from mrilab.simulate import smooth_phase
from mrilab.trials import at_edge, best_trial
from mrilab.volumes import Acquisition, Volume, load_volume

from .scans import HEAD, KNEE, SLAB, TUMOUR, acquired, solve
from .tuning import say_edges

RESULTS = ["limits.json"]
SIZE, SEEDS = [3, 3, 3], 1
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
    "cg_sense": [dict(regularization=w, iterations=n, tolerance=0) for n in (5, 10, 20, 40, 80)
                 for w in (0.000001, 0.00001, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)],
    "l1_wavelet": [dict(weight=w)
                   for w in (0.00001, 0.00003, 0.0001, 0.0003, 0.0006, 0.001, 0.002, 0.004, 0.01)],
    "total_variation": [dict(weight=w)
                        for w in (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0004, 0.001, 0.003, 0.01)],
}
SAMPLER = dict(sigma=[0.03, 0.01], steps=20)    # what samplers found best for 1,000 evaluations
METHODS = {     # of the lesions: method, prior
    "CG-SENSE": ("cg_sense", None), "total variation": ("total_variation", None),
    "variational, fixed": ("variational", "fixed_1mm"), "variational, diverse": ("variational", "diverse"),
    "DDS": ("dds", "diverse"),
}
SEVERAL = {     # of the uncertainty: six solutions each
    "variational, seeds": ("variational", {}),
    "DDS": ("dds", SAMPLER | dict(eta=1.0)),
    "TPDM": ("tpdm", SAMPLER | dict(eta=1.0, planes=["axial", "sagittal"])),
    "TPDM, sigma 1, eta 0": ("tpdm", dict(sigma=[1.0, 0.01], steps=24, eta=0.0, planes=["axial", "sagittal"])),
}


def scan(volume=HEAD, voxel_size=SIZE, acceleration=8, coils=8, noise=0.01, seed=0, mask="poisson", mimic=False,
         phase=1.0, shading=0.0, block=(-8, 8)):
    """Acquisition and truth of a block of the readout, or of all of it.

    ``phase`` multiplies that of :func:`mrilab.simulate.simulate_acquisition`; ``shading`` is the rms of a smooth
    factor's logarithm.
    """
    return _scan(json.dumps([volume, voxel_size, acceleration, coils, noise, seed, mask, mimic, phase, shading, block]))


@functools.lru_cache(maxsize=1)         # the jobs on the same data follow each other
def _scan(asked):
    volume, voxel_size, acceleration, coils, noise, seed, mask, mimic, phase, shading, block = json.loads(asked)
    volume = load_volume(volume)
    if mimic:
        values = np.interp(volume.data / percentile(volume.data, 0.99), *MIMIC)
        volume = Volume(torch.from_numpy(values), volume.voxel_size)
    shape = tuple(volume.data.shape)
    if phase != 1 or shading:
        angle = phase * smooth_phase(shape, torch.Generator().manual_seed(seed))
        factor = shading * smooth_phase(shape, torch.Generator().manual_seed(1000 + seed))
        volume = Volume(volume.data * torch.exp(factor + 1j * angle), volume.voxel_size)
    return acquired(volume, tuple(voxel_size), acceleration, block, seed, coils, noise, mask)


def trial(case, method, settings, prior=None, device="cpu"):
    """Quality of one reconstruction."""
    acquisition, truth = scan(**case)
    result, seconds = solve(acquisition, method, prior, settings, case["seed"], device=device)
    return dict(psnr=psnr(result.image, truth), psnr_head=psnr(result.image, truth, head_mask(truth)),
                misfit=result.misfit, seconds=round(seconds, 2))


def tuned(run, cases):
    """Of each case and method, the best trial on the validation slab: lists of settings by method.

    The solver keeps its defaults, DDS those of the study `samplers`.
    """
    asked = [[dict(case=dict(voxel_size=SIZE) | case | dict(volume=SLAB, seed=0), method=m, settings=s)
              for s in TRIALS[m]] for case in cases for m in TRIALS]
    found = iter(run.rows(trial, list(itertools.chain(*asked))))
    best = []
    for tried in ([next(found) for _ in one] for one in asked):
        best.append(best_trial(tried)["settings"])
        say_edges(f"limits: {tried[0]['method']}, {best[-1]}, {tried[0]['case']}",
                  at_edge(dict.fromkeys(best[-1].keys() - {"tolerance"}, ()), tried))
    return dict(zip(TRIALS, (best[i::len(TRIALS)] for i in range(len(TRIALS))))) | {
        "variational": [{}] * len(cases), "dds": [SAMPLER | dict(eta=1.0)] * len(cases)}


# --- shifts

def shifts(run):
    # a shift of the volume itself cannot be made on the slab: the usual setting stays
    best = tuned(run, [{} if "volume" in case else case for case in SHIFTS.values()])
    jobs = [(name, dict(case=dict(voxel_size=SIZE) | case | dict(seed=seed), method=m, settings=best[m][i])
             | (dict(prior="diverse") if m == "variational" else {}))
            for seed in range(SEEDS) for i, (name, case) in enumerate(SHIFTS.items())
            for m in (*TRIALS, "variational")]
    rows = run.rows(trial, [asked for _, asked in jobs])
    return dict(conditions=SHIFTS, volume=HEAD, readout=16, rows=[
        dict(condition=name, seed=row["case"]["seed"]) | {k: v for k, v in row.items() if k not in ("case", "prior")}
        for (name, _), row in zip(jobs, rows)])


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


def tumour_job(solver, prior, settings, acceleration, seed, device="cpu"):
    acquisition, truth = scan(volume=TUMOUR, acceleration=acceleration, seed=seed, block=(-12, 8))
    result, _ = solve(acquisition, solver, prior, settings, seed, device=device)
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
    return dict(psnr=psnr(x, truth), contrast=contrast(x) / contrast(truth),
                edge=(slope(x)[edge].mean() / steep[edge].mean()).item(),
                edge_elsewhere=(slope(x)[alike].mean() / steep[alike].mean()).item(),
                edge_error=rms(edge), edge_error_elsewhere=rms(alike), error={n: rms(m) for n, m in masks.items()},
                texture=(texture[0].std() / texture[1].std()).item(),
                texture_correlation=pearsonr(*(t.numpy() for t in texture)).statistic.item())


def tumour(run):
    rates = (4, 8, 12)
    best = tuned(run, [dict(acceleration=r) for r in rates])
    jobs = [(label, dict(solver=m, prior=prior, settings=best[m][i], acceleration=r, seed=seed))
            for i, r in enumerate(rates) for seed in range(SEEDS) for label, (m, prior) in METHODS.items()]
    rows = run.rows(tumour_job, [asked for _, asked in jobs])
    _, truth = scan(volume=TUMOUR, block=(-12, 8))
    return dict(volume=TUMOUR, readout=[16, 36], voxels={n: int(m.sum()) for n, m in tumour_masks(truth).items()},
                rows=[dict(label=label) | {k: v for k, v in row.items() if k not in ("solver", "prior")}
                      for (label, _), row in zip(jobs, rows)])


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


def scores(acquisition, truth, method, prior, settings, seed, kinds, device):
    """Of the matched filters at all places; ``kinds`` of lesion lie there, None: none. Without a method, the truth."""
    balls = {size: lesion(size, acquisition.voxel_size) for size in SIZES}
    centres = places(truth, seed=seed)
    kinds = [kinds[n % len(kinds)] for n in range(len(centres))]
    added = sum(c * place(balls[s], [at for at, kind in zip(centres, kinds) if kind == (s, c)], truth.shape)
                for s, c in KINDS) * truth.sgn()
    if method is None:
        x = (truth + added).abs()
    else:
        kspace = acquisition.kspace + SenseOperator(acquisition.maps, acquisition.mask).forward(added)
        acquisition = Acquisition(kspace, acquisition.maps, acquisition.mask, acquisition.voxel_size, acquisition.noise)
        x = solve(acquisition, method, prior, settings, seed, device=device)[0].image.abs()
    maps = {(size, known): matched_filter(x - truth.abs() * known, ball)
            for size, ball in balls.items() for known in (True, False)}
    return [dict(size=size, kind=kind, at=at, known=maps[size, True][at].item(), unknown=maps[size, False][at].item())
            for at, kind in zip(centres, kinds) for size in ([kind[0]] if kind else SIZES)]


def lesion_job(solver, prior, settings, seed, turns, device="cpu"):
    """Scores without lesions, and with them; the kinds take turns at the places."""
    data = scan(seed=seed, block=(-12, 12))
    return dict(absent=scores(*data, solver, prior, settings, seed, [None], device), present=[
        one for turn in turns
        for one in scores(*data, solver, prior, settings, seed, [*KINDS[turn:], *KINDS[:turn]], device)])


def lesions(run):
    best = tuned(run, [dict(acceleration=8)])
    ways = {"truth": (None, None)} | METHODS
    turns = list(range(0, len(KINDS), 2))           # every other turn: each place has three of the six kinds
    found = run.rows(lesion_job, [dict(solver=m, prior=prior, settings=best[m][0] if m else {}, seed=seed, turns=turns)
                                  for m, prior in ways.values() for seed in range(SEEDS)])
    rows = []
    for (label, (size, contrast)) in itertools.product(ways, KINDS):
        pairs = []
        for row in found[list(ways).index(label) * SEEDS:][:SEEDS]:
            absent = {(s["size"], tuple(s["at"])): s for s in row["absent"]}
            pairs += [(s, absent[size, tuple(s["at"])]) for s in row["present"] if s["kind"] == [size, contrast]]
        line = dict(label=label, size=size, contrast=contrast, places=len(pairs))
        for kind in ("known", "unknown"):
            present, without = (torch.tensor([score[kind] for score in side]) for side in zip(*pairs))
            line[kind] = auc(present, without)
            if kind == "known":
                kept = (present - without) / contrast         # of the contrast, lesion minus no lesion
                line |= dict(kept=kept.mean().item(), kept_spread=kept.std().item(), false=without.std().item(),
                             present=[round(v, 4) for v in present.tolist()],
                             absent=[round(v, 4) for v in without.tolist()])
        rows.append(line)
    return dict(volume=HEAD, acceleration=8, readout=24, rows=rows)


# --- uncertainty

def several(volume, voxel_size, method, prior, settings, count, device="cpu"):
    """Mean and standard deviation of the magnitudes of ``count`` solutions, and the truth."""
    acquisition, truth = scan(volume=volume, voxel_size=voxel_size)
    found = torch.stack([solve(acquisition, method, prior, settings, s, device=device)[0].image.abs()
                         for s in range(count)])
    return dict(mean=found.mean(0), spread=found.std(0), truth=truth.abs(), psnr=[psnr(x, truth) for x in found])


def calibrated(test, calibration):
    """How well the spread of the solutions tells the error, and an interval from it covers the truth."""
    (spread, error), (spread0, error0) = (
        (row["spread"][inside] + 1e-4, (row["mean"] - row["truth"])[inside].abs())
        for row in (test, calibration) for inside in [head_mask(row["truth"])])
    factor, width = conformal_factor(spread0, error0), error0.quantile(0.9).item()
    covered = error <= factor * spread
    order = spread.argsort()
    tenths = [covered[o].float().mean().item() for o in order.tensor_split(10)]
    flat = [(error[o] <= width).float().mean().item() for o in order.tensor_split(10)]
    truth = test["truth"]
    first = torch.arange(truth.shape[2])[None, None].expand(truth.shape)[head_mask(truth)] < truth.shape[2] // 2
    own = conformal_factor(spread[first], error[first])
    return dict(
        psnr=float(np.mean(test["psnr"])), psnr_of_mean=psnr(test["mean"], truth),
        spearman=spearmanr(spread, error).statistic.item(), pearson=pearsonr(spread, error).statistic.item(),
        ratio=(error.square().mean().sqrt() / spread.square().mean().sqrt()).item(),
        curve=[x.tolist() for x in reliability_curve(spread, error)],
        one_sigma=(error <= spread).float().mean().item(), factor=factor, covered=covered.float().mean().item(),
        covered_tenths=tenths, width=(2 * factor * spread).mean().item(), constant=width,
        covered_constant=(error <= width).float().mean().item(), covered_constant_tenths=flat,
        factor_own=own, covered_own=(error[~first] <= own * spread[~first]).float().mean().item())


def uncertainty(run):
    found = run.rows(several, [dict(volume=v, voxel_size=SIZE, method=m, prior="diverse", settings=s, count=6)
                               for m, s in SEVERAL.values() for v in (SLAB, HEAD)])
    return dict(calibration=SLAB, test=HEAD, readout=16, solutions=6, level=0.9,
                rows=[dict(label=label) | calibrated(test, calibration)
                      for label, calibration, test in zip(SEVERAL, found[::2], found[1::2])])


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


def planes_job(settings, seed, prior, iterations, device="cpu"):
    acquisition, truth = scan(seed=seed)
    result, seconds = solve(acquisition, "variational", prior, settings | dict(iterations=iterations), seed,
                            device=device)
    return dict(psnr=psnr(result.image, truth), seconds=round(seconds, 2), evaluations=result.network_evaluations,
                roughness=roughness(result.image.abs() - truth.abs()))


def borders_job(settings, seed, prior, iterations, device="cpu"):
    """Error by distance to the ends of a block of the readout, of the block by itself and cut from the whole head."""
    acquisition, truth = scan(seed=seed, block=None)
    shape = truth.shape
    start, stop = shape[2] // 2 - 8, shape[2] // 2 + 8
    whole, alone = (
        solve(part, "variational", prior, settings | dict(iterations=iterations), seed, device=device)[0].image.abs()
        for part in (acquisition, acquisition.readout_block(start, stop)))
    x = torch.arange(16)
    distance = torch.minimum(x, 15 - x)[None, None].expand(alone.shape)
    part, inside = truth.abs()[..., start:stop], head_mask(truth)[..., start:stop]
    edges = [0, 1, 2, 3, 4, 6, 8]
    faces = torch.stack([torch.minimum(p, n - 1 - p).reshape([-1 if a == axis else 1 for a in range(3)]).expand(shape)
                         for axis, n in enumerate(shape) for p in [torch.arange(n)]]).amin(0)
    relative = (whole - truth.abs()) / truth.abs().clamp_min(0.1)
    far = [0, 2, 3, 4, 6, 8, 11, 16]
    return dict(edges=edges, alone=by_distance(alone - part, inside, distance, edges),
                cut=by_distance(whole[..., start:stop] - part, inside, distance, edges), volume_edges=far,
                volume=by_distance(whole - truth.abs(), head_mask(truth), faces, far),
                volume_relative=by_distance(relative, head_mask(truth), faces, far))


def planes(run):
    combinations = [list(c) for n in (1, 2, 3) for c in itertools.combinations(PLANES, n)]
    changes = ([dict(planes=c) for c in combinations] + [dict(slab=n) for n in (2, 5, 10)]
               + [dict(fraction=f) for f in (1 / 24, 1 / 12, 1.0)])
    common = dict(prior="diverse", iterations=16)
    rows, borders = ([{k: v for k, v in row.items() if k not in common} for row in run.rows(function, asked)]
                     for function, asked in (
        (planes_job, [dict(settings=c, seed=seed) | common for seed in range(SEEDS) for c in changes]),
        (borders_job, [dict(settings=c, seed=0) | common for c in ({}, dict(planes=["axial"]))])))
    return dict(volume=HEAD, readout=16, rows=rows, borders=borders)


def study(run):
    parts = {part.__name__: part(run) for part in (shifts, tumour, lesions, uncertainty, planes)}
    made = run.made() | dict(voxel_size=SIZE, seeds=SEEDS)
    return {name: made | part for name, part in parts.items()}
