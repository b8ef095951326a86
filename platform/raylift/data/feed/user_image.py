"""The sample of a user's image, for reconstruction."""

from __future__ import annotations

import numpy as np

from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.types import Camera, SampleRequest
from raylift.data.feed.batches import Sample
from raylift.data.feed.fields import drawn_grid
from raylift.data.feed.samples import prepare_view
from raylift.data.store.stored_view import StoredView


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
        background=request.background,
    )
    prepared = prepare_view(StoredView(image_id, rgba, camera, known), asked.without_draws())
    sample = dict(prepared.fields)
    if voxels is not None:
        rng = np.random.Generator(np.random.Philox(key=stable_hash(seed, image_id, "visible")))
        assert prepared.visible is not None
        sample["voxels"] = drawn_grid(prepared.visible, voxels, rng)
    return sample
