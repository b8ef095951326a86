"""Every layout, on tiny folders in that layout made here; bad input included."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Mesh
from raylift.data.shapes.captions import dominant_material, make_caption
from raylift.data.shapes.normalise import normalise_scene
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.future3d import Future3dSource
from raylift.data.sources.opening import Selection, open_source, select_items
from raylift.data.sources.procedural import ProceduralSource, procedural_chair
from raylift.data.sources.procedural_vehicles import ProceduralVehiclesSource, procedural_vehicle
from raylift.data.sources.sh3f import Sh3fSource, category_of
from raylift.data.sources.shapenet import ShapeNetSource
from raylift.export.mesh_files import write_mesh
from raylift.rendering.scene import Material, Scene

LIMIT = 1 << 26

OBJ = """mtllib box.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 0 0 4
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl painted
f 1/1 2/2 3/3
f 1/1 3/3 4/4
usemtl oak_wood
f 1 2 5
"""
MTL = "newmtl painted\nKd 0 0 0\nmap_Kd paint.png\nnewmtl oak_wood\nKd 0.5 0.25 0.125\n"


def paint() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_obj(folder: Path, name: str = "box.obj", obj: str = OBJ, mtl: str | None = MTL, texture: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(obj)
    if mtl is not None:
        (folder / "box.mtl").write_text(mtl)
    if texture:
        (folder / "paint.png").write_bytes(paint())


def check_painted(loaded: LoadedScene) -> None:
    scene = loaded.scene
    assert len(scene.faces) == 3
    by_name = {material.name: (index, material) for index, material in enumerate(scene.materials)}
    painted, wooden = by_name["painted"][1], by_name["oak_wood"][1]
    assert painted.texture is not None
    assert painted.base_color == (1.0, 1.0, 1.0)  # a black Kd under a texture means the texture alone
    assert wooden.texture is None
    np.testing.assert_allclose(wooden.base_color, (0.5, 0.25, 0.125), atol=3e-3)
    textured = scene.face_materials == by_name["painted"][0]
    assert textured.sum() == 2
    corners = scene.vertices[scene.faces[textured]]
    # vt runs with x / 2 and y.
    np.testing.assert_allclose(scene.corner_uvs[textured], corners[..., :2] / [2, 1], atol=1e-6)


def test_folder_reads_materials_textures_categories_and_captions(tmp_path: Path) -> None:
    write_obj(tmp_path / "chairs")
    (tmp_path / "chairs" / "box.txt").write_text("A fine box\nmore words\n")
    source = open_source(f"folder:{tmp_path}")
    (item,) = source.items()
    assert (item.id, item.name, item.category) == ("folder/chairs/box.obj", "A fine box", "chairs")
    loaded = source.load(item, LIMIT)
    assert loaded.notes == ()
    check_painted(loaded)


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".stl", ".off", ".obj"])
def test_folder_reads_every_format(tmp_path: Path, suffix: str) -> None:
    box = trimesh.creation.box((1, 2, 3))
    box.export(tmp_path / f"box{suffix}")
    source = FolderSource(tmp_path)
    scene = source.load(source.items()[0], LIMIT).scene
    assert len(scene.faces) == 12
    np.testing.assert_allclose(scene.vertices.max(axis=0) - scene.vertices.min(axis=0), (1, 2, 3), atol=1e-6)


def test_vertex_colours_survive(tmp_path: Path) -> None:
    box = trimesh.creation.box()
    box.visual.vertex_colors = np.tile([255, 0, 51, 255], (8, 1))
    box.export(tmp_path / "red.ply")
    source = FolderSource(tmp_path)
    colors = source.load(source.items()[0], LIMIT).scene.vertex_colors
    assert colors is not None
    np.testing.assert_allclose(colors, np.tile([1, 0, 0.2], (len(colors), 1)), atol=1e-6)


def read_one(path: Path) -> Scene:
    source = FolderSource(path.parent)
    (item,) = source.items()
    return source.load(item, LIMIT).scene


def test_factors_of_gltf_are_linear_light(tmp_path: Path) -> None:
    """A factor of 0.214 is drawn as mid grey by viewers. In other files colours are as displayed."""
    box = trimesh.creation.box()
    box.visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.PBRMaterial(baseColorFactor=[55] * 3))
    box.export(tmp_path / "grey.glb")
    (material,) = read_one(tmp_path / "grey.glb").materials
    np.testing.assert_allclose(material.base_color, 0.5, atol=0.005)


def test_colours_of_vertices_that_have_a_material_are_kept(tmp_path: Path) -> None:
    """As raylift and single-view models write them."""
    colors = torch.tensor([[0.5, 0.0, 1.0], [0.1, 0.2, 0.3], [1.0, 1.0, 0.0]])
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    write_mesh(Mesh(corners, torch.tensor([[0, 1, 2]]), vertex_colors=colors), tmp_path / "one.glb")
    scene = read_one(tmp_path / "one.glb")
    assert scene.vertex_colors is not None
    np.testing.assert_allclose(scene.vertex_colors, colors.numpy(), atol=0.003)
    assert scene.materials[0].base_color == pytest.approx((1.0, 1.0, 1.0))


def test_a_texture_that_many_materials_share_is_one_array(tmp_path: Path) -> None:
    """A real mesh of 183 materials with one texture of 1024 pixels was refused for its texels."""
    names = [f"part{index}" for index in range(30)]
    (tmp_path / "box.mtl").write_text("".join(f"newmtl {name}\nKd 1 1 1\nmap_Kd paint.png\n" for name in names))
    (tmp_path / "paint.png").write_bytes(paint())
    head, _, _ = OBJ.partition("usemtl")
    parts = "".join(f"usemtl {name}\nf 1/1 2/2 3/3\n" for name in names)
    (tmp_path / "box.obj").write_text(head + parts)
    scene = read_one(tmp_path / "box.obj")
    assert len(scene.materials) == len(names)
    assert len({id(material.texture) for material in scene.materials}) == 1


@pytest.mark.parametrize(
    ("files", "level", "categories"),
    [
        (["chairs/oak.obj", "chairs/ash.obj", "tables/elm.obj"], "", ["chairs", "chairs", "tables"]),
        (["a/chairs/oak.obj", "b/tables/elm.obj", "b/tables/fir.obj"], "", ["chairs", "tables", "tables"]),
        # Every object has a folder of its own: the one above tells categories, or there is one category.
        (["chairs/oak/model.obj", "chairs/ash/model.obj", "tables/elm/model.obj"], "", ["chairs", "chairs", "tables"]),
        (["oak/model.obj", "ash/model.obj"], "", ["set", "set"]),
        (["a/chairs/oak.obj", "b/tables/elm.obj"], "#1", ["a", "b"]),
        (["a/chairs/oak.obj", "b/tables/elm.obj"], "#2", ["chairs", "tables"]),
        (["a/chairs/oak.obj", "b/elm.obj"], "#-1", ["chairs", "b"]),
        (["a/chairs/oak.obj", "elm.obj"], "#0", ["set", "set"]),
    ],
)
def test_folders_tell_categories(tmp_path: Path, files: list[str], level: str, categories: list[str]) -> None:
    for file in files:
        (tmp_path / "set" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / file).write_text(OBJ)
    items = open_source(f"folder:{tmp_path}/set{level}").items()
    assert sorted((item.reference, item.category) for item in items) == sorted(zip(files, categories, strict=True))
    if files[0].endswith("model.obj"):
        assert "oak" in {item.name for item in items}


def test_a_level_of_folders_that_a_file_lacks_is_refused(tmp_path: Path) -> None:
    for file in ("a/chairs/oak.obj", "b/elm.obj"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(OBJ)
    with pytest.raises(ConfigError, match=r"b/elm.obj has no folder at level 2"):
        open_source(f"folder:{tmp_path}#2").items()


def test_a_missing_texture_is_noted_and_the_object_kept(tmp_path: Path) -> None:
    write_obj(tmp_path, texture=False)
    source = FolderSource(tmp_path)
    loaded = source.load(source.items()[0], LIMIT)
    assert len(loaded.scene.faces) == 3
    assert any("paint.png" in note for note in loaded.notes)
    assert all(material.texture is None for material in loaded.scene.materials)


def test_missing_materials_are_noted_and_the_object_kept(tmp_path: Path) -> None:
    write_obj(tmp_path, mtl=None, texture=False)
    source = FolderSource(tmp_path)
    loaded = source.load(source.items()[0], LIMIT)
    assert len(loaded.scene.faces) == 3
    assert any("box.mtl" in note for note in loaded.notes)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png", "C:\\disk\\secret.png", "a/../../secret.png"])
def test_paths_that_leave_the_source_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.png").write_bytes(paint())
    inside = tmp_path / "inside"
    write_obj(inside, mtl=MTL.replace("paint.png", path))
    source = FolderSource(inside)
    loaded = source.load(source.items()[0], LIMIT)
    assert any("outside of the source" in note for note in loaded.notes)
    assert all(material.texture is None for material in loaded.scene.materials)


def test_links_that_leave_the_source_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(paint())
    inside = tmp_path / "inside"
    write_obj(inside, texture=False)
    (inside / "paint.png").symlink_to(tmp_path / "secret.png")
    source = FolderSource(inside)
    loaded = source.load(source.items()[0], LIMIT)
    assert all(material.texture is None for material in loaded.scene.materials)
    assert loaded.notes


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.obj", b"", "empty file"),
        ("nothing.obj", b"# no geometry\nv 0 0 0\n", "nothing.obj"),
        ("noise.glb", bytes(range(256)) * 4, "noise.glb"),
        (
            "cut.ply",
            b"ply\nformat binary_little_endian 1.0\nelement vertex 900\nproperty float x\nend_header\n12",
            "cut",
        ),
        ("words.stl", b"this is no mesh at all", "words.stl"),
        ("bad.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99\n", "bad.obj|out of range"),
    ],
)
def test_broken_meshes_give_errors_that_name_them(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    source = FolderSource(tmp_path)

    def read() -> None:
        loaded = source.load(source.items()[0], LIMIT)
        normalise_scene(loaded.scene, 10**6)

    with pytest.raises(DataError, match=words) as caught:
        read()
    assert caught.value.remedy


def test_random_bytes_never_escape_as_other_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for trial in range(20):
        suffix = (".obj", ".glb", ".ply", ".stl", ".off")[trial % 5]
        head = {".ply": b"ply\nformat ascii 1.0\n", ".off": b"OFF\n8 3 0\n", ".glb": b"glTF"}.get(suffix, b"")
        (tmp_path / f"{trial}{suffix}").write_bytes(head + rng.bytes(200))
    source = FolderSource(tmp_path)
    for item in source.items():
        try:
            normalise_scene(source.load(item, LIMIT).scene, 10**6)
        except DataError:
            continue


def test_huge_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    write_obj(tmp_path)
    source = FolderSource(tmp_path)
    with pytest.raises(DataError, match="more than the limit"):
        source.load(source.items()[0], max_bytes=10)


def test_folder_without_meshes_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no mesh under"):
        FolderSource(tmp_path).items()
    with pytest.raises(DataError, match="no such file"):
        open_source(str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="not a count"):
        open_source("procedural:many")


# --- Sweet Home 3D --------------------------------------------------------------------------------------------------

CATALOGUE = """# comment
id=Test#Models
license=Creative Commons Attribution 3.0 license
id#1=Test#oakChair
name#1=Oak chair
tags#1=Seat, Wood
category#1=Living room
model#1=/test/box/box.obj
width#1=50
depth#1=80
height#1=100
creator#1=Ren\\u00e9
id#2=Test#turned
name#2=Deck chair
category#2=Exterior
model#2=/test/box/box.obj
width#2=50
depth#2=80
height#2=100
modelRotation#2=0 0 1 0 1 0 \\
    -1 0 0
