"""Pictures that cannot be used, each with its reason; and those that can, whatever their suffix says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raylift.core.errors import DataError
from raylift.data.feed.image_folder import make_input, read_image
from raylift.data.feed.user_picture import read_picture


def pixels() -> np.ndarray:
    """A red bar on the left half of the upper rows, on white: upright, lying and mirrored differ."""
    rgb = np.full((40, 20, 3), 255, np.uint8)
    rgb[2:38, 2:8] = (200, 30, 30)
    return rgb


def encode(mode: str, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture = Image.fromarray(pixels())
    # Pillow converts to LAB by colour management alone; here the mode matters and not the colours.
    picture = Image.merge("LAB", picture.split()) if mode == "LAB" else picture.convert(mode)
    picture.save(content, kind, **options)
    return content.getvalue()


def frames(kind: str) -> bytes:
    more = [Image.fromarray(pixels() // (index + 2)) for index in range(2)]
    return encode("RGB", kind, save_all=True, append_images=more)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is an empty file"),
        (b"no image", "format is not known"),
        (b"\x00\x00\x00\x18ftypheic and so on", "a HEIC photograph"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04 ...", "a ZIP archive"),
        (encode("RGB", "png")[:70], "cannot be read"),
        (frames("gif"), "3 frames or pages"),
        (frames("png"), "3 frames or pages"),
        (frames("tiff"), "3 frames or pages"),
        (encode("CMYK", "jpeg"), "printing inks"),
        (encode("CMYK", "tiff"), "printing inks"),
        (encode("LAB", "tiff"), "colours of LAB"),
        (encode("I", "tiff"), "more than eight bits"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_cannot_be_used_is_named(content: bytes, words: str) -> None:
    for call in (lambda: read_picture("x", content, True), lambda: make_input("x", content)):
        with pytest.raises(DataError, match=words) as error:
            call()
        assert error.value.remedy


def test_one_frame_is_a_picture() -> None:
    for kind in ("gif", "png", "webp"):
        assert read_picture("x", encode("RGB", kind), True).size == (20, 40)
    # A phone's JPEG with a preview behind it.
    content = io.BytesIO()
    Image.fromarray(pixels()).save(content, "mpo", save_all=True, append_images=[Image.fromarray(pixels()[::2, ::2])])
    assert read_picture("x", content.getvalue(), True).size == (20, 40)


def test_a_lying_suffix_is_noted(tmp_path: Path) -> None:
    for name, kind, lies in (
        ("a.png", "jpeg", True),
        ("b.jpg", "jpeg", False),
        ("c.jpeg", "png", True),
        ("d", "png", False),
    ):
        (tmp_path / name).write_bytes(encode("RGB", kind, **({"quality": 100} if kind == "jpeg" else {})))
        notes = read_image(tmp_path / name).notes
        assert any(f"holds a {kind.upper()} image" in note for note in notes) == lies
    (tmp_path / "e.png").write_bytes(b"GIF, or so it says")
    with pytest.raises(DataError, match="format is not known"):
        read_image(tmp_path / "e.png")


def test_photographs_are_turned_upright_but_not_under_a_camera() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored rows are columns, from right to left
    stored = np.rot90(pixels())
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(content, "png", exif=exif)
    upright, plain = make_input("x", content.getvalue()), make_input("x", encode("RGB", "png"))
    np.testing.assert_array_equal(upright.rgba, plain.rgba)
    seen = make_input("x", content.getvalue(), '{"azimuth_deg": 0, "elevation_deg": 0}')
    inside = seen.rgba[10:30, :, :3]
    np.testing.assert_array_equal(inside, stored)
