"""A user's images, with cameras and depths in sidecar files.

Next to ``chair.png`` there may be

* ``chair.depth.npy`` (float, world units along z, 0 where missing) or ``chair.depth.png`` (16 bit, steps of
  1e-4 world units);
* ``chair.json``, the camera, in one of three forms::

      {"azimuth_deg": 30, "elevation_deg": 20, "distance": 2.2, "fov_deg": 40}
      {"focal": [2.7, 2.7], "principal": [0, 0], "rotation": [[...], ...], "translation": [...]}
      {"intrinsics_px": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "rotation": [[...], ...], "translation": [...]}

  The second is ``core.types.Camera`` (with an optional "projection"), the third OpenCV's, for the image as
  stored.

A model that sees objects in front of their background (``SampleRequest.background``) takes photographs as they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.arrays import NPY_MAGIC, npy_shape, read_npy
from raylift.core.inputs.limits import read_file
from raylift.core.inputs.pictures import READ_ERRORS, SMALLER, open_picture
from raylift.core.types import Camera
from raylift.data.feed.depth_checks import check_depth
from raylift.data.feed.photographs import PixelBox, framed_photograph
from raylift.data.feed.user_picture import disguise, read_picture
from raylift.data.shapes.schema import DEPTH_STEP
from raylift.geometry.camera_conventions import PixelCamera, from_pixels
from raylift.geometry.cameras import canonical_camera, orbit

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_FILL = 0.8  # object size as a fraction of the image's side, without a camera: about that of prepared views
_CAMERA_REMEDY = "see raylift.data.feed.image_folder for the three forms of a camera"


@dataclass(frozen=True)
class InputImage:
    """One image to reconstruct.

    Attributes:
        name: file name without its suffix.
        rgba: uint8 [S, S, 4], square.
        depth: float32 [S, S] or None.
        camera: B = 1.
        camera_source: "sidecar", "canonical", or "model" for a photograph whose camera the model finds.
        notes: assumptions, for the user to read.
        has_mask: whether alpha is the object's mask; a photograph's covers all of it.
    """

    name: str
    rgba: np.ndarray
    depth: np.ndarray | None
    camera: Camera
    camera_source: str
    notes: tuple[str, ...] = ()
    has_mask: bool = True


def list_images(folder: Path) -> list[Path]:
    """The images of a folder (or the one image), sorted by name, without depth sidecars.

    Raises:
        DataError: no image, or two with the same name.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}", "pass a folder of images")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.stem.endswith(".depth") and not path.name.startswith(".")
    )
    if not found:
        raise DataError(f"{folder} contains no image", f"use files ending in {', '.join(SUFFIXES)}")
    twice = sorted({path.stem for path in found if [other.stem for other in found].count(path.stem) > 1})
    if twice:
        raise DataError(f"{folder} contains several images called {', '.join(twice)}", "rename them to be distinct")
    return found


def read_image(path: Path, background: bool = False, box: PixelBox | None = None) -> InputImage:
    """Read an image with its sidecars.

    Args:
        background, box: see ``make_input``.

    Raises:
        DataError: a file that cannot be read, an invalid camera, or a depth of another size or unit.
    """
    camera_file = path.with_suffix(".json")
    depth_files = [path.with_name(f"{path.stem}.depth{ending}") for ending in (".npy", ".png")]
    depth_file = next((candidate for candidate in depth_files if candidate.exists()), None)
    content = read_file(path, limits.INPUT_BYTES, SMALLER)
    image = make_input(
        path.stem,
        content,
        _text_of(camera_file) if camera_file.exists() else None,
        None if depth_file is None else read_file(depth_file, limits.INPUT_BYTES, SMALLER),
        background,
        box,
    )
    note = disguise(path.name, content)
    return replace(image, notes=(*image.notes, note)) if note else image


