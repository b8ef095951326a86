"""Input that cannot be meant is refused or warned of, with its remedy; input that can is let through without a word."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trimesh
from PIL import Image

from raylift.config.data import DataConfig
from raylift.core.errors import DataError
from raylift.core.types import Camera, SampleRequest, VoxelRequest
from raylift.data.feed.depth_checks import check_depth
from raylift.data.feed.image_folder import format_camera, make_input
from raylift.data.feed.samples import prepare_view
from raylift.data.feed.stream import SampleStream
from raylift.data.feed.user_image import assemble_image
from raylift.data.images.config import ImagesConfig
from raylift.data.images.statistics import collection_problems
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.shapes.normalise import normalise_scene
from raylift.data.shapes.record import ViewRecord, load_view, load_views
from raylift.data.shapes.schema import DEPTH_STEP
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.mesh_reading import read_mesh_in_folder
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from raylift.rendering.scene import Material, Scene

VISIBLE = SampleRequest(32, voxels=VoxelRequest("visible", resolution=32, num_points=500))


@pytest.fixture
def view(tiny: ShardedDataset) -> ViewRecord:
    return load_view(tiny, tiny.entries()[0].id, 1)


def covered(view: ViewRecord) -> np.ndarray:
    mask: np.ndarray = view.rgba[..., 3] > 127
    return mask


# --- depth ----------------------------------------------------------------------------------------------------------

DEPTHS: list[tuple[str, Callable[[np.ndarray], np.ndarray], str]] = [
    ("millimetres", lambda depth: 1000 * depth, "millimetres instead of metres: divide by 1000"),
    ("centimetres", lambda depth: 100 * depth, "divide by 100"),
    ("steps", lambda depth: depth / DEPTH_STEP, "16-bit depth image"),
    ("kilometres", lambda depth: depth / 1000, "multiply by 1000"),
    ("far", lambda depth: np.where(depth > 0, depth + 1.5, 0), "outside of the object's cube"),
    ("scaled", lambda depth: 1.6 * depth, "outside of the object's cube"),
    ("negative", lambda depth: -depth, "change the sign"),
    ("infinite", lambda depth: np.full_like(depth, np.inf), "infinite or NaN everywhere"),
    ("unknown", lambda depth: np.full_like(depth, np.nan), "infinite or NaN everywhere"),
    ("empty", lambda depth: 0 * depth, "0 (missing) everywhere"),
    ("small", lambda depth: depth[::2, ::2], "same size"),
]


@pytest.mark.parametrize(("change", "words"), [(change, words) for _, change, words in DEPTHS],
                         ids=[name for name, _, _ in DEPTHS])  # fmt: skip
def test_depth_that_cannot_be_meant_is_refused(
    view: ViewRecord, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        check_depth("chair", change(view.depth), covered(view), view.camera)
    assert words in str(caught.value)
    assert caught.value.remedy
    # Neither a user's image ...
    stored = io.BytesIO()
    np.save(stored, change(view.depth))
    with pytest.raises(DataError):
        make_input("chair", png(view.rgba), format_camera(view.camera), stored.getvalue())
    # ... nor a sample reaches a model with it.
    if change(view.depth).shape == view.depth.shape:
        for request in (VISIBLE, SampleRequest(32, depth=True)):
            with pytest.raises(DataError):
                prepare_view(replace(view.picture(), depth=change(view.depth)), request)
            with pytest.raises(DataError):
                assemble_image(view.rgba, change(view.depth), view.camera, request, "chair")


def png(pixels: np.ndarray) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()


def test_every_stored_depth_is_let_through(tiny: ShardedDataset) -> None:
    for entry in tiny.entries():
        for view in load_views(tiny, entry.id):
            assert check_depth(view.id, view.depth, covered(view), view.camera) == ()


def test_odd_depth_is_noted(view: ViewRecord) -> None:
    mask = covered(view)
    rows, columns = np.nonzero(mask)
    holes = view.depth.copy()
    holes[rows[::4], columns[::4]] = np.nan
    (note,) = check_depth("chair", holes, mask, view.camera)
    assert "infinite or NaN at 25" in note
    image = make_input("chair", png(view.rgba), format_camera(view.camera), npy(holes))
    assert image.depth is not None
    assert np.isfinite(image.depth).all()
    assert note in image.notes
    sparse = np.where(np.arange(len(mask))[:, None] % 4 == 0, view.depth, 0)
    assert "do image and depth belong together" in check_depth("chair", sparse, mask, view.camera)[0]


def npy(values: np.ndarray) -> bytes:
    stored = io.BytesIO()
    np.save(stored, values)
    return stored.getvalue()


def test_a_depth_picture_of_eight_bits_is_refused(view: ViewRecord) -> None:
    steps = (view.depth * 80).astype(np.uint8)
    with pytest.raises(DataError, match="8-bit image"):
        make_input("chair", png(view.rgba), format_camera(view.camera), png(steps))
    steps16 = np.rint(view.depth / DEPTH_STEP).astype(np.uint16)
    assert make_input("chair", png(view.rgba), format_camera(view.camera), png(steps16)).notes == ()


def test_depth_of_an_object_in_metres_is_refused_unless_the_camera_is_too_small_to_tell(view: ViewRecord) -> None:
    """A car of four metres, in a camera that is told in metres: consistent, but not in the cube."""
    camera = view.camera
    metres = Camera(camera.focal, camera.principal, camera.rotation, 4 * camera.translation)
    with pytest.raises(DataError, match="outside of the object's cube"):
        check_depth("car", 4 * view.depth, covered(view), metres)


# --- told grids -----------------------------------------------------------------------------------------------------


def rewritten(folder: Path, out: Path, column: str, change: Callable[[np.ndarray], np.ndarray]) -> ShardedDataset:
    """A copy of a data set whose grids went through something."""
    shutil.copytree(folder, out)
    for path in sorted(out.glob("objects-*.parquet")):
        file = pq.ParquetFile(path)
        groups = [file.read_row_group(index) for index in range(file.num_row_groups)]
        with pq.ParquetWriter(path, file.schema_arrow) as writer:
            for group in groups:
                kind = "u1" if column == "occupancy32" else "<i2"
                grid = change(np.frombuffer(group.column(column)[0].as_py(), kind).reshape(32, 32, 32))
                cell = pa.array([np.ascontiguousarray(grid, kind).tobytes()], pa.binary())
                place = group.schema.get_field_index(column)
                writer.write_table(group.set_column(place, group.schema.field(place), cell))
    manifest = json.loads((out / "manifest.json").read_text())
    for shard in manifest["shards"]:
        for file_entry in shard:
            file_entry["num_bytes"] = (out / file_entry["name"]).stat().st_size
    (out / "manifest.json").write_text(json.dumps(manifest))
    return ShardedDataset.open(out)


def coarser(grid: np.ndarray) -> np.ndarray:
    """What a grid over [-1, 1]^3 holds at the same number of cells."""
    centers = (np.arange(32) + 0.5) / 32 * 2 - 1
    places = np.floor((centers / 0.55 + 1) / 2 * 32).astype(int)
    outside = (places < 0) | (places > 31)
    read = grid[np.ix_(*[places.clip(0, 31)] * 3)].copy()
    for axis in range(3):
        read[(slice(None),) * axis + (outside,)] = grid.max()
    return read


GRIDS: list[tuple[str, Callable[[np.ndarray], np.ndarray], str]] = [
    ("upside down", lambda grid: grid[:, ::-1], "-y"),
    ("axes reversed", lambda grid: grid.transpose(2, 1, 0)[:, ::-1], "axes are read as"),
    ("z up", lambda grid: grid.transpose(0, 2, 1), "axes are read as x, z, y"),
    ("sign flipped", lambda grid: -grid, "inside and outside are swapped"),
    ("other extent", coarser, "it covers [-1.0, 1.0]^3"),
]


@pytest.mark.parametrize(("change", "words"), [(change, words) for _, change, words in GRIDS],
                         ids=[name for name, _, _ in GRIDS])  # fmt: skip
def test_told_grids_of_another_frame_are_refused(
    tmp_path: Path, tiny_folder: Path, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    dataset = rewritten(tiny_folder, tmp_path / "other", "sdf32", change)
    request = SampleRequest(32, num_points=20, voxels=VoxelRequest("gt_sdf", resolution=32))
    with pytest.raises(DataError, match="another frame") as caught:
        SampleStream(dataset, request, DataConfig(batch_size=2), seed=0)
    assert words in str(caught.value)
    SampleStream(dataset, replace(request, voxels=None), DataConfig(batch_size=2), seed=0)  # not told, not compared


def test_told_occupancy_is_compared_too_and_true_grids_are_let_through(tmp_path: Path, tiny_folder: Path) -> None:
    flipped = rewritten(tiny_folder, tmp_path / "other", "occupancy32", lambda grid: 255 - grid)
    told = SampleRequest(32, voxels=VoxelRequest("gt_occupancy", resolution=32))
    with pytest.raises(DataError, match="inside and outside are swapped"):
        SampleStream(flipped, told, DataConfig(batch_size=2), seed=0)
    empty = rewritten(tiny_folder, tmp_path / "empty", "occupancy32", lambda grid: 0 * grid)
    with pytest.raises(DataError):
        SampleStream(empty, told, DataConfig(batch_size=2), seed=0)
    for source in ("gt_occupancy", "gt_sdf"):
        request = SampleRequest(32, voxels=VoxelRequest(source, resolution=32))  # type: ignore[arg-type]
        SampleStream(ShardedDataset.open(tiny_folder), request, DataConfig(batch_size=2), seed=0)


# --- meshes ---------------------------------------------------------------------------------------------------------


def scene_of(*meshes: trimesh.Trimesh) -> Scene:
    joined = trimesh.util.concatenate(list(meshes))
    count = len(joined.faces)
    return Scene(
        joined.vertices.astype(np.float32), joined.faces.astype(np.int32), np.zeros(count, np.int32),
        (Material(),), np.zeros((count, 3, 2), np.float32),
    )  # fmt: skip


def test_a_stray_triangle_that_shrinks_the_object_is_warned_of(tmp_path: Path) -> None:
    chair = trimesh.creation.icosphere(3)
    stray = trimesh.Trimesh([[40, 0, 0], [40.01, 0, 0], [40, 0.01, 0]], [[0, 1, 2]], process=False)
    _, notes = normalise_scene(scene_of(chair, stray), 10**6)
    assert len(notes) == 1
    assert "1 triangles with 0.00% of the area lie far away" in notes[0]
    assert "would be 5% of what it is" in notes[0]
    assert normalise_scene(scene_of(chair), 10**6)[1] == ()
    # Thin and long is no stray: a lamp on a cord has area all along it.
    cord = trimesh.creation.cylinder(0.02, 10)
    assert normalise_scene(scene_of(chair, cord), 10**6)[1] == ()
    (tmp_path / "meshes").mkdir()
    trimesh.util.concatenate([chair, stray]).export(tmp_path / "meshes" / "x.ply")
    small = replace(TINY, num_views=1, samples=20, iou_points=20, surface_points=20, truth_resolution=32)
    report = ingest([FolderSource(tmp_path / "meshes")], str(tmp_path / "out"), small, parallel="none")
    assert any("lie far away" in note for _, note in report.warnings)


def write_textured(folder: Path, mtl: str, pixels: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "x.obj").write_text(
        "mtllib x.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n"
        "f 1/1 3/2 2/3\nf 1/1 2/2 4/3\nf 1/1 4/2 3/3\nf 2/1 3/2 4/3\n"
    )
    (folder / "x.mtl").write_text(f"newmtl m\nKd 1 1 1\n{mtl}\nmap_Kd x.png\n")
    (folder / "x.png").write_bytes(png(pixels))


def test_dropped_opacity_is_said(tmp_path: Path) -> None:
    opaque, leaves = np.full((8, 8, 4), 255, np.uint8), np.full((8, 8, 4), 255, np.uint8)
    leaves[:4, :, 3] = 0
    for mtl, pixels, said in (
        ("d 1.0", opaque, False), ("Tr 0", opaque, False), ("", opaque[..., :3], False),
        ("d 0.4", opaque, True), ("Tr 0.6", opaque, True), ("", leaves, True),
    ):  # fmt: skip
        write_textured(tmp_path, mtl, pixels)
        notes = read_mesh_in_folder(tmp_path, "x.obj", 1 << 20).notes
        assert any("drawn opaque" in note for note in notes) == said, (mtl, pixels.shape)


def test_textures_in_folders_have_the_limit_of_the_mesh(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    write_textured(tmp_path, "", noise)
    small = read_mesh_in_folder(tmp_path, "x.obj", 4000)
    assert small.scene.materials[0].texture is None
    assert any("too large: left out" in note for note in small.notes)
    whole = read_mesh_in_folder(tmp_path, "x.obj", 1 << 20)
    assert whole.scene.materials[0].texture is not None
    assert whole.notes == ()


# --- collections that cannot tell shapes ------------------------------------------------------------------------------


def collection(folder: Path, pictures: list[np.ndarray]) -> tuple[tuple[str, ...], ShardedDataset]:
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for index, pixels in enumerate(pictures):
        (raw / f"{index:02d}.png").write_bytes(png(pixels))
    config = ImagesConfig(image_px=48, val_share=0.0, test_share=0.0)
    report = ingest([open_source(f"cutouts:{raw}")], str(folder / "out"), config, parallel="none")
    return tuple(note for name, note in report.warnings if name == "training split"), ShardedDataset.open(
        folder / "out"
    )


def ellipse(width: float, height: float, seed: int) -> np.ndarray:
    rows, columns = (np.mgrid[:60, :60] - 30) / 28
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 60, 4)).astype(np.uint8)
    pixels[..., 3] = 255 * ((rows / height) ** 2 + (columns / width) ** 2 < 1)
    return pixels


def test_balls_and_single_images_are_said_to_tell_no_pose(tmp_path: Path) -> None:
    balls, dataset = collection(tmp_path / "balls", [ellipse(0.9, 0.9, seed) for seed in range(8)])
    assert len(balls) == 1
    assert "nearly equal" in balls[0]
    assert collection_problems(dataset) == list(balls)
    one, _ = collection(tmp_path / "one", [ellipse(0.9, 0.5, 0)])
    assert "1 training images" in one[0]
    written = json.loads((tmp_path / "one" / "out" / "report.json").read_text())
    assert written["warnings"][-1]["note"] == one[0]
    varied, _ = collection(tmp_path / "varied", [ellipse(0.3 + 0.08 * index, 0.9, index) for index in range(8)])
    assert varied == ()


def test_images_from_one_side_are_said_to_be(tmp_path: Path, tiny_folder: Path) -> None:
    images = ImagesConfig(image_px=48)
    around = ingest([open_source(f"shapes:{tiny_folder}#4")], str(tmp_path / "around"), images, parallel="none")
    assert not any(name == "training split" for name, _ in around.warnings)

    source = open_source(f"shapes:{tiny_folder}#4")
    dataset = ShardedDataset.open(tiny_folder)

    class FromAhead:
        """Only what is seen from within 40 degrees of the front."""

        kind, annotations, load = "shapes", source.annotations, source.load  # type: ignore[union-attr]

        def items(self) -> list:  # type: ignore[type-arg]
            kept = []
            for item in source.items():
                name, _, number = item.reference.rpartition("#")
                if abs((load_view(dataset, name, int(number)).azimuth_deg + 180) % 360 - 180) < 40:
                    kept.append(item)
            return kept

    ahead = ingest([FromAhead()], str(tmp_path / "ahead"), images, parallel="none")
    notes = [note for name, note in ahead.warnings if name == "training split"]
    assert any("all images are from one side" in note for note in notes)
