"""Coarse-to-fine extraction gives the dense grid's mesh, closed, oriented and coloured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh
from skimage.measure import marching_cubes
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Field, Mesh
from raylift.geometry.iso_surface import extract
from raylift.geometry.voxels import grid_points


def _box(points: Tensor, center: tuple[float, float, float], half: tuple[float, float, float]) -> Tensor:
    q = (points - torch.tensor(center)).abs() - torch.tensor(half)
    return q.clamp(min=0).norm(dim=-1) + q.max(-1).values.clamp(max=0)


def _sphere(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 0.4


def _chair(points: Tensor) -> Tensor:
    """A seat, a back and four legs as thin as 0.03."""
    parts = [_box(points, (0, 0, 0), (0.3, 0.03, 0.3)), _box(points, (0, 0.25, -0.28), (0.3, 0.25, 0.02))]
    for x in (-0.27, 0.27):
        parts += [_box(points, (x, -0.25, z), (0.015, 0.25, 0.015)) for z in (-0.27, 0.27)]
    return torch.stack(parts).min(0).values


def _bumpy(points: Tensor) -> Tensor:
    """Not a distance: steeper and flatter by turns."""
    return _sphere(points) + 0.03 * torch.sin(30 * points).prod(-1)


FIELDS: dict[str, Callable[[Tensor], Tensor]] = {
    "sphere": _sphere,
    "chair": _chair,
    "truncated": lambda points: _chair(points).clamp(-0.1, 0.1),
    "occupancy": lambda points: 0.5 - torch.sigmoid(-100 * _chair(points)),
    "bumpy": _bumpy,
    "leaves the grid": lambda points: points.norm(dim=-1) - 0.7,
    "half space": lambda points: points[:, 0] - 0.123,
    "all inside": lambda points: torch.full_like(points[:, 0], -1.0),
    "nothing": lambda points: torch.full_like(points[:, 0], 1.0),
    "a blob apart": lambda points: torch.minimum(_chair(points), (points - 0.4).norm(dim=-1) - 0.02).clamp(-0.1, 0.1),
}


def _field(values: Callable[[Tensor], Tensor]) -> Field:
    return Field(lambda points: (values(points), points + 0.5))


def _solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)


@pytest.mark.parametrize(
    ("name", "resolution"), [*((name, size) for name in FIELDS for size in (64, 83)), ("truncated", 128)]
)
def test_same_mesh_as_dense(name: str, resolution: int) -> None:
    sparse, stats = extract(_field(FIELDS[name]), resolution, coarse=16)
    dense, dense_stats = extract(_field(FIELDS[name]), resolution, coarse=0)
    torch.testing.assert_close(sparse.vertices, dense.vertices, atol=0, rtol=0)
    torch.testing.assert_close(sparse.faces, dense.faces, atol=0, rtol=0)
    assert stats.num_evaluations < dense_stats.num_evaluations
    assert dense_stats.num_evaluations == stats.num_dense


def test_dense_is_marching_cubes_on_the_house_grid() -> None:
    mesh, _ = extract(_field(_chair), 40, coarse=0)
    volume = _chair(torch.from_numpy(grid_points(40))).reshape(40, 40, 40).numpy()
    vertices, faces, _, _ = marching_cubes(volume, 0.0)
    np.testing.assert_allclose(mesh.vertices.numpy(), (vertices + 0.5) * (1.1 / 40) - 0.55, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces.numpy(), faces)


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "nothing"])
def test_closed_and_oriented(name: str) -> None:
    solid = _solid(extract(_field(FIELDS[name]), 64, coarse=16)[0])
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume > 0


def test_sphere_closed_form() -> None:
    mesh, _ = extract(_field(_sphere), 96)
    np.testing.assert_allclose(mesh.vertices.norm(dim=-1), 0.4, atol=2e-4)
    assert _solid(mesh).volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=2e-3)


def test_colors_are_the_fields_own() -> None:
    mesh, stats = extract(_field(_sphere), 48, chunk=1000)
    assert mesh.vertex_colors is not None
    torch.testing.assert_close(mesh.vertex_colors, mesh.vertices + 0.5)
    assert stats.num_vertex_evaluations == len(mesh.vertices)
    assert extract(_field(_sphere), 48, colors=False)[0].vertex_colors is None


def test_level() -> None:
    mesh, _ = extract(_field(_sphere), 64, level=0.05)
    np.testing.assert_allclose(mesh.vertices.norm(dim=-1), 0.45, atol=5e-4)


def test_queries_are_chunked_and_counted() -> None:
    sizes: list[int] = []

    def query(points: Tensor) -> tuple[Tensor, Tensor]:
        assert not torch.is_grad_enabled()
        sizes.append(len(points))
        return _sphere(points), points + 0.5

    told: list[tuple[int, int]] = []
    _, stats = extract(Field(query), 64, chunk=777, coarse=16, progress=lambda done, known: told.append((done, known)))
    assert max(sizes) <= 777
    assert sum(sizes) == stats.num_evaluations
    assert all(done <= known for done, known in told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_only_vertices_are_asked_for_colors() -> None:
    sizes: list[int] = []

    def query(points: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(points))
        return _sphere(points), points + 0.5

    mesh, stats = extract(Field(query, values=_sphere), 64, coarse=16)
    same, same_stats = extract(Field(query), 64, coarse=16)
    assert sum(sizes) == len(mesh.vertices) + same_stats.num_evaluations
    assert stats.num_evaluations == same_stats.num_evaluations
    assert mesh.vertex_colors is not None
    assert same.vertex_colors is not None
    assert torch.equal(mesh.vertices, same.vertices)
    assert torch.equal(mesh.vertex_colors, same.vertex_colors)


def _wire(points: Tensor) -> Tensor:
    """A field that lies about distance: far from a thin wire it looks empty; a ball is where the wire starts."""
    ball = (points - torch.tensor([-0.3, 0.0, 0.0])).norm(dim=-1) - 0.1
    on_wire = ((points[:, 1:] - 0.004).abs().max(-1).values < 0.012) & (points[:, 0].abs() < 0.35)
    return torch.where(on_wire, torch.full_like(ball, -1.0), torch.where(ball < 0, ball, ball.clamp(min=0.4)))


def test_the_surface_is_followed_where_the_bound_fails() -> None:
    sparse, stats = extract(_field(_wire), 128, coarse=16, lipschitz=0.1)
    dense, _ = extract(_field(_wire), 128, coarse=0)
    torch.testing.assert_close(sparse.vertices, dense.vertices, atol=0, rtol=0)
    torch.testing.assert_close(sparse.faces, dense.faces, atol=0, rtol=0)
    assert stats.num_followed > 0


def test_probes_find_a_part_that_the_lattice_missed() -> None:
    """A field that says nothing of a second ball until one is inside it: one that spans a few coarse cells' insides."""

    def values(points: Tensor) -> Tensor:
        # Planks between the coarse lattice's planes (every eighth sample), invisible from its samples.
        index = torch.round((points[:, 0] + 0.55) / (1.1 / 128) - 0.5)
        between = (index % 8 > 1.5) & (index % 8 < 6.5)
        hidden = between & (points[:, 1:].abs().max(-1).values < 0.3) & (points[:, 0] > 0.2) & (points[:, 0] < 0.4)
        return torch.where(hidden, torch.full_like(points[:, 0], -0.5), torch.full_like(points[:, 0], 0.5))

    sparse, stats = extract(_field(values), 128, coarse=16, lipschitz=0.1)
    dense, _ = extract(_field(values), 128, coarse=0)
    assert stats.num_probe_hits > 0
    torch.testing.assert_close(sparse.vertices, dense.vertices, atol=0, rtol=0)
    torch.testing.assert_close(sparse.faces, dense.faces, atol=0, rtol=0)


