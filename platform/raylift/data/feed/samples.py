"""Samples as a model requests them, from a stored view and its object.

What depends on the view alone is computed once and may be cached (``prepare_view``); only draws are made per sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.types import SampleRequest
from raylift.data.feed.batches import Sample
from raylift.data.feed.fields import (
    VisiblePoints,
    iou_points,
    picked_of_cloud,
    pixel_fields,
    require_depth,
    supervised_points,
    told_points,
    visible_points,
    voxel_grid,
)
from raylift.data.shapes.record import ObjectRecord
from raylift.data.shapes.schema import sample_columns
from raylift.data.store.stored_view import StoredView, draw_crop, silhouette_box
from raylift.geometry.voxels import SparseGrid

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
class PreparedView:
    """The part of a sample that depends on its view and the request, without any draw.

    Attributes:
        fields: identity and, unless each sample draws its own crop, all fields computed from pixels.
        view: view that crops are drawn from; None if no crop is drawn.
        visible: if the request conditions on visible points: their grid, or the points if each sample draws a subset.
    """

    fields: Sample
    view: StoredView | None
    visible: SparseGrid | VisiblePoints | None

    @property
    def num_bytes(self) -> int:
        arrays = sum(value.nbytes for value in self.fields.values() if isinstance(value, np.ndarray))
        return arrays + sum(0 if part is None else part.num_bytes for part in (self.view, self.visible))


def prepare_view(view: StoredView, request: SampleRequest) -> PreparedView:
    """The part of ``assemble`` that is the same for every sample of this view.

    Raises:
        DataError: a silhouette without area; no visible point although the request conditions on them or needs depth;
            missing keypoints, parts, amodal mask or camera that it requests.
    """
    if not (view.rgba[..., 3] > 127).any():
        raise DataError(f"the silhouette of {view.id} has no area", "use an image whose alpha channel shows the object")
    if request.truth and view.camera is None:
        raise DataError(f"the camera of {view.id} is not known", "score this data set without cameras")
    if request.supervised_camera and view.camera is None:
        raise DataError(
            f"the camera of {view.id} is not known", "train on images with cameras, such as --source scenes:SHAPES"
        )
    if request.depth:
        require_depth(view)
    fields: Sample = {"id": view.id, "key": np.int64(stable_hash(view.id))}
    voxels = request.voxels
    visible = None if voxels is None or voxels.source != "visible" else visible_points(view, voxels)
    if request.crop is None:
        return PreparedView(fields | pixel_fields(view, None, request), None, visible)
    view = view if view.box is not None else replace(view, box=silhouette_box(view.rgba))
    if request.crop.is_drawn:
        return PreparedView(fields, view, visible)
    return PreparedView(fields | _drawn_crop(view, request, None), None, visible)


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
    if prepared.view is not None:
        assert crop_rng is not None, "a drawn crop needs a generator"
        sample |= _drawn_crop(prepared.view, request, crop_rng)
    if request.num_points:
        sample |= supervised_points(record, request.num_points, rng)
    picked = picked_of_cloud(record, request, rng)
    if picked is not None and request.num_told_points:
        sample |= told_points(record, picked, request.num_told_points)
    if request.voxels is not None:
        sample["voxels"] = voxel_grid(record, prepared.visible, request.voxels, picked, rng)
    if request.num_iou_points:
        sample |= iou_points(record, request.num_iou_points)
    return sample


def _drawn_crop(view: StoredView, request: SampleRequest, rng: np.random.Generator | None) -> Sample:
    assert request.crop is not None
    assert view.box is not None
    crop = draw_crop(view.box, request.crop, rng)
    return pixel_fields(view, crop, request) | {"mirrored": np.float32(crop.mirrored)}
