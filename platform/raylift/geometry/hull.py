"""A sphere's vertices drawn onto the convex hull of some points: CMR's template, from its keypoints."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError


def on_hull(directions: Float[Tensor, "V 3"], points: Float[Tensor, "K 3"]) -> Float[Tensor, "V 3"]:
    """Where rays from the middle of the points leave their convex hull.

    Args:
        directions: of the rays; mirrored directions and points give mirrored places.
        points: at least 4, not all in one plane.

    Returns:
        Places on the hull, in the type and on the device of ``directions``.

    Raises:
        DataError: the points lie in a plane.
    """
    from scipy.spatial import ConvexHull, QhullError

    corners = points.detach().double().cpu().numpy()
    try:
        planes = ConvexHull(corners).equations
    except (QhullError, ValueError) as error:
        raise DataError(
            "the keypoints' structure lies in a plane, so its hull is no template",
            "set model.shape.from_keypoints=false, or annotate keypoints on more than one side",
        ) from error
    middle = corners.mean(axis=0)
    rays = torch.nn.functional.normalize(directions.detach().double().cpu(), dim=1).numpy()
    # A plane n.x + d = 0 with d < 0 at the middle is met at distance -(n.m + d) / (n.r) where n.r > 0.
    towards = rays @ planes[:, :3].T
    gap = -(planes[:, :3] @ middle + planes[:, 3])
    with np.errstate(divide="ignore"):
        distance = np.where(towards > 1e-12, gap / towards, np.inf).min(axis=1)
    return torch.from_numpy(middle + rays * distance[:, None]).to(directions)
