"""Scenes from shapes: true cameras and outlines, levels by the mask, pictures apart by split, the same for one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import numpy_generator
from raylift.data.images.config import ImagesConfig
from raylift.data.images.record import ImageRecord, load_image, true_shape
from raylift.data.prepare.ingest import ingest
from raylift.data.scenes import pictures, poses
from raylift.data.scenes.levels import LEVELS, hidden_share, level_of
from raylift.data.scenes.occlusion import occlude
from raylift.data.scenes.options import SceneOptions, parse_place
from raylift.data.shapes.config import TINY
from raylift.data.shapes.record import load_object, load_view
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from raylift.geometry.cameras import camera_centers, project
from tests.data.image_layouts import save

PX = 48
CONFIG = ImagesConfig(image_px=PX, min_object_px=4, objects_per_shard=16)
NUM_CUTOUTS = 24


def color_of(index: int) -> tuple[int, int, int]:
    """Colours of which none is a mixture of two others."""
    return 97 * index % 256, 57 * index % 256, 255 - 31 * index % 256


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """Chairs and vehicles, of all splits."""
    folder = tmp_path_factory.mktemp("shapes")
    sources = [open_source("procedural:3"), open_source("procedural:vehicles:3")]
    names = [item.id for source in sources for item in source.items()]
    splits = {name: ("train", "val", "test")[index % 3] for index, name in enumerate(names)}
    ingest(sources, str(folder), TINY, listed_splits=splits, parallel="none")
    return ShardedDataset.open(folder)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs, each of a colour of its own."""
    folder = tmp_path_factory.mktemp("blobs")
    rows, columns = np.mgrid[:40, :40] - 19.5
    for index in range(NUM_CUTOUTS):
        rgba = np.zeros((40, 40, 4), np.uint8)
        rgba[..., :3] = color_of(index)
        rgba[..., 3] = np.where(np.hypot(rows, columns) < 18, 255, 0)
        save(folder / f"blob-{index}.png", rgba)
    return folder


def prepared(place: str, folder: Path, seed: int = 0) -> ShardedDataset:
    report = ingest([open_source(f"scenes:{place}", seed)], str(folder), CONFIG, parallel="none")
    assert not report.set_aside
    return ShardedDataset.open(folder)


