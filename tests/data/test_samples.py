"""Samples and batches: shapes, units, what conditions what, and the same draws for everyone."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raylift.config.data import DataConfig
from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import numpy_generator
from raylift.core.types import Batch, SampleRequest, VoxelRequest
from raylift.data.feed.batches import batch_of, collate, stack
from raylift.data.feed.resizing import composited, nearest_resized
from raylift.data.feed.samples import assemble, needed_columns, prepare_view
from raylift.data.feed.stream import SampleStream, chosen_entries, evaluation_batches, evaluation_views
from raylift.data.feed.user_image import assemble_image
from raylift.data.shapes.clouds import visible_cloud
from raylift.data.shapes.record import load_object, load_view, load_views
from raylift.data.shapes.schema import PIXELS
from raylift.data.store.dataset import ShardedDataset
from raylift.geometry.cameras import canonical_camera, project
from raylift.geometry.voxels import voxelize_sparse

REQUEST = SampleRequest(32, 101, VoxelRequest("surface", num_points=300), num_iou_points=500)


def same(first: Batch, second: Batch) -> bool:
    assert first.camera is not None
    assert second.camera is not None
    return (
        first.ids == second.ids
        and torch.equal(first.keys, second.keys)
        and first.fields.keys() == second.fields.keys()
        and all(torch.equal(first[name], second[name]) for name in first.fields)
        and torch.equal(first.camera.rotation, second.camera.rotation)
        and torch.equal(first.camera.translation, second.camera.translation)
    )


def joined(parts: list[Batch]) -> Batch:
    return Batch(
        tuple(name for part in parts for name in part.ids),
        torch.cat([part.keys for part in parts]),
        {name: torch.cat([part[name] for part in parts]) for name in parts[0].fields},
        parts[0].camera.stack([part.camera for part in parts]),  # type: ignore[union-attr,misc]
    )


def test_a_batch_has_the_documented_fields(tiny: ShardedDataset) -> None:
    stream = SampleStream(tiny, REQUEST, DataConfig(batch_size=3), seed=0)
    (batch,) = stream.batches(0, 1, 0, 1)
    shapes = {name: tuple(value.shape) for name, value in batch.fields.items()}
    assert shapes == {
        "image": (3, 3, 32, 32),
        "mask": (3, 1, 32, 32),
        "depth": (3, 1, 32, 32),
        "points": (3, 101, 3),
        "sdf": (3, 101),
        "color": (3, 101, 3),
        "voxels": (3, 4, 32, 32, 32),
        "iou_points": (3, 500, 3),
        "iou_inside": (3, 500),
    }
    assert all(value.dtype == torch.float32 for value in batch.fields.values())
    assert batch.keys.dtype == torch.int64
    assert batch.camera is not None
    assert len(batch.camera) == 3
    assert all("#" in name for name in batch.ids)
    assert 0 < batch["iou_inside"].mean() < 0.6
    assert batch["voxels"][:, 0].sum(dim=(1, 2, 3)).allclose(torch.ones(3))
    batch["image"].add_(1)  # memory of its own


@pytest.mark.parametrize(("source", "encoding"), [
    ("visible", "occupancy"), ("visible", "color_density"), ("surface", "occupancy"), ("surface", "color_density"),
    ("gt_occupancy", "occupancy"), ("gt_sdf", "occupancy"),
])  # fmt: skip
def test_every_conditioning(tiny: ShardedDataset, source: str, encoding: str) -> None:
    voxels = VoxelRequest(source, encoding, 32, 200)  # type: ignore[arg-type]
    stream = SampleStream(tiny, SampleRequest(24, 0, voxels), DataConfig(batch_size=2), seed=0)
    (batch,) = stream.batches(0, 1, 0, 1)
    grid = batch["voxels"]
    assert grid.shape == (2, voxels.num_channels, 32, 32, 32)
    assert "points" not in batch
    record = load_object(tiny, batch.ids[0].split("#")[0])
    if source == "gt_sdf":
        assert grid.min() >= -1
        assert grid.max() <= 1
        np.testing.assert_allclose(grid[0, 0], np.clip(record.sdf32 / 0.1, -1, 1), atol=1e-6)
    elif source == "gt_occupancy":
        np.testing.assert_array_equal(grid[0, 0], record.occupancy32)
    else:
        # Points of the surface lie in cells at the true surface.
        held = grid[0, 0].numpy() > 0
        assert 0 < held.sum() <= 200
        assert np.abs(record.sdf32[held]).max() < 0.05


def _stored(points: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The integers that the rows of a coloured cloud are stored as."""
    return np.concatenate([np.rint(32767 * points), np.rint(255 * colors)], 1).astype(int)


