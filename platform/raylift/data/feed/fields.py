"""The fields of a sample: one function each, from a stored view or from an object record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raylift.core.errors import DataError
from raylift.core.types import SampleRequest, VoxelRequest
from raylift.data.feed.batches import Sample, on_white
from raylift.data.feed.depth_checks import check_depth
from raylift.data.feed.resizing import nearest_resized, resized_pixels, resized_rgba
from raylift.data.shapes.clouds import visible_cloud
from raylift.data.shapes.record import ObjectRecord
from raylift.data.shapes.schema import GRID_RESOLUTION, TRUNCATION
from raylift.data.store.stored_view import (
    Crop,
    StoredView,
    cropped_camera,
    cropped_depth,
    cropped_keypoints,
    cropped_pixels,
    mask_distance,
    object_colors,
)
from raylift.geometry.voxels import SparseGrid, bin_cells, cell_indices, voxelize_sparse

# --- from a view's pixels -------------------------------------------------------------------------------------------


def pixel_fields(view: StoredView, crop: Crop | None, request: SampleRequest) -> Sample:
    """All fields of a view that are computed from pixels; without a crop, from the whole image.

    Raises:
        DataError: the view lacks keypoints, part maps or an amodal mask that are requested.
    """
    image = rgba(view, crop, request.image_px)
    fields: Sample = {"rgba": image}
    if request.background:
        fields = {"photograph": photograph(view, crop, request.image_px)}
    if request.amodal:
        fields["amodal"] = amodal(view, crop, request.image_px)[None]
    if view.depth is not None:
        fields["depth"] = depth(view.depth, crop, request.image_px)
    if request.mask_distance:
        fields["mask_distance"] = mask_distance(image[..., 3])
    if request.object_colors:
        fields["object_colors"] = object_colors(image)
    if request.keypoints:
        fields["keypoints"] = keypoints(view, crop or Crop())
    if request.parts:
        fields["parts"] = parts(view, crop or Crop(), request.image_px)
    return fields | camera_fields(view, crop)


def rgba(view: StoredView, crop: Crop | None, image_px: int) -> np.ndarray:
    """The image at the requested size: uint8 [S, S, 4], not premultiplied."""
    return resized_rgba(view.rgba, image_px) if crop is None else cropped_pixels(view.rgba, crop, image_px)


def photograph(view: StoredView, crop: Crop | None, image_px: int) -> np.ndarray:
    """The image with its background, white if it has none, and the mask: uint8 [S, S, 4]."""
    if not view.has_background:
        image, coverage = on_white(rgba(view, crop, image_px))
        return (np.concatenate([image, coverage]).transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    # Apart, because colours of RGBA are weighted by coverage when it is resized.
    parts = (np.ascontiguousarray(view.rgba[..., :3]), view.rgba[..., 3])
    return np.dstack([_resized(part, crop, image_px) for part in parts])


def amodal(view: StoredView, crop: Crop | None, image_px: int) -> np.ndarray:
    """Coverage of the whole object at the requested size: uint8 [S, S].

    Raises:
        DataError: it is not known.
    """
    if view.amodal is None:
        raise DataError(
            f"{view.id} has no amodal mask",
            "use a data set with masks of whole objects, such as --source scenes:SHAPES",
        )
    return _resized(view.amodal, crop, image_px)


def _resized(pixels: np.ndarray, crop: Crop | None, image_px: int) -> np.ndarray:
    return resized_pixels(pixels, image_px) if crop is None else cropped_pixels(pixels, crop, image_px)


def depth(stored: np.ndarray, crop: Crop | None, image_px: int) -> np.ndarray:
    """Depth at the requested size, in world units: float32 [1, S, S]."""
    return (nearest_resized(stored, image_px) if crop is None else cropped_depth(stored, crop, image_px))[None]


def keypoints(view: StoredView, crop: Crop) -> np.ndarray:
    """Keypoints in the crop's normalised coordinates."""
    if view.keypoints is None:
        raise DataError(f"{view.id} has no keypoints", "use a data set or a recipe without them")
    return cropped_keypoints(view.keypoints, view.keypoint_mirror, crop)


def parts(view: StoredView, crop: Crop, image_px: int) -> np.ndarray:
    """Part maps [K, S, S]; a mirrored crop exchanges left and right parts."""
    if view.parts is None:
        raise DataError(f"{view.id} has no part maps", "add them with raylift segment-parts")
    maps = np.stack([cropped_pixels(part, crop, image_px) for part in view.parts])
    return maps[list(view.part_mirror)] if crop.mirrored else maps


def camera_fields(view: StoredView, crop: Crop | None) -> Sample:
    """The camera of the (cropped) image; no field if it is unknown."""
    if view.camera is None:
        return {}
    camera = view.camera if crop is None else cropped_camera(view.camera, crop)
    return {
        "camera_focal": camera.focal[0].numpy(),
        "camera_principal": camera.principal[0].numpy(),
        "camera_rotation": camera.rotation[0].numpy(),
        "camera_translation": camera.translation[0].numpy(),
        "camera_projection": camera.projection,
    }


