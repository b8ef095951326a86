"""Equations 40 to 47 against SciPy's matrix square root, with gradients, where covariances are singular too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from raylift.core.errors import ConfigError
from raylift.losses.frechet import (
    Moments,
    covariance_distance,
    feature_covariance,
    feature_mean,
    frechet_distance,
    moments_distance,
    real_features,
    rendered_features,
    trace_sqrt,
    trace_sqrt_product,
)


def _draw(count: int, width: int, spread: float = 1.0) -> torch.Tensor:
    return spread * torch.randn(count, width, dtype=torch.float64) @ torch.randn(width, width, dtype=torch.float64)


def _scipy(real: np.ndarray, rendered: np.ndarray) -> float:
    """The formula as printed, by the matrix square root itself."""
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False, ddof=0)) for x in (real, rendered)]
    (m1, s1), (m2, s2) = moments
    root = sqrtm(s1 @ s2)
    return float(np.square(m1 - m2).sum() + np.trace(s1 + s2 - 2 * np.real(root)))


@pytest.mark.parametrize(("first", "second"), [(40, 60), (9, 40)])
def test_equals_scipy_where_batches_are_large(first: int, second: int) -> None:
    real, rendered = _draw(first, 8), 0.5 + _draw(second, 8)
    assert frechet_distance(real, rendered).item() == pytest.approx(_scipy(real.numpy(), rendered.numpy()), rel=1e-9)


def test_equals_scipy_where_batches_are_smaller_than_features() -> None:
    """SciPy's root of a singular product is good to about 1e-6 only, so a ridge that vanishes is compared as well."""
    real, rendered = _draw(5, 12), 0.5 + _draw(7, 12)
    ours = frechet_distance(real, rendered).item()
    m1, m2, s1, s2 = (
        feature_mean(real),
        feature_mean(rendered),
        feature_covariance(real),
        feature_covariance(rendered),
    )
    ridge = 1e-10 * np.eye(12)
    root = np.real(sqrtm((s1.numpy() + ridge) @ (s2.numpy() + ridge)))
    expected = float((m1 - m2).square().sum() + s1.trace() + s2.trace()) - 2 * float(np.trace(root))
    assert ours == pytest.approx(expected, rel=1e-5)
    # Both of our ways agree much better than that.
    assert moments_distance(Moments(m1, s1), Moments(m2, s2)).item() == pytest.approx(ours, rel=1e-9)


def test_equations_44_to_47_are_numpys() -> None:
    features = _draw(6, 4)
    np.testing.assert_allclose(feature_mean(features), features.numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(feature_covariance(features), np.cov(features.numpy(), rowvar=False, ddof=0), rtol=1e-10)


def test_equation_43_does_not_care_about_the_order() -> None:
    s1, s2 = feature_covariance(_draw(9, 5)), feature_covariance(_draw(9, 5))
    assert covariance_distance(s1, s2).item() == pytest.approx(covariance_distance(s2, s1).item(), rel=1e-12)
    eigenvalues = torch.linalg.eigvals(s1 @ s2).real
    assert trace_sqrt_product(s1, s2).item() == pytest.approx(eigenvalues.sqrt().sum().item(), rel=1e-10)


@pytest.mark.parametrize("count", [3, 9])
def test_a_set_is_at_no_distance_from_itself(count: int) -> None:
    features = _draw(count, 6)
    assert abs(frechet_distance(features, features.flip(0)).item()) < 1e-9


def test_known_gaussians() -> None:
    """Commuting covariances: the distance of means and of standard deviations."""
    s1, s2 = torch.diag(torch.tensor([4.0, 9.0])).double(), torch.diag(torch.tensor([1.0, 0.0])).double()
    first, second = Moments(torch.zeros(2).double(), s1), Moments(torch.ones(2).double(), s2)
    assert moments_distance(first, second).item() == pytest.approx(2 + 1 + 9)


@pytest.mark.parametrize(("first", "second", "width"), [(4, 5, 7), (8, 9, 3), (3, 3, 3)])
def test_gradients(first: int, second: int, width: int) -> None:
    real, rendered = _draw(first, width), _draw(second, width).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: frechet_distance(real, x), rendered)
    assert torch.autograd.gradcheck(lambda x: frechet_distance(x, real), rendered)


def test_gradients_of_covariances() -> None:
    def of_factors(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return trace_sqrt_product(a @ a.mT, b @ b.mT)

    a, b = (torch.randn(4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(of_factors, (a, b))


def test_the_root_of_one_matrix_and_its_gradient() -> None:
    factor = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    product = (factor @ factor.mT).detach()
    assert trace_sqrt(product).item() == pytest.approx(np.trace(np.real(sqrtm(product.numpy()))), rel=1e-9)
    assert torch.autograd.gradcheck(lambda a: trace_sqrt(a @ a.mT), factor)


def test_duplicated_samples_leave_finite_gradients() -> None:
    real = _draw(4, 6)
    rendered = real[:1].repeat(4, 1).requires_grad_()  # no spread at all
    frechet_distance(real, rendered).backward()
    assert rendered.grad is not None
    assert rendered.grad.isfinite().all()


def test_descent_makes_the_distributions_alike() -> None:
    torch.manual_seed(1)
    real, rendered = _draw(16, 6), (3 + _draw(16, 6)).requires_grad_()
    optimiser = torch.optim.Adam([rendered], lr=0.1)
    start = frechet_distance(real, rendered).item()
    for _ in range(200):
        optimiser.zero_grad()
        frechet_distance(real, rendered).backward()
        optimiser.step()
    assert frechet_distance(real, rendered).item() < 0.01 * start


def test_features_of_real_images_are_constants() -> None:
    weight = torch.ones((), requires_grad=True)
    image = torch.rand(2, 3, 4, 4)
    extract = lambda x: weight * x.mean(dim=(2, 3))  # noqa: E731
    assert not real_features(extract, image).requires_grad
    assert torch.equal(rendered_features(extract, image), real_features(extract, image))
    assert rendered_features(extract, image).requires_grad


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        frechet_distance(_draw(1, 4), _draw(5, 4))
