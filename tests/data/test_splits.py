"""Splits: no body is divided, counts are per category, and neither workers nor other categories move them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
import tyro

from raylift.core.errors import ConfigError, DataError
from raylift.data.images.config import ImagesConfig
from raylift.data.images.record import load_image
from raylift.data.inspection import group_notes
from raylift.data.prepare.groups import divided_groups, linked, parse_grouping
from raylift.data.prepare.ingest import ingest
from raylift.data.prepare.splits import Member, SplitRule, assign_splits
from raylift.data.shapes.bodies import TOLERANCE, body_measures, same_bodies
from raylift.data.shapes.config import TINY, ShapesConfig
from raylift.data.shapes.normalise import normalise_scene
from raylift.data.sources.base import SourceItem
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.opening import open_source
from raylift.data.sources.procedural import procedural_chair
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import Manifest
from raylift.rendering.scene import Material, Scene
from tests.scripts import load_job

SMALL = replace(TINY, num_views=2, image_px=24, samples=50, iou_points=60, surface_points=60, truth_resolution=32)


def measured(scene: Scene) -> np.ndarray:
    return np.array(body_measures(normalise_scene(scene, 10**6)[0]))


def subdivided(scene: Scene) -> Scene:
    """The same surface cut into four times as many triangles, in another order."""
    vertices, faces = trimesh.remesh.subdivide(scene.vertices, scene.faces)
    faces = faces[np.random.default_rng(0).permutation(len(faces))]
    count = len(faces)
    return Scene(
        vertices.astype(np.float32), faces.astype(np.int32), np.zeros(count, np.int32), (Material((1, 0, 0)),),
        np.zeros((count, 3, 2), np.float32),
    )  # fmt: skip


def test_a_body_is_known_again_whatever_its_colour_scale_and_triangles() -> None:
    chairs = [procedural_chair(0, index) for index in range(12)]
    bodies = [measured(chair) for chair in chairs]
    for chair, body in zip(chairs, bodies, strict=True):
        lopsided = replace(chair, vertices=chair.vertices + np.float32(0.3) * chair.vertices[:, [1, 2, 0]])
        other = replace(lopsided, vertices=lopsided.vertices * np.float32([-1, 1, 1]))
        assert np.linalg.norm(measured(lopsided) - measured(other)) < TOLERANCE / 10
        stretched = replace(chair, vertices=chair.vertices * np.float32([20, 35, 18]) + np.float32([5, 0, -3]))
        mirrored = replace(chair, vertices=chair.vertices * np.float32([-1, 1, 1]))
        repainted = replace(chair, materials=tuple(Material((0.1, 0.2, 0.9)) for _ in chair.materials))
        for copy in (stretched, mirrored, repainted, subdivided(chair)):
            assert np.linalg.norm(measured(copy) - body) < TOLERANCE / 10
    apart = np.linalg.norm(np.array(bodies)[:, None] - np.array(bodies)[None], axis=-1) + 9 * np.eye(len(bodies))
    assert np.median(apart.min(axis=1)) > 2 * TOLERANCE
    measures = [tuple(body) for body in [*bodies, measured(subdivided(chairs[3]))]]
    assert (3, 12) in same_bodies(measures)
    assert same_bodies(measures[:1]) == []


def test_flat_bodies_are_not_stretched_into_noise() -> None:
    sheet = trimesh.creation.box((1, 1e-7, 0.5))
    noisy = trimesh.creation.box((1, 3e-7, 0.5))
    scenes = [
        Scene(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), np.zeros(12, np.int32),
              (Material((1, 1, 1)),), np.zeros((12, 3, 2), np.float32))
        for mesh in (sheet, noisy)
    ]  # fmt: skip
    first, second = (measured(scene) for scene in scenes)
    assert np.isfinite(first).all()
    assert np.linalg.norm(first - second) < TOLERANCE


def members(count: int, category: str = "a", size: int = 1) -> list[Member]:
    """``count`` groups of ``size`` objects."""
    return [
        Member(f"{category}/{group:03d}.{place}", f"{category}/{group:03d}.0", category)
        for group in range(count)
        for place in range(size)
    ]


def of_split(splits: dict[str, str], split: str, category: str = "") -> set[str]:
    return {name for name, found in splits.items() if found == split and name.startswith(category)}


COUNTS = SplitRule(0.1, 0.2, val_objects=3, test_objects=12)


def test_counts_hold_per_category_and_other_categories_move_nothing() -> None:
    first, second = members(40, "a"), members(30, "b", size=2)
    alone, notes = assign_splits(first, COUNTS)
    assert notes == []
    together, _ = assign_splits([*second, *first][::-1], COUNTS)
    assert {name: together[name] for name in alone} == alone
    for category in ("a", "b"):
        assert len(of_split(together, "test", category)) == 12
    assert len(of_split(together, "val", "a")) == 3
    assert len(of_split(together, "val", "b")) == 2  # groups of two are not divided to make three
    assert divided_groups({one.id: one.group for one in [*first, *second]}, together) == []
    # Neither the first nor the last by name are taken.
    assert of_split(alone, "test") != {one.id for one in first[:12]}


def test_what_is_held_out_stays_so_when_counts_grow() -> None:
    few, _ = assign_splits(members(60), SplitRule(0.1, 0.2, 2, 6))
    many, _ = assign_splits(members(60), SplitRule(0.1, 0.2, 5, 12))
    assert of_split(few, "test") < of_split(many, "test")
    assert of_split(few, "val") < of_split(many, "val")


def test_a_small_category_keeps_a_third_to_train_on_and_says_so() -> None:
    splits, notes = assign_splits([*members(9, "few"), *members(40, "many")], COUNTS)
    assert {split: len(of_split(splits, split, "few")) for split in ("train", "val", "test")} == {
        "train": 3, "val": 1, "test": 5,
    }  # fmt: skip
    assert notes == ["few holds out 5 test and 1 val objects instead of 12 and 3: it has 9 objects in 9 groups"]
    assert assign_splits(members(1), COUNTS)[0] == {"a/000.0": "train"}


def test_a_group_of_two_categories_is_held_out_where_either_holds_it_out() -> None:
    shared = [Member(f"b/{index:03d}", f"a/{index:03d}.0", "b") for index in range(40)]
    splits, _ = assign_splits([*members(40, "a"), *shared], COUNTS)
    assert divided_groups({one.id: one.group for one in [*members(40, "a"), *shared]}, splits) == []
    alone, _ = assign_splits(members(40, "a"), COUNTS)
    assert of_split(alone, "test") <= of_split(splits, "test", "a")


def test_shares_hold_out_whole_groups() -> None:
    objects = members(2000, size=3)
    splits, _ = assign_splits(objects, SplitRule(0.1, 0.2))
    assert divided_groups({one.id: one.group for one in objects}, splits) == []
    assert len(of_split(splits, "test")) / 6000 == pytest.approx(0.2, abs=0.03)
    assert len(of_split(splits, "val")) / 6000 == pytest.approx(0.1, abs=0.03)


def test_a_group_follows_a_prescribed_member() -> None:
    one, other, third = Member("x/1", "x/1", "x", "test"), Member("x/2", "x/1", "x"), Member("x/3", "x/1", "x", "val")
    splits, _ = assign_splits([other, one], SplitRule(0.0, 0.0))
    assert splits == {"x/1": "test", "x/2": "test"}
    assert assign_splits([one, third, other], COUNTS)[0] == {"x/1": "test", "x/3": "val", "x/2": "test"}


def test_groupings_by_column_and_by_id() -> None:
    item = SourceItem("birds/crow-07", "Crow", "birds", "ref", creator="Ann", group="told")
    for text, group in (
        ("none", "told"),
        ("creator", "Ann"),
        ("style", "birds/crow-07"),  # empty: for itself
        (r"id:(.*)-\d+$", "birds/crow"),
        ("id:crow", "crow"),
        ("id:nothing", "birds/crow-07"),
    ):
        name_of = parse_grouping(text).name_of
        assert name_of is not None
        assert name_of(item) == group
    assert parse_grouping("shape").name_of is None
    for text in ("id:(", "colour"):
        with pytest.raises(ConfigError, match="group_by"):
            parse_grouping(text)
    assert linked(["b", "c", "a", "d"], [(0, 1), (1, 2)]) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_impossible_split_settings_are_refused() -> None:
    for bad in ({"group_by": "colour"}, {"test_objects": -1}, {"val_share": 0.6, "test_share": 0.5}):
        for config in (ShapesConfig, ImagesConfig):
            with pytest.raises(ConfigError):
                config(**bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="images have no shape"):
        ImagesConfig(group_by="shape")


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight bodies as meshes of a folder, the first three in four colours and scales each."""
    folder = tmp_path_factory.mktemp("copies")
    rng = np.random.default_rng(0)
    for body in range(8):
        parts = [trimesh.creation.box(rng.uniform(0.2, 1.0, 3)) for _ in range(3)]
        for part in parts:
            part.apply_translation(rng.uniform(-0.6, 0.6, 3))
        mesh = trimesh.util.concatenate(parts)
        for copy in range(4 if body < 3 else 1):
            mesh.visual.vertex_colors = [*rng.integers(0, 255, 3).tolist(), 255]
            mesh.copy().apply_scale(1.0 + copy).export(folder / f"body{body}-{copy}.ply")
    return folder


