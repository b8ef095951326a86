"""Samples as a family asks for them: from a stored view and its object, or from a user's image.

What follows from the view alone is made once and may be kept (``prepare_view``); only draws are made for every sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.types import Camera, SampleRequest, VoxelRequest
from raylift.data.batches import Sample, on_white
from raylift.data.dataset import ObjectRecord, ViewRecord
from raylift.data.object_payload import visible_cloud
from raylift.data.schemas import GRID_RESOLUTION, TRUNCATION, sample_columns
from raylift.geometry.voxels import SparseGrid, bin_cells, cell_indices, voxelize_sparse


def needed_columns(request: SampleRequest, num_sigmas: int) -> list[str]:
    """The columns of the objects table that the request reads."""
    names: list[str] = []
    if request.num_points:
        names += [column.name for index in range(num_sigmas) for column in sample_columns(index)]
    if request.num_iou_points:
        names += ["iou_points", "iou_inside"]
    if request.voxels is not None:
        sources: dict[str, list[str]] = {
            "surface": ["cloud_points", "cloud_colors"],
            "gt_occupancy": ["occupancy32"],
            "gt_sdf": ["sdf32"],
        }
        names += sources.get(request.voxels.source, [])
    return names


@dataclass(frozen=True)
class VisiblePoints:
    """The visible points of a view as a grid is drawn from them: cells [N] (-1: outside of it), RGB uint8 [N, 3]."""

    cells: np.ndarray
    colors: np.ndarray

    @property
    def num_bytes(self) -> int:
        return self.cells.nbytes + self.colors.nbytes


@dataclass(frozen=True)
class PreparedView:
    """What of a sample follows from its view and the request, without any draw.

    Attributes:
        fields: identity, pixels, depth and camera.
        visible: where the request conditions on visible points: their grid, or, where a part of them is drawn for each
            sample, the points.
    """

    fields: Sample
    visible: SparseGrid | VisiblePoints | None

    @property
    def num_bytes(self) -> int:
        arrays = sum(value.nbytes for value in self.fields.values() if isinstance(value, np.ndarray))
        return arrays + (0 if self.visible is None else self.visible.num_bytes)


def prepare_view(view: ViewRecord, request: SampleRequest) -> PreparedView:
    """The part of ``assemble`` that is the same for every sample of this view.

    Raises:
        DataError: a silhouette without area, or no visible point where the request conditions on them.
    """
    fields = _image_fields(f"{view.id}#{view.view}", view.rgba, view.depth, view.camera, request)
    voxels = request.voxels
    visible = None if voxels is None or voxels.source != "visible" else _visible_points(view, voxels)
    return PreparedView(fields, visible)


def view_part(request: SampleRequest) -> str:
    """What a prepared view depends on: requests with equal parts may share it."""
    visible = request.voxels is not None and request.voxels.source == "visible"
    return f"{request.image_px} px, {request.voxels if visible else None}"


def assemble(
    record: ObjectRecord, view: ViewRecord | PreparedView, request: SampleRequest, rng: np.random.Generator
) -> Sample:
    """One sample of a stored view: what ``batches.batch_of`` makes the fields of ``core.types.Batch`` of.

    The draws are made in a fixed order: points first, then voxels. Supervised points come from all noise levels alike,
    ``num_points // levels`` each (the first levels take what is left over). "surface" voxels draw ``num_points`` of the
    merged cloud; "visible" ones at most so many of the view's own pixels.

    Args:
        record: loaded with ``needed_columns``.
        view: of the same object, as it is stored or prepared by the same request.
        request: what the family asks for.
        rng: keyed by what the sample is drawn for (law 3).

    Raises:
        DataError: the data set lacks what is asked for; a silhouette without area.
    """
    prepared = prepare_view(view, request) if isinstance(view, ViewRecord) else view
    sample = dict(prepared.fields)
    if request.num_points:
        sample |= _supervised_points(record, request.num_points, rng)
    if request.voxels is not None:
        sample["voxels"] = _voxels(record, prepared, request.voxels, rng)
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
        depth: float [H, W], z in world units, 0 for none; None where there is none.
        camera: B = 1.
        request: its supervised and IoU points are left out.
        image_id: names the sample.
        seed: of the draw of visible points.

    Raises:
        DataError: a silhouette without area; the request conditions on visible points and there is no depth, or on the
            true shape, which an image does not have.
    """
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.shape[0] != rgba.shape[1]:
        raise DataError(
            f"image {image_id} has shape {rgba.shape}, not [S, S, 4]", "crop it square and give it an alpha channel"
        )
    no_depth = np.zeros(rgba.shape[:2], np.float32)
    view = ViewRecord(image_id, 0, rgba, no_depth if depth is None else depth, camera)
    sample = _image_fields(image_id, rgba, view.depth, camera, request)
    if request.voxels is not None:
        if request.voxels.source != "visible":
            raise DataError(
                f"the recipe conditions on {request.voxels.source!r}, which image {image_id} does not have",
                "use a recipe conditioned on the image or on visible points",
            )
        if depth is None:
            raise DataError(
                f"the recipe conditions on visible points, and image {image_id} has no depth",
                "put a depth image beside it, or use a recipe conditioned on the image alone",
            )
        rng = np.random.Generator(np.random.Philox(key=stable_hash(seed, image_id, "visible")))
        sample["voxels"] = _drawn_grid(_visible_points(view, request.voxels), request.voxels, rng)
    return sample


