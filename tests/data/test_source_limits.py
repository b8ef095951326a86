"""Images and annotations of a source that would cost gigabytes are set aside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.data.images import ingest
from raylift.data.images.precomputed_maps import _read
from raylift.data.prepare.splits import read_split_file
from raylift.data.sources.coco import CocoSource
from raylift.data.sources.image_reading import read_picture, sentence_beside
from raylift.data.sources.posed_images import _Canvas
from raylift.data.sources.sh3f import read_catalogue
from tests.core.inputs.hostile import encoded, frugal, npy, picture_bomb, zipped


def test_images_are_refused_by_their_headers(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(picture_bomb("PNG"))
    (tmp_path / "strip.png").write_bytes(picture_bomb("PNG", 60_000, 1))
    for name, words in (("bomb", "bomb.png has 12000 x 12000"), ("strip", "more than the limit of 20,000 along")):
        with pytest.raises(DataError, match=words) as caught:
            read_picture(tmp_path, f"{name}.png", 1 << 20, 100_000_000)
        assert "--max-megapixels" in caught.value.remedy


def test_a_box_far_larger_than_its_image_is_refused() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    part, _ = ingest._padded_part(picture, (-4.0, -4.0, 12.0, 12.0))
    assert part.shape == (16, 16, 4)
    with frugal(), pytest.raises(DataError, match="the square around the object has .* pixels, more than the limit"):
        ingest._padded_part(picture, (0.0, 0.0, 1e6, 1e6))
    with pytest.raises(DataError, match="the square around image and object has 1,000,000 pixels"):
        _Canvas(0, 0, 1_000_000)


def test_part_maps_are_refused_by_their_headers(tmp_path: Path) -> None:
    for name, data, words in (
        ("a.npy", npy((40, 30_000, 30_000)), "a.npy has 137,329 MiB, more than the limit of 512"),
        ("b.npy", npy((3, 900, 900)), "b.npy is cut short"),
        ("c.png", picture_bomb("PNG"), "c.png has 12000 x 12000 pixels"),
        ("d.npy", npy((2,), "|O", b"cos"), "d.npy cannot be read: it holds Python objects"),
    ):
        (tmp_path / name).write_bytes(data)
        with frugal(), pytest.raises(DataError, match=words):
            _read(tmp_path / name)
    (tmp_path / "e.png").write_bytes(encoded(np.ones((4, 4), np.uint8)))
    assert (_read(tmp_path / "e.png") == 1).all()


def test_annotation_files_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = tmp_path / "a.json"
    annotations.write_text(json.dumps({"images": [], "annotations": []}))
    (tmp_path / "a.txt").write_text("a chair\n")
    assert sentence_beside(tmp_path / "a.png") == "a chair"
    monkeypatch.setattr(limits.refuse_large_file, "__defaults__", (10,))
    monkeypatch.setattr(limits, "CAPTION_BYTES", 3)
    for read in (
        lambda: CocoSource(annotations, tmp_path).items(),
        lambda: read_split_file(annotations),
        lambda: sentence_beside(tmp_path / "a.png"),
    ):
        with pytest.raises(DataError, match=r"a\.(json|txt) has .* MiB, more than the limit of"):
            read()


def test_a_catalogue_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "x.sh3f"
    library.write_bytes(zipped({"PluginFurnitureCatalog.properties": b"id=x\n" + bytes(2 << 20)}))
    assert read_catalogue(library)[0]["id"] == "x"
    monkeypatch.setattr(limits, "CATALOGUE_BYTES", 1 << 20)
    (tmp_path / "y.sh3f").write_bytes(library.read_bytes())
    with pytest.raises(DataError, match="y.sh3f is not a furniture library: .* unpacks to 2.0 MiB, more than"):
        read_catalogue(tmp_path / "y.sh3f")
    (tmp_path / "z.sh3f").write_bytes(b"no zip")
    with pytest.raises(DataError, match="z.sh3f is not a furniture library"):
        read_catalogue(tmp_path / "z.sh3f")
