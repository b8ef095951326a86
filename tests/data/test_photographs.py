"""Photographs without a mask: how they are framed, and which images are photographs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from raylift.core.errors import DataError
from raylift.data.feed.image_folder import make_input
from raylift.data.feed.photographs import BOX_FILL, framed_photograph

CAMERA = '{"azimuth_deg": 30, "elevation_deg": 20}'


def photograph(width: int = 60, height: int = 40) -> Image.Image:
    """Red is the column, green the row."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([columns, rows, np.full_like(rows, 9)]).astype(np.uint8))


def encode(picture: Image.Image, kind: str = "png", **options: object) -> bytes:
    stored = io.BytesIO()
    picture.save(stored, kind, **options)
    return stored.getvalue()


def test_the_middle_square_is_taken() -> None:
    image = make_input("x", encode(photograph()), background=True)
    assert image.rgba.shape == (40, 40, 4)
    assert image.rgba[0, 0].tolist() == [10, 0, 9, 255]
    assert image.rgba[-1, -1].tolist() == [49, 39, 9, 255]
    assert (image.has_mask, image.camera_source) == (False, "model")
    assert "the middle 40 x 40 of 60 x 40 pixels" in image.notes[0]


def test_a_box_is_in_the_middle_of_its_square() -> None:
    rgba, note = framed_photograph("x", photograph(), (20, 10, 44, 22))
    side = round(24 / BOX_FILL)
    assert rgba.shape == (side, side, 4)
    assert rgba[side // 2, side // 2, :2].tolist() == [32, 16]
    assert (rgba[..., 3] == 255).all()
    assert f"{side} x {side}" in note
    # The square starts four rows above the photograph, whose first row continues.
    assert rgba[:5, 0, 1].tolist() == [0, 0, 0, 0, 0]
    assert rgba[5, 0, :2].tolist() == [12, 1]


def test_a_box_must_fit() -> None:
    for box in ((-1, 0, 5, 5), (5, 0, 5, 5), (0, 9, 5, 8), (0, 0, 61, 5), (0, 0, 5, 41)):
        with pytest.raises(DataError, match="which is 60 x 40"):
            framed_photograph("x", photograph(), box)


def test_a_turned_photograph_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    image = make_input("x", encode(photograph(), "jpeg", exif=exif, quality=100), background=True)
    assert int(image.rgba[20, -1, 1]) < int(image.rgba[20, 0, 1]) - 30


def test_only_models_that_want_a_background_take_photographs() -> None:
    with pytest.raises(DataError, match="no alpha channel and no white background"):
        make_input("x", encode(photograph()))
    cutout = photograph().convert("RGBA")
    cutout.putalpha(Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), ((10, 10), (20, 20)))))
    image = make_input("x", encode(cutout), background=True)
    assert (image.has_mask, image.camera_source) == (True, "canonical")
    with pytest.raises(DataError, match="is no photograph"):
        make_input("x", encode(cutout), background=True, box=(0, 0, 5, 5))
    opaque = make_input("x", encode(photograph().convert("RGBA")), background=True)
    assert not opaque.has_mask


def test_sidecars_of_a_photograph_are_said_to_be_ignored() -> None:
    image = make_input("x", encode(photograph()), CAMERA, background=True)
    assert image.camera_source == "model"
    assert any("not read" in note for note in image.notes)