id#3=Test#lost
name#3=Table
category#3=Kitchen
model#3=/test/gone.obj
width#3=50
depth#3=80
height#3=100
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "test.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", CATALOGUE.encode("latin-1"))
        archive.writestr("test/box/box.obj", OBJ)
        archive.writestr("test/box/box.mtl", MTL)
        archive.writestr("test/box/paint.png", paint())
    return path


def test_sh3f_catalogue_scale_and_rotation(library: Path) -> None:
    source = open_source(str(library))
    assert source.kind == "sh3f"
    chair, turned, lost = source.items()
    assert (chair.id, chair.name, chair.category) == ("sh3f/Test.oakChair", "Oak chair", "seats")
    assert (chair.creator, chair.licence, chair.tags) == ("René", "CC-BY-3.0", ("Seat", "Wood"))
    assert turned.category == "exterior"  # a deck chair is no seat
    scene = source.load(chair, LIMIT).scene
    np.testing.assert_allclose(np.ptp(scene.vertices, axis=0), (50, 100, 80), rtol=1e-6)
    # modelRotation turns x into -z and z into x, then width, height and depth apply to the turned axes.
    rotated = source.load(turned, LIMIT).scene
    np.testing.assert_allclose(np.ptp(rotated.vertices, axis=0), (50, 100, 80), rtol=1e-6)
    apex, turned_apex = scene.vertices[scene.vertices[:, 2].argmax()], rotated.vertices[rotated.vertices[:, 0].argmax()]
    assert apex[2] == pytest.approx(80)
    assert turned_apex[0] == pytest.approx(50)
    with pytest.raises(DataError, match="gone.obj"):
        source.load(lost, LIMIT)