def groups_of(manifest: Manifest) -> dict[str, str]:
    return {name.removeprefix("folder/"): group.removeprefix("folder/") for name, group in manifest.groups.items()}


def test_prepared_copies_of_one_body_stay_together(tmp_path: Path, copies: Path) -> None:
    config = replace(SMALL, test_objects=6, val_objects=1)
    report = ingest([FolderSource(copies)], str(tmp_path / "out"), config, parallel="none")
    groups = groups_of(report.manifest)
    assert groups == {name: f"{name[:5]}-0.ply" for name in groups}
    assert report.manifest.counts["groups"] == 8
    assert report.manifest.counts["by_split"]["test"] in (5, 6)
    assert divided_groups(report.manifest.groups, report.manifest.splits) == []
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(written["shared_groups"]) == 3
    assert "12 objects share one" in group_notes(report.manifest)[0]
    # The shards' size, hence how many workers share the work, moves no split.
    other = ingest(
        [FolderSource(copies)], str(tmp_path / "other"), replace(config, objects_per_shard=1), parallel="none"
    )
    assert other.manifest.splits == report.manifest.splits


def test_copies_are_recognised_however_they_are_rotated(tmp_path: Path, copies: Path) -> None:
    config = replace(SMALL, rotation="so3", num_views=1, scan_views=20, scan_px=64)
    groups = groups_of(ingest([FolderSource(copies)], str(tmp_path), config, parallel="none").manifest)
    assert groups == {name: f"{name[:5]}-0.ply" for name in groups}


