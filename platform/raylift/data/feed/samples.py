"""Samples as a model requests them: from a stored view and its object, or from a user's image.

What depends on the view alone is computed once and may be cached (``prepare_view``); only draws are made per sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.types import Camera, SampleRequest, VoxelRequest
from raylift.data.feed.batches import Sample, on_white
from raylift.data.feed.depth_checks import check_depth
from raylift.data.shapes.clouds import visible_cloud
from raylift.data.shapes.record import ObjectRecord
from raylift.data.shapes.schema import GRID_RESOLUTION, TRUNCATION, sample_columns
from raylift.data.store.stored_view import (
    Crop,
    StoredView,
    cropped_camera,
    cropped_depth,
    cropped_keypoints,
    cropped_pixels,
    draw_crop,
    mask_distance,
    object_colors,
    silhouette_box,
)
from raylift.geometry.voxels import SparseGrid, bin_cells, cell_indices, voxelize_sparse

_CLOUD = ["cloud_points", "cloud_colors"]


def needed_columns(request: SampleRequest, num_sigmas: int) -> list[str]:
    """The columns of the objects table that the request reads."""
    names: list[str] = []
    if request.num_points:
        names += [column.name for index in range(num_sigmas) for column in sample_columns(index)]
    if request.num_iou_points:
        names += ["iou_points", "iou_inside"]
    if request.num_told_points:
        names += _CLOUD
    if request.voxels is not None:
        sources: dict[str, list[str]] = {
            "surface": _CLOUD,
            "gt_occupancy": ["occupancy32"],
            "gt_sdf": ["sdf32"],
        }
        names += sources.get(request.voxels.source, [])
    return list(dict.fromkeys(names))


def asks_for_shape(request: SampleRequest) -> bool:
    """Whether the request needs more than an object's image."""
    return bool(request.num_points or request.num_iou_points or request.num_told_points or request.voxels is not None)


@dataclass(frozen=True)
class VisiblePoints:
    """The visible points of a view, from which a grid is drawn: cells [N] (-1: outside of it), RGB uint8 [N, 3]."""

    cells: np.ndarray
    colors: np.ndarray

    @property
    def num_bytes(self) -> int:
        return self.cells.nbytes + self.colors.nbytes


@dataclass(frozen=True)
class PreparedView:
    """The part of a sample that depends on its view and the request, without any draw.

    Attributes:
        fields: identity and, unless each sample draws its own crop, all fields computed from pixels.
        picture: view that crops are drawn from; None if no crop is drawn.
        visible: if the request conditions on visible points: their grid, or the points if each sample draws a subset.
    """

    fields: Sample
    picture: StoredView | None
    visible: SparseGrid | VisiblePoints | None

    @property
    def num_bytes(self) -> int:
        arrays = sum(value.nbytes for value in self.fields.values() if isinstance(value, np.ndarray))
        return arrays + sum(0 if part is None else part.num_bytes for part in (self.picture, self.visible))


def prepare_view(picture: StoredView, request: SampleRequest) -> PreparedView:
    """The part of ``assemble`` that is the same for every sample of this picture.

    Raises:
        DataError: a silhouette without area; no visible point although the request conditions on them or needs depth;
            missing keypoints, parts or camera that it requests.
    """
    if not (picture.rgba[..., 3] > 127).any():
        raise DataError(
            f"the silhouette of {picture.id} has no area", "use an image whose alpha channel shows the object"
        )
    if request.truth and picture.camera is None:
        raise DataError(f"the camera of {picture.id} is not known", "score this data set without cameras")
    if request.depth:
        _require_depth(picture)
    fields: Sample = {"id": picture.id, "key": np.int64(stable_hash(picture.id))}
    voxels = request.voxels
    visible = None if voxels is None or voxels.source != "visible" else _visible_points(picture, voxels)
    if request.crop is None:
        return PreparedView(fields | _pixel_fields(picture, None, request), None, visible)
    picture = picture if picture.box is not None else replace(picture, box=silhouette_box(picture.rgba))
    if request.crop.is_drawn:
        return PreparedView(fields, picture, visible)
    return PreparedView(fields | _drawn_crop(picture, request, None), None, visible)


