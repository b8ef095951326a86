"""Thin-plate splines against closed forms and SciPy."""

from __future__ import annotations

import math

import torch
from scipy.interpolate import RBFInterpolator

from raylift.geometry.thin_plate import control_grid, fit_thin_plate, warp_maps


def test_equals_scipy_and_meets_its_control_points() -> None:
    centers = control_grid(4, dtype=torch.float64)
    targets = centers + 0.2 * torch.randn(3, 16, 2, dtype=torch.float64)
    points = 2 * torch.rand(3, 50, 2, dtype=torch.float64) - 1
    warp = fit_thin_plate(centers, targets)
    torch.testing.assert_close(warp(centers.expand(3, -1, -1)), targets)
    for index in range(3):
        oracle = RBFInterpolator(centers.numpy(), targets[index].numpy(), kernel="thin_plate_spline", degree=1)
        torch.testing.assert_close(warp(points)[index], torch.from_numpy(oracle(points[index].numpy())))


def test_affine_targets_give_that_affine_map() -> None:
    centers = control_grid(3, dtype=torch.float64)
    matrix = torch.tensor([[0.8, 0.3], [-0.4, 1.1]], dtype=torch.float64)
    shift = torch.tensor([0.1, -0.2], dtype=torch.float64)
    warp = fit_thin_plate(centers, (centers @ matrix + shift)[None])
    points = 3 * torch.randn(1, 40, 2, dtype=torch.float64)
    assert float(warp.weights.abs().max()) < 1e-12
    torch.testing.assert_close(warp(points), points @ matrix + shift)


def test_maps_are_read_where_the_warp_says() -> None:
    """A quarter turn that takes pixels to pixels, and a shift by whole pixels that brings in zeros."""
    centers = control_grid(3, dtype=torch.float64)
    maps = torch.rand(1, 2, 8, 8, dtype=torch.float64)
    turn = torch.tensor([[math.cos(math.pi / 2), math.sin(math.pi / 2)], [-1.0, 0.0]], dtype=torch.float64)
    turned = warp_maps(maps, fit_thin_plate(centers, (centers @ turn)[None]))
    torch.testing.assert_close(turned, maps.rot90(1, (2, 3)))
    shifted = warp_maps(maps, fit_thin_plate(centers, (centers + torch.tensor([0.5, 0.0]))[None]))
    torch.testing.assert_close(shifted[..., :6], maps[..., 2:])
    assert float(shifted[..., 6:].abs().max()) < 1e-12