def test_damaged_library_names_itself(tmp_path: Path) -> None:
    (tmp_path / "bad.sh3f").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(DataError, match="bad.sh3f"):
        Sh3fSource(tmp_path).items()


def test_a_damaged_member_names_the_archive(library: Path) -> None:
    source = Sh3fSource(library)
    item = source.items()[0]
    data = bytearray(library.read_bytes())
    at = data.find(b"v 2 1 0")
    data[at : at + 7] = b"v 9 9 9"
    library.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        source.load(item, LIMIT)


def test_seats_are_chairs_and_stools_but_no_recliners_or_machines() -> None:
    assert category_of("Winchester armchair", "Living room") == "seats"
    assert category_of("Bar stool", "Kitchen") == "seats"
    for name in ("Wheelchair", "Deck chair", "Beach chair", "Baby high chair", "Relax chair"):
        assert category_of(name, "Exterior") == "exterior"
    assert category_of("Table lamp", "Lights") == "lamps"
    assert category_of("Candle", "Lights") == "lamps"
    assert category_of("Coffee table", "Living room") == "tables"


# --- the papers' layouts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.obj", "models/model_normalized.obj"])
def test_shapenet_layouts_taxonomy_split_and_pose(tmp_path: Path, file: str) -> None:
    target = tmp_path / "03001627" / "abc" / file
    write_obj(target.parent, target.name)
    (tmp_path / "03001627" / "empty").mkdir()
    (tmp_path / "taxonomy.json").write_text(json.dumps([{"synsetId": "03001627", "name": "chair,seat"}]))
    (tmp_path / "all.csv").write_text("id,synsetId,subSynsetId,modelId,split\n1,03001627,03001627,abc,test\n")
    source = open_source(str(tmp_path))
    assert isinstance(source, ShapeNetSource)
    item, lost = source.items()
    assert (item.id, item.category, item.split) == ("shapenet/03001627/abc", "chair", "test")
    loaded = source.load(item, LIMIT)
    check_turned = LoadedScene(
        Scene(
            loaded.scene.vertices * np.array([-1, 1, -1], np.float32),
            *(loaded.scene.faces, loaded.scene.face_materials, loaded.scene.materials, loaded.scene.corner_uvs),
        )
    )
    check_painted(check_turned)
    with pytest.raises(DataError, match="not a file"):
        source.load(lost, LIMIT)


