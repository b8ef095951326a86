"""Hidden objects: amodal masks, backgrounds, categories and supervised cameras, from storage to batches."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from raylift.config.data import DataConfig
from raylift.core.errors import DataError
from raylift.core.types import Batch, CropRequest, SampleRequest
from raylift.data.feed.batches import on_white
from raylift.data.feed.stream import SampleStream, dataset_info, evaluation_batches
from raylift.data.feed.user_image import assemble_image
from raylift.data.images.config import ImagesConfig
from raylift.data.images.part_maps import write_part_maps
from raylift.data.images.record import ImageRecord, load_image
from raylift.data.images.statistics import image_statistics
from raylift.data.prepare.ingest import IngestReport, ingest
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import Crop, cropped_camera
from raylift.geometry.cameras import canonical_camera

SIDE = 48
WHOLE = (slice(12, 36), slice(9, 39))
"""Rows and columns of the object; its left third is hidden."""
VISIBLE = (slice(12, 36), slice(19, 39))
CONFIG = ImagesConfig(image_px=SIDE, min_object_px=4, objects_per_shard=4)
REQUEST = SampleRequest(SIDE, background=True, amodal=True, category=True, supervised_camera=True)
DATA = DataConfig(batch_size=3)


@dataclass(frozen=True)
class HalfHidden:
    """Rectangles on a ramp. Some lack a camera or a mask, are of a category that is not trained on, or are hidden."""

    kind: str = "half-hidden"
    names: tuple[str, ...] = ("chair-0", "lamp-1", "chair-2", "lamp-3")
    window: bool = True

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        return [
            ImageItem(name, name, name.split("-")[0], name, split="test" if "test" in name else "train")
            for name in self.names
        ]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        rgba, amodal = np.zeros((SIDE, SIDE, 4), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        rgba[..., 0] = np.arange(SIDE)[:, None] * 5
        rgba[..., 2] = 90
        if "hidden" not in item.name:
            rgba[(*VISIBLE, 3)] = 255
        rgba[(*VISIBLE, 1)] = 200
        if "cutout" in item.name:
            rgba[rgba[..., 3] == 0] = 0
        amodal[WHOLE] = 255
        return LoadedImage(
            rgba,
            "a rectangle",
            has_background="cutout" not in item.name,
            camera=None if "blind" in item.name else canonical_camera().to("cpu", torch.float32),
            amodal=None if "unknown" in item.name else amodal[1:] if "small" in item.name else amodal,
            window=(0.0, 0.0, SIDE, SIDE) if self.window else None,
        )


def prepared(folder: Path, source: HalfHidden, config: ImagesConfig = CONFIG) -> tuple[IngestReport, ShardedDataset]:
    report = ingest([source], str(folder), config, parallel="none")
    return report, ShardedDataset.open(folder)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepared(tmp_path_factory.mktemp("hidden"), HalfHidden())[1]


def first(dataset: ShardedDataset, request: SampleRequest, split: str = "train") -> Batch:
    return next(evaluation_batches(dataset, request, split, DATA))


# --- storage --------------------------------------------------------------------------------------------------------


def test_a_stored_image_keeps_its_whole_outline_and_its_frame(hidden: ShardedDataset) -> None:
    record = load_image(hidden, "chair-0")
    expected = HalfHidden().load(HalfHidden().items()[0], 0, 0)
    assert expected.amodal is not None
    np.testing.assert_array_equal(record.amodal, expected.amodal)
    np.testing.assert_array_equal(record.rgba, expected.rgba)
    assert record.has_background
    assert record.crop_box == (0, 0, SIDE, SIDE)
    left, top, right, bottom = (SIDE * (1 + value) / 2 for value in record.object_box)
    assert (left, top, right, bottom) == pytest.approx((9, 12, 39, 36)), "the box is that of the whole object"


def test_without_a_window_the_square_is_around_the_whole_object(tmp_path: Path) -> None:
    config = replace(CONFIG, image_px=42, box_padding=0.2)
    _, dataset = prepared(tmp_path, HalfHidden(window=False), config)
    record = load_image(dataset, "chair-0")
    assert record.crop_box == pytest.approx((3, 3, 45, 45))
    assert record.amodal is not None
    np.testing.assert_array_equal(record.amodal[9:33, 6:36], 255)
    assert (record.amodal > 0).sum() == 24 * 30
    np.testing.assert_array_equal(record.rgba[9:33, 16:36, 3], 255)


def test_bad_masks_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    source = HalfHidden(names=("chair-hidden", "chair-small", "lamp-1"))
    report, dataset = prepared(tmp_path, source)
    reasons = dict(report.set_aside)
    assert "wholly hidden" in reasons["chair-hidden"]
    assert "the amodal mask is uint8 (47, 48)" in reasons["chair-small"]
    assert [entry.id for entry in dataset.entries()] == ["lamp-1"]


def test_collections_of_version_2_are_still_read(tmp_path: Path, hidden: ShardedDataset) -> None:
    source = HalfHidden(names=("chair-0", "chair-cutout"))
    _, dataset = prepared(tmp_path / "new", source)
    (tmp_path / "old").mkdir()
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    (file,) = manifest["shards"][0]
    table = pq.read_table(tmp_path / "new" / file["name"]).drop_columns(["amodal_png", "has_background"])
    pq.write_table(table, tmp_path / "old" / file["name"], row_group_size=1)
    file["num_bytes"] = (tmp_path / "old" / file["name"]).stat().st_size
    (tmp_path / "old" / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 2}))
    old = ShardedDataset.open(tmp_path / "old")
    for name in ("chair-0", "chair-cutout"):
        record = load_image(old, name)
        assert record.amodal is None
        assert record.has_background == load_image(dataset, name).has_background == (name == "chair-0")

    def blank(record: ImageRecord) -> np.ndarray:
        return np.zeros((1, 8, 8), np.uint8)

    copied = write_part_maps(old, str(tmp_path / "parts"), blank, ("background", "a"), "labels", "a test")
    assert copied.schema_version == 3
    assert load_image(ShardedDataset.open(tmp_path / "parts"), "chair-0").has_background
    write_part_maps(hidden, str(tmp_path / "kept"), blank, ("background", "a"), "labels", "a test")
    assert load_image(ShardedDataset.open(tmp_path / "kept"), "chair-0").amodal is not None


def test_an_inspection_judges_the_whole_outline(hidden: ShardedDataset) -> None:
    assert image_statistics(hidden, hidden.entry("chair-0")).coverage == pytest.approx(24 * 30 / SIDE**2)


# --- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_has_background_outline_category_and_camera(hidden: ShardedDataset) -> None:
    assert dataset_info(hidden, DATA).categories == ("chair", "lamp")
    stream = SampleStream(hidden, REQUEST, DATA, seed=1)
    (batch,) = stream.batches(0, 1, 0, 1)
    record = load_image(hidden, "chair-0")
    pixels = torch.from_numpy(record.rgba.copy()).permute(2, 0, 1).float() / 255
    for index, name in enumerate(batch.ids):
        torch.testing.assert_close(batch["image"][index], pixels[:3], rtol=0, atol=0)
        torch.testing.assert_close(batch["mask"][index], pixels[3:], rtol=0, atol=0)
        assert batch["category"][index] == ("lamp" in name)
    assert batch["category"].dtype == torch.int64
    assert batch["amodal"].shape == (3, 1, SIDE, SIDE)
    assert batch["amodal"].sum() == 3 * 24 * 30
    assert batch.camera is not None
    assert record.camera is not None
    torch.testing.assert_close(batch.camera.rotation, record.camera.rotation.expand(3, 3, 3))


def test_without_the_flags_a_sample_is_on_white_as_before(hidden: ShardedDataset) -> None:
    (batch,) = SampleStream(hidden, SampleRequest(SIDE), DATA, seed=1).batches(0, 1, 0, 1)
    image, mask = on_white(load_image(hidden, "chair-0").rgba)
    assert batch.camera is None
    assert set(batch.fields) == {"image", "mask"}
    np.testing.assert_array_equal(batch["image"][0].numpy(), image)
    np.testing.assert_array_equal(batch["mask"][0].numpy(), mask)


def test_resizing_keeps_the_colours_around_the_object(hidden: ShardedDataset) -> None:
    batch = first(hidden, replace(REQUEST, image_px=SIDE // 2))
    assert batch["image"][0, 2].mul(255).round().unique().tolist() == [90]
    assert float(batch["amodal"].sum()) == pytest.approx(3 * 12 * 15, rel=1e-3)


def test_crops_move_image_outline_and_camera_together(hidden: ShardedDataset) -> None:
    request = replace(REQUEST, crop=CropRequest(0.1, 0.0, mirror=True))
    stream = SampleStream(hidden, request, replace(DATA, batch_size=4), seed=0)
    found = [
        sample for batch in stream.batches(0, 1, 0, 4) for sample in (batch.select(slice(k, k + 1)) for k in range(4))
    ]
    assert {float(sample["mirrored"]) for sample in found} == {0.0, 1.0}
    camera = load_image(hidden, "chair-0").camera
    assert camera is not None
    for sample in found:
        whole, visible = sample["amodal"][0, 0] > 0.5, sample["mask"][0, 0] > 0.5
        columns = whole.any(0).nonzero().flatten()
        assert (columns[0] + columns[-1]) / 2 == pytest.approx((SIDE - 1) / 2, abs=1), "the crop is around the whole"
        is_mirrored = bool(sample["mirrored"])
        hidden_side = columns[-1] if is_mirrored else columns[0]
        assert not visible[:, hidden_side].any()
        assert (whole | ~visible).all()
        crop = Crop((0.0, 0.0), 30 * 1.2 / SIDE, is_mirrored)
        assert sample.camera is not None
        torch.testing.assert_close(sample.camera.rotation, cropped_camera(camera, crop).rotation)
        torch.testing.assert_close(sample.camera.focal, cropped_camera(camera, crop).focal)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    _, dataset = prepared(tmp_path, HalfHidden(names=("chair-0", "chair-blind", "chair-unknown", "chair-cutout")))
    stream = SampleStream(dataset, replace(REQUEST, amodal=False), DATA, 0)
    with pytest.raises(DataError, match="the camera of chair-blind#0 is not known"):
        list(stream.batches(0, 1, 0, 4))
    stream = SampleStream(dataset, replace(REQUEST, supervised_camera=False), DATA, 0)
    with pytest.raises(DataError, match="chair-unknown#0 has no amodal mask"):
        list(stream.batches(0, 1, 0, 4))
    # A cut-out has no background: with or without the flag, it is on white.
    batches = evaluation_batches(dataset, SampleRequest(SIDE, background=True), "train", DataConfig(batch_size=4))
    (batch,) = batches
    cut = batch["image"][batch.ids.index("chair-cutout#0")]
    assert (cut[:, 0] == 1).all()


def test_an_unknown_category_is_none_of_them(tmp_path: Path) -> None:
    _, dataset = prepared(tmp_path, HalfHidden(names=("chair-0", "lamp-1", "lamp-test", "desk-test")))
    request = SampleRequest(SIDE, category=True)
    batch = first(dataset, request, "test")
    assert dict(zip(batch.ids, batch["category"].tolist(), strict=True)) == {"desk-test#0": -1, "lamp-test#0": 1}
    (batch,) = evaluation_batches(dataset, request, "test", DATA, categories=("bed", "desk", "lamp"))
    assert dict(zip(batch.ids, batch["category"].tolist(), strict=True)) == {"desk-test#0": 1, "lamp-test#0": 2}
    assert dataset_info(dataset, DataConfig(categories=("lamp", "desk"))).categories == ("lamp",)


def test_nothing_hides_a_rendered_view(tiny: ShardedDataset) -> None:
    batch = first(tiny, SampleRequest(48, background=True, amodal=True, category=True, supervised_camera=True))
    assert torch.equal(batch["amodal"], batch["mask"])
    assert (batch["image"][batch["mask"].expand(-1, 3, -1, -1) == 0] == 1).all()
    assert batch.camera is not None


def test_an_image_of_a_user_is_seen_as_it_was_taken() -> None:
    rgba = np.full((SIDE, SIDE, 4), 90, np.uint8)
    rgba[..., 3] = 0
    rgba[(*VISIBLE, 3)] = 255
    sample = assemble_image(rgba, None, canonical_camera(), REQUEST, "mine")
    assert not {"amodal", "category"} & set(sample)