def make_input(
    name: str,
    image: bytes | Image.Image,
    camera: str | None = None,
    depth: bytes | None = None,
    background: bool = False,
    box: PixelBox | None = None,
) -> InputImage:
    """Like ``read_image``, from the contents of the files; the image may be open already.

    Sizes are checked before anything is decoded (``core.inputs.limits``), because files may come from a client of a
    served model. Without a camera, the object is cropped to its silhouette and assumed to be seen by the canonical
    camera; depth is then meaningless and rejected.

    Args:
        background: whether the model takes objects in front of their background. An image without transparent pixels is
            then a photograph, framed by ``photographs.framed_photograph``.
        box: around the object of a photograph.
    """
    _refuse_large_input(name, image, camera, depth)
    picture = read_picture(name, image, upright=camera is None)  # a camera is of the image as stored
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    rgba = np.array(picture.convert("RGBA"))
    if background and bool((rgba[..., 3] == 255).all()):
        return _photograph(name, picture, box, camera is not None or depth is not None)
    if box is not None:
        raise DataError(f"image {name} has a box, but is no photograph", "leave the box out: its alpha frames it")
    notes = [] if has_alpha else ["no alpha: the background is assumed to be white"]
    if not has_alpha:
        # White becomes background; a photograph's own background would count as the object.
        rgba[..., 3] = np.where((rgba[..., :3] > 250).all(-1), 0, 255)
    if not (rgba[..., 3] > 127).any():
        raise DataError(f"the silhouette of {name} has no area", "use an image whose alpha channel shows the object")
    if not has_alpha and (rgba[..., 3] == 255).mean() > 0.95:
        raise DataError(
            f"image {name} has no alpha channel and no white background, so its silhouette is unknown",
            "cut the object out and save it as PNG with alpha",
        )
    values = None if depth is None else _decode_depth(name, depth, (rgba.shape[0], rgba.shape[1]))
    if camera is None:
        if values is not None:
            raise DataError(f"image {name} has depth but no camera", f"put its camera in {name}.json: {_CAMERA_REMEDY}")
        notes.append("no camera: cropped to its silhouette and assumed to be seen by the canonical camera")
        return InputImage(
            name, _crop(rgba), None, canonical_camera().to("cpu", torch.float32), "canonical", tuple(notes)
        )
    height, width = rgba.shape[:2]
    given = parse_camera(camera, (height, width), name)
    if values is not None:
        notes += check_depth(name, values, rgba[..., 3] > 127, given)
        values = np.where(np.isfinite(values) & (values > 0), values, np.float32(0))
    side = max(height, width)
    if height != width:
        notes.append(f"padded from {width} x {height} to a square")
        rgba = _pad(rgba, side)
        values = None if values is None else _pad(values, side)
        given = _padded_camera(given, (height, width))
    return InputImage(name, rgba, values, given, "sidecar", tuple(notes))


def _photograph(name: str, picture: Image.Image, box: PixelBox | None, has_sidecars: bool) -> InputImage:
    rgba, framing = framed_photograph(name, picture, box)
    notes = [f"photograph without a mask: {framing}"]
    if has_sidecars:
        notes.append("its camera and depth are not read: the model finds where it was taken from")
    camera = canonical_camera().to("cpu", torch.float32)
    return InputImage(name, rgba, None, camera, "model", tuple(notes), has_mask=False)


