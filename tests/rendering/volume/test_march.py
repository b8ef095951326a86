"""The ray-marcher against the dense renderer, finite differences, symmetries and a ball's silhouette."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.core import kernel_threads
from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera, Projection
from raylift.geometry.cameras import camera_centers, orbit_views, pixel_rays
from raylift.rendering.volume.grid import VolumeGrid, VolumeKind
from raylift.rendering.volume.march import render_volume
from raylift.rendering.volume.march_kernels import BLOCK
from tests.rendering.volume.scenes import (
    cameras,
    cell_centers,
    chair,
    leaves_of,
    of_leaves,
    random_grid,
    render_densely,
    render_exactly,
    stacked,
)

KINDS = ("density", "occupancy")
PROJECTIONS = ("perspective", "orthographic")
OWNERS = torch.tensor([1, 0, 1])


def pulled(picture: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a fixed random combination of what was seen."""
    draw = torch.randn(picture.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(picture)
    return torch.autograd.grad((picture * draw).sum(), leaves)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_without_thresholds_it_equals_the_dense_renderer(kind: VolumeKind, projection: Projection) -> None:
    grid, camera = random_grid(kind), cameras(3, projection)
    leaves = leaves_of(grid, camera)
    ours = stacked(render_exactly(*of_leaves(leaves, grid, camera), 9, 11, OWNERS))
    dense = stacked(render_densely(*of_leaves(leaves, grid, camera), 9, 11, OWNERS))
    assert 0.1 < float(dense[:, 3].detach().mean()) < 0.9
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-12)
    for mine, expected in zip(pulled(ours, leaves), pulled(dense, leaves), strict=True):
        assert float(expected.norm()) > 0.1
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_rays_of_several_blocks_and_channels_beyond_one_vector_are_exact(kind: VolumeKind) -> None:
    grid, camera, num_samples = random_grid(kind, channels=6), cameras(2), 2 * BLOCK + 5
    leaves = leaves_of(replace(grid, density=grid.density / 4), camera)  # light is left behind the last block
    ours = stacked(render_exactly(*of_leaves(leaves, grid, camera), 7, num_samples))
    dense = stacked(render_densely(*of_leaves(leaves, grid, camera), 7, num_samples))
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-12)
    for mine, expected in zip(pulled(ours, leaves), pulled(dense, leaves), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-11)


def test_a_picture_has_the_same_bits_without_gradients() -> None:
    grid, camera = chair(2), cameras(2, dtype=torch.float32)
    leaves = leaves_of(grid, camera)
    with torch.no_grad():
        alone = stacked(render_volume(grid, camera, 16))
    assert torch.equal(stacked(render_volume(*of_leaves(leaves, grid, camera), 16)), alone)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_gradients_are_derivatives(kind: VolumeKind, projection: Projection) -> None:
    grid, camera = random_grid(kind, (1, 3, 4, 3), channels=2), cameras(1, projection)

    def picture(*leaves: Tensor) -> Tensor:
        return stacked(render_exactly(*of_leaves(list(leaves), grid, camera), 4, 5))

    assert torch.autograd.gradcheck(picture, leaves_of(grid, camera), atol=1e-6)