# --- from an object's record ----------------------------------------------------------------------------------------


def supervised_points(record: ObjectRecord, count: int, rng: np.random.Generator) -> Sample:
    """Stored points near the surface with distance and colour, drawn equally from all noise levels.

    Each level yields ``count // levels`` points; the first levels take the remainder.
    """
    levels = record.samples
    parts = []
    for index, level in enumerate(levels):
        share = count // len(levels) + (index < count % len(levels))
        parts.append(level.take(rng.integers(0, len(level), share)))
    points, sdf, color = (np.concatenate([part[field] for part in parts]) for field in range(3))
    return {"points": points, "sdf": sdf, "color": color}


def iou_points(record: ObjectRecord, count: int) -> Sample:
    """The first ``count`` of the stored points with known occupancy."""
    points, inside = record.iou_points, record.iou_inside
    if count > len(points):
        raise DataError(
            f"{record.id} has {len(points)} IoU points, {count} are requested", "prepare with a larger --iou-points"
        )
    # Stored points are independent draws, so the first ``count`` are as good as any, and always the same.
    return {"iou_points": points[:count], "iou_inside": inside[:count].astype(np.float32)}


def picked_of_cloud(record: ObjectRecord, request: SampleRequest, rng: np.random.Generator) -> np.ndarray | None:
    """Indices of the merged cloud's points that a sample is conditioned on, at most all; None if it uses none."""
    voxels = request.voxels if request.voxels is not None and request.voxels.source == "surface" else None
    count = request.num_told_points or (0 if voxels is None else voxels.num_points)
    if not count:
        return None
    assert voxels is None or voxels.num_points == count, "voxels and told points are one draw"
    total = len(record.stored("cloud_points"))
    return rng.choice(total, min(count, total), replace=False)


def told_points(record: ObjectRecord, picked: np.ndarray, count: int) -> Sample:
    """The picked points, repeated up to ``count``, since all samples of a batch need the same number."""
    picked = np.resize(picked, count)
    return {
        "told_points": record.picked("cloud_points", picked),
        "told_colors": record.stored("cloud_colors")[picked],
    }


# --- voxel grids ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VisiblePoints:
    """The visible points of a view, from which a grid is drawn: cells [N] (-1: outside of it), RGB uint8 [N, 3]."""

    cells: np.ndarray
    colors: np.ndarray

    @property
    def num_bytes(self) -> int:
        return self.cells.nbytes + self.colors.nbytes


def voxel_grid(
    record: ObjectRecord,
    visible: SparseGrid | VisiblePoints | None,
    request: VoxelRequest,
    picked: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray | SparseGrid:
    """The grid that a sample is conditioned on, from the source that the request names.

    Args:
        visible: the view's visible points; required if they are the source.
        picked: indices of the cloud's points; required if the surface is the source.
    """
    if request.source == "visible":
        assert visible is not None, "the view was prepared by another request"
        return drawn_grid(visible, request, rng)
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


def visible_points(picture: StoredView, request: VoxelRequest) -> SparseGrid | VisiblePoints:
    """The view's visible points, already as their grid if all of them are used."""
    require_depth(picture)
    assert picture.depth is not None
    assert picture.camera is not None
    points, colors = visible_cloud(picture.rgba, picture.depth, picture.camera)
    cells, _ = cell_indices(points, request.resolution)
    if len(points) <= request.num_points:
        return bin_cells(cells, colors, request.resolution, request.encoding)
    return VisiblePoints(cells.astype(np.int32), (colors * 255 + 0.5).astype(np.uint8))


def drawn_grid(visible: SparseGrid | VisiblePoints, request: VoxelRequest, rng: np.random.Generator) -> SparseGrid:
    """The grid of a draw of the visible points."""
    if isinstance(visible, SparseGrid):
        return visible
    picked = rng.choice(len(visible.cells), request.num_points, replace=False)
    colors = visible.colors[picked].astype(np.float32) / np.float32(255.0)
    return bin_cells(visible.cells[picked], colors, request.resolution, request.encoding)


def require_depth(picture: StoredView) -> None:
    """Check that a view has depth, a camera and a visible point.

    Raises:
        DataError: one is missing, or the depth does not fit the camera.
    """
    if picture.depth is None or picture.camera is None:
        raise DataError(f"{picture.id} has no depth or no camera", "use a recipe conditioned on the image alone")
    if not ((picture.depth > 0) & (picture.rgba[..., 3] > 0)).any():
        raise DataError(f"{picture.id} has no visible point", "check its depth and silhouette: one of them is empty")
    check_depth(picture.id, picture.depth, picture.rgba[..., 3] > 127, picture.camera)