def test_told_points_are_of_the_cloud_and_are_what_voxels_are_made_of(tiny: ShardedDataset) -> None:
    voxels = VoxelRequest("surface", "color_density", 32, 200)
    request = SampleRequest(24, 30, voxels, num_told_points=200)
    stream = SampleStream(tiny, request, DataConfig(batch_size=2), seed=0)
    (batch,) = stream.batches(0, 1, 0, 1)
    for index, name in enumerate(batch.ids):
        points, colors = batch["told_points"][index].numpy(), batch["told_colors"][index].numpy()
        cloud = load_object(tiny, name.split("#")[0]).cloud
        whole, told = ({(*row.tolist(),) for row in _stored(*both)} for both in (cloud, (points, colors)))
        assert len(told) == 200
        assert told <= whole
        np.testing.assert_allclose(
            batch["voxels"][index], voxelize_sparse(points, colors, 32, "color_density").dense(), rtol=0, atol=1e-6
        )
    # Voxels are the same draw without the points beside them, and another key draws others.
    stream = SampleStream(tiny, replace(request, num_told_points=0), DataConfig(batch_size=2), seed=0)
    (alone,) = stream.batches(0, 1, 0, 1)
    assert torch.equal(alone["voxels"], batch["voxels"])
    entry = tiny.entries()[0]
    view, record = load_view(tiny, entry.id, 0).picture(), load_object(tiny, entry.id)
    first, second = (assemble(record, view, request, numpy_generator(0, key))["told_points"] for key in "ab")
    assert not np.array_equal(first, second)


def test_small_clouds_are_repeated(tiny: ShardedDataset) -> None:
    entry = tiny.entries()[0]
    view, record = load_view(tiny, entry.id, 0).picture(), load_object(tiny, entry.id, ["cloud_points", "cloud_colors"])
    total = len(record.stored("cloud_points"))
    sample = assemble(record, view, SampleRequest(24, num_told_points=total + 10), numpy_generator(0))
    assert sample["told_points"].shape == sample["told_colors"].shape == (total + 10, 3)
    assert len(np.unique(sample["told_points"], axis=0)) == len(np.unique(record.array("cloud_points"), axis=0))


def test_visible_points_are_those_of_the_view(tiny: ShardedDataset) -> None:
    entry = tiny.entries()[0]
    view, record = load_view(tiny, entry.id, 1).picture(), load_object(tiny, entry.id)
    assert view.camera is not None
    few = SampleRequest(24, 0, VoxelRequest("visible", "occupancy", 64, 50))
    many = replace(few, voxels=VoxelRequest("visible", "occupancy", 64, 15_000))
    grids = [assemble(record, view, one, numpy_generator(0, "x"))["voxels"].dense()[0] for one in (few, many)]
    assert 0 < grids[0].sum() <= 50 < grids[1].sum()
    assert (grids[1][grids[0] > 0] == 1).all()
    centers = (np.argwhere(grids[1] > 0) + 0.5) / 64 * 1.1 - 0.55
    uv, _ = project(view.camera, torch.from_numpy(centers).float()[None])
    pixels = ((uv[0] + 1) * 24).long().clamp(0, 47)
    silhouette = torch.nn.functional.max_pool2d(torch.from_numpy(view.rgba[..., 3] > 0)[None].float(), 5, 1, 2)[0]
    assert (silhouette[pixels[:, 1], pixels[:, 0]] > 0).all()