def test_an_opaque_cell_stops_light_and_gradients_at_what_it_hides() -> None:
    """Occupancy 1, through which no light passes: nothing is divided by its vacancy."""
    grid, camera = random_grid("occupancy"), cameras(2)
    grid.density[:, 1:4, 2:5, 2:5] = 1
    leaves = leaves_of(grid, camera)
    ours = stacked(render_exactly(*of_leaves(leaves, grid, camera), 9, 11))
    dense = stacked(render_densely(*of_leaves(leaves, grid, camera), 9, 11))
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-12)
    for mine, expected in zip(pulled(ours, leaves), pulled(dense, leaves), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("scene", ["chair", "haze", "fog"])
def test_with_thresholds_it_is_within_a_thousandth(scene: str) -> None:
    """A chair, a chair in a haze thinner than any threshold, and thin fog alone."""
    grid, camera = chair(3), cameras(3, dtype=torch.float32)
    if scene != "chair":
        level = 1e-4 if scene == "haze" else 0.05
        grid = replace(grid, density=level + (grid.density if scene == "haze" else 0 * grid.density))
    ours, dense = stacked(render_volume(grid, camera, 32)), stacked(render_densely(grid, camera, 32, 48))
    assert float(dense[:, 3].max()) > (0.02 if scene == "fog" else 0.99)
    assert float((ours - dense)[:, :4].abs().max()) < 1e-3
    assert float((ours - dense)[:, 4].abs().max()) < 3e-3  # the depth of an object some 2.5 away


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_with_thresholds_are_close(kind: VolumeKind) -> None:
    grid, camera = chair(2), cameras(2, dtype=torch.float32)
    grid = replace(grid, density=grid.density * (1 if kind == "density" else 0.01) + 1e-3, kind=kind)
    leaves = leaves_of(grid, camera)
    ours = pulled(stacked(render_volume(*of_leaves(leaves, grid, camera), 32)), leaves)
    dense = pulled(stacked(render_densely(*of_leaves(leaves, grid, camera), 32, 48)), leaves)
    for mine, expected in zip(ours[1:], dense[1:], strict=True):
        assert float((mine - expected).norm()) < 0.01 * float(expected.norm())
    # By the density's logarithm, which is what a softplus or a sigmoid passes on in empty space.
    assert float(((ours[0] - dense[0]) * grid.density).norm()) < 0.02 * float((dense[0] * grid.density).norm())


def test_constant_features_are_alpha_times_the_constant() -> None:
    """No weight is lost by features that are not read: no dark seams on a white background."""
    grid, camera = chair(2), cameras(2, dtype=torch.float32)
    grid = replace(grid, features=torch.ones_like(grid.features), density=grid.density + 1e-3)
    ours, dense = render_volume(grid, camera, 24), render_densely(grid, camera, 24, 48)
    # Zero but for the border of the box, where features fade to 0.
    dark, expected = ours.alpha - ours.features, dense.alpha - dense.features
    assert float(expected.abs().median()) < 1e-4
    torch.testing.assert_close(dark, expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_space_is_pulled_to_fill_up(kind: VolumeKind) -> None:
    """Nothing stops light, yet every cell that a ray passes has its gradient, with and without thresholds."""
    shape, camera = (1, 8, 8, 8), cameras(1)
    for min_weight in (0.0, 1e-3):
        density = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        grid = VolumeGrid(density, torch.rand(1, 3, 8, 8, 8, dtype=torch.float64), kind=kind)
        seen = render_volume(grid, camera, 48, min_weight=min_weight)
        (gradient,) = torch.autograd.grad(seen.alpha.sum(), density)
        assert bool((seen.alpha == 0).all())
        assert bool((gradient > 0).all())
        (gradient,) = torch.autograd.grad(render_volume(grid, camera, 48).features.sum(), density)
        assert bool((gradient >= 0).all())
        assert float((gradient > 0).double().mean()) > 0.9


def test_a_ball_has_the_silhouette_of_a_ball() -> None:
    """Opaque inside a radius: alpha is 1 where the ray passes the centre by less, from every side and projection."""
    radius, resolution = 0.35, 48
    distance = cell_centers(resolution).norm(dim=-1)
    density = (400 * torch.sigmoid((radius - distance) / 0.004)).float()[None]
    for projection in PROJECTIONS:
        camera = cameras(4, projection, torch.float32)
        views = torch.zeros(4, dtype=torch.int64)
        seen = render_volume(VolumeGrid(density, density[:, None]), camera, 40, 96, views)
        origins, directions = pixel_rays(camera, 40, 40)
        passes = torch.linalg.cross(-origins, directions).norm(dim=-1)
        sure = (passes - radius).abs() > 0.045  # a cell from corner to corner
        assert 0.05 < float((passes < radius).float().mean()) < 0.5
        expected = (passes < radius).float()
        assert float((seen.alpha[:, 0] - expected)[sure].abs().max()) < 0.02
        if projection == "perspective":
            to_center = camera_centers(camera).norm(dim=-1)
            along = to_center[:, None, None].square() - passes.square()
            depth = along.clamp(min=0).sqrt() - (radius**2 - passes.square()).clamp(min=0).sqrt()
            depth = depth * (directions * camera.rotation[:, None, None, 2]).sum(-1)
            well_inside = passes < 0.5 * radius
            assert float((seen.depth[:, 0] - depth)[well_inside].abs().max()) < 0.03


def test_turning_the_camera_is_turning_the_volume() -> None:
    """A quarter turn about Y takes x to -z and z to x: the volume's axes and the cameras' turned alike."""
    grid, camera = random_grid("density", (2, 6, 5, 6)), cameras(2)
    turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=torch.float64)
    turned = VolumeGrid(
        torch.rot90(grid.density, 1, (3, 1)).contiguous(), torch.rot90(grid.features, 1, (4, 2)).contiguous()
    )
    # A point x is at turn @ x now, so that a camera sees R turn^T of it.
    moved = replace(camera, rotation=camera.rotation @ turn.T)
    torch.testing.assert_close(
        stacked(render_exactly(turned, moved, 9, 12)), stacked(render_exactly(grid, camera, 9, 12)), rtol=0, atol=1e-12
    )


def test_a_mirrored_volume_is_a_mirrored_picture() -> None:
    grid, camera = random_grid("density", (1, 6, 5, 4)), orbit_views(1).to("cpu", torch.float64)
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    mirrored = replace(grid, density=grid.density.flip(1), features=grid.features.flip(2))
    # Mirrored in the world and in the image: a rotation again.
    other = replace(camera, rotation=flip[:, None] * camera.rotation * flip, translation=camera.translation * flip)
    seen, expected = render_exactly(mirrored, other, 8, 12), render_exactly(grid, camera, 8, 12)
    torch.testing.assert_close(stacked(seen), stacked(expected).flip(-1), rtol=0, atol=1e-12)


def test_a_camera_that_steps_aside_moves_the_picture_the_other_way() -> None:
    """Signs of the camera's gradients: an object left of the middle comes nearer to it."""
    grid, camera = chair(), orbit_views(1)
    translation = camera.translation.clone().requires_grad_()
    focal = camera.focal.clone().requires_grad_()
    seen = render_volume(grid, replace(camera, translation=translation, focal=focal), 32)
    columns = torch.linspace(-1, 1, 32)
    center = (seen.alpha * columns).sum() / seen.alpha.sum()
    by_translation, by_focal = torch.autograd.grad(center + seen.alpha.mean(), (translation, focal))
    assert float(by_translation[0, 0]) > 0.1
    (backing_off,) = torch.autograd.grad(
        render_volume(grid, replace(camera, translation=translation), 32).alpha.mean(), translation
    )
    assert float(backing_off[0, 2]) < 0
    assert bool((by_focal != 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_for_any_number_of_threads(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, camera = chair(2), cameras(3, dtype=dtype)
    grid = replace(grid, density=grid.density.to(dtype), features=grid.features.to(dtype))

    def work() -> list[Tensor]:
        leaves = leaves_of(grid, camera)
        seen = stacked(render_volume(*of_leaves(leaves, grid, camera), 20, grid_of_view=OWNERS))
        assert seen.dtype == dtype
        return [seen.detach(), *pulled(seen, leaves)]

    alone = work()
    monkeypatch.setattr(kernel_threads.torch, "get_num_threads", lambda: 3)
    for _ in range(3):
        assert all(torch.equal(one, other) for one, other in zip(alone, work(), strict=True))


def test_views_of_a_batch_do_not_mix() -> None:
    grid, camera = random_grid("density"), cameras(3)
    together = stacked(render_volume(grid, camera, 8, grid_of_view=OWNERS))
    for view, owner in enumerate(OWNERS.tolist()):
        one = VolumeGrid(grid.density[owner : owner + 1], grid.features[owner : owner + 1])
        assert torch.equal(together[view : view + 1], stacked(render_volume(one, camera[view], 8)))


def test_gradients_of_some_inputs_alone() -> None:
    grid, camera = random_grid("density"), cameras(2)
    leaves = leaves_of(grid, camera)
    expected = pulled(stacked(render_exactly(*of_leaves(leaves, grid, camera), 6, 8)), leaves)
    for index, leaf in enumerate(leaves):
        alone = [one if index == other else one.detach() for other, one in enumerate(leaves)]
        (gradient,) = pulled(stacked(render_exactly(*of_leaves(alone, grid, camera), 6, 8)), [leaf])
        assert torch.equal(gradient, expected[index])


def test_autocast_leaves_float32_alone() -> None:
    grid, camera = chair(), cameras(1, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        low = render_volume(replace(grid, features=grid.features.bfloat16().float()), camera, 16)
        cast = render_volume(replace(grid, features=grid.features.bfloat16()), camera, 16)
    plain = render_volume(replace(grid, features=grid.features.bfloat16().float()), camera, 16)
    assert cast.features.dtype == torch.float32
    assert torch.equal(stacked(low), stacked(plain))
    assert torch.equal(stacked(cast), stacked(plain))


def test_a_camera_that_looks_away_sees_nothing() -> None:
    grid, camera = chair(), cameras(1, dtype=torch.float32)
    away = replace(camera, translation=camera.translation * torch.tensor([1.0, 1.0, -1.0]))
    leaves = leaves_of(grid, away)
    seen = stacked(render_volume(*of_leaves(leaves, grid, away), 8))
    assert bool((seen == 0).all())
    assert all(bool((gradient == 0).all()) for gradient in pulled(seen, leaves))


def test_settings_that_cannot_be_meant() -> None:
    grid, camera = chair(2, 8), cameras(2, dtype=torch.float32)
    for settings, word in (({"num_samples": 0}, "num_samples"), ({"min_weight": -0.1}, "min_weight")):
        with pytest.raises(ConfigError, match=word):
            render_volume(grid, camera, 8, **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stop_transmittance"):
        render_volume(grid, camera, 8, stop_transmittance=math.nan)
    with pytest.raises(DataError, match="pixels"):
        render_volume(grid, camera, 0)
    with pytest.raises(DataError, match="pass grid_of_view"):
        render_volume(grid, cameras(3, dtype=torch.float32), 8)
    for owners in (torch.tensor([0, 2]), torch.tensor([0, -1]), torch.tensor([0])):
        with pytest.raises(DataError, match="grid_of_view"):
            render_volume(grid, camera, 8, grid_of_view=owners)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_densities_that_are_impossible(bad: float) -> None:
    grid, camera = chair(1, 8), cameras(1, dtype=torch.float32)
    grid.density[0, 4, 4, 4] = bad
    with pytest.raises(DataError, match="density"):
        render_volume(grid, camera, 8)


def test_values_that_are_impossible() -> None:
    grid, camera = chair(1, 8), cameras(1, dtype=torch.float32)
    with pytest.raises(DataError, match="occupancy is from"):
        render_volume(replace(grid, kind="occupancy"), camera, 8)
    grid.features[0, 0, 3, 3, 3] = math.nan
    with pytest.raises(DataError, match="features"):
        render_volume(grid, camera, 8)

    def broken(part: str, value: float) -> Camera:
        return replace(camera, **{part: torch.full_like(getattr(camera, part), value)})

    for part, value in (("translation", math.nan), ("rotation", math.inf), ("focal", 0.0)):
        with pytest.raises(DataError, match="camera"):
            render_volume(chair(1, 8), broken(part, value), 8)
