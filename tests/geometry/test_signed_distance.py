"""Signed distance by virtual scan: closed forms, and the meshes that other methods get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import fibonacci_directions, look_at, orthographic_views, pixel_rays
from raylift.geometry.signed_distance import THICKNESS, Scan, ScanDistance
from raylift.geometry.voxels import grid_points
from raylift.rendering.virtual_scan import scan
from tests.reference.winding import winding_number

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (3000, 3))


def _of(mesh: trimesh.Trimesh) -> ScanDistance:
    return ScanDistance(mesh.vertices, mesh.faces, scan(mesh.vertices, mesh.faces, num_views=60, px=256))


def _sphere_scan(cameras: Camera, radius: float, num_faces: int, px: int = 96) -> Scan:
    """Depth of a perfect sphere, by solving the quadratic for every pixel's ray."""
    origins, directions = (rays.double().numpy() for rays in pixel_rays(cameras, px, px))
    along = -(origins * directions).sum(-1)
    discriminant = along**2 - (origins**2).sum(-1) + radius**2
    travelled = along - np.sqrt(np.maximum(discriminant, 0))
    hits = origins + travelled[..., None] * directions
    rotation, translation = cameras.rotation.double().numpy(), cameras.translation.double().numpy()
    depth = np.einsum("mhwc,mc->mhw", hits, rotation[:, 2]) + translation[:, 2, None, None]
    depths = np.where(discriminant > 0, depth, 0).astype(np.float32)
    return Scan(depths, cameras, np.ones(num_faces, bool))


def _perspective_views(count: int) -> Camera:
    directions = fibonacci_directions(count)
    up = torch.tensor([[0.2, 1.0, 0.1]], dtype=torch.float64).expand(count, 3)
    rotation, translation = look_at(2.5 * directions, torch.zeros(count, 3, dtype=torch.float64), up)
    return Camera(torch.full((count, 2), 2.2), torch.zeros(count, 2), rotation.float(), translation.float())


@pytest.mark.parametrize("projection", ["orthographic", "perspective"])
def test_sphere(projection: str) -> None:
    mesh = trimesh.creation.icosphere(4, 0.4)
    views = (
        orthographic_views(fibonacci_directions(60), 0.5) if projection == "orthographic" else _perspective_views(60)
    )
    found = ScanDistance(mesh.vertices, mesh.faces, _sphere_scan(views, 0.4, len(mesh.faces)))(POINTS)
    exact = np.linalg.norm(POINTS, axis=1) - 0.4 - THICKNESS
    assert found.dtype == np.float32
    # Nearer to the surface than a (coarse) pixel can tell, the distance may have the other sign: S hardly changes.
    np.testing.assert_allclose(found, exact, atol=8e-3)
    assert (np.abs(found - exact) > 2e-3).mean() < 2e-3
    np.testing.assert_array_equal((found < 0)[np.abs(exact) > 4e-3], (exact < 0)[np.abs(exact) > 4e-3])


def test_watertight_mesh_agrees_with_winding_numbers() -> None:
    mesh = trimesh.creation.torus(0.35, 0.12)
    found = _of(mesh)(POINTS)
    ring = np.hypot(np.hypot(POINTS[:, 0], POINTS[:, 1]) - 0.35, POINTS[:, 2]) - 0.12
    clear = np.abs(ring) > 0.01
    np.testing.assert_array_equal((found < 0)[clear], (ring < 0)[clear])
    winds = winding_number(POINTS, mesh.vertices, mesh.faces) > 0.5
    np.testing.assert_array_equal((found < 0)[clear], winds[clear])
    np.testing.assert_allclose(found[clear], ring[clear] - THICKNESS, atol=6e-3)


def test_orientation_does_not_matter() -> None:
    mesh = trimesh.creation.box((0.8, 0.3, 0.5))
    flipped = mesh.faces.copy()
    flipped[::2] = flipped[::2, ::-1]
    turned = trimesh.Trimesh(mesh.vertices, flipped, process=False)
    np.testing.assert_array_equal(_of(mesh)(POINTS), _of(turned)(POINTS))
    wrong = (winding_number(POINTS, turned.vertices, turned.faces) > 0.5) != (np.abs(POINTS) < [0.4, 0.15, 0.25]).all(1)
    assert wrong.mean() > 0.03, "winding numbers do depend on it"