def test_3d_future_layout(tmp_path: Path) -> None:
    write_obj(tmp_path / "m1", "raw_model.obj")
    row = {
        "model_id": "m1",
        "style": "Modern",
        "category": "Dining Chair",
        "super-category": "Chair",
        "material": "Wood",
    }
    (tmp_path / "model_info.json").write_text(json.dumps([{**row, "theme": None}]))
    source = open_source(str(tmp_path))
    assert isinstance(source, Future3dSource)
    (item,) = source.items()
    assert (item.id, item.category, item.style, item.material) == ("3d-future/m1", "chair", "modern", "wood")
    assert make_caption(item, item.material) == "a modern dining chair made out of wood"
    check_painted(source.load(item, LIMIT))
    (tmp_path / "model_info.json").write_text("[{]")
    with pytest.raises(DataError, match="model_info.json"):
        source.items()


def test_3d_future_in_parts_with_missing_tags(tmp_path: Path) -> None:
    tags: dict[str, dict[str, object]] = {
        "a1": {"category": "Lounge Chair / Cafe Chair / Office Chair", "style": "Modern", "material": "Solid  Wood"},
        "b2": {"category": "armchair", "super-category": "Sofa", "style": None, "material": "Leather"},
        "c3": {"category": None, "super-category": "Cabinet/Shelf/Desk", "style": "Others", "material": None},
        "d4": {"category": None, "super-category": "", "style": "Industrial", "material": 3},
    }
    write_obj(tmp_path / "3D-FUTURE-model-part1" / "a1", "raw_model.obj")
    write_obj(tmp_path / "3D-FUTURE-model-part2" / "b2", "normalized_model.obj")
    rows = [{"model_id": model, "theme": None, **row} for model, row in tags.items()]
    (tmp_path / "3D-FUTURE-model-part1" / "model_info.json").write_text(json.dumps(rows[:1]))
    (tmp_path / "3D-FUTURE-model-part2" / "model_info.json").write_text(json.dumps(rows))
    source = open_source(str(tmp_path))
    assert isinstance(source, Future3dSource)
    items = source.items()
    assert [make_caption(item, item.material) for item in items] == [
        "a modern lounge chair made out of solid wood",
        "an armchair made out of leather",
        "a cabinet",
        "an industrial unknown",
    ]
    assert [item.category for item in items[:3]] == [
        "lounge chair/cafe chair/office chair",
        "sofa",
        "cabinet/shelf/desk",
    ]
    for item in items[:2]:
        check_painted(source.load(item, LIMIT))
    with pytest.raises(DataError, match="not a file"):
        source.load(items[2], LIMIT)


