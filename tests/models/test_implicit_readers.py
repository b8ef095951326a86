"""Readers of the implicit model, against closed forms: an oblique sheet, a painted picture, a mirrored scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Camera
from raylift.geometry.cameras import orbit, pixel_centers, pixel_rays, unproject
from raylift.geometry.voxels import grid_points
from raylift.models.implicit.mirroring import drawn_mirrors, mirrored
from raylift.models.implicit.model import ImplicitModel
from raylift.models.implicit.readers.distance_grid import DistanceGridReader
from raylift.models.implicit.readers.gaps import GapReader, PlaneReader
from raylift.models.implicit.readers.nearest import NearestReader
from raylift.models.implicit.readers.pixels import PixelReader
from raylift.models.implicit.readers.reader import MirroredToo, Query, Reader, Reading
from raylift.models.implicit.readers.told_points import ToldPointsReader
from raylift.models.implicit.readers.volumes import GapGridReader
from raylift.models.implicit.view import View
from tests.models.implicit_samples import VARIANTS, as_double, small_config, spheres

SIDE = 32
NORMAL = torch.nn.functional.normalize(torch.tensor([0.4, 0.5, 0.7], dtype=torch.float64), dim=0)
WIDE = (10.0,)
"""A scale at which no length here is clamped."""


def sheet(camera: Camera, offset: float = 0.05, half_width: float = 0.4) -> Batch:
    """A square of the plane NORMAL . x = offset, red to the left of its middle and blue to the right."""
    origins, directions = pixel_rays(camera, SIDE, SIDE)
    along = (offset - origins @ NORMAL) / (directions @ NORMAL)
    hit = origins + along[..., None] * directions
    z = (hit.flatten(1, 2) @ camera.rotation.mT + camera.translation[:, None])[..., 2].reshape(-1, 1, SIDE, SIDE)
    seen = (hit[..., :2].abs().amax(-1) < half_width)[:, None]
    red, blue = (torch.tensor(color).double()[None, :, None, None] for color in ([1.0, 0, 0], [0, 0, 1.0]))
    image = torch.where(seen, torch.where(hit[..., :1].permute(0, 3, 1, 2) < 0, red, blue), 1.0)
    fields = {"image": image, "mask": seen.double(), "depth": torch.where(seen, z, 0.0)}
    ids = tuple(f"sheet{index}#0" for index in range(len(camera)))
    return Batch(ids, torch.arange(len(camera)), fields, camera)


@pytest.fixture
def view() -> View:
    return View(sheet(orbit(25.0, 30.0).to("cpu", torch.float64)))


def read(reader: Reader, view: View, points: Tensor) -> Reading:
    return reader.read(reader.encode(view), Query(view.camera, points))


def points_off(view: View, place: tuple[float, float], away: float) -> Tensor:
    """A point that projects to a place, ``away`` from the sheet along its normal (positive: on the camera's side)."""
    uv = torch.tensor([[place]], dtype=torch.float64)
    near, far = (unproject(view.camera, uv, torch.full((1, 1), z, dtype=torch.float64)) for z in (1.0, 3.0))
    share = (0.05 + away - near @ NORMAL) / ((far - near) @ NORMAL)
    return near + share[..., None] * (far - near)


@pytest.mark.parametrize("place", [(0.01, -0.02), (0.031, 0.029), (-0.05, 0.06)])
@pytest.mark.parametrize("away", [0.03, 0.0, -0.07])
def test_plane_distance_is_exact_anywhere_in_a_pixel(view: View, place: tuple[float, float], away: float) -> None:
    points = points_off(view, place, away)
    assert float(read(PlaneReader(WIDE), view, points).features) * WIDE[0] == pytest.approx(away, abs=1e-7)
    # The gap is only as good as a pixel: across one, the sheet's depth changes.
    gap = float(read(GapReader(WIDE), view, points).features[..., 0]) * WIDE[0]
    assert gap == pytest.approx(away, abs=0.5 * abs(away) + 0.05)


def test_gap_is_positive_in_front_negative_behind_and_says_where_nothing_is_seen(view: View) -> None:
    reader = GapReader((0.1, 0.4))
    gaps = [read(reader, view, points_off(view, (0.01, 0.01), away)).features[0, 0].tolist() for away in (0.2, -0.2)]
    empty = read(reader, view, points_off(view, (0.95, 0.95), -0.2)).features[0, 0].tolist()
    assert gaps[0][0] == 1.0
    assert 0 < gaps[0][1] <= 1
    assert gaps[1][0] == -1.0
    assert -1 <= gaps[1][1] < 0
    assert (gaps[0][2], gaps[1][2]) == (0.0, 0.0)
    assert empty == [1.0, 1.0, 1.0]


def test_pixels_on_both_sides_offer_the_objects_own_color(view: View) -> None:
    for x, color in ((-0.2, [1.0, 0, 0]), (0.2, [0, 0, 1.0])):
        point = torch.tensor([[[x, 0.0, 0.0]]], dtype=torch.float64)
        reading = read(PixelReader(), view, point)
        torch.testing.assert_close(reading.colors[0][0, 0], torch.tensor(color).double())
        torch.testing.assert_close(reading.features[0, 0], 2 * torch.tensor([*color, 1.0]).double() - 1)
    # Half a pixel over the edge the picture is mixed with white, and the offered colour is not.
    corner = view.clouds[0].index.points[:1][None]
    toward = Query(view.camera, corner).uv + torch.tensor([-0.8 / SIDE, 0.0])
    edge = unproject(view.camera, toward, Query(view.camera, corner).depth)
    reading = read(PixelReader(), view, edge)
    assert 0 < float(reading.features[0, 0, 3] + 1) / 2 < 1
    assert float(reading.colors[0].amin()) < 1e-9


def test_nearest_point_is_found_wherever_it_projects(view: View) -> None:
    cloud = view.clouds[0].index.points
    query = cloud[::7][None] + 0.04 * NORMAL
    reading = read(NearestReader(WIDE, WIDE), view, query)
    distance, plane = (reading.features[..., k] * WIDE[0] for k in (0, 1))
    torch.testing.assert_close(plane, torch.full_like(plane, 0.04), rtol=0, atol=1e-7)
    torch.testing.assert_close(distance[0], torch.cdist(query[0], cloud).amin(1))
    red = query[0, :, 0] < -0.05
    assert reading.colors[0][0, red].tolist() == [[1.0, 0.0, 0.0]] * int(red.sum())


def test_views_without_a_visible_point_are_refused(view: View) -> None:
    empty = replace(view.batch, fields={**view.batch.fields, "depth": torch.zeros_like(view.depth)})
    with pytest.raises(DataError, match="sheet0#0 has no visible point"):
        _ = View(empty).clouds


@pytest.mark.parametrize("variant", ["reads", "reads-no-maps", "told", "told-no-maps"])
def test_mirroring_the_scene_swaps_what_is_read_at_a_point_and_at_its_image(variant: str) -> None:
    """Law of the mirrored samples: each reader says of (-x, y, z) in the mirrored scene what it said of p."""
    config = small_config(variant)
    batch = as_double(spheres(config, 3))
    assert batch.camera is not None
    # A camera that looks past the object, so that every part of it must be mirrored.
    beside = replace(
        batch.camera,
        principal=batch.camera.principal + batch.camera.principal.new_tensor([0.07, -0.04]),
        translation=batch.camera.translation + batch.camera.translation.new_tensor([0.05, 0.03, 0.0]),
    )
    batch = replace(batch, camera=beside)
    flipped = mirrored(batch, torch.ones(3, dtype=torch.bool))
    network = ImplicitModel(config, seed=0).network.double()
    for name, reader in network.readers.items():
        if name in ("maps", "volumes"):
            continue  # convolutions are not symmetric
        own = read(reader, View(batch), batch["points"])
        other = read(reader, View(flipped), flipped["points"])
        torch.testing.assert_close(other.features, own.features, msg=lambda m, n=name: f"{n}: {m}")
        if isinstance(reader, MirroredToo):
            width = reader.width // 2
            image = read(reader, View(batch), flipped["points"]).features
            swapped = torch.cat([image[..., width:], image[..., :width]], -1)
            torch.testing.assert_close(swapped, own.features, msg=lambda m, n=name: f"{n}: {m}")


def told_sheet(count: int = 900, offset: float = 0.05) -> View:
    """Points of the plane NORMAL . x = offset, red where x < 0 and blue elsewhere; no picture is needed."""
    draw = torch.Generator().manual_seed(0)
    points = 0.8 * torch.rand(1, count, 3, generator=draw, dtype=torch.float64) - 0.4
    points = points - ((points @ NORMAL) - offset)[..., None] * NORMAL
    red, blue = torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 0, 1.0]).double()
    colors = torch.where(points[..., :1] < 0, red, blue)
    fields = {"told_points": points, "told_colors": colors}
    return View(Batch(("sheet0#0",), torch.arange(1), fields, orbit(0.0, 20.0).to("cpu", torch.float64)))


