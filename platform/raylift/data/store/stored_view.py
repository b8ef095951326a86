"""The image that samples are cut from, rendered or photographed, and its crops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from scipy.ndimage import distance_transform_edt

from raylift.core.errors import DataError
from raylift.core.types import Camera, CropRequest


@dataclass(frozen=True)
class StoredView:
    """A square image with its annotations; coordinates are normalised.

    Attributes:
        id: sample id: ``object_id#view``.
        rgba: colour not premultiplied.
        camera: B = 1.
        depth: z in world units, 0 where nothing was hit.
        box: (left, top, right, bottom) of the object; None derives it from the silhouette.
        keypoints: u, v, and 1 where visible.
        parts: 0 to 255 per part, at any resolution; part 0 is the background.
        keypoint_mirror, part_mirror: see ``data.store.annotations``.
        amodal: coverage of the whole object, hidden parts included; None if unknown.
        has_background: whether the colours around the object are a photograph's.
    """

    id: str
    rgba: UInt8[np.ndarray, "S S 4"]
    camera: Camera | None = None
    depth: Float32[np.ndarray, "S S"] | None = None
    box: tuple[float, float, float, float] | None = None
    keypoints: Float32[np.ndarray, "K 3"] | None = None
    parts: UInt8[np.ndarray, "P h h"] | None = None
    keypoint_mirror: tuple[int, ...] = ()
    part_mirror: tuple[int, ...] = ()
    amodal: UInt8[np.ndarray, "S S"] | None = None
    has_background: bool = False

    @property
    def num_bytes(self) -> int:
        arrays = (self.rgba, self.depth, self.keypoints, self.parts, self.amodal)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class Crop:
    """A square window: its centre (u, v) and half its side, in normalised coordinates of the whole image."""

    center: tuple[float, float] = (0.0, 0.0)
    half: float = 1.0
    mirrored: bool = False


def silhouette_box(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """The normalised bounding box of the pixels that are more than half covered: left, top, right, bottom.

    Args:
        pixels: uint8 [H, W, 4], or coverage [H, W].

    Raises:
        DataError: no such pixel.
    """
    covered = (pixels if pixels.ndim == 2 else pixels[..., 3]) > 127
    columns, rows = np.flatnonzero(covered.any(axis=0)), np.flatnonzero(covered.any(axis=1))
    if len(columns) == 0:
        raise DataError("the silhouette has no area", "use an image whose alpha channel shows the object")
    height, width = covered.shape
    return (
        2 * float(columns[0]) / width - 1,
        2 * float(rows[0]) / height - 1,
        2 * float(columns[-1] + 1) / width - 1,
        2 * float(rows[-1] + 1) / height - 1,
    )


def draw_crop(box: tuple[float, float, float, float], request: CropRequest, rng: np.random.Generator | None) -> Crop:
    """The square around a padded and jittered box (CMR's and UMR's crops: padding and jitter 0.05).

    Always five draws in a fixed order: the four edges, then the mirror.

    Args:
        box: left, top, right, bottom, normalised.
        request: padding, jitter and mirroring.
        rng: generator keyed by (seed, epoch, id); None draws nothing.
    """
    shifts, coin = (np.zeros(4), 1.0) if rng is None else (rng.uniform(-1.0, 1.0, 4), rng.random())
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    out = request.padding + request.jitter * shifts
    left, top = left - out[0] * width, top - out[1] * height
    right, bottom = right + out[2] * width, bottom + out[3] * height
    half = max(right - left, bottom - top) / 2
    return Crop((float(left + right) / 2, float(top + bottom) / 2), float(half), bool(request.mirror and coin < 0.5))


def cropped_pixels(pixels: np.ndarray, crop: Crop, size_px: int) -> np.ndarray:
    """A window of uint8 [S, S, 4], [S, S, 3] or [S, S], resampled with an area mean (RGBA: weighted by coverage).

    Pixels outside of the image are 0.
    """
    side = pixels.shape[0]
    left, top = ((crop.center[axis] - crop.half + 1) / 2 * side for axis in (0, 1))
    width = crop.half * side
    # Pillow only accepts windows inside of the image, so the image is padded.
    border = int(np.ceil(max(0.0, -left, -top, left + width - side, top + width - side)))
    if border:
        pixels = np.pad(pixels, [(border, border), (border, border), *[(0, 0)] * (pixels.ndim - 2)])
    whole = side + 2 * border
    corners = (left + border, top + border, left + width + border, top + width + border)
    window = tuple(min(max(0.0, corner), float(whole)) for corner in corners)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    resized = np.asarray(image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=window))  # type: ignore[arg-type]
    return np.ascontiguousarray(resized[:, ::-1]) if crop.mirrored else resized


def cropped_depth(depth: np.ndarray, crop: Crop, size_px: int) -> np.ndarray:
    """Depth at the centres of the window's pixels, from the nearest stored pixel; 0 outside of the image."""
    side = depth.shape[0]
    offsets = (2 * np.arange(size_px) + 1) / size_px - 1
    sign = -1.0 if crop.mirrored else 1.0
    columns = np.floor((crop.center[0] + sign * crop.half * offsets + 1) / 2 * side).astype(np.int64)
    rows = np.floor((crop.center[1] + crop.half * offsets + 1) / 2 * side).astype(np.int64)
    inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[None]
    values = depth[rows.clip(0, side - 1)[:, None], columns.clip(0, side - 1)[None]]
    return np.where(inside, values, 0).astype(np.float32)


