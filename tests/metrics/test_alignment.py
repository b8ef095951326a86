"""Gradient ICP undoes what it is free to undo, and nothing else; global rotations against known ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylift.geometry.rotations import axis_angle_to_matrix
from raylift.metrics.alignment import gradient_icp
from raylift.metrics.pose import best_global_rotation, rotation_error_deg
from raylift.metrics.protocols import EMPTY_DISTANCE, SHAPE_PROTOCOLS
from raylift.metrics.shape_pair import Shape, ShapePair, TargetShape
from tests.metrics.shapes import box, torus
from tests.reference.cameras import random_rotations


def _points(count: int, seed: int = 0) -> np.ndarray:
    return Shape(*box((0.8, 0.5, 0.3))).sample(count, np.random.default_rng(seed)).points


def test_it_undoes_scale_rotation_and_shift() -> None:
    truth = _points(600)
    turn = axis_angle_to_matrix(torch.tensor([0.1, -0.15, 0.2], dtype=torch.float64)).numpy()
    moved = (truth @ turn.T) * (1.2, 0.8, 1.1) + (0.05, -0.04, 0.06)
    found = gradient_icp(moved, truth).apply(moved)
    before = np.linalg.norm(moved - truth, axis=1).mean()
    assert np.linalg.norm(found - truth, axis=1).mean() < 0.2 * before


def test_what_is_aligned_stays() -> None:
    truth = _points(200)
    alignment = gradient_icp(truth, truth)
    np.testing.assert_allclose(alignment.apply(truth), truth, atol=1e-9)
    with torch.no_grad():  # evaluations run so
        np.testing.assert_array_equal(gradient_icp(truth, _points(200, 1)).offset, _free_offset(truth))


def _free_offset(truth: np.ndarray) -> np.ndarray:
    return gradient_icp(truth, _points(200, 1)).offset


def test_unicorn_forgives_a_stretch_but_not_another_shape() -> None:
    vertices, faces = box((0.8, 0.5, 0.3))
    truth = TargetShape("box", Shape(vertices, faces))
    score = SHAPE_PROTOCOLS["unicorn"].score
    same = score(ShapePair(Shape(vertices, faces), truth))
    stretched = score(ShapePair(Shape(vertices * (1.15, 0.9, 1.2) + 0.03, faces), truth))
    other = score(ShapePair(Shape(*torus()), truth))
    assert same["chamfer_l1"] < 0.005  # two samples of one surface
    assert stretched["chamfer_l1_unaligned"] > 0.03
    assert stretched["chamfer_l1"] < 0.3 * stretched["chamfer_l1_unaligned"]
    assert other["chamfer_l1"] > 4 * stretched["chamfer_l1"]
    empty = ShapePair(Shape(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), truth)
    assert score(empty) == dict.fromkeys(same, EMPTY_DISTANCE)


def test_a_global_rotation_is_found_in_spite_of_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = random_rotations(40, generator).double()
    turn = random_rotations(1, generator)[0].double()
    noise = axis_angle_to_matrix(0.1 * torch.randn(40, 3, generator=generator, dtype=torch.float64))
    predicted = noise @ truth @ turn.T
    found = best_global_rotation(predicted, truth)
    assert rotation_error_deg(found[None], turn[None]).item() < 2.5  # 40 draws of 5.7 degrees an axis
    assert torch.linalg.det(found) == pytest.approx(1.0)
    exact = best_global_rotation(truth @ turn.T, truth)
    torch.testing.assert_close(exact, turn, rtol=0, atol=1e-6)
    # No other rotation nearby is better in what it minimises.
    least = (predicted @ found - truth).square().sum()
    for _ in range(20):
        near = axis_angle_to_matrix(0.05 * torch.randn(3, generator=generator, dtype=torch.float64)) @ found
        assert (predicted @ near - truth).square().sum() > least
    torch.testing.assert_close(best_global_rotation(truth[:0], truth[:0]), torch.eye(3, dtype=torch.float64))
