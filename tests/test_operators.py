import pytest
import torch

from mrilab.coils import head_array_maps
from mrilab.operators import SenseOperator, conjugate_gradients, relative_misfit

SHAPES = [(8, 10, 12), (7, 9, 11), (6, 9, 33), (5, 8, 1)]


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def operator(shape, coils=3):
    mask = torch.rand(shape[:2], generator=torch.Generator().manual_seed(2)) < 0.4
    return SenseOperator(randn(coils, *shape, seed=3), mask)


def inner(a, b):
    return torch.vdot(a.flatten().to(torch.complex128), b.flatten().to(torch.complex128))


def difference(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_and_normal(shape, coils, batch):
    A = operator(shape, coils)
    x, y = randn(*batch, *shape), randn(*batch, coils, *shape, seed=1)
    Ax, Ay = A.forward(x), A.adjoint(y)
    assert Ax.shape == y.shape and Ay.shape == A.normal(x).shape == x.shape
    assert abs(inner(Ax, y) - inner(x, Ay)) < 1e-5 * Ax.norm() * y.norm()
    assert difference(A.normal(x), A.adjoint(Ax)) < 1e-5
    assert (Ax.movedim(-1, 0)[..., ~A.mask] == 0).all()


def test_normal_in_blocks_of_the_readout():
    """Larger than one block of readout positions, the last block not full."""
    A = operator((128, 130, 37), coils=2)
    x = randn(128, 130, 37)
    assert difference(A.normal(x), A.adjoint(A.forward(x))) < 1e-5


def test_normal_takes_real_and_strided_images_and_keeps_its_argument():
    A, x = operator((6, 7, 8)), torch.rand(8, 7, 6).transpose(0, 2)
    before = x.clone()
    assert difference(A.normal(x), A.normal(x.to(torch.complex64).contiguous())) < 1e-6
    assert difference(A.normal(A.normal(x)), A.normal(A.normal(x).contiguous())) < 1e-6
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", [(8, 10, 12), (7, 9, 11)])
def test_agrees_with_sigpy(shape):
    from sigpy.mri.linop import Sense

    A = operator(shape)
    B = Sense(A.maps.numpy(), weights=A.mask[..., None].expand(shape).float().numpy())
    x, y = randn(*shape), randn(3, *shape, seed=1)
    assert difference(A.forward(x), torch.from_numpy(B * x.numpy())) < 1e-4
    assert difference(A.adjoint(y), torch.from_numpy(B.H * y.numpy())) < 1e-4
    assert difference(A.normal(x), torch.from_numpy(B.N * x.numpy())) < 1e-4


@pytest.mark.parametrize("weight", [0.3, 0.03])
def test_conjugate_gradients_agree_with_sigpy(weight):
    from sigpy.mri.app import SenseRecon

    shape = (10, 12, 9)
    A = SenseOperator(head_array_maps(shape, 4), operator(shape).mask)
    y = A.forward(randn(*shape)) + 0.01 * A.forward(randn(*shape, seed=1))
    x, _ = conjugate_gradients(lambda x: A.normal(x) + weight * x, A.adjoint(y), iterations=200)
    weights = A.mask[..., None].expand(shape).float().numpy()
    app = SenseRecon(y.numpy(), A.maps.numpy(), weights=weights, lamda=weight, max_iter=200, show_pbar=False)
    assert difference(x, torch.from_numpy(app.run())) < 1e-4


def test_conjugate_gradients_against_a_direct_solution():
    matrix = randn(12, 12)
    matrix = matrix @ matrix.mH + 12 * torch.eye(12)
    b = randn(2, 6, seed=1)
    def A(x):
        return (matrix @ x.flatten()).view(2, 6)

    exact = torch.linalg.solve(matrix, b.flatten()).view(2, 6)
    x, used = conjugate_gradients(A, b, iterations=50)
    assert difference(x, exact) < 1e-5 and used <= 15
    assert conjugate_gradients(A, b, x0=exact, tolerance=1e-5)[1] == 0      # starts where it should end
    assert conjugate_gradients(A, b, iterations=3)[1] == 3
    coarse, few = conjugate_gradients(A, b, iterations=50, tolerance=0.1)
    assert few < used and (A(coarse) - b).norm() <= 0.1 * b.norm()
    assert conjugate_gradients(A, 0 * b)[1] == 0


def test_gradient_of_the_data_term():
    """Autograd through normal() and through forward() agree with A^H (A x - y)."""
    A, x, y = operator((6, 7, 8)), randn(6, 7, 8).requires_grad_(), randn(3, 6, 7, 8, seed=1)
    expected = (A.normal(x) - A.adjoint(y)).detach()
    quadratic = 0.5 * (x.conj() * A.normal(x)).sum().real - (x.conj() * A.adjoint(y)).sum().real
    residual = 0.5 * (A.forward(x) - A.mask[..., None] * y).abs().square().sum()
    for loss in (quadratic, residual):
        assert difference(torch.autograd.grad(loss, x)[0], expected) < 1e-5


def test_relative_misfit():
    A, x = operator((6, 7, 8)), randn(6, 7, 8)
    y = A.forward(x)
    assert relative_misfit(A, x, y) < 1e-6
    assert relative_misfit(A, 0 * x, y) == pytest.approx(1)
    assert relative_misfit(A, 1.5 * x, y) == pytest.approx(0.5, rel=1e-5)
    assert relative_misfit(A, 0 * x, 0 * y) == 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda A: A.forward(torch.ones(6, 7)), r"x: found shape \(6, 7\), expected \(\.\.\., 6, 7, 8\)"),
    (lambda A: A.normal(torch.ones(2, 6, 8, 7)), "x: found shape"),
    (lambda A: A.adjoint(torch.ones(6, 7, 8)), r"kspace: found shape .* expected \(\.\.\., 3, 6, 7, 8\)"),
    (lambda A: relative_misfit(A, torch.ones(6, 7, 8), torch.ones(2, 6, 7, 8)), "kspace: found shape"),
    (lambda A: SenseOperator(A.maps, torch.zeros(6, 7)), "mask: found no measured position"),
    (lambda A: SenseOperator(A.maps, torch.ones(7, 8)), r"mask: found shape \(7, 8\), expected \(6, 7\)"),
    (lambda A: SenseOperator(A.maps[0], A.mask), "maps: found shape .* expected 4 dimensions"),
    (lambda A: SenseOperator(A.maps * float("nan"), A.mask), "maps: found NaN"),
    (lambda A: conjugate_gradients(A.normal, randn(6, 7, 8), x0=randn(6, 7)), "x0: found shape"),
    (lambda A: conjugate_gradients(lambda x: -x, randn(6, 7, 8)), "A: found .* expected a positive definite"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(operator((6, 7, 8)))