def cropped_keypoints(keypoints: np.ndarray, mirror: tuple[int, ...], crop: Crop) -> np.ndarray:
    """Keypoints [K, 3] in coordinates of the window; those outside of it are not visible."""
    moved = keypoints.astype(np.float32, copy=True)
    moved[:, :2] = (moved[:, :2] - np.array(crop.center, np.float32)) / np.float32(crop.half)
    if crop.mirrored:
        moved = moved[list(mirror)]
        moved[:, 0] *= -1
    moved[:, 2] *= (np.abs(moved[:, :2]) <= 1).all(axis=1)
    return moved


def cropped_camera(camera: Camera, crop: Crop) -> Camera:
    """The camera that sees the window; for a mirrored window, it sees the mirrored world (x to -x).

    With F = diag(-1, 1, 1): F (R x + t) = (F R F) (F x) + F t, so the image's u changes its sign.
    """
    center = torch.tensor(crop.center, dtype=camera.principal.dtype)
    focal, principal = camera.focal / crop.half, (camera.principal - center) / crop.half
    if not crop.mirrored:
        return replace(camera, focal=focal, principal=principal)
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=camera.rotation.dtype)
    return replace(
        camera,
        focal=focal,
        principal=principal * flip[:2],
        rotation=camera.rotation * flip * flip[:, None],
        translation=camera.translation * flip,
    )


def mask_distance(coverage: np.ndarray) -> Float32[np.ndarray, "1 H W"]:
    """Distance from each pixel centre to the nearest one inside of the silhouette, in half image sizes.

    Args:
        coverage: uint8 [H, W], square; pixels with 128 or more are inside, at distance 0.
    """
    outside = coverage < 128
    if outside.all():
        # No pixel is inside: the distance is the width of the image.
        return np.full((1, *coverage.shape), 2.0, np.float32)
    distance = distance_transform_edt(outside) * (2.0 / coverage.shape[1])
    return distance.astype(np.float32)[None]


def object_colors(rgba: np.ndarray) -> UInt8[np.ndarray, "3 H W"]:
    """The object's colours, extended over its background: outside, the colour of the nearest pixel inside.

    Inside are the fully covered pixels; if there are none, the half covered ones; if there are none, all pixels.

    Args:
        rgba: uint8 [H, W, 4], colour not premultiplied.
    """
    coverage = rgba[..., 3]
    least = next((level for level in (250, 128) if (coverage >= level).any()), 0)
    inside = coverage >= least
    rows, columns = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return np.ascontiguousarray(rgba[rows, columns, :3].transpose(2, 0, 1))