def test_resampled_images_keep_coverage_and_premultiplied_colour() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 100, 0, 255)
    rgba[:, 4:] = (0, 255, 0, 0)  # colour where nothing covers must not bleed
    image, mask = composited(rgba, 2)
    np.testing.assert_allclose(mask[0], [[1, 0], [1, 0]])
    np.testing.assert_allclose(image[:, 0, 0], np.array([200, 100, 0]) / 255, atol=1e-6)
    np.testing.assert_allclose(image[:, 0, 1], 1)
    whole, coverage = composited(rgba, 1)
    assert coverage[0, 0, 0] == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(whole[:, 0, 0], np.array([200, 100, 0]) / 255 * 0.5 + 0.5, atol=0.01)
    depth = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert set(nearest_resized(depth, 3).ravel()) <= set(depth.ravel())
    np.testing.assert_array_equal(nearest_resized(depth, 4), depth)


def test_a_batch_without_what_it_needs_says_so(tiny: ShardedDataset) -> None:
    entry = tiny.entries()[0]
    view = load_view(tiny, entry.id, 0).picture()
    request = SampleRequest(24, 0, VoxelRequest("gt_sdf", "occupancy", 64))
    with pytest.raises(DataError, match="32\\^3, 64\\^3 is requested"):
        assemble(load_object(tiny, entry.id), view, request, numpy_generator(0))
    with pytest.raises(DataError, match="IoU points"):
        assemble(load_object(tiny, entry.id), view, SampleRequest(24, num_iou_points=10**6), numpy_generator(0))
    with pytest.raises(DataError, match="without column"):
        assemble(load_object(tiny, entry.id, ["sdf32"]), view, SampleRequest(24, 5), numpy_generator(0))
    with pytest.raises(DataError, match="no object"):
        load_object(tiny, "nobody")
    with pytest.raises(DataError, match="no view 99"):
        load_view(tiny, entry.id, 99)


def test_users_images(tiny: ShardedDataset) -> None:
    view = load_view(tiny, tiny.entries()[0].id, 0)
    visible = SampleRequest(24, 77, VoxelRequest("visible", "occupancy", 32, 500), num_iou_points=9)
    sample = assemble_image(view.rgba, view.depth, view.camera, visible, "photo")
    assert "points" not in sample
    assert sample["voxels"].dense().sum() > 10
    batch = collate([sample, assemble_image(view.rgba, view.depth, canonical_camera(), visible, "other")])
    assert batch.ids == ("photo", "other")
    with pytest.raises(DataError, match="photo has no depth"):
        assemble_image(view.rgba, None, view.camera, visible, "photo")
    with pytest.raises(DataError, match="gt_sdf"):
        assemble_image(view.rgba, None, view.camera, SampleRequest(24, 0, VoxelRequest("gt_sdf")), "photo")
    with pytest.raises(DataError, match="'surface', which image photo does not have"):
        assemble_image(view.rgba, view.depth, view.camera, SampleRequest(24, num_told_points=300), "photo")
    with pytest.raises(DataError, match="silhouette of photo has no area"):
        assemble_image(np.zeros_like(view.rgba), None, view.camera, SampleRequest(24), "photo")
    with pytest.raises(DataError, match="alpha channel"):
        assemble_image(view.rgba[..., :3], None, view.camera, SampleRequest(24), "photo")
    with pytest.raises(DataError, match="without samples"):
        collate([])
    with pytest.raises(DataError, match="different fields"):
        collate([sample, {**sample, "more": np.zeros(1)}])


# --- the stream -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_make_up_the_global_batch(tiny: ShardedDataset, world: int) -> None:
    stream = SampleStream(tiny, REQUEST, DataConfig(batch_size=5), seed=7)
    for step, whole in enumerate(stream.batches(0, 1, 0, 3)):
        parts = [next(iter(stream.batches(rank, world, step, step + 1))) for rank in range(world)]
        assert same(joined(parts), whole)


def test_a_restart_does_not_change_the_stream(tiny: ShardedDataset) -> None:
    config = DataConfig(batch_size=4)
    whole = list(SampleStream(tiny, REQUEST, config, seed=7).batches(0, 1, 0, 6))
    again = pickle.loads(pickle.dumps(SampleStream(tiny, REQUEST, config, seed=7)))
    assert all(same(a, b) for a, b in zip(whole[4:], again.batches(0, 1, 4, 6), strict=True))
    other = SampleStream(tiny, REQUEST, config, seed=8)
    assert not same(whole[0], next(iter(other.batches(0, 1, 0, 1))))