@pytest.mark.parametrize("height", [0.03, -0.03])
def test_told_points_tell_their_plane_exactly(height: float) -> None:
    view = told_sheet()
    points = view.batch["told_points"][:, :100]
    query = points + height * NORMAL
    reading = read(ToldPointsReader(WIDE, WIDE, neighbors=6, direction=True), view, query)
    nearest, sixth, plane = (reading.features[..., k] * WIDE[0] for k in range(3))
    distances = torch.cdist(query[0], view.batch["told_points"][0]).topk(6, largest=False).values
    torch.testing.assert_close(nearest[0], distances[:, 0])
    torch.testing.assert_close(sixth[0], distances[:, 5])
    torch.testing.assert_close(plane, torch.full_like(plane, abs(height)), rtol=0, atol=1e-9)
    color, away, normal = reading.features[..., 3:6], reading.features[..., 6:9], reading.features[..., 9:]
    outward = torch.where(query[..., :1] < 0, -1.0, 1.0) * torch.tensor([1.0, 0, 0]) + torch.tensor([0, 1.0, 1.0])
    away, normal = outward * away, outward * normal
    upward = NORMAL * (1.0 if height > 0 else -1.0)
    torch.testing.assert_close(normal, upward.expand_as(normal), rtol=0, atol=1e-9)
    assert float((away @ upward).min()) > 0.5
    torch.testing.assert_close(away.norm(dim=-1), torch.ones(1, 100).double())
    assert reading.colors[0][0, points[0, :, 0] < -0.1].unique(dim=0).tolist() == [[1.0, 0.0, 0.0]]
    torch.testing.assert_close(color, 2 * reading.colors[0] - 1)


