"""PASCAL3D+, Occluded PASCAL3D+, OOD-CV and ImageNet3D on tiny releases, from source to stored image."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera
from raylift.data.images.config import ImagesConfig
from raylift.data.images.record import load_image
from raylift.data.prepare.ingest import IngestReport, ingest
from raylift.data.shapes.config import TINY
from raylift.data.shapes.record import load_object
from raylift.data.sources.base import ImageItem, ImageSource, LoadedImage
from raylift.data.sources.opening import open_source
from raylift.data.sources.pascal3d_cad import Pascal3dCadSource
from raylift.data.store.dataset import ShardedDataset
from raylift.geometry.cameras import project
from tests.data.posed_layouts import (
    CHAIR,
    HEIGHT,
    OCCLUDER,
    VIEWS,
    WIDTH,
    Drawn,
    add_photo,
    add_records,
    corners,
    list_photo,
    paint,
    save_lists,
    save_masks,
    save_record,
    write_box,
    write_imagenet3d,
    write_occluded,
    write_ood_cv,
    write_pascal3d,
)
from tests.reference.pascal3d_projection import convex_outline

CONFIG = ImagesConfig(image_px=64, min_object_px=4, objects_per_shard=8)
BIG, MANY = 1 << 24, 10**7


def loaded(specification: str) -> dict[str, LoadedImage]:
    """Every image of a source by id; those that cannot be used are left out."""
    opened = open_source(specification)
    assert isinstance(opened, ImageSource)
    found = {}
    for item in opened.items():
        try:
            found[item.id] = opened.load(item, BIG, MANY)
        except DataError:
            continue
    return found


def reasons(specification: str) -> dict[str, str]:
    """Why images cannot be used, by id."""
    opened = open_source(specification)
    assert isinstance(opened, ImageSource)
    found = {}
    for item in opened.items():
        try:
            opened.load(item, BIG, MANY)
        except DataError as error:
            found[item.id] = error.problem
    return found


def prepared(specification: str, out: Path) -> tuple[IngestReport, ShardedDataset]:
    report = ingest([open_source(specification)], str(out), CONFIG, parallel="none")
    return report, ShardedDataset.open(out)


def normalised_corners() -> np.ndarray:
    """The CAD model's corners in the common frame: Y up, facing +Z, centred, longest edge 1."""
    x, y, z = corners().T
    turned = np.stack([x, z, -y], axis=1)
    low, high = turned.min(axis=0), turned.max(axis=0)
    return (turned - (low + high) / 2) / (high - low).max()


def corner_pixels(camera: Camera, side: int) -> np.ndarray:
    """Where a camera sees those corners, in pixels from the outer corner of its image."""
    uv, depth = project(camera, torch.from_numpy(normalised_corners()).float()[None])
    assert (depth > 0).all()
    return ((uv[0].numpy() + 1) / 2 * side).astype(np.float64)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def check_image(found: LoadedImage, view: Drawn, first_center: float = 1.0) -> None:
    """Camera, outline and pixels agree with what was drawn, for an object that is wholly in its image."""
    assert found.camera is not None
    assert found.amodal is not None
    side = found.rgba.shape[0]
    assert found.rgba.shape[:2] == found.amodal.shape == (side, side) == (WIDTH, WIDTH)
    expected = view.pixels() + 0.5 - first_center
    np.testing.assert_allclose(corner_pixels(found.camera, side), expected, atol=1e-3)
    drawn = np.zeros((side, side), bool)
    drawn[:HEIGHT] = view.outline(first_center)
    assert iou(found.amodal > 127, drawn) > 0.97
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    assert found.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert found.has_background
    assert tuple(found.rgba[2, 2, :3]) == (20, 20, 200), "the background is kept"


# --- PASCAL3D+ ------------------------------------------------------------------------------------------------------


