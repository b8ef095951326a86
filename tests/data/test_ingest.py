"""Ingest: what is made is right, resumes, sets bad items aside, and survives bad disks and bad shards."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import trimesh

from raylift.config.codec import read_json
from raylift.core.errors import ConfigError, DataError, StorageError
from raylift.core.storage import Storage
from raylift.data.prepare.ingest import ingest
from raylift.data.prepare.shards import ShardRecord
from raylift.data.prepare.splits import hashed_split, read_split_file
from raylift.data.shapes import ingest as object_payload
from raylift.data.shapes.config import TINY, ShapesConfig
from raylift.data.shapes.record import load_object, load_views
from raylift.data.shapes.schema import ArrayColumn, object_columns
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.opening import Selection
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import Manifest
from raylift.geometry.bvh import TriangleBvh
from raylift.geometry.cameras import project
from raylift.geometry.voxels import grid_points
from tests.reference.winding import winding_number

SMALL = replace(TINY, num_views=2, samples=200, iou_points=300, surface_points=200, objects_per_shard=2)


@pytest.mark.parametrize(("packing", "step"), [("snorm16", 0.5 / 32767), ("snorm8", 0.5 / 127), ("unorm8", 0.25 / 255)])
def test_packing_round_trip_is_within_half_a_step(packing: str, step: float) -> None:
    column = ArrayColumn("x", (-1, 3), packing, 0.5, "", "")  # type: ignore[arg-type]
    values = np.random.default_rng(0).uniform(0 if packing == "unorm8" else -0.5, 0.5, (50, 3)).astype(np.float32)
    back = column.unpack(column.pack(values))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, values, atol=step + 1e-7)
    np.testing.assert_array_equal(column.unpack(column.pack(back)), back)  # what was stored once stays as it is
    np.testing.assert_allclose(column.unpack(column.pack(np.full((1, 3), 9.0))), 0.5)  # clipped, not wrapped
    with pytest.raises(DataError, match="do not fit"):
        column.unpack(column.pack(values)[: -2 if packing == "snorm16" else -1])


def test_bits_round_trip() -> None:
    column = object_columns(1)["iou_inside"]
    bits = np.random.default_rng(0).random(37) < 0.5
    np.testing.assert_array_equal(column.unpack(column.pack(bits))[:37], bits)


def test_tables_say_units_shapes_and_version(tiny_folder: Path) -> None:
    schema = pq.read_schema(tiny_folder / "objects-00000.parquet")
    assert schema.metadata[b"raylift.schema_version"] == b"1"
    field = schema.field("sdf32")
    assert field.metadata[b"shape"] == b"32,32,32"
    assert b"longest edge" in field.metadata[b"unit"]
    views = pq.read_schema(tiny_folder / "views-00000.parquet")
    assert b"1" in views.metadata[b"raylift.schema_version"]
    assert pq.ParquetFile(tiny_folder / "objects-00000.parquet").metadata.row_group(0).num_rows == 1


def test_every_part_of_an_object_agrees_with_the_others(tiny: ShardedDataset) -> None:
    for entry in tiny.entries()[:4]:
        record = load_object(tiny, entry.id)
        mesh = record.mesh
        solid = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
        assert solid.is_watertight
        assert solid.volume > 0
        assert np.abs(np.ptp(solid.vertices, axis=0).max() - 1) < 0.06
        tree = TriangleBvh(solid.vertices, solid.faces)

        def reference(points: np.ndarray, solid: trimesh.Trimesh = solid, tree: TriangleBvh = tree) -> np.ndarray:
            """The closed true mesh knows its inside by winding number; the scan that made it did not use that."""
            inside = winding_number(points, solid.vertices, solid.faces) > 0.5
            return np.where(inside, -1, 1) * tree.closest(points)[0]

        iou_points = record.iou_points[:600]
        distances = reference(iou_points)
        clear = np.abs(distances) > 0.02  # nearer, marching cubes on a coarse grid may disagree
        assert ((distances < 0) == record.iou_inside[:600])[clear].all()
        for level in record.samples:
            points, sdf, color = level.take(slice(0, 300))
            assert (
                np.quantile(np.abs(np.clip(reference(points), -0.1, 0.1) - sdf), 0.95) < 0.008
            )  # TINY's thickness is 0.0103: samples know it
            assert np.abs(sdf).max() <= 0.1 + 1e-7
            assert 0 <= color.min() <= color.max() <= 1
        np.testing.assert_array_equal(record.occupancy32, record.sdf32 < 0)
        grid = reference(grid_points(32)[::97])
        assert np.quantile(np.abs(grid - record.sdf32.reshape(-1)[::97]), 0.95) < 0.02
        assert tree.closest(record.surface_points[:200])[0].max() < 1e-4
        np.testing.assert_allclose(np.linalg.norm(record.surface_normals, axis=1), 1, atol=0.02)
        cloud_points, cloud_colors = record.cloud
        assert np.median(tree.closest(cloud_points[:200])[0]) < 0.02
        assert cloud_colors.max() <= 1


def test_views_have_cameras_that_fit_their_pixels(tiny: ShardedDataset) -> None:
    entry = tiny.entries()[0]
    mesh = load_object(tiny, entry.id).mesh
    views = load_views(tiny, entry.id)
    assert len(views) == entry.num_views == TINY.num_views
    for view in views:
        uv, depth = project(view.camera, mesh.vertices[None])
        pixels = ((uv[0] + 1) * TINY.image_px / 2).floor().long().clamp(0, TINY.image_px - 1)
        covered = np.zeros((TINY.image_px,) * 2, bool)
        covered[pixels[:, 1], pixels[:, 0]] = True
        silhouette = view.rgba[..., 3] > 0
        overlap = (covered & silhouette).sum() / (covered | silhouette).sum()
        assert overlap > 0.7  # the true surface is thicker by a part of a pixel
        seen = view.depth > 0
        assert abs(view.depth[seen].min() - float(depth.min())) < 0.05
        assert (view.rgba[seen][:, 3] > 0).all()
    assert all(4 < view.elevation_deg < 61 for view in views)


def _azimuths(dataset: ShardedDataset, object_id: str) -> list[float]:
    return [view.azimuth_deg for view in load_views(dataset, object_id)]


def test_cameras_are_drawn_for_each_object_by_its_id(tmp_path: Path, tiny: ShardedDataset) -> None:
    azimuths = {entry.id: _azimuths(tiny, entry.id) for entry in tiny.entries()}
    first = np.array([found[0] for found in azimuths.values()])
    assert len(set(np.round(first % 90, 2))) == len(first)  # no lattice that objects share
    # Which other objects there are, and in which shard, moves nothing.
    alone = [f"procedural/3-{index:05d}" for index in (1, 2)]
    ingest([ProceduralSource(3, seed=3)], str(tmp_path / "few"), SMALL, Selection(max_objects=3), parallel="none")
    two_views = ShardedDataset.open(tmp_path / "few")
    ingest([ProceduralSource(3, seed=3)], str(tmp_path / "again"), replace(SMALL, objects_per_shard=1), parallel="none")
    for name in alone:
        assert _azimuths(two_views, name) == _azimuths(ShardedDataset.open(tmp_path / "again"), name)


def test_the_papers_grid_is_the_same_for_all(tmp_path: Path) -> None:
    config = replace(SMALL, num_views=4, views="grid")
    ingest([ProceduralSource(2, seed=5)], str(tmp_path), config, parallel="none")
    dataset = ShardedDataset.open(tmp_path)
    for entry in dataset.entries():
        np.testing.assert_allclose(_azimuths(dataset, entry.id), [0, 90, 180, 270], atol=1e-3)


def test_ingest_is_a_pure_function_of_its_arguments(tmp_path: Path) -> None:
    sources = [ProceduralSource(3, seed=5)]
    first = ingest(sources, str(tmp_path / "a"), SMALL, parallel="none").manifest
    second = ingest(sources, str(tmp_path / "b"), SMALL, parallel="none").manifest
    assert first == second  # checksums included


def test_a_stopped_ingest_is_finished_and_a_finished_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, out = [ProceduralSource(6, seed=5)], tmp_path / "out"
    whole = ingest(sources, str(tmp_path / "whole"), SMALL, parallel="none").manifest

    class Stopped(Exception):
        pass

    def stop_after(done: int, total: int) -> None:
        if done >= 4:
            raise Stopped

    with pytest.raises(Stopped):
        ingest(sources, str(out), SMALL, parallel="none", progress=stop_after)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        ShardedDataset.open(out)
    resumed = ingest(sources, str(out), SMALL, parallel="none")
    assert (resumed.num_kept_shards, resumed.num_made_shards) == (2, 1)
    assert resumed.manifest == whole
    monkeypatch.setattr(object_payload, "make_rows", lambda *_: pytest.fail("made again"))
    assert ingest(sources, str(out), SMALL, parallel="none").num_made_shards == 0


def test_a_truncated_shard_is_named_and_only_it_is_made_again(tmp_path: Path) -> None:
    sources = [ProceduralSource(4, seed=5)]
    ingest(sources, str(tmp_path), SMALL, parallel="none")
    shard = tmp_path / "views-00001.parquet"
    good = shard.read_bytes()
    shard.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"views-00001\.parquet is damaged: it has .* bytes instead of") as caught:
        ShardedDataset.open(tmp_path)
    assert "prepare" in caught.value.remedy
    report = ingest(sources, str(tmp_path), SMALL, parallel="none")
    assert (report.num_kept_shards, report.num_made_shards) == (1, 1)
    assert shard.read_bytes() == good


def test_a_shard_with_flipped_bytes_is_found(tmp_path: Path, tiny_folder: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    shard = folder / "objects-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[4 : len(data) // 2] = b"\x55" * (len(data) // 2 - 4)
    shard.write_bytes(bytes(data))
    dataset = ShardedDataset.open(folder)
    assert dataset.verify() == ["objects-00000.parquet"]
    entry = next(entry for entry in dataset.entries() if entry.shard == 0 and entry.row_group == 0)
    with pytest.raises(DataError, match=r"objects-00000\.parquet is damaged"):
        load_object(dataset, entry.id)


def test_other_settings_do_not_overwrite(tmp_path: Path) -> None:
    sources = [ProceduralSource(1, seed=5)]
    ingest(sources, str(tmp_path), SMALL, parallel="none")
    with pytest.raises(DataError, match="other settings"):
        ingest(sources, str(tmp_path), replace(SMALL, num_views=3), parallel="none")
    report = ingest(sources, str(tmp_path), replace(SMALL, num_views=3), parallel="none", overwrite=True)
    assert report.manifest.entries[0].num_views == 3


def test_more_and_fewer_objects_leave_no_leftovers(tmp_path: Path) -> None:
    source = ProceduralSource(6, seed=5)
    ingest([source], str(tmp_path), SMALL, parallel="none")
    report = ingest([source], str(tmp_path), SMALL, Selection(max_objects=1), parallel="none")
    assert report.manifest.counts["objects"] == 1
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "objects-00000.parquet", "pixels-00000.parquet", "views-00000.parquet",
    ]  # fmt: skip
    ShardedDataset.open(tmp_path)


def test_bad_items_are_set_aside_with_reasons_and_retried(tmp_path: Path) -> None:
    meshes = tmp_path / "meshes"
    meshes.mkdir()
    trimesh.creation.box((1, 1, 1)).export(meshes / "good.obj")
    (meshes / "empty.obj").write_bytes(b"")
    (meshes / "noise.glb").write_bytes(b"noise" * 30)
    trimesh.creation.icosphere(3).export(meshes / "huge.ply")
    (meshes / "line.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    config = replace(SMALL, max_faces=600)
    report = ingest([FolderSource(meshes)], str(tmp_path / "out"), config, parallel="none")
    reasons = dict(report.set_aside)
    assert set(reasons) == {f"folder/{name}" for name in ("empty.obj", "noise.glb", "huge.ply", "line.obj")}
    assert "empty file" in reasons["folder/empty.obj"]
    assert "more than the limit" in reasons["folder/huge.ply"]
    assert [entry.id for entry in report.manifest.entries] == ["folder/good.obj"]
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {row["id"] for row in written["set_aside"]} == set(reasons)
    assert report.manifest.set_aside == 4
    # Repairing the mesh is enough: its shard is made again.
    trimesh.creation.box((1, 2, 1)).export(meshes / "empty.obj")
    again = ingest([FolderSource(meshes)], str(tmp_path / "out"), config, parallel="none")
    assert {entry.id for entry in again.manifest.entries} == {"folder/good.obj", "folder/empty.obj"}


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.obj").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 1 objects .*bad\.obj.*empty file"):
        ingest([FolderSource(tmp_path)], str(tmp_path / "out"), SMALL, parallel="none")


def test_an_unforeseen_error_costs_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = object_payload.make_rows

    def fails_once(item, *rest):  # type: ignore[no-untyped-def]
        if item.reference == "1":
            raise ZeroDivisionError("surprise")
        return real(item, *rest)

    monkeypatch.setattr(object_payload, "make_rows", fails_once)
    report = ingest([ProceduralSource(3, seed=5)], str(tmp_path), SMALL, parallel="none")
    assert report.set_aside == (("procedural/5-00001", "unexpected ZeroDivisionError: surprise"),)


def test_a_full_disk_is_named_and_finished_shards_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, out = [ProceduralSource(4, seed=5)], tmp_path / "out"
    real = Storage.upload
    calls = []

    def full(self: Storage, source: Path, name: str) -> str:
        calls.append(name)
        if name.endswith("00001.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, source, name)

    monkeypatch.setattr(Storage, "upload", full)
    with pytest.raises(StorageError, match="no room left") as caught:
        ingest(sources, str(out), SMALL, parallel="none")
    assert "same command" in caught.value.remedy
    assert sorted(path.name for path in out.iterdir()) == [
        "objects-00000.parquet", "pixels-00000.parquet", "shard-00000.json", "views-00000.parquet",
    ]  # fmt: skip
    monkeypatch.setattr(Storage, "upload", real)
    report = ingest(sources, str(out), SMALL, parallel="none")
    assert (report.num_kept_shards, report.num_made_shards) == (1, 1)


def test_a_damaged_manifest_or_record_is_named(tmp_path: Path, tiny_folder: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        ShardedDataset.open(folder)
    manifest = json.loads((tiny_folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(DataError, match="schema version 99"):
        ShardedDataset.open(folder)
    with pytest.raises(ConfigError, match="invalid JSON"):
        read_json(ShardRecord, "{")
    with pytest.raises(ConfigError, match="fingerprint is missing"):
        read_json(ShardRecord, '{"index": 0}')


def test_manifest_counts_and_round_trip(tiny: ShardedDataset) -> None:
    manifest = tiny.manifest
    assert Manifest.read(tiny.storage) == manifest
    assert manifest.counts["objects"] == 10
    assert manifest.counts["views"] == 40
    assert sum(manifest.counts["by_split"].values()) == 10
    assert manifest.versions["numpy"] == np.__version__
    assert tiny.verify() == []


def test_hashed_splits_have_the_asked_shares_and_do_not_move() -> None:
    splits = [hashed_split(f"object {index}", 0.1, 0.2) for index in range(5000)]
    assert abs(splits.count("test") / 5000 - 0.2) < 0.02
    assert abs(splits.count("val") / 5000 - 0.1) < 0.02
    # An object that is held out stays held out when the shares grow.
    grown = [hashed_split(f"object {index}", 0.1, 0.3) for index in range(5000)]
    assert all(after == "test" for before, after in zip(splits, grown, strict=True) if before == "test")


def test_split_lists(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["procedural/5-00000"], "test": ["procedural/5-00001"]}))
    listed = read_split_file(path)
    report = ingest([ProceduralSource(2, seed=5)], str(tmp_path / "out"), SMALL, listed_splits=listed, parallel="none")
    assert [entry.split for entry in report.manifest.entries] == ["train", "test"]
    with pytest.raises(DataError, match="does not name"):
        ingest([ProceduralSource(3, seed=5)], str(tmp_path / "more"), SMALL, listed_splits=listed, parallel="none")
    path.write_text("a b train\nc val\n")
    assert read_split_file(path) == {"a b": "train", "c": "val"}
    for text, words in (("a trainn\n", "trainn"), ("a train\na test\n", "both"), ("{", "damaged"), ("a\n", "damaged")):
        path.write_text(text)
        with pytest.raises(DataError, match=words):
            read_split_file(path)


def test_impossible_settings_are_refused() -> None:
    for bad in (
        {"num_views": 0},
        {"views": "circle"},
        {"sigmas": ()},
        {"val_share": 0.6, "test_share": 0.5},
        {"elevation_range_deg": (9, 1)},
    ):
        with pytest.raises(ConfigError):
            ShapesConfig(**bad)  # type: ignore[arg-type]
