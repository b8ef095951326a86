"""A user's images: what is read, what is assumed, what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.data.feed.image_folder import format_camera, list_images, make_input, parse_camera, read_image
from raylift.geometry.cameras import canonical_camera, orbit, project
from tests.core.inputs.hostile import frugal, npy, picture_bomb
from tests.reference.cameras import to_pixels


def disc(height: int = 40, width: int = 40, radius: int = 10, center: tuple[int, int] = (20, 20)) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[(rows - center[0]) ** 2 + (columns - center[1]) ** 2 < radius**2] = (200, 80, 40, 255)
    return rgba


def encode(pixels: np.ndarray, kind: str = "png") -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind)
    return stored.getvalue()


def test_a_folder_is_listed_without_its_sidecars(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "b.depth.png", "b.json", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in list_images(tmp_path)] == ["a.JPG", "b.png"]
    (tmp_path / "b.webp").write_bytes(b"")
    with pytest.raises(DataError, match="several images called b"):
        list_images(tmp_path)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        list_images(tmp_path / "nowhere")


def test_without_a_camera_the_object_is_centred_and_the_canonical_one_taken() -> None:
    image = make_input("x", encode(disc(60, 80, 8, (15, 60))))
    assert image.camera_source == "canonical"
    torch.testing.assert_close(image.camera.rotation, canonical_camera().rotation.float())
    rows, columns = np.nonzero(image.rgba[..., 3])
    side = image.rgba.shape[0]
    assert image.rgba.shape == (side, side, 4)
    assert abs(rows.min() - (side - 1 - rows.max())) <= 1
    assert abs(columns.min() - (side - 1 - columns.max())) <= 1
    assert (rows.max() + 1 - rows.min()) / side == pytest.approx(0.8, abs=0.06)
    assert "canonical" in image.notes[0]


def test_sidecars_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode(disc()))
    (tmp_path / "x.json").write_text('{"azimuth_deg": 30, "elevation_deg": 20, "distance": 2.5, "fov_deg": 35}')
    (tmp_path / "x.depth.png").write_bytes(encode(np.full((40, 40), 21000, np.uint16)))
    image = read_image(tmp_path / "x.png")
    assert image.camera_source == "sidecar"
    assert image.depth is not None
    np.testing.assert_allclose(image.depth, 2.1, rtol=1e-6)
    expected = orbit(30.0, 20.0, distance=2.5, fov_deg=35.0)
    torch.testing.assert_close(image.camera.translation, expected.translation.float())
    # A background that is infinitely far has no depth.
    np.save(tmp_path / "x.depth.npy", np.where(disc()[..., 3] > 0, 2.1, np.inf))
    image = read_image(tmp_path / "x.png")
    assert image.depth is not None
    np.testing.assert_allclose(image.depth, np.where(disc()[..., 3] > 0, 2.1, 0), rtol=1e-6)
    assert image.notes == ()


def test_the_three_forms_say_the_same() -> None:
    camera = orbit(40.0, 15.0)
    pixels = to_pixels(camera, (40, 40))
    opencv = {
        "intrinsics_px": pixels.intrinsics[0].tolist(),
        "rotation": camera.rotation[0].tolist(),
        "translation": camera.translation[0].tolist(),
    }
    for text in ('{"azimuth_deg": 40, "elevation_deg": 15}', format_camera(camera), json.dumps(opencv)):
        back = parse_camera(text, (40, 40))
        torch.testing.assert_close(back.focal, camera.focal.float())
        torch.testing.assert_close(back.principal, camera.principal.float(), atol=1e-6, rtol=0)
        torch.testing.assert_close(back.rotation, camera.rotation.float())


@pytest.mark.parametrize("size", [(40, 60), (61, 40), (40, 41)])
def test_padding_to_a_square_moves_the_camera_along(size: tuple[int, int]) -> None:
    height, width = size
    pixels = disc(height, width)
    text = format_camera(orbit(10.0, 20.0))
    image = make_input("x", encode(pixels), text)
    points = torch.tensor([[[0.1, 0.2, 0.3], [-0.3, 0.0, 0.2]]])
    before, _ = project(parse_camera(text, size), points)
    after, _ = project(image.camera, points)
    side = image.rgba.shape[0]
    top, left = (side - height) // 2, (side - width) // 2
    expected = (before[0] + 1) / 2 * torch.tensor([width, height]) + torch.tensor([left, top])
    torch.testing.assert_close((after[0] + 1) / 2 * side, expected, atol=1e-3, rtol=0)
    np.testing.assert_array_equal(image.rgba[top : top + height, left : left + width], pixels)


def test_images_without_alpha() -> None:
    white = disc()[..., :3].copy()
    white[disc()[..., 3] == 0] = 255
    image = make_input("x", encode(white))
    assert (image.rgba[..., 3] > 0).any()
    assert "no alpha" in image.notes[0]
    with pytest.raises(DataError, match="no alpha channel and no white background"):
        make_input("x", encode(np.full((20, 20, 3), 90, np.uint8)))


@pytest.mark.parametrize(
    ("image", "camera", "depth", "message"),
    [
        (b"", None, None, "x is an empty file"),
        (b"no image at all", None, None, "format is not known"),
        (encode(disc())[:120], None, None, "cannot be read"),
        (encode(disc() * 0), None, None, "silhouette of x has no area"),
        (encode(disc()), None, encode(np.ones((40, 40), np.uint16)), "depth but no camera"),
        (encode(disc()), "nonsense", None, "camera of x cannot be read"),
        (encode(disc()), "[1]", None, "camera of x cannot be read"),
        (encode(disc()), '{"focal": [1, 1]}', None, "it has no 'rotation'"),
        (encode(disc()), '{"azimuth_deg": 3, "roll": 1}', None, "camera of x cannot be read"),
        (encode(disc()), format_camera(orbit(0.0, 0.0)).replace("2.7", "0.0"), b"", "camera|depth"),
        (encode(disc()), '{"azimuth_deg": 3, "elevation_deg": 1}', b"bad", "depth of x cannot be read"),
        (
            encode(disc()),
            '{"azimuth_deg": 3, "elevation_deg": 1}',
            encode(np.ones((20, 20), np.uint16)),
            r"depth of x is \(20, 20\)",
        ),
        (
            encode(disc()),
            '{"focal": [1, 1], "rotation": [[2, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, 2]}',
            None,
            "no proper rotation",
        ),
    ],
)
def test_bad_input_is_named(image: bytes, camera: str | None, depth: bytes | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_input("x", image, camera, depth)


# --- limits: images to reconstruct may come from a client of a served model -------------------------------------------

CAMERA = '{"azimuth_deg": 3, "elevation_deg": 1}'


@pytest.mark.parametrize(
    ("image", "camera", "depth", "message"),
    [
        (picture_bomb("PNG"), None, None, "image x has 12000 x 12000 pixels, more than the limit of 64 million"),
        (picture_bomb("JPEG"), None, None, "image x has 12000 x 12000 pixels, more than the limit of 64 million"),
        (picture_bomb("PNG", 60_000, 1), None, None, "image x has 60000 x 1 pixels, more than the limit of 10,000"),
        (encode(disc()), " " * (2 << 20), None, "the camera of x has 2 MiB, more than the limit of 1"),
        (encode(disc()), "[" * 100_000, None, "the camera of x cannot be read"),
        (encode(disc()), CAMERA, picture_bomb("PNG"), "the depth of x has 12000 x 12000 pixels"),
        (encode(disc()), CAMERA, npy((30_000, 30_000)), r"the depth of x has 3,433 MiB, more than the limit of 128"),
        (encode(disc()), CAMERA, npy((40, 40)), "the depth of x is cut short"),
        (encode(disc()), CAMERA, npy((20, 20), content=bytes(1600)), r"the depth of x is \(20, 20\), its image"),
        (encode(disc()), CAMERA, npy((1,), "|O", b"cos"), "the depth of x cannot be read: it holds Python objects"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_decoded(
    image: bytes, camera: str | None, depth: bytes | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = ImageFile.ImageFile.load

    def load(picture: ImageFile.ImageFile) -> Any:
        assert picture.width * picture.height < 10_000, "it is decoded"
        return decoded(picture)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with frugal(), pytest.raises(DataError, match=message) as caught:
        make_input("x", image, camera, depth)
    assert caught.value.remedy


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encode(disc()))
    (tmp_path / "x.json").write_bytes(bytes(2 << 20))
    with pytest.raises(DataError, match="x.json has 2 MiB, more than the limit of 1"):
        read_image(tmp_path / "x.png")
    monkeypatch.setattr(limits, "INPUT_BYTES", 10)
    with pytest.raises(DataError, match="x.png has"):
        read_image(tmp_path / "x.png")
