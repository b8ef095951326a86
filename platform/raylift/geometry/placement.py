"""Moves a reconstruction from one world frame to another, so that both cameras see it in the same way.

A model that learns from images alone has its own world frame, and a weak-perspective camera has no distance. A
reconstruction and its truth share the input's view; there they can be compared without knowing either frame.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera


def place_in_view(vertices: Float[Tensor, "V 3"], own: Camera, other: Camera) -> Float[Tensor, "V 3"]:
    """Move a shape from the world of the camera that it was reconstructed with into the world of another.

    Both cameras see the origin of their world at some depth; there lengths in the image are ``k`` times those in the
    world (k = focal for orthographic cameras, focal / depth of the origin for perspective ones). With a = R x + t in
    the axes of ``own``, and b in those of ``other``::

        b_xy = (k_own a_xy + principal_own - principal_other) / k_other
        b_z = depth_other + (a_z - depth_own) k_own / k_other

    So the image stays the same (exactly, between orthographic cameras and between equal ones; off the origin's depth a
    perspective camera differs slightly), the shape is scaled as a whole, and the depth of its origin, which its image
    does not determine, is that of the other world's origin. The result is x' = R'^T (b - t').

    Args:
        vertices: positions in the world of ``own``.
        own: predicted camera, B = 1.
        other: true camera of the same image, B = 1.

    Returns:
        Positions in the world of ``other``, float64.
    """
    own, other = own.to("cpu", torch.float64), other.to("cpu", torch.float64)
    in_camera = vertices.detach().to("cpu", torch.float64) @ own.rotation[0].T + own.translation[0]
    k_own, k_other = _image_lengths(own), _image_lengths(other)
    plane = (k_own * in_camera[:, :2] + own.principal[0] - other.principal[0]) / k_other
    stretch = (k_own / k_other).mean()
    depth = other.translation[0, 2] + stretch * (in_camera[:, 2] - own.translation[0, 2])
    return (torch.cat([plane, depth[:, None]], dim=1) - other.translation[0]) @ other.rotation[0]


def _image_lengths(camera: Camera) -> Float[Tensor, "2"]:
    """Length of a world unit at the origin, half image sizes; an origin behind the camera counts as in front."""
    if camera.projection == "orthographic":
        return camera.focal[0]
    return camera.focal[0] / camera.translation[0, 2].abs().clamp(min=1e-6)
