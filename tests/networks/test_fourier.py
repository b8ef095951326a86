"""Equation 1 against NumPy, its kernel's closed form, and the seed that draws B."""

from __future__ import annotations

import math

import numpy as np
import torch

from raylift.networks.fourier import FourierEmbedding, fourier_features


def test_equation_1_equals_numpy() -> None:
    points = torch.randn(2, 5, 3, dtype=torch.float64)
    matrix = torch.randn(7, 3, dtype=torch.float64)
    phases = 2 * np.pi * np.einsum("bnc,sc->bns", points.numpy(), matrix.numpy())
    expected = np.concatenate([np.cos(phases), np.sin(phases)], axis=-1)
    np.testing.assert_allclose(fourier_features(points, matrix).numpy(), expected, atol=1e-12)


def test_inner_product_is_the_gaussian_kernel_in_the_limit() -> None:
    """With B ~ N(0, s^2), gamma(p).gamma(q) / size -> exp(-2 pi^2 s^2 |p - q|^2): it sees shifts only."""
    scale, size = 0.8, 200_000
    embedding = FourierEmbedding(size, scale, seed=3).double()
    p, q = torch.tensor([[[0.1, -0.2, 0.3]]]).double(), torch.tensor([[[0.25, 0.05, 0.1]]]).double()
    inner = (embedding(p) * embedding(q)).sum() / size
    expected = math.exp(-2 * math.pi**2 * scale**2 * float((p - q).square().sum()))
    assert abs(float(inner) - expected) < 4 / math.sqrt(size)


def test_matrix_belongs_to_the_seed_and_travels_in_the_state() -> None:
    torch.manual_seed(1)
    first = FourierEmbedding(16, 0.8, seed=5)
    torch.manual_seed(2)
    second, other = FourierEmbedding(16, 0.8, seed=5), FourierEmbedding(16, 0.8, seed=6)
    assert torch.equal(first.matrix, second.matrix)
    assert not torch.equal(first.matrix, other.matrix)
    assert list(first.state_dict()) == ["matrix"]
    assert not list(first.parameters())


def test_size_zero_hands_coordinates_on() -> None:
    embedding = FourierEmbedding(0, 0.8, seed=0)
    points = torch.randn(1, 4, 3)
    assert embedding.width == 3
    assert torch.equal(embedding(points), points)


def test_gradient() -> None:
    points = torch.randn(1, 3, 3, dtype=torch.float64, requires_grad=True)
    matrix = torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: fourier_features(p, matrix), points)