def test_a_sheet_becomes_a_thin_solid() -> None:
    vertices = np.array([[-0.5, 0, -0.4], [0.5, 0, -0.4], [0.5, 0, 0.4], [-0.5, 0, 0.4]])
    sheet = trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], process=False)
    heights = np.array([-0.1, -0.01, -0.0035, 0.0, 0.0035, 0.01, 0.1])
    found = _of(sheet)(np.stack([0 * heights + 0.1, heights, 0 * heights - 0.05], axis=1))
    np.testing.assert_array_equal(found < 0, np.abs(heights) < THICKNESS)
    np.testing.assert_allclose(found[[0, 1, 5, 6]], np.abs(heights[[0, 1, 5, 6]]) - THICKNESS, atol=1e-6)


def test_an_open_box_is_a_shell() -> None:
    box = trimesh.creation.box((0.8, 0.8, 0.8))
    top = (box.triangles[:, :, 1] > 0.39).all(axis=1)
    shell = trimesh.Trimesh(box.vertices, box.faces[~top], process=False)
    found = _of(shell)(np.array([[0.0, 0, 0], [0.2, -0.3, 0.1], [0.4, 0.0, 0.0], [0.0, 0.5, 0.0]]))
    np.testing.assert_array_equal(found < 0, [False, False, True, False])


def test_overlapping_and_hidden_parts() -> None:
    """Two boxes that intersect, and a ball inside that no one sees: one solid, whose inside knows only its hull."""
    parts = [trimesh.creation.box((0.9, 0.3, 0.3)), trimesh.creation.box((0.3, 0.9, 0.3))]
    ball = trimesh.creation.icosphere(2, 0.08)
    mesh = trimesh.util.concatenate([*parts, ball])
    sd = _of(mesh)
    inside = (np.abs(POINTS) < [0.45, 0.15, 0.15]).all(1) | (np.abs(POINTS) < [0.15, 0.45, 0.15]).all(1)
    found = sd(POINTS)
    clear = np.abs(found + THICKNESS) > 0.01
    np.testing.assert_array_equal((found < 0)[clear], inside[clear])
    # The centre is 0.15 from the hull, though 0.08 from the hidden ball.
    assert sd([[0.0, 0.0, 0.0]])[0] == pytest.approx(-0.15 - THICKNESS, abs=1e-3)


def test_a_bounded_distance_is_the_clipped_one() -> None:
    sd = _of(trimesh.creation.torus(0.35, 0.12))
    full, bounded = sd(POINTS) + THICKNESS, sd(POINTS, max_distance=0.1) + THICKNESS
    np.testing.assert_allclose(bounded, full.clip(-0.1, 0.1), atol=1e-6)


def test_far_away_is_outside() -> None:
    found = _of(trimesh.creation.icosphere(2, 0.4))(np.array([[5.0, 0, 0], [0, -90.0, 3], [0.54, 0.54, 0.54]]))
    assert (found > 0).all()


def test_a_grid_of_a_box_has_its_volume() -> None:
    inside = _of(trimesh.creation.box((0.8, 0.5, 0.6)))(grid_points(32)) < -THICKNESS
    assert inside.mean() * 1.1**3 == pytest.approx(0.8 * 0.5 * 0.6, rel=0.06)


def test_scans_of_something_else_are_refused() -> None:
    box = trimesh.creation.box((0.8, 0.5, 0.6))
    seen = scan(box.vertices, box.faces, num_views=4, px=32)
    with pytest.raises(DataError, match="faces"):
        ScanDistance(box.vertices, box.faces[:5], seen)
    with pytest.raises(DataError, match="visible"):
        ScanDistance(box.vertices, box.faces, Scan(seen.depths, seen.cameras, np.zeros(12, bool)))
    with pytest.raises(DataError, match="depths"):
        Scan(seen.depths[:2], seen.cameras, seen.visible_faces)
