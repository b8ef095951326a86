"""Scans: depths of closed forms, hidden parts left out, small faces kept, any unit and place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from raylift.core.errors import DataError
from raylift.geometry.cameras import project
from raylift.geometry.signed_distance import ScanDistance
from raylift.rendering.virtual_scan import scan


def test_depths_of_a_sphere_in_closed_form() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    seen = scan(ball.vertices, ball.faces, num_views=12, px=64)
    assert seen.depths.shape == (12, 64, 64)
    assert seen.depths.dtype == np.float32
    assert seen.visible_faces.all()
    assert len(seen.cameras) == 12
    half_width = 1 / float(seen.cameras.focal[0, 0])
    assert half_width > 0.5
    centers = ((2 * np.arange(64) + 1) / 64 - 1) * half_width
    square = centers[None, :] ** 2 + centers[:, None] ** 2
    middle = float(seen.cameras.translation[0, 2])
    inner = square < 0.48**2
    for depth in seen.depths:
        np.testing.assert_allclose(depth[inner], middle - np.sqrt(0.25 - square[inner]), atol=4e-3)
        assert (depth[square > 0.501**2] == 0).all()


def test_every_view_shows_all_of_the_mesh_with_room() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(60, 3)) * [3, 0.2, 1] + [100, -50, 7]
    seen = scan(vertices, np.arange(60).reshape(-1, 3), num_views=40, px=48)
    points = torch.from_numpy(vertices)[None].expand(40, -1, -1)
    uv, depth = project(seen.cameras.to("cpu", torch.float64), points)
    assert float(uv.abs().max()) < 1 - 2 / 48
    assert float(depth.min()) > 0
    border = np.concatenate([seen.depths[:, 0], seen.depths[:, -1], seen.depths[:, :, 0], seen.depths[:, :, -1]])
    assert (border == 0).all()


def test_what_is_enclosed_is_not_visible() -> None:
    shell, core = trimesh.creation.box((1, 1, 1)), trimesh.creation.icosphere(subdivisions=2, radius=0.3)
    both = trimesh.util.concatenate([shell, core])
    seen = scan(both.vertices, both.faces, num_views=50, px=96)
    assert seen.visible_faces[: len(shell.faces)].all()
    assert not seen.visible_faces[len(shell.faces) :].any()


def test_small_faces_are_not_lost_between_pixels() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.5)
    seen = scan(ball.vertices, ball.faces, num_views=40, px=32)
    assert len(ball.faces) > 19 * 32**2
    assert seen.visible_faces.mean() > 0.99


def test_unit_and_place_do_not_matter() -> None:
    chair = trimesh.creation.box((0.4, 1.0, 0.1)).subdivide()
    reference = scan(chair.vertices, chair.faces, 10, 48)
    for unit in (1e-3, 1e4):
        moved = scan(chair.vertices * unit + 3 * unit, chair.faces, 10, 48)
        assert moved.visible_faces.tolist() == reference.visible_faces.tolist()
        # float32 cameras move an edge now and then across a pixel's centre.
        assert ((moved.depths > 0) != (reference.depths > 0)).mean() < 2e-3
        both = (moved.depths > 0) & (reference.depths > 0)
        close = np.abs(moved.depths / unit - reference.depths)[both] < 1e-3
        assert close.mean() > 0.99


def test_it_feeds_signed_distance() -> None:
    """A ball: exact distance, and a sign that is right wherever a depth map can resolve it."""
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.4)
    seen = scan(ball.vertices, ball.faces)
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (2000, 3))
    exact = np.linalg.norm(points, axis=1) - 0.4
    found = ScanDistance(ball.vertices, ball.faces, seen, thickness=0.0)(points)
    np.testing.assert_allclose(np.abs(found), np.abs(exact), atol=2e-3)
    away = np.abs(exact) > 0.006
    assert (np.sign(found) == np.sign(exact))[away].all()


@pytest.mark.parametrize(
    ("vertices", "faces", "word"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3), int), "without faces"),
        (np.zeros((3, 3)), np.array([[0, 1, 2]]), "one single point"),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "finite"),
        (np.eye(3), np.array([[0, 1, 7]]), "7"),
    ],
)
def test_meshes_that_cannot_be_scanned_are_named(vertices: np.ndarray, faces: np.ndarray, word: str) -> None:
    with pytest.raises(DataError, match=word):
        scan(vertices, faces, 4, 16)


@pytest.mark.parametrize(("num_views", "px"), [(0, 32), (4, 0), (4, 4)])
def test_impossible_scans_are_refused(num_views: int, px: int) -> None:
    with pytest.raises(DataError):
        scan(np.eye(3), np.array([[0, 1, 2]]), num_views, px)
