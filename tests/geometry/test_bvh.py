"""Closest points against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.optimize import minimize

from raylift.core.errors import DataError
from raylift.geometry.bvh import TriangleBvh


def _soup(num_faces: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centers = rng.uniform(-0.5, 0.5, (num_faces, 1, 3))
    vertices = (centers + rng.normal(0, 0.05, (num_faces, 3, 3))).reshape(-1, 3)
    return vertices, np.arange(3 * num_faces).reshape(-1, 3)


def _nearest_by_search(corners: np.ndarray, point: np.ndarray) -> float:
    """The convex problem min |w . corners - point| over barycentrics, solved by a general optimiser."""
    found = minimize(
        lambda w: ((w @ corners - point) ** 2).sum(),
        np.full(3, 1 / 3),
        jac=lambda w: 2 * corners @ (w @ corners - point),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(3)},
        options={"ftol": 1e-14, "maxiter": 200},
    )
    return float(np.sqrt(found.fun))


def test_one_triangle_against_an_optimiser() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        corners, point = rng.normal(size=(3, 3)), rng.normal(size=3) * 2
        distance, face, nearest = TriangleBvh(corners, [[0, 1, 2]]).closest(point[None])
        assert distance[0] == pytest.approx(_nearest_by_search(corners, point), abs=2e-5)
        assert face[0] == 0
        assert np.linalg.norm(nearest[0] - point) == pytest.approx(distance[0])


def test_the_tree_finds_what_brute_force_finds() -> None:
    vertices, faces = _soup(700)
    points = np.random.default_rng(2).uniform(-0.8, 0.8, (300, 3))
    distances, found, nearest = TriangleBvh(vertices, faces).closest(points)
    each = np.stack([TriangleBvh(vertices[face], [[0, 1, 2]]).closest(points)[0] for face in faces])
    np.testing.assert_allclose(distances, each.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(each[found, np.arange(300)], distances, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(nearest - points, axis=1), distances, rtol=1e-9)


def test_a_bound_only_hides_what_is_further() -> None:
    vertices, faces = _soup(200)
    points = np.random.default_rng(3).uniform(-0.8, 0.8, (500, 3))
    tree = TriangleBvh(vertices, faces)
    distances, found, _ = tree.closest(points)
    bounded, bounded_found, nearest = tree.closest(points, max_distance=0.1)
    near = distances < 0.1
    assert near.any()
    assert (~near).any()
    np.testing.assert_array_equal(bounded, np.where(near, distances, 0.1))
    np.testing.assert_array_equal(bounded_found[near], found[near])
    assert (bounded_found[~near] == -1).all()
    np.testing.assert_array_equal(nearest[~near], points[~near])


def test_sphere_distance() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=0.4)
    points = np.random.default_rng(4).uniform(-0.55, 0.55, (3000, 3))
    tree = TriangleBvh(sphere.vertices, sphere.faces)
    expected = np.abs(np.linalg.norm(points, axis=1) - 0.4)
    np.testing.assert_allclose(tree.closest(points)[0], expected, atol=1.5e-3)


@pytest.mark.parametrize("case", ["point", "segment", "doubled", "copies"])
def test_degenerate_triangles(case: str) -> None:
    corners = np.array(
        {
            "point": [[0.1, 0.2, 0.3]] * 3,
            "segment": [[0.0, 0, 0], [1.0, 0, 0], [0.5, 0, 0]],
            "doubled": [[0.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]],
            "copies": [[0.0, 0, 0], [1.0, 0, 0], [0.0, 1, 0]],
        }[case]
    )
    faces = np.repeat([[0, 1, 2]], 500, axis=0)  # all centres coincide: no split separates them
    distances, found, _ = TriangleBvh(corners, faces).closest([[0.5, 0.0, 2.0]])
    expected = np.linalg.norm([0.4, -0.2, 1.7]) if case == "point" else 2.0
    assert distances[0] == pytest.approx(expected)
    assert 0 <= found[0] < 500


def test_a_sorted_strip_does_not_overflow_the_stack() -> None:
    """Triangles of exponentially growing size make surface-area splits peel off one at a time."""
    scale = 2.0 ** -np.arange(300.0)
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])[None] * scale[:, None, None]
    vertices = corners.reshape(-1, 3)
    tree = TriangleBvh(vertices, np.arange(len(vertices)).reshape(-1, 3))
    assert tree.closest([[0.0, 0.0, 1.0]])[0][0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("vertices", "faces", "match"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3), int), "no faces"),
        (np.zeros((3, 3)), [[0, 1, 3]], "index vertices"),
        (np.zeros((3, 3)), [[0, 1, -1]], "index vertices"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], "finite"),
        (np.zeros((3, 2)), [[0, 1, 2]], "shape"),
        (np.zeros((3, 3)), [[0, 1, 2, 2]], "shape"),
        (np.zeros((3, 3)), [[0.0, 1.0, 2.0]], "type"),
    ],
)
def test_bad_meshes_are_refused(vertices: np.ndarray, faces: list[list[int]], match: str) -> None:
    with pytest.raises(DataError, match=match):
        TriangleBvh(vertices, faces)


@pytest.mark.parametrize("points", [np.zeros((4, 2)), np.zeros(3), np.full((2, 3), np.inf)])
def test_bad_points_are_refused(points: np.ndarray) -> None:
    with pytest.raises(DataError, match="points"):
        TriangleBvh(np.eye(3), [[0, 1, 2]]).closest(points)


def test_no_points_give_no_distances() -> None:
    distances, found, nearest = TriangleBvh(np.eye(3), [[0, 1, 2]]).closest(np.zeros((0, 3)))
    assert distances.shape == (0,)
    assert found.shape == (0,)
    assert nearest.shape == (0, 3)
