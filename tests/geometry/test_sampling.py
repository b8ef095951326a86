"""Points on surfaces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from raylift.core.errors import DataError
from raylift.geometry.sampling import face_areas_and_normals, sample_surface

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]])
FACES = np.array([[0, 1, 2], [0, 0, 1], [0, 1, 3], [3, 3, 3]])  # areas 0.5, 0, 1.5, 0


def test_areas_and_normals() -> None:
    areas, normals = face_areas_and_normals(VERTICES, FACES)
    np.testing.assert_allclose(areas, [0.5, 0, 1.5, 0])
    np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, 0], [0, -1, 0], [0, 0, 0]])


def test_faces_are_drawn_by_area_and_points_lie_on_them() -> None:
    points, drawn, normals = sample_surface(VERTICES, FACES, 8000, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=4)
    assert counts[[1, 3]].sum() == 0
    assert chisquare(counts[[0, 2]], [2000, 6000]).pvalue > 1e-3
    offsets = ((points - VERTICES[FACES[drawn, 0]]) * normals).sum(axis=1)
    np.testing.assert_allclose(offsets, 0, atol=1e-12)
    # Uniform within the right triangle x + y <= 1: the share of area left of x is 1 - (1 - x)^2.
    x = points[drawn == 0, 0]
    assert kstest(1 - (1 - x) ** 2, "uniform").pvalue > 1e-3


def test_draws_follow_the_generator() -> None:
    first = sample_surface(VERTICES, FACES, 10, np.random.default_rng(5))[0]
    np.testing.assert_array_equal(first, sample_surface(VERTICES, FACES, 10, np.random.default_rng(5))[0])


@pytest.mark.parametrize("faces", [np.zeros((0, 3), int), FACES[[1, 3]]])
def test_no_area_is_refused(faces: np.ndarray) -> None:
    with pytest.raises(DataError, match="area"):
        sample_surface(VERTICES, faces, 5, np.random.default_rng(0))