def test_evaluations_grow_with_area_not_volume() -> None:
    few, many = (extract(_field(_chair), resolution, coarse=16)[1] for resolution in (64, 128))
    assert many.num_evaluations < 5 * few.num_evaluations
    assert many.num_dense > 9 * many.num_evaluations


def test_nothing_gives_an_empty_mesh() -> None:
    mesh, stats = extract(_field(FIELDS["nothing"]), 64, coarse=16)
    assert mesh.is_empty
    assert mesh.vertices.shape == (0, 3)
    assert mesh.vertex_colors is not None
    assert mesh.vertex_colors.shape == (0, 3)
    assert stats.num_vertex_evaluations == 0


def test_extraction_is_deterministic() -> None:
    first, second = (extract(_field(_bumpy), 64, coarse=16) for _ in range(2))
    torch.testing.assert_close(first[0].vertices, second[0].vertices, atol=0, rtol=0)
    assert first[1].num_evaluations == second[1].num_evaluations


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="finite"):
        extract(_field(lambda points: torch.where(points[:, 0] > 0.3, bad, _sphere(points))), 32)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="resolution"):
        extract(_field(_sphere), 1)
    with pytest.raises(ConfigError, match="chunk"):
        extract(_field(_sphere), 32, chunk=0)
    with pytest.raises(DataError, match="shape"):
        extract(Field(lambda points: (points, points)), 32)