def test_lists_that_divide_a_body_are_refused_unless_it_is_meant(tmp_path: Path, copies: Path) -> None:
    names = sorted(f"folder/{path.name}" for path in copies.glob("*.ply"))
    listed = {name: "test" if name.endswith("-3.ply") else "train" for name in names}
    source, out = [FolderSource(copies)], str(tmp_path / "out")
    with pytest.raises(DataError, match=r"divides 3 groups.*body0-0\.ply \(train\).*body0-3\.ply \(test\)"):
        ingest(source, out, SMALL, listed_splits=listed, parallel="none")
    with pytest.raises(DataError, match="no manifest"):
        ShardedDataset.open(out)
    knowing = replace(SMALL, group_by="none")
    meant = ingest(source, str(tmp_path / "meant"), knowing, listed_splits=listed, parallel="none")
    assert meant.manifest.splits == listed
    # A corrected list needs no mesh twice: the shards are there.
    whole = {name: "test" if "body0" in name else "train" for name in names}
    fixed = ingest(source, out, SMALL, listed_splits=whole, parallel="none")
    assert (fixed.num_made_shards, fixed.manifest.splits) == (0, whole)


def test_splits_that_a_source_divides_are_warned_of(tmp_path: Path, copies: Path) -> None:
    class Published(FolderSource):
        def items(self) -> list[SourceItem]:
            return [replace(item, split="test" if "-3" in item.id else "train") for item in super().items()]

    report = ingest([Published(copies)], str(tmp_path / "out"), SMALL, parallel="none")
    assert [name for name, _ in report.warnings] == ["splits"] * 3
    assert "body0-3.ply (test)" in report.warnings[0][1]
    assert "held-out scores flatter" in group_notes(report.manifest)[1]


def test_single_views_keep_the_groups_and_splits_of_their_shapes(tmp_path: Path, copies: Path) -> None:
    config = replace(SMALL, test_objects=4)
    shapes = ingest([FolderSource(copies)], str(tmp_path / "shapes"), config, parallel="none").manifest
    source = open_source(f"shapes:{tmp_path / 'shapes'}")
    images = ImagesConfig(image_px=24, min_object_px=1)
    views = ingest([source], str(tmp_path / "views"), images, parallel="none").manifest
    assert (views.groups, views.splits) == (shapes.groups, shapes.splits)
    several = ingest([open_source(f"shapes:{tmp_path / 'shapes'}#2")], str(tmp_path / "two"), images, parallel="none")
    assert several.manifest.counts["objects"] == 2 * shapes.counts["objects"]
    for place in range(2):
        assert {name: several.manifest.groups[f"{name}@{place}"] for name in shapes.groups} == shapes.groups
        assert {name: several.manifest.splits[f"{name}@{place}"] for name in shapes.splits} == shapes.splits
    two = ShardedDataset.open(tmp_path / "two")
    shown = [{load_image(two, f"{name}@{place}").truth for place in range(2)} for name in shapes.groups]
    assert all(len(truths) == 2 for truths in shown)


def test_sets_without_groups_are_read_and_said_to_have_none(tmp_path: Path, tiny_folder: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "old")
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["entries"]:
        del entry["group"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    old = ShardedDataset.open(folder).manifest
    assert old.groups == {entry.id: entry.id for entry in old.entries}
    assert "not recorded" in group_notes(old)[0]


def test_the_demo_holds_out_twelve_objects_seen_from_all_sides() -> None:
    demo, prepare = load_job("demo"), load_job("prepare")
    words = ["shapes", "--source", "procedural:1", *map(str, demo.prepare_settings(demo.Arguments())), "--out", "x"]
    config = tyro.cli(prepare.Arguments, args=words).config
    assert (config.views, config.group_by) == ("random", "shape")
    assert (config.test_objects, config.val_objects, config.num_views, config.image_px) == (12, 3, 12, 128)