def test_planes_that_points_do_not_tell_are_at_the_points_distance() -> None:
    view = told_sheet()
    line = torch.linspace(-0.4, 0.4, 50).double()[:, None] * torch.tensor([1.0, 0.0, 0.0]).double()
    view.batch.fields["told_points"] = line[None]  # type: ignore[index]
    view.batch.fields["told_colors"] = torch.zeros_like(line)[None]  # type: ignore[index]
    query = line[None, 5:45] + torch.tensor([0.0, 0.2, 0.0]).double()
    reading = read(ToldPointsReader(WIDE, WIDE, neighbors=5, direction=True), view, query)
    torch.testing.assert_close(reading.features[..., 2] * WIDE[0], torch.full((1, 40), 0.2).double())
    assert not reading.features[..., 9:].any()


def test_a_grid_of_distances_is_of_the_told_points_and_mirrored() -> None:
    config = small_config("told")
    batch = spheres(config, 2)
    reader = DistanceGridReader(12, (0.1, 0.4), sides=True, mirrored=True, width=4, stride=1)
    grid = reader.grid(View(batch))
    assert grid.shape == (2, 16, 12, 12, 12)
    cells = torch.from_numpy(grid_points(12)).expand(2, -1, -1)
    distance = (cells[:, :, None] - batch["told_points"][:, None]).norm(dim=-1).amin(-1).reshape(2, 12, 12, 12)
    for channel, scale in enumerate((0.1, 0.4)):
        torch.testing.assert_close(grid[:, channel], (distance / scale).clamp(max=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(grid[:, 3], grid[:, 0].flip(1).cummin(1).values.flip(1))
    other = reader.grid(View(mirrored(batch, torch.tensor([True, False]))))
    torch.testing.assert_close(other[0], grid[0, [*range(8, 16), *range(8)]], rtol=0, atol=1e-5)
    torch.testing.assert_close(other[1], grid[1])


def test_volumes_are_read_around_the_point_too() -> None:
    config = small_config("told", voxel_offset=0.05)
    reader = ImplicitModel(config, seed=0).network.readers["volumes"]
    cells = torch.from_numpy(grid_points(16)).T.reshape(1, 3, 16, 16, 16)
    ramps = [cells[:, :1].expand(-1, count, -1, -1, -1) for count in reader.encoder.channels]
    ramps[0] = torch.cat([cells, *[cells[:, :1]] * (reader.encoder.channels[0] - 3)], 1)
    points = torch.tensor([[[0.1, -0.2, 0.3]]])
    features = reader.read(tuple(ramps), Query(orbit(0.0, 20.0), points)).features
    assert features.shape == (1, 1, reader.width)
    steps = features.reshape(7, -1)[:, :3] - points[0]
    expected = 0.05 * torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)])
    torch.testing.assert_close(steps, expected, rtol=0, atol=1e-6)


