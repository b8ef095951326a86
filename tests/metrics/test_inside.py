"""Inside tests against closed forms, against winding numbers, and where rays run through edges and vertices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raylift.metrics.inside import InsideTest, is_closed
from tests.metrics.shapes import box, sphere, torus
from tests.reference.winding import winding_number


@pytest.mark.parametrize("shape", [sphere(0.4, 3), torus(), box((0.6, 0.3, 0.9), (0.05, -0.1, 0.02))])
def test_equals_winding_number(shape: tuple[np.ndarray, np.ndarray]) -> None:
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (2000, 3))
    expected = winding_number(points, *shape) > 0.5
    assert 0 < expected.sum() < len(points)
    np.testing.assert_array_equal(InsideTest(*shape).contains(points), expected)


def test_faces_turned_inside_out_change_nothing() -> None:
    vertices, faces = torus()
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (2000, 3))
    np.testing.assert_array_equal(
        InsideTest(vertices, faces).contains(points), InsideTest(vertices, faces[:, ::-1]).contains(points)
    )


def test_rays_through_edges_and_vertices_cross_once() -> None:
    # Points on a lattice that the box's edges, face diagonals and vertices lie on, seen along every axis.
    vertices, faces = box((0.5, 0.5, 0.5))
    axis = np.linspace(-0.5, 0.5, 17)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    away = np.abs(np.abs(points).max(axis=1) - 0.25) > 1e-9
    expected = np.abs(points).max(axis=1) < 0.25
    for turned in (vertices, vertices[:, [1, 2, 0]], vertices[:, [2, 0, 1]]):
        np.testing.assert_array_equal(InsideTest(turned, faces).contains(points)[away], expected[away])


@settings(max_examples=25, deadline=None)
@example(106)  # three corners on one ray: a triangle that every ray once seemed to cross
@given(st.integers(0, 2**32 - 1))
def test_any_closed_soup_has_even_crossings_outside(seed: int) -> None:
    # Tetrahedra with corners on a coarse lattice: full of shared, parallel and zero-area faces seen edge-on.
    rng = np.random.default_rng(seed)
    corners = rng.integers(-2, 3, (6, 4, 3)) / 5
    faces = np.concatenate([np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]) + 4 * k for k in range(6)])
    test = InsideTest(corners.reshape(-1, 3), faces)
    assert test.closed
    lattice = np.stack(np.meshgrid(*[np.arange(-2, 3) / 5] * 2, [-0.7, 0.7], indexing="ij"), axis=-1).reshape(-1, 3)
    assert not test.contains(lattice).any()


def test_a_hole_does_not_decide() -> None:
    vertices, faces = sphere(0.4, 4)
    normals = vertices[faces].mean(axis=1)
    holed = faces[normals[:, 2] < 0.39]  # a hole where rays along z leave
    assert len(holed) < len(faces)
    test = InsideTest(vertices, holed)
    assert not test.closed
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 3))
    truth = InsideTest(vertices, faces).contains(points)
    assert (test.contains(points) != truth).mean() < 2e-3


def test_no_faces_and_no_numbers_are_outside() -> None:
    empty = InsideTest(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    assert not empty.contains(np.zeros((4, 3))).any()
    vertices, faces = sphere(0.4, 2)
    assert not InsideTest(vertices, faces).contains(np.array([[np.nan, 0, 0], [0, np.inf, 0], [0, 0, 9.0]])).any()


def test_closed_means_every_edge_has_its_opposite() -> None:
    _, faces = sphere(1.0, 1)
    assert is_closed(faces)
    assert not is_closed(faces[1:])
    flipped = faces.copy()
    flipped[0] = flipped[0, ::-1]
    assert not is_closed(flipped)
