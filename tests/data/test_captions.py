"""Captions from a source's files to batches, of images and of shapes, in training and in evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raylift.config.data import DataConfig
from raylift.core.captions import decode_captions, has_caption
from raylift.core.types import Batch, CropRequest, SampleRequest
from raylift.data.feed.batches import batch_of, stack
from raylift.data.feed.stream import SampleStream, evaluation_batches
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from tests.data.image_layouts import picture, save

REQUEST = SampleRequest(24, crop=CropRequest(0.05, 0.0, False), caption=True)
TEXTS = {"bird": "трясогузка на камне", "chair": "木の椅子", "cow": "A cow."}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    folder = tmp_path_factory.mktemp("captions")
    for name, text in TEXTS.items():
        save(folder / "in" / f"{name}.png", picture())
        (folder / "in" / f"{name}.txt").write_text(f"{text}\nmore\n", encoding="utf-8")
    save(folder / "in" / "silent_one.png", picture())
    config = ImagesConfig(image_px=48, min_object_px=4)
    ingest([open_source(f"cutouts:{folder / 'in'}")], str(folder / "out"), config, parallel="none")
    return ShardedDataset.open(folder / "out")


def by_name(batches: list[Batch]) -> dict[str, str]:
    return {
        Path(name.partition("#")[0]).stem: text
        for batch in batches
        for name, text in zip(batch.ids, decode_captions(batch["caption"]), strict=True)
    }


def test_training_and_evaluation_batches_carry_the_captions_of_images(images: ShardedDataset) -> None:
    wanted = {**TEXTS, "silent_one": "a silent one"}
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        if not images.entries(split):
            continue
        stream = SampleStream(images, REQUEST, DataConfig(batch_size=2), 0, split)
        trained = by_name(list(stream.batches(0, 1, 0, -(-len(images.entries(split)) // 2))))
        assert trained == by_name(list(evaluation_batches(images, REQUEST, split, DataConfig(batch_size=3))))
        found |= trained
    assert found == wanted


def test_a_caption_is_bytes_in_a_batch_and_only_on_request(images: ShardedDataset) -> None:
    stream = SampleStream(images, REQUEST, DataConfig(batch_size=2), 0)
    samples = [stream.sample(0), stream.sample(1)]
    assert batch_of(stack(samples))["caption"].dtype == torch.uint8
    silent = SampleStream(images, replace(REQUEST, caption=False), DataConfig(batch_size=2), 0)
    assert "caption" not in next(silent.batches(0, 1, 0, 1))


def test_an_empty_caption_is_zeros(images: ShardedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = images.entries()[0]
    monkeypatch.setitem(images._by_id, entry.id, replace(entry, caption=" "))
    (batch,) = evaluation_batches(images, REQUEST, entry.split, DataConfig(batch_size=9), entries=[entry])
    assert not has_caption(batch["caption"]).any()


def test_views_of_shapes_keep_the_captions_of_their_objects(tiny: ShardedDataset, tmp_path: Path) -> None:
    wanted = {entry.id: entry.caption for entry in tiny.entries()}
    (batch,) = evaluation_batches(tiny, SampleRequest(24, caption=True), "test", DataConfig(batch_size=50))
    own = dict(zip(batch.ids, decode_captions(batch["caption"]), strict=True))
    assert own == {name: wanted[name.partition("#")[0]] for name in batch.ids}
    config = ImagesConfig(image_px=32, min_object_px=4)
    ingest([open_source(f"shapes:{tiny.uri}#2")], str(tmp_path / "views"), config, parallel="none")
    views = ShardedDataset.open(tmp_path / "views")
    (batch,) = evaluation_batches(views, REQUEST, "test", DataConfig(batch_size=50))
    assert len(batch) > 1
    for name, text in zip(batch.ids, decode_captions(batch["caption"]), strict=True):
        assert text == wanted[name.partition("#")[0].rpartition("@")[0]]
