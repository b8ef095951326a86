"""Samples of image collections: crops, mirrors, keypoints, parts, distances, and the same draws for everyone."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raylift.config.data import DataConfig
from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import numpy_generator
from raylift.core.types import Batch, Camera, CropRequest, SampleRequest, VoxelRequest
from raylift.data import inspection
from raylift.data.feed.batches import batch_of, stack
from raylift.data.feed.stream import SampleStream, evaluation_batches
from raylift.data.feed.user_image import assemble_image
from raylift.data.images.config import ImagesConfig
from raylift.data.images.part_maps import write_part_maps
from raylift.data.images.record import ImageRecord, load_image
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.record import load_object
from raylift.data.sources.opening import open_source
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import (
    Crop,
    cropped_camera,
    cropped_depth,
    cropped_keypoints,
    cropped_pixels,
    draw_crop,
    mask_distance,
    object_colors,
    silhouette_box,
)
from raylift.geometry.cameras import orbit, project
from tests.data.image_layouts import picture, write_cub, write_cutouts

CROP = CropRequest(0.05, 0.05, True)
REQUEST = SampleRequest(24, crop=CROP, mask_distance=True, object_colors=True, keypoints=True, image_index=True)
CONFIG = ImagesConfig(image_px=48, min_object_px=4, objects_per_shard=4)


@pytest.fixture(scope="module")
def birds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    source = open_source(f"cub:{write_cub(folder / 'CUB', 9)}")
    ingest([source], str(folder / "out"), CONFIG, parallel="none")
    return folder / "out"


@pytest.fixture
def birds(birds_folder: Path) -> ShardedDataset:
    return ShardedDataset.open(birds_folder)


def same(first: Batch, second: Batch) -> bool:
    return (
        first.ids == second.ids
        and first.fields.keys() == second.fields.keys()
        and all(torch.equal(first[name], second[name]) for name in first.fields)
        and torch.equal(first.keys, second.keys)
    )


# --- crops ----------------------------------------------------------------------------------------------------------


def test_a_crop_is_the_square_around_the_padded_box() -> None:
    box = (-0.4, -0.2, 0.2, 0.2)
    crop = draw_crop(box, CropRequest(0.05, 0.0, False), None)
    assert crop.center == pytest.approx((-0.1, 0.0))
    assert crop.half == pytest.approx(0.5 * 0.6 * 1.1)
    drawn = [draw_crop(box, CROP, numpy_generator(0, index)) for index in range(400)]
    assert 150 < sum(one.mirrored for one in drawn) < 250
    halves = np.array([one.half for one in drawn])
    assert 0.3 * 1.0 - 1e-9 <= halves.min() < 0.31
    assert 0.35 < halves.max() <= 0.3 * 1.2 + 1e-9
    # The mirror's draw does not depend on whether edges are jittered, nor the edges on the mirror.
    for index in range(5):
        still = draw_crop(box, CropRequest(0.05, 0.0, True), numpy_generator(0, index))
        plain = draw_crop(box, CropRequest(0.05, 0.05, False), numpy_generator(0, index))
        assert still.mirrored == drawn[index].mirrored
        assert (plain.center, plain.half) == (drawn[index].center, drawn[index].half)
    with pytest.raises(ConfigError, match="padding"):
        CropRequest(padding=-1)


def test_the_stored_square_has_room_for_every_crop() -> None:
    generator = np.random.default_rng(0)
    room = 1 + 2 * CONFIG.box_padding
    for width, height in ((1.0, 1.0), (1.0, 0.2), (0.3, 1.0)):
        box = np.array([-width, -height, width, height]) / room
        for _ in range(200):
            crop = draw_crop(tuple(box), CROP, generator)
            assert max(abs(crop.center[0]), abs(crop.center[1])) + crop.half <= 1 + 1e-9


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_keypoints_depth_and_cameras_move_together(mirrored: bool) -> None:
    side, size = 64, 32
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[20:24, 40:44] = (255, 0, 0, 255)  # a mark with its centre at pixel corner (42, 22)
    depth = np.zeros((side, side), np.float32)
    depth[20:24, 40:44] = 2.0
    mark = np.array([[2 * 42 / side - 1, 2 * 22 / side - 1, 1.0], [0.9, 0.9, 1.0]], np.float32)
    crop = Crop((0.25, -0.125), 0.5, mirrored)
    pixels = cropped_pixels(rgba, crop, size)
    rows, columns = np.nonzero(pixels[..., 3] > 127)
    seen = np.array([columns.mean() * 2 + 1, rows.mean() * 2 + 1]) / size - 1
    moved = cropped_keypoints(mark, (0, 1), crop)
    np.testing.assert_allclose(moved[0, :2], seen, atol=1e-6)
    assert moved[0, 2] == 1
    assert moved[1, 2] == 0, "outside of the window"
    np.testing.assert_array_equal(cropped_depth(depth, crop, size) > 0, pixels[..., 3] > 127)
    if mirrored:
        exchanged = cropped_keypoints(mark, (1, 0), crop)
        np.testing.assert_array_equal(exchanged, moved[::-1])
    camera = orbit(azimuth_deg=30, elevation_deg=20, distance=2.2, fov_deg=40).to("cpu", torch.float32)
    points = torch.rand(1, 20, 3) - 0.5
    uv, _ = project(camera, points)
    flipped = points * torch.tensor([-1.0, 1, 1]) if mirrored else points
    again, _ = project(cropped_camera(camera, crop), flipped)
    expected = cropped_keypoints(np.concatenate([uv[0].numpy(), np.ones((20, 1))], 1), tuple(range(20)), crop)
    np.testing.assert_allclose(again[0].numpy(), expected[:, :2], atol=1e-5)
    assert torch.linalg.det(cropped_camera(camera, crop).rotation).allclose(torch.ones(1))


def test_a_crop_over_the_border_is_filled_with_nothing() -> None:
    rgba = np.full((8, 8, 4), 255, np.uint8)
    pixels = cropped_pixels(rgba, Crop((1.0, 1.0), 1.0), 8)
    np.testing.assert_array_equal(pixels[:4, :4], 255)
    np.testing.assert_array_equal(pixels[4:, 4:], 0)
    assert (cropped_pixels(rgba, Crop((5.0, 0.0), 0.5), 4) == 0).all()
    np.testing.assert_array_equal(cropped_pixels(rgba[..., 0], Crop(), 8), 255)
    box = silhouette_box(picture(size=(60, 60)))
    np.testing.assert_allclose(box, np.array([12, 8, 44, 30]) / 30 - 1)


def test_the_distance_is_that_to_the_nearest_covered_pixel() -> None:
    coverage = np.zeros((10, 10), np.uint8)
    coverage[3, 4], coverage[8, 8] = 255, 128
    distance = mask_distance(coverage)[0]
    inside = np.argwhere(coverage > 0)
    for row in range(10):
        for column in range(10):
            nearest = np.sqrt(((inside - (row, column)) ** 2).sum(axis=1)).min()
            assert distance[row, column] == pytest.approx(nearest * 2 / 10, abs=1e-6)
    np.testing.assert_array_equal(mask_distance(np.zeros((4, 4), np.uint8)), 2)


def test_the_background_gets_the_nearest_colour_of_the_object() -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (9, 9, 4), dtype=np.uint8)
    rgba[..., 3] = 200
    rgba[2, 3, 3], rgba[7, 7, 3], rgba[0, 8, 3] = 255, 250, 0
    spread = object_colors(rgba)
    for row in range(9):
        for column in range(9):
            to = {place: (place[0] - row) ** 2 + (place[1] - column) ** 2 for place in ((2, 3), (7, 7))}
            colors = [rgba[place][:3].tolist() for place in to if to[place] == min(to.values())]
            assert spread[:, row, column].tolist() in colors
    rgba[..., 3] = 200  # nothing is covered wholly: half has to do
    rgba[0, 0, 3] = 0
    assert object_colors(rgba)[:, 0, 0].tolist() in (rgba[0, 1, :3].tolist(), rgba[1, 0, :3].tolist())
    np.testing.assert_array_equal(object_colors(rgba)[:, 5, 5], rgba[5, 5, :3])
    rgba[..., 3] = 0
    np.testing.assert_array_equal(object_colors(rgba), rgba[..., :3].transpose(2, 0, 1))


# --- the stream -----------------------------------------------------------------------------------------------------


def test_a_batch_has_the_documented_fields(birds: ShardedDataset) -> None:
    (batch,) = SampleStream(birds, REQUEST, DataConfig(batch_size=4), seed=0).batches(0, 1, 0, 1)
    assert {name: tuple(value.shape) for name, value in batch.fields.items()} == {
        "image": (4, 3, 24, 24),
        "mask": (4, 1, 24, 24),
        "mask_distance": (4, 1, 24, 24),
        "object_colors": (4, 3, 24, 24),
        "keypoints": (4, 4, 3),
        "mirrored": (4,),
        "image_index": (4,),
    }
    assert batch["image_index"].dtype == torch.int64
    assert all(value.dtype == torch.float32 for name, value in batch.fields.items() if name != "image_index")
    assert batch.camera is None
    assert torch.equal(batch["mask_distance"] == 0, batch["mask"] >= 0.5)
    inside = (batch["mask"] == 1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(batch["object_colors"][inside], batch["image"][inside])
    for index, entry_id in enumerate(name.split("#")[0] for name in batch.ids):
        entries = birds.entries("train")
        assert entries[int(batch["image_index"][index])].id == entry_id


def test_mirrored_samples_are_mirror_images(birds: ShardedDataset) -> None:
    plain = SampleStream(birds, replace(REQUEST, crop=replace(CROP, mirror=False)), DataConfig(batch_size=5), 0)
    mixed = SampleStream(birds, REQUEST, DataConfig(batch_size=5), 0)
    seen = set()
    for one, other in zip(plain.batches(0, 1, 0, 6), mixed.batches(0, 1, 0, 6), strict=True):
        for index in range(5):
            mirrored = bool(other["mirrored"][index])
            seen.add(mirrored)
            expected = one["image"][index].flip(-1) if mirrored else one["image"][index]
            assert torch.equal(other["image"][index], expected)
            points = one["keypoints"][index]
            if mirrored:
                points = points[[0, 1, 3, 2]] * torch.tensor([-1.0, 1, 1])
            assert torch.equal(other["keypoints"][index], points)
    assert seen == {False, True}


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_and_restarts_change_nothing(birds: ShardedDataset, birds_folder: Path, world: int) -> None:
    stream = SampleStream(birds, REQUEST, DataConfig(batch_size=5), seed=7)
    fresh = pickle.loads(pickle.dumps(stream))
    fresh.dataset.cache_bytes = 1000
    for step, whole in enumerate(stream.batches(0, 1, 0, 4)):
        parts = [next(iter(fresh.batches(rank, world, step, step + 1))) for rank in range(world)]
        assert tuple(name for part in parts for name in part.ids) == whole.ids
        for name in whole.fields:
            assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
        travelled = batch_of(pickle.loads(pickle.dumps(stack([stream.sample(row) for row in stream.rows_of(step)]))))
        assert same(travelled, whole)
    # Every epoch draws anew.
    count = stream.num_objects
    by_id = {stream.row(index).object_id: stream.sample(index) for index in range(count)}
    later = {stream.row(index).object_id: stream.sample(index) for index in range(count, 2 * count)}
    assert any((by_id[name]["rgba"] != later[name]["rgba"]).any() for name in by_id)


def test_evaluation_is_neither_jittered_nor_mirrored(birds: ShardedDataset) -> None:
    config = DataConfig(batch_size=2, eval_views=3)
    first, second = (
        [batch for rank in range(2) for batch in evaluation_batches(birds, REQUEST, "train", config, seed, rank, 2)]
        for seed in (0, 1)
    )
    assert all(same(one, other) for one, other in zip(first, second, strict=True))
    assert all((batch["mirrored"] == 0).all() for batch in first)
    assert sorted(int(index) for batch in first for index in batch["image_index"]) == list(range(8))
    # The box 32 x 22 with 5 % around it: 35.2 pixels over 24.
    coverage = torch.cat([batch["mask"] for batch in first]).mean(dim=(1, 2, 3))
    assert coverage.allclose(torch.full((8,), 32 * 22 / 35.2**2), atol=0.03)


def test_what_a_collection_does_not_have_is_refused(
    birds: ShardedDataset, tiny: ShardedDataset, tmp_path: Path
) -> None:
    config = DataConfig(batch_size=2)
    for request in (
        SampleRequest(24, 10),
        SampleRequest(24, 0, VoxelRequest("visible")),
        SampleRequest(24, 0, None, 5),
    ):
        with pytest.raises(DataError, match="image collection"):
            SampleStream(birds, request, config, 0)
    with pytest.raises(DataError, match="no part maps"):
        SampleStream(birds, replace(REQUEST, parts=True), config, 0)
    with pytest.raises(ConfigError, match="evaluation only"):
        SampleStream(birds, replace(REQUEST, truth=True), config, 0)
    with pytest.raises(DataError, match="camera of .* is not known"):
        list(evaluation_batches(birds, replace(REQUEST, truth=True), "test", config))
    source = open_source(f"cutouts:{write_cutouts(tmp_path / 'photos')}")
    ingest([source], str(tmp_path / "out"), CONFIG, parallel="none")
    with pytest.raises(DataError, match="no keypoints"):
        SampleStream(ShardedDataset.open(tmp_path / "out"), REQUEST, config, 0)
    with pytest.raises(DataError, match="no object"):
        load_image(birds, "nobody")
    with pytest.raises(DataError, match="not an image collection"):
        load_image(tiny, tiny.entries()[0].id)


def test_shapes_can_be_cropped_too(tiny: ShardedDataset, tmp_path: Path) -> None:
    request = SampleRequest(32, crop=CROP, mask_distance=True, image_index=True)
    stream = SampleStream(tiny, request, DataConfig(batch_size=4), seed=0)
    assert stream.num_images == sum(entry.num_views for entry in stream.entries)
    for batch in stream.batches(0, 1, 0, 2):
        assert batch.camera is not None
        for index, name in enumerate(batch.ids):
            object_id, _, view = name.partition("#")
            assert int(batch["image_index"][index]) == 4 * [one.id for one in stream.entries].index(object_id) + int(
                view
            )
            # The camera still sees the object where the mask is.
            points = load_object(tiny, object_id).mesh.vertices
            if batch["mirrored"][index]:
                points = points * torch.tensor([-1.0, 1, 1])
            uv, _ = project(batch.camera[index], points[None])
            inside = torch.nn.functional.grid_sample(
                batch["mask_distance"][index : index + 1], uv[:, None], align_corners=False
            )
            assert (inside < 0.15).float().mean() > 0.98
            assert (inside == 0).float().mean() > 0.3  # thin legs touch the mask's edge
    with pytest.raises(ConfigError, match="mirror"):
        SampleStream(tiny, replace(request, num_points=5), DataConfig(batch_size=4), seed=0)


def test_truth_is_in_evaluation_batches_alone(tiny_folder: Path, tmp_path: Path) -> None:
    source = open_source(f"shapes:{tiny_folder}")
    ingest([source], str(tmp_path), ImagesConfig(image_px=48), parallel="none")
    dataset = ShardedDataset.open(tmp_path)
    request = SampleRequest(32, crop=CROP)
    (trained,) = SampleStream(dataset, request, DataConfig(batch_size=3), 0).batches(0, 1, 0, 1)
    assert trained.camera is None
    (blind,) = list(evaluation_batches(dataset, request, "test", DataConfig(batch_size=30)))
    assert blind.camera is None
    (scored,) = list(evaluation_batches(dataset, replace(request, truth=True), "test", DataConfig(batch_size=30)))
    assert isinstance(scored.camera, Camera)
    assert same(blind, scored)


def test_users_images_are_cropped_alike() -> None:
    rgba = picture(size=(60, 60))
    camera = orbit(azimuth_deg=0, elevation_deg=0, distance=2.2, fov_deg=40).to("cpu", torch.float32)
    request = replace(REQUEST, parts=True, truth=True)
    sample = assemble_image(rgba, None, camera, request, "photo")
    assert {"rgba", "mask_distance", "object_colors", "mirrored"} <= set(sample)
    assert not {"keypoints", "parts", "image_index"} & set(sample)
    assert (sample["rgba"][..., 3] > 127).mean() == pytest.approx(32 * 22 / 35.2**2, abs=0.05)


# --- part maps and a look -------------------------------------------------------------------------------------------


def halves(record: ImageRecord) -> np.ndarray:
    """Label 1 on the left half of the silhouette, 2 on the right."""
    labels = np.where(np.arange(48) < 24, 1, 2) * (record.rgba[..., 3] > 127)
    return labels.astype(np.uint8)[None]


@pytest.mark.parametrize("encoding", ["labels", "probabilities"])
def test_part_maps_are_written_as_a_new_version(birds: ShardedDataset, tmp_path: Path, encoding: str) -> None:
    def probabilities(record: ImageRecord) -> np.ndarray:
        return ((halves(record) == np.arange(3)[:, None, None]) * 255).astype(np.uint8)

    make = halves if encoding == "labels" else probabilities
    names = ("background", "left half", "right half")
    manifest = write_part_maps(birds, str(tmp_path), make, names, encoding, "a test")  # type: ignore[arg-type]
    dataset = ShardedDataset.open(tmp_path)
    assert dataset.manifest == manifest
    assert dataset.verify() == []
    assert manifest.entries == birds.manifest.entries
    assert manifest.fingerprint != birds.manifest.fingerprint
    assert manifest.annotations.part_mirror == (0, 2, 1)
    request = replace(REQUEST, parts=True)
    for batch in SampleStream(dataset, request, DataConfig(batch_size=5), 0).batches(0, 1, 0, 2):
        assert batch["parts"].shape == (5, 3, 24, 24)
        assert batch["parts"].sum(dim=1).allclose(torch.ones(5, 24, 24), atol=0.01)
        assert (1 - batch["parts"][:, 0] - batch["mask"][:, 0]).abs().mean() < 0.02
        # The part called left is on the left of mirrored images as well.
        assert (batch["parts"][:, 1, :, :6].mean(dim=(1, 2)) > 5 * batch["parts"][:, 1, :, 18:].mean(dim=(1, 2))).all()
    with pytest.raises(DataError, match="already holds a data set"):
        write_part_maps(birds, str(tmp_path), make, names, encoding, "a test")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="for 3 parts"):
        write_part_maps(birds, str(tmp_path / "x"), lambda _: np.zeros((2, 4, 4), np.uint8), names, "labels", "t")


def test_a_look_at_a_collection(birds: ShardedDataset) -> None:
    found = [inspection.statistics_of(birds, entry) for entry in birds.entries()]
    numbers = inspection.numbers_of(found[0])
    assert numbers["coverage"] == pytest.approx(32 * 22 / 44.8**2, abs=0.03)
    assert numbers["object_px"] == pytest.approx(32, abs=0.1)
    assert numbers["enlargement"] == pytest.approx(48 / 44.8, abs=0.01)
    assert (numbers["visible_keypoints"], numbers["num_pieces"], numbers["cut_off"]) == (3, 1, 0)
    assert found[0].problems == ("its silhouette is a rectangle: is it cut out?",)
    odd = replace(found[0], coverage=0.0, filling=0.5, enlargement=9.0, num_pieces=7, cut_off=1.0)  # type: ignore[call-arg]
    assert len(odd.problems) == 4
    sheet = inspection.contact_sheet(birds, birds.entries(), views=3, tile_px=40)
    assert isinstance(sheet, Image.Image)
    assert sheet.width == 9 * 48
    reds = (np.asarray(sheet).astype(int)[:40] @ [1, -1, -1] > 120).sum()
    assert reds > 50, "keypoints are drawn"
    assert birds.manifest.annotations == Annotations(("back", "beak", "left eye", "right eye"), (0, 1, 3, 2))
