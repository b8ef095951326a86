"""Winding numbers against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from tests.reference.winding import winding_number


def test_closed_meshes_wind_once_around_their_inside() -> None:
    mesh = trimesh.creation.box((0.6, 0.4, 0.2))
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3))
    inside = (np.abs(points) < [0.3, 0.2, 0.1]).all(axis=1)
    np.testing.assert_allclose(winding_number(points, mesh.vertices, mesh.faces), inside, atol=1e-12)
    np.testing.assert_allclose(winding_number(points, mesh.vertices, mesh.faces[:, ::-1]), -1.0 * inside, atol=1e-12)


def test_overlapping_parts_add() -> None:
    mesh = trimesh.util.concatenate([trimesh.creation.icosphere(2, 0.3), trimesh.creation.icosphere(2, 0.2)])
    numbers = winding_number([[0.0, 0, 0], [0.25, 0, 0], [0.4, 0, 0]], mesh.vertices, mesh.faces)
    np.testing.assert_allclose(numbers, [2, 1, 0], atol=1e-12)


@pytest.mark.parametrize("height", [0.1, 0.5, 2.0])
def test_an_open_square_subtends_its_solid_angle(height: float) -> None:
    """A square of side 2 seen from the height h above its centre: 4 arcsin(1 / (1 + h^2))."""
    vertices = [[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
    found = winding_number([[0.0, 0, -height]], vertices, [[0, 1, 2], [0, 2, 3]])
    assert abs(found[0]) == pytest.approx(4 * np.arcsin(1 / (1 + height**2)) / (4 * np.pi))