# --- the procedural set ---------------------------------------------------------------------------------------------


def test_procedural_chairs_are_pure_varied_closed_and_face_front() -> None:
    source = ProceduralSource(24, seed=1)
    items = source.items()
    assert [item.id for item in items] == [item.id for item in ProceduralSource(24, seed=1).items()]
    assert len({item.name for item in items}) > 6
    for index in range(24):
        scene, again = procedural_chair(1, index), procedural_chair(1, index)
        np.testing.assert_array_equal(scene.vertices, again.vertices)
        for part in trimesh.Trimesh(scene.vertices, scene.faces, process=False).split():
            assert part.is_watertight
            assert part.volume > 0  # wound outwards
        assert scene.vertices[:, 1].min() == pytest.approx(0, abs=0.04)
        if "stool" not in items[index].name:
            top = scene.vertices[scene.vertices[:, 1] > 0.9 * scene.vertices[:, 1].max()]
            assert top[:, 2].mean() < 0  # the back is behind


def test_procedural_vehicles_are_pure_elongated_closed_and_drive_ahead() -> None:
    source = ProceduralVehiclesSource(24, seed=1)
    items = source.items()
    assert items == ProceduralVehiclesSource(24, seed=1).items()
    assert {item.name.split()[-1] for item in items} == {"car", "van", "pickup", "bus", "lorry"}
    for index in range(24):
        scene, again = procedural_vehicle(1, index), procedural_vehicle(1, index)
        np.testing.assert_array_equal(scene.vertices, again.vertices)
        for part in trimesh.Trimesh(scene.vertices, scene.faces, process=False).split():
            assert part.is_watertight
            assert part.volume > 0
        low, high = scene.vertices.min(axis=0), scene.vertices.max(axis=0)
        assert low[1] == pytest.approx(0, abs=0.01)
        assert low[0] == pytest.approx(-high[0], abs=1e-5)  # symmetric
        assert (high - low)[2] > 1.8 * (high - low)[0]
        lit = scene.vertices[scene.faces[scene.face_materials == 3]]
        assert lit[..., 2].min() > 0  # headlights are ahead


