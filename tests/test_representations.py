"""The two grids agree where they must, the maps are what they say, and a dozen lines make a solver of any of them."""

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from test_diffusion import Oracle

from mrilab import representations
from mrilab.diffusion import Prior
from mrilab.fourier import resample
from mrilab.priors import load_prior
from mrilab.problem import Problem
from mrilab.representations import (
    INTERPOLATIONS,
    NAMES,
    Gaussians,
    Grid,
    NeuralField,
    interpolation,
    represent,
    rotations,
)
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.variational import denoised_average, reconstruct
from mrilab.volumes import Acquisition

SMALL = dict(gaussian=dict(count=50, iterations=5), neural_field=dict(width=8, iterations=5))


def randn(*shape, seed=0, dtype=torch.complex64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def centres(shape, field_of_view):
    """Voxel centres in mm, one array for each axis."""
    return [(torch.arange(n) - n // 2) * (L / n) for n, L in zip(shape, field_of_view)]


def sampled(function, shape, field_of_view):
    return function(*torch.meshgrid(*centres(shape, field_of_view), indexing="ij")).to(torch.complex64)


def tiny():
    k = randn(1, 4, 5, 6)
    return Acquisition(k, torch.ones_like(k), torch.ones(4, 5), (1, 1, 1), noise=0.1)


def white(*voxel_sizes):
    return Prior(Oracle(), voxel_sizes)


@pytest.fixture(scope="module")
def scan():
    return simulate_acquisition(head_phantom((12, 12, 16)), acceleration=2, coils=4)[0]


@pytest.fixture
def problem(scan):
    return Problem(scan, white(1, 20))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_identical_grids_are_left_alone_and_constants_kept(kind, antialias):
    for n in (1, 6, 7):
        assert torch.allclose(interpolation(n, n, kind, antialias=antialias).abs(), torch.eye(n), atol=1e-6)
    for n, m in ((6, 12), (12, 6), (7, 10), (10, 7), (9, 3), (1, 4), (5, 1)):
        assert torch.allclose(interpolation(n, m, kind, antialias=antialias).sum(dim=1).abs(), torch.ones(m), atol=1e-5)


def test_larger_voxels_are_means_and_look_at_every_sample():
    nearest, trilinear = (interpolation(15, 5, kind) for kind in ("nearest", "trilinear"))
    assert torch.allclose(nearest[2, 6:9], torch.full((3,), 1 / 3)) and nearest[2].count_nonzero() == 3
    assert torch.allclose(trilinear[2, 5:10], torch.tensor([1.0, 2, 3, 2, 1]) / 9) and trilinear[2].count_nonzero() == 5
    for kind in ("nearest", "trilinear"):
        for n, m in ((15, 5), (10, 7), (12, 6)):
            assert (interpolation(n, m, kind).sum(dim=0) > 0).all()
        assert (interpolation(15, 5, kind, antialias=False).sum(dim=0) > 0).sum() == 5


@pytest.mark.parametrize("prior_voxel_size", [(1, 1, 1), (3, 2, 1.2), (2, 6, 1)])
@pytest.mark.parametrize("shape", [(8, 9, 10), (7, 12, 5)])
def test_fourier_is_the_resampling_of_a_scanner(shape, prior_voxel_size):
    """What the acquisition measured is not changed, and the prior sees what resample makes of it."""
    start = randn(*shape)
    x = represent("fourier", start, (2, 2, 2), prior_voxel_size)
    assert relative(x.image(), start) < 1e-5
    assert relative(x.prior_image(), resample(start, (2, 2, 2), prior_voxel_size)) < 1e-5


@pytest.mark.parametrize("shapes", [((10, 9, 11), (20, 18, 22)), ((10, 9, 11), (15, 12, 16)), ((12, 15, 9), (4, 5, 3)),
                                    ((10, 9, 11), (7, 18, 11))])
@pytest.mark.parametrize("kind, exact", [
    ("nearest", lambda z, y, x: 0.7 + 0 * x),
    ("trilinear", lambda z, y, x: 0.7 + 0.2 * z - 0.1 * y + 0.3 * x + 0.01 * x * y * z),
    ("fourier", lambda z, y, x: torch.exp(2j * torch.pi * (z / 30 - y / 27 + x / 33)))])
@pytest.mark.parametrize("antialias", [True, False])
def test_exact_on_what_it_can_represent(kind, exact, shapes, antialias):
    """On both grids stand the values of the function there, of points or of means, away from the rim."""
    if kind == "trilinear" and antialias and shapes[1] in ((15, 12, 16), (7, 18, 11)):
        pytest.skip("a mean over one and a half voxels is not symmetric about the centre")
    field_of_view = (30, 27, 33)
    voxel_size, prior_voxel_size = (tuple(L / n for L, n in zip(field_of_view, s)) for s in shapes)
    x = represent(kind, sampled(exact, shapes[0], field_of_view), voxel_size, prior_voxel_size, antialias=antialias)
    assert x.prior_voxel_size == pytest.approx(prior_voxel_size)
    for found, shape in ((x.image(), shapes[0]), (x.prior_image(), shapes[1])):
        wanted = sampled(exact, shape, field_of_view)
        if kind == "trilinear":         # beyond the last sample it is repeated
            inside = tuple(slice(2, -2) if min(s[a] for s in shapes) > 5 else slice(1, -1) for a in range(3))
            found, wanted = found[inside], wanted[inside]
        assert torch.allclose(found, wanted, atol=2e-4)


def test_voxel_centres_are_those_of_the_fourier_transform():
    """A smooth blob off the centre, on 2, 3 and 1.4 mm: trilinear stays within curvature, nearest within half a voxel.

    A grid that lay half a voxel elsewhere would change the values by slope times half a voxel, 0.1 here.
    """
    def blob(z, y, x):
        return torch.exp(-((z - 3)**2 + (y + 4)**2 + (x - 2)**2) / (2 * 9**2))

    shape, field_of_view = (40, 42, 44), (80, 84, 88)
    start = sampled(blob, shape, field_of_view)
    for d in (1.4, 3):
        for kind, bound in (("fourier", 0.002), ("trilinear", 0.03), ("nearest", 0.15)):
            x = represent(kind, start, (2, 2, 2), (d, d, d))
            wanted = sampled(blob, x.prior_image().shape, field_of_view)
            error = x.prior_image() - wanted
            assert error.abs().max() < bound
            if kind != "nearest":       # and no shift on the whole
                slope = torch.gradient(wanted.real, dim=2)[0]
                assert abs((error.real * slope).sum() / slope.square().sum()) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_both_grids_agree_when_they_coincide(name):
    start = randn(6, 7, 8)
    x = represent(name, start, (2, 1, 1.5), **SMALL.get(name, {}))
    assert torch.equal(x.image(), x.prior_image()) and x.prior_voxel_size == (2, 1, 1.5) and x.volume == 1
    if name in ("voxel", *INTERPOLATIONS):
        assert torch.equal(x.image(), start)


@pytest.mark.parametrize("name", NAMES[1:])
def test_both_grids_show_one_object_in_mm(name):
    """At 3 mm and at 1 mm every third voxel centre of the finer grid is one of the coarser grid."""
    start = sampled(lambda z, y, x: torch.exp(-(z**2 + (y - 2)**2 + x**2) / 50), (7, 9, 6), (21, 27, 18))
    x = represent(name, start, (3, 3, 3), (1, 1, 1), **SMALL.get(name, dict(antialias=False)))
    fine = x.prior_image()
    picked = [(torch.arange(n) - n // 2) * 3 + m // 2 for n, m in zip(start.shape, fine.shape)]
    for axis, indices in enumerate(picked):
        fine = fine.index_select(axis, indices)
    assert relative(fine, x.image()) < (1e-3 if name == "fourier" else 1e-5)    # an even matrix is not symmetric


@pytest.mark.parametrize("kind", INTERPOLATIONS)
@pytest.mark.parametrize("size, prior_size", [((12, 12, 16), (7, 9, 16)), ((12, 12, 16), (25, 12, 16)),
                                              ((12, 12, 16), (9, 30, 11))])
def test_fit_of_a_grid_minimises_its_objective(scan, problem, kind, size, prior_size):
    """Where conjugate gradients stop, the gradient of the objective, by autograd through A itself, is zero.

    Voxels finer and coarser than the acquisition's, and both in one volume.
    """
    x = represent(kind, problem.start, size, prior_size)
    target = x.prior_image().detach() + 0.3 * randn(*x.prior_image().shape)
    rho = 0.2
    x.fit(problem, target, rho, iterations=300)
    weight = rho * np.prod(x.prior_voxel_size) / np.prod(size)
    residual = problem.operator.forward(x.image()) - scan.kspace / problem.scale
    objective = residual.abs().square().sum() + weight * (x.prior_image() - target).abs().square().sum()
    gradient = torch.autograd.grad(objective, x.samples)[0]
    assert gradient.norm() < 1e-3 * 2 * problem.measured.norm()
    x.samples.data += 0.01 * randn(*x.samples.shape, seed=1, dtype=torch.float32)
    residual = problem.operator.forward(x.image()) - scan.kspace / problem.scale
    assert residual.abs().square().sum() + weight * (x.prior_image() - target).abs().square().sum() > objective


def test_fit_of_voxels_is_the_data_step_to_the_bit(problem):
    x = represent("voxel", problem.start, problem.voxel_size)
    target = 0.9 * problem.start
    before = problem.applications
    expected = problem.data_step(target, 0.03, problem.start, 4)
    between = problem.applications
    x.fit(problem, target, 0.03, 4)
    assert torch.equal(x.image(), expected) and problem.applications - between == between - before == 5


@pytest.mark.parametrize("prior_voxel_size", [(1, 1, 1), (2, 3, 1.5), (0.8, 2.5, 2)])
def test_gaussians_against_a_sum_over_all_voxels(prior_voxel_size):
    """With scipy's rotations, another cell for every voxel, and no blocks."""
    x = represent("gaussian", randn(7, 6, 9), (1, 1, 2), prior_voxel_size, count=20, iterations=0)
    with torch.no_grad():
        x.quaternion += randn(20, 4, seed=1, dtype=torch.float32)
        x.log_scale += 0.5 * randn(20, 3, seed=2, dtype=torch.float32)
        x.position[0, 2] = 14.0             # outside of the field of view
    R = Rotation.from_quat(x.quaternion.detach().roll(-1, dims=-1).numpy()).as_matrix()
    assert np.allclose(rotations(x.quaternion).detach(), R, atol=1e-5)
    for found in (x.image(), x.prior_image()):
        grid = torch.cartesian_prod(*centres(found.shape, (7, 6, 18))).numpy()
        away = grid[:, None] - x.position.detach().numpy()
        u = np.einsum("pij,vpi->vpj", R, away) / x.log_scale.exp().detach().numpy()
        q = (u**2).sum(-1)
        dense = np.where(q <= 9, np.exp(-q / 2), 0) @ x.amplitude.detach().numpy()
        assert np.abs(found.detach().numpy().ravel() - dense).max() < 1e-4 * np.abs(dense).max()


@pytest.mark.parametrize("kind, options", [
    (Grid, dict(kind="trilinear")), (Grid, dict(kind="fourier")), (Gaussians, dict(count=9, iterations=1)),
    (NeuralField, dict(width=6, iterations=1, points=50))])
def test_gradients_by_finite_differences(kind, options):
    """Along a random direction for each parameter, of a random linear function of both grids."""
    x = kind(randn(4, 5, 3, dtype=torch.complex128), (1, 1.2, 2), (1.5, 0.7, 2), **options)
    with torch.no_grad():
        for i, parameter in enumerate(x.parameters()):
            parameter += 0.2 * randn(*parameter.shape, seed=i, dtype=parameter.dtype)
    weights = [randn(*grid.shape, seed=9, dtype=torch.complex128) for grid in (x.image(), x.prior_image())]

    def value():
        return sum((w.conj() * grid).real.sum() for w, grid in zip(weights, (x.image(), x.prior_image())))

    gradients = torch.autograd.grad(value(), list(x.parameters()))
    for i, (parameter, gradient) in enumerate(zip(x.parameters(), gradients)):
        direction = randn(*parameter.shape, seed=20 + i, dtype=parameter.dtype)
        with torch.no_grad():
            parameter += 1e-6 * direction
            above = value()
            parameter -= 2e-6 * direction
            below = value()
            parameter += 1e-6 * direction
        expected = (gradient.conj() * direction).real.sum().item()
        assert ((above - below) / 2e-6).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name, options", [("gaussian", dict(count=40, iterations=0)),
                                           ("neural_field", dict(width=8, iterations=0))])
def test_work_in_blocks_equals_work_in_one_piece(name, options):
    start, small = randn(6, 7, 5), dict(gaussian=dict(pairs=1), neural_field=dict(points=7))[name]
    x, y = (represent(name, start, (1, 1, 2), (1.7, 1, 1), **options, **more) for more in ({}, small))
    gradients = []
    for each in (x, y):
        image = each.prior_image()
        image.backward(randn(*image.shape))
        gradients.append(torch.cat([p.grad.flatten().abs() for p in each.parameters()]))
    assert relative(y.prior_image(), x.prior_image()) < 1e-5 and relative(gradients[1], gradients[0]) < 1e-4


def test_gaussians_find_back_to_an_image_of_gaussians():
    """A mixture disturbed in every parameter and fitted to the image of the undisturbed one."""
    truth = represent("gaussian", head_phantom((12, 12, 12)).data.to(torch.complex64), (12, 12, 12), count=200)
    image = truth.image().detach()
    x = Gaussians(image, (12, 12, 12), (12, 12, 12), count=200, iterations=0)
    for p, q in zip(x.parameters(), truth.parameters()):
        p.data = q + 0.1 * q.abs().mean() * randn(*q.shape, dtype=q.dtype)
    before = relative(x.image(), image)
    x._warm_start(lambda: x.image().backward(2 * (x.image().detach() - image)), 60)
    assert before > 0.2 and relative(x.image(), image) < 0.05


def test_warm_starts_reach_the_start_image():
    """The stated errors: 10 % with a Gaussian for every five voxels, 30 % with a narrow network."""
    start = head_phantom((9, 9, 9)).data.to(torch.complex64)
    assert relative(represent("gaussian", start, (9, 9, 9)).image(), start) < 0.1
    assert relative(represent("neural_field", start, (9, 9, 9), width=64, batch=2**11).image(), start) < 0.3


def test_amplitudes_are_fitted_by_least_squares(scan, problem):
    """After many conjugate gradients, and without Adam, no change of the amplitudes lowers the objective."""
    x = represent("gaussian", problem.start, problem.voxel_size, (9, 12, 20), count=60, iterations=10)
    x.optimizer.step = lambda: None
    target = x.prior_image().detach() + 0.3 * randn(*x.prior_shape)
    x.fit(problem, target, 0.2, 400)
    residual = problem.operator.forward(x.image()) - scan.kspace / problem.scale
    objective = residual.abs().square().sum() + 0.2 * x.volume * (x.prior_image() - target).abs().square().sum()
    gradient = torch.autograd.grad(objective, x.amplitude)[0]
    assert gradient.norm() < 1e-3 * 2 * torch.autograd.grad(x.image(), x.amplitude, problem.measured)[0].norm()


@pytest.mark.parametrize("name", ["gaussian", "neural_field"])
def test_fit_lowers_its_objective(scan, problem, name):
    x = represent(name, problem.start, problem.voxel_size, (9, 12, 20),
                  **dict(gaussian=dict(iterations=30), neural_field=dict(width=32, iterations=100, batch=2**11))[name])
    target = x.prior_image().detach() * 0.5

    def objective():
        residual = problem.operator.forward(x.image()) - scan.kspace / problem.scale
        weight = np.prod(x.prior_voxel_size) / np.prod(problem.voxel_size)
        return (residual.abs().square().sum() + weight * (x.prior_image() - target).abs().square().sum()).item()

    first, used = objective(), problem.applications
    x.fit(problem, target, 1, 8)
    assert objective() < 0.9 * first
    assert problem.applications - used == (4 * 8 if name == "neural_field" else 8 + 1 + 2)


def solve(scan, name, prior_voxel_size, tau, levels, **options):
    """The solver in a dozen lines: denoise on the prior's grid, then the data step."""
    problem = Problem(scan, white(1, 20))
    x = represent(name, problem.start, problem.voxel_size, prior_voxel_size, **options)
    for sigma in levels:
        target = tau**2 / (tau**2 + sigma**2) * x.prior_image().detach()       # the denoiser of white images
        x.fit(problem, target, (problem.noise / sigma)**2, 30)
    return x.image().detach()


@pytest.mark.parametrize("prior_voxel_size", [(6, 6, 16), (7.7, 9, 11)])
def test_rho_means_the_same_on_every_grid(scan, prior_voxel_size):
    """A prior that knows white images only cannot tell a zero-padded k-space from the original: by Parseval, the
    Fourier grid has the solution of the voxel grid. Without the volume of a voxel it has not.
    """
    levels = (0.3,) * 8
    expected = solve(scan, "voxel", None, 0.5, levels)
    assert relative(solve(scan, "fourier", prior_voxel_size, 0.5, levels), expected) < 1e-3


@pytest.mark.filterwarnings("ignore:voxel size")
def test_reconstruct_with_voxels_is_the_plain_loop_to_the_bit(scan, monkeypatch):
    monkeypatch.setattr(representations, "TOLERANCE", 1e-6)             # that of the plain data step
    prior = load_prior("diverse")
    problem, generator = Problem(scan, prior), torch.Generator().manual_seed(3)
    x = problem.start
    for sigma in np.geomspace(0.1, 0.005, 3).tolist():
        target, _ = denoised_average(x, prior, sigma, problem.voxel_size, generator=generator, flip=True)
        x = problem.data_step(target, 0.35 * problem.variance / sigma**2, x, 5)
    result = reconstruct(scan, prior, iterations=3, seed=3, weight=0.35, sigma=(0.1, 0.005), cg_iterations=5,
                         momentum=0, progress=False)
    assert torch.equal(result.image, x * problem.scale)


def test_reconstruct_on_a_finer_fourier_grid_is_that_on_voxels(scan):
    """Through the public door, with a prior that knows white images only."""
    settings = dict(fraction=1.0, iterations=4, sigma=(0.3, 0.3), cg_iterations=30, progress=False)
    prior = white(1, 20)
    expected = reconstruct(scan, prior, **settings).image
    assert relative(reconstruct(scan, prior, "fourier", prior_voxel_size=(6, 6, 16), **settings).image, expected) < 1e-3


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("setting", ["fast", "paper"])
def test_reconstruct_with_each_representation(scan, name, setting):
    """The prior is shown the voxel size it was trained at, and a scan of another one brings no warning."""
    prior, sizes = white(9, 9), []
    denoise = prior.denoise
    prior.denoise = lambda slices, sigma, size: sizes.append(size) or denoise(slices, sigma)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = reconstruct(scan, prior, name, setting=setting, iterations=2, progress=False,
                             representation_options=SMALL.get(name))
    assert result.image.shape == scan.kspace.shape[1:] and result.image.isfinite().all()
    assert result.voxel_size == scan.voxel_size and result.network_evaluations > 0
    assert all(8 < d < 10 for size in sizes for d in size)      # nearest to 9 mm that the field of view allows


def test_default_voxel_size_of_the_prior(scan):
    """Nothing is resampled along an axis where the prior knows the acquisition's voxel size."""
    seen = []
    prior = white(13, 15)
    denoise = prior.denoise
    prior.denoise = lambda slices, sigma, size: seen.append(tuple(slices.shape[2:])) or denoise(slices, sigma)
    reconstruct(scan, prior, "trilinear", planes="axial", iterations=1, progress=False)
    z, y, x = scan.kspace.shape[1:]
    assert seen == [(round(y * 12 / 13), round(x * scan.voxel_size[2] / 15))]


@pytest.mark.parametrize("call, message", [
    (lambda x: represent("voxels", x, (1, 1, 1)), "representation: found 'voxels', expected one of voxel, nearest"),
    (lambda x: represent("voxel", x, (1, 1, 1), (2, 2, 2)), "prior_voxel_size: found .* 'voxel' has one grid"),
    (lambda x: represent("nearest", x, (1, 1)), "voxel_size: found"),
    (lambda x: represent("nearest", x, (1, 1, 1), (1, 1, -1)), "prior_voxel_size: found"),
    (lambda x: represent("fourier", x.real, (1, 1, 1)), "start: found torch.float32, expected a complex image"),
    (lambda x: represent("fourier", x[0], (1, 1, 1)), "start: found shape"),
    (lambda x: represent("gaussian", x * float("nan"), (1, 1, 1)), "start: found NaN"),
    (lambda x: represent("gaussian", x, (1, 1, 1), count=0), "count: found 0, expected 1 to 60"),
    (lambda x: represent("gaussian", x, (1, 1, 1), count=61), "count: found 61, expected 1 to 60"),
    (lambda x: represent("neural_field", x, (1, 1, 1), width=7), "width: found 7, expected an even number"),
    (lambda x: represent("neural_field", x, (1, 1, 1), steps=0), "steps: found 0, expected a whole number"),
    (lambda x: reconstruct(tiny(), white(1, 1), "wavelet"), "representation: found 'wavelet'"),
    (lambda x: reconstruct(tiny(), white(1, 1), "nearest", prior_voxel_size=2), "prior_voxel_size: found 2"),
    (lambda x: reconstruct(tiny(), white(1, 1), prior_voxel_size=(2, 2, 2)), "'voxel' has one grid"),
    (lambda x: interpolation(3, 4, "cubic"), "kind: found 'cubic', expected one of nearest, trilinear, fourier")])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(randn(3, 4, 5))