def test_each_epoch_shows_each_object_once_in_an_order_of_its_own(tiny: ShardedDataset) -> None:
    stream = SampleStream(tiny, SampleRequest(16), DataConfig(batch_size=4), seed=0)
    count = stream.num_objects
    orders = [[stream.row(epoch * count + place).object_id for place in range(count)] for epoch in range(6)]
    assert all(sorted(order) == sorted(entry.id for entry in stream.entries) for order in orders)
    assert len({tuple(order) for order in orders}) > 3
    views = [stream.row(index).view for index in range(200)]
    assert set(views) == {0, 1, 2, 3}
    assert min(views.count(view) for view in range(4)) > 25
    # What an object is drawn with does not depend on its place in the order, and differs between epochs.
    row = stream.row(count)
    assert row.epoch == 1


def test_steps_and_epochs(tiny: ShardedDataset) -> None:
    stream = SampleStream(tiny, SampleRequest(16), DataConfig(batch_size=4, max_objects=5), seed=0)
    assert stream.num_objects == 5
    assert (stream.num_steps(1), stream.num_steps(2), stream.num_steps(80)) == (2, 3, 100)
    assert [stream.epoch_of(step) for step in range(4)] == [0, 0, 1, 2]
    assert [len(stream.rows_of(0, rank, 3)) for rank in range(3)] == [1, 1, 2]
    with pytest.raises(ConfigError, match="number of workers"):
        stream.rows_of(0, 0, 5)
    with pytest.raises(DataError, match="no category 'lamps'"):
        SampleStream(tiny, SampleRequest(16), DataConfig(categories=("lamps",)), seed=0)


def test_evaluation_is_the_same_for_any_number_of_ranks(tiny: ShardedDataset) -> None:
    config = DataConfig(batch_size=3, eval_views=2)
    request = replace(REQUEST, num_points=0)
    alone = [name for batch in evaluation_batches(tiny, request, "train", config) for name in batch.ids]
    assert len(alone) == 2 * len(tiny.entries("train"))
    assert len(set(alone)) == len(alone)
    whole = {
        name: batch for batch in evaluation_batches(tiny, request, "train", config, batch_size=1) for name in batch.ids
    }
    seen = []
    for rank in range(3):
        for batch in evaluation_batches(tiny, request, "train", config, rank=rank, world=3, batch_size=1):
            assert same(batch, whole[batch.ids[0]])
            seen += batch.ids
    assert sorted(seen) == sorted(alone)


def test_evaluation_views_are_spread(tiny: ShardedDataset) -> None:
    entry = replace(tiny.entries()[0], num_views=30)
    assert evaluation_views(entry, 1) == [3]
    assert evaluation_views(entry, 3) == [1, 11, 21]
    assert evaluation_views(replace(entry, num_views=2), 5) == [0, 1]


def test_the_cache_is_bounded_and_changes_nothing(tiny_folder: object) -> None:
    small = ShardedDataset.open(str(tiny_folder), cache_bytes=300_000)
    large = ShardedDataset.open(str(tiny_folder))
    config = DataConfig(batch_size=4)
    pairs = zip(
        SampleStream(small, REQUEST, config, 0).batches(0, 1, 0, 4),
        SampleStream(large, REQUEST, config, 0).batches(0, 1, 0, 4),
        strict=True,
    )
    assert all(same(first, second) for first, second in pairs)
    assert small._cached_bytes <= 300_000 < large._cached_bytes


def test_only_needed_columns_are_read(tiny: ShardedDataset) -> None:
    assert needed_columns(SampleRequest(16), 2) == []
    assert set(needed_columns(REQUEST, 1)) == {
        "sample_points_0", "sample_sdf_0", "sample_colors_0", "iou_points", "iou_inside", "cloud_points",
        "cloud_colors",
    }  # fmt: skip
    assert len(chosen_entries(tiny, "train", DataConfig(max_objects=2))) == 2