def test_pascal3d_items(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "PASCAL3D+_release1.1")
    opened = open_source(str(release))
    assert opened.kind == "pascal3d", "the bare path is recognised"
    items = {item.id: item for item in opened.items()}
    assert {name: (item.category, item.split) for name, item in items.items()} == {
        "pascal3d/car/n01_1": ("car", "train"),
        "pascal3d/car/n01_2": ("car", "train"),
        "pascal3d/car/n01_3": ("car", "test"),
        "pascal3d/chair/n02_1": ("chair", "train"),
    }


def test_pascal3d_cameras_and_outlines(tmp_path: Path) -> None:
    found = loaded(f"pascal3d:{write_pascal3d(tmp_path / 'release')}")
    for name, view in VIEWS.items():
        image = found[f"pascal3d/car/{name}"]
        check_image(image, view)
        assert image.amodal is not None
        np.testing.assert_array_equal(image.rgba[..., 3], image.amodal)
        assert image.notes == ()
        red = (image.rgba[:HEIGHT, :, 0] > 127) == (image.amodal[:HEIGHT] > 127)
        assert red.mean() > 0.99
    check_image(found["pascal3d/chair/n02_1"], CHAIR)


def test_pascal3d_prepared(tmp_path: Path) -> None:
    report, dataset = prepared(f"pascal3d:{write_pascal3d(tmp_path / 'release')}", tmp_path / "out")
    assert report.set_aside == ()
    assert dataset.manifest.counts["by_split"] == {"train": 3, "val": 0, "test": 1}
    record = load_image(dataset, "pascal3d/car/n01_2")
    assert record.camera is not None
    left, top, right, _ = record.crop_box
    # The stored camera sees the crop; back in the photograph, the corners are where they were drawn.
    pixels = corner_pixels(record.camera, 1) * (right - left) + np.array([left, top])
    np.testing.assert_allclose(pixels, VIEWS["n01_2"].pixels() - 0.5, atol=1e-2)
    covered = record.rgba[..., 3] > 127
    assert iou(covered, record.rgba[..., 0] > 127) > 0.9, "alpha is where the object was painted"


