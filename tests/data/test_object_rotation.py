"""Objects rotated at random: all that is stored is of the rotated object, and unrotated sets stay as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from raylift.core.errors import ConfigError, DataError
from raylift.data.kinds import kind_to_make
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes import ingest as object_payload
from raylift.data.shapes.config import TINY
from raylift.data.shapes.ingest import ObjectPayload, make_rows
from raylift.data.shapes.normalise import normalise_scene, normalise_with_frame
from raylift.data.shapes.orientation import drawn_rotation, rotate_scene
from raylift.data.shapes.schema import object_columns
from raylift.data.sources.base import LoadedScene
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.annotations import Annotations
from raylift.geometry.bvh import TriangleBvh
from raylift.rendering.scene import Scene
from tests.reference.winding import winding_number

SMALL = replace(TINY, num_views=2, image_px=24, samples=50, iou_points=400, surface_points=60, objects_per_shard=2)
SO3 = replace(SMALL, rotation="so3")
COARSE = replace(SMALL, truth_resolution=32, scan_views=20, scan_px=64)
SOURCE = ProceduralSource(3, seed=5)
ITEM = SOURCE.items()[1]


def prepared(scene: Scene, config: object) -> ObjectPayload:
    return make_rows(ITEM, LoadedScene(scene), "procedural", config)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def upright() -> Scene:
    return normalise_scene(SOURCE.load(ITEM, 1 << 30).scene, 10**6)[0]


@pytest.fixture(scope="module")
def rotated(upright: Scene) -> ObjectPayload:
    return prepared(upright, SO3)


def test_rotations_are_proper_and_keyed_by_seed_and_id() -> None:
    for kind in ("vertical", "so3"):
        found = [drawn_rotation(kind, seed, name) for seed, name in ((0, "a"), (0, "b"), (1, "a"))]  # type: ignore[arg-type]
        for matrix in found:
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-14)
            assert np.linalg.det(matrix) == pytest.approx(1)
        assert min(np.abs(found[0] - found[1]).max(), np.abs(found[0] - found[2]).max()) > 1e-3
        np.testing.assert_array_equal(drawn_rotation(kind, 0, "a"), found[0])  # type: ignore[arg-type]
    np.testing.assert_array_equal(drawn_rotation("none", 0, "a"), np.eye(3))


def test_rotations_are_uniform() -> None:
    draws = np.stack([drawn_rotation("so3", 0, str(index)) for index in range(1000)])
    # Haar measure: the angle has the distribution (angle - sin angle) / pi, and no axis of the object prefers a side.
    angles = np.sort(np.arccos(((np.trace(draws, axis1=1, axis2=2) - 1) / 2).clip(-1, 1)))
    expected = (angles - np.sin(angles)) / np.pi
    assert np.abs(expected - np.arange(1, 1001) / 1000).max() < 1.63 / np.sqrt(1000)  # Kolmogorov, 1 %
    assert np.abs(draws.mean(0)).max() < 4 / np.sqrt(3 * 1000)
    vertical = np.stack([drawn_rotation("vertical", 0, str(index)) for index in range(1000)])
    np.testing.assert_allclose(vertical[:, 1], np.broadcast_to([0.0, 1.0, 0.0], (1000, 3)), atol=1e-15)
    turns = np.sort(np.arctan2(vertical[:, 0, 2], vertical[:, 0, 0]) % (2 * np.pi)) / (2 * np.pi)
    assert np.abs(turns - np.arange(1, 1001) / 1000).max() < 1.63 / np.sqrt(1000)


def test_everything_stored_is_that_of_an_object_which_came_rotated(upright: Scene, rotated: ObjectPayload) -> None:
    by_hand = upright.vertices.astype(np.float64) @ drawn_rotation("so3", SO3.seed, ITEM.id).T
    came_so = prepared(replace(upright, vertices=by_hand.astype(np.float32)), SMALL)
    assert rotated.row == came_so.row
    assert rotated.views == came_so.views
    unrotated = prepared(upright, SMALL)
    for name in ("cloud_points", "sdf32", "mesh_vertices", "surface_points", "iou_inside"):
        assert rotated.row[name] != unrotated.row[name]
    assert rotated.views[0]["rgba_png"] != unrotated.views[0]["rgba_png"]
    assert rotated.views[0]["rotation"] == unrotated.views[0]["rotation"]  # cameras stay where they were
    assert rotated.body == unrotated.body  # by which copies are known


def test_the_rotated_object_is_the_plain_one_rotated(upright: Scene, rotated: ObjectPayload) -> None:
    rotation = drawn_rotation("so3", SO3.seed, ITEM.id)
    moved, _, center, extent = normalise_with_frame(rotate_scene(upright, rotation), 10**6)
    exact = (upright.vertices.astype(np.float64) @ rotation.T - center) / extent
    np.testing.assert_allclose(moved.vertices[moved.faces], exact[upright.faces], atol=1e-5)
    assert np.ptp(moved.vertices, axis=0).max() == pytest.approx(1, abs=1e-6)

    columns = object_columns(len(SMALL.sigmas))
    plain = prepared(upright, SMALL).row
    vertices, faces = (columns[name].unpack(plain[name]) for name in ("mesh_vertices", "mesh_faces"))
    tree = TriangleBvh(vertices, faces)

    def taken_back(name: str) -> np.ndarray:
        """Stored points in the frame of the plain object."""
        points: np.ndarray = (columns[name].unpack(rotated.row[name]).astype(np.float64) * extent + center) @ rotation
        return points.astype(np.float32)

    # Sheets are as thick in the rotated frame as in the plain one, so surfaces agree up to the thickness and a cell.
    assert tree.closest(taken_back("surface_points"))[0].max() < 0.03
    assert np.median(tree.closest(taken_back("cloud_points")[::50])[0]) < 0.02
    points = taken_back("iou_points")
    inside = columns["iou_inside"].unpack(rotated.row["iou_inside"])[: len(points)]
    clear = tree.closest(points)[0] > 0.03
    assert clear.sum() > 200
    np.testing.assert_array_equal(winding_number(points[clear], vertices, faces) > 0.5, inside[clear])
    assert inside.sum() > 5


def test_a_rotation_depends_on_no_other_object(tmp_path: Path) -> None:
    made = {}
    for name, count, per_shard in (("few", 2, 2), ("all", 3, 1)):
        config = replace(COARSE, rotation="so3", objects_per_shard=per_shard)
        ingest([ProceduralSource(count, seed=5)], str(tmp_path / name), config, parallel="none")
        tables = [pq.read_table(path) for path in sorted((tmp_path / name).glob("objects-*.parquet"))]
        rows = [row for table in tables for row in table.to_pylist()]
        made[name] = {row["id"]: row["surface_points"] for row in rows}
    assert made["few"].items() <= made["all"].items()


def test_unrotated_data_sets_stay_what_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upright: Scene
) -> None:
    identity = kind_to_make(SMALL).identity(SMALL, Annotations())
    assert "rotation" not in identity[1]  # fingerprints of before there was a choice
    assert kind_to_make(SO3).identity(SO3, Annotations())[1] == {**identity[1], "rotation": "so3"}
    monkeypatch.setattr(object_payload, "rotate_scene", lambda *_: pytest.fail("rotated"))
    prepared(upright, SMALL)


def test_another_rotation_is_another_data_set(tmp_path: Path) -> None:
    rotated = replace(COARSE, rotation="so3")
    plain = ingest([SOURCE], str(tmp_path), COARSE, parallel="none").manifest
    assert plain.settings["config"]["rotation"] == "none"
    schema = pq.read_schema(tmp_path / "objects-00000.parquet")
    with pytest.raises(DataError, match="other settings"):
        ingest([SOURCE], str(tmp_path), rotated, parallel="none")
    (tmp_path / "manifest.json").unlink()  # as if it had been stopped: its shards are of other settings
    report = ingest([SOURCE], str(tmp_path), rotated, parallel="none")
    assert (report.num_kept_shards, report.num_made_shards) == (0, 2)
    assert report.manifest.settings["config"]["rotation"] == "so3"
    assert pq.read_schema(tmp_path / "objects-00000.parquet").equals(schema, check_metadata=True)
    with pytest.raises(ConfigError, match="vertical, so3"):
        replace(COARSE, rotation="sideways")