def _require_depth(picture: StoredView) -> None:
    if picture.depth is None or picture.camera is None:
        raise DataError(f"{picture.id} has no depth or no camera", "use a recipe conditioned on the image alone")
    if not ((picture.depth > 0) & (picture.rgba[..., 3] > 0)).any():
        raise DataError(f"{picture.id} has no visible point", "check its depth and silhouette: one of them is empty")
    check_depth(picture.id, picture.depth, picture.rgba[..., 3] > 127, picture.camera)


def view_part(request: SampleRequest) -> str:
    """The part of a request that a prepared view depends on: requests with equal parts may share the view."""
    voxels = request.voxels if request.voxels is not None and request.voxels.source == "visible" else None
    return repr(replace(request, num_points=0, num_iou_points=0, num_told_points=0, image_index=False, voxels=voxels))


def assemble(
    record: ObjectRecord,
    view: StoredView | PreparedView,
    request: SampleRequest,
    rng: np.random.Generator,
    crop_rng: np.random.Generator | None = None,
) -> Sample:
    """Assemble one sample of a stored view, from which ``batches.batch_of`` makes the fields of ``core.types.Batch``.

    Draws are made in a fixed order: supervised points first, then the conditioning. Supervised points come equally from
    all noise levels, ``num_points // levels`` each (the first levels take the remainder). "surface" voxels and told
    points are one draw of the merged cloud; "visible" voxels draw at most ``voxels.num_points`` of the view's pixels.

    Args:
        record: object record, loaded with ``needed_columns``.
        view: view of the same object, as stored, or prepared with the same request.
        request: fields that the model requests.
        rng: generator keyed by what the sample is drawn for (law 3).
        crop_rng: the same, for the crop; required if the request's crop is drawn.

    Raises:
        DataError: the data set lacks a requested field; a silhouette without area.
    """
    prepared = prepare_view(view, request) if isinstance(view, StoredView) else view
    sample = dict(prepared.fields)
    if prepared.picture is not None:
        assert crop_rng is not None, "a drawn crop needs a generator"
        sample |= _drawn_crop(prepared.picture, request, crop_rng)
    if request.num_points:
        sample |= _supervised_points(record, request.num_points, rng)
    picked = _picked_of_cloud(record, request, rng)
    if picked is not None and request.num_told_points:
        sample |= _told_points(record, picked, request.num_told_points)
    if request.voxels is not None:
        sample["voxels"] = _voxels(record, prepared, request.voxels, picked, rng)
    if request.num_iou_points:
        sample |= _iou_points(record, request.num_iou_points)
    return sample


def assemble_image(
    rgba: np.ndarray,
    depth: np.ndarray | None,
    camera: Camera,
    request: SampleRequest,
    image_id: str,
    seed: int = 0,
) -> Sample:
    """One sample of a user's image, for reconstruction: image, mask, depth, voxels and camera.

    Args:
        rgba: uint8 [H, W, 4], square; coverage is the mask.
        depth: float [H, W], z in world units, 0 where missing; None if the image has no depth.
        camera: B = 1.
        request: fields that the model requests; supervision and crop draws are ignored.
        image_id: sample name.
        seed: seed of the draw of visible points.

    Raises:
        DataError: a silhouette without area; the request conditions on visible points but the image has no depth, or
            on the true shape, which an image does not have.
    """
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.shape[0] != rgba.shape[1]:
        raise DataError(
            f"image {image_id} has shape {rgba.shape}, not [S, S, 4]", "crop it square and give it an alpha channel"
        )
    voxels = request.voxels
    told = "surface" if request.num_told_points else "" if voxels is None else voxels.source
    if told not in ("", "visible"):
        raise DataError(
            f"the recipe conditions on {told!r}, which image {image_id} does not have",
            "use a recipe conditioned on the image or on visible points",
        )
    if (voxels is not None or request.depth) and depth is None:
        raise DataError(
            f"the recipe conditions on visible points, and image {image_id} has no depth",
            "put a depth image next to it, or use a recipe conditioned on the image alone",
        )
    known = np.zeros(rgba.shape[:2], np.float32) if depth is None else depth
    asked = SampleRequest(
        request.image_px,
        voxels=voxels,
        crop=request.crop,
        mask_distance=request.mask_distance,
        depth=request.depth,
        object_colors=request.object_colors,
    )
    prepared = prepare_view(StoredView(image_id, rgba, camera, known), asked.without_draws())
    sample = dict(prepared.fields)
    if voxels is not None:
        rng = np.random.Generator(np.random.Philox(key=stable_hash(seed, image_id, "visible")))
        assert prepared.visible is not None
        sample["voxels"] = _drawn_grid(prepared.visible, voxels, rng)
    return sample


