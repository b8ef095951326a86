"""Surfaces are found again after any rotation, scale and shift; nothing is mirrored, shrunk or made worse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from raylift.metrics.similarity_alignment import rotation_grid, search_similarity


def chair(count: int, seed: int = 0) -> np.ndarray:
    """Points on a seat, a back and one arm, so that no rotation or mirror image maps it to itself."""
    rng = np.random.default_rng(seed)
    boxes = [
        ((-0.4, 0.0, -0.4), (0.4, 0.1, 0.4)),
        ((-0.4, 0.1, -0.4), (0.4, 0.9, -0.3)),
        ((0.3, 0.1, -0.3), (0.4, 0.4, 0.3)),
    ]
    picked = rng.choice(len(boxes), count, p=[0.4, 0.45, 0.15])
    low, high = (np.array([box[side] for box in boxes])[picked] for side in (0, 1))
    points = rng.uniform(low, high)
    axis, side = rng.integers(0, 3, count), rng.integers(0, 2, count)
    points[np.arange(count), axis] = np.where(side[:, None] == 0, low, high)[np.arange(count), axis]
    return points


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_moved_surface_is_found_again(seed: int) -> None:
    turn = Rotation.random(random_state=seed).as_matrix()
    moved = 3.7 * chair(1500, 1) @ turn.T + [5.0, -2.0, 1.0]
    found = search_similarity(moved, chair(1500, 2))
    assert np.degrees(Rotation.from_matrix(found.rotation @ turn).magnitude()) < 2
    assert found.scale == pytest.approx(1 / 3.7, rel=0.02)
    np.testing.assert_allclose(found.apply(moved), chair(1500, 1), atol=0.03)


def test_the_same_surface_stays() -> None:
    points = chair(1500)
    found = search_similarity(points, points)
    np.testing.assert_allclose(found.apply(points), points, atol=1e-9)


def test_a_mirror_image_is_not_undone() -> None:
    mirrored = chair(1500) * [-1, 1, 1]
    found = search_similarity(mirrored, chair(1500))
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    assert np.abs(found.apply(mirrored) - chair(1500)).mean() > 0.05


def test_rotations_are_nowhere_far() -> None:
    grid = Rotation.from_matrix(rotation_grid())
    anywhere = Rotation.random(50, random_state=0)
    nearest = [min((one.inv() * grid).magnitude()) for one in anywhere]
    assert np.degrees(max(nearest)) < 25
