"""The K nearest faces at each pixel, as lists, from which a view is shaded any number of times."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.kernel_threads import run_tasks
from raylift.rendering.face_boxes import image_boxes, num_bands
from raylift.rendering.face_list_kernels import depth_orders, search_bands
from raylift.rendering.triangles import check_image_px


class FaceLists(NamedTuple):
    """Faces at each pixel, nearest first.

    Attributes:
        faces: int32 [B, H, W, K]; entries beyond the count are undefined.
        counts: int32 [B, H, W].
    """

    faces: np.ndarray
    counts: np.ndarray


def face_lists(
    screen: Float[Tensor, "B V 3"],
    faces: np.ndarray,
    image_px: int,
    faces_per_pixel: int,
    blur_radius: float,
    perspective: bool,
) -> FaceLists:
    """The faces that ``rasterize_soft`` finds, by compiled kernels on the CPU. They have no gradient.

    Args:
        faces: int64 [F, 3], from ``face_array``.

    Raises:
        DataError: impossible sizes.
    """
    check_image_px(image_px)
    if faces_per_pixel < 1 or not 0 <= blur_radius < math.inf:
        raise DataError(
            f"faces_per_pixel {faces_per_pixel}, blur_radius {blur_radius}",
            "use at least 1 face and a blur of 0 or more",
        )
    points = screen.detach().contiguous().numpy()
    batch = len(points)
    boxes = np.empty((batch, len(faces), 4), np.int32)
    run_tasks(image_boxes, batch, points, faces, image_px, blur_radius, boxes)
    orders = np.empty((batch, len(faces)), np.int32)
    run_tasks(depth_orders, batch, points, faces, orders)
    lists = np.empty((batch, image_px, image_px, faces_per_pixel), np.int32)
    counts = np.empty((batch, image_px, image_px), np.int32)
    bands = num_bands(batch, image_px)
    run_tasks(search_bands, batch * bands, bands, points, faces, boxes, orders, blur_radius, perspective, lists, counts)
    return FaceLists(lists, counts)