def _drawn_crop(picture: StoredView, request: SampleRequest, rng: np.random.Generator | None) -> Sample:
    assert request.crop is not None
    assert picture.box is not None
    crop = draw_crop(picture.box, request.crop, rng)
    return _pixel_fields(picture, crop, request) | {"mirrored": np.float32(crop.mirrored)}


def _pixel_fields(picture: StoredView, crop: Crop | None, request: SampleRequest) -> Sample:
    """All fields computed from pixels; without a crop, from the whole image."""
    size = request.image_px
    rgba = resized_rgba(picture.rgba, size) if crop is None else cropped_pixels(picture.rgba, crop, size)
    fields: Sample = {"rgba": rgba}
    if picture.depth is not None:
        depth = nearest_resized(picture.depth, size) if crop is None else cropped_depth(picture.depth, crop, size)
        fields["depth"] = depth[None]
    window = crop or Crop()
    if request.mask_distance:
        fields["mask_distance"] = mask_distance(rgba[..., 3])
    if request.object_colors:
        fields["object_colors"] = object_colors(rgba)
    if request.keypoints:
        if picture.keypoints is None:
            raise DataError(f"{picture.id} has no keypoints", "use a data set or a recipe without them")
        fields["keypoints"] = cropped_keypoints(picture.keypoints, picture.keypoint_mirror, window)
    if request.parts:
        if picture.parts is None:
            raise DataError(f"{picture.id} has no part maps", "add them with jobs/segment_parts.py")
        parts = np.stack([cropped_pixels(part, window, size) for part in picture.parts])
        fields["parts"] = parts[list(picture.part_mirror)] if window.mirrored else parts
    if picture.camera is not None:
        camera = picture.camera if crop is None else cropped_camera(picture.camera, crop)
        fields |= {
            "camera_focal": camera.focal[0].numpy(),
            "camera_principal": camera.principal[0].numpy(),
            "camera_rotation": camera.rotation[0].numpy(),
            "camera_translation": camera.translation[0].numpy(),
            "camera_projection": camera.projection,
        }
    return fields


def resized_rgba(rgba: np.ndarray, image_px: int) -> np.ndarray:
    """Average an image over each new pixel's area, colours weighted by coverage: uint8 [S, S, 4], not premultiplied."""
    picture = Image.fromarray(rgba)
    if picture.size != (image_px, image_px):
        # Pillow weights RGBA by alpha when it resizes; BOX is the exact area mean if the sizes divide.
        divides = picture.width % image_px == 0 and picture.height % image_px == 0
        picture = picture.resize((image_px, image_px), Image.Resampling.BOX if divides else Image.Resampling.BILINEAR)
    return np.asarray(picture)