def _image_fields(
    sample_id: str, rgba: np.ndarray, depth: np.ndarray, camera: Camera, request: SampleRequest
) -> Sample:
    if not (rgba[..., 3] > 127).any():
        raise DataError(
            f"the silhouette of {sample_id} has no area", "give an image whose alpha channel shows the object"
        )
    return {
        "id": sample_id,
        "key": np.int64(stable_hash(sample_id)),
        "rgba": resized_rgba(rgba, request.image_px),
        "depth": nearest_resized(depth, request.image_px)[None],
        "camera_focal": camera.focal[0].numpy(),
        "camera_principal": camera.principal[0].numpy(),
        "camera_rotation": camera.rotation[0].numpy(),
        "camera_translation": camera.translation[0].numpy(),
        "camera_projection": camera.projection,
    }


def resized_rgba(rgba: np.ndarray, image_px: int) -> np.ndarray:
    """An image averaged over each new pixel's area, colours weighed by coverage: uint8 [S, S, 4], not premultiplied."""
    picture = Image.fromarray(rgba)
    if picture.size != (image_px, image_px):
        # Pillow weighs RGBA by alpha when it resizes; box is the exact area mean where the sizes divide.
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
    """Depth at the centres of the new pixels, from the nearest old one: depths are never averaged. float32 [S, S]."""
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
            f"{record.id} has {len(points)} IoU points, {count} are asked for", "prepare with a larger --iou-points"
        )
    # Stored points are independent draws, so the first so many are as good as any, and always the same.
    return {"iou_points": points[:count], "iou_inside": inside[:count].astype(np.float32)}


def _voxels(
    record: ObjectRecord, prepared: PreparedView, request: VoxelRequest, rng: np.random.Generator
) -> np.ndarray | SparseGrid:
    if request.source == "visible":
        assert prepared.visible is not None, "the view was prepared by another request"
        return _drawn_grid(prepared.visible, request, rng)
    if request.source == "surface":
        total = len(record.stored("cloud_points"))
        picked = rng.choice(total, min(request.num_points, total), replace=False)
        points, colors = record.picked("cloud_points", picked), record.picked("cloud_colors", picked)
        return voxelize_sparse(points, colors, request.resolution, request.encoding)
    if request.resolution != GRID_RESOLUTION:
        raise DataError(
            f"grids of the true shape are stored at {GRID_RESOLUTION}^3, {request.resolution}^3 is asked for",
            f"set family.conditioning.resolution={GRID_RESOLUTION}",
        )
    if request.source == "gt_occupancy":
        return record.occupancy32[None]
    # Scaled to [-1, 1], which suits a network better than the bare [-0.1, 0.1].
    return record.sdf32[None].clip(-TRUNCATION, TRUNCATION) / np.float32(TRUNCATION)


def _visible_points(view: ViewRecord, request: VoxelRequest) -> SparseGrid | VisiblePoints:
    points, colors = visible_cloud(view.rgba, view.depth, view.camera)
    if len(points) == 0:
        raise DataError(f"view {view.view} of {view.id} has no visible point", "its depth or its silhouette is empty")
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