def test_a_nearer_object_hides_and_a_farther_one_does_not(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    back, front = Drawn(distance=42.0, px=50.0), Drawn(distance=38.0, px=75.0, azimuth=90.0)
    add_photo(release, "n03_1", [back, front])
    list_photo(release, "n03_1")
    found = loaded(f"pascal3d:{release}")
    behind, before = found["pascal3d/car/n03_1"], found["pascal3d/car/n03_1@1"]
    check_image(behind, back)
    check_image(before, front)
    assert behind.amodal is not None
    visible = np.zeros((WIDTH, WIDTH), bool)
    visible[:HEIGHT] = back.outline() & ~front.outline()
    assert iou(behind.rgba[..., 3] > 127, visible) > 0.9, "a sliver: its edge is much of it"
    np.testing.assert_array_equal(before.rgba[..., 3], before.amodal)
    groups = {item.group for item in open_source(f"pascal3d:{release}").items() if "n03_1" in item.id}
    assert groups == {"pascal3d/car/n03_1"}, "objects of one photograph stay in one split"


def test_what_is_beyond_the_edge_is_part_of_the_outline_but_not_visible(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    view = Drawn(px=5.0, py=20.0)
    assert (view.pixels().min(axis=0) < 0).all()
    add_photo(release, "n03_2", [view])
    list_photo(release, "n03_2")
    image = loaded(f"pascal3d:{release}")["pascal3d/car/n03_2"]
    assert image.camera is not None
    assert image.amodal is not None
    side = image.rgba.shape[0]
    assert side > WIDTH
    shift = corner_pixels(image.camera, side) - (view.pixels() - 0.5)
    left, top = (round(float(edge)) for edge in shift[0])
    np.testing.assert_allclose(shift, np.broadcast_to([left, top], shift.shape), atol=1e-3)
    assert left > 5
    assert top > 0
    assert (image.rgba[top : top + HEIGHT, left : left + WIDTH, :3] == paint([view])).all()
    x0, y0, x1, y1 = view.box()
    assert image.box == (left + x0 - 1, top + y0 - 1, left + x1, top + y1)
    assert not image.rgba[:, :left, 3].any()
    assert (image.amodal[:, :left] > 127).any()
    np.testing.assert_array_equal(
        image.rgba[top : top + HEIGHT, left : left + WIDTH, 3], image.amodal[top : top + HEIGHT, left : left + WIDTH]
    )
    whole = convex_outline(view.pixels() + 100, (300, 300), 1.0)
    cut_off = 1 - whole[100 : 100 + HEIGHT, 100 : 100 + WIDTH].sum() / whole.sum()
    assert image.notes == (f"the image's edge cuts off {cut_off:.0%} of it",)


def test_an_image_in_both_lists_is_held_out(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    list_photo(release, "n01_3")
    splits = [item.split for item in open_source(f"pascal3d:{release}").items() if item.id == "pascal3d/car/n01_3"]
    assert splits == ["test"]


VIEW = Drawn()
BAD_RECORDS = {
    "no_viewpoint": (VIEW.matlab() | {"viewpoint": np.zeros((0, 0))}, "viewpoint is not annotated"),
    "no_azimuth": (VIEW.matlab(viewpoint={"azimuth": np.zeros((0, 0))}), "no azimuth"),
    "no_theta": (VIEW.matlab(viewpoint={"theta": None}), "no theta"),
    "only_coarse": (
        VIEW.matlab(viewpoint={"azimuth": None, "azimuth_coarse": 30.0, "distance": 0.0}),
        "distance is 0",
    ),
    "no_distance": (VIEW.matlab(viewpoint={"distance": None}), "distance is missing"),
    "behind": (VIEW.matlab(viewpoint={"distance": -3.0}), "distance is -3"),
    "no_focal": (VIEW.matlab(viewpoint={"focal": 0.0}), "focal length is 0"),
    "no_viewport": (VIEW.matlab(viewpoint={"viewport": 0.0}), "focal length is 0"),
    "nan": (VIEW.matlab(viewpoint={"elevation": np.nan}), "no elevation"),
    "infinite": (VIEW.matlab(viewpoint={"distance": np.inf}), "distance is missing"),
    "far": (VIEW.matlab(viewpoint={"distance": 1e300}), "out of range"),
    "tiny": (VIEW.matlab(viewpoint={"distance": 1e9}), "projects to no pixel"),
    "no_principal": (VIEW.matlab(viewpoint={"px": None}), "principal point"),
    "elsewhere": (VIEW.matlab(viewpoint={"px": 4000.0}), "projects"),
    "off_box": (VIEW.matlab(bbox=np.array([1.0, 1.0, 8.0, 8.0])), "outside of its annotated box"),
    "no_cad": (VIEW.matlab(cad_index=7), "there is no CAD model car/07.off (car has 1)"),
    "cad_zero": (VIEW.matlab(cad_index=0), "CAD model is 0"),
    "cad_missing": (VIEW.matlab(cad_index=np.zeros((0, 0))), "CAD model is missing"),
    "other_class": (VIEW.matlab() | {"class": "person"}, "no car annotated in it"),
    "path": (VIEW.matlab() | {"class": "../../car"}, "no car annotated in it"),
}


def test_bad_annotations_are_set_aside(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    for name, (record, _) in BAD_RECORDS.items():
        add_photo(release, name, [VIEW], [record])
        list_photo(release, name)
    add_photo(release, "no_objects", [VIEW], [])
    add_photo(release, "other_size", [VIEW], imgsize=np.array([60, 60, 3]))
    for name in ("no_objects", "other_size", "truncated_mat", "noise", "empty", "missing_mat", "no_record", "text"):
        list_photo(release, name)
        if name not in ("no_objects", "other_size"):
            add_photo(release, name, [VIEW])
    annotations = release / "Annotations" / "car_imagenet"
    whole = (annotations / "truncated_mat.mat").read_bytes()
    (annotations / "truncated_mat.mat").write_bytes(whole[: len(whole) // 2])
    (annotations / "noise.mat").write_bytes(bytes(range(256)) * 4)
    (annotations / "empty.mat").write_bytes(b"")
    (annotations / "missing_mat.mat").unlink()
    shutil.copy(write_mat(tmp_path / "x.mat", {"other": 1.0}), annotations / "no_record.mat")
    shutil.copy(write_mat(tmp_path / "y.mat", {"record": "text"}), annotations / "text.mat")
    add_photo(release, "cut_image", [VIEW])
    list_photo(release, "cut_image")
    file = release / "Images" / "car_imagenet" / "cut_image.JPEG"
    file.write_bytes(file.read_bytes()[:60])
    list_photo(release, "no_image")
    add_photo(release, "no_image", [VIEW])
    (release / "Images" / "car_imagenet" / "no_image.JPEG").unlink()

    report, dataset = prepared(f"pascal3d:{release}", tmp_path / "out")
    found = {name.rsplit("/", 1)[1]: reason for name, reason in report.set_aside}
    expected = {name: text for name, (_, text) in BAD_RECORDS.items()} | {
        "no_objects": "no car annotated",
        "other_size": "annotation is for 60 x 60",
        "truncated_mat": "cannot be read",
        "noise": "cannot be read",
        "empty": "empty file",
        "missing_mat": "there is no missing_mat.mat",
        "no_record": "no variable 'record'",
        "text": "no record of objects",
        "cut_image": "cannot be read",
        "no_image": "is not a file",
    }
    assert set(found) == set(expected)
    for name, text in expected.items():
        assert text in found[name], f"{name}: {found[name]}"
        assert "unexpected" not in found[name], found[name]
    assert len(dataset.entries()) == 4, "the good ones are there"


def write_mat(file: Path, content: dict[str, object]) -> Path:
    from scipy.io import savemat

    savemat(file, content)
    return file


def test_a_coarse_viewpoint_replaces_a_missing_one_and_is_noted(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    record = VIEW.matlab(
        viewpoint={"azimuth": np.zeros((0, 0)), "azimuth_coarse": VIEW.azimuth + 5, "elevation_coarse": 0.0}
    )
    add_photo(release, "coarse", [VIEW], [record])
    list_photo(release, "coarse")
    image = loaded(f"pascal3d:{release}")["pascal3d/car/coarse"]
    assert "azimuth are coarse" in image.notes[0]
    assert image.camera is not None
    turned = replace(VIEW, azimuth=VIEW.azimuth + 5)
    np.testing.assert_allclose(corner_pixels(image.camera, WIDTH), turned.pixels() - 0.5, atol=1e-3)


def test_an_occluder_that_is_not_annotated_is_noted(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    add_photo(release, "n03_4", [VIEW], [VIEW.matlab(occluded=1)])
    list_photo(release, "n03_4")
    assert "counts as visible" in loaded(f"pascal3d:{release}")["pascal3d/car/n03_4"].notes[0]


def test_a_wholly_hidden_object_is_set_aside_and_unusable_neighbours_are_noted(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    small = Drawn(distance=160.0)
    add_photo(release, "hidden", [small, VIEW])
    add_photo(release, "beside", [VIEW, small], [VIEW.matlab(), small.matlab(viewpoint={"distance": 0.0})])
    add_photo(release, "no_model", [VIEW, VIEW], [VIEW.matlab(), replace(VIEW, distance=30.0).matlab(cad_index=5)])
    for name in ("hidden", "beside", "no_model"):
        list_photo(release, name)
    problems = reasons(f"pascal3d:{release}")
    assert "wholly hidden" in problems["pascal3d/car/hidden"]
    found = loaded(f"pascal3d:{release}")
    assert "pascal3d/car/hidden@1" in found
    assert "no usable viewpoint" in found["pascal3d/car/beside"].notes[0]
    assert "car/05.off" in found["pascal3d/car/no_model"].notes[0]


def test_a_class_without_cad_models_is_set_aside(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    shutil.rmtree(release / "CAD" / "chair")
    problems = reasons(f"pascal3d:{release}")
    assert list(problems) == ["pascal3d/chair/n02_1"]
    assert "no folder of CAD models" in problems["pascal3d/chair/n02_1"]
    (release / "CAD" / "car" / "01.off").write_text("OFF\n8 12 0\n0 0")
    assert "car/01.off" in reasons(f"pascal3d:{release}")["pascal3d/car/n01_1"]
    shutil.rmtree(release / "CAD")
    with pytest.raises(DataError, match="CAD"):
        open_source(f"pascal3d:{release}").items()


def test_releases_that_are_not_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for kind in ("pascal3d", "imagenet3d", "pascal3d_cad"):
        with pytest.raises(DataError):
            open_source(f"{kind}:{tmp_path / 'empty'}").items()
    release = write_pascal3d(tmp_path / "release")
    save_lists(release / "Image_sets", {"car_imagenet_train": ["../../secret"]})
    with pytest.raises(DataError, match="secret"):
        open_source(f"pascal3d:{release}").items()
    shutil.rmtree(release / "Image_sets")
    with pytest.raises(DataError, match="found no list"):
        open_source(f"pascal3d:{release}").items()


def test_a_changed_annotation_or_cad_model_changes_the_stamp(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")

    def stamp() -> str:
        return next(item.stamp for item in open_source(f"pascal3d:{release}").items() if item.id.endswith("n01_1"))

    first = stamp()
    save_record(release / "Annotations" / "car_imagenet" / "n01_1.mat", [VIEW.matlab(note="a longer record")])
    second = stamp()
    write_box(release / "CAD" / "car" / "01.off", scale=10.0)
    assert len({first, second, stamp()}) == 3


# --- CAD models -----------------------------------------------------------------------------------------------------


def test_cad_models_are_shapes_in_the_images_frame(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "release")
    write_box(release / "CAD" / "car" / "02.off", scale=3.0)
    opened = open_source(f"pascal3d_cad:{release}")
    assert isinstance(opened, Pascal3dCadSource)
    assert [item.id for item in opened.items()] == [f"pascal3d_cad/{name}" for name in ("car/01", "car/02", "chair/01")]
    assert [item.id for item in open_source(f"pascal3d_cad:{release / 'CAD'}").items()] == [
        item.id for item in opened.items()
    ]
    ingest([opened], str(tmp_path / "out"), TINY, parallel="none")
    shapes = ShardedDataset.open(tmp_path / "out")
    entries = {entry.id: entry.category for entry in shapes.entries()}
    assert entries == {f"pascal3d_cad/{name}": name.split("/")[0] for name in ("car/01", "car/02", "chair/01")}
    vertices = load_object(shapes, "pascal3d_cad/car/02", ("mesh_vertices",)).array("mesh_vertices")
    np.testing.assert_allclose(np.ptp(vertices, axis=0), np.ptp(normalised_corners(), axis=0), atol=0.03)
    scene = opened.load(next(item for item in opened.items() if item.id.endswith("car/02")), BIG).scene
    x, y, z = corners(3.0).T
    np.testing.assert_allclose(scene.vertices, np.stack([x, z, -y], axis=1), atol=1e-5, err_msg="Y up, facing +Z")


# --- Occluded PASCAL3D+ ---------------------------------------------------------------------------------------------


def test_occluded_pascal3d(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "PASCAL3D+_release1.1")
    folder = write_occluded(tmp_path / "occluded")
    write_occluded(folder, "FGL1_BGL1")
    save_lists(folder / "lists", {"carFGL2_BGL2": ["n01_3.JPEG"]})
    opened = open_source(str(folder))
    assert opened.kind == "occluded_pascal3d", "the bare path is recognised, and PASCAL3D+ found next to it"
    items = opened.items()
    assert [item.id for item in items] == [
        f"occluded_pascal3d/{level}/car/n01_3" for level in ("FGL1_BGL1", "FGL2_BGL2")
    ]
    assert {(item.split, item.category, item.group) for item in items} == {("test", "car", "car/n01_3")}
    image = loaded(f"occluded_pascal3d:{folder},{release}#FGL2_BGL2")["occluded_pascal3d/FGL2_BGL2/car/n01_3"]
    view = VIEWS["n01_3"]
    check_image(image, view)
    visible = view.outline()
    visible[OCCLUDER] = False
    assert iou(image.rgba[:HEIGHT, :, 3] > 127, visible) > 0.97
    hidden = 1 - (image.rgba[..., 3] > 127).sum() / (image.amodal > 127).sum()  # type: ignore[operator]
    assert 0.4 < hidden < 0.6
    _, dataset = prepared(f"occluded_pascal3d:{folder},{release}#FGL2_BGL2", tmp_path / "out")
    stored = load_image(dataset, "occluded_pascal3d/FGL2_BGL2/car/n01_3")
    assert stored.amodal is not None
    assert iou(stored.amodal > 127, (stored.rgba[..., 3] > 127)) < 0.7


def test_bad_occluded_pascal3d(tmp_path: Path) -> None:
    release = write_pascal3d(tmp_path / "PASCAL3D+_release1.1")
    folder = write_occluded(tmp_path / "occluded")
    masks = folder / "annotations" / "carFGL2_BGL2" / "n01_3.npz"

    def reason() -> str:
        return reasons(f"occluded_pascal3d:{folder},{release}").popitem()[1]

    whole = masks.read_bytes()
    masks.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in reason()
    save_masks(masks, np.ones((HEIGHT, WIDTH), bool), VIEWS["n01_3"])
    assert "wholly hidden" in reason()
    save_masks(masks, np.ones((7, 9), bool), VIEWS["n01_3"])
    assert "9 x 7" in reason()
    np.savez(masks, occluder_mask=np.array([{"code": 1}], dtype=object))
    assert "cannot be read" in reason(), "pickled arrays are not read"
    np.savez(masks, mask=np.zeros((HEIGHT, WIDTH)))
    assert "no occluder_mask" in reason()
    masks.unlink()
    assert "there is no n01_3.npz" in reason()
    with pytest.raises(ConfigError, match="unknown level"):
        open_source(f"occluded_pascal3d:{folder},{release}#L2")
    with pytest.raises(DataError, match="FGL3_BGL3"):
        open_source(f"occluded_pascal3d:{folder},{release}#FGL3_BGL3").items()
    with pytest.raises(DataError, match="release1.1"):
        open_source(f"occluded_pascal3d:{folder},{tmp_path / 'nowhere'}")


# --- OOD-CV ---------------------------------------------------------------------------------------------------------


def test_ood_cv(tmp_path: Path) -> None:
    folder = write_ood_cv(tmp_path / "ood")
    opened = open_source(str(folder))
    assert opened.kind == "ood_cv"
    assert {item.id: item.split for item in opened.items()} == {
        "ood_cv/iid/car/n01_3_0": "test",
        "ood_cv/weather/car/car_+_snow_0001_1": "test",
        "ood_cv/train/car/n01_1": "train",
    }
    apart = f"ood_cv:{folder / 'OOD-CV-dataset'},{folder / 'phase-1-pose-npz'},{folder / 'PASCAL3D+_release1.1'}"
    found = loaded(apart)
    check_image(found["ood_cv/train/car/n01_1"], VIEWS["n01_1"])
    check_image(found["ood_cv/iid/car/n01_3_0"], VIEWS["n01_3"])
    check_image(found["ood_cv/weather/car/car_+_snow_0001_1"], replace(VIEWS["n01_2"], azimuth=75.0))


def test_bad_ood_cv(tmp_path: Path) -> None:
    folder = write_ood_cv(tmp_path / "ood")
    places = folder / "phase-1-pose-npz" / "phase-1" / "nuisances" / "weather" / "annotations"
    shutil.copy(next(places.iterdir()), places / "collection_car_car_+_snow_0001_5.npz")
    shutil.copy(next(places.iterdir()), places / "collection_car_gone_0.npz")
    problems = reasons(f"ood_cv:{folder}")
    assert "number 5 annotated" in problems["ood_cv/weather/car/car_+_snow_0001_5"]
    assert "there is no gone.mat" in problems["ood_cv/weather/car/gone_0"]
    (places / "strange.npz").write_bytes(b"")
    with pytest.raises(DataError, match="strange"):
        open_source(f"ood_cv:{folder}").items()
    with pytest.raises(DataError, match="2 folders"):
        open_source(f"ood_cv:{folder},{folder}")
    shutil.rmtree(folder / "OOD-CV-dataset")
    with pytest.raises(DataError, match="collected images"):
        open_source(f"ood_cv:{folder}")


# --- ImageNet3D -----------------------------------------------------------------------------------------------------


def test_imagenet3d(tmp_path: Path) -> None:
    folder = write_imagenet3d(tmp_path / "imagenet3d_v1")
    opened = open_source(str(folder))
    assert opened.kind == "imagenet3d"
    assert {item.id: item.split for item in opened.items()} == {
        "imagenet3d/car/n01_3": "test",
        "imagenet3d/car/n01_3@1": "test",
        "imagenet3d/car/n01_1": "train",
    }
    found = loaded(str(folder))
    check_image(found["imagenet3d/car/n01_1"], VIEWS["n01_1"], 0.5)
    check_image(found["imagenet3d/car/n01_3"], VIEWS["n01_3"], 0.5)
    box = found["imagenet3d/car/n01_1"].box
    np.testing.assert_allclose(box, VIEWS["n01_1"].box(0.5))


def test_bad_imagenet3d(tmp_path: Path) -> None:
    folder = write_imagenet3d(tmp_path / "imagenet3d_v1")
    cases = {
        "ignored": (VIEW.record(ignore=1), "ignores it"),
        "bad": (VIEW.record(object_status="status_bad"), "status is bad"),
        "flat": (VIEW.record(distance=0.0), "distance is 0"),
        "odd": (VIEW.record(height=np.uint16(7)), "annotation is for 120 x 7"),
        "no_px": ({name: value for name, value in VIEW.record().items() if name != "px"}, "principal point"),
    }
    for name, (record, _) in cases.items():
        add_records(folder, name, [VIEW], [record])
    add_records(folder, "partial", [VIEW], [VIEW.record(object_status="status_partially")])
    save_lists(folder / "lists", {"car_imagenet_train": [*cases, "partial", "gone"]})
    problems = {name.rsplit("/", 1)[1]: text for name, text in reasons(str(folder)).items()}
    for name, (_, text) in cases.items():
        assert text in problems[name], problems[name]
    assert "there is no gone.npz" in problems["gone"]
    assert "nothing says what hides it" in loaded(str(folder))["imagenet3d/car/partial"].notes[0]


def test_items_carry_everything_that_loading_needs(tmp_path: Path) -> None:
    """A worker loads an item without reading annotations again."""
    release = write_pascal3d(tmp_path / "release")
    opened = open_source(f"pascal3d:{release}")
    assert isinstance(opened, ImageSource)
    items = opened.items()
    shutil.rmtree(release / "Annotations")
    for item in items:
        assert isinstance(item, ImageItem)
        check_image(opened.load(item, BIG, MANY), CHAIR if item.category == "chair" else VIEWS[item.id.split("/")[-1]])