def test_a_grid_of_gaps_is_read_at_its_cells_and_mirrored() -> None:
    config = small_config("reads")
    batch = spheres(config, 2)
    view = View(batch)
    reader = GapGridReader(8, (0.1,), mirrored=True, width=4, stride=1)
    grid = reader.grid(view)
    cells = torch.from_numpy(grid_points(8)).expand(2, -1, -1)
    expected = read(GapReader((0.1,)), view, cells).features
    torch.testing.assert_close(grid[:, :2].flatten(2).mT, expected)
    torch.testing.assert_close(grid[:, 2:], grid[:, :2].flip(2))
    other = reader.grid(View(mirrored(batch, torch.tensor([True, False]))))
    agree = (other[0, :2] - grid[0, 2:]).abs() < 1e-4
    assert float(agree.float().mean()) > 0.97  # cells on a silhouette's edge may fall into the next pixel
    torch.testing.assert_close(other[1], grid[1])


def test_mirrors_are_keyed_by_seed_step_and_sample() -> None:
    batch = spheres(small_config(), 8)
    drawn = torch.stack([drawn_mirrors(batch, StepInfo(step, 9, seed=3)) for step in range(60)])
    assert 0.4 < float(drawn.float().mean()) < 0.6
    assert torch.equal(drawn[5, 2:5], drawn_mirrors(batch.select(slice(2, 5)), StepInfo(5, 9, seed=3)))
    assert not torch.equal(drawn[5], drawn_mirrors(batch, StepInfo(5, 9, seed=4)))


def test_fields_that_nobody_mirrors_are_not_left_as_they_are() -> None:
    batch = spheres(small_config(), 1)
    odd = replace(batch, fields={**batch.fields, "heights": torch.zeros(1, 4)})
    with pytest.raises(AssertionError, match="heights"):
        mirrored(odd, torch.ones(1, dtype=torch.bool))


def test_a_color_that_is_chosen_is_handed_on_exactly() -> None:
    config = small_config("reads-no-maps")
    model, batch = ImplicitModel(config, seed=0).eval(), spheres(config, 2)
    network = model.network
    names = [name for reader in network._readers() for name in reader.colors]
    assert set(names) == {"pixel", "mirrored pixel", "nearest", "mirrored nearest", "mean"}
    for name, offered in (("pixel", network.readers["pixel"]), ("nearest", network.readers["nearest"])):
        with torch.no_grad():
            network.decoder.color_head.weight.zero_()
            network.decoder.color_head.bias.zero_()
            network.decoder.color_head.bias[3 + names.index(name)] = 80.0
            _, color = network.decode(network.encode(batch), batch["points"])
        expected = read(offered, View(batch), batch["points"]).colors[0]
        assert torch.equal(color, expected), name


def test_a_told_distance_is_handed_on_before_anything_is_learned() -> None:
    config = small_config("residual")
    model, batch = ImplicitModel(config, seed=0).eval(), spheres(config, 2)
    axis = (torch.arange(16) + 0.5) * 1.1 / 16 - 0.55
    cells = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    told = replace(batch, fields={**batch.fields, "voxels": 10 * cells[0].expand(2, 1, -1, -1, -1)})
    points = 0.5 * batch["points"]
    with torch.no_grad():
        sdf, _ = model.network.decode(model.network.encode(told), points)
    torch.testing.assert_close(sdf, points[..., 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith(("reads", "told"))])
def test_reads_keep_their_places_under_mixed_precision(variant: str) -> None:
    config = small_config(variant)
    model, batch = ImplicitModel(config, seed=0).eval(), spheres(config, 2)
    given: list[Tensor] = []
    model.network.decoder.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    scene = model.network.encode(batch)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        model.network.decode(scene, batch["points"])
    with torch.no_grad():
        model.network.decode(scene, batch["points"])
    assert torch.equal(*given)


def test_pixel_centers_are_where_pixels_are_read(view: View) -> None:
    centers = pixel_centers(SIDE, SIDE, dtype=torch.float64).reshape(1, -1, 2)
    points = unproject(view.camera, centers, torch.full((1, SIDE * SIDE), 2.0, dtype=torch.float64))
    reading = read(PixelReader(coverage=False), view, points)
    torch.testing.assert_close(reading.features, 2 * view.image.flatten(2).mT - 1, rtol=0, atol=1e-5)