def parse_camera(text: str, image_size: tuple[int, int], name: str = "") -> Camera:
    """Parse the camera of a sidecar.

    Args:
        text: JSON in one of the forms above.
        image_size: (height, width) in pixels.
        name: image name for errors.

    Raises:
        DataError: not JSON, an unknown form, wrong shapes, not a rotation.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it is not an object")
        if "azimuth_deg" in values:
            numbers = {key: float(value) for key, value in values.items()}
            camera = orbit(**numbers)
        else:
            rotation, translation = _tensor(values, "rotation", 3, 3), _tensor(values, "translation", 3)
            if "intrinsics_px" in values:
                intrinsics = _tensor(values, "intrinsics_px", 3, 3)
                camera = from_pixels(PixelCamera(intrinsics, rotation, translation), image_size)
            else:
                principal = _tensor({"principal": [0.0, 0.0], **values}, "principal", 2)
                projection = values.get("projection", "perspective")
                if projection not in ("perspective", "orthographic"):
                    raise ValueError(f"projection {projection!r}")
                camera = Camera(_tensor(values, "focal", 2), principal, rotation, translation, projection)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        missing = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"the camera of {name} cannot be read: {missing}", _CAMERA_REMEDY) from None
    rotation = camera.rotation[0].double()
    off = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max())
    if not off < 1e-3 or float(torch.linalg.det(rotation)) < 0:
        raise DataError(f"the camera of {name} has no proper rotation", "use an orthonormal matrix of determinant 1")
    if not bool(torch.isfinite(camera.focal).all()) or bool((camera.focal == 0).any()):
        raise DataError(f"the camera of {name} has focal length {camera.focal[0].tolist()}", _CAMERA_REMEDY)
    return camera.to("cpu", torch.float32)


def format_camera(camera: Camera) -> str:
    """Format a camera (B = 1) as the text of a sidecar."""
    values = {name: getattr(camera, name)[0].tolist() for name in ("focal", "principal", "rotation", "translation")}
    return json.dumps({**values, "projection": camera.projection}, indent=2)


def _tensor(values: dict[str, Any], name: str, *shape: int) -> torch.Tensor:
    tensor = torch.tensor(values[name], dtype=torch.float64)
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {shape}")
    return tensor[None]


def _text_of(camera_file: Path) -> str:
    return read_file(camera_file, limits.CAMERA_BYTES, _CAMERA_REMEDY).decode("utf-8", "replace")


def _refuse_large_input(name: str, image: bytes | Image.Image, camera: str | None, depth: bytes | None) -> None:
    if isinstance(image, bytes):
        limits.refuse_large(len(image), limits.INPUT_BYTES, f"image {name}", SMALLER)
    limits.refuse_large(len(depth or b""), limits.INPUT_BYTES, f"the depth of {name}", SMALLER)
    limits.refuse_large(len(camera or ""), limits.CAMERA_BYTES, f"the camera of {name}", _CAMERA_REMEDY)


def _decode_depth(name: str, stored: bytes, size: tuple[int, int]) -> np.ndarray:
    """float32 of the image's size, which is compared before anything is decoded."""

    def check(found: tuple[int, ...]) -> None:
        if found != size:
            raise DataError(f"the depth of {name} is {found}, its image {size}", "save both at the same size")

    what = f"the depth of {name}"
    if stored.startswith(NPY_MAGIC):
        check(npy_shape(stored, what, limits.INPUT_BYTES))
        values = read_npy(stored, what, limits.INPUT_BYTES)
        if values.dtype.kind not in "fiu":
            raise DataError(f"{what} is an array of {values.dtype}", "save it as float32")
        return values.astype(np.float32)
    picture = open_picture(stored, what, limits.INPUT_PIXELS, limits.INPUT_SIDE_PX)
    check((picture.height, picture.width))
    if not picture.mode.startswith("I"):
        raise DataError(
            f"the depth of {name} is an 8-bit image ({picture.mode}), with 256 values at most",
            f"use a 16-bit .png in steps of {DEPTH_STEP} world units, or a .npy in world units",
        )
    try:
        return np.asarray(picture, np.float32) * np.float32(DEPTH_STEP)
    except READ_ERRORS as error:
        raise DataError(f"{what} cannot be read: {error}", "use a .npy or a 16-bit .png") from None


def _pad(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.zeros((side, side, *pixels.shape[2:]), pixels.dtype)
    padded[top : top + height, left : left + width] = pixels
    return padded


def _padded_camera(camera: Camera, size: tuple[int, int]) -> Camera:
    height, width = size
    side = max(size)
    scale = torch.tensor([width / side, height / side])
    # Odd borders are a pixel wider at the right and bottom.
    shift = torch.tensor([2 * ((side - width) // 2) + width - side, 2 * ((side - height) // 2) + height - side]) / side
    return Camera(
        camera.focal * scale, camera.principal * scale + shift, camera.rotation, camera.translation, camera.projection
    )


def _crop(rgba: np.ndarray) -> np.ndarray:
    covered = rgba[..., 3] > 127
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    side = max(2, round(max(bottom - top, right - left) / _FILL))
    square = np.zeros((side, side, 4), np.uint8)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = rgba[top:bottom, left:right]
    return square
