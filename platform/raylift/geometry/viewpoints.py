"""PASCAL3D+'s annotation of an object's pose, and the camera that it stands for; OOD-CV and ImageNet3D share it.

==================  =====================  =======================  ====================================================
convention          camera axes            image                    world
==================  =====================  =======================  ====================================================
ours                right, down, forward   [-1, 1], v down          Y up, facing +Z; box centred, longest edge 1
PASCAL3D+           right, up, backward    pixels, v down           Z up, facing -Y; the CAD model's own origin and unit
==================  =====================  =======================  ====================================================
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.camera_conventions import ImageSize
from raylift.geometry.cameras import orbit_rotations


class Viewpoint(NamedTuple):
    """PASCAL3D+'s annotation of an object's pose (Xiang et al. 2014; its script ``project_3d.m``).

    Its world has Z up and the object facing -Y. The camera is ``distance`` from the origin of the CAD model and looks
    at it; the image is then turned by ``theta`` in its own plane.

    Attributes:
        azimuth, elevation, theta: radians; azimuth 0 sees the front, theta turns the image's content counter-clockwise.
        distance: in units of the CAD model.
        focal_px: focal length, pixels: the annotated ``focal`` times ``viewport`` (3000).
        principal_px: (px, py): where the origin of the CAD model appears, pixels.
    """

    azimuth: Float[Tensor, "B"]
    elevation: Float[Tensor, "B"]
    theta: Float[Tensor, "B"]
    distance: Float[Tensor, "B"]
    focal_px: Float[Tensor, "B"]
    principal_px: Float[Tensor, "B 2"]


PASCAL3D_TO_WORLD = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
"""Rotation from PASCAL3D+'s CAD axes (Z up, facing -Y) to ours (Y up, facing +Z): (x, y, z) to (x, z, -y)."""


def from_viewpoint(
    viewpoint: Viewpoint,
    image_size: ImageSize,
    center: Float[Tensor, "B 3"],
    extent: Float[Tensor, "B"],
    first_center: float = 1.0,
) -> Camera:
    """Convert PASCAL3D+'s viewpoint to the camera of the normalised CAD model.

    With p the CAD model's points in our axes (``PASCAL3D_TO_WORLD``), x = (p - center) / extent, R the orbit's rotation
    turned by -theta about the line of sight, and lengths in units of ``extent``::

        R p + (0, 0, distance) = extent (R x + t),    t = (R center + (0, 0, distance)) / extent

    A perspective image does not change with the unit of length, so the focal length stays.

    Args:
        viewpoint: B annotations.
        image_size: size of the image that they are for.
        center: centre of the CAD model's bounding box, in our axes, CAD units.
        extent: longest edge of that box, CAD units.
        first_center: coordinate of the first pixel's centre: 1 for PASCAL3D+'s MATLAB, 0.5 for pixels counted from
            the outer corner.

    Raises:
        DataError: a distance, focal length or extent that is not positive.
    """
    for name, values in (("distance", viewpoint.distance), ("focal length", viewpoint.focal_px), ("extent", extent)):
        if not bool((values > 0).all()):
            raise DataError(f"a {name} is {float(values.min()):g}", "annotate the viewpoint, or leave the object out")
    height, width = image_size
    half = viewpoint.principal_px.new_tensor([width / 2, height / 2])
    upright = orbit_rotations(torch.rad2deg(viewpoint.azimuth), torch.rad2deg(viewpoint.elevation))
    # theta is counter-clockwise in an image with y up, so clockwise, negative, in ours with y down.
    cos, sin = viewpoint.theta.double().cos(), viewpoint.theta.double().sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    roll = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    rotation = (roll @ upright).to(viewpoint.distance.dtype)
    translation = (rotation @ center[..., None]).squeeze(-1)
    translation = translation + torch.nn.functional.pad(viewpoint.distance[:, None], (2, 0))
    return Camera(
        focal=viewpoint.focal_px[:, None] / half,
        principal=(viewpoint.principal_px + 0.5 - first_center) / half - 1,
        rotation=rotation,
        translation=translation / extent[:, None],
    )
