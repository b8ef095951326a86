"""Image layouts on tiny collections, from source to stored image; bad input included."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raylift.core.errors import ConfigError, DataError
from raylift.data.images.config import ImagesConfig
from raylift.data.images.record import load_image, true_shape
from raylift.data.prepare.ingest import IngestReport, ingest
from raylift.data.shapes.config import TINY
from raylift.data.shapes.record import load_view
from raylift.data.sources.base import ImageSource
from raylift.data.sources.coco_masks import decode_segmentation, unpack_counts
from raylift.data.sources.image_reading import cutout, decode, gray
from raylift.data.sources.opening import Selection, open_source
from raylift.data.sources.registry import source_entries
from raylift.data.sources.stamps import StampsSource, is_drawing
from raylift.data.store.annotations import Annotations, joined_annotations, mirror_by_name
from raylift.data.store.dataset import ShardedDataset
from tests.data.image_layouts import (
    BOX,
    CUB_PARTS,
    HEIGHT,
    WIDTH,
    pack_counts,
    picture,
    runs_of,
    save,
    write_coco,
    write_cub,
    write_cutouts,
    write_masked,
)

CONFIG = ImagesConfig(image_px=32, min_object_px=4, objects_per_shard=3)


def prepared(specification: str, out: Path, config: ImagesConfig = CONFIG) -> tuple[IngestReport, ShardedDataset]:
    report = ingest([open_source(specification)], str(out), config, parallel="none")
    return report, ShardedDataset.open(out)


# --- layouts --------------------------------------------------------------------------------------------------------


def test_cutouts(tmp_path: Path) -> None:
    folder = write_cutouts(tmp_path / "photos")
    save(folder / "fish" / "opaque.png", picture()[..., :3])
    save(folder / "fish" / "full.png", np.full((9, 9, 4), 255, np.uint8))
    save(folder / "fish" / "empty.png", np.zeros((9, 9, 4), np.uint8))
    (folder / "fish" / "noise.png").write_bytes(b"noise")
    (folder / "fish" / "nothing.webp").write_bytes(b"")
    report, dataset = prepared(str(folder), tmp_path / "out")
    assert dataset.manifest.kind == "images"
    reasons = {name.rsplit("/", 1)[1]: reason for name, reason in report.set_aside}
    assert set(reasons) == {"opaque.png", "full.png", "empty.png", "noise.png", "nothing.webp"}
    assert "no alpha channel" in reasons["opaque.png"]
    assert "masked" in reasons["opaque.png"], "the remedy"
    assert "covers the whole image" in reasons["full.png"]
    assert "no area" in reasons["empty.png"]
    assert dataset.manifest.counts["by_category"] == {"birds": 3, "fish": 3}
    record = load_image(dataset, "cutouts/birds/some_thing-1.png")
    assert record.texts["caption"] == "A wagtail on a stone."
    assert load_image(dataset, "cutouts/fish/some_thing-2.png").texts["caption"] == "a some thing 2"
    assert record.original_size == (WIDTH, HEIGHT)
    # Box 12..33 x 8..30, longer edge 22: the square has 22 * 1.4 a side around (22.5, 19).
    np.testing.assert_allclose(record.crop_box, (7.1, 3.6, 37.9, 34.4), atol=1e-4)
    np.testing.assert_allclose(record.object_box, np.array([-10.5, -11, 10.5, 11]) / 15.4, atol=1e-5)
    covered = record.rgba[..., 3] > 127
    assert covered.mean() == pytest.approx(21 * 22 / 30.8**2, abs=0.03)
    assert record.rgba[16, 6, 0] > 200 > 60 > record.rgba[16, 6, 1], "red on the left"
    assert (record.rgba[~covered & (record.rgba[..., 3] == 0)] == 0).all(), "cut-outs keep no background"


def test_masks(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "set")
    report, dataset = prepared(str(folder), tmp_path / "out")
    assert [name for name, _ in report.set_aside] == ["masked/lone.jpg"]
    assert "has no mask" in report.set_aside[0][1]
    assert [entry.category for entry in dataset.entries()] == ["cats", "cats"]
    binary, shaded = (load_image(dataset, f"masked/cats/{name}.jpg").rgba for name in ("binary", "gray"))
    assert binary[16, 16, 3] == 255
    assert shaded[16, 16, 3] == 167
    assert binary[5, 16, 3] == 0
    assert binary[5, 16, 2] > 150, "photographs keep their background"
    _, plain = prepared(str(folder), tmp_path / "plain", replace(CONFIG, keep_background=False))
    assert (load_image(plain, "masked/cats/binary.jpg").rgba[5, 16] == 0).all()
    apart = open_source(f"masked:{folder / 'images'},{folder / 'masks'}")
    assert isinstance(apart, ImageSource)
    assert len(apart.items()) == 3
    save(folder / "masks" / "lone.png", np.zeros((5, 5), np.uint8))
    wrong, _ = prepared(str(folder), tmp_path / "again")
    assert "5 x 5" in wrong.set_aside[0][1]


def test_coco(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "set")
    report, dataset = prepared(str(file), tmp_path / "out")
    reasons = dict(report.set_aside)
    assert set(reasons) == {"coco/instances/4", "coco/instances/5"}
    assert "crowd" in reasons["coco/instances/4"]
    assert "3 keypoint numbers" in reasons["coco/instances/5"]
    assert dataset.manifest.annotations.keypoint_names == ("left_ear", "right_ear", "nose")
    assert dataset.manifest.annotations.keypoint_mirror == (1, 0, 2)
    cat, boat, packed = (load_image(dataset, f"coco/instances/{number}") for number in (1, 2, 3))
    assert cat.texts["caption"] == "A cat without a background."
    assert (cat.texts["licence"], boat.texts["licence"]) == ("CC-BY-4.0", "")
    for one in (cat, boat, packed):
        np.testing.assert_array_equal(one.rgba[..., 3], cat.rgba[..., 3])
        np.testing.assert_allclose(one.object_box, np.array([-16, -11, 16, 11]) / 22.4, atol=1e-5)
    assert cat.keypoints is not None
    np.testing.assert_allclose(cat.keypoints[0], (-16 / 22.4, -11 / 22.4, 1), atol=1e-6)
    np.testing.assert_array_equal(cat.keypoints[2], 0)
    assert boat.keypoints is None
    one = ingest(
        [open_source(f"coco:{file}")], str(tmp_path / "boats"), CONFIG, Selection(categories=("boat",)), parallel="none"
    )
    assert [entry.id for entry in one.manifest.entries] == ["coco/instances/2"]


@pytest.mark.parametrize("text", ["[]", "{", '{"images": 3, "annotations": [], "categories": []}', '{"images": []}',
                                  '{"images": [], "categories": [], "annotations": [{"id": 1}]}'])  # fmt: skip
def test_coco_files_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        open_source(f"coco:{tmp_path / 'a.json'}").items()


def test_cub(tmp_path: Path) -> None:
    folder = write_cub(tmp_path / "CUB_200_2011")
    (folder / "segmentations" / "001.Some_Bird0" / "Some_Bird_2.png").unlink()
    report, dataset = prepared(str(folder), tmp_path / "out")
    assert [name for name, _ in report.set_aside] == ["cub/001.Some_Bird0/Some_Bird_2"]
    assert "no segmentation" in report.set_aside[0][1]
    assert dataset.manifest.annotations == Annotations(CUB_PARTS, (0, 1, 3, 2))
    assert [entry.split for entry in dataset.entries()] == ["train", "test", "train"]
    assert dataset.entries()[1].category == "some bird1"
    record = load_image(dataset, "cub/002.Some_Bird1/Some_Bird_3")
    assert record.keypoints is not None
    np.testing.assert_allclose(record.keypoints[2], ((20 - 28) / 22.4, (11 - 19) / 22.4, 1), atol=1e-5)
    np.testing.assert_array_equal(record.keypoints[1], 0)
    assert (record.rgba[..., 3] > 127).mean() == pytest.approx(32 * 22 / 44.8**2, abs=0.03), "half of the annotators"
    (folder / "parts" / "part_locs.txt").write_text("1 1 5 5 1\n")
    (folder / "segmentations" / "001.Some_Bird0" / "Some_Bird_2.png").unlink(missing_ok=True)
    with pytest.raises(DataError, match="keypoints where the data set has 4"):
        prepared(str(folder), tmp_path / "again")
    (folder / "bounding_boxes.txt").write_text("")
    with pytest.raises(DataError, match="no a box|has no a box"):
        open_source(str(folder)).items()


def test_stamps(tmp_path: Path) -> None:
    stamps = tmp_path / "usr/share/tuxpaint/stamps"
    animals = ("birds/owl", "birds/cartoon/tux", "mammals/bovines/cow", "mammals/hedgehog")
    for name in (*(f"animals/{one}" for one in animals), "vehicles/dumper_mirror", "vehicles/dumper"):
        save(stamps / f"{name}.png", picture())
    (stamps / "animals/birds/owl.txt").write_text("A snowy owl.\nde.utf8=Eine Eule.\n")
    _, dataset = prepared(f"stamps:{tmp_path}", tmp_path / "out")
    assert {entry.id: entry.category for entry in dataset.entries()} == {
        "stamps/animals/birds/owl": "birds",
        "stamps/animals/mammals/bovines/cow": "mammals",
        "stamps/vehicles/dumper": "vehicles",
    }
    owl = load_image(dataset, "stamps/animals/birds/owl")
    assert (owl.texts["caption"], owl.texts["licence"]) == ("A snowy owl.", "GPL-2")
    assert is_drawing(Path("symbols/alphabets/a.png"))
    with pytest.raises(DataError, match="no stamp"):
        StampsSource(tmp_path / "out").items()


def test_views_of_shapes_keep_their_truth_aside(tmp_path: Path, tiny_folder: Path, tiny: ShardedDataset) -> None:
    report, dataset = prepared(f"shapes:{tiny_folder}", tmp_path / "out")
    assert {entry.id: entry.split for entry in dataset.entries()} == {entry.id: entry.split for entry in tiny.entries()}
    views = set()
    for entry in dataset.entries():
        truth = true_shape(dataset, entry.id)
        record, view = load_image(dataset, entry.id), load_view(tiny, entry.id, truth.view)
        views.add(truth.view)
        assert truth.object_id == entry.id
        assert record.camera is not None
        # The window shows the same pixels: a world point falls where the view has it.
        center = (np.array(record.crop_box[:2]) + record.crop_box[2:]) / TINY.image_px - 1
        half = (record.crop_box[2] - record.crop_box[0]) / TINY.image_px
        np.testing.assert_allclose(record.camera.focal, view.camera.focal / half, rtol=1e-4)
        np.testing.assert_allclose(
            record.camera.principal[0], (view.camera.principal[0].numpy() - center) / half, atol=1e-4
        )
        np.testing.assert_array_equal(record.camera.rotation, view.camera.rotation)
    assert len(views) > 1
    again, _ = prepared(f"shapes:{tiny_folder}", tmp_path / "again")
    assert again.manifest == report.manifest
    other = ingest([open_source(f"shapes:{tiny_folder}", seed=5)], str(tmp_path / "o"), CONFIG, parallel="none")
    assert other.manifest.shards != report.manifest.shards
    with pytest.raises(DataError, match=r"no manifest\.json"):
        true_shape(dataset, dataset.entries()[0].id, str(tmp_path / "gone"))


# --- the house ------------------------------------------------------------------------------------------------------


def test_image_ingest_resumes_and_is_a_pure_function(tmp_path: Path) -> None:
    folder = write_cutouts(tmp_path / "photos", 7)
    whole, _ = prepared(str(folder), tmp_path / "a")
    twin, _ = prepared(str(folder), tmp_path / "b")
    assert whole.manifest == twin.manifest
    assert whole.num_made_shards == 3
    (tmp_path / "b" / "images-00001.parquet").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"images-00001\.parquet is damaged: it has 3 bytes"):
        ShardedDataset.open(tmp_path / "b")
    again, dataset = prepared(str(folder), tmp_path / "b")
    assert (again.num_kept_shards, again.num_made_shards) == (2, 1)
    assert again.manifest == whole.manifest
    assert dataset.verify() == []
    with pytest.raises(DataError, match="other settings"):
        prepared(str(folder), tmp_path / "b", replace(CONFIG, image_px=48))
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["schema_version"]) == ("images", 3)


def test_shapes_prepared_before_image_collections_are_still_read(tmp_path: Path, tiny_folder: Path) -> None:
    manifest = json.loads((tiny_folder / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    for name in ("kind", "annotations"):
        del manifest[name]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    for file in tiny_folder.glob("*.parquet"):
        (tmp_path / file.name).symlink_to(file)
    dataset = ShardedDataset.open(tmp_path)
    assert dataset.manifest.kind == "shapes"
    assert dataset.manifest.entries == ShardedDataset.open(tiny_folder).manifest.entries


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    images = open_source(str(write_cutouts(tmp_path / "photos")))
    with pytest.raises(DataError, match="does not deliver images"):
        ingest([images, open_source("procedural:1")], str(tmp_path / "out"), CONFIG, parallel="none")
    with pytest.raises(DataError, match="does not deliver shapes"):
        ingest([images], str(tmp_path / "out"), TINY, parallel="none")
    with pytest.raises(DataError, match="different keypoints"):
        joined_annotations([Annotations(), Annotations.of_keypoints(["a"]), Annotations.of_keypoints(["b"])])
    for bad in ({"image_px": 0}, {"box_padding": -1.0}, {"val_share": 0.9, "test_share": 0.2}):
        with pytest.raises(ConfigError):
            ImagesConfig(**bad)  # type: ignore[arg-type]


def test_layouts_are_recognised(tmp_path: Path, tiny_folder: Path) -> None:
    places = {
        "cutouts": write_cutouts(tmp_path / "c"),
        "masked": write_masked(tmp_path / "m"),
        "coco": write_coco(tmp_path / "j"),
        "cub": write_cub(tmp_path / "b"),
        "shapes": tiny_folder,
    }
    for kind, place in places.items():
        assert open_source(str(place)).kind == kind
        assert source_entries()[kind].delivers == "images"
    assert source_entries()["procedural"].delivers == "shapes"
    for place in ("cutouts", "masked", "cub", "stamps"):
        with pytest.raises(DataError):
            open_source(f"{place}:{tmp_path / 'gone'}").items()


def test_mirrors_are_found_by_name() -> None:
    names = ["left_eye", "right_eye", "nose", "Left wing", "Right Wing", "left_only", "bright spot"]
    assert mirror_by_name(names) == (1, 0, 2, 4, 3, 5, 6)
    with pytest.raises(DataError, match="does not mirror"):
        Annotations(("a", "b"), (1, 1))


# --- bad input ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_are_an_image_or_a_reason(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, data.draw(st.sampled_from(["PNG", "WEBP", "TIFF", "BMP"])))
    content = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        rgba = cutout(decode(bytes(content), "x", 10_000), "x")
    except DataError:
        return
    assert rgba.dtype == np.uint8
    assert rgba.shape[2] == 4
    assert rgba.shape[0] * rgba.shape[1] <= 10_000
    assert (rgba[..., 3] > 127).any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_is_read_or_refused(mode: str) -> None:
    base = Image.fromarray(picture()[..., :3])
    image = Image.new(mode, (8, 8)) if mode == "I;16" else base.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    if mode[0] in "IF":
        with pytest.raises(DataError, match="eight bits"):
            decode(buffer.getvalue(), "x", 10_000)
        return
    decoded = decode(buffer.getvalue(), "x", 10_000)
    assert gray(decoded).dtype == np.uint8
    with pytest.raises(DataError, match="alpha"):
        cutout(decoded, "x")


def test_huge_images_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    write_cutouts(tmp_path / "photos", 2)
    data = (tmp_path / "photos" / "fish" / "some_thing-0.png").read_bytes()
    with pytest.raises(DataError, match="60 x 40 pixels, more than the limit"):
        decode(data[:100], "x", 1000)  # its head is enough to refuse it
    report, _ = prepared(str(tmp_path / "photos"), tmp_path / "out", replace(CONFIG, min_object_px=20))
    assert report.set_aside == ()
    with pytest.raises(DataError, match="min-object-px"):
        prepared(str(tmp_path / "photos"), tmp_path / "small", replace(CONFIG, min_object_px=50))
    with pytest.raises(DataError, match="max-file-mib"):
        open_source(f"cutouts:{tmp_path / 'photos'}").load(
            open_source(f"cutouts:{tmp_path / 'photos'}").items()[0], 10, 10**6
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_run_lengths_round_trip(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    runs = runs_of(mask)
    assert unpack_counts(pack_counts(runs)) == runs
    size = {"size": [height, width]}
    for counts in (runs, pack_counts(runs)):
        np.testing.assert_array_equal(decode_segmentation({**size, "counts": counts}, height, width) > 0, mask)


def test_packed_strings_by_hand() -> None:
    # By hand: 41 = 9 + 32, so the groups 9 (more follow: 48 + 9 + 32 = Y) and 1 (48 + 1 = 1); 6 is 6; 53 is e, 1.
    assert unpack_counts("Y16e1") == [41, 6, 53]
    assert pack_counts([41, 6, 53]) == "Y16e1"
    assert unpack_counts("055O") == [0, 5, 5, 4], "the fourth is a difference: -1 to the second"


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(
        st.text(max_size=12),
        st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=2), st.lists(st.floats(), max_size=7))),
        st.fixed_dictionaries(
            {"size": st.lists(st.integers(0, 5), max_size=3)},
            optional={
                "counts": st.one_of(st.text(max_size=8), st.lists(st.integers(-5, 2**40), max_size=5), st.none())
            },
        ),
        st.just({"size": [4, 5], "counts": "000"}),
        st.none(),
    )
)
def test_any_segmentation_is_a_mask_or_a_reason(segmentation: object) -> None:
    try:
        mask = decode_segmentation(segmentation, 4, 5)
    except DataError:
        return
    assert mask.shape == (4, 5)
    assert set(np.unique(mask)) <= {0, 255}


def test_polygons_cover_the_pixels_whose_centres_they_hold() -> None:
    left, top, right, bottom = BOX
    square = [left, top, right, top, right, bottom, left, bottom]
    mask = decode_segmentation([square, [0, 0, 2, 0, 2, 2, 0, 2]], HEIGHT, WIDTH)
    expected = picture()[..., 3]
    expected[:2, :2] = 255
    np.testing.assert_array_equal(mask, expected)