@pytest.fixture(scope="module")
def scenes(shapes: ShardedDataset, blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepared(f"{shapes.uri}#8,per_level=2,occluders=cutouts:{blobs}", tmp_path_factory.mktemp("scenes"))


def records(dataset: ShardedDataset, split: str | None = None) -> list[ImageRecord]:
    return [load_image(dataset, entry.id) for entry in dataset.entries(split)]


def whole(record: ImageRecord) -> np.ndarray:
    assert record.amodal is not None
    return record.amodal


# --- truth ----------------------------------------------------------------------------------------------------------


def test_the_true_mesh_projects_onto_the_amodal_mask(scenes: ShardedDataset, shapes: ShardedDataset) -> None:
    for record in records(scenes):
        mesh = load_object(shapes, record.truth.rpartition("#")[0], ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh
        assert record.camera is not None
        uv, depth = project(record.camera, mesh.vertices[None].float())
        assert (depth > 0).all()
        places = (uv[0].numpy() + 1) / 2 * PX
        places = places[(places > 0).all(1) & (places < PX).all(1)]
        columns, rows = np.floor(places).astype(int).T
        mask = whole(record)
        # Coverage has four samples per pixel, so an outermost vertex may be in a pixel that none of them hits.
        assert (mask[rows, columns] > 0).mean() > 0.9
        assert (maximum_filter(mask, 3)[rows, columns] > 0).all()
        seen_rows, seen_columns = np.nonzero(mask)
        found = (seen_columns.min(), seen_rows.min(), seen_columns.max(), seen_rows.max())
        expected = (columns.min(), rows.min(), columns.max(), rows.max())
        np.testing.assert_allclose(found, expected, atol=1)


def test_levels_are_what_the_masks_say(scenes: ShardedDataset) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for record, entry in zip(records(scenes), scenes.entries(), strict=True):
        level = record.id.rpartition("-")[2]
        assert level_of(hidden_share(whole(record), record.rgba[..., 3])) == level
        assert (record.rgba[..., 3] <= whole(record)).all()
        counts[entry.split, level] += 1
    for split in ("val", "test"):
        assert [counts[split, level] for level in LEVELS] == [4, 4, 4, 4], "two objects, two images per level"
    assert sum(counts["train", level] for level in LEVELS) == 2 * 8
    assert counts["train", "L3"] == 0
    assert min(counts["train", level] for level in ("L0", "L1", "L2")) > 0


def test_levels_of_a_held_out_object_are_one_view_more_or_less_hidden(scenes: ShardedDataset) -> None:
    by_scene: dict[str, list[ImageRecord]] = {}
    for record in records(scenes, "test"):
        by_scene.setdefault(record.id.rpartition("-")[0], []).append(record)
    assert len(by_scene) == 4
    for clear, *others in by_scene.values():
        assert clear.id.endswith("-L0")
        for record in others:
            assert record.camera is not None
            assert clear.camera is not None
            assert torch.equal(record.camera.rotation, clear.camera.rotation)
            assert torch.equal(record.camera.translation, clear.camera.translation)
            np.testing.assert_array_equal(record.amodal, clear.amodal)
            uncovered = (whole(clear) > 0) & (record.rgba[..., 3] == clear.rgba[..., 3])
            np.testing.assert_array_equal(record.rgba[uncovered], clear.rgba[uncovered])
    cameras = [group[0].camera for group in by_scene.values()]
    assert len({tuple(camera.rotation.flatten().tolist()) for camera in cameras if camera is not None}) == 4


def test_the_shape_its_split_and_its_words_are_kept(scenes: ShardedDataset, shapes: ShardedDataset) -> None:
    for entry in scenes.entries():
        known = true_shape(scenes, entry.id)
        original = shapes.entry(known.object_id)
        assert entry.id.startswith(f"{original.id}@")
        assert (entry.split, entry.category, entry.caption) == (original.split, original.category, original.caption)
        assert entry.group == original.group
        camera = load_image(scenes, entry.id).camera
        assert camera is not None
        toward = camera_centers(camera)[0]
        views = [camera_centers(load_view(shapes, original.id, view).camera)[0] for view in range(original.num_views)]
        angles = [float(torch.cosine_similarity(toward, other, dim=0)) for other in views]
        assert known.view == int(np.argmax(angles))


def test_drawn_cameras_are_rigid_and_within_their_ranges() -> None:
    drawn = [poses.draw_camera(numpy_generator(0, index, "camera")) for index in range(120)]
    rotations = torch.cat([camera.rotation for camera in drawn]).double()
    torch.testing.assert_close(
        rotations @ rotations.mT, torch.eye(3, dtype=torch.float64).expand(120, 3, 3), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(120, dtype=torch.float64))
    # Up in the image is up in the world, but for the roll.
    forward, up = rotations[:, 2], -rotations[:, 1]
    upright = torch.nn.functional.normalize(torch.tensor([0.0, 1.0, 0.0]) - forward * forward[:, 1:2], dim=-1)
    rolls = torch.rad2deg(torch.atan2((torch.linalg.cross(upright, up) * forward).sum(-1), (upright * up).sum(-1)))
    assert 13 < rolls.abs().max() <= poses.MOST_ROLL_DEG + 1e-4
    assert rolls.min() < -10 < 10 < rolls.max()
    elevations = torch.rad2deg(torch.asin(-forward[:, 1]))
    assert (
        poses.ELEVATIONS_DEG[0] - 1e-3 <= elevations.min() < 0 < 50 < elevations.max() <= poses.ELEVATIONS_DEG[1] + 1e-3
    )
    azimuths = torch.rad2deg(torch.atan2(-forward[:, 0], -forward[:, 2])) % 360
    assert (torch.histc(azimuths, 6, 0, 360) > 8).all()
    centers = torch.stack([project(camera, torch.zeros(1, 1, 3))[0][0, 0] for camera in drawn])
    assert 0.1 < centers.abs().max() <= poses.MOST_OFFSET + 1e-6


# --- pictures -------------------------------------------------------------------------------------------------------


def test_occluders_of_training_and_test_scenes_are_apart(scenes: ShardedDataset, blobs: Path) -> None:
    source = open_source(f"cutouts:{blobs}")
    names = {split: pictures.cutouts(source, split, ()).names for split in ("train", "val", "test")}  # type: ignore[arg-type]
    assert sum(map(len, names.values())) == len(set().union(*names.values())) == NUM_CUTOUTS
    # What is seen over the objects are the blobs of the split, told by their colours.
    palette = np.array([color_of(index) for index in range(NUM_CUTOUTS)])
    seen: dict[str, set[int]] = {}
    for split, listed in names.items():
        allowed = {int(name.rpartition("-")[2].partition(".")[0]) for name in listed}
        for record in records(scenes, split):
            pasted = record.rgba[(whole(record) == 255) & (record.rgba[..., 3] == 0), :3].astype(int)
            distance = np.abs(pasted[:, None] - palette).max(axis=2)
            exact = distance.argmin(axis=1)[distance.min(axis=1) <= 1]
            assert len(exact) >= 0.5 * len(pasted)
            assert set(exact.tolist()) <= allowed, record.id
            seen.setdefault(split, set()).update(exact.tolist())
    assert all(seen.values())
    assert not seen["train"] & seen["test"]


def test_cutouts_of_a_category_do_not_hide_it(tmp_path: Path) -> None:
    rgba = np.zeros((9, 9, 4), np.uint8)
    rgba[2:7, 2:7] = 255
    for index in range(12):
        save(tmp_path / "household" / f"desk_lamp_{index}.png", rgba)
        save(tmp_path / "household" / f"owl_{index}.png", rgba)
    source = open_source(f"cutouts:{tmp_path}")
    found = pictures.cutouts(source, "train", ("lamps", "seats"))  # type: ignore[arg-type]
    assert found.names
    assert all("owl" in name for name in found.names)
    assert found.draw(np.random.default_rng(0), []).shape == (5, 5, 4), "cut to what it shows"
    with pytest.raises(DataError, match="none of the 0 occluders"):
        pictures.cutouts(source, "train", ("lamps", "owls"))  # type: ignore[arg-type]


def test_an_unusable_picture_is_passed_over_and_noted(tmp_path: Path) -> None:
    rgba = np.zeros((9, 9, 4), np.uint8)
    rgba[2:7, 2:7] = 255
    for index in range(9):
        save(tmp_path / f"owl_{index}.png", rgba if index % 2 else rgba[..., :3])
    found = pictures.cutouts(open_source(f"cutouts:{tmp_path}"), "train", ())  # type: ignore[arg-type]
    rejected: list[str] = []
    rng = np.random.default_rng(0)
    assert all(found.draw(rng, rejected).shape == (5, 5, 4) for _ in range(9))
    assert rejected
    assert all("has no alpha channel" in reason for reason in rejected)
    opaque = pictures.Pictures(tuple(name for name in found.names if int(name[-5]) % 2 == 0), found.load)
    with pytest.raises(DataError, match="10 pictures in a row cannot be used"):
        opaque.draw(rng, rejected)


def test_other_objects_of_the_split_hide_where_no_cutouts_are_given(shapes: ShardedDataset, tmp_path: Path) -> None:
    chosen = {split: pictures.views_of_others(shapes, split, "chair").names for split in ("train", "test")}
    for split, names in chosen.items():
        owners = {shapes.entry(name.rpartition("#")[0]) for name in names}
        assert {entry.split for entry in owners} == {split}
        assert "chair" not in {entry.category for entry in owners}
    dataset = prepared(f"{shapes.uri}#1,train=L1,test=L1", tmp_path)
    assert len(dataset.entries()) == 6
    entries = tuple(shapes.entries(None, ("chair",)))
    alone = ShardedDataset(shapes.storage, replace(shapes.manifest, entries=entries))
    with pytest.raises(DataError, match="all are of this category"):
        pictures.views_of_others(alone, "test", "chair")


def test_backgrounds_are_photographs_of_the_split(shapes: ShardedDataset, tmp_path: Path) -> None:
    for index in range(20):
        rgb = np.full((30, 50, 3), 10 * index, np.uint8)
        save(tmp_path / "photos" / f"wall-{index}.png", rgb)
    dataset = prepared(f"{shapes.uri}#2,train=L0,test=L0,backgrounds={tmp_path / 'photos'}", tmp_path / "out")
    seen: dict[str, set[int]] = {}
    for entry in dataset.entries():
        record = load_image(dataset, entry.id)
        assert record.has_background
        (value,) = np.unique(record.rgba[whole(record) == 0, :3])
        assert pictures.split_of(f"wall-{value // 10}.png") == entry.split
        seen.setdefault(entry.split, set()).add(int(value))
    assert not seen["train"] & seen["test"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="none of the 0 backgrounds"):
        pictures.photographs(tmp_path / "empty", "test")


# --- draws ----------------------------------------------------------------------------------------------------------


def test_a_seed_makes_the_same_bytes(
    shapes: ShardedDataset, blobs: Path, scenes: ShardedDataset, tmp_path: Path
) -> None:
    place = f"{shapes.uri}#8,per_level=2,occluders=cutouts:{blobs}"
    assert prepared(place, tmp_path / "again").manifest.shards == scenes.manifest.shards
    other = prepared(f"{place},seed=7", tmp_path / "other")
    assert other.manifest.shards != scenes.manifest.shards
    assert prepared(place, tmp_path / "told", seed=7).manifest.entries == other.manifest.entries


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
def test_any_object_is_hidden_as_much_as_the_level_says(level: str) -> None:
    disc = np.zeros((20, 30, 4), np.uint8)
    disc[2:18, 2:28] = 255
    for seed in range(12):
        rng = np.random.default_rng(seed)
        amodal = np.zeros((64, 64), np.uint8)
        if seed % 2:
            amodal[10:50, 30:34] = 255
        else:
            amodal[20:40, 15:50] = 255
        pasted = occlude(amodal, level, lambda: disc, rng)
        share = hidden_share(amodal, amodal * (1 - pasted.coverage))
        assert LEVELS[level][0] <= share <= LEVELS[level][1]
    with pytest.raises(DataError, match="arrangements of occluders do not hide"):
        occlude(amodal, level, lambda: disc * np.uint8(0), rng)


def test_hidden_shares_and_their_levels() -> None:
    amodal = np.full((4, 5), 255, np.uint8)
    visible = amodal.copy()
    visible[0] = 0
    assert hidden_share(amodal, visible) == pytest.approx(0.25)
    assert [level_of(share) for share in (0.0, 0.1, 0.2, 0.5, 0.7, 0.9)] == ["L0", None, "L1", "L2", "L3", None]


def test_places_are_parsed() -> None:
    shapes, options = parse_place("data/furniture#10,per_level=3,train=L0+L1,occluders=stamps:fetch:a,px=64")
    assert shapes == "data/furniture"
    assert options == SceneOptions(10, 3, ("L0", "L1"), px=64, occluders="stamps:fetch:a")
    assert parse_place("data") == ("data", SceneOptions())
    for place in ("data#many", "data#0", "data,levels=3", "data,px", "data,test=L4", "data,train="):
        with pytest.raises(ConfigError, match="scenes"):
            parse_place(place)


def test_scenes_need_shapes(scenes: ShardedDataset, shapes: ShardedDataset) -> None:
    with pytest.raises(DataError, match="is not a data set of shapes"):
        open_source(f"scenes:{scenes.uri}").items()
    with pytest.raises(ConfigError, match="delivers no images"):
        open_source(f"scenes:{shapes.uri},occluders=procedural:3")


def test_shapes_with_too_few_views_for_their_colours_are_refused(tmp_path: Path) -> None:
    """What no view has seen has the colour of something else."""
    splits = {"procedural/0-00000": "train"}
    ingest(
        [open_source("procedural:1")], str(tmp_path), replace(TINY, num_views=3), listed_splits=splits, parallel="none"
    )
    with pytest.raises(DataError, match="objects with 3 views") as caught:
        open_source(f"scenes:{tmp_path}").items()
    assert "--num-views" in caught.value.remedy