def composited(rgba: np.ndarray, image_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The resized image on white [3, S, S] and its coverage [1, S, S], float32 in [0, 1].

    Args:
        rgba: uint8 [H, W, 4], colour not premultiplied.
    """
    return on_white(resized_rgba(rgba, image_px))


def nearest_resized(depth: np.ndarray, image_px: int) -> np.ndarray:
    """Depth at the new pixels' centres, from the nearest old pixel: depths are never averaged. float32 [S, S]."""
    height, width = depth.shape
    rows = ((np.arange(image_px) + 0.5) * height / image_px).astype(np.int64)
    columns = ((np.arange(image_px) + 0.5) * width / image_px).astype(np.int64)
    return np.ascontiguousarray(depth[rows[:, None], columns[None]], np.float32)


def _supervised_points(record: ObjectRecord, count: int, rng: np.random.Generator) -> Sample:
    levels = record.samples
    parts = []
    for index, level in enumerate(levels):
        share = count // len(levels) + (index < count % len(levels))
        parts.append(level.take(rng.integers(0, len(level), share)))
    points, sdf, color = (np.concatenate([part[field] for part in parts]) for field in range(3))
    return {"points": points, "sdf": sdf, "color": color}


def _iou_points(record: ObjectRecord, count: int) -> Sample:
    points, inside = record.iou_points, record.iou_inside
    if count > len(points):
        raise DataError(
            f"{record.id} has {len(points)} IoU points, {count} are requested", "prepare with a larger --iou-points"
        )
    # Stored points are independent draws, so the first ``count`` are as good as any, and always the same.
    return {"iou_points": points[:count], "iou_inside": inside[:count].astype(np.float32)}


def _picked_of_cloud(record: ObjectRecord, request: SampleRequest, rng: np.random.Generator) -> np.ndarray | None:
    """Indices of the merged cloud's points that a sample is conditioned on, at most all; None if it uses none."""
    voxels = request.voxels if request.voxels is not None and request.voxels.source == "surface" else None
    count = request.num_told_points or (0 if voxels is None else voxels.num_points)
    if not count:
        return None
    assert voxels is None or voxels.num_points == count, "voxels and told points are one draw"
    total = len(record.stored("cloud_points"))
    return rng.choice(total, min(count, total), replace=False)


def _told_points(record: ObjectRecord, picked: np.ndarray, count: int) -> Sample:
    """The picked points, repeated up to ``count``, since all samples of a batch need the same number."""
    picked = np.resize(picked, count)
    return {
        "told_points": record.picked("cloud_points", picked),
        "told_colors": record.stored("cloud_colors")[picked],
    }


def _voxels(
    record: ObjectRecord,
    prepared: PreparedView,
    request: VoxelRequest,
    picked: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray | SparseGrid:
    if request.source == "visible":
        assert prepared.visible is not None, "the view was prepared by another request"
        return _drawn_grid(prepared.visible, request, rng)
    if request.source == "surface":
        assert picked is not None
        points, colors = record.picked("cloud_points", picked), record.picked("cloud_colors", picked)
        return voxelize_sparse(points, colors, request.resolution, request.encoding)
    if request.resolution != GRID_RESOLUTION:
        raise DataError(
            f"grids of the true shape are stored at {GRID_RESOLUTION}^3, {request.resolution}^3 is requested",
            f"set model.conditioning.resolution={GRID_RESOLUTION}",
        )
    if request.source == "gt_occupancy":
        return record.occupancy32[None]
    # Scaled to [-1, 1], which suits a network better than [-0.1, 0.1].
    return record.sdf32[None].clip(-TRUNCATION, TRUNCATION) / np.float32(TRUNCATION)


def _visible_points(picture: StoredView, request: VoxelRequest) -> SparseGrid | VisiblePoints:
    _require_depth(picture)
    assert picture.depth is not None
    assert picture.camera is not None
    points, colors = visible_cloud(picture.rgba, picture.depth, picture.camera)
    cells, _ = cell_indices(points, request.resolution)
    if len(points) <= request.num_points:
        return bin_cells(cells, colors, request.resolution, request.encoding)
    return VisiblePoints(cells.astype(np.int32), (colors * 255 + 0.5).astype(np.uint8))


def _drawn_grid(visible: SparseGrid | VisiblePoints, request: VoxelRequest, rng: np.random.Generator) -> SparseGrid:
    if isinstance(visible, SparseGrid):
        return visible
    picked = rng.choice(len(visible.cells), request.num_points, replace=False)
    colors = visible.colors[picked].astype(np.float32) / np.float32(255.0)
    return bin_cells(visible.cells[picked], colors, request.resolution, request.encoding)
