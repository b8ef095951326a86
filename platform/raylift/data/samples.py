"""Samples as a family asks for them: from a stored view and its object, or from a user's image.

A sample is a dictionary of NumPy arrays, so that it travels through Ray Data; ``collate`` makes a Batch of several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.types import Batch, Camera, SampleRequest, VoxelRequest
from raylift.data.dataset import ObjectRecord, ViewRecord
from raylift.data.object_payload import visible_cloud
from raylift.data.schemas import GRID_RESOLUTION, TRUNCATION, sample_columns
from raylift.geometry.voxels import voxelize

Sample = dict[str, Any]

_CAMERA_FIELDS = ("camera_focal", "camera_principal", "camera_rotation", "camera_translation")
_NOT_TENSORS = ("id", "key", "camera_projection", *_CAMERA_FIELDS)


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


def assemble(record: ObjectRecord, view: ViewRecord, request: SampleRequest, rng: np.random.Generator) -> Sample:
    """One sample of a stored view: the fields of ``core.types.Batch`` without the batch axis.

    The draws are made in a fixed order: points first, then voxels. Supervised points come from all noise levels alike,
    ``num_points // levels`` each (the first levels take what is left over). "surface" voxels draw ``num_points`` of the
    merged cloud; "visible" ones at most so many of the view's own pixels.

    Args:
        record: loaded with ``needed_columns``.
        view: of the same object.
        request: what the family asks for.
        rng: keyed by what the sample is drawn for (law 3).

    Raises:
        DataError: the data set lacks what is asked for; a silhouette without area.
    """
    sample = _image_fields(f"{record.id}#{view.view}", view.rgba, view.depth, view.camera, request)
    if request.num_points:
        sample |= _supervised_points(record, request.num_points, rng)
    if request.voxels is not None:
        sample["voxels"] = _voxels(record, view, request.voxels, rng)
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
        sample["voxels"] = _visible_voxels(view, request.voxels, rng)
    return sample


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """A batch of samples, in their order.

    Raises:
        DataError: there is none, they carry different fields, or their cameras' projections differ.
    """
    if not samples:
        raise DataError("a batch without samples", "use a batch size of at least the number of workers")
    if len({tuple(sorted(sample)) for sample in samples}) != 1:
        raise DataError("samples of one batch carry different fields", "assemble them by the same request")
    return batch_of({name: np.stack([np.asarray(sample[name]) for sample in samples]) for name in samples[0]})


def batch_of(arrays: Mapping[str, np.ndarray]) -> Batch:
    """A batch of stacked samples."""
    projections = {str(name) for name in arrays["camera_projection"]}
    if len(projections) != 1:
        raise DataError(f"cannot batch cameras of projections {sorted(projections)}", "use one projection per data set")
    focal, principal, rotation, translation = (_tensor(arrays[name]) for name in _CAMERA_FIELDS)
    camera = Camera(focal, principal, rotation, translation, projections.pop())  # type: ignore[arg-type]
    return Batch(
        ids=tuple(str(name) for name in arrays["id"]),
        keys=torch.as_tensor(np.asarray(arrays["key"], np.int64).copy()),
        fields={name: _tensor(values) for name, values in arrays.items() if name not in _NOT_TENSORS},
        camera=camera,
    )


def _tensor(values: np.ndarray) -> torch.Tensor:
    # Arrays out of Arrow are read-only views, which torch must not be given to write into.
    return torch.from_numpy(np.array(values, np.float32, copy=not values.flags.writeable, order="C"))


def _image_fields(
    sample_id: str, rgba: np.ndarray, depth: np.ndarray, camera: Camera, request: SampleRequest
) -> Sample:
    if not (rgba[..., 3] > 127).any():
        raise DataError(
            f"the silhouette of {sample_id} has no area", "give an image whose alpha channel shows the object"
        )
    image, mask = composited(rgba, request.image_px)
    return {
        "id": sample_id,
        "key": np.int64(stable_hash(sample_id)),
        "image": image,
        "mask": mask,
        "depth": nearest_resized(depth, request.image_px)[None],
        "camera_focal": camera.focal[0].numpy(),
        "camera_principal": camera.principal[0].numpy(),
        "camera_rotation": camera.rotation[0].numpy(),
        "camera_translation": camera.translation[0].numpy(),
        "camera_projection": camera.projection,
    }


def composited(rgba: np.ndarray, image_px: int) -> tuple[np.ndarray, np.ndarray]:
    """An image on white [3, S, S] and its coverage [1, S, S], float32 in [0, 1], averaged over each new pixel's area.

    Args:
        rgba: uint8 [H, W, 4], colour not premultiplied; averaging weighs colours by coverage.
    """
    picture = Image.fromarray(rgba)
    if picture.size != (image_px, image_px):
        # Pillow weighs RGBA by alpha when it resizes; box is the exact area mean where the sizes divide.
        divides = picture.width % image_px == 0 and picture.height % image_px == 0
        picture = picture.resize((image_px, image_px), Image.Resampling.BOX if divides else Image.Resampling.BILINEAR)
    values = np.asarray(picture, np.float32) / 255.0
    alpha = values[..., 3:]
    image = values[..., :3] * alpha + (1.0 - alpha)
    return np.ascontiguousarray(image.transpose(2, 0, 1)), np.ascontiguousarray(alpha.transpose(2, 0, 1))


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


def _voxels(record: ObjectRecord, view: ViewRecord, request: VoxelRequest, rng: np.random.Generator) -> np.ndarray:
    if request.source == "visible":
        return _visible_voxels(view, request, rng)
    if request.source == "surface":
        total = len(record.stored("cloud_points"))
        picked = rng.choice(total, min(request.num_points, total), replace=False)
        points, colors = record.picked("cloud_points", picked), record.picked("cloud_colors", picked)
        return voxelize(points, colors, request.resolution, request.encoding)
    if request.resolution != GRID_RESOLUTION:
        raise DataError(
            f"grids of the true shape are stored at {GRID_RESOLUTION}^3, {request.resolution}^3 is asked for",
            f"set family.conditioning.resolution={GRID_RESOLUTION}",
        )
    if request.source == "gt_occupancy":
        return record.occupancy32[None]
    # Scaled to [-1, 1], which suits a network better than the bare [-0.1, 0.1].
    return record.sdf32[None].clip(-TRUNCATION, TRUNCATION) / np.float32(TRUNCATION)


def _visible_voxels(view: ViewRecord, request: VoxelRequest, rng: np.random.Generator) -> np.ndarray:
    points, colors = visible_cloud(view.rgba, view.depth, view.camera)
    if len(points) == 0:
        raise DataError(f"view {view.view} of {view.id} has no visible point", "its depth or its silhouette is empty")
    if len(points) > request.num_points:
        picked = rng.choice(len(points), request.num_points, replace=False)
        points, colors = points[picked], colors[picked]
    return voxelize(points, colors, request.resolution, request.encoding)