# --- selection, normalisation, captions -----------------------------------------------------------------------------


def item(name: str, category: str = "seats") -> SourceItem:
    return SourceItem(f"x/{name}", name, category, name)


def test_selection() -> None:
    items = [item("Oak chair"), item("Deck chair"), item("Round table", "tables")]

    def names(selection: Selection) -> list[str]:
        return [one.name for one in select_items(items, selection)]

    assert names(Selection(words=("chair",), without=("deck",))) == ["Oak chair"]
    assert names(Selection(categories=("Tables",))) == ["Round table"]
    assert names(Selection(max_objects=2)) == ["Oak chair", "Deck chair"]
    with pytest.raises(DataError, match="no object is left"):
        names(Selection(words=("lamp",)))
    with pytest.raises(DataError, match="two objects"):
        select_items([item("Oak chair"), item("Oak chair")], Selection())


def make_scene(vertices: object, faces: object) -> Scene:
    corners = np.asarray(faces, np.int32).reshape(-1, 3)
    return Scene(
        np.asarray(vertices, np.float32),
        corners,
        np.zeros(len(corners), np.int32),
        (Material(),),
        np.zeros((len(corners), 3, 2), np.float32),
    )


def test_normalise_centres_scales_and_drops_what_is_unusable() -> None:
    vertices = [[10, 0, 0], [14, 0, 0], [10, 2, 0], [10, 0, 1], [np.nan, 0, 0], [999, 999, 999]]
    scene, notes = normalise_scene(make_scene(vertices, [[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 0, 1]]), 100)
    assert len(scene.faces) == 2
    assert len(scene.vertices) == 4  # the vertex that no face uses does not count for the size
    np.testing.assert_allclose(scene.vertices.min(axis=0), (-0.5, -0.25, -0.125), atol=1e-6)
    np.testing.assert_allclose(scene.vertices.max(axis=0), (0.5, 0.25, 0.125), atol=1e-6)
    assert notes == ("1 faces have corners that are not finite: left out",)


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        ([[0, 0, 0]], [], "no faces"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 3]], "out of range"),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], "any area"),
        ([[5, 5, 5]] * 3, [[0, 1, 2]], "no extent"),
        ([[np.inf, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], "finite"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]] * 11, "more than the limit"),
    ],
)
def test_normalise_refuses(vertices: object, faces: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        normalise_scene(make_scene(vertices, faces), 10)


def test_captions_take_the_material_of_the_largest_part() -> None:
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 9]]
    scene = Scene(
        np.asarray(vertices, np.float32),
        np.array([[0, 1, 2], [0, 1, 3]], np.int32),
        np.array([0, 1], np.int32),
        (Material(name="chrome_legs"), Material(name="Cuero.001")),
        np.zeros((2, 3, 2), np.float32),
    )
    assert dominant_material(scene) == "leather"
    assert make_caption(item("Oak chair"), "leather") == "an oak chair made out of leather"
    assert make_caption(item("Stool"), "") == "a stool"