def test_what_travels_is_small_and_unpacks_to_the_same_batch(tiny: ShardedDataset) -> None:
    stream = SampleStream(tiny, SampleRequest(32, 64, VoxelRequest("visible")), DataConfig(batch_size=4), seed=1)
    samples = [stream.sample(index) for index in range(4)]
    packed = pickle.dumps(stack(samples))
    whole = collate(samples)
    assert same(batch_of(pickle.loads(packed)), whole)
    assert len(packed) < sum(value.numpy().nbytes for value in whole.fields.values()) / 10
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(whole["voxels"][index], sample["voxels"].dense())
        view = load_view(tiny, whole.ids[index].split("#")[0], stream.row(index).view)
        image, mask = composited(view.rgba, 32)
        np.testing.assert_array_equal(whole["image"][index], image)
        np.testing.assert_array_equal(whole["mask"][index], mask)
    with pytest.raises(DataError, match="resolutions"):
        stack([samples[0], {**samples[1], "voxels": voxelize_sparse(np.zeros((1, 3)), None, 8, "occupancy")}])


@pytest.mark.parametrize("num_points", [50, 15_000])
def test_a_prepared_view_gives_the_samples_of_the_view(tiny: ShardedDataset, num_points: int) -> None:
    entry = tiny.entries()[0]
    view, record = load_view(tiny, entry.id, 1), load_object(tiny, entry.id)
    request = SampleRequest(24, 30, VoxelRequest("visible", num_points=num_points))
    prepared = prepare_view(view.picture(), request)
    direct = collate([assemble(record, view.picture(), request, numpy_generator(0, key)) for key in "ab"])
    again = collate([assemble(record, prepared, request, numpy_generator(0, key)) for key in "ab"])
    assert same(direct, again)
    # By the definition: points of the view, drawn after the supervised ones.
    rng = numpy_generator(0, "a")
    for level in record.samples:
        rng.integers(0, len(level), 15)
    points, colors = visible_cloud(view.rgba, view.depth, view.camera)
    if len(points) > num_points:
        picked = rng.choice(len(points), num_points, replace=False)
        points, colors = points[picked], colors[picked]
    np.testing.assert_array_equal(direct["voxels"][0], voxelize_sparse(points, colors, 32, "color_density").dense())


def test_a_view_is_read_without_the_objects_others(tiny: ShardedDataset) -> None:
    entry = tiny.entries()[-1]
    groups: list[tuple[str, int]] = []
    read = tiny.read_group

    def noted(name: str, group: int, columns: list[str] | None) -> pa.Table:
        groups.append((name, group))
        return read(name, group, columns)

    tiny.read_group = noted  # type: ignore[method-assign]
    views = [load_view(tiny, entry.id, view, keep=False) for view in range(entry.num_views)]
    pixels = [group for name, group in groups if name.startswith("pixels")]
    assert pixels == list(range(pixels[0], pixels[0] + entry.num_views))
    assert [name.split("-")[0] for name, _ in groups].count("views") == 1
    for view, other in zip(views, load_views(tiny, entry.id), strict=True):
        assert np.array_equal(view.rgba, other.rgba)
        assert np.array_equal(view.depth, other.depth)
    assert {view.id for view in views} == {entry.id}
    # The images are the object's: its silhouette is where its camera sees it.
    assert all(((view.depth > 0) == (view.rgba[..., 3] > 127)).mean() > 0.95 for view in views)


def test_shards_with_the_images_among_the_views_are_read_as_before(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(tiny_folder, folder)
    record = json.loads((folder / "manifest.json").read_text())
    for index, files in enumerate(record["shards"]):
        views, pixels = (folder / files[table]["name"] for table in (1, 2))
        source = pq.ParquetFile(views)
        images = pq.read_table(pixels)
        tables, start = [], 0
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            for name in PIXELS:
                table = table.append_column(name, images.column(name).slice(start, len(table)))
            start += len(table)
            tables.append(table)
        with pq.ParquetWriter(views, tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=len(table))
        pixels.unlink()
        files[1]["num_bytes"] = views.stat().st_size
        record["shards"][index] = files[:2]
    (folder / "manifest.json").write_text(json.dumps(record))
    old, new = ShardedDataset.open(folder), ShardedDataset.open(tiny_folder)
    for entry in new.entries():
        for view in (0, entry.num_views - 1):
            one, other = load_view(old, entry.id, view), load_view(new, entry.id, view)
            assert np.array_equal(one.rgba, other.rgba)
            assert np.array_equal(one.depth, other.depth)
            assert torch.equal(one.camera.rotation, other.camera.rotation)
