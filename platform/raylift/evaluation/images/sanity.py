"""Two figures of a reconstruction that a good silhouette hides: its depth, and loose parts."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera, Mesh
from raylift.metrics.components import largest_component_share


def depth_extent(vertices: Float[Tensor, "V 3"], camera: Camera) -> float:
    """Extent along the camera's optical axis, world units; 0 without vertices."""
    if not len(vertices):
        return 0.0
    depths = vertices.detach().cpu().double() @ camera.rotation[0, 2].cpu().double()
    return float(depths.max() - depths.min())


def depth_ratio(placed: Float[Tensor, "V 3"], camera: Camera, true_extent: float) -> float:
    """Depth of a reconstruction over that of the true shape, along the optical axis of the input's true camera.

    Args:
        placed: vertices in the true world, as seen in the input's view (``geometry.placement``).
        true_extent: ``depth_extent`` of the true shape.
    """
    return depth_extent(placed, camera) / max(true_extent, 1e-6)


def largest_component(mesh: Mesh) -> float:
    """Volume of the largest connected part over that of the whole mesh, in [0, 1]."""
    vertices, faces = (np.asarray(tensor.detach().cpu()) for tensor in (mesh.vertices, mesh.faces))
    return largest_component_share(vertices, faces)
