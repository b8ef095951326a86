"""Images are refused by their headers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.pictures import open_picture, texture_pixels
from tests.core.inputs.hostile import encoded, picture_bomb

KINDS = ["PNG", "JPEG", "WEBP", "TIFF"]


@pytest.fixture
def never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(picture: Image.Image) -> None:
        raise AssertionError(f"{picture.size} pixels are decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_before_it_is_decoded(kind: str, never_decoded: None) -> None:
    data = picture_bomb(kind)
    assert len(data) < 50_000
    with pytest.raises(
        DataError, match=r"chair has 12000 x 12000 pixels, more than the limit of 100 million"
    ) as caught:
        open_picture(data, "chair")
    assert "smaller" in caught.value.remedy
    with pytest.raises(DataError, match="texture.png has 12000 x 12000 pixels"):
        texture_pixels(data, "texture.png")


def test_what_pillow_itself_calls_a_bomb_is_refused_with_our_limit() -> None:
    with pytest.raises(DataError, match="more pixels than the limit of 100 million"):
        open_picture(picture_bomb("WEBP", 16_000, 16_000), "chair")


def test_a_long_strip_is_refused(never_decoded: None) -> None:
    """It would be padded to a square."""
    strip = picture_bomb("PNG", 60_000, 1)
    assert open_picture(strip, "strip").size == (60_000, 1)
    with pytest.raises(DataError, match=r"strip has 60000 x 1 pixels, more than the limit of 10,000 along an edge"):
        open_picture(strip, "strip", max_side=limits.INPUT_SIDE_PX)


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_images_pass(kind: str) -> None:
    assert open_picture(encoded(np.zeros((30, 40, 3), np.uint8), kind), "chair").size == (40, 30)
    assert texture_pixels(encoded(np.zeros((30, 40, 3), np.uint8), kind), "chair") == 1200


def test_formats_that_run_programs_are_refused() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(DataError, match="format is not known"):
        open_picture(postscript, "chair.png")
    with pytest.raises(DataError, match="texture in the format EPS"):
        texture_pixels(postscript, "wood.png")
    assert texture_pixels(b"newmtl wood\nKd 1 1 1\n", "wood.mtl") == 0


def test_a_file_has_its_limit(tmp_path: Path) -> None:
    (tmp_path / "chair.png").write_bytes(bytes(11))
    assert limits.read_file(tmp_path / "chair.png", 11, "") == bytes(11)
    with pytest.raises(DataError, match=r"chair.png has .* MiB, more than the limit of"):
        limits.read_file(tmp_path / "chair.png", 10, "shrink it")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        limits.read_file(tmp_path / "table.png", 10, "")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        limits.read_file(tmp_path / "pipe.png", 10, "")
