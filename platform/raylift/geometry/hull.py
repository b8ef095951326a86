"""Projects a sphere's vertices onto the convex hull of some points: CMR's template, from its keypoints."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError


def on_hull(directions: Float[Tensor, "V 3"], points: Float[Tensor, "K 3"]) -> Float[Tensor, "V 3"]:
    """Points where rays from the centre of the points leave their convex hull.

    Args:
        directions: directions of the rays; mirrored directions and points yield mirrored results.
        points: at least 4, not all in one plane.

    Returns:
        Points on the hull, with the type and device of ``directions``.

    Raises:
        DataError: coplanar points.
    """
    from scipy.spatial import ConvexHull, QhullError

    corners = points.detach().double().cpu().numpy()
    try:
        planes = ConvexHull(corners).equations
    except (QhullError, ValueError) as error:
        raise DataError(
            "the keypoints' structure is in a plane, so its hull cannot be a template",
            "set model.shape.from_keypoints=false, or annotate keypoints on more than one side",
        ) from error
    middle = corners.mean(axis=0)
    rays = torch.nn.functional.normalize(directions.detach().double().cpu(), dim=1).numpy()
    # A plane n.x + d = 0 with d < 0 at the centre is met at distance -(n.m + d) / (n.r) where n.r > 0.
    towards = rays @ planes[:, :3].T
    gap = -(planes[:, :3] @ middle + planes[:, 3])
    with np.errstate(divide="ignore"):
        distance = np.where(towards > 1e-12, gap / towards, np.inf).min(axis=1)
    return torch.from_numpy(middle + rays * distance[:, None]).to(directions)
